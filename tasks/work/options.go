package work

import (
	"context"
	"crypto/ed25519"
	"io"
	"log/slog"
	"time"

	"kith/storage"
	"kith/storage/dag"
	"kith/tasks"
	"kith/tasks/execute"
)

// Options are the parts a Driver is made of. Fields without "may be nil" or a default must be set.
type Options struct {
	Network  string
	Key      ed25519.PrivateKey // of this node
	Kinds    tasks.Registry
	Blobs    storage.Blobs
	Log      Log  // the driver's own; nobody else writes to it
	Book     Book // where receipts are kept, for ever; may be nil: they are not
	Executor Executor
	Fetcher  Fetcher
	Depots   Depots // may be nil: depots that leases name are not used
	Dialer   Dialer
	// Fits is the owner's word on a task that was offered, before anything of it is fetched: the reason why it could never
	// run here, or nil. It must return at once. It may be nil: everything fits.
	Fits func(tasks.Assignment) (refused *tasks.Reason)
	// Admit is the owner's word on one task under this moment's limits: a release function to call when the task has
	// ended, or the reason why not. Until then the owner may call stop, from any goroutine: the task ends and goes back with
	// that reason. It must return at once. It may be nil: everything is admitted.
	Admit func(a tasks.Assignment, stop func(tasks.Reason)) (release func(), refused *tasks.Reason)
	// Turn says how a submitter stands with the owner at present. It may be nil: all alike.
	Turn func(submitter tasks.NodeID) Turn
	// Capability returns this node's signed capability record. Membership returns its hub credential, or nil; it may be nil.
	Capability func() []byte
	Membership func() []byte
	// Allowed reports whether the owner lets this kind run. It may be nil: all kinds of the registry.
	Allowed func(kind string) bool
	// Sandbox is the grade of the executor's sandbox now: kinds that need more are refused, and below the least grade all
	// are. It may be nil: nothing is refused for that.
	Sandbox func() tasks.SandboxGrade
	// Audience estimates how many nodes hear an offer of this device class and ring; it may be nil: 1.
	Audience func(class tasks.DeviceClass, ring int) int
	// Load is how busy other programs keep this machine, per mille. It is asked with every heartbeat, must answer at once and
	// may be nil: they do not.
	Load func() int
	// Weight is the part of the slots a kind of work gets for a submitter, against others: at least 1. It may be nil: all
	// are equal. It is called for every task that starts and ends, and may answer differently at any time.
	Weight func(submitter tasks.NodeID, kind string) int
	// Slots is how many tasks run at once. 0: the number of processors.
	Slots int
	// MaxSubmitters is how many sessions are open at once. 0: 16.
	MaxSubmitters int
	// NoPath is how long fetching an input may stand still before its lease goes back. 0: 10 s.
	NoPath time.Duration
	// Heartbeat is the time between heartbeats of a session that holds leases. 0: 5 s.
	Heartbeat time.Duration
	// SnapshotEvery is the number of log records between snapshots. 0: 50,000.
	SnapshotEvery int
	Logger        *slog.Logger // may be nil
}

// Turn is how a submitter stands with the owner.
type Turn struct {
	Rank int  // tasks of a lower rank run first; those of equal rank take turns
	Wait bool // nothing of it is begun at present
	Keen bool // its offers are never left to others
}

// Log is an append-only log of records with group commit; *eventlog.Log is one.
type Log interface {
	// Append never waits for the disk. done, if not nil, is called once, from another goroutine: after the record is on
	// stable storage if durable, else after it was written.
	Append(rec []byte, durable bool, done func(seq uint64, err error))
	Replay(from uint64, fn func(seq uint64, rec []byte) error) error
	WriteSnapshot(seq uint64, write func(io.Writer) error) error
	// Snapshot returns the newest valid snapshot, or storage.ErrNotFound.
	Snapshot() (seq uint64, r io.ReadCloser, err error)
}

// Book is an append-only log without snapshots; *eventlog.Log is one.
type Book interface {
	Append(rec []byte, durable bool, done func(seq uint64, err error))
	Replay(from uint64, fn func(seq uint64, rec []byte) error) error
}

// Executor runs assignments; *execute.Executor is one.
type Executor interface {
	Run(ctx context.Context, a tasks.Assignment, progress func(done, total int64)) (execute.Output, error)
	Digest(ctx context.Context, salts [][32]byte, root dag.CID, blocks []storage.Block) ([][32]byte, error)
	// Pack stores a DAG sealed and returns the root of the sealed form and its size.
	Pack(ctx context.Context, root dag.CID, key [32]byte) (dag.CID, int64, error)
	Release(job tasks.JobID)
}

// Fetcher brings a task's inputs here.
type Fetcher interface {
	// FetchInput stores every block of an input in the driver's Blobs and returns when all are there. It calls arrived
	// with the blocks that came, and only those, from any goroutine.
	FetchInput(ctx context.Context, in Input, arrived func([]dag.CID)) error
}

// Input is one input of a lease.
type Input struct {
	Submitter tasks.NodeID
	Lease     tasks.LeaseID
	Root      dag.CID
	// Public is the root under which those who hold the job's public data are announced: then anyone may be asked, the
	// submitter first. If it is zero, nobody but the submitter may learn what is asked for.
	Public dag.CID
}

// Depots passes blocks on through a third node when there is no direct path to a submitter.
type Depots interface {
	// Direct reports whether a direct connection to a node exists at this moment.
	Direct(node tasks.NodeID) bool
	// Deposit leaves every block below root at a depot until a time.
	Deposit(ctx context.Context, at tasks.Depot, root dag.CID, until time.Time) error
	// Collect stores every block below root, at most most bytes (0: no limit), from a depot by right of a token for a lease.
	// It calls arrived with the blocks that came.
	Collect(ctx context.Context, at tasks.Depot, lease tasks.LeaseID, root dag.CID, token []byte, most int64, arrived func([]dag.CID)) error
}

// Dialer opens session streams to submitters.
type Dialer interface {
	// DialSession connects to a submitter, at these addresses first, and returns an authenticated stream.
	DialSession(ctx context.Context, submitter tasks.NodeID, addresses []string) (Stream, error)
}

// Stream is one session's connection. Close unblocks Read and Write.
type Stream interface {
	io.ReadWriteCloser
	SetDeadline(time.Time) error
	Remote() tasks.NodeID
	Version() int // of the session's protocol: 1, or wire.SessionVersion
}
