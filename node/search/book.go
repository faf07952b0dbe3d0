// Package search finds workers that gossip does not reach: it asks nodes, along random walks, for others they have met, and
// the directory for nodes of a class in an area, and hands the offer to whom it finds. It also answers such questions.
// Nobody is believed: a node is known by its own signed record, and comes by its own will.
package search

import (
	"math/rand/v2"
	"sync"
	"time"

	"kith/tasks"
	"kith/tasks/wire"
)

// maxMet is how many records a book holds.
const maxMet = 4096

// Book holds the signed records of the nodes that this one has met, each until it expires. All methods are safe for
// concurrent use.
type Book struct {
	network string
	room    int // records
	mu      sync.Mutex
	met     map[tasks.NodeID]entry
}

type entry struct {
	cap wire.Capability
	raw []byte
}

// NewBook returns an empty book.
func NewBook(network string) *Book {
	return &Book{network: network, room: maxMet, met: map[tasks.NodeID]entry{}}
}

// Learn verifies a record and keeps it.
func (b *Book) Learn(record []byte) error {
	c, err := wire.OpenCapability(b.network, time.Now().UnixMilli(), record)
	if err != nil {
		return err
	}
	b.Keep(c, record)
	return nil
}

// Keep keeps a record that was verified, and is c, unless a newer one of that node is there. What a stranger says of a third
// must not come here: only what a node has said of itself. When the book is full, a record that has expired makes room, or
// any.
func (b *Book) Keep(c wire.Capability, record []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	old, there := b.met[c.Node]
	if there && wire.Newer(&old.cap, &c) {
		return
	}
	if !there && len(b.met) >= b.room {
		b.makeRoomLocked(time.Now().UnixMilli())
	}
	b.met[c.Node] = entry{c, record}
}

func (b *Book) makeRoomLocked(now int64) {
	for id, e := range b.met {
		if e.cap.Expiry <= now {
			delete(b.met, id)
		}
	}
	for id := range b.met {
		if len(b.met) < b.room {
			break
		}
		delete(b.met, id)
	}
}

// Nodes lists who has a record that is good now.
func (b *Book) Nodes() (list []tasks.NodeID) {
	now := time.Now().UnixMilli()
	b.mu.Lock()
	defer b.mu.Unlock()
	for id, e := range b.met {
		if e.cap.Expiry > now {
			list = append(list, id)
		}
	}
	return list
}

// Record returns the record of a node, or nil.
func (b *Book) Record(id tasks.NodeID) []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.met[id].raw
}

// Answer picks records for a question: of nodes that would do, and of a few that would not, at random. Nodes without an
// address are of no use to who asks, and who asks needs none of itself.
func (b *Book) Answer(q *wire.Search, asker tasks.NodeID) (nodes, ways [][]byte) {
	now := time.Now().UnixMilli()
	b.mu.Lock()
	for id, e := range b.met {
		switch {
		case id == asker, e.cap.Expiry <= now, len(e.cap.Addresses) == 0, wire.Filtered(q.Salt, q.Known, id):
		case q.Suits(&e.cap):
			nodes = append(nodes, e.raw)
		default:
			ways = append(ways, e.raw)
		}
	}
	b.mu.Unlock()
	return some(nodes, wire.MaxFound), some(ways, wire.MaxWays)
}

// some keeps at most n of a list, at random.
func some(list [][]byte, n int) [][]byte {
	rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list[:min(n, len(list))]
}
