package trust

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"

	"kith/tasks"
)

// MaxNodes bounds a book. Beyond it the nodes of whom the least is known and longest nothing was heard are forgotten,
// never a banned one before one that is not.
const MaxNodes = 1 << 16

// ErrSnapshot: the entries are not a book.
var ErrSnapshot = errors.New("not a snapshot of a trust book")

// Entry is one node's record in a snapshot.
type Entry struct {
	Node   tasks.NodeID `cbor:"node" json:"node"`
	Record Record       `cbor:"record" json:"record"`
}

// Book holds the records of many nodes. It is not safe for concurrent use.
type Book struct {
	records map[tasks.NodeID]Record
	most    int

	verdicts int64 // of all nodes
	skills   map[skill]Standing
	touched  map[skill]struct{} // since Changes
	cases    []Case
	room     int    // of cases
	newCases []Case // since Changes
	graph    *graph // of the cases; nil: not laid out
	lies     map[tasks.NodeID]Lie
	alarm    int64 // when the newest of them was proven; 0: there is none
}

// NewBook makes an empty book.
func NewBook() *Book {
	return &Book{records: map[tasks.NodeID]Record{}, skills: map[skill]Standing{}, touched: map[skill]struct{}{}, lies: map[tasks.NodeID]Lie{}, most: MaxNodes, room: MaxCases}
}

// Get returns the record of a node as it stands at now; of a node never seen, the record of a newcomer.
func (b *Book) Get(node tasks.NodeID, now int64) Record { return b.records[node].At(now) }

// Note adds an outcome.
func (b *Book) Note(node tasks.NodeID, o tasks.Outcome, now int64) Record {
	r := b.records[node].Note(o, now)
	b.put(node, r)
	return r
}

// Ban shuts a node out for good; proof is the hash of the evidence.
func (b *Book) Ban(node tasks.NodeID, proof [32]byte, now int64) Record {
	r := b.records[node].At(now).Ban(proof)
	b.put(node, r)
	return r
}

func (b *Book) put(node tasks.NodeID, r Record) {
	b.records[node] = r
	if len(b.records) <= b.most {
		return
	}
	// Forget a sixteenth at once, so that the sorting is paid seldom.
	list := b.Snapshot()
	slices.SortStableFunc(list, func(x, y Entry) int {
		return cmp.Or(compareBool(x.Record.Banned(), y.Record.Banned()), cmp.Compare(x.Record.Day, y.Record.Day), cmp.Compare(x.Record.Accepted, y.Record.Accepted))
	})
	for _, e := range list[:max(1, b.most/16)] {
		delete(b.records, e.Node)
	}
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// Set puts a record that Snapshot or Get gave in place of what is known of a node.
func (b *Book) Set(e Entry) error {
	if err := e.Record.valid(); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrSnapshot, e.Node, err)
	}
	b.put(e.Node, e.Record)
	return nil
}

// valid says what no sequence of outcomes could have made of a record.
func (r *Record) valid() error {
	for _, n := range r.counts() {
		if *n < 0 || *n > mostCount {
			return fmt.Errorf("count %d", *n)
		}
	}
	if r.Spent < FirstQuota-MostQuota || r.Spent >= FirstQuota {
		return fmt.Errorf("quota %d", FirstQuota-r.Spent)
	}
	return nil
}

// Len is the number of nodes known.
func (b *Book) Len() int { return len(b.records) }

// Snapshot returns every record, in order of node.
func (b *Book) Snapshot() []Entry {
	list := make([]Entry, 0, len(b.records))
	for node, r := range b.records {
		list = append(list, Entry{Node: node, Record: r})
	}
	slices.SortFunc(list, func(x, y Entry) int { return bytes.Compare(x.Node[:], y.Node[:]) })
	return list
}

// Restore makes the book a snapshot was taken of.
func Restore(list []Entry) (*Book, error) {
	if len(list) > MaxNodes {
		return nil, fmt.Errorf("%w: %d nodes, at most %d", ErrSnapshot, len(list), MaxNodes)
	}
	b := NewBook()
	for i := range list {
		if _, twice := b.records[list[i].Node]; twice {
			return nil, fmt.Errorf("%w: %s twice", ErrSnapshot, list[i].Node)
		}
		if err := b.Set(list[i]); err != nil {
			return nil, err
		}
	}
	return b, nil
}
