package tasks

import "kith/storage/dag"

// Assignment is what a worker must know to run one task: all of it is under the submitter's signature.
type Assignment struct {
	Job    JobID     `cbor:"job" json:"job"`
	Task   TaskID    `cbor:"task" json:"task"`
	Stage  int       `cbor:"stage" json:"stage"`
	Mode   Mode      `cbor:"mode" json:"mode"`
	Index  int       `cbor:"index" json:"index"`
	Parts  int       `cbor:"parts" json:"parts"`
	Ranges int       `cbor:"ranges" json:"ranges"`
	Steps  []Step    `cbor:"steps" json:"steps"`
	Inputs []dag.CID `cbor:"in" json:"inputs"` // one directory root for each Call.In of the first step
	Keys   [][]byte  `cbor:"keys" json:"-"`    // sealing key of each input: 32 bytes, or empty if the input is not sealed
	Public dag.CID   `cbor:"pub" json:"-"`     // announced root of the job's public data: the inputs may come from anyone; zero: from the submitter alone
	Seed   [32]byte  `cbor:"seed" json:"-"`
	Limits Limits    `cbor:"limits" json:"limits"`
}

// Lease is the submitter's signed promise: do this task until then, and it counts.
type Lease struct {
	ID      LeaseID    `cbor:"id" json:"id"`
	Attempt int        `cbor:"try" json:"attempt"`
	Worker  NodeID     `cbor:"to" json:"worker"`
	Epoch   uint64     `cbor:"epoch" json:"epoch"` // of the session it was granted in
	Granted int64      `cbor:"at" json:"granted"`  // Unix milliseconds
	Expiry  int64      `cbor:"exp" json:"expiry"`  // Unix milliseconds: commit by then
	Salt    [32]byte   `cbor:"salt" json:"-"`      // secret between these two: what makes a commit unforgeable by a copier
	Do      Assignment `cbor:"do" json:"do"`
	Depot   *Depot     `cbor:"depot" json:"-"` // nil: none is needed, or none is known
	// Travel says what becomes of the task if it is handed back; nil: whoever has it next begins anew. Nodes that do not know
	// of it never see one.
	Travel *Travel `cbor:"travel,omitempty" json:"-"`
}

// Travel is what is agreed on the checkpoints of a task that moves from node to node.
type Travel struct {
	Most int64 `cbor:"most"` // bytes of the files of one that the submitter takes, at most
	// From is where the task goes on; nil: it begins. What does not come with it is fetched from the submitter, like an input.
	From *Point `cbor:"from"`
}

// Point is a checkpoint on its way: a folder.
type Point struct {
	Root      dag.CID `cbor:"root"`
	Bytes     int64   `cbor:"bytes"` // of its files
	Done      int64   `cbor:"done"`  // how far it is,
	Total     int64   `cbor:"total"` // of what; 0: that is not known
	CPUMillis int64   `cbor:"cpu"`   // that it has cost so far
	// Blocks carries all of it, depth first, when it is small (see wire.MaxInline): then nothing need be fetched from a node
	// that is about to go, or that no direct way leads to.
	Blocks [][]byte `cbor:"blocks"`
}

// Depot is a node through which a worker and a submitter without a direct path pass the blocks of one lease on.
type Depot struct {
	Node      NodeID   `cbor:"node" json:"node"`
	Addresses []string `cbor:"addr" json:"addresses"`
	Tokens    [][]byte `cbor:"tokens" json:"-"` // the right to fetch each of the assignment's inputs there (wire.FetchToken); empty: they do not lie there
}

// Parcel is an output on its way through a depot: sealed under OutputKey, so that the depot cannot read it.
type Parcel struct {
	Depot NodeID  `cbor:"at" json:"depot"`
	Root  dag.CID `cbor:"root" json:"root"`   // of the sealed form
	Bytes int64   `cbor:"bytes" json:"bytes"` // of the sealed form
	Token []byte  `cbor:"token" json:"-"`     // the right to fetch it (wire.FetchToken)
}

// OutputKey seals the output of a lease for its submitter: only the two of them know the lease's salt.
func OutputKey(salt [32]byte) [32]byte { return hashFields("kith/output-key/1", salt[:]) }

// Commit binds a worker to a result without showing it: a hash over lease, worker, root and digest (CommitHash).
type Commit struct {
	Lease LeaseID  `cbor:"lease" json:"lease"`
	Hash  [32]byte `cbor:"hash" json:"hash"`
}

// Reveal opens a commit: the root of the output folder, and Digest = H(salt ‖ output), which only somebody who holds
// every byte of the output can have computed.
type Reveal struct {
	Lease  LeaseID  `cbor:"lease" json:"lease"`
	Root   dag.CID  `cbor:"root" json:"root"`
	Digest [32]byte `cbor:"digest" json:"digest"`
	Bytes  int64    `cbor:"bytes" json:"bytes"` // size of the output's files together
	// Blocks carries the whole output DAG when it is small (see wire.MaxInline), so that no fetch is needed.
	Blocks [][]byte `cbor:"blocks" json:"-"`
	Parcel *Parcel  `cbor:"parcel" json:"-"` // a large output that cannot be fetched from the worker directly; else nil
	// What the worker measured.
	WallMillis int64 `cbor:"wall" json:"wallMillis"`
	CPUMillis  int64 `cbor:"cpu" json:"cpuMillis"`
}

// CommitHash is what Commit.Hash must hold for a reveal to open it.
func CommitHash(lease LeaseID, worker NodeID, root dag.CID, digest [32]byte) [32]byte {
	return hashFields("kith/commit/1", lease[:], worker[:], root[:], digest[:])
}

// Outcome is what became of one execution.
type Outcome string

// Outcomes.
const (
	Accepted  Outcome = "accepted"  // agreed with the quorum
	Outvoted  Outcome = "outvoted"  // a quorum agreed on something else
	Forged    Outcome = "forged"    // the reveal does not open the commit, or the digest is not of these bytes
	Withheld  Outcome = "withheld"  // committed, but did not reveal or deliver in time
	Lapsed    Outcome = "lapsed"    // no commit before expiry
	Returned  Outcome = "returned"  // handed back by the worker with a reason
	Cancelled Outcome = "cancelled" // no longer needed, still paid if committed and agreeing; or outvoted, and holding another's work too
)

// Verdict is the submitter's word on one lease.
type Verdict struct {
	Lease   LeaseID `cbor:"lease" json:"lease"`
	Outcome Outcome `cbor:"outcome" json:"outcome"`
	Root    dag.CID `cbor:"root" json:"root"` // the accepted output, if there is one
}

// Receipt is one line of the two-sided account: who did what for whom, and what it was worth. Receipts are signed in
// batches: both sides sign the Merkle root over a batch.
type Receipt struct {
	Job        JobID    `cbor:"job" json:"job"`
	Task       TaskID   `cbor:"task" json:"task"`
	Lease      LeaseID  `cbor:"lease" json:"lease"`
	Submitter  NodeID   `cbor:"from" json:"submitter"`
	Worker     NodeID   `cbor:"to" json:"worker"`
	Kinds      []string `cbor:"kinds" json:"kinds"` // kind/phase of each step
	Code       CodeHash `cbor:"code" json:"code"`
	Root       dag.CID  `cbor:"root" json:"root"` // result
	Outcome    Outcome  `cbor:"outcome" json:"outcome"`
	WallMillis int64    `cbor:"wall" json:"wallMillis"`
	CPUMillis  int64    `cbor:"cpu" json:"cpuMillis"`
	At         int64    `cbor:"at" json:"at"` // Unix milliseconds of the verdict
}
