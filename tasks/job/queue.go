package job

import "slices"

// fifo is a queue of tasks; the front is cut off lazily.
type fifo struct {
	items []Ref
	head  int
}

func (f *fifo) push(r Ref) { f.items = append(f.items, r) }

func (f *fifo) pop() {
	f.head++
	if f.head > 1024 && f.head*2 > len(f.items) {
		f.items = append(f.items[:0], f.items[f.head:]...)
		f.head = 0
	}
}

// swap puts the task n places behind the front there.
func (f *fifo) swap(n int) {
	f.items[f.head], f.items[f.head+n] = f.items[f.head+n], f.items[f.head]
}

func (f *fifo) empty() bool { return f.head == len(f.items) }
func (f *fifo) front() Ref  { return f.items[f.head] }

// queue holds open tasks that want more replicas. Entries are numbered for ever, so that each worker passes each entry
// once: what it must not do, it need not look at again. A task that wants replicas anew gets a new entry, and the old
// one is stale.
type queue struct {
	items []entry
	last  uint32 // number of the newest entry
	base  int    // position of items[0] in the order of pushing
	limit int    // length at which stale entries are dropped
}

type entry struct {
	ref Ref
	seq uint32
}

func (q *queue) push(r Ref) uint32 {
	q.last++
	q.items = append(q.items, entry{r, q.last})
	return q.last
}

// trim cuts stale entries off the front.
func (q *queue) trim(stale func(entry) bool) {
	n := 0
	for n < len(q.items) && stale(q.items[n]) {
		n++
	}
	q.items, q.base = q.items[n:], q.base+n
	if len(q.items) == 0 {
		q.items = nil
	}
}

// compact drops all stale entries; every cursor must then start again at base.
func (q *queue) compact(stale func(entry) bool) {
	q.base += len(q.items)
	q.items = slices.DeleteFunc(q.items, stale)
	q.limit = 2*len(q.items) + 4096
}

// timer is a moment at which a replica's clock ends, if it has not moved.
type timer struct {
	at      int64
	ref     Ref
	attempt uint16
}

// timers is a binary heap, earliest first. Entries of replicas that went on are dropped when they come up.
type timers []timer

func (h *timers) push(t timer) {
	*h = append(*h, t)
	a := *h
	for i := len(a) - 1; i > 0; {
		up := (i - 1) / 2
		if a[up].at <= a[i].at {
			return
		}
		a[up], a[i] = a[i], a[up]
		i = up
	}
}

func (h *timers) pop() timer {
	a := *h
	top := a[0]
	last := len(a) - 1
	a[0] = a[last]
	a = a[:last]
	*h = a
	for i := 0; ; {
		small := i
		for c := 2*i + 1; c <= 2*i+2 && c < last; c++ {
			if a[c].at < a[small].at {
				small = c
			}
		}
		if small == i {
			return top
		}
		a[i], a[small] = a[small], a[i]
		i = small
	}
}

// order makes a heap of entries in any order.
func (h *timers) order() {
	a := *h
	*h = a[:0]
	for _, t := range a {
		h.push(t)
	}
}
