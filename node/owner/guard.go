package owner

import (
	"context"
	"slices"
	"time"
)

// Guard keeps an eye on the computer and brings the owner's verdict into effect whenever it changes. Make it with its
// fields set and run it with Serve.
type Guard struct {
	Owner *Owner
	// Read asks the sensors; quick: those of input alone.
	Read func(ctx context.Context, quick bool) Readings
	// Load is what tasks use.
	Load func() Load
	// Apply brings a verdict into effect. halt asks to stop running tasks at once, whatever the level.
	Apply func(v Verdict, halt bool)
	// Failed is told of what could not be written down; it may be nil.
	Failed func(error)
	// Each is called once in every round, and must be quick; it may be nil.
	Each func()
	// Processors of this machine.
	Processors int

	nudge chan struct{}
}

// Load is what tasks of others use.
type Load struct {
	CPU  time.Duration // since the start
	Lent int           // tasks in progress
}

// Pace of the guard: fast enough to keep the promise while there is something to yield, cheap else.
const (
	quickRound = 60 * time.Millisecond
	slowRound  = 2 * time.Second
	measureGap = 15 * time.Millisecond
	measureMax = 5 * time.Second
	makeWay    = time.Second // tasks stand still for so long after somebody came, before they go on with less
	quietShare = 0.02        // of the processors: less than this is out of the way
)

// Init makes the guard ready for Nudge, before Serve.
func (g *Guard) Init() *Guard {
	g.nudge = make(chan struct{}, 1)
	return g
}

// Nudge has Serve look at once: a switch or a setting was changed.
func (g *Guard) Nudge() {
	select {
	case g.nudge <- struct{}{}:
	default:
	}
}

// Serve watches until ctx ends.
func (g *Guard) Serve(ctx context.Context) error {
	var (
		last  Verdict
		known bool
		slow  time.Time
	)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-g.nudge:
		case <-timer.C:
		}
		now := time.Now()
		quick := !slow.IsZero() && now.Sub(slow) < slowRound
		if !quick {
			slow = now
		}
		if g.Each != nil {
			g.Each()
		}
		r := g.Read(ctx, quick)
		v := g.Owner.Observe(time.Now(), r)
		load := g.Load()
		if known && came(last, v) && load.Lent > 0 {
			v = g.yield(ctx, v, r)
		} else if !known || differ(last, v) {
			g.Apply(v, false)
		}
		last, known = v, true
		wait := slowRound
		if load.Lent > 0 && !has(v, ByActivity) && v.Level < Halted {
			wait = quickRound
		}
		timer.Reset(wait)
	}
}

// yield gets out of the way of somebody who has just come, measures how long that took, and then lets tasks go on with
// what they are given while the computer is used.
func (g *Guard) yield(ctx context.Context, v Verdict, r Readings) Verdict {
	since := time.Duration(r.Idle.Value * float64(time.Second)) // since the first sign of life
	seen := time.Now()
	g.Apply(v, true)
	if took, ok := g.calm(ctx, seen); ok {
		if err := g.Owner.Yielded(since + took); err != nil && g.Failed != nil {
			g.Failed(err)
		}
	}
	select {
	case <-time.After(makeWay):
	case <-g.nudge: // somebody wants something else
	case <-ctx.Done():
	}
	v = g.Owner.Observe(time.Now(), g.Read(ctx, false))
	g.Apply(v, false)
	return v
}

// calm waits until tasks use next to nothing, and returns how long after from that began.
func (g *Guard) calm(ctx context.Context, from time.Time) (time.Duration, bool) {
	at, cpu := time.Now(), g.Load().CPU
	for time.Since(from) < measureMax {
		select {
		case <-time.After(measureGap):
		case <-ctx.Done():
			return 0, false
		}
		now, used := time.Now(), g.Load().CPU
		if (used - cpu).Seconds() < quietShare*float64(max(1, g.Processors))*now.Sub(at).Seconds() {
			return at.Sub(from), true
		}
		at, cpu = now, used
	}
	return measureMax, true
}

// came reports whether somebody has begun to use the computer.
func came(before, now Verdict) bool { return has(now, ByActivity) && !has(before, ByActivity) }

func has(v Verdict, c Cause) bool {
	return slices.ContainsFunc(v.Why, func(w Why) bool { return w.Cause == c })
}

// differ reports whether a verdict has another effect than the one before.
func differ(a, b Verdict) bool {
	return a.Level != b.Level || a.Caps != b.Caps || a.Processors != b.Processors
}
