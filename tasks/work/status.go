package work

import (
	"kith/tasks"
	"kith/tasks/wire"
)

// Status is what this node does for others at one moment.
type Status struct {
	Paused   bool
	Killed   bool
	Slots    int
	Running  []Running
	Sessions []Session
	Done     int64 // tasks accepted since the start
	NoWork   []NoWork
}

// Running is one task at work.
type Running struct {
	Submitter tasks.NodeID
	Job       tasks.JobID
	Lease     tasks.LeaseID
	Kinds     []string // kind/phase of its steps
	Index     int
	State     wire.LeaseState
	Since     int64 // Unix milliseconds
	Done      int64 // bytes of input
	Total     int64
}

// Session is one submitter this node works for.
type Session struct {
	Submitter tasks.NodeID
	Since     int64 // Unix milliseconds
	Connected bool
	Queued    int // leases that wait for a slot
	Pending   int // outputs without a verdict
	Accepted  int64
	Why       *tasks.Reason // why it gives no work at present; nil: it does
}

// NoWork counts one reason for having had no work since the start, the most frequent first.
type NoWork struct {
	Reason tasks.Reason // the last of its code
	Count  int
}

// Receipts is one batch of the two-sided account, signed by both.
type Receipts struct {
	Submitter tasks.NodeID   `cbor:"from" json:"submitter"`
	At        int64          `cbor:"at" json:"at"` // Unix milliseconds
	Batch     wire.Receipts  `cbor:"batch" json:"batch"`
	Ack       wire.Signature `cbor:"ack" json:"ack"`
}
