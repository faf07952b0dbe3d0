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
)

// Options say how to measure.
type Options struct {
	Threads int           // for the figures of all cores; 0: as many as this process may use
	Time    time.Duration // for each figure
}

const (
	depth  = 256                   // k of the kernels, as libraries choose it
	second = 256 << 10             // bytes of the panels that come from the second cache
	calls  = 128                   // of the kernel between two looks at the clock: well under a millisecond
	window = 20 * time.Millisecond // one sample; shorter where a figure has less time than eight of them
	block  = 64 << 10              // bytes hashed at once: in the second cache
	turns  = 4000                  // of the chain in one run: some 40 µs, too short to be interrupted often
)

// Measure measures this processor, one figure after the other. It keeps every core busy for about ten times o.Time.
// What ctx cuts short is ungraded.
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
	var out []bench.Measurement
	for _, f := range []struct {
		name    string
		unit    bench.Unit
		threads int
		method  string
		work    func() func() float64
	}{
		{bench.FP64Single, bench.FLOPS, 1, "matrix multiplication from the second cache, " + best64.name, best64.work},
		{bench.FP64Multi, bench.FLOPS, o.Threads, "matrix multiplication from the second cache, " + best64.name, best64.work},
		{bench.FP32Single, bench.FLOPS, 1, "matrix multiplication from the second cache, " + best32.name, best32.work},
		{bench.FP32Multi, bench.FLOPS, o.Threads, "matrix multiplication from the second cache, " + best32.name, best32.work},
		{"integer.single", bench.OPS, 1, "splitmix64, four streams", integers},
		{bench.Integer, bench.OPS, o.Threads, "splitmix64, four streams", integers},
		{"sha256.single", bench.ByteRate, 1, "64 KiB at a time", hash},
		{bench.SHA256, bench.ByteRate, o.Threads, "64 KiB at a time", hash},
		{"blake3.multi", bench.ByteRate, o.Threads, "64 KiB at a time", tree},
	} {
		w := bench.Begin(f.name, f.unit, fmt.Sprintf("%s, %s", f.method, threadsText(f.threads)))
		samples, err := sustain(ctx, f.threads, o.Time, f.work)
		if err != nil {
			out = append(out, w.Fail(err))
			continue
		}
		out = append(out, w.Median(samples))
	}
	return append(out, clock(ctx, "clock.single", 1, o.Time/2, best64), clock(ctx, "clock.load", o.Threads, o.Time/2, best64))
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

// fastest tries the kernels for a moment each: the widest is not the fastest on every processor.
func fastest[T float32 | float64](list []kernel[T]) kernel[T] {
	const try = 5 * time.Millisecond
	best, most := list[0], 0.0
	for _, n := range list {
		run := n.work()
		run()
		done, begun := 0.0, time.Now()
		for time.Since(begun) < try {
			done += run()
		}
		if rate := done / time.Since(begun).Seconds(); rate > most {
			best, most = n, rate
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

// sustain runs work on threads for the time and returns the rate of all of them together in each window. The first
// window, in which caches and clocks warm up, does not count if there are enough others.
func sustain(ctx context.Context, threads int, d time.Duration, work func() func() float64) ([]float64, error) {
	rates := make([][]float64, threads)
	window := max(time.Millisecond, min(window, d/8))
	var wg sync.WaitGroup
	start := make(chan struct{})
	for t := range threads {
		wg.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			run := work()
			<-start
			for end := time.Now().Add(d); ctx.Err() == nil && time.Now().Before(end); {
				done, begun := 0.0, time.Now()
				for time.Since(begun) < window {
					done += run()
				}
				rates[t] = append(rates[t], done/time.Since(begun).Seconds())
			}
		})
	}
	close(start)
	wg.Wait()
	if ctx.Err() != nil {
		return nil, interrupted(ctx)
	}
	n := len(rates[0])
	for _, r := range rates {
		n = min(n, len(r))
	}
	sum := make([]float64, n)
	for _, r := range rates {
		for i := range sum {
			sum[i] += r[i]
		}
	}
	if len(sum) > 3 {
		sum = sum[1:]
	}
	return sum, nil
}

func interrupted(ctx context.Context) error { return fmt.Errorf("interrupted: %w", context.Cause(ctx)) }

// clock measures how many cycles a core does a second while all other threads are kept busy.
func clock(ctx context.Context, name string, threads int, d time.Duration, load kernel[float64]) bench.Measurement {
	w := bench.Begin(name, bench.Hertz, fmt.Sprintf("%s, %s busy", chainMethod, threadsText(threads)))
	if chainMethod == "" {
		return w.Name("none for this processor").Fail(fmt.Errorf("no chain of known length for %s", runtime.GOARCH))
	}
	busy, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	if threads > 1 {
		wg.Go(func() { _, _ = sustain(busy, threads-1, d+time.Second, load.work) })
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
		return w.Fail(interrupted(ctx))
	}
	return w.Value(most)
}
