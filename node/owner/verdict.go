package owner

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"kith/tasks"
)

// Verdict is what the owner allows at one moment.
type Verdict struct {
	Level      Level
	Why        []Why   // every reason that holds, hardest first
	Caps       Caps    // in effect, for all tasks together
	Processors float64 // that these caps leave
	Comfort    Comfort
	Memory     int64 // bytes that were promised to tasks
}

// Text is the verdict in a sentence: "paused: on battery since 14:02; ends 1 min after power returns".
func (v Verdict) Text() string {
	if len(v.Why) == 0 {
		return "giving all you allow"
	}
	return v.Level.String() + ": " + v.Why[0].Sentence()
}

// Sentence is a reason for people.
func (w Why) Sentence() string {
	text := w.Text
	if !w.Since.IsZero() {
		text += " since " + w.Since.Format("15:04")
	}
	if w.Ends != "" {
		text += "; ends " + w.Ends
	}
	return text
}

// Reason is what others are told: the code and no more of the owner's life than must be.
func (w Why) Reason() tasks.Reason {
	switch w.Cause {
	case ByOwner:
		return tasks.Because(tasks.Paused, "by its owner")
	case ByKill:
		return tasks.Because(tasks.Killed, "by its owner")
	case ByNotice, ByFile:
		return tasks.Because(tasks.Killed, "%s", w.Text)
	case ByDisk:
		return tasks.Because(tasks.DiskFull, "%s", w.Text)
	default:
		return tasks.Because(tasks.Paused, "%s", w.Text)
	}
}

// Observe takes the readings of all sensors, brings the reasons up to date, hands back tasks for which there is no room any
// more, and returns what is allowed now.
func (o *Owner) Observe(now time.Time, r Readings) Verdict {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.judgeLocked(now, r)
	return o.verdictLocked()
}

// Verdict is what is allowed now, as far as was last observed.
func (o *Owner) Verdict() Verdict {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.orderLocked(time.Now())
	return o.verdictLocked()
}

// Hold adds a reason that no sensor tells, until Drop. It ends nothing else, and nothing else ends it.
func (o *Owner) Hold(w Why) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if old, ok := o.extra[w.Cause]; ok {
		w.Since = old.Since
	}
	o.extra[w.Cause] = w
	o.orderLocked(time.Now())
}

// Drop takes back what Hold added.
func (o *Owner) Drop(c Cause) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.extra, c)
	o.orderLocked(time.Now())
}

// Yielded takes a measurement of how long it took to get out of the owner's way, and writes it down: somebody comes back to
// a computer some times a day. An error says that it is known until the next start alone.
func (o *Owner) Yielded(took time.Duration) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.comfort = o.comfort.Yielded(took)
	return o.comfort.keep(o.kept)
}

func (o *Owner) verdictLocked() Verdict {
	l := o.limits()
	v := Verdict{Why: slices.Clone(o.why), Caps: o.capsLocked(l), Comfort: o.comfort, Memory: o.memory}
	if len(o.why) > 0 {
		v.Level = o.why[0].Level
	}
	v.Processors = v.Caps.Processors(max(1, l.Processors))
	return v
}

// judgeLocked asks the rules about new readings.
func (o *Owner) judgeLocked(now time.Time, r Readings) {
	sensed, next := Judge(o.latches, r, o.limits().Rules, now, now)
	o.latches = next
	o.why = sensed
	o.orderLocked(now)
}

// ownCauses are those that orderLocked knows by itself; the others came from Judge.
var ownCauses = []Cause{ByOwner, ByKill, ByNotice, ByFile, ByStale, BySnooze}

// orderLocked renews the reasons that need no sensor, and makes room.
func (o *Owner) orderLocked(now time.Time) {
	o.why = slices.DeleteFunc(slices.Clone(o.why), func(w Why) bool { return slices.Contains(ownCauses, w.Cause) })
	since := time.Time{}
	if o.state.Since > 0 {
		since = time.UnixMilli(o.state.Since)
	}
	const resume = "when you say kith resume"
	switch o.state.State {
	case Paused:
		o.why = append(o.why, Why{Cause: ByOwner, Level: Halted, Since: since, Text: "by you", Ends: resume})
	case Killed:
		w := Why{Cause: ByKill, Level: Ended, Since: since, Text: "by you", Ends: resume}
		if o.state.By != "" {
			w.Cause, w.Text = o.state.By, o.state.Text
		}
		o.why = append(o.why, w)
	}
	if left := o.snoozed.Sub(now); o.state.Snooze != nil && left > 0 {
		o.why = append(o.why, Why{
			Cause: BySnooze, Level: Halted, Since: time.UnixMilli(o.state.Snooze.Since), Until: now.Add(left),
			Text: "snoozed by you", Ends: "in " + spoken(left),
		})
	}
	o.why = slices.AppendSeq(o.why, maps.Values(o.extra))
	Harden(o.why)
	o.makeRoomLocked(now)
}

// capsLocked are the caps in effect.
func (o *Owner) capsLocked(l Limits) Caps {
	c := l.whole()
	if slices.ContainsFunc(o.why, func(w Why) bool { return w.Level == Shrunk }) {
		c = c.Within(l.InUse)
	}
	return o.comfort.Scale(c, max(1, l.Processors))
}

// makeRoomLocked hands back tasks that the present caps have no room for, the youngest first, and all of them once they
// have stood still for long enough.
func (o *Owner) makeRoomLocked(now time.Time) {
	l := o.limits()
	give := func(t *admission, r tasks.Reason) {
		if !t.stopped && t.stop != nil {
			t.stopped = true
			t.stop(r)
		}
	}
	if len(o.why) == 0 || o.why[0].Level < Halted {
		o.halted = time.Time{}
	} else if o.halted.IsZero() || now.Before(o.halted) {
		o.halted = now
	}
	if !o.halted.IsZero() && now.Sub(o.halted) >= l.HandBack {
		for _, t := range o.admitted {
			r := o.why[0].Reason()
			give(t, r)
		}
		return
	}
	c := o.capsLocked(l)
	memory, scratch, vram := o.memory, o.scratch, o.vram
	for _, t := range slices.Backward(o.admitted) {
		var of string
		switch {
		case c.Memory > 0 && memory > c.Memory:
			of = fmt.Sprintf("%d MiB of memory", c.Memory>>20)
		case scratch > l.Scratch:
			of = fmt.Sprintf("%d MiB of scratch space", l.Scratch>>20)
		case vram > 0 && vram > c.VRAM:
			of = fmt.Sprintf("%d MiB of graphics memory", c.VRAM>>20)
		default:
			return
		}
		memory, scratch, vram = memory-t.memory, scratch-t.scratch, vram-t.vram
		give(t, tasks.Because(tasks.OverLimits, "the owner now gives %s to all tasks together", of))
	}
}
