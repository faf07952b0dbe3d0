package execute

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"kith/storage/dag"
	"kith/tasks"
	"kith/tasks/kinds/etl/corpus"
	"kith/tasks/sandbox"
	"kith/tasks/sandbox/split"
)

// maxTasks bounds the tasks of a job without input.
const maxTasks = 1 << 20

// Split lays the input of a job out as one directory root for each part: a corpus (package corpus) of whole documents in
// byte order of their paths, up to Spec.PartBytes. The data of a part is made of links to what is in the store: no
// content is copied. What goes together is decided in the job's sandbox. For kinds that need no input there is an
// undefined root for each of the tasks that the parameter "tasks" asks for, and tasks have no inputs.
func (e *Executor) Split(ctx context.Context, job tasks.Job) ([]dag.CID, error) {
	if len(job.Spec.Ops) == 0 {
		return nil, fmt.Errorf("%w: no ops", tasks.ErrSpec)
	}
	first := job.Spec.Ops[0]
	kind, err := e.o.Kinds.Kind(first.Kind)
	if err != nil {
		return nil, err
	}
	if !kind.Describe().Needs.Input {
		return splitNothing(first.Params)
	}
	if !job.Spec.Input.Defined() {
		return nil, fmt.Errorf("%w: %s needs an input", tasks.ErrSpec, first.Kind)
	}
	docs, err := e.documents(ctx, job.Spec.Input)
	if err != nil {
		return nil, fmt.Errorf("list input %s: %w", job.Spec.Input, err)
	}
	var along []dag.Entry
	if k, ok := kind.(carrier); ok {
		if docs, along, err = e.carry(ctx, job.Spec.Input, docs, k, first.Params); err != nil {
			return nil, err
		}
	}
	groups, err := e.group(ctx, job, docs)
	if err != nil {
		return nil, err
	}
	parts := make([]dag.CID, len(groups))
	for i, n := range groups {
		if parts[i], err = e.compose(ctx, docs[:n], along); err != nil {
			return nil, fmt.Errorf("part %d: %w", i, err)
		}
		docs = docs[n:]
	}
	return parts, nil
}

func splitNothing(params []byte) ([]dag.CID, error) {
	p := struct {
		Tasks int `json:"tasks"`
	}{Tasks: 1}
	if len(params) > 0 {
		if err := json.Unmarshal(params, &p); err != nil {
			return nil, fmt.Errorf("%w: %v", tasks.ErrParams, err)
		}
	}
	if p.Tasks < 1 || p.Tasks > maxTasks {
		return nil, fmt.Errorf("%w: tasks is %d, want 1 to %d", tasks.ErrParams, p.Tasks, maxTasks)
	}
	return make([]dag.CID, p.Tasks), nil
}

// document is a file, or a segment of a large one.
type document struct {
	path string
	at   int64
	file dag.File
}

func (e *Executor) documents(ctx context.Context, root dag.CID) ([]document, error) {
	var docs []document
	for f, err := range dag.Files(ctx, e.o.Blobs, root) {
		if err != nil {
			return nil, err
		}
		if len(docs) >= split.MaxDocuments {
			return nil, fmt.Errorf("%w: more than %d documents", ErrInput, split.MaxDocuments)
		}
		if f.Size <= dag.MaxSegment {
			docs = append(docs, document{path: f.Name, file: dag.File{Root: f.Root, Size: f.Size}})
			continue
		}
		at := int64(0)
		for s, err := range dag.Segments(ctx, e.o.Blobs, dag.File{Root: f.Root, Size: f.Size}) {
			if err != nil {
				return nil, fmt.Errorf("%.200q: %w", f.Name, err)
			}
			docs = append(docs, document{path: f.Name, at: at, file: s})
			at += s.Size
		}
	}
	return docs, nil
}

// group asks the sandbox which documents go together.
func (e *Executor) group(ctx context.Context, job tasks.Job, docs []document) ([]int, error) {
	l := split.Listing{PartBytes: job.Spec.PartBytes, Sizes: make([]int64, len(docs))}
	if l.PartBytes <= 0 {
		l.PartBytes = tasks.DefaultPartBytes
	}
	for i := range docs {
		l.Sizes[i] = docs[i].file.Size
	}
	listing := l.Encode()
	s, err := e.pool.acquire(ctx, job.ID)
	if err != nil {
		return nil, err
	}
	defer e.pool.put(s)
	res, err := s.runner.Run(ctx, sandbox.Work{
		Op: sandbox.OpSplit, In: []sandbox.Files{{Inline: map[string][]byte{split.ListingFile: listing}}},
		Inline: int64(len(listing)) + 16, Limits: ownLimits(),
	})
	if err != nil {
		return nil, fmt.Errorf("split: %w", err)
	}
	return split.Groups(res.Inline[split.GroupsFile], len(docs))
}

// ownLimits are for what a submitter runs on its own behalf over a whole job: they stop what has gone astray, no more.
func ownLimits() tasks.Limits {
	const day = int64(24 * time.Hour / time.Millisecond)
	return tasks.Limits{
		WallMillis: day, CPUMillis: day, MemoryBytes: 8 << 30, ScratchBytes: 1 << 40, OutputBytes: 1 << 40,
		LogBytes: 64 << 10, Processes: 256,
	}
}

// compose makes the corpus of one part.
func (e *Executor) compose(ctx context.Context, docs []document, along []dag.Entry) (dag.CID, error) {
	files := make([]dag.File, len(docs))
	var index bytes.Buffer
	w := corpus.NewIndexWriter(&index)
	for i, d := range docs {
		files[i] = d.file
		if err := w.Write(&corpus.Record{Path: d.path, At: d.at, Len: d.file.Size}); err != nil {
			return dag.CID{}, err
		}
	}
	if err := w.Flush(); err != nil {
		return dag.CID{}, err
	}
	data, err := dag.Join(ctx, e.o.Blobs, e.o.Blobs, files)
	if err != nil {
		return dag.CID{}, err
	}
	lines, err := dag.AddFile(ctx, e.o.Blobs, &index, dag.Options{})
	if err != nil {
		return dag.CID{}, err
	}
	return dag.NewDirectory(ctx, e.o.Blobs, append([]dag.Entry{
		{Name: corpus.DataFile, Root: data.Root, Size: data.Size},
		{Name: corpus.IndexFile, Root: lines.Root, Size: lines.Size},
	}, along...))
}

// ReduceInput makes the inputs of the task for key range r out of the outputs of the map stage before it: for each a
// folder with nothing but what that output has for the range, "r/%04d". Only links are made.
func (e *Executor) ReduceInput(ctx context.Context, r int, outputs []dag.CID) ([]dag.CID, error) {
	path := fmt.Sprintf("r/%04d", r)
	inputs := make([]dag.CID, len(outputs))
	for i, root := range outputs {
		var only []dag.Entry
		f, err := dag.Lookup(ctx, e.o.Blobs, root, path)
		switch {
		case err == nil:
			only = []dag.Entry{f}
		case !errors.Is(err, dag.ErrNoEntry):
			return nil, fmt.Errorf("reduce input %d of part %d: %w", r, i, err)
		}
		tree, err := dag.NewTree(ctx, e.o.Blobs, only)
		if err != nil {
			return nil, fmt.Errorf("reduce input %d of part %d: %w", r, i, err)
		}
		inputs[i] = tree.Root
	}
	return inputs, nil
}

// Gather runs a gather stage over the outputs of the stage before it and returns the root of the folder "%06d" that it
// wrote for each of parts parts: an empty one where it wrote none.
func (e *Executor) Gather(ctx context.Context, job tasks.Job, stage tasks.Stage, parts int, inputs []dag.CID) ([]dag.CID, error) {
	out, err := e.perform(ctx, job.ID, sandbox.Work{
		Op: sandbox.OpRun, Steps: stage.Steps, Seed: job.Spec.Seed, Stage: stage.Index, Parts: parts, Ranges: stage.Ranges,
		Limits: ownLimits(),
	}, inputs, nil, store, &keeper{})
	if err != nil {
		return nil, fmt.Errorf("gather: %w", err)
	}
	empty, err := dag.NewDirectory(ctx, e.o.Blobs, nil)
	if err != nil {
		return nil, err
	}
	roots := make([]dag.CID, parts)
	for i := range roots {
		roots[i] = empty
	}
	at := 0
	for d, err := range dag.ReadDir(ctx, e.o.Blobs, out.Root) {
		if err != nil {
			return nil, fmt.Errorf("gather: %w", err)
		}
		// Names and numbers have the same order up to a million parts.
		for at < parts && fmt.Sprintf("%06d", at) < d.Name {
			at++
		}
		if !d.Dir || at == parts || fmt.Sprintf("%06d", at) != d.Name {
			return nil, tasks.Because(tasks.TaskFailed, "%s/%s wrote %.40q, which is no part", stage.Steps[0].Kind, stage.Steps[0].Phase, d.Name)
		}
		roots[at] = d.Root
	}
	return roots, nil
}

// Merge joins outputs of neighbouring parts, in order, with the Merge of the step's kind.
func (e *Executor) Merge(ctx context.Context, job tasks.Job, step tasks.Step, inputs []dag.CID) (dag.CID, error) {
	if len(inputs) == 1 {
		return inputs[0], nil // what Merge of a single output is by contract
	}
	out, err := e.perform(ctx, job.ID, sandbox.Work{
		Op: sandbox.OpMerge, Steps: []tasks.Step{step}, Seed: job.Spec.Seed, Parts: len(inputs), Limits: ownLimits(),
	}, inputs, nil, store, &keeper{})
	if err != nil {
		return dag.CID{}, fmt.Errorf("merge: %w", err)
	}
	return out.Root, nil
}
