// Command hardware holds what kith bench measures against the tools that people trust, on this machine, one after the
// other: OpenBLAS, STREAM, fio, iperf3. Each row of its table says how far apart the two are, what was promised, and, where
// that was not kept, why. It is not quick, and means something only on a quiet machine.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"time"

	"kith/bench"
)

// row is one comparison.
type row struct {
	What   string  `json:"what"`
	Unit   string  `json:"unit"`
	Ours   float64 `json:"ours"`
	Theirs float64 `json:"theirs"`
	Tool   string  `json:"tool"`
	Within float64 `json:"within"`         // promised share of difference; 0: none, for information
	Why    string  `json:"why,omitempty"`  // if the promise is not kept
	Miss   string  `json:"miss,omitempty"` // why there is nothing to compare
}

func (r row) ratio() float64 {
	if r.Theirs == 0 {
		return 0
	}
	return r.Ours / r.Theirs
}

func (r row) met() string {
	switch {
	case r.Miss != "":
		return "not measured: " + r.Miss
	case r.Within == 0:
		return r.Why
	case r.ratio() >= 1-r.Within && r.ratio() <= 1+r.Within:
		return "yes"
	case r.Why != "":
		return "no: " + r.Why
	}
	return "no"
}

// subject is one group of rows.
type subject struct {
	name string
	run  func(ctx context.Context, dir string, d time.Duration) ([]row, error)
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == probeArg {
		os.Exit(child())
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "hardware:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("hardware", flag.ExitOnError)
	only := flags.String("only", "", "subjects, separated by commas: cpu,memory,drive,network,twice")
	asJSON := flags.Bool("json", false, "print JSON")
	d := flags.Duration("time", 3*time.Second, "for each figure")
	at := flags.String("dir", "", "folder on the drive to measure; default: the system's folder for temporary files")
	times := flags.Int("times", 2, "how often to grade for the subject twice")
	quick := flags.Bool("quick", false, "grade quickly for the subject twice")
	_ = flags.Parse(args)
	mode := bench.Full
	if *quick {
		mode = bench.Quick
	}
	subjects := []subject{{"cpu", processor}, {"memory", streams}, {"drive", drives}, {"network", transfer}, {"twice", func(ctx context.Context, dir string, _ time.Duration) ([]row, error) {
		return again(ctx, dir, mode, max(2, *times))
	}}}
	dir, err := os.MkdirTemp(*at, "kith-hardware")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	fmt.Fprintf(os.Stderr, "%d processors, load %s\n", runtime.NumCPU(), load())
	var rows []row
	for _, s := range subjects {
		if *only != "" && !slices.Contains(strings.Split(*only, ","), s.name) {
			continue
		}
		fmt.Fprintf(os.Stderr, "measuring %s…\n", s.name)
		got, err := s.run(ctx, dir, *d)
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		rows = append(rows, got...)
	}
	if *asJSON {
		e := json.NewEncoder(os.Stdout)
		e.SetIndent("", "  ")
		return e.Encode(rows)
	}
	table(rows)
	return nil
}

func load() string {
	data, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	first, _, _ := strings.Cut(string(data), " ")
	return first
}

func table(rows []row) {
	lines := [][]string{{"what", "ours", "theirs", "ratio", "tool", "promised", "kept"}}
	for _, r := range rows {
		promised := ""
		if r.Within > 0 {
			promised = fmt.Sprintf("within %.0f %%", 100*r.Within)
		}
		lines = append(lines, []string{r.What, number(r.Ours, r.Unit), number(r.Theirs, r.Unit), fmt.Sprintf("%.2f", r.ratio()), r.Tool, promised, r.met()})
	}
	for i, l := range lines {
		fmt.Println("| " + strings.Join(l, " | ") + " |")
		if i == 0 {
			fmt.Println(strings.Repeat("| --- ", len(l)) + "|")
		}
	}
}

func number(v float64, unit string) string {
	for _, p := range []struct {
		from float64
		name string
	}{{1e9, "G"}, {1e6, "M"}, {1e3, "k"}} {
		if v >= p.from {
			return fmt.Sprintf("%.4g %s%s", v/p.from, p.name, unit)
		}
	}
	return fmt.Sprintf("%.4g %s", v, unit)
}

// tool runs a program and returns what it printed.
func tool(ctx context.Context, env []string, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = fmt.Errorf("%s: %w: %s", name, err, strings.TrimSpace(string(exit.Stderr)))
	}
	return string(out), err
}
