package memory

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"kith/bench"
)

const (
	lineBytes = 64
	perLine   = lineBytes / 4 // indices
	chaseRun  = 1 << 15       // accesses of one sample
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

// latency measures the time of one access within a working set of so many bytes. warm says that it fits a cache.
func latency(ctx context.Context, name string, size int64, warm bool, d time.Duration) bench.Measurement {
	w := bench.Begin(name, bench.Seconds, fmt.Sprintf("dependent loads in random order over %s, small pages as the system gives them", sizeText(size)))
	if ctx.Err() != nil {
		return w.Fail(fmt.Errorf("interrupted: %w", context.Cause(ctx)))
	}
	next := ring(size)
	var at uint32
	if warm {
		at = chase(next, 0, min(len(next)/perLine, 1<<20))
	}
	var samples []float64
	for end := time.Now().Add(d / 2); len(samples) < 3 || time.Now().Before(end) && ctx.Err() == nil; {
		begun := time.Now()
		at = chase(next, at, chaseRun)
		samples = append(samples, time.Since(begun).Seconds()/chaseRun)
	}
	if int(at) >= len(next) {
		return w.Fail(errWrong)
	}
	return w.Median(samples)
}

func sizeText(n int64) string {
	switch {
	case n >= 1<<20:
		return fmt.Sprintf("%dMiB", n>>20)
	default:
		return fmt.Sprintf("%dKiB", n>>10)
	}
}
