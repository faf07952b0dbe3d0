package owner

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"kith/node/owner/hours"
)

// Rules are which readings make the node give way, and how far.
type Rules struct {
	Active     Level         // while somebody uses the computer: Full (ignore it), Shrunk or Halted
	IdleAfter  time.Duration // without input, after which nobody uses it
	FullScreen bool
	Program    bool
	Battery    bool
	Metered    bool
	Hot        float64 // degrees Celsius
	Busy       float64 // share of the processors; 1 and more: never
	DiskStop   float64 // share of the disk
	Hours      hours.Week
}

// How long a cause must have been gone before the node comes back, so that nothing flutters.
const (
	restShort = 30 * time.Second
	restLong  = time.Minute
	restLost  = 10 * time.Minute // if the sensor is lost while the cause holds
	cooler    = 10.0             // degrees below Hot at which heat ends
	calmer    = 0.2              // share of the processors below Busy at which load ends
	fuller    = 0.01             // share of the disk below DiskStop at which a full disk ends
	waiting   = 0.25             // pressure at which half of Busy is enough
)

// Latches remember which causes hold. The zero value holds none. They take time as a value and have no clock.
type Latches map[Cause]latch

// latch is the memory of one cause.
type latch struct {
	since time.Time // zero: it does not hold
	quiet time.Time // since when nothing has spoken for it; zero: something does
	text  string
}

// signal is what a reading says of a cause.
type signal int

const (
	no signal = iota
	yes
	keep // between the two: what was stays
	lost // no reading
)

// step is the latch after one more signal. A clock that goes back starts the rest anew.
func (l latch) step(s signal, text string, rest time.Duration, now time.Time) latch {
	switch s {
	case yes:
		if l.since.IsZero() {
			l.since = now
		}
		l.quiet, l.text = time.Time{}, text
		return l
	case keep:
		l.quiet = time.Time{}
		return l
	case lost:
		rest = max(rest, restLost)
	}
	if l.since.IsZero() {
		return latch{}
	}
	if l.quiet.IsZero() || now.Before(l.quiet) {
		l.quiet = now
	}
	if now.Sub(l.quiet) >= rest {
		return latch{}
	}
	return l
}

// over says yes from high on, no below low, and keep between.
func over(r Reading, low, high float64) signal {
	switch {
	case !r.Known:
		return lost
	case r.Value >= high:
		return yes
	case r.Value <= low:
		return no
	default:
		return keep
	}
}

// held is a fact's signal, if the owner cares.
func held(care bool, r Reading) signal {
	if !care {
		return no
	}
	return over(r, 0.5, 0.5)
}

// Judge takes the readings of a moment and returns the reasons that hold, hardest first, and the latches for the next
// moment. It is pure: equal arguments give equal results. at is the same moment on the owner's wall clock, for the hours
// of the week; now may be any clock that only goes forward.
func Judge(was Latches, r Readings, rules Rules, now, at time.Time) ([]Why, Latches) {
	r = r.clean()
	next := Latches{}
	var out []Why
	add := func(c Cause, level Level, s signal, text string, rest time.Duration, ends string, until time.Time) {
		l := was[c].step(s, text, rest, now)
		if l.since.IsZero() {
			return
		}
		next[c] = l
		out = append(out, Why{Cause: c, Level: level, Since: l.since, Until: until, Text: l.text, Ends: ends})
	}

	if rules.Active > Full {
		s, until := lost, time.Time{}
		if r.Idle.Known {
			idle := time.Duration(r.Idle.Value * float64(time.Second))
			if s = no; idle < rules.IdleAfter {
				s, until = yes, now.Add(rules.IdleAfter-idle)
			}
		}
		add(ByActivity, rules.Active, s, "somebody uses this computer", 0, fmt.Sprintf("after %s without keyboard and mouse", spoken(rules.IdleAfter)), until)
	}
	add(ByScreen, Halted, held(rules.FullScreen, r.FullScreen), cmp.Or(r.FullScreen.Text, "a program fills the screen"), restShort, spoken(restShort)+" after it ends", time.Time{})
	add(ByProgram, Halted, held(rules.Program, r.Program), cmp.Or(r.Program.Text, "a chosen program runs"), restShort, spoken(restShort)+" after it ends", time.Time{})
	add(ByBattery, Halted, held(rules.Battery, r.Battery), "on battery", restLong, spoken(restLong)+" after power returns", time.Time{})
	add(ByMetered, Halted, held(rules.Metered, r.Metered), "the network is metered", restLong, spoken(restLong)+" after it is not", time.Time{})

	heat := no
	if rules.Hot > 0 {
		heat = over(r.Heat, rules.Hot-cooler, rules.Hot)
	}
	add(ByHeat, Halted, heat, fmt.Sprintf("%.0f °C, the limit is %.0f", r.Heat.Value, rules.Hot), restShort, fmt.Sprintf("below %.0f °C", rules.Hot-cooler), time.Time{})

	load := no
	if rules.Busy > 0 && rules.Busy < 1 {
		busy := rules.Busy
		if r.Pressure.Known && r.Pressure.Value >= waiting {
			busy /= 2 // programs already wait for one another
		}
		load = over(r.Foreign, max(0, busy-calmer), busy)
	}
	add(ByLoad, Shrunk, load, fmt.Sprintf("your own programs use %.0f %% of the processors", 100*r.Foreign.Value), restShort, spoken(restShort)+" after they need less", time.Time{})

	disk := no
	if rules.DiskStop > 0 {
		disk = over(r.Disk, rules.DiskStop-fuller, rules.DiskStop)
	}
	add(ByDisk, Drained, disk, fmt.Sprintf("%.0f %% of the disk is used", 100*r.Disk.Value), 0, fmt.Sprintf("below %.0f %%", 100*rules.DiskStop), time.Time{})

	shut, until := no, time.Time{}
	if !rules.Hours.Open(at) {
		shut = yes
		if change := rules.Hours.Change(at); !change.IsZero() {
			until = now.Add(change.Sub(at))
		}
	}
	add(ByHours, Halted, shut, "outside of the hours you gave", 0, "when they begin", until)

	Harden(out)
	return out, next
}

// Harden orders reasons: hardest first, then oldest first.
func Harden(list []Why) {
	slices.SortStableFunc(list, func(a, b Why) int {
		return cmp.Or(int(b.Level)-int(a.Level), a.Since.Compare(b.Since), cmp.Compare(a.Cause, b.Cause))
	})
}

// spoken writes a length of time for people.
func spoken(d time.Duration) string {
	d = d.Round(time.Second)
	switch h, m, s := int(d.Hours()), int(d.Minutes())%60, int(d.Seconds())%60; {
	case h > 0 && m > 0:
		return fmt.Sprintf("%d h %d min", h, m)
	case h > 0:
		return fmt.Sprintf("%d h", h)
	case m > 0 && s > 0:
		return fmt.Sprintf("%d min %d s", m, s)
	case m > 0:
		return fmt.Sprintf("%d min", m)
	default:
		return fmt.Sprintf("%d s", s)
	}
}
