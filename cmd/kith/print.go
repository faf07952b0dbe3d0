package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"
)

// terminal knows whether people look on and how.
type terminal struct {
	w     io.Writer
	tty   bool
	color bool
}

func newTerminal(w io.Writer) terminal {
	t := terminal{w: w}
	if f, ok := w.(*os.File); ok {
		info, err := f.Stat()
		t.tty = err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
	}
	t.color = t.tty && os.Getenv("NO_COLOR") == ""
	return t
}

func (t terminal) paint(code, s string) string {
	if !t.color {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

func (t terminal) red(s string) string    { return t.paint("31", s) }
func (t terminal) green(s string) string  { return t.paint("32", s) }
func (t terminal) yellow(s string) string { return t.paint("33", s) }

// redraw writes one line over the last one.
func (t terminal) redraw(line string) { fmt.Fprintf(t.w, "\r\x1b[K%s", line) }

// printJSON writes v for programs.
func (a *app) printJSON(v any) error { return a.printJSONTo(a.stdout, v) }

func (a *app) printJSONTo(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// show prints v as JSON if programs listen, else calls people.
func (a *app) show(v any, people func(w io.Writer)) error {
	if a.cli.JSON {
		return a.printJSON(v)
	}
	people(a.stdout)
	return nil
}

// table writes rows in aligned columns.
func table(w io.Writer, rows [][]string) {
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	for _, r := range rows {
		for i := range r {
			r[i] = printable(r[i])
		}
		fmt.Fprintln(tw, strings.TrimRight(strings.Join(r, "\t"), "\t"))
	}
	_ = tw.Flush() // a broken pipe ends the program by itself
}

// printable keeps names from others from steering the terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || (r >= 0x80 && r < 0xa0) {
			return '·'
		}
		return r
	}, s)
}

// bytesText writes a number of bytes for people.
func bytesText(n int64) string {
	const unit = 1000
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	x, i := float64(n)/unit, 0
	for x >= 999.5 && i < 4 {
		x /= unit
		i++
	}
	if x < 9.95 {
		return fmt.Sprintf("%.1f %cB", x, "kMGTP"[i])
	}
	return fmt.Sprintf("%.0f %cB", x, "kMGTP"[i])
}

// durationText writes a time span for people.
func durationText(d time.Duration) string {
	switch {
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min %02d s", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h %02d min", int(d.Hours()), int(d.Minutes())%60)
	default:
		return fmt.Sprintf("%d days", int(d.Hours()/24))
	}
}

func millis(ms int64) time.Duration { return time.Duration(ms) * time.Millisecond }

func timeText(ms int64) string {
	if ms == 0 {
		return "–"
	}
	return time.UnixMilli(ms).Local().Format("2006-01-02 15:04:05")
}

func short(id fmt.Stringer) string {
	s := id.String()
	return s[:min(10, len(s))]
}
