package report

import (
	"fmt"
	"math"
	"slices"

	"kith/simnet/scenario"
)

// Spread is how a measure came out over several seeds.
type Spread struct {
	Runs  int     `json:"runs"` // in which it was measured
	Mean  float64 `json:"mean"`
	Error float64 `json:"error"` // standard error of the mean
	Least float64 `json:"min"`
	Most  float64 `json:"max"`
}

// Run is one of several runs of a scenario.
type Run struct {
	Seed   uint64             `json:"seed"`
	Passed bool               `json:"passed"` // bands on the mean are not among what it was judged by
	Values map[string]float64 `json:"values"`
	Digest string             `json:"digest,omitempty"`
}

// Gather makes one report of runs of a scenario that differ in their seeds alone. Values are means over the runs that
// measured them; what is counted of hosts and on the wires is of all runs together, and the curves are those of the first.
// A band on the mean is judged by the mean, any other one by the run that is farthest from keeping it.
func Gather(sc *scenario.Scenario, runs []*Report) *Report {
	r := &Report{Values: map[string]float64{}, Spread: map[string]Spread{}, Curves: runs[0].Curves, Notes: []string{}}
	for _, m := range scenario.Measures {
		if s, ok := spread(m.Name, runs); ok {
			r.Spread[m.Name], r.Values[m.Name] = s, s.Mean
		}
	}
	// A cost for each lie is that of all runs together: in some no lie stands, which says the more.
	if work, wrong := r.Spread["lie.work"], r.Spread["wrong"]; work.Runs > 0 {
		delete(r.Spread, "lie.cost")
		delete(r.Values, "lie.cost")
		if wrong.Mean > 0 {
			r.Values["lie.cost"] = work.Mean * float64(work.Runs) / (wrong.Mean * float64(wrong.Runs))
		}
	}
	traffic := map[string]int{}
	for _, x := range runs {
		r.Runs = append(r.Runs, Run{x.Seed, x.Passed, x.Values, x.Digest})
		for i, a := range x.Actors {
			if i == len(r.Actors) {
				r.Actors = append(r.Actors, Actor{Name: a.Name})
			}
			r.Actors[i].add(&a)
		}
		for _, t := range x.Traffic {
			at, known := traffic[t.Protocol]
			if !known {
				at = len(r.Traffic)
				traffic[t.Protocol] = at
				r.Traffic = append(r.Traffic, Traffic{Protocol: t.Protocol})
			}
			r.Traffic[at].Messages += t.Messages
			r.Traffic[at].Bytes += t.Bytes
		}
		for _, n := range x.Notes {
			r.Notes = append(r.Notes, fmt.Sprintf("seed %d: %s", x.Seed, n))
		}
	}
	r.Judge(sc)
	return r
}

// spread works out one measure.
func spread(name string, runs []*Report) (s Spread, ok bool) {
	var list []float64
	for _, x := range runs {
		if v, known := x.Values[name]; known {
			list = append(list, v)
			s.Mean += v
		}
	}
	if len(list) == 0 {
		return s, false
	}
	n := float64(len(list))
	s.Runs, s.Least, s.Most = len(list), slices.Min(list), slices.Max(list)
	s.Mean /= n
	squares := 0.0
	for _, v := range list {
		squares += (v - s.Mean) * (v - s.Mean)
	}
	if len(list) > 1 {
		s.Error = math.Sqrt(squares / (n - 1) / n)
	}
	return s, true
}

func (a *Actor) add(o *Actor) {
	a.Hosts += o.Hosts
	a.Accepted += o.Accepted
	a.Wrong += o.Wrong
	a.Lies += o.Lies
	a.Outvoted += o.Outvoted
	a.Forged += o.Forged
	a.Withheld += o.Withheld
	a.Lapsed += o.Lapsed
	a.Returned += o.Returned
	a.Cancelled += o.Cancelled
	a.Caught += o.Caught
	a.Banned += o.Banned
}

// band judges one expectation.
func (r *Report) band(s *scenario.Scenario, b *scenario.Band) Band {
	out := Band{Measure: b.Measure, Want: b.Op + " " + b.Text, Mean: b.Mean, Line: b.Line}
	v, known := r.Values[b.Measure]
	out.Known = known
	switch {
	case b.Mean && max(1, len(r.Runs)) < s.Seeds:
		out.Got, out.Open = round(v), true
		return out
	case !b.Mean:
		met := false
		for i := range r.Runs {
			x, ok := r.Runs[i].Values[b.Measure]
			known = known && ok
			if ok && (!met || farther(b, x, v)) {
				v, out.Seed, met = x, r.Runs[i].Seed, true
			}
		}
		out.Known = known
	}
	out.Got = round(v)
	out.Holds = known && b.Holds(v)
	return out
}

// farther reports whether x is farther from what a band wants than v.
func farther(b *scenario.Band, x, v float64) bool {
	switch b.Op {
	case "=":
		return math.Abs(x-b.Value) > math.Abs(v-b.Value)
	case "<", "<=":
		return x > v
	}
	return x < v
}
