package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"kith/bench/disk"
	"kith/node"
	"kith/node/api"
	"kith/node/api/client"
	"kith/node/config"
	"kith/storage/governor"
)

// drivesCmd is "kith drives".
type drivesCmd struct {
	Drive   string `arg:"" optional:"" help:"Only this one, with everything that happened to it: its name, ID, or a path on it."`
	Measure bool   `help:"Measure its speed now; takes some seconds."`
	Forget  bool   `help:"Take the marks away that trouble has left; its limits are those of its grade again."`
	Table   bool   `help:"Print how a grade becomes limits, and the makes known to suffer, with who says so."`
}

// Run shows drives. It works without a node too.
func (c drivesCmd) Run(a *app) error {
	if c.Table {
		return a.driveTable()
	}
	if (c.Measure || c.Forget) && c.Drive == "" {
		return usage("name the drive to measure or to forget the trouble of; kith drives lists them")
	}
	d, closeDrives, err := a.drives()
	if err != nil {
		return err
	}
	defer func() { _ = closeDrives() }()
	drive := c.Drive
	if strings.ContainsAny(drive, "/\\") {
		if drive, err = filepath.Abs(drive); err != nil {
			return err
		}
	}
	var one api.Drive
	switch {
	case c.Measure:
		one, err = d.MeasureDrive(a.ctx, drive)
	case c.Forget:
		one, err = d.ForgetDrive(a.ctx, drive)
	default:
		return a.showDrives(d, drive)
	}
	if err != nil {
		return err
	}
	return a.show(one, func(w io.Writer) { a.driveText(w, one, 3) })
}

func (a *app) showDrives(d api.Drives, only string) error {
	list, err := d.Drives(a.ctx)
	if err != nil {
		return err
	}
	most := 3
	if only != "" {
		most = 1 << 30
		on, _ := disk.Of(only)
		list.Drives = slices.DeleteFunc(list.Drives, func(x api.Drive) bool {
			return x.Name != only && !strings.HasPrefix(x.ID, only) && (!filepath.IsAbs(only) || x.ID != on.ID)
		})
		if len(list.Drives) == 0 {
			return fmt.Errorf("no such drive: %s; kith drives lists them: %w", only, fs.ErrNotExist)
		}
	}
	return a.show(list, func(w io.Writer) {
		for i, x := range list.Drives {
			if i > 0 {
				fmt.Fprintln(w)
			}
			a.driveText(w, x, most)
		}
		if list.Blind != "" {
			a.note("the kernel's log is not heard (%s): errors are known by this node's own reads and writes alone", list.Blind)
		}
	})
}

func (a *app) driveText(w io.Writer, d api.Drive, most int) {
	grade := string(d.Grade)
	switch {
	case d.Grade == governor.Failing:
		grade = a.term.red(grade)
	case d.Flagged || d.Grade == governor.Fragile:
		grade = a.term.yellow(grade)
	}
	fmt.Fprintf(w, "%s, %s, %s\n", printable(d.Title), d.Kind, bytesText(d.Bytes))
	health := d.Health
	if len(d.HealthWhy) > 0 {
		health += ": " + strings.Join(d.HealthWhy, "; ")
	}
	rows := [][]string{
		{"  grade", grade + ": " + strings.Join(d.Why, "; ")},
		{"  health", health},
		{"  limits", limitsText(d.Limits)},
	}
	if d.Level > 0 {
		rows = append(rows, []string{"  lowered", fmt.Sprintf("%d times halved, last because of %s: %s; the next step back %s", d.Level, d.Cause, d.Text, timeText(d.BackAt))})
	}
	if d.Speed != nil {
		rows = append(rows, []string{"  measured", speedText(d.Speed)})
	}
	for _, row := range [][2]string{{"not measured", d.Failed}, {"make", d.Make}, {"note", d.Note}, {"holds", strings.Join(d.InUse, ", ")}} {
		if row[1] != "" {
			rows = append(rows, []string{"  " + row[0], row[1]})
		}
	}
	if d.Stats.Reads+d.Stats.Writes > 0 {
		text := fmt.Sprintf("%s read, %s written", bytesText(d.Stats.ReadBytes), bytesText(d.Stats.WrittenBytes))
		if d.Stats.Waiting > 0 {
			text += fmt.Sprintf("; %d wait now for the %s", d.Stats.Waiting, d.Stats.Reason)
		}
		rows = append(rows, []string{"  used", text})
	}
	table(w, rows)
	from := max(len(d.Decisions)-most, 0)
	for _, x := range d.Decisions[from:] {
		fmt.Fprintf(w, "    %s  %s: %s → writes %s/s\n", timeText(x.At.UnixMilli()), x.Cause, printable(x.Text), bytesText(x.After.WriteBytes))
	}
}

func limitsText(l governor.Limits) string {
	return fmt.Sprintf("read %s/s, write %s/s, %d and %d requests a second, %d at once, %d files, bursts of %s, %v between syncs, %d tasks at once",
		bytesText(l.ReadBytes), bytesText(l.WriteBytes), l.ReadOps, l.WriteOps, l.Queue, l.Files, bytesText(l.Burst), l.SyncEvery, l.Jobs)
}

func speedText(r *disk.Result) string {
	var parts []string
	for _, x := range []struct {
		name string
		list []disk.Rate
	}{{"reads", r.SeqRead}, {"writes", r.SeqWrite}} {
		if best, ok := disk.Best(x.list); ok {
			parts = append(parts, fmt.Sprintf("%s %s/s", x.name, bytesText(int64(best.Bytes))))
		}
	}
	for _, x := range []struct {
		name string
		list []disk.Rate
	}{{"reads", r.RandRead}, {"writes", r.RandWrite}} {
		if best, ok := disk.Best(x.list); ok {
			parts = append(parts, fmt.Sprintf("%.0f random %s a second (depth %d)", best.Requests, x.name, best.Depth))
		}
	}
	parts = append(parts, fmt.Sprintf("sync %v", r.SyncMedian.Round(10*time.Microsecond)))
	return strings.Join(parts, ", ") + "; " + timeText(r.At.UnixMilli())
}

func (a *app) driveTable() error {
	v := map[string]any{"grades": governor.Table(), "makes": disk.Makes()}
	return a.show(v, func(w io.Writer) {
		rows := [][]string{{"GRADE", "READ/s", "WRITE/s", "REQUESTS/s", "AT ONCE", "FILES", "BURST", "SYNC EVERY", "TASKS", "OF MEASURED", "WHAT"}}
		for _, r := range governor.Table() {
			l := r.Limits
			rows = append(rows, []string{
				string(r.Grade), bytesText(l.ReadBytes), bytesText(l.WriteBytes), fmt.Sprintf("%d, %d", l.ReadOps, l.WriteOps), fmt.Sprint(l.Queue), fmt.Sprint(l.Files),
				bytesText(l.Burst), l.SyncEvery.String(), fmt.Sprint(l.Jobs), fmt.Sprintf("%.0f, %.0f %%", 100*r.Read, 100*r.Write), r.Words,
			})
		}
		table(w, rows)
		fmt.Fprintln(w)
		for _, m := range disk.Makes() {
			fmt.Fprintf(w, "%s\n  %s. %s\n", m.Match, m.Words, m.Source)
		}
	})
}

// drives are those of the running node, or of the data folder if none runs.
func (a *app) drives() (api.Drives, func() error, error) {
	cl, err := a.client()
	if errors.Is(err, client.ErrNotRunning) {
		return node.OfflineDrives(a.cli.Home, slog.New(slog.DiscardHandler))
	}
	if err != nil {
		return nil, nil, err
	}
	return cl, func() error { return nil }, nil
}

// soakCmd is "kith soak".
type soakCmd struct {
	Drive   string  `arg:"" help:"A folder on the drive, or the name of one that this node uses."`
	Minutes float64 `help:"How long to work it, all runs together." default:"30"`
	Fresh   bool    `help:"Begin anew instead of going on with a test that was stopped."`
	Size    string  `help:"Size of the test's own file; default 256MiB, and a twentieth of the free space at most." placeholder:"SIZE"`
}

// Run tests a drive.
func (c soakCmd) Run(a *app) error {
	if !(c.Minutes > 0 && c.Minutes <= 7*24*60) {
		return usage("--minutes %v: want more than 0 and at most a week", c.Minutes)
	}
	var size int64
	if c.Size != "" {
		n, err := config.ParseSize(c.Size)
		if err != nil || n < 4<<20 {
			return usage("--size %.20q: want at least 4MiB", c.Size)
		}
		size = int64(n)
	}
	dir, limits, err := c.place(a)
	if err != nil {
		return err
	}
	if r, err := disk.LastSoak(dir); err == nil && !r.Done && !c.Fresh {
		a.note("going on with the test begun %s; %s are left", timeText(r.Began.UnixMilli()), durationText(max(time.Duration(c.Minutes*float64(time.Minute))-r.Worked, 0)))
	}
	p := progress{app: a}
	r, err := disk.Prober{}.Soak(a.ctx, disk.SoakOptions{Dir: dir, Minutes: c.Minutes, Size: size, Limits: limits, Fresh: c.Fresh, Tell: p.soak})
	p.end()
	if a.ctx.Err() != nil {
		a.note("stopped; the same command goes on where it was")
		return err
	}
	if err != nil {
		return fmt.Errorf("soak test of %s: %w", dir, err)
	}
	if err := c.takeIn(a, dir, &r); err != nil {
		return err
	}
	if err := a.show(r, func(w io.Writer) { soakText(w, r) }); err != nil {
		return err
	}
	if r.Verdict != "sound" {
		return silent(exitFailed)
	}
	return nil
}

// place finds the folder to test in and the limits of its drive.
func (c soakCmd) place(a *app) (string, governor.Limits, error) {
	d, closeDrives, err := a.drives()
	if err != nil {
		return "", governor.Limits{}, err
	}
	defer func() { _ = closeDrives() }()
	dir := c.Drive
	if err := disk.Answers(a.ctx, dir); err != nil {
		return "", governor.Limits{}, fmt.Errorf("soak test: %w", err)
	}
	info, err := os.Stat(dir)
	isDir := err == nil && info.IsDir()
	if isDir {
		if dir, err = filepath.Abs(dir); err != nil {
			return "", governor.Limits{}, err
		}
	}
	on, _ := disk.Of(dir)
	list, err := d.Drives(a.ctx)
	if err != nil {
		return "", governor.Limits{}, err
	}
	for _, x := range list.Drives {
		named := x.Name == c.Drive || len(c.Drive) >= 4 && strings.HasPrefix(x.ID, c.Drive)
		if isDir && x.ID == on.ID || named && len(x.InUse) > 0 {
			if !isDir {
				dir = x.InUse[0]
			}
			return dir, x.Limits, nil
		}
	}
	if !isDir {
		return "", governor.Limits{}, fmt.Errorf("%s is neither a folder nor a drive this node uses; name a folder on the drive: %w", c.Drive, fs.ErrNotExist)
	}
	return dir, governor.Limits{}, nil
}

// takeIn has the node draw its conclusions.
func (c soakCmd) takeIn(a *app, dir string, r *disk.SoakReport) error {
	d, closeDrives, err := a.drives()
	if err != nil {
		return err
	}
	defer func() { _ = closeDrives() }()
	x, err := d.SoakedDrive(a.ctx, dir)
	if err != nil {
		return fmt.Errorf("the verdict is %q, but the node did not take it in: %w", r.Verdict, err)
	}
	r.Grade, r.Limits = x.Grade, x.Limits
	return nil
}

func soakText(w io.Writer, r disk.SoakReport) {
	fmt.Fprintf(w, "%s: %s\n", r.Drive.Title(), r.Verdict)
	for _, why := range r.Why {
		fmt.Fprintln(w, "  "+printable(why))
	}
	table(w, [][]string{
		{"  worked", fmt.Sprintf("%s in %d runs", durationText(r.Worked), r.Runs)},
		{"  requests", fmt.Sprintf("%d reads, %d writes, %d syncs; %d failed, %d took over a second, the slowest %v", r.Reads, r.Writes, r.Syncs, r.Failed, r.Stalls, r.Slowest.Round(time.Microsecond*10))},
		{"  data", fmt.Sprintf("%s written, %s verified", bytesText(r.Written), bytesText(r.Verified))},
		{"  health", string(r.SMART.Verdict)},
		{"  grade", string(r.Grade)},
		{"  limits from now on", limitsText(r.Limits)},
	})
}

// soak shows how a test stands.
func (p *progress) soak(r disk.SoakReport) {
	done := 0.0
	if r.Wanted > 0 {
		done = min(float64(r.Worked)/float64(r.Wanted), 1)
	}
	text := fmt.Sprintf("%3d %%  %d requests, %s verified, %d failed  %s left", int(done*100), r.Reads+r.Writes, bytesText(r.Verified), r.Failed, durationText(r.Left()))
	filled := int(done * barWidth)
	p.draw(strings.Repeat("█", filled)+strings.Repeat("░", barWidth-filled)+" "+text, text, false)
}
