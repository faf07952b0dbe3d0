// Command bench measures what Kith promises, on this machine and its loopback alone, and prints each figure beside a
// reference and the least it must reach. The references were measured on machines of this size; see README.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// row is one line of the table.
type row struct {
	What      string  `json:"what"`
	Reference string  `json:"reference"`
	Want      float64 `json:"want"`
	Most      bool    `json:"most"` // want is an upper bound
	Got       float64 `json:"got"`
	Unit      string  `json:"unit"`
	Note      string  `json:"note,omitempty"`
}

func (r row) met() string {
	switch {
	case r.Want == 0:
		return ""
	case r.Most == (r.Got <= r.Want):
		return "yes"
	default:
		return fmt.Sprintf("no, %.0f %%", 100*r.Got/r.Want)
	}
}

// measure is one group of rows.
type measure struct {
	name string
	run  func(ctx context.Context, b *bench) ([]row, error)
}

var measures = []measure{
	{"start", startUp},
	{"latency", latency},
	{"throughput", throughput},
	{"transfer", transfer},
	{"text", text},
	{"sandbox", sandboxed},
	{"idle", idle},
}

// bench is what the measures share.
type bench struct {
	kith string // the program
	dir  string // for data
	fast bool   // shorter runs, for a quick look
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == peerRole {
		if err := servePeer(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			os.Exit(1)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	var b bench
	flags := flag.NewFlagSet("bench", flag.ExitOnError)
	flags.StringVar(&b.kith, "kith", "bin/kith", "the program")
	flags.StringVar(&b.dir, "dir", "", "folder for data (default: a temporary one)")
	flags.BoolVar(&b.fast, "fast", false, "shorter runs")
	only := flags.String("only", "", "measures to run, separated by commas: "+names())
	asJSON := flags.Bool("json", false, "print JSON")
	_ = flags.Parse(args)
	if b.dir == "" {
		dir, err := os.MkdirTemp("", "kith-bench")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		b.dir = dir
	}
	sync, err := fsyncLatency(b.dir)
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "%s, %d cores, fsync p50 %.2f ms\n", machine(), runtime.NumCPU(), sync.Seconds()*1e3)
	var rows []row
	for _, m := range measures {
		if *only != "" && !slices.Contains(strings.Split(*only, ","), m.name) {
			continue
		}
		fmt.Fprintf(os.Stderr, "measuring %s…\n", m.name)
		got, err := m.run(ctx, &b)
		if err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
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

func names() string {
	var all []string
	for _, m := range measures {
		all = append(all, m.name)
	}
	return strings.Join(all, ",")
}

func table(rows []row) {
	head := [5]string{"what", "here", "at least", "met", "reference"}
	lines := [][5]string{head}
	for _, r := range rows {
		want := ""
		if r.Want != 0 {
			want = number(r.Want) + " " + r.Unit
			if r.Most {
				want = "≤ " + want
			}
		}
		got := number(r.Got) + " " + r.Unit
		if r.Note != "" {
			got += " (" + r.Note + ")"
		}
		lines = append(lines, [5]string{r.What, got, want, r.met(), r.Reference})
	}
	var wide [5]int
	for _, l := range lines {
		for i, cell := range l {
			wide[i] = max(wide[i], len([]rune(cell)))
		}
	}
	for i, l := range lines {
		for j, cell := range l {
			fmt.Print("| ", cell, strings.Repeat(" ", wide[j]-len([]rune(cell))+1))
		}
		fmt.Println("|")
		if i == 0 {
			for _, w := range wide {
				fmt.Print("|", strings.Repeat("-", w+2))
			}
			fmt.Println("|")
		}
	}
}

func number(x float64) string {
	switch {
	case x >= 100:
		return fmt.Sprintf("%.0f", x)
	case x >= 10:
		return fmt.Sprintf("%.1f", x)
	default:
		return fmt.Sprintf("%.2f", x)
	}
}

// fsyncLatency is the median time to make one small appended record durable on the disk of dir.
func fsyncLatency(dir string) (time.Duration, error) {
	f, err := os.Create(filepath.Join(dir, "fsync"))
	if err != nil {
		return 0, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	var took []time.Duration
	for range 101 {
		if _, err := f.Write(make([]byte, 512)); err != nil {
			return 0, err
		}
		begun := time.Now()
		if err := f.Sync(); err != nil {
			return 0, err
		}
		took = append(took, time.Since(begun))
	}
	return median(took), nil
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}

func milliseconds(d time.Duration) float64 { return d.Seconds() * 1e3 }

func machine() string {
	out, err := exec.Command("uname", "-srm").Output()
	if err != nil {
		return runtime.GOOS + "/" + runtime.GOARCH
	}
	return strings.TrimSpace(string(out))
}
