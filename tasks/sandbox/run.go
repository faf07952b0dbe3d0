package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"syscall"

	"kith/tasks"
	"kith/tasks/sandbox/split"
)

// stepMemory bounds what one step hands to the next in memory; more goes to the scratch folder.
const stepMemory = 16 << 20

// perform does w in this process: what a runner does for its parent, and what the in-process engine does.
func perform(ctx context.Context, kinds tasks.Registry, w *Work, log func(line string), progress func(done, total int64)) report {
	r, err := tryPerform(ctx, kinds, w, log, progress)
	if err != nil {
		return failure(err)
	}
	return r
}

// failure sorts an error into the reasons a runner may give.
func failure(err error) report {
	var why tasks.Reason
	switch {
	case errors.As(err, &why):
		switch why.Code {
		case tasks.OutputLimit, tasks.ScratchLimit, tasks.MemoryLimit, tasks.TimeLimit:
			return report{code: why.Code, detail: why.Detail}
		}
	case errors.Is(err, syscall.EFBIG), errors.Is(err, syscall.ENOSPC):
		return report{code: tasks.ScratchLimit, detail: err.Error()}
	case errors.Is(err, tasks.ErrUnknownKind):
		return report{code: tasks.UnknownKindCode, detail: err.Error()}
	}
	return report{code: tasks.TaskFailed, detail: err.Error()}
}

func tryPerform(ctx context.Context, kinds tasks.Registry, w *Work, log func(string), progress func(done, total int64)) (_ report, err error) {
	defer func() {
		if p := recover(); p != nil {
			log("panic: " + cut(fmt.Sprint(p), maxDetail))
			log(cut(string(debug.Stack()), maxLogLine))
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	in, closeAll, err := openInputs(w.In)
	defer closeAll()
	if err != nil {
		return report{}, err
	}
	steps := w.Steps
	if (w.Op == OpMerge || w.Op == OpCompare) && len(steps) > 0 {
		steps = steps[len(steps)-1:]
	}
	if w.Op == OpPrepare && len(steps) > 0 {
		steps = steps[:1]
	}
	if w.Op == OpSplit {
		steps = []tasks.Step{{}}
	}
	if len(steps) == 0 {
		return report{}, errors.New("no steps to run")
	}
	for i := range steps {
		last := i == len(steps)-1
		out := outputOf(w, i, last)
		c := &tasks.Call{
			Phase: steps[i].Phase, Params: steps[i].Params,
			Seed: w.Seed, Stage: w.Stage, Index: w.Index, Parts: w.Parts, Ranges: w.Ranges,
			In: in, Out: out,
			Log: func(format string, args ...any) { log(fmt.Sprintf(format, args...)) },
			Progress: func(done, total int64) {
				progress(int64(i)*total+done, int64(len(steps))*total)
			},
		}
		if i == 0 {
			c.Prepared = w.Prepared
		}
		if c.Scratch, err = scratchOf(w, i, len(steps)); err != nil {
			return report{}, err
		}
		if err := performStep(ctx, kinds, w.Op, &steps[i], c); err != nil {
			return report{}, err
		}
		inline, err := out.finish()
		if err != nil {
			return report{}, err
		}
		if last {
			return report{inline: inline, onDisk: out.disk}, nil
		}
		if in, err = handOver(w, i, in, out, inline); err != nil {
			return report{}, err
		}
	}
	return report{}, nil
}

// preparer is a kind that makes something of the file that its inputs carry along. Prepare writes it to the output.
type preparer interface {
	Prepare(ctx context.Context, c *tasks.Call) error
}

func performStep(ctx context.Context, kinds tasks.Registry, op Op, s *tasks.Step, c *tasks.Call) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	switch op {
	case OpSplit:
		return splitListing(c)
	case opProbe, opExact:
		return probe(c)
	}
	kind, err := kinds.Kind(s.Kind)
	if err != nil {
		return err
	}
	switch op {
	case OpMerge:
		err = kind.Merge(ctx, c)
	case OpCompare:
		err = compare(ctx, kind, c)
	case OpPrepare:
		p, ok := kind.(preparer)
		if !ok {
			return fmt.Errorf("%s prepares nothing", s.Kind)
		}
		err = p.Prepare(ctx, c)
	default:
		err = kind.Run(ctx, c)
	}
	if err != nil {
		return fmt.Errorf("%s/%s: %w", s.Kind, s.Phase, err)
	}
	return nil
}

// splitListing groups the documents of In[0]/listing and writes Out/groups (see package split).
func splitListing(c *tasks.Call) error {
	listing, err := fs.ReadFile(c.In[0], split.ListingFile)
	if err != nil {
		return err
	}
	groups, err := split.Group(listing)
	if err != nil {
		return err
	}
	f, err := c.Out.Create(split.GroupsFile)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, bytes.NewReader(groups))
	return errors.Join(err, f.Close())
}

func openInputs(files []Files) (in []fs.FS, closeAll func(), err error) {
	var open []*dirFS
	closeAll = func() {
		for _, d := range open {
			_ = d.Close()
		}
	}
	in = make([]fs.FS, len(files))
	for i := range files {
		if files[i].Dir == "" {
			in[i] = newMemFS(files[i].Inline)
			continue
		}
		d, err := openDir(files[i].Dir)
		if err != nil {
			return nil, closeAll, err
		}
		open = append(open, d)
		in[i] = d
	}
	return in, closeAll, nil
}

func stepDir(w *Work, i int) string { return filepath.Join(w.Scratch, fmt.Sprintf("step%02d", i)) }

// outputOf returns where step i writes: the last one to the parent, the others to the next step.
func outputOf(w *Work, i int, last bool) *sink {
	if last {
		return newSink(w.Inline, w.Limits.OutputBytes, tasks.OutputLimit, w.OutDir)
	}
	if w.Scratch == "" {
		return newSink(w.Limits.MemoryBytes/4, w.Limits.ScratchBytes, tasks.ScratchLimit, "")
	}
	return newSink(min(stepMemory, w.Limits.MemoryBytes/8), w.Limits.ScratchBytes, tasks.ScratchLimit, stepDir(w, i))
}

// scratchOf returns an empty folder for step i: the task's own if it has but one step, which spares tiny tasks a folder.
func scratchOf(w *Work, i, steps int) (string, error) {
	if w.Scratch == "" || steps == 1 {
		return w.Scratch, nil
	}
	dir := filepath.Join(w.Scratch, fmt.Sprintf("work%02d", i))
	return dir, os.Mkdir(dir, 0o700)
}

// handOver turns the output of step i into the input of the next one and drops what is no longer needed.
func handOver(w *Work, i int, in []fs.FS, out *sink, inline map[string][]byte) ([]fs.FS, error) {
	if w.Scratch != "" {
		if err := os.RemoveAll(filepath.Join(w.Scratch, fmt.Sprintf("work%02d", i))); err != nil {
			return nil, err
		}
	}
	if i > 0 { // the input was a step's output; nobody needs it any more
		for _, f := range in {
			if d, ok := f.(*dirFS); ok {
				if err := errors.Join(d.Close(), os.RemoveAll(d.dir)); err != nil {
					return nil, err
				}
			}
		}
	}
	if !out.disk {
		return []fs.FS{newMemFS(inline)}, nil
	}
	d, err := openDir(out.dir)
	if err != nil {
		return nil, err
	}
	return []fs.FS{d}, nil
}
