package cpu

import (
	"context"
	"crypto/sha256"
	"fmt"
	"runtime"
	"sync"
	"time"
	"unsafe"

	"lukechampine.com/blake3"

	"kith/bench"
	"kith/bench/steady"
)

// Options say how to measure.
type Options struct {
	Threads int           // for the figures of all cores; 0: as many as this process may use
	Time    time.Duration // for each figure
}

const (
	depth  = 256       // k of the kernels, as libraries choose it
	second = 256 << 10 // bytes of the panels that come from the second cache
	calls  = 128       // of the kernel between two looks at the clock: well under a millisecond
	block  = 64 << 10  // bytes hashed at once: in the second cache
	turns  = 4000      // of the chain in one run: some 40 µs, too short to be interrupted often
)

// Measure measures this processor in rounds of all figures. It keeps every core busy for about ten times o.Time. A figure of
// which ctx lets no round be whole is ungraded.
func Measure(ctx context.Context, o Options) []bench.Measurement {
	if o.Threads <= 0 {
		o.Threads = runtime.GOMAXPROCS(0)
	}
	best64, best32 := fastest(kernels64()), fastest(kernels32())
	hash := func() func() float64 {
		b := make([]byte, block)
		return func() float64 { sum := sha256.Sum256(b); b[0] = sum[0]; return block }
	}
	tree := func() func() float64 {
		b := make([]byte, block)
		return func() float64 { sum := blake3.Sum256(b); b[0] = sum[0]; return block }
	}
	figures := []*figure{
		{name: bench.FP64Single, unit: bench.FLOPS, threads: 1, method: "matrix multiplication from the second cache, " + best64.name, work: best64.work},
		{name: bench.FP64Multi, unit: bench.FLOPS, threads: o.Threads, method: "matrix multiplication from the second cache, " + best64.name, work: best64.work},
		{name: bench.FP32Single, unit: bench.FLOPS, threads: 1, method: "matrix multiplication from the second cache, " + best32.name, work: best32.work},
		{name: bench.FP32Multi, unit: bench.FLOPS, threads: o.Threads, method: "matrix multiplication from the second cache, " + best32.name, work: best32.work},
		{name: "integer.single", unit: bench.OPS, threads: 1, method: "splitmix64, four streams", work: integers},
		{name: bench.Integer, unit: bench.OPS, threads: o.Threads, method: "splitmix64, four streams", work: integers},
		{name: "sha256.single", unit: bench.ByteRate, threads: 1, method: "64 KiB at a time", work: hash},
		{name: bench.SHA256, unit: bench.ByteRate, threads: o.Threads, method: "64 KiB at a time", work: hash},
		{name: "blake3.multi", unit: bench.ByteRate, threads: o.Threads, method: "64 KiB at a time", work: tree},
	}
	count := steady.Rounds(o.Time)
	for range count {
		for _, f := range figures {
			f.round(ctx, o.Time/time.Duration(count))
		}
	}
	var out []bench.Measurement
	for _, f := range figures {
		out = append(out, f.end())
	}
	return append(out, clock(ctx, "clock.single", 1, o.Time/2, best64), clock(ctx, "clock.load", o.Threads, o.Time/2, best64))
}

// figure is the measuring of one rate.
type figure struct {
	name    string
	unit    bench.Unit
	threads int
	method  string
	work    func() func() float64 // makes one thread's share

	made   []func() float64
	watch  bench.Stopwatch
	rounds [][]steady.Sample
	err    error
}

func (f *figure) round(ctx context.Context, d time.Duration) {
	if f.made == nil {
		f.watch = bench.Begin(f.name, f.unit, "")
		for range f.threads {
			f.made = append(f.made, f.work())
		}
	}
	samples, err := steady.Run(ctx, d, f.made)
	if err != nil {
		f.err = err
		return
	}
	f.rounds = append(f.rounds, samples)
}

// end is the figure: of the rounds that were whole, if any was.
func (f *figure) end() bench.Measurement {
	method := fmt.Sprintf("%s, %s", f.method, threadsText(f.threads))
	if f.rounds == nil {
		return f.watch.Name(method).Fail(f.err)
	}
	return steady.End(f.watch, method, f.rounds, steady.Typical)
}

func threadsText(n int) string {
	if n == 1 {
		return "one thread"
	}
	return fmt.Sprintf("%d threads", n)
}

// work makes one thread's share of a measurement: a function that runs the kernel once and says how much that was.
func (n kernel[T]) work() func() float64 {
	size := depth * n.mr // of one panel
	panels := max(1, second/int(unsafe.Sizeof(T(0)))/size)
	a, b, c := aligned[T](panels*size), aligned[T](depth*n.nr), aligned[T](n.mr*n.nr)
	for i := range a {
		a[i] = T(i%11) * 0.125
	}
	for i := range b {
		b[i] = T(i%7) * 0.25
	}
	return func() float64 {
		for i := range calls {
			n.mul(depth, 1, &a[i%panels*size], &b[0], &c[0])
		}
		return calls * n.flops(depth, 1)
	}
}

// fastest tries the kernels for a moment each, in turns: the widest is not the fastest on every processor. It counts only the
// time they had a core: else the choice, and with it the figure, would depend on what else runs.
func fastest[T float32 | float64](list []kernel[T]) kernel[T] {
	const tries, try = 5, time.Millisecond
	defer steady.Core(0, 1)()
	work := make([]func() float64, len(list))
	rounds := make([][][]steady.Sample, len(list))
	for i, n := range list {
		work[i] = n.work()
		work[i]()
	}
	for range tries {
		for i, run := range work {
			t, done := steady.Watch(), 0.0
			for begun := time.Now(); done == 0 || time.Since(begun) < try; {
				done += run()
			}
			if x := t.Stop(); x.Own > 0 {
				rounds[i] = append(rounds[i], []steady.Sample{{Value: done / x.Own.Seconds(), Lost: steady.Lost(x.Wall, x.Own)}})
			}
		}
	}
	best, most := list[0], 0.0
	for i, n := range list {
		if f, ok := steady.Of(rounds[i], steady.Most); ok && f.Value > most {
			best, most = n, f.Value
		}
	}
	return best
}

// integers is the rate of additions, multiplications, shifts and exclusive ors: nine a number.
func integers() func() float64 {
	var s [4]uint64
	return func() float64 {
		const steps, perStep = 2000, 9
		a, b, c, d := s[0], s[1]+1, s[2]+2, s[3]+3
		var sum uint64
		for range steps {
			a += 0x9e3779b97f4a7c15
			b += 0x9e3779b97f4a7c15
			c += 0x9e3779b97f4a7c15
			d += 0x9e3779b97f4a7c15
			sum ^= mix(a) ^ mix(b) ^ mix(c) ^ mix(d)
		}
		s = [4]uint64{a ^ sum&1, b, c, d}
		return steps * 4 * perStep
	}
}

func mix(z uint64) uint64 {
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb
	return z ^ (z >> 31)
}

// clock measures how many cycles a core does a second while all other threads are kept busy.
func clock(ctx context.Context, name string, threads int, d time.Duration, load kernel[float64]) bench.Measurement {
	w := bench.Begin(name, bench.Hertz, fmt.Sprintf("%s, %s busy", chainMethod, threadsText(threads)))
	if chainMethod == "" {
		return w.Name("none for this processor").Fail(fmt.Errorf("no chain of known length for %s", runtime.GOARCH))
	}
	busy, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	if threads > 1 {
		wg.Go(func() { (&figure{threads: threads - 1, work: load.work}).round(busy, d+time.Second) })
	}
	runtime.LockOSThread()
	most := 0.0
	for end := time.Now().Add(d); ctx.Err() == nil && time.Now().Before(end); {
		begun := time.Now()
		chain(turns)
		most = max(most, 32*turns/time.Since(begun).Seconds())
	}
	runtime.UnlockOSThread()
	stop()
	wg.Wait()
	if ctx.Err() != nil {
		return w.Fail(steady.Interrupted(ctx))
	}
	return w.Value(most)
}
