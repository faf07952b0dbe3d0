package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"time"

	"kith/bench"
	"kith/node"
	"kith/node/api/client"
	"kith/node/config"
	"kith/node/grading"
)

// benchCmd is "kith bench". A running node measures itself; without one this process does.
type benchCmd struct {
	Parts   []string `arg:"" optional:"" help:"Parts to measure: gpu, cpu, memory, drive, network, uptime, thermal. None: all."`
	Full    bool     `help:"Measure up to 90 seconds instead of 10, for figures that hold under lasting load."`
	Show    bool     `help:"Show what was measured last, measure nothing."`
	Scales  bool     `help:"Print the formula: what gives how many points, and why."`
	Classes bool     `help:"Print which cards are good for which kinds of work."`
	Dir     string   `help:"Folder on the drive to measure, without a running node; default: the data folder." placeholder:"DIR" type:"path"`
}

// Run measures and shows.
func (c benchCmd) Run(a *app) error {
	r := grading.Request{Mode: bench.Quick}
	if c.Full {
		r.Mode = bench.Full
	}
	for _, p := range c.Parts {
		for one := range strings.SplitSeq(p, ",") {
			r.Parts = append(r.Parts, bench.Part(strings.TrimSpace(one)))
		}
	}
	r, err := r.Check()
	if err != nil {
		return usage("%w", err)
	}
	switch {
	case c.Scales:
		return a.show(bench.Scales(), a.scales)
	case c.Classes:
		report, err := c.report(a)
		if err != nil {
			return err
		}
		return a.show(report.Classes, func(w io.Writer) { fmt.Fprint(w, bench.Table(report.Classes)) })
	}
	var report grading.Report
	if c.Show {
		report, err = c.report(a)
	} else {
		report, err = c.measure(a, r)
	}
	if err != nil {
		return err
	}
	return a.show(report, func(w io.Writer) { a.grade(w, &report) })
}

// report is what is known, from the running node or its files.
func (c benchCmd) report(a *app) (grading.Report, error) {
	cl, err := a.client()
	if err == nil {
		var r grading.Report
		if r, err = cl.Grade(a.ctx); err == nil {
			return r, nil
		}
	}
	if !errors.Is(err, client.ErrNotRunning) {
		return grading.Report{}, err
	}
	now, before, err := grading.Load(a.cli.Home)
	if err != nil {
		a.note("%s", err)
	}
	return a.judge(now, before)
}

// judge judges with the weights of the data folder's settings.
func (a *app) judge(now, before *bench.Profile) (grading.Report, error) {
	w := bench.DefaultWeights()
	if _, err := os.Stat(a.cli.Home); err == nil {
		s, err := config.Open(a.cli.Home)
		if err != nil {
			return grading.Report{}, err
		}
		if w, err = bench.ParseWeights(s.Get().Grade.Weights); err != nil {
			return grading.Report{}, err
		}
	}
	r := grading.NewReport(now, before, w)
	node.FillClasses(r.Classes)
	return r, nil
}

func (c benchCmd) measure(a *app, r grading.Request) (grading.Report, error) {
	show, done := a.benchProgress(r)
	defer done()
	cl, err := a.client()
	if err == nil {
		report, err := cl.Bench(a.ctx, r, show)
		if !errors.Is(err, client.ErrNotRunning) {
			return report, err
		}
	} else if !errors.Is(err, client.ErrNotRunning) {
		return grading.Report{}, err
	}
	exe, err := os.Executable()
	if err != nil {
		return grading.Report{}, fmt.Errorf("find this program's own file: %w", err)
	}
	if err := node.MakeHome(a.cli.Home); err != nil {
		return grading.Report{}, err
	}
	dir := c.Dir
	if dir == "" {
		dir = a.cli.Home
	}
	p, err := grading.Measure(a.ctx, grading.Options{
		Exe: exe, Args: []string{node.ProbeArg}, Program: node.Version, Dir: dir,
		Uptime: func() bench.Device { return grading.LastLife(a.cli.Home) },
	}, r, show)
	if err != nil {
		if a.ctx.Err() != nil {
			return grading.Report{}, context.Canceled
		}
		return grading.Report{}, err
	}
	now, before, err := grading.Keep(a.cli.Home, p, r.Parts)
	if err != nil && now == nil {
		return grading.Report{}, err
	}
	if err != nil {
		a.note("the measurement could not be kept: %s", err)
	}
	return a.judge(now, before)
}

// benchProgress shows which part is being measured, on a terminal.
func (a *app) benchProgress(r grading.Request) (show func(grading.Progress), done func()) {
	if a.cli.Quiet || a.cli.JSON || !a.term.tty {
		return func(grading.Progress) {}, func() {}
	}
	begun := time.Now()
	return func(p grading.Progress) {
		a.term.redraw(fmt.Sprintf("measuring (%s): %-8s %s %s", r.Mode, p.Part, bar(100*p.Share, 20), durationText(time.Since(begun))))
	}, func() { a.term.redraw("") }
}

// bar draws 0 to 100 points.
func bar(points float64, width int) string {
	full := int(math.Round(points / 100 * float64(width)))
	full = min(max(full, 0), width)
	return strings.Repeat("█", full) + strings.Repeat("░", width-full)
}

func (a *app) grade(w io.Writer, r *grading.Report) {
	g := r.Grade
	if g.Ungraded != "" {
		fmt.Fprintf(w, "%s: %s\n", a.term.yellow("ungraded"), printable(g.Ungraded))
	} else {
		fmt.Fprintf(w, "score %s of 100, band %d of 10, class %s\n", a.term.green(fmt.Sprintf("%.1f", g.Score)), g.Band, g.Class)
	}
	if r.Profile == nil {
		return
	}
	fmt.Fprintf(w, "measured %s (%s, %s) by version %s\n", timeText(r.Profile.At), r.Profile.Mode, durationText(millis(r.Profile.TookMillis)), printable(r.Profile.Program))
	if r.Due != "" {
		fmt.Fprintf(w, "to be measured anew: %s\n", printable(r.Due))
	}
	for _, n := range r.Profile.Notes {
		fmt.Fprintf(w, "%s: %s\n", a.term.yellow("note"), printable(n))
	}
	rows := [][]string{{"", "", "points", "weight", "gives"}}
	for _, t := range g.Terms {
		row := []string{string(t.Part), bar(t.Points, 20), fmt.Sprintf("%.0f", t.Points), fmt.Sprintf("%.0f %%", t.Weight), fmt.Sprintf("%.1f", t.Gives), t.Device}
		switch {
		case t.Ungraded != "":
			row[2], row[4], row[5] = "–", "0.0", "ungraded: "+t.Ungraded
		case t.Partial != "":
			row[5] += ": " + t.Partial
		}
		rows = append(rows, row)
	}
	for _, p := range g.Penalties {
		rows = append(rows, []string{"penalty", "", "", "", fmt.Sprintf("−%.1f", p.Points), p.Why})
	}
	fmt.Fprintln(w)
	table(w, rows)
	for i := range r.Profile.Devices {
		a.device(w, r, &r.Profile.Devices[i])
	}
	if r.Profile.Kernels != "" {
		fmt.Fprintf(w, "\nfloats: kernels %s\n", r.Profile.Kernels[:min(16, len(r.Profile.Kernels))])
	}
}

// device shows one part with its figures.
func (a *app) device(w io.Writer, r *grading.Report, d *bench.Device) {
	title := string(d.Part)
	if d.Name != title {
		title += " " + d.Name
	}
	if d.Model != "" {
		title += ": " + d.Model
	}
	if d.Class != "" {
		title += ", class " + string(d.Class)
	}
	fmt.Fprintf(w, "\n%s\n", printable(title))
	var facts, flags []string
	for _, f := range d.Facts {
		facts = append(facts, f.Name+" "+f.Value)
	}
	for _, f := range d.Flags {
		flags = append(flags, string(f))
	}
	if len(facts) > 0 {
		fmt.Fprintf(w, "  %s\n", printable(strings.Join(facts, ", ")))
	}
	if len(flags) > 0 {
		fmt.Fprintf(w, "  %s\n", a.term.yellow(printable(strings.Join(flags, ", "))))
	}
	var rows [][]string
	for _, m := range d.Measurements {
		if !m.Graded() {
			rows = append(rows, []string{"  " + m.Name, "ungraded", "", "", m.Ungraded})
			continue
		}
		change := ""
		if percent, ok := r.Change(d, m); ok {
			change = fmt.Sprintf("%+.1f %%", percent)
		}
		points := ""
		for _, s := range r.Scales {
			if s.Part == d.Part && s.Name == m.Name {
				points = bar(s.Points(m.Value), 10)
			}
		}
		rows = append(rows, []string{"  " + m.Name, valueText(m.Value, m.Unit), points, change, fmt.Sprintf("%s, ±%.0f %%", m.Method, 100*(1-m.Confidence))})
	}
	table(w, rows)
}

// valueText writes a value with its unit for people.
func valueText(v float64, u bench.Unit) string {
	switch u {
	case bench.Seconds:
		return scaled(v, "s")
	case bench.Ratio:
		return fmt.Sprintf("%.1f %%", 100*v)
	case bench.Count:
		return fmt.Sprintf("%.0f", v)
	case bench.Celsius:
		return fmt.Sprintf("%.0f °C", v)
	case bench.Watts:
		return fmt.Sprintf("%.0f W", v)
	default:
		return scaled(v, string(u))
	}
}

// scaled writes a number with a prefix for thousands or thousandths.
func scaled(v float64, unit string) string {
	if unit == string(bench.PerSecond) {
		unit = "/s"
	}
	if v == 0 {
		return "0 " + unit
	}
	prefixes := []struct {
		from float64
		name string
	}{{1e15, "P"}, {1e12, "T"}, {1e9, "G"}, {1e6, "M"}, {1e3, "k"}, {1, ""}, {1e-3, "m"}, {1e-6, "µ"}, {1e-9, "n"}}
	for _, p := range prefixes {
		if math.Abs(v) >= p.from*0.9995 {
			return fmt.Sprintf("%.3g %s%s", v/p.from, p.name, unit)
		}
	}
	return fmt.Sprintf("%.3g %s", v, unit)
}

// scales prints the published formula.
func (a *app) scales(w io.Writer) {
	d := bench.DefaultWeights()
	fmt.Fprintf(w, "score = Σ weight · points − penalties, from 0 to 100\n"+
		"weights, if nothing else is set (grade.weights): gpu %g, cpu %g, memory %g, drive %g, network %g, uptime %g\n"+
		"penalties: throttling 10 at most, crashes 2 each and 10 at most, drives that fail 10 each or warn 4 each, 20 at most\n\n", d.GPU, d.CPU, d.Memory, d.Drive, d.Network, d.Uptime)
	rows := [][]string{{"part", "figure", "share", "0 points", "50", "100", "why"}}
	for _, s := range bench.Scales() {
		rows = append(rows, []string{
			string(s.Part), s.Name, fmt.Sprintf("%.0f %%", 100*s.Share), valueText(s.Zero, s.Unit), valueText(s.Fifty, s.Unit), valueText(s.Hundred, s.Unit), s.Why,
		})
	}
	table(w, rows)
}
