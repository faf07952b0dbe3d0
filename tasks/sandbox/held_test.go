package sandbox

import (
	"errors"
	"testing"
	"time"

	"kith/tasks"
)

// TestLoss plays a kernel that counts at the end of each period: processors that want work and a quota for all of them.
func TestLoss(t *testing.T) {
	const period = 100 * time.Millisecond
	for name, c := range map[string]struct {
		processors, quota float64
		part              float64 // of the wall clock that is lost
	}{
		"one thread, a fifth":            {1, 0.2, 0.8},
		"one thread, a hundredth":        {1, 0.01, 0.99},
		"sixteen threads, half of it":    {16, 8, 0.5},
		"two threads, a quarter of one":  {2, 0.25, 0.875},
		"less than the quota":            {1, 2, 0},
		"as much as the quota":           {2, 2, 0},
		"a ceiling that was just lifted": {4, 4, 0},
	} {
		t.Run(name, func(t *testing.T) {
			began := time.Unix(1000, 0)
			l := loss{at: began}
			var waited time.Duration
			now := began
			for range 100 { // ten seconds, looked at four times in a period
				for range 4 {
					now = now.Add(period / 4)
					if now.Sub(began)%period == 0 {
						waited += time.Duration(max(0, c.processors-c.quota) * float64(period))
					}
					l.see(now, waited, c.quota)
				}
			}
			if got := l.total.Seconds() / now.Sub(began).Seconds(); got < c.part-0.01 || got > c.part+0.01 {
				t.Errorf("%.3f of the time was lost, want %.3f", got, c.part)
			}
		})
	}
}

func TestLossOddities(t *testing.T) {
	now := time.Unix(1000, 0)
	l := loss{at: now}
	l.see(now, time.Second, 1)                          // no time has gone
	l.see(now.Add(-time.Hour), 2*time.Second, 1)        // the clock goes back
	l.see(now.Add(-time.Hour), 500*time.Millisecond, 1) // the count too
	if l.total != 0 {
		t.Errorf("lost %v", l.total)
	}
	l.see(now.Add(time.Minute), time.Second, 1) // who waits for a moment of a minute has not lost more than the moment
	if l.total > 500*time.Millisecond {
		t.Errorf("lost %v of the half second that was waited", l.total)
	}
}

func TestClock(t *testing.T) {
	start := time.Unix(1000, 0)
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	ms := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
	for name, c := range map[string]struct {
		ticks       [][2]int // now, held so far; milliseconds
		ran, waited int
	}{
		"never held":                        {[][2]int{{50, 0}, {100, 0}}, 100, 0},
		"held all the time":                 {[][2]int{{50, 50}, {100, 100}}, 0, 100},
		"what was held before does no good": {[][2]int{{50, 0}}, 50, 0},
		"told late":                         {[][2]int{{50, 0}, {100, 80}, {150, 80}, {200, 160}}, 70, 130},
		"told twice":                        {[][2]int{{1000, 2000}, {2000, 2000}, {3000, 2000}}, 1900, 1100},
		"a clock that goes back":            {[][2]int{{100, 0}, {50, 0}, {100, 0}}, 150, 0},
	} {
		t.Run(name, func(t *testing.T) {
			const before = 7 * time.Second
			k := clock{at: start, held: before}
			for _, tick := range c.ticks {
				k.tick(at(tick[0]), before+ms(tick[1]))
			}
			if k.ran != ms(c.ran) || k.waited != ms(c.waited) {
				t.Errorf("ran %v, waited %v", k.ran, k.waited)
			}
		})
	}
}

// TestClockEnds: what is held back for ever ends too, and not by its own fault.
func TestClockEnds(t *testing.T) {
	for name, c := range map[string]struct {
		held time.Duration // of each second
		want tasks.Code
		at   time.Duration
	}{
		"free":         {0, tasks.TimeLimit, 3600 * time.Second},
		"by a half":    {time.Second / 2, tasks.TimeLimit, 7201 * time.Second}, // and a period that may not be counted yet
		"for ever":     {time.Second, tasks.OverLimits, patience},
		"by all but a": {999 * time.Millisecond, tasks.OverLimits, patience + 87*time.Second}, // thousandth
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Unix(1000, 0)
			k, held := clock{at: start}, time.Duration(0)
			for now := start; ; {
				now, held = now.Add(time.Second), held+c.held
				k.tick(now, held)
				err := k.over(3600_000)
				if err == nil {
					continue
				}
				var why tasks.Reason
				if !errors.As(err, &why) || why.Code != c.want || now.Sub(start) != c.at {
					t.Errorf("after %v: %v", now.Sub(start), err)
				}
				return
			}
		})
	}
}
