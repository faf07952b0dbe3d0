package gc

import (
	"bufio"
	"bytes"
	"container/heap"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"slices"

	"kith/storage/dag"
)

func less(a, b dag.CID) bool { return compare(a, b) < 0 }

func compare(a, b dag.CID) int { return bytes.Compare(a[:], b[:]) }

// spill makes sorted sets, which together hold about limit CIDs in memory; the rest is in files.
type spill struct {
	dir   string
	limit int
	held  int // in memory, by finished sets
	files map[*os.File]bool
}

// close removes the files.
func (s *spill) close() {
	for f := range s.files {
		s.remove(f)
	}
}

func (s *spill) remove(f *os.File) {
	f.Close()
	os.Remove(f.Name())
	delete(s.files, f)
}

// discard gives up a set that is no longer needed.
func (s *spill) discard(set sorted) {
	s.held -= len(set.small)
	if set.file != nil {
		s.remove(set.file)
	}
}

// sorted is a set of CIDs in byte order, in memory or in a file. It may be gone through any number of times.
type sorted struct {
	count int64
	small []dag.CID
	file  *os.File
}

func (s sorted) all() iter.Seq2[dag.CID, error] {
	return func(yield func(dag.CID, error) bool) {
		for _, c := range s.small {
			if !yield(c, nil) {
				return
			}
		}
		if s.file == nil {
			return
		}
		in := bufio.NewReaderSize(io.NewSectionReader(s.file, 0, s.count*dag.Size), 16<<10)
		for {
			var c dag.CID
			_, err := io.ReadFull(in, c[:])
			if errors.Is(err, io.EOF) {
				return
			}
			if !yield(c, err) || err != nil {
				return
			}
		}
	}
}

// collect stores an iteration in byte order without repeats as a set.
func (s *spill) collect(cids iter.Seq2[dag.CID, error]) (sorted, error) {
	var set sorted
	var out *bufio.Writer
	for c, err := range cids {
		if err != nil {
			return sorted{}, err
		}
		if set.file == nil && s.held+len(set.small) >= s.limit/2 {
			f, err := os.CreateTemp(s.dir, "kith-gc-*")
			if err != nil {
				return sorted{}, fmt.Errorf("spill: %w", err)
			}
			s.files[f] = true
			set.file, out = f, bufio.NewWriterSize(f, 64<<10)
			for _, c := range set.small {
				out.Write(c[:])
			}
			set.small = nil
		}
		set.count++
		if set.file == nil {
			set.small = append(set.small, c)
		} else if _, err := out.Write(c[:]); err != nil {
			return sorted{}, fmt.Errorf("spill: %w", err)
		}
	}
	if out != nil {
		if err := out.Flush(); err != nil {
			return sorted{}, fmt.Errorf("spill: %w", err)
		}
	}
	s.held += len(set.small)
	return set, nil
}

// sorter sorts CIDs that come in any order, with repeats.
type sorter struct {
	s    *spill
	buf  []dag.CID
	runs []sorted
}

func (s *spill) sorter() *sorter { return &sorter{s: s} }

func (t *sorter) add(c dag.CID) error {
	t.buf = append(t.buf, c)
	if len(t.buf) < t.s.limit/2 {
		return nil
	}
	return t.flush()
}

func (t *sorter) flush() error {
	slices.SortFunc(t.buf, compare)
	t.buf = slices.Compact(t.buf)
	run, err := t.s.collect(func(yield func(dag.CID, error) bool) {
		for _, c := range t.buf {
			if !yield(c, nil) {
				return
			}
		}
	})
	t.runs = append(t.runs, run)
	t.buf = t.buf[:0]
	return err
}

// finish returns the set of what was added.
func (t *sorter) finish() (sorted, error) {
	if err := t.flush(); err != nil {
		return sorted{}, err
	}
	t.buf = nil
	if len(t.runs) == 1 {
		return t.runs[0], nil
	}
	all, err := t.s.collect(union(t.runs))
	for _, run := range t.runs {
		t.s.discard(run)
	}
	return all, err
}

// subtract returns what is in set but in none of the others, and discards set.
func (s *spill) subtract(set sorted, others []sorted) (sorted, error) {
	defer s.discard(set)
	return s.collect(func(yield func(dag.CID, error) bool) {
		next, stop := iter.Pull2(union(others))
		defer stop()
		m, err, ok := next()
		for c, e := range set.all() {
			for ok && err == nil && e == nil && less(m, c) {
				m, err, ok = next()
			}
			if e = errors.Join(e, err); e != nil {
				yield(c, e)
				return
			}
			if ok && m == c {
				continue
			}
			if !yield(c, nil) {
				return
			}
		}
	})
}

// union goes through sets side by side, in byte order without repeats.
func union(sets []sorted) iter.Seq2[dag.CID, error] {
	return func(yield func(dag.CID, error) bool) {
		var heads heads
		for _, s := range sets {
			h := &head{}
			next, stop := iter.Pull2(s.all())
			defer stop()
			h.next = next
			if err := h.advance(); err != nil {
				yield(dag.CID{}, err)
				return
			}
			if h.ok {
				heads = append(heads, h)
			}
		}
		heap.Init(&heads)
		var last dag.CID // the zero CID is in no set
		for len(heads) > 0 {
			h := heads[0]
			c := h.cid
			if c != last && !yield(c, nil) {
				return
			}
			last = c
			if err := h.advance(); err != nil {
				yield(dag.CID{}, err)
				return
			}
			if h.ok {
				heap.Fix(&heads, 0)
			} else {
				heap.Pop(&heads)
			}
		}
	}
}

// head is the next element of a set in a union.
type head struct {
	cid  dag.CID
	ok   bool
	next func() (dag.CID, error, bool)
}

func (h *head) advance() (err error) {
	h.cid, err, h.ok = h.next()
	return err
}

// heads is a heap, the least first.
type heads []*head

func (h heads) Len() int           { return len(h) }
func (h heads) Less(i, j int) bool { return less(h[i].cid, h[j].cid) }
func (h heads) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *heads) Push(x any)        { *h = append(*h, x.(*head)) }

func (h *heads) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}
