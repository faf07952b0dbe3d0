package memory

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
	"unsafe"

	"kith/bench"
	"kith/bench/steady"
)

// set is one way to run the four kernels of STREAM. All slices have the same length, a multiple of grain.
type set struct {
	name  string
	copy  func(dst, a []float64)            // dst = a
	scale func(dst, a []float64, q float64) // dst = q·a
	add   func(dst, a, b []float64)         // dst = a + b
	triad func(dst, a, b []float64, q float64)
}

const (
	grain  = 16 // doubles that the kernels do at once
	scalar = 3.0
)

func goSet() set {
	return set{
		"plain Go",
		func(d, a []float64) { copy(d, a) },
		func(d, a []float64, q float64) {
			a = a[:len(d)]
			for i := range d {
				d[i] = q * a[i]
			}
		},
		func(d, a, b []float64) {
			a, b = a[:len(d)], b[:len(d)]
			for i := range d {
				d[i] = a[i] + b[i]
			}
		},
		func(d, a, b []float64, q float64) {
			a, b = a[:len(d)], b[:len(d)]
			for i := range d {
				d[i] = a[i] + q*b[i]
			}
		},
	}
}

// team is threads that each own a stretch of the three arrays, which they were the first to touch, and stay on a core of
// their own where the system allows that.
type team struct {
	per    int // doubles of each array of one thread
	orders []chan order
	took   []steady.Timing
	done   sync.WaitGroup
	quit   sync.WaitGroup
}

// order has a thread do something with its elements from one to the other.
type order struct {
	from, to int
	do       func(c, a, b []float64)
}

func newTeam(threads, perThread int) *team {
	t := &team{per: perThread, took: make([]steady.Timing, threads)}
	for i := range threads {
		orders := make(chan order)
		t.orders = append(t.orders, orders)
		t.quit.Go(func() {
			defer steady.Core(i, threads)()
			a, b, c := vector(perThread), vector(perThread), vector(perThread)
			for i := range a {
				a[i], b[i], c[i] = 1, 2, 0
			}
			for o := range orders {
				watch := steady.Watch()
				o.do(c[o.from:o.to], a[o.from:o.to], b[o.from:o.to])
				t.took[i] = watch.Stop()
				t.done.Done()
			}
		})
	}
	t.run(0, perThread, func(_, _, _ []float64) {}) // all memory is touched
	return t
}

// run has every thread do one thing and returns when all have, how long that took, and the share of it that the thread which
// waited longest for its processor lost.
func (t *team) run(from, to int, do func(c, a, b []float64)) (took time.Duration, lost float64) {
	t.done.Add(len(t.orders))
	begun := time.Now()
	for _, o := range t.orders {
		o <- order{from, to, do}
	}
	t.done.Wait()
	took = time.Since(begun)
	for _, x := range t.took {
		lost = max(lost, steady.Lost(took, took-x.Begun.Sub(begun)-(x.Wall-x.Own)))
	}
	return took, lost
}

func (t *team) close() {
	for _, o := range t.orders {
		close(o)
	}
	t.quit.Wait()
}

// vector returns n doubles that begin a page's worth of alignment for any vector store.
func vector(n int) []float64 {
	const line = 64
	b := make([]float64, n+line/8)
	off := 0
	if r := int(uintptr(unsafe.Pointer(&b[0])) % line); r != 0 {
		off = (line - r) / 8
	}
	return b[off : off+n : off+n]
}

// errWrong: a kernel computed something else than it must, so that its speed means nothing.
var errWrong = errors.New("a kernel gave a wrong result")

// piece is what a thread does of an array between two looks at the clock: some milliseconds, short enough to be whole beside
// other programs. All pieces together are far more than a cache, so none of it is still there the next time.
const piece = 16 << 20 / 8 // doubles

// stream is the measuring of one kernel.
type stream struct {
	name   string
	method string
	arrays int // read and written
	do     func(c, a, b []float64)
	want   float64 // what c then holds
	watch  bench.Stopwatch
	rounds [][]steady.Sample
	err    error
}

// streams lists the four kernels of one way.
func streams(s set, prefix string) []*stream {
	return []*stream{
		{name: prefix + "copy", method: s.name, arrays: 2, want: 1, do: func(c, a, _ []float64) { s.copy(c, a) }},
		{name: prefix + "scale", method: s.name, arrays: 2, want: scalar, do: func(c, a, _ []float64) { s.scale(c, a, scalar) }},
		{name: prefix + "add", method: s.name, arrays: 3, want: 3, do: func(c, a, b []float64) { s.add(c, a, b) }},
		{name: prefix + "triad", method: s.name, arrays: 3, want: 1 + 2*scalar, do: func(c, a, b []float64) { s.triad(c, a, b, scalar) }},
	}
}

// round measures for d, but each array to its end at least once. A first piece does not count, and the next one is another:
// part of the first is still in the caches. Then it looks whether what was computed is right.
func (s *stream) round(ctx context.Context, t *team, d time.Duration) {
	if s.rounds == nil {
		s.watch = bench.Begin(s.name, bench.ByteRate, "")
	}
	if s.err != nil && s.rounds == nil || errors.Is(s.err, errWrong) {
		return
	}
	from := min(piece, t.per)
	t.run(0, from, s.do)
	if from == t.per {
		from = 0
	}
	var samples []steady.Sample
	for begun := time.Now(); from > 0 || len(samples) == 0 || time.Since(begun) < d; {
		if ctx.Err() != nil {
			s.err = steady.Interrupted(ctx)
			return
		}
		to := min(from+piece, t.per)
		took, lost := t.run(from, to, s.do)
		samples = append(samples, steady.Sample{Value: float64(s.arrays*8*(to-from)*len(t.orders)) / took.Seconds(), Lost: lost})
		if from = to; from == t.per {
			from = 0
		}
	}
	s.rounds = append(s.rounds, samples)
	var mu sync.Mutex
	t.run(0, t.per, func(c, _, _ []float64) {
		if c[0] != s.want || c[len(c)/2] != s.want || c[len(c)-1] != s.want {
			mu.Lock()
			defer mu.Unlock()
			s.err = errWrong
		}
	})
}

// end is the figure: of the rounds that were whole, if any was.
func (s *stream) end(t *team) bench.Measurement {
	threads := len(t.orders)
	method := fmt.Sprintf("%s, %d threads, three arrays of %d MiB", s.method, threads, int64(t.per*threads)*8>>20)
	if s.err != nil && (s.rounds == nil || errors.Is(s.err, errWrong)) {
		return s.watch.Name(method).Fail(s.err)
	}
	return steady.End(s.watch, method, s.rounds, steady.Most)
}
