package dag

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sort"
)

// Reader reads a stored file. It holds one leaf and the nodes above it. It is not safe for concurrent use.
type Reader struct {
	ctx  context.Context
	get  Getter
	root link
	off  int64
	path []span // from the root down to the node over the leaf
	leaf []byte
	at   int64 // offset of leaf in the file
}

// span is a decoded node and where its content stands in the file.
type span struct {
	from int64
	size int64
	ends []int64 // end of each link's content
	node *node
}

// Open returns a reader of a file. ctx is used for every read.
func Open(ctx context.Context, get Getter, file CID) (*Reader, error) {
	r := &Reader{ctx: ctx, get: get, root: link{CID: file}}
	if file.Codec() == Raw {
		data, err := get.Get(ctx, file)
		if err != nil {
			return nil, err
		}
		r.leaf, r.root.Size = data, int64(len(data))
		return r, nil
	}
	n, err := getNode(ctx, get, file, kindFile, kindCut)
	if err != nil {
		return nil, err
	}
	r.root.Size = n.Size
	r.path = append(r.path, newSpan(0, n))
	return r, nil
}

func newSpan(from int64, n *node) span {
	s := span{from: from, size: n.Size, node: n, ends: make([]int64, len(n.Links))}
	at := from
	for i, l := range n.Links {
		at += l.Size
		s.ends[i] = at
	}
	return s
}

// Size returns the length of the file in bytes.
func (r *Reader) Size() int64 { return r.root.Size }

// Close ends the use of r.
func (r *Reader) Close() error {
	*r = Reader{}
	return nil
}

// Seek implements io.Seeker. It costs nothing until the next read.
func (r *Reader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += r.off
	case io.SeekEnd:
		offset += r.root.Size
	}
	if offset < 0 {
		return 0, errors.New("seek before the start of a file")
	}
	r.off = offset
	return offset, nil
}

// Read implements io.Reader. One call returns at most the rest of one leaf.
func (r *Reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	rest, err := r.rest()
	if err != nil {
		return 0, err
	}
	n := copy(p, rest)
	r.off += int64(n)
	return n, nil
}

// WriteTo implements io.WriterTo, leaf by leaf without copying.
func (r *Reader) WriteTo(w io.Writer) (int64, error) {
	var total int64
	for {
		rest, err := r.rest()
		if errors.Is(err, io.EOF) {
			return total, nil
		}
		if err != nil {
			return total, err
		}
		n, err := w.Write(rest)
		total += int64(n)
		r.off += int64(n)
		if err != nil {
			return total, err
		}
	}
}

// rest returns what is left of the leaf at the current offset, or io.EOF.
func (r *Reader) rest() ([]byte, error) {
	if r.get == nil {
		return nil, errors.New("read of a closed file")
	}
	if r.off >= r.root.Size {
		return nil, io.EOF
	}
	if in := r.off - r.at; in >= 0 && in < int64(len(r.leaf)) {
		return r.leaf[in:], nil
	}
	for r.off < r.path[len(r.path)-1].from || r.off >= r.path[len(r.path)-1].from+r.path[len(r.path)-1].size {
		r.path = r.path[:len(r.path)-1] // the root always holds the offset
	}
	for {
		s := r.path[len(r.path)-1]
		i := sort.Search(len(s.ends), func(i int) bool { return s.ends[i] > r.off })
		l := s.node.Links[i]
		from := s.ends[i] - l.Size
		if l.CID.Codec() == Raw {
			data, err := r.get.Get(r.ctx, l.CID)
			if err != nil {
				return nil, err
			}
			if int64(len(data)) != l.Size {
				return nil, fmt.Errorf("%w: leaf %s has %d bytes, its parent says %d", ErrMalformed, l.CID, len(data), l.Size)
			}
			r.leaf, r.at = data, from
			return data[r.off-from:], nil
		}
		n, err := fileNode(r.ctx, r.get, l, len(r.path))
		if err != nil {
			return nil, err
		}
		r.path = append(r.path, newSpan(from, n))
	}
}
