package governor

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Cause is what can happen to a drive.
type Cause string

// The causes. The last four raise or set limits; the rest lower them.
const (
	IOError      Cause = "io-error"         // the kernel, or a read or write of our own, says so
	MediumError  Cause = "medium-error"     // a place on the drive cannot be read
	ReadOnly     Cause = "read-only"        // its file system was switched to read-only
	LinkReset    Cause = "link-reset"       // of the USB or SATA link, or of the controller
	Vanished     Cause = "vanished"         // unplugged, or no longer there
	SmartFailing Cause = "smart-failing"    // it says that it fails
	SmartChanged Cause = "smart-changed"    // more bad sectors, wear or link errors than last time
	Hot          Cause = "hot"              // above the temperature it is made for, or slowing itself down
	SyncSpike    Cause = "sync-spike"       // a sync took far longer than usual
	Unclean      Cause = "unclean-shutdown" // the machine went down while the node ran
	KernelCrash  Cause = "kernel-crash"     // the system keeps a crash report of it
	SoakFailed   Cause = "soak-failed"      // the soak test found errors or throttling

	SoakPassed Cause = "soak-passed"
	Regraded   Cause = "regraded"
	Calm       Cause = "calm"         // nothing happened for a while
	Owner      Cause = "owner-forgot" // the owner took the marks away
)

// Signal is one thing that happened. Detail is for people.
type Signal struct {
	Cause  Cause
	Detail string
	At     time.Time
}

// effect is what a signal does: how many levels it takes, for how long one of them stays when nothing else happens, and
// how soon the same cause counts again: a drive that dies writes thousands of lines.
type effect struct {
	levels int
	calm   time.Duration
	again  time.Duration
}

var effects = map[Cause]effect{
	IOError:      {2, 6 * time.Hour, 5 * time.Minute},
	MediumError:  {2, 24 * time.Hour, 10 * time.Minute},
	ReadOnly:     {maxLevel, 24 * time.Hour, time.Hour},
	LinkReset:    {1, time.Hour, 2 * time.Minute},
	Vanished:     {2, time.Hour, time.Minute},
	SmartFailing: {maxLevel, 7 * 24 * time.Hour, time.Hour},
	SmartChanged: {1, 24 * time.Hour, time.Hour},
	Hot:          {1, 10 * time.Minute, 5 * time.Minute},
	SyncSpike:    {1, 10 * time.Minute, time.Minute},
	Unclean:      {1, 6 * time.Hour, time.Minute},
	KernelCrash:  {1, 12 * time.Hour, time.Hour},
	SoakFailed:   {2, 24 * time.Hour, time.Minute},
}

// maxLevel is how often limits can be halved.
const maxLevel = 6

// State is what is remembered of a drive. The zero State is a drive nobody knows anything about.
type State struct {
	Grade Grade    `json:"grade"`
	Why   []string `json:"why"` // of the grade
	Base  Limits   `json:"base"`
	Level int      `json:"level"`           // how often Base is halved now
	Cause Cause    `json:"cause,omitempty"` // of the last lowering
	Text  string   `json:"text,omitempty"`  // of the last lowering, for people
	// Bad is when each cause last counted; Calm, how long after the last one a level comes back.
	Bad  map[Cause]time.Time `json:"bad,omitempty"`
	Calm time.Duration       `json:"calm,omitempty"`
	Up   time.Time           `json:"up,omitzero"` // when the next level comes back, if nothing happens
}

// Limits is what holds now.
func (s State) Limits() Limits {
	if s.Grade == "" {
		return rowOf(Ungraded).Limits.lowered(s.Level)
	}
	return s.Base.lowered(s.Level)
}

// Flagged reports whether people should look at the drive.
func (s State) Flagged() bool { return s.Level > 0 || s.Grade == Failing }

// Decision is a change of limits, with its cause.
type Decision struct {
	At     time.Time `json:"at"`
	Cause  Cause     `json:"cause"`
	Text   string    `json:"text"` // for people
	Grade  Grade     `json:"grade"`
	Level  int       `json:"level"`
	Before Limits    `json:"before"`
	After  Limits    `json:"after"`
}

// Regrade sets grade and limits by what is known of the drive now. Levels taken for other reasons stay.
func Regrade(s State, now time.Time, d Drive) (State, []Decision) {
	g, why := Rate(d)
	base := For(g, d)
	if s.Grade == g && near(s.Base, base) && slices.Equal(s.Why, why) {
		return s, nil
	}
	before, first := s.Limits(), s.Grade == ""
	changed := first || s.Grade != g || !near(s.Base, base)
	s.Grade, s.Why, s.Base = g, why, base
	if !changed {
		return s, nil // the same in other words
	}
	return s, []Decision{{now, Regraded, fmt.Sprintf("graded %s: %s", g, strings.Join(why, "; ")), g, s.Level, before, s.Limits()}}
}

// near reports whether two limits differ by less than a tenth: two measurements always differ a little.
func near(a, b Limits) bool {
	close := func(x, y int64) bool { return max(x, y)-min(x, y) <= max(x, y)/10 }
	return close(a.ReadBytes, b.ReadBytes) && close(a.WriteBytes, b.WriteBytes) && close(int64(a.ReadOps), int64(b.ReadOps)) &&
		close(int64(a.WriteOps), int64(b.WriteOps)) && a.Queue == b.Queue && a.Files == b.Files && a.SyncEvery == b.SyncEvery && a.Jobs == b.Jobs
}

// Decide takes in what happened since the last call, and the passing of time, and says what changes.
func Decide(s State, now time.Time, signals []Signal) (State, []Decision) {
	var out []Decision
	if len(signals) > 0 {
		signals = slices.Clone(signals)
		slices.SortStableFunc(signals, func(a, b Signal) int { return a.At.Compare(b.At) })
		bad := make(map[Cause]time.Time, len(s.Bad)+1)
		for c, t := range s.Bad {
			bad[c] = t
		}
		s.Bad = bad
	}
	for _, sig := range signals {
		before := s.Limits()
		if !s.take(now, sig) {
			continue
		}
		out = append(out, Decision{now, sig.Cause, sig.Detail, s.Grade, s.Level, before, s.Limits()})
	}
	if s.Level > 0 && s.Up.Sub(now) > s.Calm { // the clock was set back
		s.Up = now.Add(s.Calm)
	}
	if s.Level > 0 && !now.Before(s.Up) {
		before := s.Limits()
		s.Level--
		s.Up = now.Add(s.Calm)
		text := fmt.Sprintf("nothing more for %v after %q", s.Calm, s.Text)
		if s.Level == 0 {
			s.Cause, s.Text, s.Up = "", "", time.Time{}
		}
		out = append(out, Decision{now, Calm, text, s.Grade, s.Level, before, s.Limits()})
	}
	return s, out
}

// take takes one signal in and reports whether anything changes.
func (s *State) take(now time.Time, sig Signal) bool {
	switch sig.Cause {
	case SoakPassed, Owner:
		had := s.Level > 0 || len(s.Bad) > 0
		s.Level, s.Cause, s.Text, s.Bad, s.Calm, s.Up = 0, "", "", map[Cause]time.Time{}, 0, time.Time{}
		return had
	}
	e, ok := effects[sig.Cause]
	if !ok {
		return false
	}
	at := sig.At
	if at.IsZero() || at.After(now) {
		at = now
	}
	if last, ok := s.Bad[sig.Cause]; ok && at.Sub(last) < e.again && !last.After(now) {
		return false
	}
	s.Bad[sig.Cause] = at
	s.Level = min(s.Level+e.levels, maxLevel)
	s.Cause, s.Text = sig.Cause, cmp.Or(sig.Detail, string(sig.Cause))
	if up := at.Add(e.calm); up.After(s.Up) {
		s.Up, s.Calm = up, e.calm
	}
	return true
}
