// Package owner is what the owner of this machine allows right now. It answers for every task, before it runs, whether
// it may: under the switch (working, paused, killed), the caps on slots, memory and scratch space, the kinds that are
// off and the fill of the disk. A pause never ends by itself, and neither it nor a kill is forgotten over a restart.
package owner

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"kith/node/atomicfile"
	"kith/node/strict"
	"kith/tasks"
)

// State is the position of the owner's switch.
type State string

// The positions.
const (
	Working State = "working" // tasks run
	Paused  State = "paused"  // what runs may end, nothing new begins
	Killed  State = "killed"  // everything was ended at once, nothing begins
)

// FileName is where the switch is kept in the data folder.
const FileName = "owner.json"

// ErrState: there is no such position of the switch.
var ErrState = errors.New("no such state: want working, paused or killed")

// ErrDamaged: the file of the switch cannot be read. The node is paused, because nobody knows what its owner wanted.
var ErrDamaged = errors.New("the file that remembers pause and kill is damaged")

// Limits are the owner's caps.
type Limits struct {
	Donate         bool
	Slots          int   // tasks at once
	Memory         int64 // bytes, all tasks together
	MemoryPerTask  int64
	Scratch        int64 // bytes, all tasks together
	ScratchPerTask int64
	TaskSeconds    int
	KindsOff       []string      // names; a trailing * matches any ending
	DiskStop       int           // percent of the disk at which no new work is taken
	Quota          int64         // bytes of the data folder at which no new work is taken; 0: none
	Refuse         *tasks.Reason // why the drive or the space of the data folder allows no new work; nil: they do
}

// Disk is how full the disk of the data folder is, in bytes, and how much of it the folder itself uses.
type Disk struct{ Free, Total, Own int64 }

// UsedPercent is the share that is used, 0 if the size is not known.
func (d Disk) UsedPercent() int {
	if d.Total <= 0 {
		return 0
	}
	return int((d.Total - d.Free) * 100 / d.Total)
}

// Owner answers for the owner. It is safe for concurrent use.
type Owner struct {
	path   string
	limits func() Limits
	disk   func() Disk

	mu      sync.Mutex
	state   record
	running int
	memory  int64
	scratch int64
}

// record is the file.
type record struct {
	State State `json:"state"`
	Since int64 `json:"since"` // Unix milliseconds
}

// Open reads the switch of a data folder. limits and disk are asked at every admission; they must be quick and safe for
// concurrent use. If the file is damaged, the Owner is paused, and the error is ErrDamaged: the caller may go on with it.
func Open(home string, limits func() Limits, disk func() Disk) (*Owner, error) {
	o := &Owner{path: filepath.Join(home, FileName), limits: limits, disk: disk, state: record{State: Working}}
	data, err := os.ReadFile(o.path)
	if errors.Is(err, fs.ErrNotExist) {
		return o, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the owner's switch: %w", err)
	}
	r, err := parse(data)
	if err != nil {
		o.state = record{State: Paused}
		return o, fmt.Errorf("%w: %s: %w", ErrDamaged, o.path, err)
	}
	o.state = r
	return o, nil
}

func parse(data []byte) (record, error) {
	var r record
	if err := strict.Decode(data, &r); err != nil {
		return record{}, err
	}
	if r.State != Working && r.State != Paused && r.State != Killed {
		return record{}, fmt.Errorf("%w, got %.20q", ErrState, r.State)
	}
	return r, nil
}

// State returns the position of the switch and since when, in Unix milliseconds (0: always).
func (o *Owner) State() (State, int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.state.State, o.state.Since
}

// Set moves the switch. Stopping takes effect at once, even if it cannot be written; starting only once it is.
func (o *Owner) Set(s State) error {
	if s != Working && s != Paused && s != Killed {
		return fmt.Errorf("%w, got %.20q", ErrState, s)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if s == o.state.State {
		return nil
	}
	next := record{s, time.Now().UnixMilli()}
	if s != Working {
		o.state = next
	}
	data, err := json.Marshal(next)
	if err != nil {
		return fmt.Errorf("encode the owner's switch: %w", err)
	}
	if err := atomicfile.Write(o.path, append(data, '\n'), 0o600); err != nil {
		return err
	}
	o.state = next
	return nil
}

// Allowed reports whether the owner lets a kind of work run.
func (o *Owner) Allowed(kind string) bool { return o.limits().allows(kind) }

func (l Limits) allows(kind string) bool {
	return l.Donate && !slices.ContainsFunc(l.KindsOff, func(off string) bool {
		prefix, wild := strings.CutSuffix(off, "*")
		return kind == off || (wild && strings.HasPrefix(kind, prefix))
	})
}

// Blocked says why nothing new may run right now, whatever it is, or nil. It does not count the slots.
func (o *Owner) Blocked() *tasks.Reason {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.blockedLocked(o.limits())
}

func (o *Owner) blockedLocked(l Limits) *tasks.Reason {
	switch o.state.State {
	case Paused:
		return because(tasks.Paused, "by its owner")
	case Killed:
		return because(tasks.Killed, "by its owner")
	}
	if !l.Donate {
		return because(tasks.KindOff, "work.donate is off")
	}
	switch d := o.disk(); {
	case l.Refuse != nil:
		return l.Refuse
	case d.Total > 0 && d.UsedPercent() >= l.DiskStop:
		return because(tasks.DiskFull, "%d %% used, no new work from %d %%", d.UsedPercent(), l.DiskStop)
	case l.Quota > 0 && d.Own >= l.Quota:
		return because(tasks.DiskFull, "the data folder has %d MB, storage.quota is %d MB", d.Own/1e6, l.Quota/1e6)
	}
	return nil
}

// Admit asks for one task to run now. It returns a function to call once when the task has ended, or the reason why
// not. A zero limit of the task counts as the whole cap for one task.
func (o *Owner) Admit(a tasks.Assignment) (release func(), refused *tasks.Reason) {
	l := o.limits()
	for _, step := range a.Steps {
		if !l.allows(step.Kind) {
			return nil, because(tasks.KindOff, "%s", step.Kind)
		}
	}
	memory, scratch := a.Limits.MemoryBytes, a.Limits.ScratchBytes
	if memory <= 0 {
		memory = l.MemoryPerTask
	}
	if scratch <= 0 {
		scratch = l.ScratchPerTask
	}
	switch {
	case memory > l.MemoryPerTask:
		return nil, because(tasks.OverLimits, "%d MiB of memory, work.memoryPerTask is %d MiB", memory>>20, l.MemoryPerTask>>20)
	case scratch > l.ScratchPerTask:
		return nil, because(tasks.OverLimits, "%d MiB of scratch space, work.scratchPerTask is %d MiB", scratch>>20, l.ScratchPerTask>>20)
	case a.Limits.WallMillis > int64(l.TaskSeconds)*1000:
		return nil, because(tasks.OverLimits, "%d s, work.taskSeconds is %d", a.Limits.WallMillis/1000, l.TaskSeconds)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if r := o.blockedLocked(l); r != nil {
		return nil, r
	}
	switch {
	case o.running >= l.Slots:
		return nil, because(tasks.Busy, "%d of %d slots", o.running, l.Slots)
	case o.memory+memory > l.Memory:
		return nil, because(tasks.Busy, "%d MiB more than the %d MiB of work.memory", (o.memory+memory-l.Memory)>>20, l.Memory>>20)
	case o.scratch+scratch > l.Scratch:
		return nil, because(tasks.Busy, "%d MiB more than the %d MiB of work.scratch", (o.scratch+scratch-l.Scratch)>>20, l.Scratch>>20)
	}
	o.running++
	o.memory += memory
	o.scratch += scratch
	var once sync.Once
	return func() {
		once.Do(func() {
			o.mu.Lock()
			defer o.mu.Unlock()
			o.running--
			o.memory -= memory
			o.scratch -= scratch
		})
	}, nil
}

func because(code tasks.Code, format string, args ...any) *tasks.Reason {
	r := tasks.Because(code, format, args...)
	return &r
}
