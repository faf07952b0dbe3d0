package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"kith/node/api"
	"kith/node/config"
)

type (
	// pauseCmd is "kith pause".
	pauseCmd struct{}
	// resumeCmd is "kith resume".
	resumeCmd struct{}
	// killCmd is "kith kill".
	killCmd struct{}
	// snoozeCmd is "kith snooze".
	snoozeCmd struct {
		For string `arg:"" help:"How long, for example 30m or 2h; off ends a snooze."`
	}
	// limitsCmd is "kith limits".
	limitsCmd struct{}
)

// Run pauses.
func (pauseCmd) Run(a *app) error {
	return a.owner("pause", "paused: tasks stand still and are soon handed back; nothing begins until kith resume")
}

// Run resumes.
func (resumeCmd) Run(a *app) error { return a.owner("resume", "working") }

// Run kills.
func (killCmd) Run(a *app) error {
	return a.owner("kill", "stopped: every task was ended; nothing runs until kith resume, not even after a restart")
}

func (a *app) owner(verb, words string) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	o, err := c.Owner(a.ctx, verb)
	if err != nil {
		return err
	}
	return a.show(o, func(w io.Writer) {
		fmt.Fprintln(w, words)
		if verb == "resume" {
			a.stillPaused(w, o)
		}
	})
}

// stillPaused says why a node that was told to go on does not.
func (a *app) stillPaused(w io.Writer, o api.Owner) {
	if o.Level == "paused" || o.Level == "killed" {
		fmt.Fprintln(w, "but "+printable(o.Words))
	}
}

// Run snoozes.
func (c snoozeCmd) Run(a *app) error {
	var d time.Duration
	if c.For != "off" {
		span, err := config.ParseSpan(c.For)
		if err != nil || span == config.Never || span == 0 {
			return usage("%q is no time to snooze for; want one like 30m, 2h or 1h30m, or off; kith pause has no end", c.For)
		}
		d = time.Duration(span)
	}
	cl, err := a.client()
	if err != nil {
		return err
	}
	o, err := cl.Snooze(a.ctx, d)
	if err != nil {
		return err
	}
	return a.show(o, func(w io.Writer) {
		if d > 0 {
			fmt.Fprintf(w, "snoozing until %s; kith snooze off ends it\n", time.Now().Add(d).Format("15:04:05"))
			return
		}
		fmt.Fprintln(w, "no snooze any more")
		a.stillPaused(w, o)
	})
}

// Run shows what the owner gives, what is in effect and what the sensors say.
func (limitsCmd) Run(a *app) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	s, err := c.Status(a.ctx)
	if err != nil {
		return err
	}
	settings, err := c.Settings(a.ctx)
	if err != nil {
		return err
	}
	value := map[string]string{}
	for _, x := range settings {
		value[x.Key] = x.Value
	}
	return a.show(s.Owner, func(w io.Writer) {
		fmt.Fprintln(w, printable(s.Owner.Words))
		in := s.Owner.Caps
		rows := [][]string{{"", "I use it", "idle", "now"}}
		for _, r := range []struct{ name, key, unit, now string }{
			{"processors", "cpu", " %", fmt.Sprintf("%.2f of %d", in.Processors, s.Meters.Cores)},
			{"cores", "cores", "", ""},
			{"memory", "memory", "", bytesText(in.MemoryBytes) + ", " + bytesText(in.PromisedBytes) + " promised"},
			{"graphics memory", "vram", "", orNone(in.VRAMBytes, "there is none", "")},
			{"disk transfer", "io", "", orNone(in.IOPerSecond, "unlimited", "/s")},
			{"receiving", "down", "", orNone(in.DownPerSecond, "unlimited", "/s")},
			{"sending", "up", "", orNone(in.UpPerSecond, "unlimited", "/s")},
		} {
			rows = append(rows, []string{r.name, given(r.key, value["inUse."+r.key], in) + r.unit, given(r.key, value["work."+r.key], in) + r.unit, r.now})
		}
		rows = append(rows, []string{"scratch space", "", value["work.scratch"], ""})
		table(w, rows)
		ownerDetails(w, s.Owner)
		a.note("change them with kith config set work.KEY=VALUE or inUse.KEY=VALUE; kith config undo takes it back")
	})
}

// given writes a setting as it is meant: of graphics memory there is none, or all, rather than more than any card has.
func given(key, value string, in api.Caps) string {
	switch {
	case key != "vram":
	case in.VRAMBytes == 0:
		return "none"
	case value == config.AllVRAM.String():
		return "all"
	}
	return value
}

func orNone(n int64, none, unit string) string {
	if n == 0 {
		return none
	}
	return bytesText(n) + unit
}

// ownerDetails prints reasons, sensors and how fast the node yields.
func ownerDetails(w io.Writer, o api.Owner) {
	if len(o.Reasons) > 0 {
		fmt.Fprintln(w, "\nwhy it gives way")
		rows := [][]string{}
		for _, r := range o.Reasons {
			rows = append(rows, []string{"  " + r.Cause, r.Level, reasonSentence(r)})
		}
		table(w, rows)
	}
	if len(o.Sensors) > 0 {
		fmt.Fprintln(w, "\nsensors")
		rows := [][]string{}
		for _, x := range o.Sensors {
			value := "not known"
			switch {
			case !x.Known:
			case x.Unit == "":
				value = map[bool]string{true: "yes", false: "no"}[x.Value != 0]
			default:
				value = fmt.Sprintf("%.0f %s", x.Value, x.Unit)
			}
			rows = append(rows, []string{"  " + x.Name, value, x.Text})
		}
		table(w, rows)
	}
	if o.Goal.Hours > 0 {
		fmt.Fprintf(w, "\nready for work %.1f of %.0f hours in the last seven days\n", o.Goal.Done, o.Goal.Hours)
	}
	if o.Yield.Count > 0 {
		fmt.Fprintf(w, "\ngets out of the way in %d ms (99 of 100 times; promised: %d ms; measured %d times)\n", o.Yield.P99Millis, o.Yield.PromiseMillis, o.Yield.Count)
	}
}

// reasonSentence writes a reason with its countdown.
func reasonSentence(r api.Pause) string {
	parts := []string{r.Text}
	if r.Since > 0 {
		parts[0] += " since " + timeText(r.Since)
	}
	switch left := time.Until(time.UnixMilli(r.Until)); {
	case r.Until > 0 && left > 0:
		parts = append(parts, "ends in "+durationText(left))
	case r.Ends != "":
		parts = append(parts, "ends "+r.Ends)
	}
	return strings.Join(parts, "; ")
}
