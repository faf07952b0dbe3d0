package work

import (
	"context"
	"time"

	"kith/storage"
	"kith/storage/dag"
	"kith/tasks"
	"kith/tasks/execute"
	"kith/tasks/wire"
)

// A task that goes back before it is done takes its checkpoint along, if its submitter wants one: in the message, when it is
// small; else the submitter fetches it, and nobody else may. The next lease of the task names it, and its worker fetches it
// from the submitter before it begins.

// Clocks of checkpoints on their way.
const (
	leaveTime = 2 * time.Minute         // for the submitter to fetch one that does not fit a message
	pointTime = 30 * time.Second        // for a worker to fetch one; without it the task begins anew
	partTime  = 1500 * time.Millisecond // at the end of this program, for tasks to stop and go back
)

// carries reports whether a lease names a checkpoint.
func carries(l *tasks.Lease) bool { return l.Travel != nil && l.Travel.From != nil }

// pack makes what is told of the checkpoint of a run that was ended, or nil. A slot calls it.
func (d *Driver) pack(r *run, out *execute.Output, done, total int64) *tasks.Point {
	t := r.of.lease.Travel
	if t == nil || !out.Checkpoint.Defined() || out.CheckpointBytes > t.Most {
		return nil
	}
	p := &tasks.Point{Root: out.Checkpoint, Bytes: out.CheckpointBytes, Done: max(done, 0), Total: max(total, 0), CPUMillis: out.CPUMillis}
	if r.elder {
		p.CPUMillis += t.From.CPUMillis
		if p.Total == 0 { // nothing was said since
			p.Done, p.Total = t.From.Done, t.From.Total
		}
	}
	p.CPUMillis = min(p.CPUMillis, wire.MaxMillis)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.ctx), partTime)
	defer cancel()
	p.Blocks = d.small(ctx, p)
	return p
}

// small returns the blocks of a checkpoint in the order of a depth-first walk, if they fit a message.
func (d *Driver) small(ctx context.Context, p *tasks.Point) [][]byte {
	if p.Bytes > wire.MaxInline {
		return nil
	}
	var blocks []storage.Block
	if err := dag.Walk(ctx, d.o.Blobs, p.Root, func(c dag.CID, data []byte) (bool, error) {
		blocks = append(blocks, storage.Block{CID: c, Data: data})
		return len(blocks) <= wire.MaxInBlocks, nil
	}); err != nil {
		return nil
	}
	list, err := depthFirst(p.Root, blocks)
	if err != nil {
		return nil
	}
	return list
}

// leave lets a submitter have a checkpoint for a while.
func (d *Driver) leave(submitter tasks.NodeID, lease tasks.LeaseID, root dag.CID) {
	d.served.Lock()
	defer d.served.Unlock()
	if d.left[submitter] == nil {
		d.left[submitter] = map[tasks.LeaseID]*shownOutput{}
	}
	d.left[submitter][lease] = &shownOutput{root: root}
	time.AfterFunc(leaveTime, func() {
		d.served.Lock()
		defer d.served.Unlock()
		if delete(d.left[submitter], lease); len(d.left[submitter]) == 0 {
			delete(d.left, submitter)
		}
	})
}

// onward is progress for a run that goes on from a checkpoint of which it is known how far it was: it is never less, though
// the kind may count anew.
func (r *run) onward(progress func(done, total int64)) func(done, total int64) {
	if !r.elder {
		return progress
	}
	from := r.of.lease.Travel.From
	return func(done, total int64) {
		if total == from.Total {
			done = max(done, from.Done)
		}
		progress(done, total)
	}
}

// fetchPoint brings the checkpoint here that a lease names, out of the lease or from its submitter alone, and reports whether
// it came.
func (d *Driver) fetchPoint(ctx context.Context, h *held) bool {
	ctx, cancel := context.WithTimeout(ctx, pointTime)
	defer cancel()
	root := h.lease.Travel.From.Root
	if data := h.lease.Travel.From.Blocks; len(data) > 0 {
		blocks, err := execute.Assemble(root, data)
		if err == nil {
			err = d.o.Blobs.PutMany(ctx, blocks)
		}
		if err != nil {
			d.log.Info("The checkpoint of a task is not what its lease says; it begins anew", "submitter", h.s.peer, "lease", h.lease.ID, "error", err)
		}
		return err == nil
	}
	err := d.timed(ctx, root, func(ctx context.Context, arrived func([]dag.CID)) error {
		return d.o.Fetcher.FetchInput(ctx, Input{Submitter: h.s.peer, Lease: h.lease.ID, Root: root}, arrived)
	})
	if err != nil {
		d.log.Info("The checkpoint of a task did not come; it begins anew", "submitter", h.s.peer, "lease", h.lease.ID, "error", err)
	}
	return err == nil
}

// lingers reports whether a checkpoint was left lately that must be fetched.
func (d *Driver) lingers() bool {
	d.served.RLock()
	defer d.served.RUnlock()
	return len(d.left) > 0
}

// part gives tasks at work back at the end of this program, as far as they stop in time.
func (d *Driver) part() {
	for more := true; more; {
		select {
		case r := <-d.runs: // nobody will begin it any more
			r.cancel(nil)
			if r.release != nil {
				r.release()
			}
			d.busy--
			r.of.s.giveBack(r.of, tasks.Reason{Code: tasks.ShuttingDown}, nil)
		default:
			more = false
		}
	}
	end := time.NewTimer(partTime)
	defer end.Stop()
	for d.busy > 0 || d.lingers() {
		d.flush()
		select {
		case <-d.box.Wake:
		case <-end.C:
			d.flush()
			return
		}
		for _, f := range d.box.Take() {
			f()
		}
	}
	d.flush()
}
