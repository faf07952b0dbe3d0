package whole

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"

	"kith/storage/dag"
	"kith/storage/memstore"
	"kith/tasks"
	"kith/tasks/execute"
	"kith/tasks/kinds/etl/vector"
	"kith/tasks/local"
	"kith/tasks/sandbox"
)

// A job with numbers=true makes vectors of texts, which are compared as kind etl.vector states. A machine of another
// equivalence class is one whose numbers are off by some units in the last place.

// vectorKind is the kind of such a job.
const vectorKind = "etl.vector"

// equals is what a node says of its floats.
func (n *node) equals() []string {
	if n.hosts.Floats == "" {
		return nil
	}
	return []string{vectorKind + ":" + n.hosts.Floats}
}

// vectors is the spec of a job over as many texts as it has tasks, which it puts into the submitter's store.
func (x *task) vectors(ctx context.Context) (tasks.Spec, error) {
	const part = 128
	files := map[string][]byte{}
	for i := range x.spec.Tasks {
		text := fmt.Appendf(nil, "text number %d is about numbers, and about how they are rounded on machines that differ\n", i)
		for len(text) < part {
			text = fmt.Appendf(text, "and %d more\n", i*i)
		}
		files[fmt.Sprintf("%06d.txt", i)] = text
	}
	input, err := dag.AddFiles(ctx, x.sub.blobs, files)
	return tasks.Spec{
		Ops: []tasks.Op{{Kind: vectorKind, Params: []byte(`{"dimensions":32}`)}}, Input: input.Root, PartBytes: part, Sensitivity: tasks.Public,
	}, err
}

// rounded is an output whose numbers are off.
func rounded(ctx context.Context, out execute.Output, off int) (execute.Output, error) {
	return execute.Rewritten(ctx, out, func(files map[string][]byte) {
		list := files[vector.VectorFile]
		for i := 0; i+4 <= len(list); i += 4 {
			if v := binary.LittleEndian.Uint32(list[i:]); v != 0 {
				binary.LittleEndian.PutUint32(list[i:], v+uint32(off))
			}
		}
	})
}

// alike reports whether the result of a job of numbers is, within the tolerance of its kind, that of one who does not
// round otherwise.
func (w *world) alike(ctx context.Context, x *task) (same bool, err error) {
	engine := sandbox.InProcess(w.kinds)
	defer engine.Close()
	blobs := memstore.NewBlobs()
	e, err := execute.New(execute.Options{Engine: engine, Blobs: blobs, Kinds: w.kinds, Scratch: filepath.Join(w.scratch, "reference-"+x.id.Short()), Logger: w.log})
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	for _, root := range []dag.CID{x.last.Spec.Input, x.last.Result} {
		if err := dag.Walk(ctx, x.sub.blobs, root, func(c dag.CID, b []byte) (bool, error) { return true, blobs.Put(ctx, c, b) }); err != nil {
			return false, err
		}
	}
	it := tasks.Job{ID: x.id, Spec: x.last.Spec}
	r, err := local.Run(ctx, local.Options{Blobs: blobs, Executor: e, Kinds: w.kinds}, it, nil)
	if err != nil || r.Root == x.last.Result {
		return err == nil, err
	}
	stages, err := tasks.Plan(it.Spec.Ops, x.spec.Tasks, w.kinds)
	if err != nil {
		return false, err
	}
	agree, err := e.Compare(ctx, it, stages[len(stages)-1], [][2]dag.CID{{r.Root, x.last.Result}})
	return err == nil && agree[0], err
}
