package dag

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"sync"
)

// Options steer how content becomes blocks. The zero value is good. Hash is the only field that changes a root.
type Options struct {
	Hash Hash // of all blocks; default SHA256
	// Progress is told of the files and bytes added so far, after every block and file, from one goroutine at a time.
	Progress func(files int, bytes int64)
	// SkipUnreadable lets AddTree go on where a file or folder cannot be opened or read: it is listed in Tree.Skipped.
	SkipUnreadable bool
	// Workers is how many files AddTree reads at once; default GOMAXPROCS.
	Workers int
	// Wrap, if there is one, stands between each file of AddTree and its reader, to hold it to the limits of its drive.
	Wrap func(io.Reader) io.Reader
}

func (o Options) withDefaults() Options {
	if o.Hash == 0 {
		o.Hash = SHA256
	}
	return o
}

// File is a stored file.
type File struct {
	Root CID
	Size int64
}

// AddFile stores what r yields. The same bytes always give the same root: a file of up to MaxBlock bytes is one raw
// block; a larger one is a tree over leaves of MaxBlock bytes; one over MaxSegment is a tree over segments, each of
// which is a file of its own. It needs about 2 MiB of memory whatever the size.
func AddFile(ctx context.Context, p Putter, r io.Reader, o Options) (File, error) {
	o = o.withDefaults()
	done := int64(0)
	im := importers.Get().(*importer)
	defer im.release()
	im.put, im.hash, im.progress = p, o.Hash, func(n int64) {
		done += n
		if o.Progress != nil {
			o.Progress(0, done)
		}
	}
	f, err := im.add(ctx, r)
	if err == nil && o.Progress != nil {
		o.Progress(1, done)
	}
	return f, err
}

// importer turns streams into blocks, one at a time, reusing its buffers.
type importer struct {
	put      Putter
	hash     Hash
	progress func(n int64)
	buf      []byte // one leaf and the byte that tells whether more follows
	prev     []byte // the leaf before, so that runs of equal leaves (holes) are hashed once
}

// importers saves small files from paying for 2 MiB of fresh buffers.
var importers = sync.Pool{New: func() any {
	return &importer{buf: make([]byte, MaxBlock+1), prev: make([]byte, 0, MaxBlock+1)}
}}

func (im *importer) release() {
	im.put, im.progress = nil, nil
	importers.Put(im)
}

func (im *importer) add(ctx context.Context, r io.Reader) (File, error) {
	whole := treeBuilder{put: im.put, hash: im.hash, kind: kindCut}
	segment := treeBuilder{put: im.put, hash: im.hash, kind: kindFile}
	var cut cutter
	var last CID
	have := 0
	for first := true; ; first = false {
		if err := context.Cause(ctx); err != nil {
			return File{}, err
		}
		n, err := io.ReadFull(r, im.buf[have:])
		have += n
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return File{}, err
		}
		if have == 0 && !first {
			break
		}
		more := have > MaxBlock
		leaf := im.buf[:min(have, MaxBlock)]
		n, end := cut.find(leaf, int(segment.size), more)
		leaf = leaf[:n]
		if !last.Defined() || !bytes.Equal(leaf, im.prev) {
			if last, err = put(ctx, im.put, Raw, im.hash, leaf); err != nil {
				return File{}, err
			}
		}
		im.progress(int64(n))
		if first && !more {
			return File{last, int64(n)}, nil
		}
		if err := segment.add(ctx, link{CID: last, Size: int64(n)}); err != nil {
			return File{}, err
		}
		if end {
			if err := segment.finishInto(ctx, &whole); err != nil {
				return File{}, err
			}
		}
		// The rest of the buffer goes on; the leaf stays as the one to compare with.
		have = copy(im.prev[:MaxBlock+1], im.buf[n:have])
		im.buf, im.prev = im.prev[:MaxBlock+1], im.buf[:n]
		if !more && have == 0 {
			break
		}
	}
	if whole.size == 0 {
		return segment.finish(ctx)
	}
	if segment.size > 0 {
		if err := segment.finishInto(ctx, &whole); err != nil {
			return File{}, err
		}
	}
	return whole.finish(ctx)
}

// treeBuilder makes a balanced tree over a sequence of links; its shape is a function of the sequence alone.
type treeBuilder struct {
	put    Putter
	hash   Hash
	kind   string
	size   int64
	levels [][]link
}

func (b *treeBuilder) add(ctx context.Context, l link) error {
	b.size += l.Size
	return b.addAt(ctx, 0, l)
}

func (b *treeBuilder) addAt(ctx context.Context, level int, l link) error {
	if level == len(b.levels) {
		b.levels = append(b.levels, nil)
	}
	b.levels[level] = append(b.levels[level], l)
	if len(b.levels[level]) < maxLinks {
		return nil
	}
	return b.flush(ctx, level)
}

// flush hands the links of a level, as one node, to the level above. A lone link needs no node.
func (b *treeBuilder) flush(ctx context.Context, level int) error {
	links := b.levels[level]
	b.levels[level] = links[:0]
	if len(links) == 1 {
		return b.addAt(ctx, level+1, links[0])
	}
	n := node{Kind: b.kind, Links: links}
	for _, l := range links {
		n.Size += l.Size
	}
	c, err := putNode(ctx, b.put, b.hash, &n)
	if err != nil {
		return err
	}
	return b.addAt(ctx, level+1, link{CID: c, Size: n.Size})
}

// finish returns the root and empties the builder. Without links it is the empty file.
func (b *treeBuilder) finish(ctx context.Context) (File, error) {
	size := b.size
	for level := 0; level < len(b.levels); level++ {
		links := b.levels[level]
		if level == len(b.levels)-1 && len(links) == 1 {
			root := links[0].CID
			b.levels, b.size = nil, 0
			return File{root, size}, nil
		}
		if len(links) > 0 {
			if err := b.flush(ctx, level); err != nil {
				return File{}, err
			}
		}
	}
	c, err := put(ctx, b.put, Raw, b.hash, nil)
	return File{c, 0}, err
}

func (b *treeBuilder) finishInto(ctx context.Context, parent *treeBuilder) error {
	f, err := b.finish(ctx)
	if err != nil {
		return err
	}
	return parent.add(ctx, link{CID: f.Root, Size: f.Size})
}

// Concat makes one file of others, in order, out of links to their leaves: no content is copied, and only the sizes of
// single-block files are asked for (through get's Size method, where it has one). It is associative, and a single file
// stays what it is.
func Concat(ctx context.Context, p Putter, get Getter, roots []CID) (CID, error) {
	files := make([]File, len(roots))
	for i, c := range roots {
		size, err := FileSize(ctx, get, c)
		if err != nil {
			return CID{}, err
		}
		files[i] = File{c, size}
	}
	f, err := Join(ctx, p, get, files)
	return f.Root, err
}

// Join is Concat for files whose sizes the caller knows. The sizes are checked wherever a node is read.
func Join(ctx context.Context, p Putter, get Getter, files []File) (File, error) {
	if len(files) == 1 {
		return files[0], nil
	}
	hash := SHA256
	if len(files) > 0 {
		hash = files[0].Root.Hash()
	}
	b := treeBuilder{put: p, hash: hash, kind: kindFile}
	for _, f := range files {
		if f.Size == 0 {
			continue
		}
		if err := eachLeaf(ctx, get, link{CID: f.Root, Size: f.Size}, 0, func(l link) error { return b.add(ctx, l) }); err != nil {
			return File{}, err
		}
	}
	return b.finish(ctx)
}

func eachLeaf(ctx context.Context, get Getter, l link, depth int, fn func(link) error) error {
	if l.CID.Codec() == Raw {
		return fn(l)
	}
	n, err := fileNode(ctx, get, l, depth)
	if err != nil {
		return err
	}
	for _, child := range n.Links {
		if err := eachLeaf(ctx, get, child, depth+1, fn); err != nil {
			return err
		}
	}
	return nil
}

// fileNode fetches the inner node of a file that l points to.
func fileNode(ctx context.Context, get Getter, l link, depth int) (*node, error) {
	if depth >= maxDepth {
		return nil, fmt.Errorf("%w: %s is over %d levels deep", ErrMalformed, l.CID, maxDepth)
	}
	n, err := getNode(ctx, get, l.CID, kindFile, kindCut)
	if err != nil {
		return nil, err
	}
	if n.Size != l.Size {
		return nil, fmt.Errorf("%w: %s has %d bytes, its parent says %d", ErrMalformed, l.CID, n.Size, l.Size)
	}
	return n, nil
}

// FileSize returns the size of a file in bytes.
func FileSize(ctx context.Context, get Getter, file CID) (int64, error) {
	if file.Codec() == Raw {
		if s, ok := get.(sizer); ok {
			n, err := s.Size(ctx, file)
			return int64(n), err
		}
		data, err := get.Get(ctx, file)
		return int64(len(data)), err
	}
	n, err := getNode(ctx, get, file, kindFile, kindCut)
	if err != nil {
		return 0, err
	}
	return n.Size, nil
}

// Segments yields the segments of a file in order without reading its content. A file that was not cut yields itself.
func Segments(ctx context.Context, get Getter, f File) iter.Seq2[File, error] {
	return func(yield func(File, error) bool) {
		segments(ctx, get, link{CID: f.Root, Size: f.Size}, 0, yield)
	}
}

func segments(ctx context.Context, get Getter, l link, depth int, yield func(File, error) bool) bool {
	if l.CID.Codec() == Raw || (depth == 0 && l.Size <= MaxSegment) {
		return yield(File{l.CID, l.Size}, nil)
	}
	n, err := fileNode(ctx, get, l, depth)
	if err != nil {
		yield(File{}, err)
		return false
	}
	if n.Kind != kindCut {
		return yield(File{l.CID, l.Size}, nil)
	}
	for _, child := range n.Links {
		if !segments(ctx, get, child, depth+1, yield) {
			return false
		}
	}
	return true
}
