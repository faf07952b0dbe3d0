package submit

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"iter"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"kith/storage/dag"
	"kith/tasks"
	"kith/tasks/deal"
	"kith/tasks/job"
	"kith/tasks/mailbox"
	"kith/tasks/tokens"
	"kith/tasks/trust"
	"kith/tasks/verify"
	"kith/tasks/wire"
)

// Driver is the submitter's side of a node. Make one with New and run it with Serve; every other method may be called
// from any goroutine, before Serve too (then it waits), and returns ErrStopped after Serve has returned.
type Driver struct {
	o    Options
	self tasks.NodeID
	log  *slog.Logger

	box     *mailbox.Box[func()]
	stopped chan struct{}        // closed when Serve has returned
	storing *mailbox.Box[stored] // decisions for the store's goroutine
	cpu     chan struct{}        // places for splits, gathers, merges, digests
	net     chan struct{}        // places for fetches

	served  sync.RWMutex // guards what MayServe reads
	grantsB map[tasks.NodeID]*grants
	publicB map[tasks.JobID]map[dag.CID]struct{}

	dropped atomic.Int64 // messages of peers that were not acted upon
	logged  atomic.Int64 // records since the last snapshot

	// Owned by the loop.
	ctx       context.Context // of Serve
	work      sync.WaitGroup
	jobs      map[tasks.JobID]*running
	active    []*running // not over, oldest first
	sessions  map[tasks.NodeID]*session
	peers     map[tasks.NodeID]*peer
	owing     map[tasks.NodeID]*owed
	recalled  int                       // receipts in owing that were replayed
	turn      int                       // round robin over active
	roomy     []*session                // that could take a lease, while leases are dealt
	table     deal.Table                // of the job whose turn it is
	seats     []dealt                   // by key of the table
	rates     map[[32]byte]rates        // by workKey
	ratesAt   int64                     // when they must be written down, 0: they are
	keeping   bool                      // they are being written down
	fetched   tokens.Each[tasks.NodeID] // checkpoints, by whom they were fetched from
	strange   map[string]int            // leases of workers without a record, by network origin; while the table is laid
	trust     *trust.Book               // what this node thinks of workers
	doubted   map[tasks.NodeID]struct{} // whose records changed since they were last logged
	noteAt    int64                     // when they must be, 0: nothing to log
	hungry    bool                      // somebody may have something to do
	againAt   int64                     // when to look again for workers that could take nothing, 0: there are none
	nextTick  int64
	lastSeq   uint64 // everything up to it is folded into the jobs
	saving    bool   // a snapshot is being written
	proofs    []wire.Evidence
	tokenSeed [32]byte
}

// New makes a driver. It does nothing before Serve.
func New(o Options) *Driver {
	if o.MaxSessions == 0 {
		o.MaxSessions = 256
	}
	if o.MaxJobs == 0 {
		o.MaxJobs = 1024
	}
	if o.Parallel == 0 {
		o.Parallel = runtime.GOMAXPROCS(0)
	}
	if o.Checkpoints == 0 {
		o.Checkpoints = 1 << 30
	}
	if o.SnapshotEvery == 0 {
		o.SnapshotEvery = 50_000
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Driver{
		o: o, self: tasks.NodeID(o.Key.Public().(ed25519.PublicKey)), log: o.Logger,
		box: mailbox.New[func()](), storing: mailbox.New[stored](), stopped: make(chan struct{}),
		cpu: make(chan struct{}, o.Parallel), net: make(chan struct{}, 16),
		grantsB: map[tasks.NodeID]*grants{}, publicB: map[tasks.JobID]map[dag.CID]struct{}{},
		jobs: map[tasks.JobID]*running{}, sessions: map[tasks.NodeID]*session{}, peers: map[tasks.NodeID]*peer{}, owing: map[tasks.NodeID]*owed{},
		strange: map[string]int{}, rates: map[[32]byte]rates{}, trust: trust.NewBook(), doubted: map[tasks.NodeID]struct{}{},
		tokenSeed: sha256.Sum256(append([]byte("kith/session-token/1"), o.Key.Seed()...)),
	}
}

// String names the part in a supervisor's log.
func (d *Driver) String() string { return "submit" }

// Serve recovers all jobs from the log and runs them until ctx ends. It may be called once.
func (d *Driver) Serve(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	d.ctx = ctx
	defer close(d.stopped)
	defer d.keepRatesNow()
	defer d.work.Wait()
	defer d.closeSessions()
	defer d.writeTrust(false)
	defer cancel()
	d.loadRates()
	if err := d.recover(ctx); err != nil {
		return fmt.Errorf("recover jobs: %w", err)
	}
	d.work.Go(d.store)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		d.arm(timer)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
		case <-d.box.Wake:
		}
		items := d.box.Take()
		for len(items) > 0 {
			n := min(len(items), 256)
			for _, f := range items[:n] {
				f()
			}
			items = items[n:]
			d.tick()
			d.grant()
			d.flush()
		}
		d.tick()
		d.grant()
		d.flush()
		d.snapshot()
	}
}

// arm sets the timer to the next moment at which something is due.
func (d *Driver) arm(t *time.Timer) {
	if d.nextTick == 0 {
		t.Reset(time.Hour)
		return
	}
	t.Reset(time.Until(time.UnixMilli(d.nextTick)))
}

func (d *Driver) due(at int64) {
	if at > 0 && (d.nextTick == 0 || at < d.nextTick) {
		d.nextTick = at
	}
}

// tick runs every clock that has ended.
func (d *Driver) tick() {
	now := time.Now().UnixMilli()
	if d.nextTick == 0 || now < d.nextTick {
		return
	}
	d.nextTick = 0
	if d.noteAt != 0 && d.noteAt <= now {
		d.writeTrust(false)
	}
	d.due(d.noteAt)
	d.keepRates(now)
	if d.againAt != 0 && d.againAt <= now {
		d.againAt, d.hungry = 0, true
	}
	d.due(d.againAt)
	for _, j := range slices.Clone(d.active) {
		if at, ok := j.state.NextTick(); ok && at <= now {
			d.step(j, job.Tick{}, now)
		}
		d.offer(j, now)
		if j.retryAt != 0 && j.retryAt <= now {
			j.retryAt = 0
			d.act(j, func(a *job.Actions) { j.state.Retry(now, a) }, now)
		}
		if at, ok := j.state.NextTick(); ok {
			d.due(at)
		}
		d.due(j.retryAt)
		d.due(j.offerAt)
	}
	for _, s := range d.sessions {
		d.sessionClocks(s, now)
	}
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

// Submit accepts a job. It returns when the job is on stable storage. Zero fields of the spec get their defaults. The same
// spec with the same nonce is the same job: asking again for it changes nothing.
func (d *Driver) Submit(ctx context.Context, spec tasks.Spec) (tasks.JobID, error) {
	if err := d.complete(&spec); err != nil {
		return tasks.JobID{}, err
	}
	if err := d.size(ctx, &spec); err != nil {
		return tasks.JobID{}, err
	}
	block, err := dag.Marshal(&spec)
	if err != nil {
		return tasks.JobID{}, err
	}
	root := dag.Sum(dag.DagCBOR, dag.SHA256, block)
	if err := d.o.Blobs.Put(ctx, root, block); err != nil {
		return tasks.JobID{}, fmt.Errorf("store the spec: %w", err)
	}
	ev := &job.Accepted{Job: tasks.Job{
		ID: tasks.NewJobID(spec.Network, d.self, root, spec.Nonce), Submitter: d.self, SpecRoot: root, Spec: spec,
		Created: time.Now().UnixMilli(),
	}}
	rand.Read(ev.Secret[:])
	result := make(chan error, 1)
	if err := d.do(ctx, func() {
		if _, there := d.jobs[ev.Job.ID]; there { // its owner did not hear that it was accepted, and asks again
			result <- nil
			return
		}
		if len(d.active) >= d.o.MaxJobs {
			result <- fmt.Errorf("%w: %d, limit %d", ErrBusy, len(d.active), d.o.MaxJobs)
			return
		}
		d.append(ev.Job.ID, ev, func(err error) {
			if _, there := d.jobs[ev.Job.ID]; err == nil && !there {
				d.begin(d.add(ev))
			}
			result <- err
		})
	}); err != nil {
		return tasks.JobID{}, err
	}
	select {
	case err = <-result:
	case <-ctx.Done():
		err = ctx.Err()
	case <-d.stopped:
		err = ErrStopped
	}
	if err != nil {
		return tasks.JobID{}, err
	}
	return ev.Job.ID, nil
}

// complete checks a spec and fills in what was left out.
func (d *Driver) complete(s *tasks.Spec) error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s", tasks.ErrSpec, fmt.Sprintf(format, args...))
	}
	if s.Version == 0 {
		s.Version = tasks.SpecVersion
	}
	if s.Network == "" {
		s.Network = d.o.Network
	}
	p := &s.Policy
	if p.K == 0 {
		p.K = 2
	}
	if p.N == 0 && p.Replication == tasks.Adaptive {
		p.N = verify.MaxN // a dispute is settled by a lead
	}
	if p.N == 0 {
		p.N = p.K + 1
	}
	if p.Replication == tasks.Fixed {
		p.Replication = "" // as specs have said it from the beginning
	}
	if p.DeviceClass == "" {
		p.DeviceClass = tasks.CPU
	}
	if s.Nonce == (tasks.Nonce{}) {
		rand.Read(s.Nonce[:])
	}
	switch s.Sensitivity {
	case tasks.Public, tasks.Synthetic, tasks.Approved:
	case tasks.Private, "":
		return fmt.Errorf("%w (tag it public, synthetic or approved, or run it here with kith local)", ErrPrivate)
	default:
		return bad("sensitivity %q is not public, synthetic, approved or private", s.Sensitivity)
	}
	switch {
	case s.Version != tasks.SpecVersion:
		return bad("version %d, this program knows %d", s.Version, tasks.SpecVersion)
	case s.Network != d.o.Network:
		return bad("network %q, this node is on %q", s.Network, d.o.Network)
	case len(s.Name) > 200:
		return bad("the name has %d bytes, at most 200", len(s.Name))
	case p.K < 1 || p.K > 8:
		return bad("k is %d, want 1 to 8", p.K)
	case p.MinGrade < 0 || p.MinGrade > wire.MaxBand:
		return bad("the least grade is %d, want 0 to %d", p.MinGrade, wire.MaxBand)
	case p.Replication != "" && p.Replication != tasks.Adaptive:
		return bad("replication %q is not fixed or adaptive", p.Replication)
	case p.Replication == tasks.Adaptive && p.K < 2:
		return bad("adaptive replication compares newcomers' results: k is %d, want at least 2", p.K)
	case p.N < p.K || p.N > 16:
		return bad("n is %d, want k to 16", p.N)
	case p.AimMillis < 0 || p.AimMillis > longestAim.Milliseconds():
		return bad("a task should take %d ms, want 0 to %d", p.AimMillis, longestAim.Milliseconds())
	case p.NodeLimit < 0 || p.NodeLimit != 0 && p.NodeLimit < p.K:
		return bad("the node limit is %d, fewer than the %d that must agree", p.NodeLimit, p.K)
	case p.Deadline != 0 && p.Deadline <= time.Now().UnixMilli():
		return bad("the deadline has passed")
	case len(p.Regions) > 0 && !slices.ContainsFunc(p.Regions, func(r string) bool { return !slices.Contains(p.Excluded, r) }):
		return bad("no region is left: every one that is allowed (%s) is excluded too; allow another one", strings.Join(p.Regions, ", "))
	case len(s.Ops) == 0 || len(s.Ops) > tasks.MaxOps:
		return bad("%d ops, want 1 to %d", len(s.Ops), tasks.MaxOps)
	}
	s.Ops = slices.Clone(s.Ops)
	for i := range s.Ops {
		k, err := d.o.Kinds.Kind(s.Ops[i].Kind)
		if err != nil {
			return fmt.Errorf("%w: op %d: %w", tasks.ErrSpec, i+1, err)
		}
		if s.Ops[i].Params, err = k.Check(s.Ops[i].Params); err != nil {
			return fmt.Errorf("%w: op %d (%s): %w", tasks.ErrSpec, i+1, s.Ops[i].Kind, err)
		}
		if i == 0 && k.Describe().Needs.Input && !s.Input.Defined() {
			return bad("%s needs an input", s.Ops[i].Kind)
		}
	}
	if _, err := tasks.Plan(s.Ops, 1, d.o.Kinds); err != nil {
		return fmt.Errorf("%w: %w", tasks.ErrSpec, err)
	}
	return nil
}

// Cancel ends a job. It returns when that is on stable storage; a job that is over stays as it is.
func (d *Driver) Cancel(ctx context.Context, id tasks.JobID) error {
	result := make(chan error, 1)
	if err := d.do(ctx, func() {
		j, ok := d.jobs[id]
		switch {
		case !ok:
			result <- fmt.Errorf("%w: %s", ErrNoJob, id)
		case j.state.Phase().Over():
			result <- nil
		default:
			ev := &job.Ended{Cancelled: true, Reason: tasks.Reason{Code: tasks.JobCancelled}}
			d.append(id, ev, func(err error) {
				if err == nil {
					d.step(j, ev, time.Now().UnixMilli())
				}
				result <- err
			})
		}
	}); err != nil {
		return err
	}
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-d.stopped:
		return ErrStopped
	}
}

// Jobs returns all jobs, the newest first.
func (d *Driver) Jobs(ctx context.Context) ([]Status, error) {
	list, err := ask(ctx, d, func() (list []Status) {
		for _, j := range d.jobs {
			list = append(list, d.status(j))
		}
		return list
	})
	slices.SortFunc(list, func(a, b Status) int {
		return cmp.Or(cmp.Compare(b.Created, a.Created), bytes.Compare(a.ID[:], b.ID[:]))
	})
	return list, err
}

// of asks something about one job.
func of[T any](ctx context.Context, d *Driver, id tasks.JobID, f func(*running) T) (T, error) {
	got, err := ask(ctx, d, func() *T {
		if j, ok := d.jobs[id]; ok {
			return ptr(f(j))
		}
		return nil
	})
	if err == nil && got == nil {
		err = fmt.Errorf("%w: %s", ErrNoJob, id)
	}
	if err != nil {
		return *new(T), err
	}
	return *got, nil
}

// Job returns one job.
func (d *Driver) Job(ctx context.Context, id tasks.JobID) (Status, error) {
	return of(ctx, d, id, d.status)
}

// Explain says what a job waits for.
func (d *Driver) Explain(ctx context.Context, id tasks.JobID) (Explanation, error) {
	return of(ctx, d, id, d.explain)
}

// Follow yields a job's status now, after changes (at most ten times a second), and a last time when it is over.
func (d *Driver) Follow(ctx context.Context, id tasks.JobID) iter.Seq2[Status, error] {
	const gap = 100 * time.Millisecond
	return func(yield func(Status, error) bool) {
		for {
			now, err := of(ctx, d, id, func(j *running) followed {
				f := followed{status: d.status(j), changed: j.watch()}
				if j.ctx != nil {
					f.over = j.ctx.Done()
				}
				return f
			})
			if !yield(now.status, err) || err != nil || now.status.Phase.Over() {
				return
			}
			for _, wait := range []<-chan struct{}{after(gap), now.changed} {
				select {
				case <-wait:
				case <-now.over:
				case <-ctx.Done():
				case <-d.stopped:
				}
			}
		}
	}
}

// followed is a status and what to wait for after it.
type followed struct {
	status        Status
	changed, over <-chan struct{}
}

// after returns a channel that is closed after a time.
func after(t time.Duration) <-chan struct{} {
	c := make(chan struct{})
	time.AfterFunc(t, func() { close(c) })
	return c
}

// Sessions returns the connected workers.
func (d *Driver) Sessions(ctx context.Context) ([]Session, error) {
	list, err := ask(ctx, d, func() (list []Session) {
		for id, s := range d.sessions {
			list = append(list, Session{
				Worker: id, Group: s.peer.origin, Region: s.cap.Region, Since: s.since,
				InFlight: s.grants.held, Room: s.room(), Load: s.load,
				Score: d.trust.Get(id, time.Now().UnixMilli()).Score(),
			})
		}
		return list
	})
	slices.SortFunc(list, func(a, b Session) int { return bytes.Compare(a.Worker[:], b.Worker[:]) })
	return list, err
}

// Pins calls visit with every root that must stay in the store: specs, inputs, what unfinished jobs build on, results.
func (d *Driver) Pins(ctx context.Context, visit func(dag.CID) error) error {
	roots, err := ask(ctx, d, func() (roots []dag.CID) {
		for _, j := range d.jobs {
			roots = append(roots, j.state.Job().SpecRoot, j.state.Result())
			if !j.state.Phase().Over() {
				roots = append(roots, j.state.Job().Spec.Input)
				j.state.Roots(func(c dag.CID) { roots = append(roots, c) })
			}
		}
		return roots
	})
	if err != nil {
		return err
	}
	for _, c := range roots {
		if c.Defined() {
			if err := visit(c); err != nil {
				return err
			}
		}
	}
	return nil
}

// Dropped returns how many messages were not acted upon since the start: about leases their sender does not hold, or
// countersignatures of unknown batches.
func (d *Driver) Dropped() int64 { return d.dropped.Load() }
