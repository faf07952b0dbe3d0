package work

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"kith/storage/dag"
	"kith/tasks"
	"kith/tasks/execute"
	"kith/tasks/mailbox"
	"kith/tasks/match"
	"kith/tasks/wire"
)

// ErrStopped: the driver's Serve has returned.
var ErrStopped = errors.New("the worker has stopped")

// Driver is the donor's side of a node. Make one with New and run it with Serve; every other method may be called from
// any goroutine, before Serve too (then it waits, if it returns something), and returns ErrStopped after Serve has returned.
type Driver struct {
	o    Options
	self tasks.NodeID
	log  *slog.Logger

	box     *mailbox.Box[func()]
	stopped chan struct{} // closed when Serve has returned
	runs    chan *run     // for the slots
	fetches chan struct{} // places for fetches
	dropped atomic.Int64  // messages and offers that were not acted upon
	offers  atomic.Int64  // that wait to be considered

	served  sync.RWMutex // guards outputs and left
	outputs map[tasks.NodeID]map[tasks.LeaseID]*shownOutput
	left    map[tasks.NodeID]map[tasks.LeaseID]*shownOutput // checkpoints of tasks that went back
	shared  sharing
	points  checkpoints

	// Owned by the loop.
	ctx      context.Context // of Serve
	work     sync.WaitGroup
	sessions map[tasks.NodeID]*session
	heard    map[tasks.NodeID][]tasks.Verdict // before the last start, for sessions to come
	payers   map[tasks.NodeID]*payer
	dues     map[tasks.LeaseID]*due
	dueOrder []tasks.LeaseID // keys of dues, oldest first, and some that are gone
	sweeping bool            // sweep is on its way
	order    []*session      // round robin
	turn     int
	reached  time.Duration // slot time, divided by weight, of whoever had its turn last
	busy     int           // slots at work
	slots    int           // runners started
	paused   bool
	killed   bool
	average  time.Duration // of the running time of a task, moving
	accepted int64
	noWork   map[tasks.Code]*NoWork
	users    map[tasks.JobID]*user
	logged   int
	lastSeq  uint64
	saving   bool
	changed  bool       // slots or queues changed: look for something to start
	dirty    []*session // whose outbox has something
}

// New makes a driver. It does nothing before Serve.
func New(o Options) *Driver {
	if o.Slots == 0 {
		o.Slots = runtime.GOMAXPROCS(0)
	}
	o.Slots = min(o.Slots, wire.MaxSlots)
	if o.MaxSubmitters == 0 {
		o.MaxSubmitters = 16
	}
	if o.NoPath == 0 {
		o.NoPath = 10 * time.Second
	}
	if o.Heartbeat == 0 {
		o.Heartbeat = 5 * time.Second
	}
	if o.SnapshotEvery == 0 {
		o.SnapshotEvery = 50_000
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Driver{
		o: o, self: tasks.NodeID(o.Key.Public().(ed25519.PublicKey)), log: o.Logger,
		box: mailbox.New[func()](), stopped: make(chan struct{}), runs: make(chan *run, o.Slots), fetches: make(chan struct{}, 2*o.Slots+2),
		shared:   sharing{roots: map[dag.CID]*sharedInput{}},
		outputs:  map[tasks.NodeID]map[tasks.LeaseID]*shownOutput{},
		left:     map[tasks.NodeID]map[tasks.LeaseID]*shownOutput{},
		sessions: map[tasks.NodeID]*session{}, heard: map[tasks.NodeID][]tasks.Verdict{}, payers: map[tasks.NodeID]*payer{}, dues: map[tasks.LeaseID]*due{}, noWork: map[tasks.Code]*NoWork{}, users: map[tasks.JobID]*user{},
	}
}

// String names the part in a supervisor's log.
func (d *Driver) String() string { return "work" }

// Serve recovers what was promised before the last stop and works until ctx ends. It may be called once.
func (d *Driver) Serve(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	d.ctx = ctx
	defer close(d.stopped)
	defer d.keepCheckpoints()
	defer d.work.Wait()
	defer cancel()
	if err := d.recover(); err != nil {
		return fmt.Errorf("recover promises: %w", err)
	}
	if c, ok := d.o.Executor.(Checkpointer); ok {
		for _, x := range c.Salvaged() {
			d.saved(x.Key, &execute.Output{Checkpoint: x.Root, CheckpointBytes: x.Bytes})
		}
		d.keepCheckpoints()
	}
	if len(d.dues) > 0 {
		d.sweepSoon()
	}
	d.widen()
	for _, s := range d.order {
		d.work.Go(s.run)
	}
	for {
		select {
		case <-ctx.Done():
			d.part()
			d.sayGoodbye()
			d.sweep(time.Now().UnixMilli() - claimGrace.Milliseconds())
			return ctx.Err()
		case <-d.box.Wake:
		}
		for _, f := range d.box.Take() {
			f()
		}
		d.start()
		d.flush()
		d.snapshot()
	}
}

// Recall answers what the log says of promises (Pins) until ctx ends and does nothing else: it writes nothing and speaks with
// nobody. It stands in for Serve where only the log matters, and like that may be called once.
func (d *Driver) Recall(ctx context.Context) error {
	d.ctx = ctx
	defer close(d.stopped)
	if err := d.recover(); err != nil {
		return fmt.Errorf("recall promises: %w", err)
	}
	return mailbox.Serve(ctx, d.box)
}

// ask runs f in the loop and returns what it returns. When ctx ends first, f may still run.
func ask[T any](ctx context.Context, d *Driver, f func() T) (T, error) {
	return mailbox.Ask(ctx, d.box, d.stopped, ErrStopped, f)
}

// do is ask for what has no answer.
func (d *Driver) do(ctx context.Context, f func()) error {
	_, err := ask(ctx, d, func() struct{} { f(); return struct{}{} })
	return err
}

// mostOffers is how many offers may wait to be considered. They are said again.
const mostOffers = 256

// HandleOffer considers an offer heard on a topic; rtt is how far its submitter is, 0 if unknown. It returns at once; an
// offer that comes faster than they can be considered is dropped.
func (d *Driver) HandleOffer(o wire.Offer, rtt time.Duration) {
	if d.offers.Add(1) > mostOffers {
		d.offers.Add(-1)
		d.dropped.Add(1)
		return
	}
	d.box.Post(func() {
		d.offers.Add(-1)
		d.consider(&o, rtt, false)
	})
}

// Invite considers an offer that was handed to this node alone, and says why it is not answered, or nil.
func (d *Driver) Invite(ctx context.Context, o wire.Offer, rtt time.Duration) *tasks.Reason {
	r, err := ask(ctx, d, func() *tasks.Reason { return d.consider(&o, rtt, true) })
	if err != nil {
		return &tasks.Reason{Code: tasks.ShuttingDown}
	}
	return r
}

// consider decides whether to answer an offer, which others hear too unless it came to this node alone.
func (d *Driver) consider(o *wire.Offer, rtt time.Duration, alone bool) *tasks.Reason {
	now := time.Now().UnixMilli()
	if o.Submitter == d.self || o.Expiry < now {
		return &tasks.Reason{Code: tasks.BadMessage}
	}
	if s := d.sessions[o.Submitter]; s != nil {
		s.addrs = o.Addresses
		s.poke()
		return nil
	}
	if p := d.payers[o.Submitter]; p != nil && p.window(now) == 0 {
		r := p.muted(0)
		d.why(*r)
		return r
	}
	if r := d.unfit(o); r != nil {
		d.why(*r)
		return r
	}
	audience := 1
	if d.o.Audience != nil {
		audience = d.o.Audience(o.Class, o.Ring)
	}
	if !alone && !d.turnOf(o.Submitter).Keen && !match.Answers(o.Want, audience, rand.Float64()) {
		r := tasks.Because(tasks.Filled, "others were to answer this offer")
		d.why(r)
		return &r
	}
	s := newSession(d, o.Submitter, o.Addresses)
	s.job = o.Job
	d.enlist(s)
	delay := match.AnswerDelay(rtt, d.load(), rand.Float64(), false)
	d.work.Go(func() {
		t := time.NewTimer(delay)
		defer t.Stop()
		select {
		case <-t.C:
			s.run()
		case <-d.ctx.Done():
		}
	})
	return nil
}

// unfit says why this node cannot answer an offer, or nil.
func (d *Driver) unfit(o *wire.Offer) *tasks.Reason {
	switch {
	case d.killed:
		return &tasks.Reason{Code: tasks.Killed}
	case d.paused:
		return &tasks.Reason{Code: tasks.Paused}
	case len(d.sessions) >= d.o.MaxSubmitters:
		return ptr(tasks.Because(tasks.Busy, "%d submitters already", len(d.sessions)))
	}
	if why := d.weak(o.Sandbox); why != nil {
		return why
	}
	for _, name := range o.Kinds {
		k, err := d.o.Kinds.Kind(name)
		if err != nil {
			return ptr(tasks.Because(tasks.UnknownKindCode, "%s", name))
		}
		if why := d.weak(k.Describe().Needs.Sandbox); why != nil {
			return why
		}
		if !d.allowed(name) {
			return ptr(tasks.Because(tasks.KindOff, "%s", name))
		}
	}
	return nil
}

// weak says that the sandbox is weaker than need, or nil.
func (d *Driver) weak(need tasks.SandboxGrade) *tasks.Reason {
	if d.o.Sandbox == nil {
		return nil
	}
	need = max(need, tasks.GradeNone+1)
	if have := d.o.Sandbox(); have < need {
		return ptr(tasks.Because(tasks.WeakSandbox, "grade %d, and %d is needed", have, need))
	}
	return nil
}

func (d *Driver) allowed(kind string) bool { return d.o.Allowed == nil || d.o.Allowed(kind) }

// enlist puts a session on the list.
func (d *Driver) enlist(s *session) {
	d.sessions[s.peer] = s
	d.order = append(d.order, s)
}

// delist takes it off.
func (d *Driver) delist(s *session) {
	delete(d.sessions, s.peer)
	d.order = slices.DeleteFunc(d.order, func(o *session) bool { return o == s })
	d.served.Lock()
	delete(d.outputs, s.peer)
	d.served.Unlock()
}

// load is how busy the machine is with tasks and with other programs, per mille.
func (d *Driver) load() int {
	load := 1000 * d.busy / d.o.Slots
	if d.o.Load != nil {
		load += max(0, d.o.Load())
	}
	return min(1000, load)
}

// why counts a reason for having no work.
func (d *Driver) why(r tasks.Reason) {
	n := d.noWork[r.Code]
	if n == nil {
		n = &NoWork{}
		d.noWork[r.Code] = n
	}
	n.Reason = r
	n.Count++
}

// Allow sets how many tasks run at once from now on, and tells every submitter what the owner allows now. Tasks that run
// go on even if they are more.
func (d *Driver) Allow(ctx context.Context, slots int) error {
	return d.do(ctx, func() {
		d.o.Slots = min(max(slots, 1), wire.MaxSlots)
		d.widen()
		d.changed = true
		d.askAll()
	})
}

// widen starts runners until there are as many as slots. A narrowed driver keeps the idle rest: they cost nothing.
func (d *Driver) widen() {
	for ; d.slots < d.o.Slots; d.slots++ {
		d.work.Go(d.slot)
	}
}

// Pause stops taking work: tasks that wait go back with the reason, those that run are left alone. Resume takes work again.
func (d *Driver) Pause(ctx context.Context, why tasks.Reason) error {
	return d.do(ctx, func() {
		d.paused, d.killed = true, false
		d.end(why, func(h *held) bool { return h.state < running })
		d.askAll()
	})
}

// Resume ends Pause and Kill.
func (d *Driver) Resume(ctx context.Context) error {
	return d.do(ctx, func() {
		d.paused, d.killed = false, false
		d.askAll()
	})
}

// Kill ends every running task at once and gives all leases back, until Resume. It returns when the runs have been told
// to stop; that their processes are gone is the engine's word.
func (d *Driver) Kill(ctx context.Context) error {
	return d.do(ctx, func() {
		d.killed = true
		d.end(tasks.Reason{Code: tasks.Killed}, func(*held) bool { return true })
		d.askAll()
	})
}

// Drop ends every task of one job and gives its leases back with the reason.
func (d *Driver) Drop(ctx context.Context, job tasks.JobID, why tasks.Reason) error {
	return d.do(ctx, func() {
		d.end(why, func(h *held) bool { return h.lease.Do.Job == job })
	})
}

// end gives the leases that are meant back: those that wait at once, those at work when they have stopped.
func (d *Driver) end(why tasks.Reason, meant func(*held) bool) {
	for _, s := range d.order {
		for _, h := range s.leases() {
			switch {
			case !meant(h):
			case h.state < running:
				s.giveBack(h, why, nil)
			case h.stop != nil:
				h.stop(why)
			}
		}
	}
}

// Status says what this node does for others.
func (d *Driver) Status(ctx context.Context) (Status, error) {
	st, err := ask(ctx, d, func() Status {
		st := Status{Paused: d.paused, Killed: d.killed, Slots: d.o.Slots, Done: d.accepted}
		for _, s := range d.order {
			v := Session{Submitter: s.peer, Since: s.since, Connected: s.up, Pending: s.pending(), Accepted: s.accepted, Why: s.reason}
			if why := s.mute(); why != nil {
				v.Why = why
			}
			for _, h := range s.leases() {
				switch h.state {
				case queued, ready:
					v.Queued++
				case preparing, running:
					st.Running = append(st.Running, h.describe())
				}
			}
			st.Sessions = append(st.Sessions, v)
		}
		for _, n := range d.noWork {
			st.NoWork = append(st.NoWork, *n)
		}
		return st
	})
	slices.SortFunc(st.NoWork, func(a, b NoWork) int {
		return cmp.Or(b.Count-a.Count, cmp.Compare(a.Reason.Code, b.Reason.Code))
	})
	slices.SortFunc(st.Running, func(a, b Running) int { return bytes.Compare(a.Lease[:], b.Lease[:]) })
	return st, err
}

// Quiet returns the submitters whose leases or verdicts are open here and who have said nothing for so long.
func (d *Driver) Quiet(ctx context.Context, long time.Duration) ([]tasks.NodeID, error) {
	return ask(ctx, d, func() (list []tasks.NodeID) {
		for _, s := range d.order {
			if s.up && len(s.m) > 0 && time.Since(s.spoke) >= long {
				list = append(list, s.peer)
			}
		}
		return list
	})
}

// Pins calls visit with every root that must stay in the store: inputs of leases and checkpoints they name, and outputs without a verdict that
// are not in the log itself, and what tasks can be gone on from.
func (d *Driver) Pins(ctx context.Context, visit func(dag.CID) error) error {
	roots, err := ask(ctx, d, func() (roots []dag.CID) {
		for _, s := range d.order {
			for _, h := range s.leases() {
				roots = append(roots, h.lease.Do.Inputs...)
				if carries(&h.lease) {
					roots = append(roots, h.lease.Travel.From.Root)
				}
				if (h.state == keeping || h.state == committed) && h.promise.Blocks == nil {
					roots = append(roots, h.promise.Root)
				}
			}
		}
		for i := range d.points.list {
			roots = append(roots, d.points.list[i].Root)
		}
		return roots
	})
	if err != nil {
		return err
	}
	for _, c := range roots {
		if err := visit(c); err != nil {
			return err
		}
	}
	return nil
}

// Dropped returns how many messages and offers were not acted upon since the start: repeated, or about nothing of ours.
func (d *Driver) Dropped() int64 { return d.dropped.Load() }

// warm is how long the runners of a job are kept after its last lease here ended.
const warm = 30 * time.Second

// user counts the leases of one job here.
type user struct {
	leases int
	timer  *time.Timer // lets the job's runners go; nil while there are leases
}

// uses notes a lease of a job; unuses its end.
func (d *Driver) uses(id tasks.JobID) {
	u := d.users[id]
	if u == nil {
		u = &user{}
		d.users[id] = u
	}
	if u.leases++; u.timer != nil {
		u.timer.Stop()
	}
}

func (d *Driver) unuses(id tasks.JobID) {
	u := d.users[id]
	if u == nil {
		return
	}
	if u.leases--; u.leases > 0 {
		return
	}
	if u.timer != nil {
		u.timer.Reset(warm)
		return
	}
	u.timer = time.AfterFunc(warm, func() {
		d.box.Post(func() {
			if u.leases == 0 && d.users[id] == u {
				delete(d.users, id)
				d.o.Executor.Release(id)
			}
		})
	})
}

// shownOutput is an output that its submitter has asked to see.
type shownOutput struct {
	root   dag.CID
	mu     sync.Mutex
	blocks map[dag.CID]struct{} // once somebody asked
}

// MayServe reports whether a peer may have a block because it is part of an output it has asked this node to reveal, of the
// checkpoint of a task that went back to it, or of a public input of a lease. It reads the store the first time an output is asked about and may be called from any
// goroutine.
func (d *Driver) MayServe(submitter tasks.NodeID, c dag.CID) bool {
	if d.shared.has(c) {
		return true
	}
	d.served.RLock()
	list := slices.AppendSeq(slices.Collect(maps.Values(d.outputs[submitter])), maps.Values(d.left[submitter]))
	d.served.RUnlock()
	for _, o := range list {
		if d.covers(o, c) {
			return true
		}
	}
	return false
}

func (d *Driver) covers(o *shownOutput, c dag.CID) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.blocks == nil {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		set := map[dag.CID]struct{}{}
		if err := dag.Reach(ctx, d.o.Blobs, o.root, func(c dag.CID) (bool, error) {
			set[c] = struct{}{}
			return true, nil
		}); err != nil {
			return false
		}
		o.blocks = set
	}
	_, ok := o.blocks[c]
	return ok
}

func ptr[T any](v T) *T { return &v }
