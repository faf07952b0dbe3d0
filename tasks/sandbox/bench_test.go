package sandbox_test

import (
	"context"
	"os"
	"path/filepath"
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

// BenchmarkCompute is what the sandbox costs a task that only computes: the shortest of its times beside the shortest of
// those without a sandbox, taken in turn.
func BenchmarkCompute(b *testing.B) {
	best := func(engines ...sandbox.Engine) []time.Duration {
		var runners []sandbox.Runner
		for _, e := range engines {
			r, err := e.Open(b.Context(), tasks.JobID{1}, "")
			if err != nil {
				b.Fatal(err)
			}
			runners = append(runners, r)
		}
		least := make([]time.Duration, len(runners))
		w := sandboxtest.Do("compute", "100")
		for b.Loop() {
			for i, r := range runners {
				t := time.Now()
				if _, err := r.Run(b.Context(), w); err != nil {
					b.Fatal(err)
				}
				if d := time.Since(t); least[i] == 0 || d < least[i] {
					least[i] = d
				}
			}
		}
		return least
	}
	d := best(sandbox.InProcess(sandboxtest.Kinds()), process(b, func(o *sandbox.Options) { o.Spares = -1 }))
	b.ReportMetric(100*(d[1].Seconds()/d[0].Seconds()-1), "%-overhead")
	b.ReportMetric(d[0].Seconds()*1000, "ms-bare")
}

// BenchmarkKill ends 50 tasks of ten processes each, from the order to the moment when none is left: nine processes of the
// system's sleep beside each runner, or nine Go programs of five threads and 8 MB, whose end keeps the kernel itself busy.
func BenchmarkKill(b *testing.B) {
	const isolated, plain = strays | sandbox.LayerPrivileges, strays | sandbox.LayerPrivileges | sandbox.LayerNamespaces
	for _, c := range []struct {
		name    string
		without sandbox.Layers
		deed    string
	}{
		{"namespaces", isolated, "sleepers"},
		{"plain", plain, "sleepers"},
		{"plain sampled", plain | sandbox.LayerCaps, "sleepers"},
		{"Go programs", isolated, "strays"},
	} {
		b.Run(c.name, func(b *testing.B) {
			if _, err := os.Stat("/bin/sleep"); err != nil && c.deed == "sleepers" {
				b.Skip(err)
			}
			e := process(b, func(o *sandbox.Options) { o.Without, o.Spares = c.without, -1 })
			var all []time.Duration
			for b.Loop() {
				b.StopTimer()
				var runners []sandbox.Runner
				for range 50 {
					r, err := e.Open(b.Context(), tasks.JobID{1}, "")
					if err != nil {
						b.Fatal(err)
					}
					if _, err := r.Run(b.Context(), sandboxtest.Do(c.deed, "kill-bench")); err != nil {
						b.Fatal(err)
					}
					runners = append(runners, r)
				}
				awaitStrays(b, "kill-bench", 450)
				b.StartTimer()
				t := time.Now()
				e.Kill()
				all = append(all, time.Since(t))
				b.StopTimer()
				if left := len(sandboxtest.Strays("kill-bench")); left > 0 {
					b.Fatalf("%d processes are left", left)
				}
				for _, r := range runners {
					if err := r.Close(); err != nil {
						b.Fatal(err)
					}
				}
				b.StartTimer()
			}
			reportTimes(b, all)
		})
	}
}

// awaitStrays waits until there are that many.
func awaitStrays(b *testing.B, mark string, n int) {
	b.Helper()
	for end := time.Now().Add(30 * time.Second); len(sandboxtest.Strays(mark)) < n; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			b.Fatalf("%d of %d processes", len(sandboxtest.Strays(mark)), n)
		}
	}
}

func reportTimes(b *testing.B, all []time.Duration) {
	slices.Sort(all)
	b.ReportMetric(float64(all[len(all)/2].Microseconds())/1000, "ms-p50")
	b.ReportMetric(float64(all[(len(all)*99+99)/100-1].Microseconds())/1000, "ms-p99")
}

// BenchmarkOvershoot is by how much a task that takes memory as fast as it can passes its limit, where that is sampled.
func BenchmarkOvershoot(b *testing.B) {
	e := process(b, func(o *sandbox.Options) { o.Without = sandbox.LayerCaps })
	var all []int64
	for b.Loop() {
		r, err := e.Open(context.Background(), tasks.JobID{1}, "")
		if err != nil {
			b.Fatal(err)
		}
		w := sandboxtest.Do("memory", "0")
		w.Limits.MemoryBytes = 64 << 20
		res, err := r.Run(b.Context(), w)
		if err == nil {
			b.Fatal("it was not ended")
		}
		all = append(all, max(0, res.PeakMemory-w.Limits.MemoryBytes))
		if err := r.Close(); err != nil {
			b.Fatal(err)
		}
	}
	slices.Sort(all)
	b.ReportMetric(float64(all[len(all)/2])/1e6, "MB-p50")
	b.ReportMetric(float64(all[len(all)-1])/1e6, "MB-worst")
}

// BenchmarkDiskOvershoot is by how much a task that fills its scratch as fast as it can passes its limits: bytes, and
// entries.
func BenchmarkDiskOvershoot(b *testing.B) {
	const bytes, entries = 64 << 20, 5000
	for name, phase := range map[string]string{"bytes": "fill fast", "entries": "fill folders fast"} {
		b.Run(name, func(b *testing.B) {
			e := process(b, func(o *sandbox.Options) { o.Entries = entries })
			var all []float64
			for b.Loop() {
				dir, err := os.MkdirTemp("", "kith-overshoot-")
				if err != nil {
					b.Fatal(err)
				}
				for _, d := range []string{sandbox.InDir, sandbox.OutDir, sandbox.TmpDir} {
					if err := os.Mkdir(filepath.Join(dir, d), 0o700); err != nil {
						b.Fatal(err)
					}
				}
				r, err := e.Open(b.Context(), tasks.JobID{1}, dir)
				if err != nil {
					b.Fatal(err)
				}
				w := sandboxtest.Do(phase, "")
				w.OutDir, w.Scratch = filepath.Join(dir, sandbox.OutDir), filepath.Join(dir, sandbox.TmpDir)
				w.Limits.ScratchBytes = bytes
				_, err = r.Run(b.Context(), w)
				sandboxtest.WantReason(b, err, tasks.ScratchLimit)
				if err := r.Close(); err != nil {
					b.Fatal(err)
				}
				list, err := os.ReadDir(w.Scratch)
				if err != nil {
					b.Fatal(err)
				}
				over := float64(len(list) - entries)
				if name == "bytes" {
					over = float64(len(list)<<20-bytes) / 1e6
				}
				all = append(all, over)
				if err := sandbox.Wipe(dir); err != nil {
					b.Fatal(err)
				}
			}
			slices.Sort(all)
			unit := map[string]string{"bytes": "MB", "entries": "entries"}[name]
			b.ReportMetric(all[len(all)/2], unit+"-p50")
			b.ReportMetric(all[len(all)-1], unit+"-worst")
		})
	}
}
