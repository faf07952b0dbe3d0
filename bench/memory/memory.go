// Package memory measures a machine's memory: how much there is, how fast it streams (the four kernels of STREAM) and
// how long one access takes that the next one waits for, by the size of what is accessed.
package memory

import (
	"context"
	"fmt"
	"io/fs"
	"runtime"
	"strconv"
	"strings"
	"time"

	"kith/bench"
	"kith/bench/steady"
)

// Info is how much memory there is, in bytes. Zero means not known.
type Info struct {
	Total     int64
	Available int64 // could be had without swapping
	Limit     int64 // of the container this process is in; 0: none
}

// usable is what this process may ever have.
func (i Info) usable() int64 {
	if i.Limit > 0 && (i.Total == 0 || i.Limit < i.Total) {
		return i.Limit
	}
	return i.Total
}

// Options say how to measure.
type Options struct {
	Threads int           // 0: as many as this process may use
	Time    time.Duration // for each figure
	Cache   int64         // bytes of the last cache; arrays are four times as large. 0: not known
	Most    int64         // bytes to use at most, all together; 0: an eighth of what is available
}

const (
	patience     = 10 // times a figure's time, on a busy machine
	rounds       = 5  // of all figures, so that a burst of foreign work spoils no figure wholly
	leastArray   = 32 << 20
	unknownCache = 32 << 20
	leastMemory  = 40 << 20 // less than that and no figure would be of the memory
)

// Measure measures this machine's memory in rounds of all figures. A figure of which ctx lets no round be whole is ungraded.
func Measure(ctx context.Context, info Info, o Options) []bench.Measurement {
	if o.Threads <= 0 {
		o.Threads = runtime.GOMAXPROCS(0)
	}
	if o.Cache <= 0 {
		o.Cache = unknownCache
	}
	if o.Most <= 0 {
		o.Most = min(info.Available, info.usable()) / 8
	}
	size := bench.Begin(bench.Size, bench.Bytes, "what the system says")
	free := bench.Begin("free", bench.Bytes, "what the system says")
	var out []bench.Measurement
	if total := info.usable(); total > 0 {
		out = append(out, size.Value(float64(total)), free.Value(float64(info.Available)))
	} else {
		err := fmt.Errorf("the system does not say")
		out = append(out, size.Fail(err), free.Fail(err))
	}
	array := min(max(leastArray, 4*o.Cache), o.Most/5) // three arrays, and a table as large as two
	if o.Most < leastMemory {
		err := fmt.Errorf("only %d MiB may be used to measure, %d are needed", o.Most>>20, leastMemory>>20)
		return append(out, bench.Begin(bench.StreamTriad, bench.ByteRate, "not measured").Fail(err), bench.Begin(bench.LatencyRAM, bench.Seconds, "not measured").Fail(err))
	}
	t := newTeam(o.Threads, max(grain, int(array/8)/o.Threads/grain*grain))
	sizes := workingSets(2 * array)
	last := len(sizes) - 1
	far := &ringed{name: bench.LatencyRAM, size: sizes[last]}
	kernels := sets()
	plain, past := streams(kernels[0], "stream."), []*stream(nil)
	for _, s := range kernels[1:] {
		if s.name != goSet().name { // plain Go only where there is nothing better
			past = streams(s, "stream.past.")
		}
	}
	// What the score reads comes first: the time may be over before all is measured.
	for range rounds {
		for _, s := range plain {
			s.round(ctx, t, o.Time/rounds)
		}
		far.round(ctx, o.Time/2/rounds)
	}
	for range rounds {
		for _, s := range past {
			s.round(ctx, t, o.Time/rounds)
		}
	}
	// A kernel whose pieces others spoilt gets more rounds, for a time.
	for begun, missing := time.Now(), true; missing && ctx.Err() == nil && time.Since(begun) < patience*o.Time; {
		missing = false
		for _, s := range plain {
			if !steady.Enough(s.rounds) {
				missing = true
				s.round(ctx, t, o.Time/rounds)
			}
		}
	}
	for _, s := range append(plain, past...) {
		out = append(out, s.end(t))
	}
	out = append(out, far.end())
	t.close()
	var near []*ringed
	for _, size := range sizes[:last] {
		near = append(near, &ringed{name: "latency." + sizeText(size), size: size, warm: true})
	}
	for range rounds {
		for _, r := range near {
			r.round(ctx, o.Time/2/rounds)
		}
	}
	for _, r := range near {
		out = append(out, r.end())
	}
	return out
}

// parseSystem reads Linux's files below root.
func parseSystem(root fs.FS) Info {
	var i Info
	for line := range strings.Lines(string(read(root, "proc/meminfo"))) {
		key, value, _ := strings.Cut(line, ":")
		kib, unit, _ := strings.Cut(strings.TrimSpace(value), " ")
		n := parse(kib)
		if strings.TrimSpace(unit) != "kB" || n > 1<<53 {
			continue
		}
		switch key {
		case "MemTotal":
			i.Total = n << 10
		case "MemAvailable":
			i.Available = n << 10
		}
	}
	for _, name := range []string{"sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		if n := parse(strings.TrimSpace(string(read(root, name)))); n > 0 && n < 1<<50 {
			i.Limit = n
			break
		}
	}
	if i.Available > i.Total {
		i.Available = i.Total
	}
	return i
}

// parse reads a number that is not negative; anything else is 0.
func parse(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 {
		return 0
	}
	return n
}

func read(root fs.FS, name string) []byte {
	f, err := root.Open(name)
	if err != nil {
		return nil
	}
	defer f.Close()
	b := make([]byte, 64<<10)
	n := 0
	for n < len(b) {
		k, err := f.Read(b[n:])
		n += k
		if err != nil || k == 0 {
			break
		}
	}
	return b[:n]
}

// Device describes the memory with what was measured.
func Device(info Info, measured []bench.Measurement) bench.Device {
	d := bench.Device{Part: bench.Memory, Name: "memory", Measurements: measured}
	if info.Limit > 0 && info.Limit < info.Total {
		d.Flags = append(d.Flags, bench.FlagShared)
		d.Facts = append(d.Facts, bench.Fact{Name: "of the machine", Value: fmt.Sprintf("%d MiB", info.Total>>20)})
	}
	return d
}
