package simnet

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"kith/simnet/report"
	"kith/simnet/scenario"
)

// quick are the sizes at which the tests run the large scenarios.
var quick = map[string]int{"hundred-thousand": 300, "thousand": 200, "volunteer-crowd": 400, "job-crowd": 500, "churn": 100, "colluders": 150, "sleepers": 150, "whole-thousand": 20, "come-and-go": 100, "lease-cold": 16, "lease-warm": 12, "whole-search": 24, "known-fleet": 60, "whitewash-10": 80, "whitewash-100": 40}

// once are those whose bands are on means of many runs; package trust tests the same on fleets without a network.
var once = map[string]bool{"whitewash-1": true, "whitewash-10": true, "whitewash-100": true}

// underRace is set when the race detector watches: whole fleets have their own tests, in package whole.
var underRace bool

func TestMain(m *testing.M) {
	Bubble()
	os.Exit(m.Run())
}

// Every scenario that comes with the program keeps its promises, at the size that fits a test.
func TestScenarios(t *testing.T) {
	names := List()
	if len(names) < 14 {
		t.Errorf("%d scenarios: %v", len(names), names)
	}
	for i, name := range names {
		t.Run(name, func(t *testing.T) {
			sc, err := Load(name)
			if err != nil {
				t.Fatal(err)
			}
			if len(sc.Expect) == 0 {
				t.Error("expects nothing, so that it cannot fail")
			}
			if testing.Short() && i%4 != 0 || underRace && sc.Rung != scenario.Core {
				t.Skip("short")
			}
			if n := quick[name]; n != 0 {
				Resize(sc, n)
			}
			for i := range sc.Jobs {
				if sc.Rung == scenario.QUIC { // an idle minute of packets costs more than a task
					sc.Jobs[i].Repeat = min(sc.Jobs[i].Repeat, 8)
				}
			}
			if sc.Seeds = min(sc.Seeds, 2); testing.Short() || once[name] {
				sc.Seeds = 1
			}
			r, err := Run(t.Context(), sc, sc.Seeds)
			if err != nil {
				t.Fatal(err)
			}
			for _, b := range r.Bands {
				if sc.Seeds == 1 && b.Mean { // of one run
					continue
				}
				if !b.Holds && b.Measure != "wall" {
					t.Errorf("line %d: %s %s, got %g; %v", b.Line, b.Measure, b.Want, b.Got, r.Notes)
				}
			}
		})
	}
}

func TestLoadUnknown(t *testing.T) {
	if _, err := Load("no-such"); !errors.Is(err, ErrUnknown) || !strings.Contains(err.Error(), "mixed-fleet") {
		t.Errorf("got %v, want a list of what there is", err)
	}
}

// The page stands alone and holds what the report holds, in the language of the reader's screen: nothing in it is
// markup that a scenario smuggled in.
func TestReport(t *testing.T) {
	sc, err := scenario.Parse("<b>x", "title <script>alert(1)</script>\nnodes 20\njob tasks=50 seconds=1 want=20\nexpect wrong = 0\nexpect makespan < 1s\nexpect found >= 90\n")
	if err != nil {
		t.Fatal(err)
	}
	w, err := New(sc)
	if err != nil {
		t.Fatal(err)
	}
	r, err := w.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if r.Passed || !r.Bands[0].Holds || r.Bands[1].Holds || r.Bands[2].Known {
		t.Errorf("bands: %+v", r.Bands)
	}
	var page, text bytes.Buffer
	if err := report.HTML(&page, r, r); err != nil {
		t.Fatal(err)
	}
	for _, never := range []string{"<script", "http://", "https://", "<b>x"} {
		if strings.Contains(page.String(), never) {
			t.Errorf("the page has %q", never)
		}
	}
	if strings.Count(page.String(), "<polyline") != 2*len(r.Curves) || !strings.Contains(page.String(), "not measured") {
		t.Error("the page lacks plots or bands")
	}
	if err := r.Text(&text); err != nil || !strings.Contains(text.String(), "MISSED  line 5: makespan < 1s") {
		t.Errorf("text: %v\n%s", err, &text)
	}
	b, err := json.Marshal(r)
	if err != nil || !bytes.Contains(b, []byte(`"holds":false`)) {
		t.Errorf("JSON: %v %s", err, b)
	}
}

// A rung that cannot play a scenario says so instead of playing another.
func TestRungs(t *testing.T) {
	for name, want := range map[string]string{"churn": "churn", "thousand": "laptop", "gossip-storm": "storm", "hub-gone": "hub"} {
		sc, err := Load(name)
		if err != nil {
			t.Fatal(err)
		}
		sc.Rung = scenario.Mock
		if _, err := New(sc); !errors.Is(err, scenario.ErrScenario) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s on rung mock: %v", name, err)
		}
	}
}

// Several seeds give what each gives alone, and how it scatters. A band on the mean is judged by the mean of as many runs as
// the scenario asks for; any other one by the worst run.
func TestSeeds(t *testing.T) {
	const text = `title liars
nodes 40
seed 5
seeds 4
hosts honest 80%
hosts random 20%
job tasks=300 seconds=5 k=2 n=12 want=40
expect mean makespan > 1s
expect makespan < 1s
expect wrong = 0
expect mean found >= 1
`
	sc, err := scenario.Parse("liars", text)
	if err != nil {
		t.Fatal(err)
	}
	r, err := Run(t.Context(), sc, sc.Seeds)
	if err != nil {
		t.Fatal(err)
	}
	var spans []float64
	sum := 0.0
	for i := range uint64(4) {
		one := *sc
		one.Seed = 5 + i
		alone, err := Run(t.Context(), &one, 1)
		if err != nil {
			t.Fatal(err)
		}
		if x := r.Runs[i]; x.Seed != one.Seed || x.Digest != alone.Digest || len(alone.Runs) != 0 {
			t.Errorf("run %d: seed %d, digest %s; alone %s", i, x.Seed, x.Digest, alone.Digest)
		}
		if b := alone.Bands[0]; !b.Open || b.Holds || alone.Passed {
			t.Errorf("the mean of one run of four is judged: %+v", b)
		}
		spans = append(spans, alone.Values["makespan"])
		sum += spans[i]
	}
	mean, squares := sum/4, 0.0
	for _, v := range spans {
		squares += (v - mean) * (v - mean)
	}
	s := r.Spread["makespan"]
	if near := func(a, b float64) bool { return math.Abs(a-b) < 1e-9 }; s.Runs != 4 || !near(s.Mean, mean) || !near(s.Error, math.Sqrt(squares/3)/2) ||
		s.Least != slices.Min(spans) || s.Most != slices.Max(spans) || s.Least == s.Most || !near(r.Values["makespan"], mean) {
		t.Errorf("spread %+v of %v", s, spans)
	}
	worst := 5 + uint64(slices.Index(spans, slices.Max(spans)))
	if b := r.Bands; !b[0].Holds || b[0].Open || b[1].Holds || b[1].Seed != worst || !b[2].Holds || b[3].Known || r.Passed {
		t.Errorf("bands %+v; the longest run is that of seed %d", b, worst)
	}
	r.Values["lie.cost"] = 5 // of all runs: it has no spread
	var table, page bytes.Buffer
	if err := errors.Join(r.Text(&table), report.HTML(&page, r)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"seeds 5 to 8", "± error", "holds   line 8: mean makespan > 1s, got", "MISSED  line 9: makespan < 1s, got", "with seed " + strconv.FormatUint(worst, 10)} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("the table lacks %q\n%s", want, &table)
		}
	}
	rows := 0
	for row := range strings.SplitSeq(page.String(), "<tr>") {
		if !strings.Contains(row, `class="what"`) {
			continue
		}
		if rows++; strings.Count(row, "<td") != 7 {
			t.Errorf("a row of the page does not fit: %s", row)
		}
	}
	if rows < 20 || !strings.Contains(page.String(), "<td>lie.cost</td>") {
		t.Errorf("%d measures on the page", rows)
	}
	for _, want := range []string{"seeds 5 to 8", "± error", "mean makespan"} {
		if !strings.Contains(page.String(), want) {
			t.Errorf("the page lacks %q", want)
		}
	}
}

// Whoever stops a run of many seeds waits for none of them.
func TestSeedsStop(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	sc, err := Load("sleepers-1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Run(ctx, sc, 1000); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
