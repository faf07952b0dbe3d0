package whole

import (
	"os"
	"runtime"
	"testing"
	"testing/synctest"

	"kith/simnet/report"
	"kith/simnet/scenario"
)

// underRace is set when the race detector watches, which crashes on timers of a bubble (golang.org/issue/78156) unless
// one processor runs it.
var underRace bool

func play(t *testing.T, text string) *report.Report {
	t.Helper()
	if underRace {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	}
	sc, err := scenario.Parse(t.Name(), text)
	if err != nil {
		t.Fatal(err)
	}
	var r *report.Report
	synctest.Test(t, func(t *testing.T) {
		if r, err = Play(t.Context(), *sc); err != nil {
			t.Error(err)
		}
	})
	if r == nil {
		t.FailNow()
	}
	if os.Getenv("KITH_TEST_LOG") != "" {
		_ = r.Text(t.Output())
	}
	for _, b := range r.Bands {
		if !b.Holds {
			t.Errorf("line %d: %s %s, got %g", b.Line, b.Measure, b.Want, b.Got)
		}
	}
	return r
}

func TestMemory(t *testing.T) {
	play(t, "title mock\nrung mock\nnodes 30\nhosts honest 80%\nhosts random 10%\nhosts slow 10%\njob tasks=60 seconds=2 k=2 n=8 want=30\nlimit 1h\nexpect jobs.done = 1\nexpect wrong = 0\nexpect done = 100\n")
}

func TestQUIC(t *testing.T) {
	play(t, "title quic\nrung quic\nnodes 20\nnet rtt=80ms loss=1% bandwidth=4MiB nat=20%\njob tasks=40 seconds=1 k=2 n=6 want=20\nlimit 1h\nexpect jobs.done = 1\nexpect wrong = 0\nexpect done = 100\n")
}
