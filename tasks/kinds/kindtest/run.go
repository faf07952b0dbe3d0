package kindtest

import (
	"context"
	"fmt"
	"io/fs"
	"slices"
	"testing/fstest"

	"kith/tasks"
	"kith/tasks/kinds/etl/corpus"
)

// Doc is one record of a corpus.
type Doc struct {
	Path string
	At   int64
	Data string
}

// Corpus returns a corpus of docs. It panics on what a corpus cannot hold.
func Corpus(docs ...Doc) fstest.MapFS {
	out := NewOutput()
	w, err := corpus.Create(out)
	if err != nil {
		panic(err)
	}
	for _, d := range docs {
		if err := w.Write(&corpus.Record{Path: d.Path, At: d.At}, []byte(d.Data)); err != nil {
			panic(err)
		}
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return out.FS()
}

// Parts returns one corpus for each list of docs.
func Parts(lists ...[]Doc) (parts []fs.FS) {
	for _, docs := range lists {
		parts = append(parts, Corpus(docs...))
	}
	return parts
}

// Docs reads a corpus back, without the fields that kinds added.
func Docs(fsys fs.FS) ([]Doc, error) {
	var docs []Doc
	err := corpus.Each(context.Background(), &tasks.Call{}, fsys, func(rec *corpus.Record, data []byte) error {
		docs = append(docs, Doc{Path: rec.Path, At: rec.At, Data: string(data)})
		return nil
	})
	return docs, err
}

// Registry is a tasks.Registry of the kinds it lists.
type Registry []tasks.Kind

// Kind implements tasks.Registry.
func (r Registry) Kind(name string) (tasks.Kind, error) {
	for _, k := range r {
		if k.Describe().Name == name {
			return k, nil
		}
	}
	return nil, fmt.Errorf("%w: %q", tasks.ErrUnknownKind, name)
}

// Names implements tasks.Registry.
func (r Registry) Names() []string {
	var names []string
	for _, k := range r {
		names = append(names, k.Describe().Name)
	}
	slices.Sort(names)
	return names
}

// Job is a job to run in memory.
type Job struct {
	Kinds   tasks.Registry
	Ops     []tasks.Op
	Parts   []fs.FS // input of each part
	Ranges  int     // key ranges of every reduce; 0: as planned
	Scratch string  // folder for the tasks, which all share it; most kinds need none
	Log     func(format string, args ...any)
}

// Run executes all stages of the job, one task after another, and merges the outputs of the last.
func (j Job) Run(ctx context.Context) (fstest.MapFS, error) {
	stages, err := tasks.Plan(j.Ops, len(j.Parts), j.Kinds)
	if err != nil {
		return nil, err
	}
	outputs := map[int][]fs.FS{tasks.Source: j.Parts}
	for i := range stages {
		s := &stages[i]
		if s.Ranges > 0 && j.Ranges > 0 {
			s.Ranges = j.Ranges
		}
		if outputs[i], err = j.stage(ctx, *s, stages, outputs); err != nil {
			return nil, err
		}
	}
	last := j.Ops[len(j.Ops)-1]
	kind, err := j.Kinds.Kind(last.Kind)
	if err != nil {
		return nil, err
	}
	out := NewOutput()
	if err := kind.Merge(ctx, &tasks.Call{Params: last.Params, In: outputs[len(stages)-1], Out: out}); err != nil {
		return nil, fmt.Errorf("merge: %w", err)
	}
	return out.FS(), nil
}

func (j Job) stage(ctx context.Context, s tasks.Stage, stages []tasks.Stage, outputs map[int][]fs.FS) ([]fs.FS, error) {
	var results []fs.FS
	for index := range s.Count(len(j.Parts), stages) {
		var in []fs.FS
		switch s.Mode {
		case tasks.Map:
			for _, from := range s.Inputs {
				in = append(in, outputs[from][index])
			}
		case tasks.Reduce:
			for _, output := range outputs[s.Inputs[0]] {
				in = append(in, only(output, fmt.Sprintf("r/%04d", index)))
			}
		case tasks.Gather:
			in = outputs[s.Inputs[0]]
		}
		out, err := j.task(ctx, s, index, in)
		if err != nil {
			return nil, fmt.Errorf("stage %d, task %d: %w", s.Index, index, err)
		}
		if s.Mode == tasks.Gather {
			for part := range j.Parts {
				results = append(results, sub(out, fmt.Sprintf("%06d/", part)))
			}
			return results, nil
		}
		results = append(results, out)
	}
	return results, nil
}

func (j Job) task(ctx context.Context, s tasks.Stage, index int, in []fs.FS) (fstest.MapFS, error) {
	var out *Output
	for _, step := range s.Steps {
		kind, err := j.Kinds.Kind(step.Kind)
		if err != nil {
			return nil, err
		}
		out = NewOutput()
		if err := kind.Run(ctx, &tasks.Call{
			Phase: step.Phase, Params: step.Params, Stage: s.Index, Index: index, Parts: len(j.Parts), Ranges: s.Ranges,
			In: in, Scratch: j.Scratch, Out: out, Log: j.Log,
		}); err != nil {
			return nil, fmt.Errorf("%s/%s: %w", step.Kind, step.Phase, err)
		}
		in = []fs.FS{out.FS()}
	}
	return out.FS(), nil
}

// only returns the file or folder at name alone.
func only(fsys fs.FS, name string) fstest.MapFS {
	files := fstest.MapFS{}
	for file, f := range fsys.(fstest.MapFS) {
		if file == name || len(file) > len(name) && file[:len(name)+1] == name+"/" {
			files[file] = f
		}
	}
	return files
}

// sub returns the files below prefix, without it.
func sub(fsys fstest.MapFS, prefix string) fstest.MapFS {
	files := fstest.MapFS{}
	for file, f := range fsys {
		if len(file) > len(prefix) && file[:len(prefix)] == prefix {
			files[file[len(prefix):]] = f
		}
	}
	return files
}
