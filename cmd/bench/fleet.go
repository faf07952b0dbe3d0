package main

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"kith/cmd/internal/fleet"
	"kith/node/api"
)

// network makes a submitter and donors that have met. extra are arguments of kith run for all of them.
func (b *bench) network(ctx context.Context, name string, donors int, extra ...string) (*fleet.Fleet, *fleet.Node, error) {
	f, err := fleet.New(b.kith, filepath.Join(b.dir, name))
	if err != nil {
		return nil, nil, err
	}
	for i := range donors + 1 {
		settings := []string{"work.slots", "1", "log.level", "warn"}
		if i == 0 {
			settings = append(settings, "work.donate", "off")
		}
		n, err := f.Add(ctx, "node-"+strconv.Itoa(i), settings...)
		if err == nil {
			err = n.Start(ctx, extra...)
		}
		if err != nil {
			f.Close()
			return nil, nil, err
		}
	}
	meet, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	submitter := f.Nodes()[0]
	if err := submitter.Connected(meet, donors); err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, submitter, nil
}

// noop submits a job of that many empty tasks, k = 2, and returns it when it is done.
func noop(ctx context.Context, n *fleet.Node, count int) (api.JobDetail, error) {
	var j api.JobDetail
	err := n.Call(ctx, http.MethodPost, "jobs", api.Submit{
		Name: "noop", K: 2, Sensitivity: "public",
		Ops: []api.Op{{Kind: "test.noop", Params: map[string]any{"tasks": count}}},
	}, &j)
	if err != nil {
		return j, err
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	return n.Wait(ctx, j.ID.String(), time.Duration(min(count, 100))*time.Millisecond, nil)
}

func took(j api.JobDetail) time.Duration {
	return time.Duration(j.Finished-j.Created) * time.Millisecond
}

// startUp measures from the start of the process to the first answer of its page, on a fresh and on a used folder.
func startUp(ctx context.Context, b *bench) ([]row, error) {
	f, err := fleet.New(b.kith, filepath.Join(b.dir, "start"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	n, err := f.Add(ctx, "node")
	if err != nil {
		return nil, err
	}
	var times []time.Duration
	for range 5 {
		begun := time.Now()
		if err := n.Launch(); err != nil {
			return nil, err
		}
		if err := n.WaitAnswer(ctx); err != nil {
			return nil, err
		}
		times = append(times, time.Since(begun))
		if err := n.WaitReady(ctx); err != nil {
			return nil, err
		}
		n.Stop()
	}
	return []row{{What: "kith run → page answers, p50", Want: 1500, Most: true, Got: milliseconds(median(times)), Unit: "ms"}}, nil
}

// latency measures one empty task from the local API's acceptance to its verdict and end.
func latency(ctx context.Context, b *bench) ([]row, error) {
	const reference = "a compute network in Go, wasm: 1.2 s, unverified"
	f, n, err := b.network(ctx, "latency", 3)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	begun := time.Now()
	if _, err := noop(ctx, n, 1); err != nil {
		return nil, err
	}
	strangers := time.Since(begun)

	rounds := 40
	if b.fast {
		rounds = 10
	}
	var jobs, cli []time.Duration
	for range rounds {
		time.Sleep(300 * time.Millisecond) // spares are made again while nothing else runs
		j, err := noop(ctx, n, 1)
		if err != nil {
			return nil, err
		}
		jobs = append(jobs, took(j))
	}
	for range rounds / 4 {
		time.Sleep(300 * time.Millisecond)
		begun := time.Now()
		if _, err := n.Kith(ctx, "submit", "test.noop", "--sensitivity", "public", "--k", "2", "--wait", "--json"); err != nil {
			return nil, err
		}
		cli = append(cli, time.Since(begun))
	}
	return []row{
		{What: "one no-op task, API accepts → verdict, k = 2, sessions open, runners cold, p50", Reference: reference, Want: 60, Most: true, Got: milliseconds(median(jobs)), Unit: "ms"},
		{What: "the same from the command line, whole process", Got: milliseconds(median(cli)), Unit: "ms"},
		{What: "the same among strangers: offer, dial, hello, first lease, once", Got: milliseconds(strangers), Unit: "ms"},
	}, nil
}

// throughput measures verified empty tasks a second, on this disk and on one whose fsync takes 5 ms.
func throughput(ctx context.Context, b *bench) ([]row, error) {
	count := 20000
	if b.fast {
		count = 4000
	}
	var rows []row
	for _, disk := range []struct {
		what  string
		want  float64
		extra []string
	}{
		{"no-op tasks a second, k = 2, 4 donors, real processes", 3000, nil},
		{"the same with an fsync of 5 ms", 0, []string{"--sync-delay", "5ms"}},
	} {
		f, n, err := b.network(ctx, "throughput-"+strconv.Itoa(len(rows)), 4, disk.extra...)
		if err != nil {
			return nil, err
		}
		if _, err = noop(ctx, n, 500); err != nil { // sessions and runners warm up
			f.Close()
			return nil, err
		}
		j, err := noop(ctx, n, count)
		f.Close()
		if err != nil {
			return nil, err
		}
		rows = append(rows, row{
			What: disk.what, Reference: "the same network: 1.4 jobs/s", Want: disk.want,
			Got: float64(count) / took(j).Seconds(), Unit: "tasks/s",
		})
	}
	return rows, nil
}

// idle measures a node that has 20 peers and nothing to do.
func idle(ctx context.Context, b *bench) ([]row, error) {
	watch := time.Minute
	if b.fast {
		watch = 15 * time.Second
	}
	if err := cold(b.kith); err != nil {
		return nil, err
	}
	f, n, err := b.network(ctx, "idle", 20)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	select { // the fleet settles
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(watch):
	}
	var from, to api.Status
	if err := n.Call(ctx, http.MethodGet, "status", nil, &from); err != nil {
		return nil, err
	}
	before, err := n.Usage()
	if err != nil {
		return nil, err
	}
	begun := time.Now()
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(watch):
	}
	after, err := n.Usage()
	if err != nil {
		return nil, err
	}
	seconds := time.Since(begun).Seconds()
	if err := n.Call(ctx, http.MethodGet, "status", nil, &to); err != nil {
		return nil, err
	}
	traffic := float64(to.Meters.InTotal+to.Meters.OutTotal-from.Meters.InTotal-from.Meters.OutTotal) / seconds
	note := fmt.Sprintf("%d peers, %.0f s, program read anew", to.Peers, seconds)
	return []row{
		{What: "idle node: memory", Reference: "bare stack 35 MB; the leading IPFS node without peers 70 MB", Want: 70, Most: true, Got: float64(after.RSS) / 1e6, Unit: "MB", Note: note},
		{What: "idle node: processor", Reference: "bare stack 1.4 %", Want: 1, Most: true, Got: 100 * (after.CPU - before.CPU).Seconds() / seconds, Unit: "% of a core"},
		{What: "idle node: traffic, both ways", Want: 2, Most: true, Got: traffic / 1e3, Unit: "kB/s"},
	}, nil
}

// text runs the benchmark that stands beside the code and reads its MB/s.
func text(ctx context.Context, _ *bench) ([]row, error) {
	c := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", "^BenchmarkMap$/^chunk.sign$", "-benchtime", "3s", "-cpu", "1", "./tasks/kinds/etl")
	out, err := c.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	for s := bufio.NewScanner(strings.NewReader(string(out))); s.Scan(); {
		fields := strings.Fields(s.Text())
		for i, f := range fields {
			if f == "MB/s" {
				rate, err := strconv.ParseFloat(fields[i-1], 64)
				if err != nil {
					return nil, err
				}
				return []row{{What: "chunk + dedup on one core, source text", Reference: "tuned simhash alone 250, naive 26 MB/s", Want: 100, Got: rate, Unit: "MB/s"}}, nil
			}
		}
	}
	return nil, fmt.Errorf("no benchmark reported MB/s:\n%s", out)
}
