// Package sensors asks this computer what its owner does with it: whether somebody uses it, what fills the screen, what
// feeds it, how warm it is. Each sensor is small and says why when it has no reading; none keeps the node waiting for long,
// and what is slow is asked rarely. Everything is read below a root that tests replace.
package sensors

import (
	"context"
	"strings"
	"sync"
	"time"

	"kith/node/owner"
)

// Options say where and what to read. The zero value is this computer.
type Options struct {
	Root     string                                                                 // of /proc and /sys; "": the real one
	Programs func() []string                                                        // that the owner chose; nil: none
	Own      func() time.Duration                                                   // processor time this node and its tasks have used so far; nil: none
	Disk     func() (used float64, ok bool)                                         // share of the data folder's disk; nil: unknown
	Bus      Bus                                                                    // system bus; nil: the real one, where there is one
	Displays func() []string                                                        // X displays; nil: those of this computer
	Run      func(ctx context.Context, name string, args ...string) ([]byte, error) // a program's output; nil: runs it
}

// Bus reads properties of system services.
type Bus interface {
	Property(ctx context.Context, service, path, name string) (any, error)
}

// Set is all sensors of this computer. It is safe for concurrent use and has no goroutine; Close lets go of what it has
// opened.
type Set struct {
	o Options

	mu    sync.Mutex
	last  owner.Readings
	due   map[string]time.Time
	load  loadMeter
	parts platform
}

// New returns the sensors. It reads nothing yet.
func New(o Options) *Set {
	if o.Programs == nil {
		o.Programs = func() []string { return nil }
	}
	if o.Own == nil {
		o.Own = func() time.Duration { return 0 }
	}
	if o.Run == nil {
		o.Run = run
	}
	return &Set{o: o, due: map[string]time.Time{}}
}

// How often each sensor is asked, and how long one may take.
const (
	everySlow = 15 * time.Second
	everyLoad = time.Second
	patience  = 2 * time.Second
)

// Read asks the sensors that are due. quick asks for input alone, as it is now; the rest is then as it was last read.
func (s *Set) Read(ctx context.Context, quick bool) owner.Readings {
	s.mu.Lock()
	defer s.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	s.last.Idle = s.idle(ctx)
	if quick {
		return s.last
	}
	now := time.Now()
	for _, x := range []struct {
		name  string
		every time.Duration
		into  *owner.Reading
		read  func(context.Context) owner.Reading
	}{
		{"load", everyLoad, &s.last.Foreign, s.foreign},
		{"pressure", everyLoad, &s.last.Pressure, s.pressure},
		{"disk", everyLoad, &s.last.Disk, s.disk},
		{"screen", 2 * everyLoad, &s.last.FullScreen, s.fullScreen},
		{"battery", 2 * everyLoad, &s.last.Battery, s.battery},
		{"heat", 2 * everyLoad, &s.last.Heat, s.heat},
		{"program", 2 * everyLoad, &s.last.Program, s.program},
		{"metered", everySlow, &s.last.Metered, s.metered},
	} {
		if due := s.due[x.name]; now.Before(due) && due.Sub(now) <= x.every {
			continue
		}
		*x.into = x.read(ctx)
		s.due[x.name] = now.Add(x.every - x.every/10)
	}
	return s.last
}

func (s *Set) disk(context.Context) owner.Reading {
	if s.o.Disk == nil {
		return owner.Unknown("nobody measures the disk")
	}
	used, ok := s.o.Disk()
	if !ok {
		return owner.Unknown("the size of the disk is not known")
	}
	return owner.Seen(used, 1, "")
}

// program looks for the chosen programs among the running ones.
func (s *Set) program(ctx context.Context) owner.Reading {
	chosen := s.o.Programs()
	if len(chosen) == 0 {
		return owner.YesNo(false, "none is chosen")
	}
	running, err := s.running(ctx)
	if err != nil {
		return owner.Unknown(err.Error())
	}
	for _, c := range chosen {
		if running[plainName(c)] {
			return owner.YesNo(true, c+" runs")
		}
	}
	return owner.YesNo(false, "none of them runs")
}

// plainName makes names of programs comparable.
func plainName(s string) string { return strings.TrimSuffix(strings.ToLower(s), ".exe") }

// loadMeter turns counts of processor time into shares.
type loadMeter struct {
	busy, all, own float64 // seconds
	seen           bool
}

// foreign is the share of all processors that others have used since the last call.
func (m *loadMeter) foreign(busy, all, own float64) owner.Reading {
	before := *m
	*m = loadMeter{busy, all, own, true}
	span := all - before.all
	switch {
	case !before.seen:
		return owner.Unknown("measured only once so far")
	case !(span > 0):
		return owner.Unknown("the count of processor time stands still")
	}
	return owner.Seen(min(1, max(0, (busy-before.busy)-(own-before.own))/span), 1, "")
}

// least is the smallest of several readings of the time since the last input: whatever saw the owner last is right.
func least(list ...owner.Reading) owner.Reading {
	best := owner.Unknown("nothing here tells of keyboard and mouse")
	for _, r := range list {
		switch {
		case r.Known && (!best.Known || r.Value < best.Value):
			best = r
		case !best.Known && r.Text != "":
			best = r
		}
	}
	return best
}
