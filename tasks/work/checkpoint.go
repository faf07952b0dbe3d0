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

// checkpoint is how far a task is that was ended here before its time. It is this node's own work: no other node is shown
// it, and a task continued from it is no less this node's than one done at a stretch.
type checkpoint struct {
	Key   [32]byte `cbor:"key"` // pointKey of the task
	Root  dag.CID  `cbor:"root"`
	Bytes int64    `cbor:"bytes"`
	At    int64    `cbor:"at"` // Unix milliseconds
}

// pointKey names a task that keeps checkpoints: by its submitter and by all it was told to do, so that nobody can have the
// checkpoint of another's task handed to a program of his own. It is zero for a task that keeps none.
func (d *Driver) pointKey(submitter tasks.NodeID, do *tasks.Assignment) [32]byte {
	if !execute.Checkpoints(d.o.Kinds, do) {
		return [32]byte{}
	}
	b, err := dag.Marshal(&struct {
		By tasks.NodeID     `cbor:"by"`
		Do tasks.Assignment `cbor:"do"`
	}{submitter, *do})
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

// forget drops a checkpoint that nobody will go on from.
func (d *Driver) forget(key [32]byte) {
	if d.points.remove(key) {
		d.append(&record{Done: &key}, false, nil)
	}
}

// resume runs a task, from its checkpoint if there is one. If it fails by itself then, it has another try from the
// beginning: what a foreign program left may be the cause.
func (d *Driver) resume(ctx context.Context, a tasks.Assignment, key [32]byte, from dag.CID, progress func(done, total int64)) (execute.Output, error) {
	c, ok := d.o.Executor.(Checkpointer)
	if !ok || key == [32]byte{} {
		return d.o.Executor.Run(ctx, a, progress)
	}
	if from.Defined() {
		d.log.Info("A task is gone on with from where it was ended here", "job", a.Job, "index", a.Index)
	}
	out, err := c.RunFrom(ctx, a, key, from, progress)
	if err != nil && from.Defined() && ctx.Err() == nil {
		d.log.Info("A task that was gone on with failed; it begins anew", "task", a.Task, "error", err)
		out, err = c.RunFrom(ctx, a, key, dag.CID{}, progress)
	}
	d.saved(key, &out)
	return out, err
}
