package submit

import (
	"errors"
	"time"

	"kith/storage/dag"
	"kith/tasks"
	"kith/tasks/job"
	"kith/tasks/trust"
	"kith/tasks/wire"
)

// Errors of a Driver. Match them with errors.Is.
var (
	ErrNoJob   = errors.New("no such job")
	ErrBusy    = errors.New("too many unfinished jobs")
	ErrStopped = errors.New("the submitter has stopped")
	// ErrNoCase: nothing is held against the worker that an appeal could lift.
	ErrNoCase = errors.New("nothing is held against this node that an appeal could lift")
	// ErrPrivate: the input may not leave this machine.
	ErrPrivate = errors.New("private data is never given to another node")
)

// Status is one job at one moment.
type Status struct {
	job.Summary
	Spec       tasks.Spec
	SpecRoot   dag.CID
	Finished   int64         // Unix milliseconds; 0 while it runs, or if it ended before the last start
	Throughput float64       // verdicts a second, over the last seconds of work
	ETA        time.Duration // until the last verdict; 0: unknown
	Blame      []Blame       // workers that were caught
}

// Blame names a worker and what it did in one job.
type Blame struct {
	Worker  tasks.NodeID
	Outcome tasks.Outcome // Outvoted, Forged or Withheld
	Count   int
}

// Explanation says what a job waits for, and what stands in the way of more workers.
type Explanation struct {
	Job   tasks.JobID
	Waits []job.Wait
	// Refused counts, by code, why connected or surplus workers got no task of this job.
	Refused map[tasks.Code]int
	Offers  int // published for this job so far
	Ring    int // of the last offer
	Reached int // nodes the last offer may have reached
	// Searches counts the searches for workers that offers do not reach, Searching says that one is under way, and Searched
	// what has come of them.
	Searches  int
	Searching bool
	Searched  Searched
	// NextOffer is when the next offer is due, in Unix milliseconds, while the job wants more workers than it has; else 0.
	NextOffer int64
}

// Trust is what this node thinks of the workers it has met.
type Trust struct {
	Records    []trust.Entry // faded to now
	Skills     []trust.Skill
	Lies       []trust.Lie
	Cases      []trust.Case
	Collusions []trust.Collusion
	Verdicts   int64
}

// Session is one connected worker.
type Session struct {
	Worker   tasks.NodeID
	Group    string // network origin, as replicas must differ in it; "": none
	Region   string
	Since    int64 // Unix milliseconds
	InFlight int   // leases that are not committed
	Room     int   // leases it would take beside them
	Load     int   // per mille, as it says
	Score    int   // what this node thinks of it: share of good work, 0 to 1000; 500 of one never seen
}

// Receipts is one batch of the two-sided account, signed by this node and, when Countersigned, by the worker.
type Receipts struct {
	Worker        tasks.NodeID
	At            int64 // Unix milliseconds
	Batch         wire.Receipts
	Ack           wire.Signature
	Countersigned bool
}

// Evidence is everything this node can show about one job's workers.
type Evidence struct {
	Job       tasks.JobID
	Receipts  []Receipts
	Conflicts []wire.Evidence // proofs of equivocation, of any job
	Blame     []Blame
}
