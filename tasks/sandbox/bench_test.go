package sandbox_test

import (
	"slices"
	"testing"
	"time"

	"kith/tasks"
	"kith/tasks/sandbox"
	"kith/tasks/sandbox/sandboxtest"
)

// small is what the smallest real task looks like: a file in, a file out.
func small() sandbox.Work {
	return sandboxtest.Do("append", "!", map[string][]byte{"a": []byte("hello")})
}

func benchWarm(b *testing.B, e sandbox.Engine) {
	r, err := e.Open(b.Context(), tasks.JobID{1}, "")
	if err != nil {
		b.Fatal(err)
	}
	w := small()
	for b.Loop() {
		if _, err := r.Run(b.Context(), w); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkWarm(b *testing.B)      { benchWarm(b, process(b, func(*sandbox.Options) {})) }
func BenchmarkInProcess(b *testing.B) { benchWarm(b, sandbox.InProcess(sandboxtest.Kinds())) }

func BenchmarkWarmPair(b *testing.B) {
	e := process(b, func(o *sandbox.Options) { o.Spares = 2 })
	b.RunParallel(func(pb *testing.PB) {
		r, err := e.Open(b.Context(), tasks.JobID{1}, "")
		if err != nil {
			b.Error(err)
			return
		}
		w := small()
		for pb.Next() {
			if _, err := r.Run(b.Context(), w); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// benchOpen measures from Open to the end of the first work, and the death of the runner.
func benchOpen(b *testing.B, set func(*sandbox.Options)) {
	e := process(b, set)
	var open, first, end []time.Duration
	for b.Loop() {
		b.StopTimer()
		e.Warm()
		time.Sleep(40 * time.Millisecond) // for the spare, if there is to be one
		b.StartTimer()
		t := time.Now()
		r, err := e.Open(b.Context(), tasks.JobID{1}, "")
		if err != nil {
			b.Fatal(err)
		}
		open = append(open, time.Since(t))
		if _, err := r.Run(b.Context(), small()); err != nil {
			b.Fatal(err)
		}
		first = append(first, time.Since(t))
		t = time.Now()
		if err := r.Close(); err != nil {
			b.Fatal(err)
		}
		end = append(end, time.Since(t))
	}
	for name, all := range map[string][]time.Duration{"open": open, "first": first, "kill": end} {
		slices.Sort(all)
		b.ReportMetric(float64(all[len(all)/2].Microseconds()), "µs-"+name+"-p50")
	}
}

func BenchmarkOpenSpare(b *testing.B) { benchOpen(b, func(*sandbox.Options) {}) }
func BenchmarkOpenCold(b *testing.B)  { benchOpen(b, func(o *sandbox.Options) { o.Spares = -1 }) }
func BenchmarkOpenColdSampled(b *testing.B) {
	benchOpen(b, func(o *sandbox.Options) { o.Spares, o.Without = -1, sandbox.LayerCaps })
}

func BenchmarkOpenColdPlain(b *testing.B) {
	benchOpen(b, func(o *sandbox.Options) { o.Spares, o.Without = -1, sandbox.LayerCaps|sandbox.LayerNamespaces })
}

func BenchmarkOpenColdBare(b *testing.B) {
	benchOpen(b, func(o *sandbox.Options) {
		o.Spares, o.Without = -1, strays|sandbox.LayerCaps|sandbox.LayerNamespaces|sandbox.LayerPrivileges
	})
}
