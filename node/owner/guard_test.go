package owner

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// desk is a computer whose user and tasks the test plays, in the time of a bubble.
type desk struct {
	mu      sync.Mutex
	start   time.Time
	input   time.Time // last
	battery bool
	lent    int
	halted  bool
	slack   time.Duration // tasks go on for so long after they are told to stop
	stopAt  time.Time
	applied []Level
	halts   int
}

func (d *desk) read(context.Context, bool) Readings {
	d.mu.Lock()
	defer d.mu.Unlock()
	return Readings{Idle: known(time.Since(d.input).Seconds()), Battery: YesNo(d.battery, "")}
}

// load: each task has one processor until it stands still.
func (d *desk) load() Load {
	d.mu.Lock()
	defer d.mu.Unlock()
	end := time.Now()
	if d.halted && d.stopAt.Before(end) {
		end = d.stopAt
	}
	return Load{CPU: end.Sub(d.start) * time.Duration(d.lent), Lent: d.lent}
}

func (d *desk) apply(v Verdict, halt bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.applied = append(d.applied, v.Level)
	if halt {
		d.halts++
	}
	if halt = halt || v.Level >= Halted; halt && !d.halted {
		d.stopAt = time.Now().Add(d.slack)
	}
	d.halted = halt
}

func (d *desk) set(f func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f()
}

func TestGuard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := limits()
		l.Rules = Rules{Active: Shrunk, IdleAfter: time.Minute, Battery: true}
		l.InUse = Caps{CPU: 0.25}
		l.Processors = 2
		o := open(t, t.TempDir(), &l, &Disk{})
		d := &desk{start: time.Now(), input: time.Now().Add(-time.Hour), lent: 2, slack: 30 * time.Millisecond}
		g := (&Guard{Owner: o, Read: d.read, Load: d.load, Apply: d.apply, Processors: 2}).Init()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); _ = g.Serve(ctx) }()
		defer func() { cancel(); <-done }()

		time.Sleep(3 * time.Second)
		for range 5 { // somebody comes, and goes
			d.set(func() { d.input = time.Now() })
			time.Sleep(5 * time.Second)
			if v := o.Verdict(); v.Level != Shrunk || v.Processors != 0.5 {
				t.Fatalf("in use: %s, %v processors", v.Text(), v.Processors)
			}
			time.Sleep(2 * time.Minute)
			if v := o.Verdict(); v.Level != Full {
				t.Fatalf("alone: %s", v.Text())
			}
		}
		c := o.Verdict().Comfort
		if c.Yields() != 5 || c.Quantile(1) > Promise || c.Share != 1 {
			t.Errorf("%d yields, the longest %v, share %v", c.Yields(), c.Quantile(1), c.Share)
		}
		if d.halts != 5 || d.halted {
			t.Errorf("tasks stood still %d times, now %v", d.halts, d.halted)
		}

		d.set(func() { d.slack, d.input = 400*time.Millisecond, time.Now() }) // tasks that do not stop at once
		time.Sleep(2 * time.Minute)
		if c := o.Verdict().Comfort; c.Quantile(1) < 400*time.Millisecond || c.Share >= 1 {
			t.Errorf("after a slow yield of %v the share is %v", c.Quantile(1), c.Share)
		}

		d.set(func() { d.battery = true })
		time.Sleep(3 * time.Second)
		if v := o.Verdict(); v.Level != Halted || !d.halted {
			t.Errorf("on battery: %s", v.Text())
		}
		d.set(func() { d.battery = false })
		if err := o.Set(Paused); err != nil {
			t.Fatal(err)
		}
		g.Nudge()
		synctest.Wait()
		time.Sleep(5 * time.Minute)
		if err := o.Set(Working); err != nil {
			t.Fatal(err)
		}
		g.Nudge()
		synctest.Wait()
		if d.halted || d.applied[len(d.applied)-1] != Full {
			t.Errorf("after resume: %v", d.applied)
		}
		if slices.Contains(d.applied, Ended) {
			t.Error("nobody killed anything")
		}
	})
}
