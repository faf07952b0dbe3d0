package submit

import (
	"crypto/sha256"
	"encoding/binary"

	"kith/tasks"
)

// codeHash extends the hash of the code of a stage by one step: the kind's name and version.
func codeHash(h [32]byte, k *tasks.Description) [32]byte {
	b := append([]byte("kith/code/1"), h[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(k.Version))
	return sha256.Sum256(append(b, k.Name...))
}

func strongerClass(a, b tasks.DeviceClass) tasks.DeviceClass {
	if b.Rank() > a.Rank() {
		return b
	}
	return a
}

func stronger(a, b tasks.Needs) tasks.Needs {
	return tasks.Needs{
		Class: strongerClass(a.Class, b.Class), Sandbox: max(a.Sandbox, b.Sandbox), Memory: max(a.Memory, b.Memory),
		VRAM: max(a.VRAM, b.VRAM), Input: a.Input || b.Input,
	}
}

// larger joins the limits of two steps of one task: they run one after another.
func larger(a, b tasks.Limits) tasks.Limits {
	return tasks.Limits{
		WallMillis: a.WallMillis + b.WallMillis, CPUMillis: a.CPUMillis + b.CPUMillis, MemoryBytes: max(a.MemoryBytes, b.MemoryBytes),
		ScratchBytes: a.ScratchBytes + b.ScratchBytes, OutputBytes: max(a.OutputBytes, b.OutputBytes), LogBytes: max(a.LogBytes, b.LogBytes),
		VRAMBytes: max(a.VRAMBytes, b.VRAMBytes), Processes: max(a.Processes, b.Processes),
	}
}

// scale fits limits that are meant for parts of tasks.DefaultPartBytes to larger parts.
func scale(l tasks.Limits, part int64) tasks.Limits {
	f := (part + tasks.DefaultPartBytes - 1) / tasks.DefaultPartBytes
	if f > 1 {
		l.WallMillis, l.CPUMillis, l.ScratchBytes, l.OutputBytes = l.WallMillis*f, l.CPUMillis*f, l.ScratchBytes*f, l.OutputBytes*f
	}
	return l
}

// override puts the limits a spec names in place of the kinds' own.
func override(l, spec tasks.Limits) tasks.Limits {
	set := func(to *int64, v int64) {
		if v > 0 {
			*to = v
		}
	}
	set(&l.WallMillis, spec.WallMillis)
	set(&l.CPUMillis, spec.CPUMillis)
	set(&l.MemoryBytes, spec.MemoryBytes)
	set(&l.ScratchBytes, spec.ScratchBytes)
	set(&l.OutputBytes, spec.OutputBytes)
	set(&l.LogBytes, spec.LogBytes)
	set(&l.VRAMBytes, spec.VRAMBytes)
	set(&l.Processes, spec.Processes)
	return l
}
