package memory

import (
	"context"
	"errors"
	"testing"
	"testing/fstest"
	"time"

	"kith/bench"
)

func TestKernels(t *testing.T) {
	for _, s := range sets() {
		for _, n := range []int{grain, 3 * grain, 1024} {
			a, b, guarded := vector(n), vector(n), vector(n+grain)
			for i := range a {
				a[i], b[i] = float64(i), float64(n-i)*0.5
			}
			d := guarded[:n]
			for _, k := range []struct {
				name string
				do   func()
				want func(i int) float64
			}{
				{"copy", func() { s.copy(d, a) }, func(i int) float64 { return a[i] }},
				{"scale", func() { s.scale(d, a, 3) }, func(i int) float64 { return 3 * a[i] }},
				{"add", func() { s.add(d, a, b) }, func(i int) float64 { return a[i] + b[i] }},
				{"triad", func() { s.triad(d, a, b, 3) }, func(i int) float64 { return a[i] + 3*b[i] }},
			} {
				clear(guarded)
				guarded[n] = -7
				k.do()
				for i := range d {
					if d[i] != k.want(i) {
						t.Fatalf("%s %s of %d: element %d is %v, want %v", s.name, k.name, n, i, d[i], k.want(i))
					}
				}
				if guarded[n] != -7 {
					t.Fatalf("%s %s wrote past its array", s.name, k.name)
				}
			}
		}
	}
}

func TestRingIsOneRing(t *testing.T) {
	const lines = 1000
	next := ring(lines * lineBytes)
	at, n := uint32(0), 0
	for {
		at = next[at]
		n++
		if at == 0 || n > lines {
			break
		}
	}
	if n != lines {
		t.Errorf("the ring closes after %d of %d lines", n, lines)
	}
}

func TestMeasure(t *testing.T) {
	for _, threads := range []int{1, 3, 128} {
		got := Measure(t.Context(), Read(), Options{Threads: threads, Time: time.Millisecond, Cache: 1 << 20, Most: leastMemory})
		for _, s := range bench.Scales() {
			if s.Part != bench.Memory {
				continue
			}
			d := bench.Device{Measurements: got}
			if m, ok := d.Get(s.Name); !ok || !m.Graded() || m.Value <= 0 {
				t.Errorf("%d threads: %s: %+v", threads, s.Name, m)
			}
		}
	}
}

func TestTooLittleMemoryIsUngraded(t *testing.T) {
	d := Device(Info{Total: 64 << 20, Available: 10 << 20}, Measure(t.Context(), Info{Total: 64 << 20, Available: 10 << 20}, Options{Time: time.Millisecond}))
	if m, _ := d.Get(bench.StreamTriad); m.Graded() {
		t.Errorf("%+v, want ungraded", m)
	}
	if m, _ := d.Get(bench.Size); !m.Graded() || m.Value != 64<<20 {
		t.Errorf("%+v, want the size", m)
	}
	for _, m := range Measure(t.Context(), Info{}, Options{Time: time.Millisecond}) {
		if m.Graded() {
			t.Errorf("%+v of a system that says nothing", m)
		}
	}
}

func TestInterruptedIsUngraded(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("the owner stopped everything"))
	for _, m := range Measure(ctx, Read(), Options{Time: time.Hour, Most: leastMemory, Cache: 1 << 20}) {
		if m.Graded() && m.Name != bench.Size && m.Name != "free" {
			t.Errorf("%+v, want ungraded", m)
		}
	}
}

func TestParseSystem(t *testing.T) {
	file := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }
	tests := []struct {
		name string
		root fstest.MapFS
		want Info
	}{
		{"plain", fstest.MapFS{"proc/meminfo": file("MemTotal:       1000 kB\nMemFree: 1 kB\nMemAvailable:    600 kB\n")}, Info{Total: 1000 << 10, Available: 600 << 10}},
		{"container", fstest.MapFS{"proc/meminfo": file("MemTotal: 1000 kB\nMemAvailable: 600 kB\n"), "sys/fs/cgroup/memory.max": file("512000\n")}, Info{Total: 1000 << 10, Available: 600 << 10, Limit: 512000}},
		{"no limit", fstest.MapFS{"sys/fs/cgroup/memory.max": file("max\n")}, Info{}},
		{"old group without limit", fstest.MapFS{"sys/fs/cgroup/memory/memory.limit_in_bytes": file("9223372036854771712\n")}, Info{}},
		{"nothing", fstest.MapFS{}, Info{}},
		{"negative", fstest.MapFS{"proc/meminfo": file("MemTotal: -5 kB\nMemAvailable: x kB\n")}, Info{}},
		{"more available than there is", fstest.MapFS{"proc/meminfo": file("MemTotal: 5 kB\nMemAvailable: 9 kB\n")}, Info{Total: 5 << 10, Available: 5 << 10}},
	}
	for _, tt := range tests {
		if got := parseSystem(tt.root); got != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
		}
	}
}

func FuzzParseSystem(f *testing.F) {
	f.Add("MemTotal: 5 kB\nMemAvailable: 3 kB\n", "123")
	f.Fuzz(func(t *testing.T, info, limit string) {
		i := parseSystem(fstest.MapFS{"proc/meminfo": {Data: []byte(info)}, "sys/fs/cgroup/memory.max": {Data: []byte(limit)}})
		if i.Total < 0 || i.Available < 0 || i.Available > i.Total || i.Limit < 0 {
			t.Errorf("%+v", i)
		}
	})
}
