package work

import (
	"context"
	"crypto/sha256"
	"slices"
	"sync"
	"time"

	"kith/storage/dag"
	"kith/tasks"
	"kith/tasks/execute"
)

// What is kept of tasks that were ended before their time. The oldest go first.
const (
	maxCheckpoints     = 64
	maxCheckpointBytes = 512 << 20
	checkpointKept     = 24 * time.Hour // after that nobody will lease the task again
)

// Checkpointer is an Executor that can go on with a task that was ended here before; *execute.Executor is one.
type Checkpointer interface {
	// RunFrom goes on from the folder below a root of execute.Output.Checkpoint; an undefined one is the beginning.
	RunFrom(ctx context.Context, a tasks.Assignment, key [32]byte, from dag.CID, progress func(done, total int64)) (execute.Output, error)
	// Salvaged returns what a kill of this program left, once.
	Salvaged() []execute.Checkpoint
}

// checkpoint is how far a task is that was ended here before its time. Its submitter may have it, if the lease says so, and
// nobody else.
type checkpoint struct {
	Key   [32]byte `cbor:"key"` // pointKey of the task
	Root  dag.CID  `cbor:"root"`
	Bytes int64    `cbor:"bytes"`
	At    int64    `cbor:"at"` // Unix milliseconds
}

// pointKey names a task that keeps checkpoints: by its submitter and by all it was told to do, so that nobody can have the
// checkpoint of another's task handed to a program of his own; and by the checkpoint of others that it began with, if it
// did: what holds their work must not pass for this node's own. It is zero for a task that keeps none.
func (d *Driver) pointKey(submitter tasks.NodeID, do *tasks.Assignment, from dag.CID) [32]byte {
	if !execute.Checkpoints(d.o.Kinds, do) {
		return [32]byte{}
	}
	key := struct {
		By   tasks.NodeID     `cbor:"by"`
		Do   tasks.Assignment `cbor:"do"`
		From *dag.CID         `cbor:"from,omitempty"`
	}{By: submitter, Do: *do}
	if from.Defined() {
		key.From = &from
	}
	b, err := dag.Marshal(&key)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return sha256.Sum256(append([]byte("kith/checkpoint/1"), b...))
}

// checkpoints is what tasks can be gone on from, the oldest first. Slots add to came, which the loop takes over.
type checkpoints struct {
	list []checkpoint // the loop's
	mu   sync.Mutex
	came []checkpoint
}

func (c *checkpoints) find(key [32]byte) dag.CID {
	for i := range c.list {
		if c.list[i].Key == key {
			return c.list[i].Root
		}
	}
	return dag.CID{}
}

// put adds one in place of an older one of its task.
func (c *checkpoints) put(n checkpoint) {
	c.remove(n.Key)
	c.list = append(c.list, n)
	c.bound(n.At)
}

// bound drops what is too old, or too much, or names nothing.
func (c *checkpoints) bound(now int64) {
	c.list = slices.DeleteFunc(c.list, func(x checkpoint) bool {
		return !x.Root.Defined() || x.Bytes < 0 || x.Bytes > execute.MaxCheckpoint
	})
	total := int64(0)
	for i := range c.list {
		total += c.list[i].Bytes
	}
	for len(c.list) > 0 && (len(c.list) > maxCheckpoints || total > maxCheckpointBytes || c.list[0].At+checkpointKept.Milliseconds() < now) {
		total -= c.list[0].Bytes
		c.list = c.list[1:]
	}
}

func (c *checkpoints) remove(key [32]byte) bool {
	n := len(c.list)
	c.list = slices.DeleteFunc(c.list, func(x checkpoint) bool { return x.Key == key })
	return len(c.list) < n
}

// saved notes a checkpoint; a slot calls it.
func (d *Driver) saved(key [32]byte, out *execute.Output) {
	if !out.Checkpoint.Defined() {
		return
	}
	d.points.mu.Lock()
	defer d.points.mu.Unlock()
	d.points.came = append(d.points.came, checkpoint{Key: key, Root: out.Checkpoint, Bytes: out.CheckpointBytes, At: time.Now().UnixMilli()})
}

// keepCheckpoints writes down what slots have noted. The loop calls it, and Serve when no slot is left.
func (d *Driver) keepCheckpoints() {
	d.points.mu.Lock()
	came := d.points.came
	d.points.came = nil
	d.points.mu.Unlock()
	for i := range came {
		d.points.put(came[i])
		d.append(&record{Checkpoint: &came[i]}, true, nil)
		d.log.Debug("A task can be gone on with", "bytes", came[i].Bytes)
	}
}

// forget drops the checkpoints of a task that nobody will go on from.
func (d *Driver) forget(h *held) {
	for i := range h.keys {
		if d.points.remove(h.keys[i]) {
			d.append(&record{Done: &h.keys[i]}, false, nil)
		}
	}
}

// runOf makes the run of a lease that has its turn. It goes on from where it was ended here, else from the checkpoint that
// the lease names; but from nothing of others that the lease does not name.
func (d *Driver) runOf(h *held, ctx context.Context, cancel context.CancelCauseFunc, release func()) *run {
	r := &run{of: h, ctx: ctx, cancel: cancel, release: release}
	r.key = d.pointKey(h.s.peer, &h.lease.Do, dag.CID{})
	if r.key == [32]byte{} {
		return r
	}
	h.keys = append(h.keys[:0], r.key)
	r.from = d.points.find(r.key)
	if !carries(&h.lease) {
		return r
	}
	named := h.lease.Travel.From
	r.key = d.pointKey(h.s.peer, &h.lease.Do, named.Root)
	h.keys = append(h.keys, r.key)
	if c := d.points.find(r.key); c.Defined() {
		r.from = c
	} else if h.came {
		r.from, r.elder = named.Root, true
		h.done, h.total = named.Done, named.Total
	}
	return r
}

// resume runs a task, from its checkpoint if there is one. If it fails by itself then, it has another try from the
// beginning: what a foreign program left may be the cause.
func (d *Driver) resume(r *run, progress func(done, total int64)) (execute.Output, error) {
	a := r.of.lease.Do
	c, ok := d.o.Executor.(Checkpointer)
	if !ok || r.key == [32]byte{} {
		return d.o.Executor.Run(r.ctx, a, progress)
	}
	if r.from.Defined() {
		d.log.Info("A task is gone on with from where it was ended", "job", a.Job, "index", a.Index, "elsewhere", r.elder)
	}
	out, err := c.RunFrom(r.ctx, a, r.key, r.from, r.onward(progress))
	if err != nil && r.from.Defined() && r.ctx.Err() == nil {
		d.log.Info("A task that was gone on with failed; it begins anew", "task", a.Task, "error", err)
		out, err = c.RunFrom(r.ctx, a, r.key, dag.CID{}, progress)
	}
	d.saved(r.key, &out)
	return out, err
}
