// Package report is what came of a simulated fleet: numbers, curves and counts, as a table for people, as JSON, and as
// one page of HTML that needs nothing else.
package report

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"text/tabwriter"

	"kith/simnet/scenario"
)

// Report is the outcome of one run. Everything but Wall, Heap and Machine is the same whenever a core scenario runs with
// the same seed.
type Report struct {
	Scenario string             `json:"scenario"`
	Title    string             `json:"title"`
	Rung     string             `json:"rung"`
	Nodes    int                `json:"nodes"`
	Seed     uint64             `json:"seed"` // of the first run
	Passed   bool               `json:"passed"`
	Bands    []Band             `json:"bands"`
	Values   map[string]float64 `json:"values"` // by the names of scenario.Measures
	Actors   []Actor            `json:"actors"`
	Traffic  []Traffic          `json:"traffic"`
	Curves   []Curve            `json:"curves"`
	Notes    []string           `json:"notes"`            // violations, and what this rung does not model
	Digest   string             `json:"digest,omitempty"` // of every verdict in order: core runs of one seed agree in it

	Runs   []Run             `json:"runs,omitempty"`   // of several seeds: see Gather
	Spread map[string]Spread `json:"spread,omitempty"` // of the values over them
	asks   int               // seeds of the scenario
}

// Band is one expectation and what came of it.
type Band struct {
	Measure string  `json:"measure"`
	Want    string  `json:"want"`
	Mean    bool    `json:"mean,omitempty"` // of all seeds
	Got     float64 `json:"got"`
	Seed    uint64  `json:"seed,omitempty"` // of the run that Got is of, if there were several and it is no mean
	Known   bool    `json:"known"`          // the rung measures it
	Open    bool    `json:"open,omitempty"` // not judged: a mean of fewer seeds than the scenario asks for
	Holds   bool    `json:"holds"`
	Line    int     `json:"line"`
}

// Actor is what became of the hosts that behave alike.
type Actor struct {
	Name      string `json:"name"`
	Hosts     int    `json:"hosts"`
	Accepted  int    `json:"accepted"`
	Wrong     int    `json:"wrong"` // accepted at some time, and wrong
	Lies      int    `json:"lies"`  // wrong results handed in
	Outvoted  int    `json:"outvoted"`
	Forged    int    `json:"forged"`
	Withheld  int    `json:"withheld"`
	Lapsed    int    `json:"lapsed"`
	Returned  int    `json:"returned"`
	Cancelled int    `json:"cancelled"`
	Caught    int    `json:"caught"`
	Banned    int    `json:"banned"`
}

// Traffic is what went over the wires for one protocol.
type Traffic struct {
	Protocol string `json:"protocol"`
	Messages int64  `json:"messages"`
	Bytes    int64  `json:"bytes"`
}

// Curve is a value over time, in seconds since the start.
type Curve struct {
	Name   string       `json:"name"`
	Unit   string       `json:"unit"`
	Points [][2]float64 `json:"points"`
}

// Judge compares the values with what the scenario expects.
func (r *Report) Judge(s *scenario.Scenario) {
	r.Scenario, r.Title, r.Rung, r.Nodes, r.Seed = s.Name, s.Title, string(s.Rung), s.Nodes, s.Seed
	r.asks, r.Passed = s.Seeds, true
	r.Bands = make([]Band, 0, len(s.Expect))
	for i := range s.Expect {
		out := r.band(s, &s.Expect[i])
		r.Passed = r.Passed && (out.Holds || out.Open)
		r.Bands = append(r.Bands, out)
	}
}

func round(v float64) float64 {
	if v == 0 || math.IsInf(v, 0) || math.IsNaN(v) {
		return v
	}
	p := math.Pow(10, 5-math.Ceil(math.Log10(math.Abs(v))))
	return math.Round(v*p) / p
}

// Ordered lists the values in the order of scenario.Measures, with units.
func (r *Report) Ordered() (out []Value) {
	for _, m := range scenario.Measures {
		if v, ok := r.Values[m.Name]; ok {
			x := Value{Name: m.Name, Value: round(v), Unit: m.Unit, What: m.What}
			if s, many := r.Spread[m.Name]; many {
				x.Spread = &Spread{Runs: s.Runs, Mean: x.Value, Error: round(s.Error), Least: round(s.Least), Most: round(s.Most)}
			}
			out = append(out, x)
		}
	}
	return out
}

// Value is one number with its meaning.
type Value struct {
	Name   string
	Value  float64
	Unit   string
	What   string
	Spread *Spread // rounded; nil for a single run
}

// Said is what the band wants, in words.
func (b *Band) Said() string {
	if b.Mean {
		return "mean " + b.Measure + " " + b.Want
	}
	return b.Measure + " " + b.Want
}

// Verdict is what came of the band, in a word.
func (b *Band) Verdict() string {
	switch {
	case b.Open:
		return "open"
	case b.Holds:
		return "holds"
	}
	return "MISSED"
}

// Cost says what the liars' honest work bought, where that was nothing and so no cost of one lie can be told; else "".
func (r *Report) Cost() string {
	work := r.Values["lie.work"] * float64(max(1, len(r.Runs)))
	if work == 0 || r.Values["wrong"] > 0 {
		return ""
	}
	return fmt.Sprintf("no lie stands: %.4g s of honest work bought none", work)
}

// Seeds says which seeds the report is of.
func (r *Report) Seeds() string {
	if n := len(r.Runs); n > 1 {
		return fmt.Sprintf("seeds %d to %d", r.Runs[0].Seed, r.Runs[n-1].Seed)
	}
	return fmt.Sprintf("seed %d", r.Seed)
}

// Text writes the report for people.
func (r *Report) Text(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n%d nodes, rung %s, %s\n\n", r.Scenario, r.Title, r.Nodes, r.Rung, r.Seeds())
	t := tabwriter.NewWriter(&b, 0, 4, 2, ' ', 0)
	if len(r.Runs) > 1 {
		fmt.Fprintf(t, "measure\tmean\t± error\tleast\tmost\n")
	}
	for _, v := range r.Ordered() {
		if s := v.Spread; s != nil {
			fmt.Fprintf(t, "%s\t%g %s\t± %.2g\t%g\t%g\t%s\n", v.Name, v.Value, v.Unit, s.Error, s.Least, s.Most, v.What)
			continue
		}
		gap := ""
		if len(r.Runs) > 1 {
			gap = "\t\t\t"
		}
		fmt.Fprintf(t, "%s\t%g %s\t%s%s\n", v.Name, v.Value, v.Unit, gap, v.What)
	}
	fmt.Fprintf(t, "\nactor\thosts\taccepted\twrong\tlies\toutvoted\tforged\tlapsed\treturned\tcancelled\tcaught\tbanned\n")
	for _, a := range r.Actors {
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\n", a.Name, a.Hosts, a.Accepted, a.Wrong, a.Lies, a.Outvoted, a.Forged, a.Lapsed, a.Returned, a.Cancelled, a.Caught, a.Banned)
	}
	fmt.Fprintf(t, "\nprotocol\tmessages\tMiB\n")
	for _, p := range r.Traffic {
		fmt.Fprintf(t, "%s\t%d\t%.1f\n", p.Protocol, p.Messages, float64(p.Bytes)/(1<<20))
	}
	_ = t.Flush()
	if len(r.Bands) > 0 {
		b.WriteByte('\n')
	}
	for _, x := range r.Bands {
		fmt.Fprintf(&b, "%-6s  line %d: %s, got %g", x.Verdict(), x.Line, x.Said(), x.Got)
		if x.Seed != 0 {
			fmt.Fprintf(&b, " with seed %d", x.Seed)
		}
		b.WriteByte('\n')
		if x.Open {
			fmt.Fprintf(&b, "        the scenario judges the mean of %d seeds: run it without --seed, or with --seeds\n", r.asks)
		} else if !x.Known {
			fmt.Fprintf(&b, "        rung %s does not measure it\n", r.Rung)
		}
	}
	if c := r.Cost(); c != "" {
		b.WriteString(c + "\n")
	}
	for _, n := range r.Notes {
		fmt.Fprintf(&b, "note: %s\n", n)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// Quantile returns the q-th quantile of list, which it sorts; 0 if it is empty.
func Quantile(list []float64, q float64) float64 {
	if len(list) == 0 {
		return 0
	}
	slices.Sort(list)
	return list[min(int(q*float64(len(list))), len(list)-1)]
}

// Jain is Jain's index of fairness: 1 if all are equal, 1/n if one has everything.
func Jain(list []float64) float64 {
	var sum, squares float64
	for _, v := range list {
		sum += v
		squares += v * v
	}
	if squares == 0 {
		return 1
	}
	return sum * sum / (float64(len(list)) * squares)
}
