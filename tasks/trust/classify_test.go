package trust_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// A worker cannot tell an audit from a first replica. A classifier that is trained on everything it sees of a lease
// before it must commit, with audits and first replicas in equal numbers, does no better than guessing on others.
func TestAuditsCannotBeTold(t *testing.T) {
	f := newFleet(t, 3, 10_000, 50, 0, colluder)
	f.known()
	f.run()
	best, count := classify(f.leases, f.rnd)
	t.Logf("accuracy %.3f on %d leases", best, count)
	if count < 400 || best > 0.55 {
		t.Errorf("accuracy %.3f on %d leases", best, count)
	}
}

// classify trains a logistic regression and the best single threshold on half of the leases and returns the better
// accuracy on the other half, and its size.
func classify(all []seen, rnd *rand.Rand) (accuracy float64, tested int) {
	type example struct {
		x     []float64
		audit bool
	}
	last, given, high := map[int]seen{}, map[int]int{}, map[int]int{}
	var yes, no []example
	for _, l := range all {
		p := last[l.node]
		e := example{audit: l.audit, x: []float64{
			1, float64(l.index), float64(l.handle), float64(l.order), float64(l.at), float64(l.at - p.at), float64(l.index - p.index),
			float64(l.index - high[l.node]), float64(given[l.node]), float64(l.handle & 1), float64(l.handle & 7), float64(l.index & 7),
		}}
		last[l.node], high[l.node] = l, max(high[l.node], l.index)
		given[l.node]++
		if l.audit {
			yes = append(yes, e)
		} else {
			no = append(no, e)
		}
	}
	rnd.Shuffle(len(yes), func(i, j int) { yes[i], yes[j] = yes[j], yes[i] })
	rnd.Shuffle(len(no), func(i, j int) { no[i], no[j] = no[j], no[i] })
	n := min(len(yes), len(no))
	both := append(slices.Clone(yes[:n]), no[:n]...)
	rnd.Shuffle(len(both), func(i, j int) { both[i], both[j] = both[j], both[i] })
	width := len(both[0].x)
	for k := 1; k < width; k++ { // to mean 0 and deviation 1
		sum, sq := 0.0, 0.0
		for _, e := range both {
			sum += e.x[k]
			sq += e.x[k] * e.x[k]
		}
		mean := sum / float64(len(both))
		dev := math.Sqrt(sq/float64(len(both)) - mean*mean)
		for _, e := range both {
			e.x[k] = (e.x[k] - mean) / max(dev, 1e-9)
		}
	}
	train, test := both[:n], both[n:]
	w := make([]float64, width)
	logit := func(e example) bool {
		z := 0.0
		for k := range w {
			z += w[k] * e.x[k]
		}
		return z > 0
	}
	for range 300 {
		grad := make([]float64, width)
		for _, e := range train {
			z := 0.0
			for k := range w {
				z += w[k] * e.x[k]
			}
			miss := 1 / (1 + math.Exp(-z))
			if e.audit {
				miss--
			}
			for k := range w {
				grad[k] += miss * e.x[k]
			}
		}
		for k := range w {
			w[k] -= grad[k] / float64(len(train))
		}
	}
	right := func(list []example, say func(example) bool) float64 {
		ok := 0
		for _, e := range list {
			if say(e) == e.audit {
				ok++
			}
		}
		return float64(ok) / float64(len(list))
	}
	bestTrain, stump := 0.0, func(example) bool { return false }
	for k := 1; k < width; k++ {
		for _, cut := range []float64{-1.5, -1, -0.5, 0, 0.5, 1, 1.5, 2} {
			for _, sign := range []float64{-1, 1} {
				say := func(e example) bool { return sign*(e.x[k]-cut) > 0 }
				if r := right(train, say); r > bestTrain {
					bestTrain, stump = r, say
				}
			}
		}
	}
	return max(right(test, logit), right(test, stump)), len(test)
}
