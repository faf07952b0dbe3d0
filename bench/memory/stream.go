package memory

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"
	"unsafe"

	"kith/bench"
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

// team is threads that each own a stretch of the three arrays, which they were the first to touch.
type team struct {
	per    int // doubles of each array of one thread
	orders []chan func(c, a, b []float64)
	done   sync.WaitGroup
	quit   sync.WaitGroup
}

func newTeam(threads, perThread int) *team {
	t := &team{per: perThread}
	for range threads {
		orders := make(chan func(c, a, b []float64))
		t.orders = append(t.orders, orders)
		t.quit.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			a, b, c := vector(perThread), vector(perThread), vector(perThread)
			for i := range a {
				a[i], b[i], c[i] = 1, 2, 0
			}
			for do := range orders {
				do(c, a, b)
				t.done.Done()
			}
		})
	}
	t.run(func(_, _, _ []float64) {}) // all memory is touched
	return t
}

// run has every thread do one thing and returns when all have, and how long that took.
func (t *team) run(do func(c, a, b []float64)) time.Duration {
	t.done.Add(len(t.orders))
	begun := time.Now()
	for _, o := range t.orders {
		o <- do
	}
	t.done.Wait()
	return time.Since(begun)
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

// stream measures the four kernels in one way.
func stream(ctx context.Context, t *team, s set, prefix string, d time.Duration) []bench.Measurement {
	var out []bench.Measurement
	for _, k := range []struct {
		name   string
		arrays int // read and written
		do     func(c, a, b []float64)
		want   float64
	}{
		{"copy", 2, func(c, a, _ []float64) { s.copy(c, a) }, 1},
		{"scale", 2, func(c, a, _ []float64) { s.scale(c, a, scalar) }, scalar},
		{"add", 3, func(c, a, b []float64) { s.add(c, a, b) }, 3},
		{"triad", 3, func(c, a, b []float64) { s.triad(c, a, b, scalar) }, 1 + 2*scalar},
	} {
		threads := len(t.orders)
		w := bench.Begin(prefix+k.name, bench.ByteRate, fmt.Sprintf("%s, %d threads, three arrays of %d MiB, best pass", s.name, threads, int64(t.per*threads)*8>>20))
		samples, err := passes(ctx, t, d, float64(k.arrays*8*t.per*threads), k.do)
		if err == nil {
			var mu sync.Mutex
			t.run(func(c, _, _ []float64) {
				if c[0] != k.want || c[len(c)/2] != k.want || c[len(c)-1] != k.want {
					mu.Lock()
					defer mu.Unlock()
					err = errWrong
				}
			})
		}
		if err != nil {
			out = append(out, w.Fail(err))
			continue
		}
		out = append(out, w.Best(samples))
	}
	return out
}

// passes runs one kernel over and over; the first pass does not count.
func passes(ctx context.Context, t *team, d time.Duration, bytes float64, do func(c, a, b []float64)) ([]float64, error) {
	if ctx.Err() == nil {
		t.run(do)
	}
	var rates []float64
	for end := time.Now().Add(d); len(rates) < 3 || time.Now().Before(end); {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("interrupted: %w", context.Cause(ctx))
		}
		rates = append(rates, bytes/t.run(do).Seconds())
	}
	return rates, nil
}
