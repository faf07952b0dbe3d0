package wire

import (
	"container/heap"
	"crypto/sha256"
	"sync"

	"kith/tasks"
)

// SeenSet refuses what was seen before and what comes in floods. Everything in it is forgotten at its expiry, so that
// it remembers exactly as long as a message could be replayed. It is safe for concurrent use.
type SeenSet struct {
	most, each int

	mu    sync.Mutex
	seen  map[Hash]struct{}
	per   map[tasks.NodeID]int
	queue seenQueue
	drops SeenDrops
}

// SeenDrops counts what was refused, by cause.
type SeenDrops struct {
	Repeated uint64 // seen before
	Flood    uint64 // one signer has too many alive
	Full     uint64 // the set is full
}

// NewSeenSet makes a set of at most most messages, at most each of one signer.
func NewSeenSet(most, each int) *SeenSet {
	return &SeenSet{most: most, each: each, seen: make(map[Hash]struct{}), per: make(map[tasks.NodeID]int)}
}

// Admit reports whether message b of signer by, which expires at expiry, is new and may be passed on. The signature
// must have been checked before: else a stranger could fill another's share.
func (s *SeenSet) Admit(by tasks.NodeID, b []byte, expiry, now int64) bool {
	sum := Hash(sha256.Sum256(b))
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.queue) > 0 && s.queue[0].until < now {
		old := heap.Pop(&s.queue).(seenItem)
		delete(s.seen, old.sum)
		if s.per[old.by]--; s.per[old.by] == 0 {
			delete(s.per, old.by)
		}
	}
	switch _, again := s.seen[sum]; {
	case again:
		s.drops.Repeated++
		return false
	case s.per[by] >= s.each:
		s.drops.Flood++
		return false
	case len(s.seen) >= s.most:
		s.drops.Full++
		return false
	}
	s.seen[sum] = struct{}{}
	s.per[by]++
	heap.Push(&s.queue, seenItem{until: expiry + MaxSkew.Milliseconds(), sum: sum, by: by})
	return true
}

// Len is how many messages are remembered.
func (s *SeenSet) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.seen)
}

// Drops returns the counts so far.
func (s *SeenSet) Drops() SeenDrops {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.drops
}

type seenItem struct {
	until int64
	sum   Hash
	by    tasks.NodeID
}

type seenQueue []seenItem

func (q seenQueue) Len() int           { return len(q) }
func (q seenQueue) Less(i, j int) bool { return q[i].until < q[j].until }
func (q seenQueue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *seenQueue) Push(x any)        { *q = append(*q, x.(seenItem)) }
func (q *seenQueue) Pop() any {
	last := len(*q) - 1
	x := (*q)[last]
	*q = (*q)[:last]
	return x
}
