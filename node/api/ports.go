package api

import (
	"context"
	"io"
	"time"

	"kith/node/config"
	"kith/node/grading"
	"kith/tasks/wire"
)

// Observer tells how the node is. It answers from the first moment, while the node is still opening its stores.
type Observer interface {
	// Status is called up to four times a second while a page is open, and must be cheap.
	Status() Status
	Peers() []Peer
	Why() Why
}

// Switch is the owner's hand on the node.
type Switch interface {
	// SetOwner moves to "working", "paused" or "killed" and returns when that is durable and in effect.
	SetOwner(ctx context.Context, state string) (Owner, error)
	// Snooze pauses for a while, beside the switch, and goes on over a restart; 0 ends it.
	Snooze(ctx context.Context, d time.Duration) (Owner, error)
}

// Notices are what the stewards of the network order.
type Notices interface {
	// Notices lists those this node holds, the newest first.
	Notices(ctx context.Context) ([]Notice, error)
	// PublishNotice acts upon a signed notice and passes it on.
	PublishNotice(ctx context.Context, notice []byte) (Notice, error)
}

// Jobs shows this node's own jobs. An id may be any unambiguous beginning of one.
type Jobs interface {
	Jobs() []Job
	Job(id string) (JobDetail, error)
	Explain(id string) (Explanation, error)
}

// Submitter begins and ends jobs.
type Submitter interface {
	// Submit reads the input, tells progress now and then, and returns once the job is durable.
	Submit(ctx context.Context, s Submit, progress func(Import)) (JobDetail, error)
	Cancel(ctx context.Context, id string) (JobDetail, error)
	// Imports lists the inputs being read in.
	Imports() []Import
}

// Results hands out the results of finished jobs.
type Results interface {
	// Tar writes the files of a result as a tar stream. An error before the first byte is told to the caller of the API.
	Tar(ctx context.Context, id string, w io.Writer) error
	Export(ctx context.Context, id, dir string) (Exported, error)
}

// Catalogue shows the kinds of work there are.
type Catalogue interface {
	Kinds() []Kind
}

// Grader measures and judges this machine.
type Grader interface {
	Grade() grading.Report
	// Bench measures now, on the owner's word, and returns when it is done. An end of ctx ends it.
	Bench(ctx context.Context, r grading.Request, progress func(grading.Progress)) (grading.Report, error)
}

// Records shows what was signed and proven.
type Records interface {
	// Receipts returns the newest limit receipts of one job, or of all if job is empty.
	Receipts(ctx context.Context, job string, limit int) ([]Receipt, error)
	Evidence(ctx context.Context) ([]Evidence, error)
	// Bundle is the signed proof of it all, of one job or of everything.
	Bundle(ctx context.Context, job string) (*wire.Bundle, error)
	// Credit adds up all receipts and claims of this node. It checks every signature.
	Credit(ctx context.Context) (Credit, error)
	// Replay does the task of one receipt again, in this node's own sandbox. id is the receipt's lease, or an
	// unambiguous beginning of it.
	Replay(ctx context.Context, id string) (Replay, error)
}

// Judge shows what this node thinks of workers.
type Judge interface {
	Trust(ctx context.Context) ([]Trust, error)
	// Appeal lifts a suspension; node may be an unambiguous beginning of an id.
	Appeal(ctx context.Context, node string) (Trust, error)
}

// Ports is what the API stands on.
type Ports struct {
	Notices   Notices
	Jobs      Jobs
	Submitter Submitter
	Results   Results
	Records   Records
	Judge     Judge
	Catalogue Catalogue
	Switch    Switch
	Grader    Grader
	Drives    Drives
	Space     Space
	Settings  *config.Store
}
