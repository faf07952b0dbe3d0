package dedup

import (
	"cmp"
	"container/heap"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
)

// entry is one record under a key: its digest, or its fingerprint with one band rotated to the top.
type entry struct {
	high, low uint64 // a fingerprint has no low half
	ref       ref    // its part is zero in the file of one part
}

func compare(a, b entry) int {
	if a.high != b.high {
		return cmp.Compare(a.high, b.high)
	}
	return cmp.Or(cmp.Compare(a.low, b.low), cmp.Compare(a.ref, b.ref))
}

// lists are the entries of one key range: first the list of digests, then one for each band.
type lists [][]entry

// widthOf is the size in bytes of an entry of list i.
func widthOf(i int) int {
	if i == 0 {
		return exactSize
	}
	return nearSize
}

func (l lists) empty() bool {
	return !slices.ContainsFunc(l, func(list []entry) bool { return len(list) > 0 })
}

// writeTo sorts the lists and writes them.
func (l lists) writeTo(w io.Writer) error {
	b := []byte(entriesMagic)
	b = binary.BigEndian.AppendUint32(b, uint32(len(l)-1))
	for _, list := range l {
		b = binary.BigEndian.AppendUint32(b, uint32(len(list)))
	}
	for i, list := range l {
		slices.SortFunc(list, compare)
		for _, e := range list {
			b = binary.BigEndian.AppendUint64(b, e.high)
			if i == 0 {
				b = binary.BigEndian.AppendUint64(b, e.low)
			}
			b = binary.BigEndian.AppendUint32(b, e.ref.record())
		}
		if _, err := w.Write(b); err != nil {
			return err
		}
		b = b[:0]
	}
	return nil
}

// source is the file of entries of one part.
type source struct {
	in     fs.FS
	name   string
	part   uint32
	starts []int64 // where each list begins, and where the last one ends
}

// openSource reads the counts of a file of entries, or returns nil if the part has none.
func openSource(in fs.FS, name string, part uint32, bands int) (*source, error) {
	f, err := in.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // nothing of that part falls into this range
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	head := make([]byte, len(entriesMagic)+4+4*(bands+1))
	if _, err := io.ReadFull(f, head); err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return nil, err
	}
	r := fields{rest: head}
	if err := r.magic(entriesMagic); err != nil {
		return nil, err
	}
	if got := r.u32(); int64(got) != int64(bands) {
		return nil, fmt.Errorf("%w: entries for %d bands, want %d", ErrFormat, got, bands)
	}
	s := &source{in: in, name: name, part: part}
	at := int64(len(head))
	for i := range bands + 1 {
		s.starts = append(s.starts, at)
		at += int64(r.u32()) * int64(widthOf(i))
	}
	s.starts = append(s.starts, at)
	if at != info.Size() {
		return nil, fmt.Errorf("%w: entries of %d bytes, the counts say %d", ErrFormat, info.Size(), at)
	}
	return s, nil
}

// records is the number of digests.
func (s *source) records() uint64 { return uint64(s.starts[1]-s.starts[0]) / exactSize }

// window is how many entries of one list are in memory at once.
const window = 256

// cursor goes through one list of one source. It opens the file anew for each window: there may be more parts than
// files that a process may have open.
type cursor struct {
	*source
	width   int
	at, end int64
	rest    []byte // of the window
	buf     []byte
	now     entry
}

// next moves to the next entry and reports whether there is one. Entries must ascend.
func (c *cursor) next(first bool) (bool, error) {
	if len(c.rest) == 0 {
		if c.at == c.end {
			return false, nil
		}
		if err := c.fill(); err != nil {
			return false, err
		}
	}
	r := fields{rest: c.rest[:c.width]}
	c.rest = c.rest[c.width:]
	e := entry{high: r.u64()}
	if c.width == exactSize {
		e.low = r.u64()
	}
	e.ref = newRef(c.part, r.u32())
	if !first && compare(e, c.now) <= 0 {
		return false, fmt.Errorf("part %d: %w: the entries do not ascend", c.part, ErrFormat)
	}
	c.now = e
	return true, nil
}

func (c *cursor) fill() (err error) {
	f, err := c.in.Open(c.name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if s, ok := f.(io.Seeker); ok {
		_, err = s.Seek(c.at, io.SeekStart)
	} else {
		_, err = io.CopyN(io.Discard, f, c.at)
	}
	if err != nil {
		return err
	}
	c.buf = slices.Grow(c.buf[:0], window*c.width)[:min(int64(window*c.width), c.end-c.at)]
	if _, err := io.ReadFull(f, c.buf); err != nil {
		return fmt.Errorf("part %d: %w", c.part, err)
	}
	c.at += int64(len(c.buf))
	c.rest = c.buf
	return nil
}

// cursors is a heap.
type cursors []*cursor

func (h cursors) Len() int           { return len(h) }
func (h cursors) Less(i, j int) bool { return compare(h[i].now, h[j].now) < 0 }
func (h cursors) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *cursors) Push(x any)        { *h = append(*h, x.(*cursor)) }
func (h *cursors) Pop() any {
	last := len(*h) - 1
	c := (*h)[last]
	*h = (*h)[:last]
	return c
}

// merge calls visit for each entry of list i of all sources, in order. Memory is bounded by the number of sources.
func merge(ctx context.Context, sources []*source, i int, visit func(entry)) error {
	h := make(cursors, 0, len(sources))
	for _, s := range sources {
		c := &cursor{source: s, width: widthOf(i), at: s.starts[i], end: s.starts[i+1]}
		ok, err := c.next(true)
		if err != nil {
			return err
		}
		if ok {
			h = append(h, c)
		}
	}
	heap.Init(&h)
	for n := 0; len(h) > 0; n++ {
		if n&0xfff == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		c := h[0]
		visit(c.now)
		ok, err := c.next(false)
		switch {
		case err != nil:
			return err
		case ok:
			heap.Fix(&h, 0)
		default:
			heap.Pop(&h)
		}
	}
	return nil
}
