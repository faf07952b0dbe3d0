// Package local runs a whole job on this machine alone: the same plan, the same runs, the same merge tree as when the
// work is given away, and so the same result, bit by bit. It is the reference that a distributed run is compared with.
package local

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"kith/storage"
	"kith/storage/dag"
	"kith/tasks"
	"kith/tasks/execute"
	"kith/tasks/merge"
)

// Options say with what a job is run. All but Parallel are required.
type Options struct {
	Blobs    storage.Blobs // the one of Executor
	Executor *execute.Executor
	Kinds    tasks.Registry
	Parallel int // tasks at once; 0: one for each processor
}

// Progress is how far a job is. Tasks counts runs, gathers and merges.
type Progress struct {
	Stage       int // index in the plan; the number of stages while merging
	Stages      int
	Done, Tasks int   // of this stage, or merges
	Bytes       int64 // output of all tasks so far
}

// Result is what became of a job.
type Result struct {
	Root  dag.CID // the result's folder
	Parts int
	Plan  []tasks.Stage
	Stats []StageStats // one for each stage, then one for the merge
}

// StageStats is what one stage cost.
type StageStats struct {
	Tasks     int
	Bytes     int64 // of the outputs
	Wall      time.Duration
	CPUMillis int64 // of map and reduce tasks
}

// Run runs a job whose input is in o.Blobs and returns the root of its result. progress may be nil; it is called after
// every task, from one goroutine at a time. The job's runners are released in the end.
func Run(ctx context.Context, o Options, job tasks.Job, progress func(Progress)) (Result, error) {
	if o.Parallel <= 0 {
		o.Parallel = runtime.GOMAXPROCS(0)
	}
	if progress == nil {
		progress = func(Progress) {}
	}
	defer o.Executor.Release(job.ID)
	parts, err := o.Executor.Split(ctx, job)
	if err != nil {
		return Result{}, err
	}
	stages, err := tasks.Plan(job.Spec.Ops, len(parts), o.Kinds)
	if err != nil {
		return Result{}, err
	}
	r := &run{
		o: o, job: job, stages: stages, progress: progress, count: len(parts), parts: parts,
		outputs: make([][]dag.CID, len(stages)),
	}
	if !parts[0].Defined() {
		r.parts = nil // tasks of such a job have no input at all
	}
	r.result = Result{Parts: len(parts), Plan: stages}
	for i := range stages {
		if err := r.stage(ctx, i); err != nil {
			return r.result, err
		}
	}
	return r.result, r.merge(ctx)
}

type run struct {
	o        Options
	job      tasks.Job
	stages   []tasks.Stage
	count    int       // of parts
	parts    []dag.CID // nil without input
	outputs  [][]dag.CID
	progress func(Progress)
	result   Result

	mu sync.Mutex
	at Progress
}

// begin starts the count of a stage.
func (r *run) begin(stage, n int) func() {
	began := time.Now()
	r.at = Progress{Stage: stage, Stages: len(r.stages), Tasks: n, Bytes: r.at.Bytes}
	r.result.Stats = append(r.result.Stats, StageStats{Tasks: n})
	return func() { r.result.Stats[stage].Wall = time.Since(began) }
}

// done counts one task.
func (r *run) done(out execute.Output) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := &r.result.Stats[r.at.Stage]
	s.Bytes += out.Bytes
	s.CPUMillis += out.CPUMillis
	r.at.Done++
	r.at.Bytes += out.Bytes
	r.progress(r.at)
}

func (r *run) stage(ctx context.Context, i int) error {
	st := r.stages[i]
	n := st.Count(r.count, r.stages)
	defer r.begin(i, n)()
	if st.Mode == tasks.Gather {
		roots, err := r.o.Executor.Gather(ctx, r.job, st, r.count, r.outputs[st.Inputs[0]])
		if err != nil {
			return fmt.Errorf("stage %d: %w", i, err)
		}
		r.outputs[i] = roots
		r.done(execute.Output{})
		return nil
	}
	r.outputs[i] = make([]dag.CID, n)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(r.o.Parallel)
	for index := range n {
		group.Go(func() error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			out, err := r.task(ctx, st, index)
			if err != nil {
				return fmt.Errorf("stage %d, task %d: %w", i, index, err)
			}
			r.outputs[i][index] = out.Root
			r.done(out)
			return nil
		})
	}
	return group.Wait()
}

func (r *run) task(ctx context.Context, st tasks.Stage, index int) (execute.Output, error) {
	inputs, err := r.inputs(ctx, st, index)
	if err != nil {
		return execute.Output{}, err
	}
	out, err := r.o.Executor.Run(ctx, tasks.Assignment{
		Job: r.job.ID, Task: tasks.NewTaskID(r.job.ID, st.Index, index, inputs), Stage: st.Index, Mode: st.Mode, Index: index,
		Parts: r.count, Ranges: st.Ranges, Steps: st.Steps, Inputs: inputs, Seed: r.job.Spec.Seed, Limits: r.job.Spec.Limits,
	}, nil)
	if err == nil && out.Blocks != nil {
		err = r.o.Blobs.PutMany(ctx, out.Blocks)
	}
	return out, err
}

// inputs returns what a task reads, one root for each Call.In.
func (r *run) inputs(ctx context.Context, st tasks.Stage, index int) ([]dag.CID, error) {
	if st.Mode == tasks.Reduce {
		return r.o.Executor.ReduceInput(ctx, index, r.outputs[st.Inputs[0]])
	}
	var in []dag.CID
	for _, from := range st.Inputs {
		switch {
		case from != tasks.Source:
			in = append(in, r.outputs[from][index])
		case r.parts != nil:
			in = append(in, r.parts[index])
		}
	}
	return in, nil
}

// merge joins the outputs of the last stage in the tree that every run of this job uses.
func (r *run) merge(ctx context.Context) error {
	last := r.stages[len(r.stages)-1]
	outputs := r.outputs[last.Index]
	tree, err := merge.New(len(outputs))
	if err != nil {
		return err
	}
	n := 0
	for width := len(outputs); width > 1; {
		width = (width + merge.FanIn - 1) / merge.FanIn
		n += width
	}
	defer r.begin(len(r.stages), n)()
	var mu sync.Mutex // guards tree
	group, ctx := errgroup.WithContext(ctx)
	slots := make(chan struct{}, r.o.Parallel)
	var start func(steps []merge.Step)
	start = func(steps []merge.Step) {
		for _, s := range steps {
			group.Go(func() error {
				slots <- struct{}{}
				root, err := r.o.Executor.Merge(ctx, r.job, last.Steps[len(last.Steps)-1], s.Inputs)
				<-slots
				if err != nil {
					return err
				}
				mu.Lock()
				next, err := tree.Done(s.Level, s.Index, root)
				mu.Unlock()
				if err != nil {
					return err
				}
				r.done(execute.Output{})
				start(next)
				return nil
			})
		}
	}
	for i, root := range outputs {
		mu.Lock()
		steps, err := tree.Accept(i, root)
		mu.Unlock()
		if err != nil {
			return err
		}
		start(steps)
	}
	if err := group.Wait(); err != nil {
		return err
	}
	root, ok := tree.Result()
	if !ok {
		return fmt.Errorf("BUG: merged %d parts without a result", len(outputs))
	}
	r.result.Root = root
	return nil
}
