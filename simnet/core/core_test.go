package core

import (
	"os"
	"strings"
	"testing"

	"kith/simnet/report"
	"kith/simnet/scenario"
)

func run(t *testing.T, text string) *report.Report {
	t.Helper()
	sc, err := scenario.Parse(t.Name(), text)
	if err != nil {
		t.Fatal(err)
	}
	r, err := New(sc).Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if os.Getenv("KITH_TEST_LOG") != "" {
		if err := r.Text(t.Output()); err != nil {
			t.Fatal(err)
		}
	}
	if r.Values["broken"] > 0 {
		t.Error(r.Notes)
	}
	for _, b := range r.Bands {
		if !b.Holds {
			t.Errorf("line %d: %s %s, got %g", b.Line, b.Measure, b.Want, b.Got)
		}
	}
	return r
}

// Everybody at once, in a network that falls apart, with a submitter that is killed: what must hold always holds, and
// the same seed gives the same run.
const crowd = `title everybody
nodes 300
hosts honest 40%
hosts colluder 3%
hosts random 5%
hosts constant 2%
hosts plausible 3%
hosts copier 5%
hosts sybil 5%
hosts straggler 5%
hosts flapping 10%
hosts laptop 10%
hosts relayed 5%
hosts eclipse 5%
hosts slow 2%
churn typical
job tasks=1500 seconds=10 k=2 n=8 want=300 nodes=300
job tasks=200 seconds=10 k=2 n=8 want=300 nodes=300 shape=reduce by=2
at 1m partition JP
at 3m heal
at 2m crash 1
at 130s restart 1
at 4m storm 50 1m
limit 6h
expect jobs.done = 2
expect broken = 0
expect dials <= 4
expect suspected = 0
`

func TestCrowd(t *testing.T) {
	r := run(t, crowd)
	again := run(t, crowd)
	if r.Digest != again.Digest {
		t.Errorf("two runs of one seed differ: %s and %s", r.Digest, again.Digest)
	}
	other := run(t, strings.Replace(crowd, "title everybody", "title everybody\nseed 2", 1))
	if other.Digest == r.Digest {
		t.Error("another seed makes no difference")
	}
	sums := map[string]*report.Actor{}
	for i := range r.Actors {
		sums[r.Actors[i].Name] = &r.Actors[i]
	}
	if c := sums["copier"]; c.Accepted != 0 || c.Forged == 0 {
		t.Errorf("copiers: %+v, want every copy to be found out by its salt", c)
	}
	if c := sums["random"]; c.Accepted != 0 || c.Caught != c.Hosts && c.Outvoted == 0 {
		t.Errorf("random liars: %+v", c)
	}
	if c := sums["eclipse"]; c.Accepted != 0 {
		t.Errorf("eclipse peers: %+v", c)
	}
}

// A submitter that is killed while a job runs loses nothing and merges nothing twice: the result is that of a calm run.
func TestCrash(t *testing.T) {
	for name, acts := range map[string]string{
		"none":  "",
		"once":  "at 15s crash 1\nat 20s restart 1\n",
		"twice": "at 15s crash 1\nat 20s restart 1\nat 40s crash 1\nat 3m restart 1\n",
	} {
		t.Run(name, func(t *testing.T) {
			run(t, "title crash\nnodes 40\njob tasks=300 seconds=10 k=2 want=40\n"+acts+"expect jobs.done = 1\nexpect wrong = 0\nexpect done = 100\nexpect broken = 0\n")
		})
	}
}

// Liars that are each alone never win; hosts that only slow things down do no more than that.
func TestActors(t *testing.T) {
	for _, actor := range []string{"random", "constant", "plausible", "copier", "straggler", "flapping", "laptop", "eclipse", "slow", "relayed"} {
		t.Run(actor, func(t *testing.T) {
			slack := ""
			if actor == "constant" {
				slack = " groups=1" // or two of them agree
			}
			run(t, "title "+actor+"\nnodes 60\nhosts honest 70%\nhosts "+actor+" 30%"+slack+"\njob tasks=300 seconds=5 k=2 n=12 want=60\nexpect jobs.done = 1\nexpect wrong = 0\nexpect broken = 0\n")
		})
	}
}

func TestRegions(t *testing.T) {
	r := run(t, "title strict\nnodes 100\nregions DE 50% US 50%\njob tasks=200 seconds=5 k=2 regions=DE want=50\nexpect jobs.done = 1\n")
	if r.Values["done"] != 100 {
		t.Errorf("done %g", r.Values["done"])
	}
	r = run(t, "title nobody\nnodes 20\nregions US 100%\njob tasks=20 seconds=5 k=2 regions=DE deadline=1h\nlimit 2h\nexpect jobs.failed = 1\n")
	if r.Values["done"] != 0 {
		t.Error("work left its region")
	}
}

// One host in ten takes twenty times as long. The fleet is hardly slower than its capacity demands (1.105×), and pays for
// that with next to no copies.
func TestStragglers(t *testing.T) {
	const fast = "title fleet\nnodes 200\nhosts honest 100% slots=1\njob tasks=4000 seconds=60 k=1 n=4 spread=0.1 want=200 nodes=200\nlimit 1d\nexpect done = 100\n"
	plain := run(t, fast)
	slow := run(t, strings.Replace(fast, "hosts honest 100% slots=1", "hosts honest 90% slots=1\nhosts straggler 10% slots=1", 1))
	if got := slow.Values["makespan"] / plain.Values["makespan"]; got > 1.3 {
		t.Errorf("makespan with stragglers is %.2f times that without, want at most 1.3", got)
	}
	if got := slow.Values["hedges"]; got > 2 {
		t.Errorf("%.2f %% of executions are hedges", got)
	}
}

// Where everybody is slow nobody is avoided: the work is done.
func TestOnlyStragglers(t *testing.T) {
	run(t, "title slow\nnodes 8\nhosts honest 30% slots=1\nhosts straggler 70% slots=1\njob tasks=60 seconds=10 k=3 n=12 want=8 nodes=8\nlimit 2d\nexpect done = 100\n")
}
