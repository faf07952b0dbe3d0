// Command demo shows the whole of Kith at work on this machine's loopback: four real processes, one that submits and
// three that donate, clean a real corpus. One donor is killed in the middle, then the submitter, which is started again.
// The result must be byte for byte what one process alone makes of the same folder.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"kith/cmd/internal/fleet"
	"kith/node/api"
	"kith/tasks"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

type options struct {
	kith, input, ops, part, dir string
	keep                        bool
}

func run(ctx context.Context, args []string) error {
	var o options
	flags := flag.NewFlagSet("demo", flag.ExitOnError)
	flags.StringVar(&o.kith, "kith", "bin/kith", "the program")
	flags.StringVar(&o.input, "input", "", "folder to work on (default: the source tree of this Go)")
	flags.StringVar(&o.ops, "ops", "etl.chunk,etl.dedup,etl.lang,etl.zstd", "what to do with it")
	flags.StringVar(&o.part, "part-size", "2MiB", "input of one task")
	flags.StringVar(&o.dir, "dir", "", "folder for the nodes' data (default: a temporary one)")
	flags.BoolVar(&o.keep, "keep", false, "keep that folder")
	_ = flags.Parse(args)
	if o.input == "" {
		root, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
		if err != nil {
			return fmt.Errorf("where is Go: %w", err)
		}
		o.input = filepath.Join(strings.TrimSpace(string(root)), "src")
	}
	if o.dir == "" {
		dir, err := os.MkdirTemp("", "kith-demo")
		if err != nil {
			return err
		}
		o.dir = dir
		if !o.keep {
			defer os.RemoveAll(dir)
		}
	}
	f, err := fleet.New(o.kith, o.dir)
	if err != nil {
		return err
	}
	defer f.Close()
	d := demo{options: o, fleet: f, start: time.Now()}
	return d.run(ctx)
}

type demo struct {
	options
	fleet     *fleet.Fleet
	submitter *fleet.Node
	donors    []*fleet.Node
	start     time.Time
}

func (d *demo) say(format string, args ...any) {
	fmt.Printf("%6.1fs  %s\n", time.Since(d.start).Seconds(), fmt.Sprintf(format, args...))
}

func (d *demo) run(ctx context.Context) error {
	if err := d.assemble(ctx); err != nil {
		return err
	}
	alone, took, err := d.alone(ctx)
	if err != nil {
		return err
	}
	job, err := d.submit(ctx)
	if err != nil {
		return err
	}
	job, err = d.disturb(ctx, job)
	if err != nil {
		return err
	}
	return d.check(ctx, job, alone, took)
}

// assemble starts four nodes that share nothing but one address.
func (d *demo) assemble(ctx context.Context) error {
	for _, name := range []string{"submitter", "donor-1", "donor-2", "donor-3"} {
		donate := "on"
		if name == "submitter" {
			donate = "off"
		}
		n, err := d.fleet.Add(ctx, name, "work.donate", donate, "work.slots", "1")
		if err != nil {
			return err
		}
		if err := n.Start(ctx); err != nil {
			return err
		}
		if d.submitter == nil {
			d.submitter = n
		} else {
			d.donors = append(d.donors, n)
		}
	}
	meet, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := d.submitter.Connected(meet, len(d.donors)); err != nil {
		return err
	}
	d.say("four nodes run and have found each other")
	return nil
}

// alone does the job in one process, without a network: the reference.
func (d *demo) alone(ctx context.Context) (dir string, took time.Duration, err error) {
	dir = filepath.Join(d.dir, "alone")
	begun := time.Now()
	_, err = d.submitter.Kith(ctx, "local", d.ops, d.input, "--part-size", d.part, "-o", dir)
	took = time.Since(begun)
	if err == nil {
		d.say("one process alone did it in %.1f s", took.Seconds())
	}
	return dir, took, err
}

func (d *demo) submit(ctx context.Context) (api.JobDetail, error) {
	out, err := d.submitter.Kith(ctx, "submit", d.ops, d.input, "--sensitivity", "public", "--k", "2", "--n", "6",
		"--part-size", d.part, "--name", "demo", "--json")
	var j api.JobDetail
	if err != nil {
		return j, err
	}
	if err := json.Unmarshal([]byte(out), &j); err != nil {
		return j, fmt.Errorf("kith submit --json printed %q: %w", out, err)
	}
	d.say("submitted job %s: %d files, %.1f MB, two of three must agree", j.ID.Short(), j.InputFiles, float64(j.InputBytes)/1e6)
	return j, nil
}

// disturb follows the job, kills a donor at a quarter of it and the submitter at half.
func (d *demo) disturb(ctx context.Context, j api.JobDetail) (api.JobDetail, error) {
	id := j.ID.String()
	errReached := errors.New("reached")
	until := func(progress float64) error {
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		_, err := d.submitter.Wait(ctx, id, 50*time.Millisecond, func(j api.JobDetail) {
			if j.Progress >= progress {
				cancel(errReached)
			}
		})
		if errors.Is(context.Cause(ctx), errReached) {
			return nil
		}
		if err == nil {
			return fmt.Errorf("the job was finished before it was %d %% done; choose a larger input", int(progress*100))
		}
		return err
	}
	if err := until(0.25); err != nil {
		return j, err
	}
	d.donors[2].Kill()
	d.say("a quarter is done: %s is killed (-9)", d.donors[2].Name)
	if err := until(0.5); err != nil {
		return j, err
	}
	d.submitter.Kill()
	d.say("half is done: the submitter is killed (-9)")
	begun := time.Now()
	if err := d.submitter.Start(ctx); err != nil {
		return j, err
	}
	d.say("the submitter runs again after %.2f s and goes on", time.Since(begun).Seconds())
	shown := -1
	return d.submitter.Wait(ctx, id, 100*time.Millisecond, func(j api.JobDetail) {
		if ten := int(j.Progress * 10); ten != shown {
			shown = ten
			d.say("%3d %%  %d of %d tasks", int(j.Progress*100), j.Tasks.Done, j.Tasks.Total)
		}
	})
}

// check compares the result with the reference and reads the account.
func (d *demo) check(ctx context.Context, j api.JobDetail, alone string, took time.Duration) error {
	dir := filepath.Join(d.dir, "together")
	if _, err := d.submitter.Kith(ctx, "job", "get", j.ID.String(), "-o", dir); err != nil {
		return err
	}
	files, size, err := fleet.Same(alone, dir)
	if err != nil {
		return err
	}
	d.say("the result is byte for byte what one process made alone: %d files, %.1f MB", files, float64(size)/1e6)

	names := map[tasks.NodeID]string{}
	for _, n := range d.donors {
		id, err := n.Kith(ctx, "id")
		if err != nil {
			return err
		}
		for _, field := range strings.Fields(id) {
			var node tasks.NodeID
			if node.UnmarshalText([]byte(field)) == nil {
				names[node] = n.Name
			}
		}
	}
	var receipts []api.Receipt
	if err := d.submitter.Call(ctx, http.MethodGet, "receipts?limit=10000&job="+j.ID.String(), nil, &receipts); err != nil {
		return err
	}
	agreed := map[tasks.TaskID]map[tasks.NodeID]bool{}
	done := map[string]int{}
	for _, r := range receipts {
		if r.Outcome != tasks.Accepted {
			continue
		}
		if agreed[r.Task] == nil {
			agreed[r.Task] = map[tasks.NodeID]bool{}
		}
		agreed[r.Task][r.Worker] = true
		done[names[r.Worker]]++
	}
	for task, by := range agreed {
		if len(by) < 2 {
			return fmt.Errorf("task %s was accepted on the word of %d node", task.Short(), len(by))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(done)) {
		d.say("receipts: %s did %d tasks that were accepted", name, done[name])
	}
	d.say("tasks accepted: %d, each by two different nodes; a part merged twice or lost would show in the bytes", len(agreed))
	wall := time.Duration(j.Finished-j.Created) * time.Millisecond
	d.say("together, with two kills and all done twice: %.1f s, %.1f MB/s; alone: %.1f s", wall.Seconds(), float64(j.InputBytes)/1e6/wall.Seconds(), took.Seconds())
	return nil
}
