package execute

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path"

	"kith/storage"
	"kith/storage/dag"
	"kith/tasks"
)

// carrier is a kind whose every part carries a file along, if the kind comes first in a job: name in the part, and path in
// the input or, if it is one, CID.
type carrier interface {
	Carries(params []byte) (name, path string, err error)
}

// chooser is a carrier whose file may lie outside of the input.
type chooser interface {
	carrier
	// WithFile names the path of the file in the parameters, which must not name one already.
	WithFile(params []byte, path string) ([]byte, error)
}

// inspector is a carrier that can tell early whether a file will do.
type inspector interface {
	carrier
	Inspect(ctx context.Context, params, file []byte) error
}

// ErrNoFile: the kind does not take a file beside its input.
var ErrNoFile = errors.New("this kind takes no file beside its input")

// AddFile puts a file that does not lie in the input of a job there, for the first of its kinds, and returns the new input
// and the parameters that name the file. Of name only the last element counts; another name is found if it is taken.
func AddFile(ctx context.Context, blobs storage.Blobs, kind tasks.Kind, params []byte, input dag.CID, name string, r io.Reader) (dag.CID, []byte, error) {
	k, ok := kind.(chooser)
	if !ok {
		return dag.CID{}, nil, fmt.Errorf("%w: %s", ErrNoFile, kind.Describe().Name)
	}
	data, err := io.ReadAll(io.LimitReader(r, maxInspected+1))
	if err != nil {
		return dag.CID{}, nil, err
	}
	if i, ok := kind.(inspector); ok && len(data) <= maxInspected {
		if err := i.Inspect(ctx, params, data); err != nil {
			return dag.CID{}, nil, fmt.Errorf("%w: %s: %w", ErrInput, name, err)
		}
	}
	f, err := dag.AddFile(ctx, blobs, io.MultiReader(bytes.NewReader(data), r), dag.Options{})
	if err != nil {
		return dag.CID{}, nil, err
	}
	taken := map[string]bool{}
	var entries []dag.Entry
	for e, err := range dag.ReadDir(ctx, blobs, input) {
		if err != nil {
			return dag.CID{}, nil, err
		}
		taken[e.Name] = true
		entries = append(entries, e)
	}
	base := path.Base(name)
	for name = base; taken[name]; name = "_" + name {
	}
	root, err := dag.NewTree(ctx, blobs, append(entries, dag.Entry{Name: name, Root: f.Root, Size: f.Size}))
	if err != nil {
		return dag.CID{}, nil, err
	}
	params, err = k.WithFile(params, name)
	return root.Root, params, err
}

// carry finds the file that every part carries along. If it is one of the documents, it is none any more.
func (e *Executor) carry(ctx context.Context, input dag.CID, docs []document, k carrier, params []byte) ([]document, []dag.Entry, error) {
	name, path, err := k.Carries(params)
	if err != nil {
		return nil, nil, err
	}
	if id, err := dag.ParseCID(path); err == nil {
		size, err := dag.FileSize(ctx, e.o.Blobs, id)
		if err != nil {
			return nil, nil, fmt.Errorf("%w: file %s: %w", ErrInput, path, err)
		}
		return docs, []dag.Entry{{Name: name, Root: id, Size: size}}, e.inspect(ctx, k, params, id)
	}
	f, err := dag.Lookup(ctx, e.o.Blobs, input, path)
	if err != nil || f.Dir {
		return nil, nil, fmt.Errorf("%w: no file %.200q in the input", ErrInput, path)
	}
	kept := docs[:0]
	for _, d := range docs {
		if d.path != path {
			kept = append(kept, d)
		}
	}
	return kept, []dag.Entry{{Name: name, Root: f.Root, Size: f.Size}}, e.inspect(ctx, k, params, f.Root)
}

// maxInspected bounds a file that is looked at before the work begins; what is larger is left to the work.
const maxInspected = 64 << 20

// inspect finds out whether the file will do, before anybody is asked to work with it.
func (e *Executor) inspect(ctx context.Context, k carrier, params []byte, file dag.CID) error {
	i, ok := k.(inspector)
	if !ok {
		return nil
	}
	r, err := dag.Open(ctx, e.o.Blobs, file)
	if err != nil {
		return err
	}
	defer r.Close()
	var b bytes.Buffer
	n, err := io.Copy(&b, io.LimitReader(r, maxInspected+1))
	if err != nil || n > maxInspected {
		return err
	}
	return i.Inspect(ctx, params, b.Bytes())
}
