package simnet

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"kith/simnet/report"
	"kith/simnet/scenario"
)

// quick are the sizes at which the tests run the large scenarios.
var quick = map[string]int{"hundred-thousand": 300, "thousand": 200, "volunteer-crowd": 400, "job-crowd": 500, "churn": 100, "colluders": 150, "sleepers": 150, "whole-thousand": 20, "come-and-go": 100, "lease-cold": 16, "lease-warm": 12, "whole-search": 24, "known-fleet": 60}

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
			w, err := New(sc)
			if err != nil {
				t.Fatal(err)
			}
			r, err := w.Run(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, b := range r.Bands {
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
