// Package steady makes one figure of a computer that also does other things. What is measured is cut into short samples,
// each with the share of its time that something else had the processor, and the samples are taken in rounds with other
// figures between them, so that a burst of foreign work spoils some samples of every figure and not one figure wholly.
package steady

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"kith/bench"
)

// Sample is one short measurement.
type Sample struct {
	Value float64
	Lost  float64 // share of its time, 0 to 1, in which something else had the processor; 0 also where the system does not tell
}

// Take says which of the undisturbed samples is the figure.
type Take float64

// Takes. What can only be disturbed one way is taken from near that end, as STREAM takes its best pass; the very end would
// trust a single slip of the clock.
const (
	Least   Take = 0.1
	Typical Take = 0.5
	Most    Take = 0.9
)

const (
	undisturbed = 0.03 // a sample that lost no more counts as whole
	fewest      = 3    // samples that make a figure, if there are as many; else those that lost least
	fewestShare = 0.1
)

// Figure is what rounds of samples come to.
type Figure struct {
	Value      float64
	Confidence float64 // 0 to 1: one less how far the rounds differ, times the share of their time that the samples had
	Kept, Of   int     // samples
}

// Of makes a figure of rounds. Samples that are not finite and positive do not count. ok is false if none is left.
func Of(rounds [][]Sample, take Take) (f Figure, ok bool) {
	var all []Sample
	for _, r := range rounds {
		all = append(all, good(r)...)
	}
	if len(all) == 0 {
		return Figure{}, false
	}
	kept, most := whole(all)
	f = Figure{Value: quantile(kept, take), Kept: len(kept), Of: len(all)}
	lost := 0.0
	for _, s := range kept {
		lost += clamp(s.Lost)
	}
	var each []float64
	for _, r := range rounds {
		// A round in which nothing was whole tells nothing of how far the whole ones differ.
		if r = slices.DeleteFunc(good(r), func(s Sample) bool { return clamp(s.Lost) > most }); len(r) > 0 {
			each = append(each, quantile(r, take))
		}
	}
	slices.Sort(each)
	if len(each) > 4 { // one strange round on either side is why there are several
		each = each[1 : len(each)-1]
	}
	f.Confidence = clamp(1-(each[len(each)-1]-each[0])/f.Value) * (1 - lost/float64(len(kept)))
	return f, true
}

// whole returns the samples that nothing disturbed, or the least disturbed if those are too few, and how much the worst of
// them lost.
func whole(all []Sample) ([]Sample, float64) {
	sorted := slices.Clone(all)
	slices.SortStableFunc(sorted, func(a, b Sample) int { return cmp.Compare(clamp(a.Lost), clamp(b.Lost)) })
	n, _ := slices.BinarySearchFunc(sorted, undisturbed, func(s Sample, limit float64) int {
		if clamp(s.Lost) <= limit {
			return -1
		}
		return 1
	})
	n = max(n, min(len(sorted), max(fewest, int(fewestShare*float64(len(sorted))))))
	// Those that lost exactly as much as the last belong to it: which of them came first must not decide.
	most := max(undisturbed, clamp(sorted[n-1].Lost))
	for n < len(sorted) && clamp(sorted[n].Lost) <= most {
		n++
	}
	return sorted[:n], most
}

// Enough reports whether as many samples were whole as make a figure. Where not, another round may help.
func Enough(rounds [][]Sample) bool {
	n := 0
	for _, r := range rounds {
		for _, s := range good(r) {
			if clamp(s.Lost) <= undisturbed {
				n++
			}
		}
	}
	return n >= fewest
}

func good(list []Sample) []Sample {
	return slices.DeleteFunc(slices.Clone(list), func(s Sample) bool { return !(s.Value > 0) || math.IsInf(s.Value, 0) })
}

func clamp(x float64) float64 {
	if math.IsNaN(x) {
		return 1
	}
	return min(1, max(0, x))
}

// quantile interpolates between the two values beside it.
func quantile(list []Sample, q Take) float64 {
	v := make([]float64, len(list))
	for i, s := range list {
		v[i] = s.Value
	}
	slices.Sort(v)
	at := float64(q) * float64(len(v)-1)
	i := int(at)
	if i+1 >= len(v) {
		return v[len(v)-1]
	}
	return v[i] + (at-float64(i))*(v[i+1]-v[i])
}

// End ends a measurement with what rounds of samples come to, and adds to its method how that was done.
func End(w bench.Stopwatch, method string, rounds [][]Sample, take Take) bench.Measurement {
	f, ok := Of(rounds, take)
	if !ok {
		return w.Fail(bench.ErrNoSamples)
	}
	m := w.Name(method + ", " + f.words(len(rounds), take)).Value(f.Value)
	m.Confidence = f.Confidence
	return m
}

func (f Figure) words(rounds int, take Take) string {
	text := map[Take]string{Least: "best tenth", Typical: "median", Most: "best tenth"}[take]
	text += fmt.Sprintf(" of %d samples in %d rounds", f.Of, rounds)
	if f.Kept < f.Of {
		text += fmt.Sprintf(", %d of them disturbed", f.Of-f.Kept)
	}
	return text
}

// Rounds is how many rounds share the time d of one figure: as many as leave each long enough to warm up.
func Rounds(d time.Duration) int {
	const (
		least = 25 * time.Millisecond
		most  = 5
	)
	return int(min(max(1, d/least), most))
}

// Interrupted is the error of what ctx cut short.
func Interrupted(ctx context.Context) error {
	return fmt.Errorf("interrupted: %w", context.Cause(ctx))
}
