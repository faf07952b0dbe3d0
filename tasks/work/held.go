package work

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"kith/storage"
	"kith/storage/dag"
	"kith/tasks"
	"kith/tasks/wire"
)

// state of a lease this node holds.
type state uint8

const (
	queued    state = iota // waits for its inputs or a slot
	preparing              // fetches its inputs
	ready                  // inputs are here
	running                // in the sandbox
	keeping                // its commit is on the way to the disk
	committed              // the commit is on disk; output kept until the verdict
	over                   // nothing of it counts any more
)

// held is one lease this node holds. The loop owns it; a slot works on it between running and keeping.
type held struct {
	s     *session
	lease tasks.Lease
	state state
	since int64
	done  int64 // progress, set by the slot through the loop
	total int64
	stop  func(tasks.Reason) // while running or preparing
	asked *said              // the submitter's demand to see it
	keys  []([32]byte)       // pointKeys, once it has run
	came  bool               // the checkpoint that the lease names is here
	share bool               // its inputs are public and may go on to others

	shownAt  int64 // when the submitter was first shown it, Unix milliseconds; 0: it was not
	answered bool  // it said a word on it, or never will
	overdue  bool  // and should have by now

	promise promise
}

// promise is what is kept about a commit, in memory and on disk.
type promise struct {
	Submitter tasks.NodeID  `cbor:"to"`
	Lease     tasks.LeaseID `cbor:"lease"`
	Job       tasks.JobID   `cbor:"job"`
	Root      dag.CID       `cbor:"root"`
	Digest    [32]byte      `cbor:"digest"`
	Bytes     int64         `cbor:"bytes"`
	Blocks    [][]byte      `cbor:"blocks"` // of a small output: all of it, depth first; else it is in the store
	Wall      int64         `cbor:"wall"`
	CPU       int64         `cbor:"cpu"`
	Expiry    int64         `cbor:"exp"`
	// What the lease's id is made of, beside the above, and what was done.
	Task    tasks.TaskID  `cbor:"task,omitempty"`
	Attempt int           `cbor:"try,omitempty"`
	Epoch   uint64        `cbor:"epoch,omitempty"`
	Kinds   []string      `cbor:"kinds,omitempty"`
	Parcel  *tasks.Parcel `cbor:"parcel"` // where a large output lies that cannot be fetched from here; without its token
}

func (p *promise) commit(self tasks.NodeID) tasks.Commit {
	return tasks.Commit{Lease: p.Lease, Hash: tasks.CommitHash(p.Lease, self, p.Root, p.Digest)}
}

// reveal opens a promise. The token for a parcel is good as long as the parcel may lie there.
func (d *Driver) reveal(p *promise) tasks.Reveal {
	r := tasks.Reveal{Lease: p.Lease, Root: p.Root, Digest: p.Digest, Bytes: p.Bytes, Blocks: p.Blocks, WallMillis: p.Wall, CPUMillis: p.CPU}
	if p.Parcel != nil {
		parcel := *p.Parcel
		var err error
		parcel.Token, err = wire.SignFetchToken(d.o.Network, d.o.Key, wire.FetchToken{
			Holder: p.Submitter, Root: parcel.Root, Lease: p.Lease, Expiry: p.Expiry + promiseKept.Milliseconds(),
		})
		if err != nil {
			panic("BUG: " + err.Error()) // its size is fixed
		}
		r.Parcel = &parcel
	}
	return r
}

func (h *held) describe() Running {
	r := Running{
		Submitter: h.s.peer, Job: h.lease.Do.Job, Lease: h.lease.ID, Index: h.lease.Do.Index, State: wire.Preparing,
		Since: h.since, Done: h.done, Total: h.total,
	}
	if h.state == running {
		r.State = wire.Running
	}
	r.Kinds = kindsOf(&h.lease.Do)
	return r
}

// kindsOf names what an assignment does: kind/phase of each step.
func kindsOf(do *tasks.Assignment) (list []string) {
	for i := range do.Steps {
		list = append(list, do.Steps[i].Kind+"/"+do.Steps[i].Phase)
	}
	return list
}

// start gives free slots work, submitters in their fair turn, and begins to fetch inputs ahead.
func (d *Driver) start() {
	if !d.changed {
		return
	}
	d.changed = false
	d.fair()
	for d.busy < d.o.Slots {
		h := d.next()
		if h == nil {
			break
		}
		if h.lease.Expiry <= time.Now().UnixMilli() {
			h.s.drop(h)
			continue
		}
		ctx, cancel := context.WithCancelCause(d.ctx)
		stop := func(r tasks.Reason) { cancel(r) }
		var release func()
		if d.o.Admit != nil {
			var refused *tasks.Reason
			if release, refused = d.o.Admit(h.lease.Do, stop); refused != nil {
				cancel(nil)
				d.why(*refused)
				h.s.giveBack(h, *refused, nil)
				continue
			}
		}
		d.busy++
		h.state, h.since, h.stop = running, time.Now().UnixMilli(), stop
		d.began(h)
		d.runs <- d.runOf(h, ctx, cancel, release)
	}
	for _, s := range d.order {
		s.prepareAhead()
	}
}

// next takes a lease whose inputs are here off a queue: of the submitters whose turn it is by the owner's will, and among
// equals of each in turn.
func (d *Driver) next() *held {
	var best *session
	var rank, at int
	for i := range d.order {
		k := (d.turn + 1 + i) % len(d.order)
		s := d.order[k]
		turn := d.turnOf(s.peer)
		if turn.Wait || best != nil && turn.Rank >= rank || !s.waits() {
			continue
		}
		best, rank, at = s, turn.Rank, k
	}
	if best == nil {
		return nil
	}
	d.turn = at
	return best.next()
}

func (d *Driver) turnOf(submitter tasks.NodeID) Turn {
	if d.o.Turn == nil {
		return Turn{}
	}
	return d.o.Turn(submitter)
}

// errNoPath is the cause of a fetch that was given up.
var errNoPath = errors.New("nothing came")

// fetch brings the inputs of a lease here, with a clock that every byte winds up again.
func (d *Driver) fetch(ctx context.Context, h *held) error {
	select {
	case d.fetches <- struct{}{}:
		defer func() { <-d.fetches }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	fetched := map[dag.CID]struct{}{}
	for i, root := range h.lease.Do.Inputs {
		if _, twice := fetched[root]; twice {
			continue
		}
		fetched[root] = struct{}{}
		if err := d.fetchOne(ctx, h, i); err != nil {
			return fmt.Errorf("input %s: %w", root, err)
		}
	}
	return nil
}

// fetchOne brings one input here: from the submitter, and from the depot that the lease names if there is no direct path
// or nothing comes; the depot first if that is known beforehand.
func (d *Driver) fetchOne(ctx context.Context, h *held, i int) error {
	root := h.lease.Do.Inputs[i]
	direct := func(ctx context.Context, arrived func([]dag.CID)) error {
		in := Input{Submitter: h.s.peer, Lease: h.lease.ID, Root: root, Public: h.lease.Do.Public}
		return d.o.Fetcher.FetchInput(ctx, in, arrived)
	}
	at := h.lease.Depot
	if d.o.Depots == nil || at == nil || len(at.Tokens) == 0 {
		return d.timed(ctx, root, direct)
	}
	depot := func(ctx context.Context, arrived func([]dag.CID)) error {
		return d.o.Depots.Collect(ctx, *at, h.lease.ID, root, at.Tokens[i], 0, arrived)
	}
	ways := []func(context.Context, func([]dag.CID)) error{direct, depot}
	if !d.o.Depots.Direct(h.s.peer) {
		slices.Reverse(ways)
	}
	first := d.timed(ctx, root, ways[0])
	if first == nil || ctx.Err() != nil || errors.Is(first, storage.ErrFull) {
		return first
	}
	second := d.timed(ctx, root, ways[1])
	if second == nil || ctx.Err() != nil || errors.Is(second, storage.ErrFull) {
		return second
	}
	return clip(tasks.Because(tasks.NoBlockPath, "neither directly nor by depot %s: %v; %v", at.Node.Short(), first, second))
}

// timed runs a fetch under a clock that every byte winds up again.
func (d *Driver) timed(ctx context.Context, root dag.CID, fetch func(context.Context, func([]dag.CID)) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	clock := time.AfterFunc(d.o.NoPath, func() { cancel(errNoPath) })
	defer clock.Stop()
	err := fetch(ctx, func(blocks []dag.CID) {
		clock.Reset(d.o.NoPath)
		d.shared.add(root, blocks)
	})
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause
	}
	return err
}

// parcel leaves a large output at the lease's depot, sealed for the submitter, if there is no direct path to it.
func (d *Driver) parcel(ctx context.Context, s *session, lease *tasks.Lease, root dag.CID) (*tasks.Parcel, error) {
	if lease.Depot == nil || d.o.Depots == nil || d.o.Depots.Direct(s.peer) {
		return nil, nil
	}
	sealed, size, err := d.o.Executor.Pack(ctx, root, tasks.OutputKey(lease.Salt))
	if err != nil {
		return nil, err
	}
	until := time.UnixMilli(lease.Expiry).Add(promiseKept)
	if err := d.o.Depots.Deposit(ctx, *lease.Depot, sealed, until); err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		return nil, clip(tasks.Because(tasks.NoBlockPath, "the output cannot be left at depot %s: %v", lease.Depot.Node.Short(), err))
	}
	return &tasks.Parcel{Depot: lease.Depot.Node, Root: sealed, Bytes: size}, nil
}

// run is one execution on its way through a slot.
type run struct {
	of      *held // the loop's; a slot reads only its lease, which does not change any more
	ctx     context.Context
	cancel  context.CancelCauseFunc
	release func()   // of the owner's admission; may be nil
	key     [32]byte // pointKey; zero: the task keeps no checkpoints
	from    dag.CID  // where an earlier attempt at the task was ended; undefined: there was none
	elder   bool     // that attempt was another node's
}

// slot runs tasks one after another.
func (d *Driver) slot() {
	for {
		select {
		case r := <-d.runs:
			d.execute(r)
		case <-d.ctx.Done():
			return
		}
	}
}

// execute runs one task and promises its result: the promise is on stable storage before the loop sends the commit.
func (d *Driver) execute(r *run) {
	lease := &r.of.lease
	began := time.Now()
	var told time.Time
	var far, of int64
	out, err := d.resume(r, func(done, total int64) {
		far, of = done, total
		if now := time.Now(); now.Sub(told) > time.Second {
			told = now
			d.box.Post(func() { r.of.done, r.of.total = done, total })
		}
	})
	p := promise{
		Submitter: r.of.s.peer, Lease: lease.ID, Job: lease.Do.Job, Expiry: lease.Expiry,
		Task: lease.Do.Task, Attempt: lease.Attempt, Epoch: lease.Epoch, Kinds: kindsOf(&lease.Do),
	}
	if err == nil {
		p.Root, p.Bytes, p.Wall, p.CPU = out.Root, out.Bytes, out.WallMillis, out.CPUMillis
		p.Blocks, err = depthFirst(out.Root, out.Blocks)
	}
	if err == nil && len(out.Blocks) > 0 && p.Blocks == nil { // too much for a message: keep it in the store
		err = d.o.Blobs.PutMany(r.ctx, out.Blocks)
	}
	if err == nil {
		var sums [][32]byte
		if sums, err = d.o.Executor.Digest(r.ctx, [][32]byte{lease.Salt}, out.Root, out.Blocks); err == nil {
			p.Digest = sums[0]
		}
	}
	if err == nil && p.Blocks == nil {
		p.Parcel, err = d.parcel(r.ctx, r.of.s, lease, p.Root)
	}
	if cause := context.Cause(r.ctx); err != nil && cause != nil {
		err = cause
	}
	r.cancel(nil)
	if r.release != nil {
		r.release()
	}
	took := time.Since(began)
	var point *tasks.Point
	if err != nil {
		point = d.pack(r, &out, far, of)
	}
	d.box.Post(func() { d.ran(r.of, &p, took, err, out.Log, point) })
}

// ran takes an execution back from a slot.
func (d *Driver) ran(h *held, p *promise, took time.Duration, err error, log []string, point *tasks.Point) {
	d.busy--
	d.keepCheckpoints()
	d.finished(h, took)
	d.changed = true
	h.stop = nil
	if d.average == 0 { // or the first tasks would look eight times as short as they are
		d.average = took
	}
	d.average += (took - d.average) / 8
	switch {
	case h.state == over: // cancelled meanwhile
	case err != nil && d.ctx.Err() != nil:
		h.s.handOver(h, tasks.Reason{Code: tasks.ShuttingDown}, nil, point)
	case err != nil:
		h.s.handOver(h, reasonOf(err), log, point)
	default:
		h.promise = *p
		h.state = keeping
		d.keep(h)
	}
	h.s.retune()
}

// reasonOf turns a failed run into what the submitter is told.
func reasonOf(err error) tasks.Reason {
	var r tasks.Reason
	switch {
	case errors.As(err, &r):
	case errors.Is(err, errNoPath):
		r = tasks.Because(tasks.NoBlockPath, "no bytes of the input came")
	case errors.Is(err, storage.ErrFull):
		r = tasks.Reason{Code: tasks.DiskFull}
	default:
		r = tasks.Because(tasks.TaskFailed, "%v", err)
	}
	return clip(r)
}

// clip cuts a reason to what the wire allows.
func clip(r tasks.Reason) tasks.Reason {
	if len(r.Detail) > wire.MaxDetail {
		r.Detail = strings.ToValidUTF8(r.Detail[:wire.MaxDetail], "")
	}
	return r
}

// depthFirst puts the blocks of a whole small output in the order of a depth-first walk from the root, each once: the
// order in which a submitter checks them. It returns nil if they do not fit a message.
func depthFirst(root dag.CID, blocks []storage.Block) ([][]byte, error) {
	size := 0
	for i := range blocks {
		size += len(blocks[i].Data)
	}
	if len(blocks) == 0 || len(blocks) > wire.MaxInBlocks || size > wire.MaxInline {
		return nil, nil
	}
	var out [][]byte
	var seen []dag.CID
	stack := []dag.CID{root}
	for len(stack) > 0 {
		c := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if slices.Contains(seen, c) {
			continue
		}
		seen = append(seen, c)
		i := slices.IndexFunc(blocks, func(b storage.Block) bool { return b.CID == c })
		if i < 0 {
			return nil, fmt.Errorf("output lacks its block %s", c)
		}
		below, err := dag.Links(c, blocks[i].Data)
		if err != nil {
			return nil, err
		}
		out = append(out, blocks[i].Data)
		slices.Reverse(below)
		stack = append(stack, below...)
	}
	return out, nil
}
