package sandbox_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"kith/tasks"
	"kith/tasks/sandbox"
	"kith/tasks/sandbox/sandboxtest"
)

// kept names the two ways in which caps are kept, and the layers that each does without.
var kept = map[string]sandbox.Layers{"by the kernel": 0, "by sampling": sandbox.LayerCaps}

// capped runs test with an engine of each way; a system without control groups has only one.
func capped(t *testing.T, test func(t *testing.T, e *sandbox.Process)) {
	for name, without := range kept {
		t.Run(name, func(t *testing.T) {
			e := process(t, func(o *sandbox.Options) { o.Without, o.Spares = without, -1 })
			test(t, e)
		})
	}
}

// lend starts a task of a lease and returns what ends it and where its error arrives.
func lend(t testing.TB, e *sandbox.Process, w sandbox.Work) (end func(), result <-chan error) {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{sandbox.InDir, sandbox.OutDir, sandbox.TmpDir} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	w.OutDir, w.Scratch = filepath.Join(dir, sandbox.OutDir), filepath.Join(dir, sandbox.TmpDir)
	r, err := e.Open(context.Background(), tasks.JobID{1}, dir)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := r.Run(context.Background(), w)
		done <- err
	}()
	end = func() { _ = r.Close() }
	t.Cleanup(end)
	return end, done
}

// spin is a task that computes for ever.
func spin() sandbox.Work {
	w := sandboxtest.Do("spin", "")
	w.Limits.WallMillis, w.Limits.CPUMillis = 600_000, 600_000
	return w
}

// share is how many processors the engine's tasks take over a while.
func share(e *sandbox.Process, over time.Duration) float64 {
	before, began := e.Load(), time.Now()
	time.Sleep(over)
	return (e.Load().CPU - before.CPU).Seconds() / time.Since(began).Seconds()
}

func working(t testing.TB, e *sandbox.Process, n int) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); e.Load().Working != n; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d works in progress, want %d", e.Load().Working, n)
		}
	}
}

// TestCapsCPU compares tasks under a cap with the same tasks of an engine without one, which compete for the same
// processors: whatever else this machine does, it does to both.
func TestCapsCPU(t *testing.T) {
	capped(t, func(t *testing.T, e *sandbox.Process) {
		control := process(t, func(o *sandbox.Options) { o.Spares = -1 })
		const low = 0.02
		e.SetCaps(sandbox.Caps{CPU: low})
		for range 2 {
			lend(t, e, spin())
			lend(t, control, spin())
		}
		working(t, e, 2)
		working(t, control, 2)
		// part is what the tasks took of what those of control took meanwhile.
		part := func() float64 {
			of, than := e.Load().CPU, control.Load().CPU
			if !grows(control, 300*time.Millisecond) {
				t.Fatal("the tasks without a cap do not run")
			}
			return (e.Load().CPU - of).Seconds() / (control.Load().CPU - than).Seconds()
		}
		if p := part(); p > 0.6 {
			t.Errorf("under a cap of %v processors they took %.2f of what others took", low, p)
		}
		e.SetCaps(sandbox.Caps{}) // while they run
		for try, p := 0, part(); p < 0.4; p = part() {
			if try++; try > 20 {
				t.Fatalf("without a cap they take no more than %.2f of what others take", p)
			}
		}
		e.SetCaps(sandbox.Caps{CPU: low})
		part() // what was under way
		if p := part(); p > 0.6 {
			t.Errorf("under a cap again they took %.2f of what others took", p)
		}
	})
}

// grows waits until tasks have taken so much more processor time: how soon depends on who else uses this machine.
func grows(e *sandbox.Process, by time.Duration) bool {
	before := e.Load().CPU
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if e.Load().CPU-before >= by {
			return true
		}
	}
	return false
}

func TestHalt(t *testing.T) {
	t.Parallel()
	capped(t, func(t *testing.T, e *sandbox.Process) {
		short := spin()
		short.Limits.WallMillis = 1500
		_, ended := lend(t, e, short)
		working(t, e, 1)
		e.SetCaps(sandbox.Caps{Halt: true})
		if l := e.Load(); !l.Halted || l.Lent != 1 {
			t.Errorf("%+v", l)
		}
		own := sandboxtest.Do("whatever", "", map[string][]byte{"n": []byte("a")})
		own.Op = sandbox.OpMerge // for a job of this machine: it goes on
		if _, merged := lend(t, e, own); true {
			if err := <-merged; err != nil {
				t.Errorf("the machine's own work while the tasks of leases are halted: %v", err)
			}
		}
		_, late := lend(t, e, spin()) // begun while halted
		working(t, e, 2)
		time.Sleep(1600 * time.Millisecond)
		select {
		case err := <-ended:
			t.Fatalf("a halted task ended by its clock: %v", err)
		case err := <-late:
			t.Fatalf("a task that began halted ended: %v", err)
		default:
		}
		e.SetCaps(sandbox.Caps{})
		sandboxtest.WantReason(t, <-ended, tasks.TimeLimit)
		e.SetCaps(sandbox.Caps{Halt: true})
		e.Kill() // what is halted dies too
		if err := <-late; err == nil {
			t.Error("a killed task ended well")
		}
	})
}

// TestCapsAreNoTaskFault: what a task waits for because of the owner's ceilings does not count against its wall limit. It
// computes for longer than that limit allows it to live under so low a ceiling.
func TestCapsAreNoTaskFault(t *testing.T) {
	t.Parallel()
	capped(t, func(t *testing.T, e *sandbox.Process) {
		const low, limit = 0.02, 3500
		w := sandboxtest.Do("burn", "100") // milliseconds of processor time
		w.Limits.WallMillis, w.Limits.CPUMillis = limit, 600_000
		dir := t.TempDir()
		for _, d := range []string{sandbox.InDir, sandbox.OutDir, sandbox.TmpDir} {
			if err := os.Mkdir(filepath.Join(dir, d), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		r, err := e.Open(t.Context(), tasks.JobID{1}, dir)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		e.SetCaps(sandbox.Caps{CPU: low}) // not before: a slow machine would take long to start a runner
		res, err := r.Run(t.Context(), w)
		if err != nil {
			t.Fatalf("after %d ms: %v", res.WallMillis, err)
		}
		if res.WallMillis <= limit {
			t.Skipf("it took %d ms in all: this machine is too busy to keep the ceiling, and nothing is shown", res.WallMillis)
		}
	})
}

func TestHaltedTasksTakeNothing(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("reads /proc")
	}
	for name, without := range map[string]sandbox.Layers{
		"alone":       0,
		"with strays": strays | sandbox.LayerPrivileges | sandbox.LayerNamespaces | sandbox.LayerCaps,
	} {
		t.Run(name, func(t *testing.T) {
			e := process(t, func(o *sandbox.Options) { o.Without, o.Spares = without, -1 })
			lend(t, e, spin())
			if name != "alone" {
				w := sandboxtest.Do("stray hang", "halted")
				w.Limits.WallMillis = 600_000
				lend(t, e, w)
			}
			if !grows(e, 20*time.Millisecond) {
				t.Fatal("the task does not run")
			}
			e.SetCaps(sandbox.Caps{Halt: true})
			time.Sleep(100 * time.Millisecond) // for what was on a processor
			if s := share(e, 500*time.Millisecond); s > 0.02 {
				t.Errorf("halted tasks took %.3f of a processor", s)
			}
		})
	}
}

func TestCapsMemory(t *testing.T) {
	t.Parallel()
	capped(t, func(t *testing.T, e *sandbox.Process) {
		const most = 192 << 20
		e.SetCaps(sandbox.Caps{Memory: most})
		var results []<-chan error
		for range 2 {
			w := sandboxtest.Do("memory", "20")
			w.Limits.MemoryBytes, w.Limits.WallMillis = 1<<30, 600_000
			_, r := lend(t, e, w)
			results = append(results, r)
		}
		var err error
		select {
		case err = <-results[0]:
		case err = <-results[1]:
		}
		var why tasks.Reason
		if !errors.As(err, &why) || why.Code != tasks.OverLimits && why.Code != tasks.MemoryLimit {
			t.Errorf("two tasks that together pass the cap: %v", err)
		}
	})
}

// TestLoweredMemory takes memory away that tasks already hold.
func TestLoweredMemory(t *testing.T) {
	t.Parallel()
	capped(t, func(t *testing.T, e *sandbox.Process) {
		w := sandboxtest.Do("memory", "1")
		w.Limits.MemoryBytes, w.Limits.WallMillis = 1<<30, 600_000
		_, r := lend(t, e, w)
		for e.Load().Memory < 200<<20 {
			time.Sleep(5 * time.Millisecond)
		}
		e.SetCaps(sandbox.Caps{Memory: 100 << 20})
		var why tasks.Reason
		if err := <-r; !errors.As(err, &why) || why.Code != tasks.OverLimits && why.Code != tasks.MemoryLimit {
			t.Errorf("%v", err)
		}
		if l := e.Load(); l.Memory > 100<<20 {
			t.Errorf("%d MiB are in use", l.Memory>>20)
		}
	})
}

func TestCapsIO(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("IO is counted on Linux and Windows alone")
	}
	const rate = 10 << 20
	e := process(t, func(o *sandbox.Options) { o.Spares = -1 })
	e.SetCaps(sandbox.Caps{IO: rate})
	w := sandboxtest.Do("fill", "")
	w.Limits.ScratchBytes, w.Limits.WallMillis = 1<<30, 600_000
	began := time.Now()
	end, result := lend(t, e, w)
	for e.Load().IO == 0 {
		if time.Since(began) > 20*time.Second {
			t.Skip("this system does not count the bytes of a process")
		}
		time.Sleep(time.Millisecond)
	}
	// A burst between two samples, which lie far apart on a busy machine, is paid back: in the end the rate holds.
	for deadline := began.Add(20 * time.Second); ; {
		select {
		case err := <-result:
			t.Fatalf("it wrote all it may: %v", err)
		case <-time.After(1500 * time.Millisecond):
		}
		wrote, took := e.Load().IO, time.Since(began)
		if most := rate*took.Seconds() + 16<<20; float64(wrote) <= most {
			break
		}
		if time.Now().After(deadline) {
			t.Errorf("%d MiB in %v under a cap of %d MiB/s", wrote>>20, took, rate>>20)
			break
		}
	}
	end()
	e.SetCaps(sandbox.Caps{})
}

// BenchmarkCapError prints how far the caps are from what the owner set, in percent: the share of the processor over ten
// seconds, the bytes written, and those that go to and from a drive past the cache, where the kernel limits it.
func BenchmarkCapError(b *testing.B) {
	for name, without := range kept {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				e := process(b, func(o *sandbox.Options) { o.Without, o.Spares = without, -1 })
				for range 4 {
					lend(b, e, spin())
				}
				working(b, e, 4)
				for _, want := range []float64{0.25, 0.5, 1} {
					e.SetCaps(sandbox.Caps{CPU: want})
					time.Sleep(500 * time.Millisecond)
					got := share(e, 10*time.Second)
					b.ReportMetric(100*(got-want)/want, "%-CPU-error-at-"+map[float64]string{0.25: "25", 0.5: "50", 1: "100"}[want])
				}
				e.Kill()
				const rate = 20 << 20
				e.SetCaps(sandbox.Caps{IO: rate})
				w := sandboxtest.Do("fill", "")
				w.Limits.ScratchBytes, w.Limits.WallMillis = 8<<30, 600_000
				end, _ := lend(b, e, w)
				working(b, e, 1)
				before, began := e.Load(), time.Now()
				time.Sleep(10 * time.Second)
				got := float64(e.Load().IO-before.IO) / time.Since(began).Seconds()
				b.ReportMetric(100*(got-rate)/rate, "%-IO-error")
				end()
				e.SetCaps(sandbox.Caps{})
				benchDrive(b, e)
			}
		})
	}
}
