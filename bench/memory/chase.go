package memory

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"kith/bench"
	"kith/bench/steady"
)

const (
	lineBytes = 64
	perLine   = lineBytes / 4 // indices
	chaseRun  = 1 << 11       // accesses between two looks at the clock
	sampling  = 250 * time.Microsecond
)

// ring returns a table in which every line names another one, all in one ring in random order, so that no processor
// guesses what comes next.
func ring(bytes int64) []uint32 {
	lines := int(bytes / lineBytes)
	next := make([]uint32, lines*perLine)
	order := make([]uint32, lines)
	for i := range order {
		order[i] = uint32(i)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for i := lines - 1; i > 0; i-- { // Sattolo's shuffle: one ring, never two
		j := r.IntN(i)
		order[i], order[j] = order[j], order[i]
	}
	for i, to := range order {
		next[i*perLine] = to * perLine
	}
	return next
}

// chase follows the ring for n accesses.
func chase(next []uint32, at uint32, n int) uint32 {
	for range n {
		at = next[at]
	}
	return at
}

// workingSets lists the sizes to measure, up to most bytes. The last is of the memory itself, if most is several times
// the last cache.
func workingSets(most int64) []int64 {
	const first = 16 << 10
	var sizes []int64
	for s := int64(first); s < most; s *= 4 {
		sizes = append(sizes, s)
	}
	return append(sizes, most/lineBytes*lineBytes)
}

// ringed is the measuring of one working set: how long one access takes that the next one waits for.
type ringed struct {
	name   string
	size   int64
	warm   bool // it fits a cache
	next   []uint32
	at     uint32
	watch  bench.Stopwatch
	rounds [][]steady.Sample
	err    error
}

// round measures for d. The table is made in the first round and kept.
func (r *ringed) round(ctx context.Context, d time.Duration) {
	if ctx.Err() == nil && r.next == nil {
		r.watch = bench.Begin(r.name, bench.Seconds, "")
		r.next = ring(r.size)
	}
	defer steady.Core(0, 1)()
	if ctx.Err() == nil && r.warm {
		r.at = chase(r.next, r.at, min(len(r.next)/perLine, 1<<20))
	}
	var samples []steady.Sample
	for end := time.Now().Add(d); len(samples) < 3 || time.Now().Before(end); {
		if ctx.Err() != nil {
			r.err = steady.Interrupted(ctx)
			return
		}
		n := 0
		t := steady.Watch()
		for begun := time.Now(); n == 0 || time.Since(begun) < sampling; n += chaseRun {
			r.at = chase(r.next, r.at, chaseRun)
		}
		x := t.Stop()
		samples = append(samples, steady.Sample{Value: x.Wall.Seconds() / float64(n), Lost: steady.Lost(x.Wall, x.Own)})
	}
	r.rounds = append(r.rounds, samples)
}

// end is the figure: of the rounds that were whole, if any was.
func (r *ringed) end() bench.Measurement {
	method := fmt.Sprintf("dependent loads in random order over %s, small pages as the system gives them", sizeText(r.size))
	switch {
	case r.rounds == nil:
		return bench.Begin(r.name, bench.Seconds, method).Fail(r.err)
	case int(r.at) >= len(r.next):
		return r.watch.Name(method).Fail(errWrong)
	}
	return steady.End(r.watch, method, r.rounds, steady.Least)
}

func sizeText(n int64) string {
	switch {
	case n >= 1<<20:
		return fmt.Sprintf("%dMiB", n>>20)
	default:
		return fmt.Sprintf("%dKiB", n>>10)
	}
}
