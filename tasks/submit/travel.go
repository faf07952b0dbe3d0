package submit

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"kith/storage"
	"kith/storage/dag"
	"kith/tasks"
	"kith/tasks/execute"
	"kith/tasks/job"
	"kith/tasks/tokens"
	"kith/tasks/wire"
)

// A task that a worker hands back may bring a checkpoint. It comes in the message, or is fetched from that worker, before the
// task goes to anybody else; if that takes too long the task goes without it. It is kept like the other roots of its job,
// until the task has its verdict, and served to nobody but the worker whose lease names it.

// fetchPointTime bounds the way of a checkpoint here.
const fetchPointTime = 20 * time.Second

// fetches bounds how many checkpoints that do not fit a message one worker may have fetched: a task that is handed back again
// and again must not keep this node's line busy.
var fetches = tokens.Rate{Every: 30 * time.Second, Burst: 8}

// mostFetched is of how many workers that is remembered.
const mostFetched = 4096

// pointRoom is for the names and folders of a checkpoint, beside its bytes.
const pointRoom = 1 << 20

// mostPoint is the largest checkpoint that is taken now.
func (d *Driver) mostPoint() int64 {
	var kept int64
	for _, j := range d.active {
		kept += j.state.CheckpointBytes()
	}
	return min(wire.MaxPoint, max(0, d.o.Checkpoints-kept))
}

// travel adds what there is to say of checkpoints to a lease: what it names, if anything, and whether that holds work of
// others. Who is believed alone goes on from nobody's work but its own.
func (d *Driver) travel(j *running, s *session, ref job.Ref, lease *tasks.Lease, alone bool) (point dag.CID, foreign bool) {
	if s.stream.Version() < wire.SessionVersion || !d.keepsPoints(j, ref) {
		return dag.CID{}, false
	}
	lease.Travel = &tasks.Travel{Most: d.mostPoint()}
	c, ok := j.state.Carry(s.peer.id, d.placeOf(j, s.peer), ref)
	now := time.Now().UnixMilli()
	if !ok || d.apart(s) && j.small[c.Root] == nil || slices.ContainsFunc(c.Past, func(id tasks.NodeID) bool { return d.trust.Banned(id, now) }) {
		return dag.CID{}, false
	}
	foreign = slices.ContainsFunc(c.Past, func(id tasks.NodeID) bool { return id != s.peer.id })
	if alone && foreign {
		return dag.CID{}, false
	}
	lease.Travel.From = &tasks.Point{Root: c.Root, Bytes: c.Bytes, Done: c.Done, Total: c.Total, CPUMillis: c.CPUMillis, Blocks: j.small[c.Root]}
	return c.Root, foreign
}

// keepsPoints reports whether a task may leave checkpoints: its kind does, and its inputs are not sealed.
func (d *Driver) keepsPoints(j *running, ref job.Ref) bool {
	return !j.sealed() && execute.Checkpoints(d.o.Kinds, &tasks.Assignment{Steps: j.state.Stage(ref.Stage).Steps})
}

// pointCovers reports whether c is below the checkpoint that a lease names. That of a public job is no more public than
// another.
func (d *Driver) pointCovers(g *grants, x *grant, c dag.CID) bool {
	g.mu.Lock()
	folder := x.folder
	g.mu.Unlock()
	if folder == nil {
		ctx, cancel := context.WithTimeout(context.Background(), handshake)
		defer cancel()
		folder = map[dag.CID]struct{}{}
		if err := dag.Reach(ctx, d.o.Blobs, x.point, func(c dag.CID) (bool, error) {
			folder[c] = struct{}{}
			return true, nil
		}); err != nil {
			return false
		}
		g.mu.Lock()
		x.folder = folder
		g.mu.Unlock()
	}
	_, ok := folder[c]
	return ok
}

// point prepares what is to be done about a lease that was handed back. It runs in the session's reader.
func (d *Driver) point(s *session, m *wire.Returned) func() {
	if m.Point == nil {
		return func() { d.returned(s, m) }
	}
	var blocks []storage.Block
	var err error
	if len(m.Point.Blocks) > 0 {
		blocks, err = execute.Assemble(m.Point.Root, m.Point.Blocks)
	}
	return func() {
		j := d.jobOf(s, m.Lease)
		switch {
		case j == nil:
		case err != nil:
			d.log.Info("A checkpoint is not what its worker says", "worker", s.peer.id, "lease", m.Lease, slogErr(err))
			d.handedBack(j, s, m, nil)
		default:
			d.bringPoint(j, s, m, blocks)
		}
	}
}

// mayFetch reports whether a checkpoint may be fetched from a worker now, and counts it.
func (d *Driver) mayFetch(s *session) bool {
	return d.o.Carrier != nil && !d.apart(s) && d.fetched.Take(s.peer.id, fetches, mostFetched, time.Now())
}

// bringPoint stores a checkpoint, and has its lease end then.
func (d *Driver) bringPoint(j *running, s *session, m *wire.Returned, blocks []storage.Block) {
	g, p := s.grants.get(m.Lease), m.Point
	if g == nil || !d.keepsPoints(j, g.ref) || p.Bytes > d.mostPoint() || blocks == nil && !d.mayFetch(s) {
		d.handedBack(j, s, m, nil)
		return
	}
	ref := g.ref
	s.grants.remove(m.Lease) // its worker is free for something else meanwhile
	left := &job.Left{
		Task: ref, Worker: s.peer.id, Lease: m.Lease, Root: p.Root, Bytes: p.Bytes, Done: min(p.Done, max(p.Total, 0)), Total: p.Total, CPUMillis: p.CPUMillis,
	}
	s.bringing++
	d.work.Go(func() {
		ctx, cancel := context.WithTimeoutCause(j.ctx, fetchPointTime, errors.New("it took too long"))
		defer cancel()
		err := d.storePoint(ctx, s.peer.id, m.Lease, p, blocks)
		d.box.Post(func() {
			defer d.brought(s)
			if j.state.Phase().Over() {
				return
			}
			if err != nil {
				d.log.Info("A task moves without its checkpoint", "worker", s.peer.id, "lease", m.Lease, slogErr(err))
				left = nil
			}
			d.handedBack(j, s, m, left)
			if left != nil && blocks != nil {
				j.remember(p)
			}
		})
	})
}

// brought notes that a checkpoint is here, or will not come. Where its worker has gone meanwhile, the jobs hear of that now.
func (d *Driver) brought(s *session) {
	s.bringing--
	if s.parted && s.bringing == 0 {
		s.parted = false
		if d.sessions[s.peer.id] == nil { // else it is back
			d.parts(s)
		}
	}
}

// mostSmall bounds running.small.
const mostSmall = 256

// remember keeps the blocks of a small checkpoint at hand, for the next lease. There is not always room, and after a restart
// they are fetched like those of a large one.
func (j *running) remember(p *tasks.Point) {
	wanted := map[dag.CID]bool{}
	j.state.Checkpoints(func(_ job.Ref, c dag.CID) { wanted[c] = true })
	maps.DeleteFunc(j.small, func(c dag.CID, _ [][]byte) bool { return !wanted[c] })
	if wanted[p.Root] && len(j.small) < mostSmall {
		if j.small == nil {
			j.small = map[dag.CID][][]byte{}
		}
		j.small[p.Root] = p.Blocks
	}
}

// storePoint brings the blocks of a checkpoint into the store, and makes sure that it is one, and no larger than was said.
func (d *Driver) storePoint(ctx context.Context, worker tasks.NodeID, lease tasks.LeaseID, p *tasks.Point, blocks []storage.Block) error {
	if blocks != nil {
		if err := d.o.Blobs.PutMany(ctx, blocks); err != nil {
			return err
		}
	} else {
		select {
		case d.net <- struct{}{}:
			defer func() { <-d.net }()
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if err := d.o.Carrier.FetchCheckpoint(ctx, worker, lease, p.Root, p.Bytes+pointRoom); err != nil {
			return err
		}
	}
	left := p.Bytes
	for f, err := range dag.Files(ctx, d.o.Blobs, p.Root) {
		if err != nil {
			return err
		}
		if left -= f.Size; left < 0 {
			return fmt.Errorf("it has more than the %d bytes that it is said to have", p.Bytes)
		}
	}
	return nil
}

// keepPoint notes a checkpoint that is in the store, if it is of use.
func (d *Driver) keepPoint(j *running, ev *job.Left) {
	if !j.state.WantsLeft(ev.Task, ev.Worker, ev.Lease) {
		return
	}
	d.append(j.id, ev, nil)
	d.step(j, ev, time.Now().UnixMilli())
	d.log.Debug("A task can go on elsewhere", slogJob(j.id), "task", ev.Task.String(), "done", ev.Done, "of", ev.Total, "bytes", ev.Bytes)
}
