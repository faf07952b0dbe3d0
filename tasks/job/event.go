package job

import (
	"errors"
	"fmt"

	"kith/storage/dag"
	"kith/tasks"
)

// Ref names a task within its job.
type Ref struct {
	_     struct{} `cbor:",toarray"`
	Stage int
	Index int
}

// String returns "stage/index".
func (r Ref) String() string { return fmt.Sprintf("%d/%d", r.Stage, r.Index) }

// Event is something that happened to a job. Step folds it into the state. The logged ones are encoded by Encode.
type Event interface{ tag() uint64 }

// The logged events. Every one can be written by Encode and read by Decode.
type (
	// Accepted begins a job. Secret is the root of the job's salts and sealing keys.
	Accepted struct {
		_      struct{} `cbor:",toarray"`
		Job    tasks.Job
		Secret [32]byte
	}
	// Planned lays the job out. Input says whether Parts events with the roots of the parts follow; the job runs when
	// all have come.
	Planned struct {
		_      struct{} `cbor:",toarray"`
		Stages []tasks.Stage
		Parts  int
		Input  bool
	}
	// Parts names the inputs of the parts From, From+1, …
	Parts struct {
		_     struct{} `cbor:",toarray"`
		From  int
		Roots []dag.CID
	}
	// Granted says that leases were given to one worker.
	Granted struct {
		_      struct{} `cbor:",toarray"`
		Worker tasks.NodeID
		Items  []Grant
	}
	// Placed says where a worker is from now on, as far as it matters for diversity. It comes before the worker's first
	// lease of the job and whenever the place changes.
	Placed struct {
		_      struct{} `cbor:",toarray"`
		Worker tasks.NodeID
		Place  Place
	}
	// Sole is Granted to a worker that has earned to be believed alone (tasks.Adaptive); about one in OneIn of its results
	// is audited.
	Sole struct {
		_      struct{} `cbor:",toarray"`
		Worker tasks.NodeID
		Items  []Grant
		OneIn  int
	}
	// Left says that a worker that handed a lease back left a checkpoint, which is in the store now: how far it was, of how
	// much, and what it had cost so far.
	Left struct {
		_         struct{} `cbor:",toarray"`
		Task      Ref
		Worker    tasks.NodeID
		Lease     tasks.LeaseID
		Root      dag.CID
		Bytes     int64
		Done      int64
		Total     int64
		CPUMillis int64
	}
	// Carried is Granted for one lease that goes on from a checkpoint (see State.Carry).
	Carried struct {
		_      struct{} `cbor:",toarray"`
		Worker tasks.NodeID
		Item   Grant
		Root   dag.CID
	}
	// Mislaid says that a checkpoint is no longer in the store, or not to be gone on from.
	Mislaid struct {
		_    struct{} `cbor:",toarray"`
		Task Ref
		Root dag.CID
	}
	// Provisional ends tasks of an adaptive job, until it is over: durable before it takes effect. Round is the one the
	// verdicts were reached in. The workers of Known leases were told before that their results count.
	Provisional struct {
		_     struct{} `cbor:",toarray"`
		Round int
		Items []Decision
		Known []tasks.LeaseID
	}
	// Disproved says that a worker is proven to have lied: durable before it takes effect. Cleared takes that back for
	// the future.
	Disproved struct {
		_      struct{} `cbor:",toarray"`
		Worker tasks.NodeID
	}
	Cleared struct {
		_      struct{} `cbor:",toarray"`
		Worker tasks.NodeID
	}
	// Doubted says that this node could not work with what the tasks From to To-1 of a stage put out: results among them
	// that stand alone are audited.
	Doubted struct {
		_        struct{} `cbor:",toarray"`
		Stage    int
		From, To int
	}
	// Returned says that a worker handed a lease back.
	Returned struct {
		_      struct{} `cbor:",toarray"`
		Worker tasks.NodeID
		Lease  tasks.LeaseID
		Reason tasks.Reason
	}
	// Verdicts ends tasks: durable before it takes effect.
	Verdicts struct {
		_     struct{} `cbor:",toarray"`
		Items []Decision
	}
	// Reopened says that the accepted output of a task, or what a gather wrote (Ref{stage, 0}), is no longer in the
	// store; the work is done again.
	Reopened struct {
		_    struct{} `cbor:",toarray"`
		Task Ref
	}
	// Gathered names what the gather stage wrote for the parts From, From+1, …; the stage is done when all have come.
	Gathered struct {
		_     struct{} `cbor:",toarray"`
		Stage int
		From  int
		Roots []dag.CID
	}
	// Merged says that one node of the merge tree is done: durable before it takes effect.
	Merged struct {
		_     struct{} `cbor:",toarray"`
		Level int
		Index int
		Root  dag.CID
	}
	// Unmerged says that the root of a merge is no longer in the store; merging begins again from the accepted outputs.
	Unmerged struct {
		_ struct{} `cbor:",toarray"`
	}
	// Done ends a job with its result.
	Done struct {
		_    struct{} `cbor:",toarray"`
		Root dag.CID
	}
	// Ended ends a job without a result.
	Ended struct {
		_         struct{} `cbor:",toarray"`
		Cancelled bool
		Reason    tasks.Reason
	}
)

// Place is where a worker is: replicas count together only if their workers differ in Group and Account. An empty field is not
// known and demands nothing.
type Place struct {
	_       struct{} `cbor:",toarray"`
	Group   string   // network origin
	Account string   // whose it is
	// Floats names the equivalence class of its floats for each kind that has one (see Floats). Within one, numeric results
	// must be the same bytes.
	Floats string
}

// near reports whether two places do not count as independent.
func near(a, b *Place) bool {
	return a.Group != "" && a.Group == b.Group || a.Account != "" && a.Account == b.Account
}

// Grant is one lease of one replica.
type Grant struct {
	_       struct{} `cbor:",toarray"`
	Task    Ref
	Attempt int
	Lease   tasks.LeaseID
	Expiry  int64 // Unix milliseconds
}

// Decision is the verdict on one task: the accepted output and what became of every replica.
type Decision struct {
	_        struct{} `cbor:",toarray"`
	Task     Ref
	Root     dag.CID
	Bytes    int64
	Replicas []Settled
	// Not written down: the round it was reached in, and the leases whose workers were told before that they count.
	Round int             `cbor:"-"`
	Known []tasks.LeaseID `cbor:"-"`
	Turns bool            `cbor:"-"` // it overturns an earlier verdict
}

// Settled is what became of one replica.
type Settled struct {
	_          struct{} `cbor:",toarray"`
	Worker     tasks.NodeID
	Lease      tasks.LeaseID
	Outcome    tasks.Outcome
	WallMillis int64
	CPUMillis  int64
	Root       dag.CID `cbor:"-"` // of its own result, or of one that agrees with it: equal means agreed
}

// The events that are not logged, because they come again by themselves after a restart.
type (
	// Composed names the inputs of a task whose inputs are made for it (see Compose), and the task's id.
	Composed struct {
		Task   Ref
		ID     tasks.TaskID
		Inputs []dag.CID
	}
	// Heartbeat says that a worker holds a lease, whether it is running already, and how much of how much it has done.
	Heartbeat struct {
		Worker      tasks.NodeID
		Lease       tasks.LeaseID
		Running     bool
		Done, Total int64
	}
	// Committed brings one commit.
	Committed struct {
		Worker tasks.NodeID
		Commit tasks.Commit
	}
	// Revealed opens a commit. Checked says that the digest was already compared with the bytes, Good with what result.
	Revealed struct {
		Worker        tasks.NodeID
		Reveal        *tasks.Reveal
		Checked, Good bool
	}
	// Checked brings the comparison of digests with the bytes of one root. Replicas in neither list keep waiting.
	// Missing means that the bytes could not be had from the workers in Bad.
	Checked struct {
		Task      Ref
		Root      dag.CID
		Good, Bad []tasks.LeaseID
		Missing   bool
	}
	// Compared answers Actions.Compare: which pairs agree. Failed means that this node could not find out, for a reason
	// of its own; Retry asks again.
	Compared struct {
		Task   Ref
		Pairs  [][2]dag.CID
		Agree  []bool
		Failed bool
	}
	// SessionUp and SessionDown say whether a worker can be talked to. Lost says that nothing lets one expect it back within
	// moments, as one whose relay cut the connection is: what it has may be given to others at once. It counts still if it
	// comes in time.
	SessionUp   struct{ Worker tasks.NodeID }
	SessionDown struct {
		Worker tasks.NodeID
		Lost   bool
	}
	// Forgotten says that the worker no longer holds the lease, though nobody returned it.
	Forgotten struct {
		Worker tasks.NodeID
		Lease  tasks.LeaseID
	}
	// Undecided takes a verdict back that could not be made durable.
	Undecided struct{ Task Ref }
	// GatherFailed, ComposeFailed and MergeFailed let the driver's own work be asked for again.
	GatherFailed  struct{ Stage int }
	ComposeFailed struct{ Task Ref }
	MergeFailed   struct{ Level, Index int }
	// Tick says that time has passed.
	Tick struct{}
)

// ErrEvent: the bytes are not an event of a job's log.
var ErrEvent = errors.New("not an event of a job")

const notLogged = 0

func (*Accepted) tag() uint64     { return 1 }
func (*Planned) tag() uint64      { return 2 }
func (*Parts) tag() uint64        { return 3 }
func (*Granted) tag() uint64      { return 4 }
func (*Returned) tag() uint64     { return 5 }
func (*Verdicts) tag() uint64     { return 6 }
func (*Reopened) tag() uint64     { return 7 }
func (*Gathered) tag() uint64     { return 8 }
func (*Merged) tag() uint64       { return 9 }
func (*Unmerged) tag() uint64     { return 10 }
func (*Done) tag() uint64         { return 11 }
func (*Ended) tag() uint64        { return 12 }
func (*Placed) tag() uint64       { return 13 }
func (*Sole) tag() uint64         { return 14 }
func (*Provisional) tag() uint64  { return 15 }
func (*Disproved) tag() uint64    { return 16 }
func (*Cleared) tag() uint64      { return 17 }
func (*Doubted) tag() uint64      { return 18 }
func (*Left) tag() uint64         { return 19 }
func (*Carried) tag() uint64      { return 20 }
func (*Mislaid) tag() uint64      { return 21 }
func (Composed) tag() uint64      { return notLogged }
func (Heartbeat) tag() uint64     { return notLogged }
func (Committed) tag() uint64     { return notLogged }
func (Revealed) tag() uint64      { return notLogged }
func (Checked) tag() uint64       { return notLogged }
func (Compared) tag() uint64      { return notLogged }
func (SessionUp) tag() uint64     { return notLogged }
func (SessionDown) tag() uint64   { return notLogged }
func (Forgotten) tag() uint64     { return notLogged }
func (Undecided) tag() uint64     { return notLogged }
func (GatherFailed) tag() uint64  { return notLogged }
func (ComposeFailed) tag() uint64 { return notLogged }
func (MergeFailed) tag() uint64   { return notLogged }
func (Tick) tag() uint64          { return notLogged }

// Durable reports whether the event must be on stable storage before it is folded.
func Durable(ev Event) bool {
	switch ev.(type) {
	case *Accepted, *Verdicts, *Provisional, *Disproved, *Merged, *Done, *Ended:
		return true
	}
	return false
}

func blank(tag uint64) Event {
	switch tag {
	case 1:
		return new(Accepted)
	case 2:
		return new(Planned)
	case 3:
		return new(Parts)
	case 4:
		return new(Granted)
	case 5:
		return new(Returned)
	case 6:
		return new(Verdicts)
	case 7:
		return new(Reopened)
	case 8:
		return new(Gathered)
	case 9:
		return new(Merged)
	case 10:
		return new(Unmerged)
	case 11:
		return new(Done)
	case 12:
		return new(Ended)
	case 13:
		return new(Placed)
	case 14:
		return new(Sole)
	case 15:
		return new(Provisional)
	case 16:
		return new(Disproved)
	case 17:
		return new(Cleared)
	case 18:
		return new(Doubted)
	case 19:
		return new(Left)
	case 20:
		return new(Carried)
	case 21:
		return new(Mislaid)
	}
	return nil
}

// Encode writes a logged event: one byte of tag, then DAG-CBOR.
func Encode(ev Event) ([]byte, error) {
	if ev.tag() == notLogged {
		return nil, fmt.Errorf("%w: %T is not logged", ErrEvent, ev)
	}
	body, err := dag.Marshal(ev)
	if err != nil {
		return nil, err
	}
	return append([]byte{byte(ev.tag())}, body...), nil
}

// Decode reads what Encode wrote.
func Decode(b []byte) (Event, error) {
	if len(b) == 0 {
		return nil, fmt.Errorf("%w: empty", ErrEvent)
	}
	ev := blank(uint64(b[0]))
	if ev == nil {
		return nil, fmt.Errorf("%w: tag %d", ErrEvent, b[0])
	}
	if err := dag.Unmarshal(b[1:], ev); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrEvent, err)
	}
	return ev, nil
}
