package submit

import (
	"context"
	"crypto/ed25519"
	"io"
	"log/slog"
	"net/netip"
	"time"

	"kith/storage"
	"kith/storage/dag"
	"kith/tasks"
)

// Options are the parts a Driver is made of. Fields without "may be nil" or a default must be set.
type Options struct {
	Network  string
	Key      ed25519.PrivateKey // of this node
	Kinds    tasks.Registry
	Blobs    storage.Blobs
	Log      Log  // the driver's own; nobody else writes to it
	Book     Book // where receipts and evidence are kept, for ever; may be nil: they are not
	Executor Executor
	Fetcher  Fetcher
	Carrier  Carrier // may be nil: of checkpoints only those come here that fit a message
	Depots   Depots  // may be nil: workers that can be reached through a relay only are served as if they could be reached
	Offers   Publisher
	Searcher Searcher // may be nil: only who hears an offer is asked
	// Addresses returns at most four addresses under which workers can dial this node, best first. It may be nil.
	Addresses func() []string
	// Region returns this node's country, or "". It may be nil.
	Region func() string
	// Locate returns the country in which this node itself sees a worker, by the address of its direct connection and how far
	// it is (0: unknown); "" if it cannot tell. It is called in the loop and may be nil: it never can.
	Locate func(from netip.Addr, rtt time.Duration) string
	// RTT returns how far a connected worker is, 0 if that is not known. It is called from any goroutine and may be nil.
	RTT func(worker tasks.NodeID) time.Duration
	// Vet looks at a worker before it is welcomed: its verified capability record and membership credential. It returns
	// the account the worker counts under ("": its own) and a reason to refuse it. It may be nil.
	Vet func(worker tasks.NodeID, membership []byte) (account string, refused *tasks.Reason)
	// Rates keeps what tasks took over restarts, so that parts of the next job have the right size. It may be nil: it is
	// measured anew.
	Rates Memory
	// LAN says that private and loopback addresses do not make workers neighbours of one another.
	LAN bool
	// Provider is the number of the autonomous system of an address, 0 where it is not known; replicas then come from
	// different ones. It may be nil: none is known.
	Provider func(netip.Addr) uint
	// MaxSessions is how many workers may be connected at once. 0: 256.
	MaxSessions int
	// MaxJobs is how many jobs may be unfinished at once. 0: 1024.
	MaxJobs int
	// Parallel is how many splits, gathers, merges and large digests run at once. 0: the number of processors.
	Parallel int
	// Checkpoints bounds the checkpoints of all jobs that are kept for tasks that move, in bytes. 0: 1 GiB; less: none.
	Checkpoints int64
	// SnapshotEvery is the number of log records between snapshots. 0: 50,000.
	SnapshotEvery int
	Logger        *slog.Logger // may be nil
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

// Executor is the submitter's own half of the work; *execute.Executor is one.
type Executor interface {
	Split(ctx context.Context, job tasks.Job) ([]dag.CID, error)
	Digest(ctx context.Context, salts [][32]byte, root dag.CID, blocks []storage.Block) ([][32]byte, error)
	Gather(ctx context.Context, job tasks.Job, stage tasks.Stage, parts int, inputs []dag.CID) ([]dag.CID, error)
	Merge(ctx context.Context, job tasks.Job, step tasks.Step, inputs []dag.CID) (dag.CID, error)
	// Compare says, for each pair of outputs of a stage that are in the store, whether they agree as its kind demands.
	Compare(ctx context.Context, job tasks.Job, stage tasks.Stage, pairs [][2]dag.CID) ([]bool, error)
	ReduceInput(ctx context.Context, r int, outputs []dag.CID) ([]dag.CID, error)
	// Seal stores a folder encrypted and returns the root of the sealed form.
	Seal(ctx context.Context, root dag.CID, key [32]byte) (dag.CID, error)
	// Unpack stores a DAG of at most most bytes from the sealed form that a worker made of it.
	Unpack(ctx context.Context, sealed dag.CID, key [32]byte, root dag.CID, most int64) error
	Release(job tasks.JobID)
}

// Fetcher brings a worker's output here.
type Fetcher interface {
	// FetchOutput stores every block below root in the driver's Blobs, asking that worker alone, and returns when all
	// are there. lease is the lease the output was made under. It gives up when ctx ends.
	FetchOutput(ctx context.Context, worker tasks.NodeID, lease tasks.LeaseID, root dag.CID) error
}

// Carrier brings the checkpoint of a task that a worker has handed back here.
type Carrier interface {
	// FetchCheckpoint is Fetcher.FetchOutput for a folder of at most most bytes with all that belongs to it.
	FetchCheckpoint(ctx context.Context, worker tasks.NodeID, lease tasks.LeaseID, root dag.CID, most int64) error
}

// Depots passes blocks on through a third node when a worker has no direct path to this one.
type Depots interface {
	// Direct reports whether a direct connection to a node exists at this moment. It is called in the loop.
	Direct(node tasks.NodeID) bool
	// Choose returns a depot that is thought to work, for a job or a lease to come; false: none is known. It returns at once.
	Choose() (depot tasks.NodeID, addresses []string, ok bool)
	// Deposit leaves every block below root at a depot until a time.
	Deposit(ctx context.Context, at tasks.Depot, root dag.CID, until time.Time) error
	// Collect stores every block below root, at most most bytes, from a depot by right of a token for a lease.
	Collect(ctx context.Context, at tasks.Depot, lease tasks.LeaseID, root dag.CID, token []byte, most int64, arrived func([]dag.CID)) error
}

// Publisher makes offers heard.
type Publisher interface {
	// Publish sends a signed offer to the topics of a device class in ring 0 (own region) or further rings. It returns
	// how many nodes it may have reached.
	Publish(ctx context.Context, class tasks.DeviceClass, ring int, offer []byte) (audience int, err error)
}

// Searcher finds workers that offers do not reach.
type Searcher interface {
	// Search looks for workers and hands the offer to those it finds. It returns when as many come as are missing, when it
	// has gone as far as one search may, or when ctx ends.
	Search(ctx context.Context, w Wanted) Searched
}

// Wanted is what a search is for.
type Wanted struct {
	Job      tasks.JobID
	Offer    []byte // signed
	Missing  int    // workers
	Class    tasks.DeviceClass
	Band     int // least grade
	Sandbox  tasks.SandboxGrade
	Memory   int64
	Kinds    []string
	Regions  []string // countries; empty: any
	Excluded []string
	Known    []tasks.NodeID // workers that need not be found
}

// Searched is what came of searches.
type Searched struct {
	Asked    int                // nodes that were asked for others
	Messages int                // questions and answers
	Hints    int                // nodes that the directory named
	Found    int                // nodes that would do, by their own signed records
	Invited  int                // of them, those that were handed the offer
	Coming   int                // of them, those that said they come
	Refused  map[tasks.Code]int // and why others did not
}

// Stream is one session's connection, opened by a worker. Its other end is authenticated. Close unblocks Read and Write.
type Stream interface {
	io.ReadWriteCloser
	SetDeadline(time.Time) error
	Remote() tasks.NodeID
	RemoteAddr() netip.Addr // observed; invalid if unknown
	Relayed() bool
	Version() int // of the session's protocol: 1, or wire.SessionVersion
}
