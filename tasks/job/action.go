package job

import (
	"kith/storage/dag"
	"kith/tasks"
	"kith/tasks/merge"
)

// Actions is what a step asks its driver to do. The zero value asks for nothing. Want is not here: which replicas are
// wanted is asked by Pick, when a worker has room.
type Actions struct {
	Reveal  []Asked       // tell the worker to open its commit
	Check   []Examine     // fetch one copy and compare every replica's digest with the bytes
	Compare []CompareTask // find which outputs agree, then step Compared
	Decide  []Decision    // store the accepted output, make a Verdicts event durable, then step it
	Cancel  []Asked       // tell the worker to stop
	Settle  []Outcome     // tell the worker how its replica ended
	Compose []Compose     // make the inputs of a task, then step Composed
	Gather  []GatherStage // run a gather, then step Gathered
	Merge   []merge.Step  // run one merge, make Merged durable, then step it
	Finish  *Done         // make it durable, then step it
	End     *Ended        // make it durable, then step it
	Opened  bool          // tasks became open: free workers may have work now
}

// Asked is one lease of one worker.
type Asked struct {
	Worker tasks.NodeID
	Lease  tasks.LeaseID
	Reason tasks.Code // of a cancel
}

// Outcome is the end of one replica before its task's verdict.
type Outcome struct {
	Worker  tasks.NodeID
	Verdict tasks.Verdict
}

// Examine names one distinct root of a task and everybody who claims it.
type Examine struct {
	Task   Ref
	Root   dag.CID
	Bytes  int64
	Claims []Claim
}

// Claim is one replica's digest over the bytes of a root, salted with its lease's salt.
type Claim struct {
	Worker tasks.NodeID
	Lease  tasks.LeaseID
	Digest [32]byte
}

// Compose asks for the inputs of a task that are made for it alone: those of a reduce task, the files of key range
// Task.Index out of every output of the stage before; and those of every task of a job with approved inputs, sealed.
type Compose struct {
	Task Ref
	From []dag.CID // reduce: all outputs of the stage before, in part order; map: the plain inputs
}

// GatherStage asks for a gather.
type GatherStage struct {
	Stage  int
	Inputs []dag.CID // outputs of the stage before, in order
}
