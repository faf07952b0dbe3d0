package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"kith/node/api"
)

// statusCmd is "kith status".
type statusCmd struct{}

// Run shows the node.
func (statusCmd) Run(a *app) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	s, err := c.Status(a.ctx)
	if err != nil {
		return err
	}
	return a.show(s, func(w io.Writer) { a.status(w, s) })
}

func (a *app) status(w io.Writer, s api.Status) {
	state := s.Owner.State
	if s.Owner.Since > 0 {
		state += " since " + timeText(s.Owner.Since)
	}
	if len(s.Owner.Reasons) > 0 && s.Owner.Reasons[0].Cause != "owner" && s.Owner.Reasons[0].Cause != "kill" {
		state += ", " + s.Owner.Words
	}
	rows := [][]string{
		{"node", s.Node.String()},
		{"network", s.Network + fmt.Sprintf(", %d peers, reachability %s", s.Peers, s.Reachability)},
		{"state", state},
		{"uptime", durationText(millis(s.UptimeMillis)) + ", version " + s.Version + " on " + s.Platform},
		{"grade", gradeText(s.Grade)},
		{"sandbox", fmt.Sprintf("%s, grade %d: %s", s.Sandbox.Engine, s.Sandbox.Grade, s.Sandbox.Words)},
		{"uses", fmt.Sprintf("%.0f %% of a core, %s memory, %s/s in, %s/s out, %s disk (%s free)", s.Meters.CPUPercent, bytesText(s.Meters.MemoryBytes),
			bytesText(s.Meters.InPerSecond), bytesText(s.Meters.OutPerSecond), bytesText(s.Meters.DiskUsedBytes), bytesText(s.Meters.DiskFreeBytes))},
		{"work", fmt.Sprintf("%d of %d slots, %d sessions; %d done, %d accepted, %d outvoted, %d returned", len(s.Work.Running), s.Work.Slots,
			s.Work.Sessions, s.Work.Done, s.Work.Accepted, s.Work.Outvoted, s.Work.Returned)},
		{"data", s.Home},
	}
	if d := s.Depot; d != nil {
		text := fmt.Sprintf("%d deposits of others, %s of %s", d.Deposits, bytesText(d.Bytes), bytesText(d.QuotaBytes))
		if !d.Open {
			text += "; takes no more: serve.depot is off, or others cannot reach this node"
		}
		rows = append(rows, []string{"depot", text})
	}
	table(w, rows)
	for _, addr := range s.Addresses {
		fmt.Fprintln(w, "  "+printable(addr))
	}
	if len(s.Work.Running) > 0 {
		fmt.Fprintln(w, "\nrunning now")
		rows := [][]string{{"  task", "for", "what", "state", "done", "since"}}
		for _, r := range s.Work.Running {
			done := "–"
			if r.Total > 0 {
				done = fmt.Sprintf("%d %%", r.Done*100/r.Total)
			}
			rows = append(rows, []string{"  " + short(r.Lease), short(r.Submitter), strings.Join(r.Kinds, " → "), r.State, done, durationText(time.Since(time.UnixMilli(r.Since)))})
		}
		table(w, rows)
	}
	reasons(w, "why there is no work", s.Work.Why)
	if len(s.Owner.Reasons) > 0 {
		fmt.Fprintln(w, "\nwhy it gives way")
		for _, r := range s.Owner.Reasons {
			fmt.Fprintf(w, "  %s (%s): %s\n", r.Cause, r.Level, printable(reasonSentence(r)))
		}
	}
	if len(s.Health) > 0 {
		fmt.Fprintln(w, "\nproblems")
		for _, p := range s.Health {
			mark := a.term.yellow(p.Severity)
			if p.Severity == "high" {
				mark = a.term.red(p.Severity)
			}
			fmt.Fprintf(w, "  %s: %s. %s %s\n", mark, p.Title, p.Text, p.Remedy)
		}
	}
}

func gradeText(g api.Grade) string {
	switch {
	case g.Running:
		return "is being measured"
	case g.At == 0:
		return "ungraded; kith bench measures this computer"
	case g.Ungraded != "":
		return "ungraded: " + g.Ungraded
	}
	return fmt.Sprintf("%.1f of 100, band %d of 10, class %s, measured %s; kith bench --show explains it", g.Score, g.Band, g.Class, timeText(g.At))
}

func reasons(w io.Writer, title string, list []api.Reason) {
	if len(list) == 0 {
		return
	}
	fmt.Fprintln(w, "\n"+title)
	for _, r := range list {
		fmt.Fprintf(w, "  %s: %s\n", r.Code, printable(reasonText(r)))
	}
}

func reasonText(r api.Reason) string {
	text := r.Words
	if r.Detail != "" {
		text += " (" + r.Detail + ")"
	}
	if r.Remedy != "" && r.Remedy != "nothing to do" {
		text += "; " + r.Remedy
	}
	return text
}
