package dag

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
)

// Tree is a stored folder.
type Tree struct {
	Root    CID
	Files   int
	Folders int // the root included
	Size    int64
	// Skipped names what was left out, the first 1000 of SkippedCount.
	Skipped      []Skip
	SkippedCount int
}

// Skip is one thing AddTree left out.
type Skip struct {
	Path   string // below the root
	Reason string
}

const maxSkipped = 1000

// AddTree stores the folder or single file at path. A single file becomes a folder with that one file. Symbolic links
// are never followed, and pipes, sockets and devices never read: they are listed in Skipped. (path itself may be a
// link.) A file that cannot be read is an error that names it, unless o.SkipUnreadable. A file that changes meanwhile
// is stored as it was read. Several files are read at once; the result does not depend on the order they finish in.
// p must be safe for concurrent use; its PutMany, if it has one, gets small blocks in batches.
func AddTree(ctx context.Context, p Putter, path string, o Options) (Tree, error) {
	o = o.withDefaults()
	if o.Workers <= 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	group, groupCtx := errgroup.WithContext(ctx)
	t := &treeImport{ctx: groupCtx, put: newBatcher(p), o: o, jobs: make(chan fileJob, 4*o.Workers)}
	for range o.Workers {
		group.Go(t.work)
	}
	root := &folder{path: path}
	group.Go(func() error {
		defer close(t.jobs)
		return t.start(root)
	})
	if err := group.Wait(); err != nil {
		return Tree{}, err
	}
	if err := t.put.flush(ctx); err != nil {
		return Tree{}, err
	}
	t.tree.Root, t.tree.Size = root.done.Root, root.done.Size
	return t.tree, nil
}

type treeImport struct {
	ctx  context.Context
	put  *batcher
	o    Options
	jobs chan fileJob

	mu    sync.Mutex // guards tree and serialises Progress
	tree  Tree
	bytes int64
}

// folder is a directory on its way into the store: when nothing is left to wait for, whoever finished last stores it.
type folder struct {
	path   string // on disk
	name   string // below the root, slash-separated; "" for the root
	parent *folder
	slot   int
	slots  []Entry // a slot without a name was skipped
	left   atomic.Int64
	done   Entry // of the root
}

type fileJob struct {
	in   *folder
	slot int
	path string
	name string
}

func join(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}

func (t *treeImport) start(root *folder) error {
	info, err := os.Stat(root.path)
	if err != nil {
		return fmt.Errorf("import: %w", err)
	}
	if info.IsDir() {
		return t.list(root, 0)
	}
	name := filepath.Base(root.path)
	if !info.Mode().IsRegular() {
		return fmt.Errorf("import %q: neither a file nor a folder", root.path)
	}
	path, err := filepath.EvalSymlinks(root.path)
	if err != nil {
		return fmt.Errorf("import: %w", err)
	}
	t.tree.Folders++
	root.slots = make([]Entry, 1)
	root.left.Store(1)
	return t.send(fileJob{in: root, path: path, name: name})
}

func (t *treeImport) send(j fileJob) error {
	select {
	case t.jobs <- j:
		return nil
	case <-t.ctx.Done():
		return context.Cause(t.ctx)
	}
}

// list goes through one folder and, depth first, those below it.
func (t *treeImport) list(d *folder, depth int) error {
	if depth >= maxDepth {
		return fmt.Errorf("import %q: over %d folders deep", d.path, maxDepth)
	}
	if err := context.Cause(t.ctx); err != nil {
		return err
	}
	entries, err := os.ReadDir(d.path)
	if err != nil {
		if depth == 0 || !t.o.SkipUnreadable {
			return fmt.Errorf("import: %w", err)
		}
		t.skip(d.name, unreadable(err))
		return t.finished(d.parent, d.slot, Entry{})
	}
	t.mu.Lock()
	t.tree.Folders++
	t.mu.Unlock()
	d.slots = make([]Entry, len(entries))
	d.left.Store(int64(len(entries)) + 1) // one for this function
	for i, e := range entries {
		path, name := filepath.Join(d.path, e.Name()), join(d.name, e.Name())
		switch mode := e.Type(); {
		case mode.IsDir():
			err = t.list(&folder{path: path, name: name, parent: d, slot: i}, depth+1)
		case mode.IsRegular():
			err = t.send(fileJob{in: d, slot: i, path: path, name: name})
		default:
			t.skip(name, kindOf(mode))
			err = t.finished(d, i, Entry{})
		}
		if err != nil {
			return err
		}
	}
	return t.release(d)
}

func kindOf(m fs.FileMode) string {
	switch {
	case m&fs.ModeSymlink != 0:
		return "symbolic link, not followed"
	case m&fs.ModeNamedPipe != 0:
		return "named pipe"
	case m&fs.ModeSocket != 0:
		return "socket"
	case m&fs.ModeDevice != 0:
		return "device"
	}
	return "not a regular file"
}

func unreadable(err error) string {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	return "unreadable: " + err.Error()
}

func (t *treeImport) skip(name, reason string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.tree.SkippedCount++
	if len(t.tree.Skipped) < maxSkipped {
		t.tree.Skipped = append(t.tree.Skipped, Skip{name, reason})
	}
}

// finished fills a slot of d; the zero entry leaves it out.
func (t *treeImport) finished(d *folder, slot int, e Entry) error {
	d.slots[slot] = e
	return t.release(d)
}

func (t *treeImport) release(d *folder) error {
	if d.left.Add(-1) > 0 {
		return nil
	}
	done := Entry{Name: filepath.Base(d.path), Dir: true}
	entries := d.slots[:0]
	for _, e := range d.slots {
		if e.Name != "" {
			entries = append(entries, e)
			done.Size += e.Size
		}
	}
	var err error
	if done.Root, err = newDirectory(t.ctx, t.put, t.o.Hash, entries); err != nil {
		return err
	}
	if d.parent == nil {
		d.done = done
		return nil
	}
	return t.finished(d.parent, d.slot, done)
}

// work stores files until there are none left.
func (t *treeImport) work() error {
	im := importers.Get().(*importer)
	defer im.release()
	im.put, im.hash, im.progress = t.put, t.o.Hash, func(n int64) { t.progress(0, n) }
	for j := range t.jobs {
		e, err := t.file(im, j)
		if err != nil {
			return err
		}
		if err := t.finished(j.in, j.slot, e); err != nil {
			return err
		}
	}
	return nil
}

func (t *treeImport) progress(files int, n int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.tree.Files += files
	t.bytes += n
	if t.o.Progress != nil {
		t.o.Progress(t.tree.Files, t.bytes)
	}
}

func (t *treeImport) file(im *importer, j fileJob) (Entry, error) {
	refuse := func(err error) (Entry, error) {
		if !t.o.SkipUnreadable || t.ctx.Err() != nil {
			return Entry{}, fmt.Errorf("import %q: %w", j.path, err)
		}
		t.skip(j.name, unreadable(err))
		return Entry{}, nil
	}
	in, err := openInput(j.path)
	if err != nil {
		return refuse(err)
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return refuse(err)
	}
	if !info.Mode().IsRegular() {
		t.skip(j.name, kindOf(info.Mode()))
		return Entry{}, nil
	}
	var content io.Reader = in
	if t.o.Wrap != nil {
		content = t.o.Wrap(in)
	}
	f, err := im.add(t.ctx, content)
	if err != nil {
		var pe *fs.PathError
		if errors.As(err, &pe) { // reading failed, not storing
			return refuse(err)
		}
		return Entry{}, fmt.Errorf("import %q: %w", j.path, err)
	}
	t.progress(1, 0)
	return Entry{Name: filepath.Base(j.name), Root: f.Root, Size: f.Size}, nil
}
