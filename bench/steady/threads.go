package steady

import (
	"context"
	"runtime"
	"sync"
	"time"
)

const (
	shortest = time.Millisecond      // a sample: shorter than the turn that most systems give a program
	longest  = 4 * time.Millisecond  // longer, and it is rarely whole beside another program
	warming  = 10 * time.Millisecond // that a round does not count, or a quarter of it: clocks and caches warm up
)

// Run keeps threads busy with work for d and returns, for each stretch of a few milliseconds, the rate of all of them
// together. Threads that can all have a core are counted for the time that they had it, as if nothing else ran. work holds
// each thread's share: a function that does a little, well under a millisecond, and says how much that was. Each thread stays
// on a core of its own, where the system allows that.
func Run(ctx context.Context, d time.Duration, work []func() float64) ([]Sample, error) {
	window := min(max(d/16, shortest), longest)
	each := make([][]stretch, len(work))
	var ready, done sync.WaitGroup
	ready.Add(len(work))
	begin := make(chan struct{})
	var start time.Time
	for t := range work {
		done.Go(func() {
			defer Core(t, len(work))()
			ready.Done()
			<-begin
			each[t] = run(ctx, start, d, window, work[t])
		})
	}
	ready.Wait()
	before := readStolen()
	start = time.Now()
	close(begin)
	done.Wait()
	if ctx.Err() != nil {
		return nil, Interrupted(ctx)
	}
	skip := int(min(d/4, warming) / window)
	return together(each, d, skip, readStolen().since(before)), nil
}

// stretch is what one thread did in one window; nothing if it had no turn to begin it.
type stretch struct {
	did float64
	Timing
}

// together adds up the threads window by window. The first windows do not count if there are enough others.
func together(each [][]stretch, d time.Duration, skip int, stolen float64) []Sample {
	var out []Sample
	all, missed := Sample{}, 0.0
	for i := range each[0] {
		sum, whole := Sample{}, true
		for _, list := range each {
			s := list[i]
			if whole = whole && s.Own > 0; s.Own <= 0 {
				missed++
				continue
			}
			over := s.Own
			if len(each) > runtime.NumCPU() { // they cannot all have a core
				over = s.Wall
			}
			sum.Value += s.did / over.Seconds()
			sum.Lost += Lost(s.Wall, s.Own) / float64(len(each))
			all.Value += s.did / d.Seconds()
		}
		if whole {
			out = append(out, Sample{sum.Value, max(sum.Lost, stolen)})
		}
	}
	if len(out) == 0 { // so many take turns that they never all ran within one window
		all.Lost = clamp(missed / float64(len(each)*len(each[0])))
		return []Sample{all}
	}
	if len(out) > 2*skip+fewest {
		out = out[skip:]
	}
	return out
}

// run is one thread, window by window from start on. What begins in a window belongs to it.
func run(ctx context.Context, start time.Time, d, window time.Duration, work func() float64) []stretch {
	out := make([]stretch, max(1, int(d/window)))
	for first := true; ctx.Err() == nil; first = false {
		i := int(time.Since(start) / window)
		if i >= len(out) {
			if !first {
				break
			}
			i = len(out) - 1 // its first turn came when all was over
		}
		end := time.Duration(i+1) * window
		t := Watch()
		did := work()
		for time.Since(start) < end {
			did += work()
		}
		out[i] = stretch{did, t.Stop()}
	}
	return out
}

// Timing is one stretch of time of a thread.
type Timing struct {
	Begun time.Time
	Wall  time.Duration // how long it was
	Own   time.Duration // how much of that the thread had a processor: all of it where the system does not tell
}

// Timer measures one stretch of the thread it was started on, which must be locked to it.
type Timer struct {
	begun time.Time
	own   time.Duration
	known bool
}

// Watch starts a timer.
func Watch() Timer {
	own, known := threadTime()
	return Timer{time.Now(), own, known}
}

// Stop ends the stretch that began with Watch.
func (t Timer) Stop() Timing {
	x := Timing{Begun: t.begun, Wall: time.Since(t.begun)}
	x.Own = x.Wall
	if now, ok := threadTime(); ok && t.known {
		x.Own = min(x.Wall, max(now-t.own, 0))
	}
	return x
}

// Lost is the share of wall that was not own.
func Lost(wall, own time.Duration) float64 {
	if wall <= 0 {
		return 0
	}
	return clamp(1 - own.Seconds()/wall.Seconds())
}

// Core locks the goroutine to its thread, and that to one of the processors if there is one for each thread. The result ends
// that; a thread that was bound to a processor is not used again.
func Core(t, threads int) (release func()) {
	runtime.LockOSThread()
	if threads > 1 && pin(t, threads) {
		return func() {} // the thread ends with its goroutine
	}
	return runtime.UnlockOSThread
}

// stolen is what the host of a virtual machine kept of its processors.
type stolen struct {
	ticks, all float64
	known      bool
}

func (s stolen) since(before stolen) float64 {
	if !s.known || !before.known || s.all <= before.all {
		return 0
	}
	return clamp((s.ticks - before.ticks) / (s.all - before.all))
}
