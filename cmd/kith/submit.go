package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"kith/node/api"
	"kith/node/config"
	"kith/tasks"
	"kith/tasks/kinds"
	"kith/tasks/verify"
)

// pipeline is how a job is described on the command line; submit and local share it.
type pipeline struct {
	Kinds      string   `arg:"" name:"kind" help:"Kinds joined by commas, done one after another: etl.chunk,etl.dedup"`
	Path       string   `arg:"" optional:"" help:"File or folder to work on. Not for kinds like test.noop."`
	Input      string   `help:"The same as PATH." placeholder:"PATH"`
	Module     string   `help:"For wasm: the module to run, a file anywhere on this machine. Without it wasm.module names one in the input." placeholder:"FILE"`
	Checkpoint bool     `help:"For wasm alone: give the module a folder /checkpoint, from which it goes on when its task was ended before its time, on the same node or another."`
	Param      []string `short:"p" sep:"none" placeholder:"KIND.KEY=VALUE" help:"Parameter of a step, by its kind or its number (2.window=500). May be repeated; kith kinds KIND lists them."`
}

// ops makes the steps, and reports whether the first one reads input. It sets Path, if Input is set instead.
func (p *pipeline) ops() (ops []api.Op, input bool, err error) {
	if p.Input != "" {
		if p.Path != "" && p.Path != p.Input {
			return nil, false, usage("two inputs, %s and --input %s: name one", p.Path, p.Input)
		}
		p.Path = p.Input
	}
	registry := kinds.All()
	for i, name := range strings.Split(p.Kinds, ",") {
		name = strings.TrimSpace(name)
		kind, err := registry.Kind(name)
		if err != nil {
			return nil, false, err
		}
		if i == 0 {
			input = kind.Describe().Needs.Input
		}
		ops = append(ops, api.Op{Kind: name, Params: map[string]any{}})
	}
	for _, text := range p.Param {
		if err := setParam(ops, text); err != nil {
			return nil, false, err
		}
	}
	if input && p.Path == "" {
		return nil, false, usage("%s works on a file or folder; name one", ops[0].Kind)
	}
	if !input && p.Path != "" {
		return nil, false, usage("%s reads no input; leave %s away", ops[0].Kind, p.Path)
	}
	if p.Checkpoint {
		if len(ops) != 1 || ops[0].Kind != "wasm" {
			return nil, false, usage("--checkpoint is for wasm as the only kind: a task of several steps begins anew")
		}
		if set, ok := ops[0].Params["checkpoint"]; ok && set != true {
			return nil, false, usage("--checkpoint and wasm.checkpoint=%v contradict one another", set)
		}
		ops[0].Params["checkpoint"] = true
	}
	if p.Module != "" {
		if ops[0].Kind != "wasm" {
			return nil, false, usage("--module is for wasm as the first kind, and this is %s", ops[0].Kind)
		}
		if name, ok := ops[0].Params["module"]; ok {
			return nil, false, usage("the module is named twice: --module %s and wasm.module=%v", p.Module, name)
		}
		if err := readable(p.Module); err != nil {
			return nil, false, err
		}
		if info, err := os.Stat(p.Module); err == nil && info.IsDir() {
			return nil, false, usage("--module %s is a folder; name the .wasm file in it", p.Module)
		}
		if p.Module, err = filepath.Abs(p.Module); err != nil {
			return nil, false, err
		}
	}
	return ops, input, nil
}

// setParam reads "etl.chunk.window=500" or "1.window=500". A value that is JSON is taken as such, else as text.
func setParam(ops []api.Op, text string) error {
	left, right, ok := strings.Cut(text, "=")
	dot := strings.LastIndexByte(left, '.')
	if !ok || dot <= 0 || dot == len(left)-1 {
		return usage("parameter %q: want KIND.KEY=VALUE, for example etl.chunk.window=500", text)
	}
	which, key := left[:dot], left[dot+1:]
	var value any
	dec := json.NewDecoder(strings.NewReader(right))
	dec.UseNumber()
	if err := dec.Decode(&value); err != nil || dec.More() {
		value = right
	}
	n, numErr := strconv.Atoi(which)
	hit := false
	for i := range ops {
		if ops[i].Kind == which || (numErr == nil && n == i+1) {
			ops[i].Params[key] = value
			hit = true
		}
	}
	if !hit {
		var names []string
		for _, op := range ops {
			names = append(names, op.Kind)
		}
		return usage("parameter %q: %s is none of the steps (%s)", text, which, strings.Join(names, ", "))
	}
	return nil
}

// submitCmd is "kith submit".
type submitCmd struct {
	pipeline
	K           int           `help:"Nodes that must agree on every result." default:"2"`
	N           int           `help:"Executions of one task at most; 0 chooses." default:"0"`
	Replication string        `help:"fixed: K results of every task are compared. adaptive: nodes that have earned it are believed alone and audited." enum:"fixed,adaptive" default:"fixed"`
	Nodes       int           `help:"Distinct nodes to use at most; 0 means 64." default:"0"`
	Regions     []string      `help:"Countries the work may go to (DE,FR); none: any." placeholder:"CC"`
	Exclude     []string      `help:"Countries the work may not go to." placeholder:"CC"`
	Strict      bool          `help:"Take nobody's word on where it is: only nodes whose address this one sees in an allowed country get work."`
	Deadline    string        `help:"Give up at this time (2026-12-31T18:00:00Z) or after this long (90m)." placeholder:"TIME"`
	Sensitivity string        `short:"s" help:"Who may see the input: public, synthetic, approved (sealed for those who compute) or private (nobody else)." placeholder:"WHO"`
	Name        string        `help:"A name for people."`
	PartSize    string        `help:"Input of one task, for example 8MiB." placeholder:"SIZE"`
	TaskAim     time.Duration `help:"What a task should take, about (15s unless given): without --part-size, parts are cut by what such work took before." placeholder:"TIME"`
	Want        int           `help:"Workers to ask for; 0 chooses." default:"0"`
	MinGrade    int           `help:"Lowest grade of a node to accept, in tenths of the scale, 1 to 10; 0: any." default:"0"`
	MinSandbox  int           `help:"Weakest sandbox grade to accept, 1 to 3." default:"0"`
	Memory      string        `help:"Memory of one task at most, for example 512MiB." placeholder:"SIZE"`
	TaskTime    time.Duration `help:"Running time of one task at most." placeholder:"TIME"`
	Follow      bool          `short:"f" help:"Show progress until the job ends."`
	Wait        bool          `short:"w" help:"Wait until the job ends, without showing progress."`
	Output      string        `short:"o" help:"Write the result into this folder when the job is done." placeholder:"DIR"`
	Timeout     time.Duration `help:"Stop waiting after so long; the job goes on." placeholder:"TIME"`
}

// Run submits the job.
func (c submitCmd) Run(a *app) error {
	req, err := c.request()
	if err != nil {
		return err
	}
	if c.Output != "" {
		if err := emptyDir(c.Output); err != nil {
			return err
		}
	}
	cl, err := a.client()
	if err != nil {
		return err
	}
	line := progress{app: a}
	j, err := cl.Submit(a.ctx, req, line.reading)
	line.end()
	if err != nil {
		return err
	}
	if !c.Follow && !c.Wait && c.Output == "" {
		return a.show(j, func(w io.Writer) {
			fmt.Fprintln(w, j.ID)
			a.note("kith job follow %s shows its progress", short(j.ID))
		})
	}
	a.note("job %s", j.ID)
	ctx, cancel := withTimeout(a.ctx, c.Timeout)
	defer cancel()
	quiet := a.cli.Quiet
	a.cli.Quiet = quiet || c.Wait
	j, err = a.follow(ctx, cl, j.ID.String())
	a.cli.Quiet = quiet
	if err != nil {
		return err
	}
	if err := a.ended(j); err != nil || c.Output == "" {
		return err
	}
	return a.get(cl, j.ID.String(), c.Output)
}

// request checks the command line and makes the request of it.
func (c submitCmd) request() (api.Submit, error) {
	ops, input, err := c.ops()
	if err != nil {
		return api.Submit{}, err
	}
	req := api.Submit{
		Name: c.Name, Ops: ops, K: c.K, N: c.N, Nodes: c.Nodes, Regions: c.Regions, Excluded: c.Exclude, Strict: c.Strict,
		MinSandbox: tasks.SandboxGrade(c.MinSandbox), Want: c.Want, Sensitivity: tasks.Sensitivity(c.Sensitivity),
		Replication: tasks.Replication(c.Replication), MinGrade: c.MinGrade,
	}
	allowed := []tasks.Sensitivity{tasks.Public, tasks.Synthetic, tasks.Approved, tasks.Private}
	switch {
	case c.Sensitivity == "" && !input:
		req.Sensitivity = tasks.Synthetic
	case c.Sensitivity == "":
		return req, usage("who may see %s? Say --sensitivity public, synthetic or approved; private data never leaves this machine (kith local works on it here)", c.Path)
	case !slices.Contains(allowed, req.Sensitivity):
		return req, usage("--sensitivity %q: want public, synthetic, approved or private", c.Sensitivity)
	}
	if c.K < 1 || c.K > verify.MaxN {
		return req, usage("--k %d: want at least 1 and at most %d", c.K, verify.MaxN)
	}
	if c.N != 0 && (c.N < c.K || c.N > verify.MaxN) {
		return req, usage("--n %d: want at least --k (%d) and at most %d, or 0 to let the node choose", c.N, c.K, verify.MaxN)
	}
	req.File = c.Module
	if c.Path != "" {
		if req.Path, err = filepath.Abs(c.Path); err != nil {
			return req, err
		}
	}
	if req.PartBytes, err = sizeFlag("--part-size", c.PartSize); err != nil {
		return req, err
	}
	if req.Limits.MemoryBytes, err = sizeFlag("--memory", c.Memory); err != nil {
		return req, err
	}
	req.Limits.WallMillis, req.AimMillis = c.TaskTime.Milliseconds(), c.TaskAim.Milliseconds()
	if c.Deadline != "" {
		if d, err := time.ParseDuration(c.Deadline); err == nil && d > 0 {
			req.Deadline = time.Now().Add(d).UnixMilli()
		} else if t, err := time.Parse(time.RFC3339, c.Deadline); err == nil {
			req.Deadline = t.UnixMilli()
		} else {
			return req, usage("--deadline %q: want a time like 2026-12-31T18:00:00Z or a span like 90m", c.Deadline)
		}
	}
	return req, nil
}

func sizeFlag(flag, text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	n, err := config.ParseSize(text)
	if err != nil || n == 0 {
		return 0, usage("%s %q: want a size like 8MiB", flag, text)
	}
	return int64(n), nil
}
