package execute

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"kith/storage"
	"kith/storage/dag"
	"kith/tasks/sandbox"
	"kith/tasks/wire"
)

// materialise brings inputs from the store to the runner: inline while they are small, else as folders of the slot.
// keys[i], if there is one, is the key that input i is sealed with.
func (e *Executor) materialise(ctx context.Context, s *slot, roots []dag.CID, keys [][]byte) ([]sandbox.Files, error) {
	in := make([]sandbox.Files, len(roots))
	b := budget{inline: inlineInput, total: e.o.MaxInput}
	for i, root := range roots {
		dir := filepath.Join(s.in(), strconv.Itoa(i))
		var err error
		switch {
		case i >= len(keys) || len(keys[i]) == 0:
			in[i], err = e.open(ctx, root, &b, dir)
		case len(keys[i]) != 32:
			err = fmt.Errorf("%w: a key of %d bytes, want 32", ErrInput, len(keys[i]))
		default:
			in[i], err = e.openSealed(ctx, root, [32]byte(keys[i]), &b, dir)
		}
		if err != nil {
			s.dirty = true
			return nil, fmt.Errorf("input %d (%s): %w", i, root, err)
		}
		s.dirty = s.dirty || in[i].Dir != ""
	}
	return in, nil
}

// budget is how many bytes the inputs of one task may still have.
type budget struct {
	inline, total int64
}

func (e *Executor) open(ctx context.Context, root dag.CID, b *budget, dir string) (in sandbox.Files, err error) {
	files, size, err := e.list(ctx, root, b.total)
	if err != nil {
		return in, err
	}
	b.total -= size
	if size <= b.inline && len(files) <= inlineFiles {
		b.inline -= size
		in.Inline, err = e.readAll(ctx, files)
		return in, err
	}
	in.Dir = dir
	return in, e.writeAll(ctx, dir, files)
}

// openSealed counts the sealed size, which is a little more than what is in it.
func (e *Executor) openSealed(ctx context.Context, root dag.CID, key [32]byte, b *budget, dir string) (in sandbox.Files, err error) {
	size, err := dag.FileSize(ctx, e.o.Blobs, root)
	if err != nil {
		return in, err
	}
	if size > b.total {
		return in, fmt.Errorf("%w: more than %d bytes", ErrInput, b.total)
	}
	b.total -= size
	if size <= b.inline {
		in.Inline, err = e.unsealInline(ctx, root, key, size)
		if !errors.Is(err, errManyFiles) {
			b.inline -= size
			return in, err
		}
	}
	in = sandbox.Files{Dir: dir}
	return in, e.unsealToDir(ctx, root, key, size, dir)
}

// list returns the files of a folder, which together have at most most bytes.
func (e *Executor) list(ctx context.Context, root dag.CID, most int64) (files []dag.Entry, size int64, err error) {
	for f, err := range dag.Files(ctx, e.o.Blobs, root) {
		if err != nil {
			return nil, 0, err
		}
		if !fs.ValidPath(f.Name) || !filepath.IsLocal(filepath.FromSlash(f.Name)) {
			return nil, 0, fmt.Errorf("%w: file name %.200q", ErrInput, f.Name)
		}
		if f.Size > most-size {
			return nil, 0, fmt.Errorf("%w: more than %d bytes", ErrInput, most)
		}
		size += f.Size
		files = append(files, f)
	}
	return files, size, nil
}

func (e *Executor) readAll(ctx context.Context, files []dag.Entry) (map[string][]byte, error) {
	content := make(map[string][]byte, len(files))
	for _, f := range files {
		data, err := e.read(ctx, f)
		if err != nil {
			return nil, fmt.Errorf("%.200q: %w", f.Name, err)
		}
		content[f.Name] = data
	}
	return content, nil
}

func (e *Executor) read(ctx context.Context, f dag.Entry) ([]byte, error) {
	if f.Root.Codec() == dag.Raw { // the whole file is one block
		data, err := e.o.Blobs.Get(ctx, f.Root)
		if err == nil && int64(len(data)) != f.Size {
			err = fmt.Errorf("%w: %d bytes, the folder says %d", dag.ErrMalformed, len(data), f.Size)
		}
		return data, err
	}
	r, err := dag.Open(ctx, e.o.Blobs, f.Root)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if r.Size() != f.Size {
		return nil, fmt.Errorf("%w: %d bytes, the folder says %d", dag.ErrMalformed, r.Size(), f.Size)
	}
	buf := bytes.NewBuffer(make([]byte, 0, f.Size))
	_, err = r.WriteTo(buf)
	return buf.Bytes(), err
}

func (e *Executor) writeAll(ctx context.Context, dir string, files []dag.Entry) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	made := map[string]bool{dir: true}
	for _, f := range files {
		path := filepath.Join(dir, filepath.FromSlash(f.Name))
		if parent := filepath.Dir(path); !made[parent] {
			if err := os.MkdirAll(parent, 0o700); err != nil {
				return err
			}
			made[parent] = true
		}
		if err := e.write(ctx, path, f); err != nil {
			return fmt.Errorf("%.200q: %w", f.Name, err)
		}
	}
	return nil
}

func (e *Executor) write(ctx context.Context, path string, f dag.Entry) (err error) {
	r, err := dag.Open(ctx, e.o.Blobs, f.Root)
	if err != nil {
		return err
	}
	defer r.Close()
	if r.Size() != f.Size {
		return fmt.Errorf("%w: %d bytes, the folder says %d", dag.ErrMalformed, r.Size(), f.Size)
	}
	done, err := e.o.Disk.File(ctx)
	if err != nil {
		return err
	}
	defer done()
	w, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	b := bufio.NewWriterSize(e.o.Disk.Writer(ctx, w), 256<<10) // files made of many small ones come in small pieces
	if _, err := r.WriteTo(b); err != nil {
		return err
	}
	return b.Flush()
}

// collector keeps blocks instead of storing them. Not safe for concurrent use.
type collector struct {
	blocks []storage.Block
	size   int
}

func (c *collector) Put(_ context.Context, id dag.CID, data []byte) error {
	c.blocks = append(c.blocks, storage.Block{CID: id, Data: bytes.Clone(data)})
	c.size += len(data)
	return nil
}

// importInline makes blocks of an output in memory.
func (e *Executor) importInline(ctx context.Context, out Output, content map[string][]byte, to destination) (Output, error) {
	names := make([]string, 0, len(content))
	for name := range content {
		names = append(names, name)
	}
	slices.Sort(names)
	var c collector
	entries := make([]dag.Entry, 0, len(names))
	for _, name := range names {
		f, err := addBytes(ctx, &c, content[name])
		if err != nil {
			return out, fmt.Errorf("import output: %w", err)
		}
		entries = append(entries, dag.Entry{Name: name, Root: f.Root, Size: f.Size})
	}
	tree, err := dag.NewTree(ctx, &c, entries)
	if err != nil {
		return out, fmt.Errorf("import output: %w", err)
	}
	out.Root, out.Bytes = tree.Root, tree.Size
	if to == keep && c.size <= wire.MaxInline {
		out.Blocks = c.blocks
		return out, nil
	}
	if err := e.o.Blobs.PutMany(ctx, c.blocks); err != nil {
		return out, fmt.Errorf("store output: %w", err)
	}
	return out, nil
}

// addBytes stores a file held in memory.
func addBytes(ctx context.Context, p dag.Putter, data []byte) (dag.File, error) {
	return dag.AddFile(ctx, p, io.LimitReader(bytes.NewReader(data), int64(len(data))), dag.Options{})
}
