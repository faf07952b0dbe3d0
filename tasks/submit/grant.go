package submit

import (
	"context"
	"slices"
	"sync"
	"time"

	"kith/storage/dag"
	"kith/tasks"
	"kith/tasks/job"
	"kith/tasks/match"
	"kith/tasks/wire"
)

// grant is one lease without a verdict.
type grant struct {
	job       tasks.JobID
	ref       job.Ref
	salt      [32]byte
	inputs    []dag.CID
	public    bool
	point     dag.CID // the checkpoint it goes on from
	committed bool
	got       wire.Delivery        // once all bytes of its result are here; the loop's
	told      bool                 // of its verdict; the loop's
	blocks    map[dag.CID]struct{} // below inputs, once somebody asked; nil for a public job
	walked    bool
	folder    map[dag.CID]struct{} // below point, once somebody asked
}

// grants is the leases of one worker without a verdict. The loop changes it; the session's reader and MayServe read it.
type grants struct {
	worker tasks.NodeID
	held   int // of them without a commit; the loop's
	mu     sync.Mutex
	m      map[tasks.LeaseID]*grant
}

func newGrants(worker tasks.NodeID) *grants {
	return &grants{worker: worker, m: map[tasks.LeaseID]*grant{}}
}

func (g *grants) add(l tasks.LeaseID, x *grant) {
	g.mu.Lock()
	g.m[l] = x
	g.mu.Unlock()
	if !x.committed {
		g.held++
	}
}

func (g *grants) get(l tasks.LeaseID) *grant {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.m[l]
}

// commit notes that a lease takes none of the worker's slots any more.
func (g *grants) commit(l tasks.LeaseID) {
	if x := g.get(l); x != nil && !x.committed {
		x.committed = true
		g.held--
	}
}

func (g *grants) remove(l tasks.LeaseID) {
	g.commit(l)
	g.mu.Lock()
	delete(g.m, l)
	g.mu.Unlock()
}

// awaited reports whether a lease waits for nothing but its verdict.
func (x *grant) awaited(jobs map[tasks.JobID]*running, l tasks.LeaseID) bool {
	j := jobs[x.job]
	return x.committed && j != nil && !j.state.Phase().Over() && j.state.Awaits(x.ref, l)
}

// pending returns the leases with a commit: those that may come to wait for nothing but their verdict.
func (g *grants) pending() map[tasks.LeaseID]*grant {
	g.mu.Lock()
	defer g.mu.Unlock()
	var out map[tasks.LeaseID]*grant
	for l, x := range g.m {
		if x.committed {
			if out == nil {
				out = map[tasks.LeaseID]*grant{}
			}
			out[l] = x
		}
	}
	return out
}

// renew gives the leases of one task its inputs. After a restart they are made anew, and a worker may have come back
// with such a lease before they are there.
func (g *grants) renew(id tasks.JobID, ref job.Ref, inputs []dag.CID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, x := range g.m {
		if x.job == id && x.ref == ref && !slices.Equal(x.inputs, inputs) {
			x.inputs, x.walked, x.blocks = inputs, false, nil
		}
	}
}

// of counts the leases of one job.
func (g *grants) of(id tasks.JobID) (n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, x := range g.m {
		if x.job == id {
			n++
		}
	}
	return n
}

// forget drops the leases of a job that is over.
func (g *grants) forget(id tasks.JobID) {
	for l, x := range g.m {
		if x.job == id {
			g.remove(l)
		}
	}
}

// defaultLife bounds the time for which a lease is given, beside the task's own limit: waiting for a slot, and fetching.
const defaultLife = 2 * time.Minute

// prepare works out what every lease of a stage says. It runs once the stages are known.
func (d *Driver) prepare(j *running) {
	if len(j.plan) == j.state.Stages() {
		return
	}
	spec := &j.state.Job().Spec
	j.plan = make([]stagePlan, j.state.Stages())
	for i := range j.plan {
		p := &j.plan[i]
		st := j.state.Stage(i)
		for _, step := range st.Steps {
			p.kinds = append(p.kinds, step.Kind+"/"+step.Phase)
			k, err := d.o.Kinds.Kind(step.Kind)
			if err != nil {
				continue // the job was accepted by a version that knew the kind; workers will refuse it by name
			}
			desc := k.Describe()
			p.code = codeHash(p.code, &desc)
			p.needs = stronger(p.needs, desc.Needs)
			p.limits = larger(p.limits, desc.Limits)
		}
		if st.Comparison == tasks.Numeric && len(st.Steps) > 0 {
			p.floats = st.Steps[len(st.Steps)-1].Kind
		}
		p.limits = override(scale(p.limits, spec.PartBytes), spec.Limits)
		life := max(defaultLife.Milliseconds(), 2*p.limits.WallMillis) + defaultLife.Milliseconds()
		p.life = min(life, wire.MaxLeaseTime.Milliseconds())
	}
}

// unfit says why a session gets nothing of a job, or nil.
func (d *Driver) unfit(j *running, s *session) *tasks.Reason {
	spec := &j.state.Job().Spec
	d.prepare(j)
	need := match.Need{Policy: &spec.Policy, Class: spec.Policy.DeviceClass, Sandbox: spec.Policy.MinSandbox}
	for i := range spec.Ops {
		need.Kinds = append(need.Kinds, spec.Ops[i].Kind)
	}
	for i := range j.plan {
		need.Sandbox = max(need.Sandbox, j.plan[i].needs.Sandbox)
		need.Memory = max(need.Memory, j.plan[i].needs.Memory)
		need.Class = strongerClass(need.Class, j.plan[i].needs.Class)
	}
	n := match.Node{
		ID: s.peer.id, Region: s.cap.Region, Class: s.cap.Class, Band: s.cap.Band, Reliable: 1000, Honest: 1000,
		Sandbox: s.cap.Sandbox, Memory: s.cap.Memory, Kinds: s.kinds, Free: 1, Load: s.load,
	}
	if spec.Policy.Strict && d.o.Locate != nil && s.addr.IsValid() {
		n.Seen = d.o.Locate(s.addr, time.Duration(s.rtt)*time.Millisecond)
	}
	if code, no := match.Refuse(&need, &n); no {
		return &tasks.Reason{Code: code}
	}
	return d.cutOff(j, s)
}

// fits is unfit, remembered while neither the session nor the plan changes.
func (d *Driver) fits(j *running, s *session) bool {
	if until, ok := s.declined[j]; ok && time.Now().UnixMilli() < until {
		return false
	}
	if s.fit == nil {
		s.fit = map[*running]bool{}
	}
	ok, known := s.fit[j]
	if known && ok && s.relayed && d.cutOff(j, s) != nil || known && !ok && (s.relayed || j.state.Job().Spec.Policy.Strict) {
		known = false // the way to it comes and goes, and how far it is is measured again
	}
	if !known || len(j.plan) != j.state.Stages() {
		r := d.unfit(j, s)
		before, seen := s.fit[j]
		ok = r == nil
		s.fit[j] = ok
		if r != nil && (before || !seen) {
			j.refused[r.Code]++
		}
	}
	return ok
}

// lease makes the promise for one replica.
func (d *Driver) lease(j *running, s *session, ref job.Ref, now int64) (tasks.Lease, error) {
	st := j.state.Stage(ref.Stage)
	inputs := j.state.Inputs(ref)
	attempt := j.state.Handle(ref)
	task := j.state.TaskID(ref)
	life := s.stay().Life(j.state.Life(s.peer.id, j.plan[ref.Stage].life), d.trust.Get(s.peer.id, now).Kept())
	expiry := now + min(life, wire.MaxLeaseTime.Milliseconds())
	id := tasks.NewLeaseID(j.id, task, attempt, s.peer.id, s.epoch, expiry)
	var keys [][]byte
	if j.state.Job().Spec.Sensitivity == tasks.Approved {
		for i := range inputs {
			k := sealKey(j.state.Secret(), ref, i)
			keys = append(keys, k[:])
		}
	}
	var public dag.CID
	if j.state.Job().Spec.Sensitivity == tasks.Public {
		public = j.state.Job().Spec.Input
	}
	return tasks.Lease{
		ID: id, Attempt: attempt, Worker: s.peer.id, Epoch: s.epoch, Granted: now, Expiry: expiry,
		Salt: salt(j.state.Secret(), id),
		Do: tasks.Assignment{
			Job: j.id, Task: task, Stage: ref.Stage, Mode: st.Mode, Index: ref.Index, Parts: j.state.Parts(),
			Ranges: st.Ranges, Steps: st.Steps, Inputs: inputs, Keys: keys, Public: public, Seed: j.state.Job().Spec.Seed, Limits: j.plan[ref.Stage].limits,
		},
	}, nil
}

// whyNothing says why a worker that just came gets no work, or nil.
func (d *Driver) whyNothing(s *session) *tasks.Reason {
	if len(d.active) == 0 {
		return &tasks.Reason{Code: tasks.NoTasksLeft, RetryMillis: idleRetry.Milliseconds()}
	}
	var last *tasks.Reason
	full := 0
	for _, j := range d.active {
		switch r := d.unfit(j, s); {
		case r != nil:
			j.refused[r.Code]++
			last = r
		case d.surplus(j, s):
			full++
			j.refused[tasks.Filled]++
		case !j.state.HasOpen():
			last = &tasks.Reason{Code: tasks.NoTasksLeft}
		default:
			return nil
		}
	}
	if full == len(d.active) {
		return &tasks.Reason{Code: tasks.Filled, RetryMillis: fullRetry.Milliseconds()}
	}
	if last != nil {
		last.RetryMillis = idleRetry.Milliseconds()
	}
	return last
}

// ask notes how much a worker takes: so many leases beside those it has; none at all if it says 0.
func (d *Driver) ask(s *session, m *wire.Ask) {
	s.window = 0
	if m.Slots > 0 {
		s.window = m.Slots + s.grants.held
	}
	s.load = m.Load
	before := s.kinds
	if s.allows(m.Kinds) {
		s.fit = nil
		if !slices.Equal(before, s.kinds) {
			clear(s.declined) // what it could not take, its owner may have allowed since
		}
	}
}

// allows notes the kinds of an ask, if it names some.
func (s *session) allows(kinds []string) bool {
	if len(kinds) == 0 {
		return false
	}
	s.kinds = kinds
	return true
}

// MayServe reports whether a peer may have a block that is in this node's store because of a job: any block of an input
// of one of its live leases, and of an unfinished public job any block of its data and of an input that somebody was
// leased. It reads the store the first time a lease is asked about and may be called from any goroutine.
func (d *Driver) MayServe(worker tasks.NodeID, c dag.CID) bool {
	d.served.RLock()
	for _, set := range d.publicB {
		if _, ok := set[c]; ok {
			d.served.RUnlock()
			return true
		}
	}
	g := d.grantsB[worker]
	d.served.RUnlock()
	if g == nil {
		return false
	}
	g.mu.Lock()
	list := make([]*grant, 0, len(g.m))
	for _, x := range g.m {
		list = append(list, x)
	}
	g.mu.Unlock()
	for _, x := range list {
		if d.covers(g, x, c) {
			return true
		}
	}
	return false
}

// covers reports whether c is below the inputs of a lease.
func (d *Driver) covers(g *grants, x *grant, c dag.CID) bool {
	g.mu.Lock()
	walked, blocks, inputs := x.walked, x.blocks, x.inputs
	g.mu.Unlock()
	if x.point.Defined() && d.pointCovers(g, x, c) {
		return true
	}
	if !walked {
		ctx, cancel := context.WithTimeout(context.Background(), handshake)
		defer cancel()
		blocks = map[dag.CID]struct{}{}
		for _, root := range inputs {
			if err := dag.Reach(ctx, d.o.Blobs, root, func(c dag.CID) (bool, error) {
				blocks[c] = struct{}{}
				return true, nil
			}); err != nil {
				return false
			}
		}
		if x.public {
			d.publish(x.job, blocks)
		}
		g.mu.Lock()
		if slices.Equal(inputs, x.inputs) {
			x.walked = true
			if !x.public {
				x.blocks = blocks
			}
		}
		g.mu.Unlock()
	}
	_, ok := blocks[c]
	return ok
}

// publish lets everybody have blocks until the job is over.
func (d *Driver) publish(id tasks.JobID, blocks map[dag.CID]struct{}) {
	d.served.Lock()
	defer d.served.Unlock()
	set := d.publicB[id]
	if set == nil {
		set = map[dag.CID]struct{}{}
		d.publicB[id] = set
	}
	for b := range blocks {
		set[b] = struct{}{}
	}
}

// openPublic lets everybody have the data of a public job, which is announced.
func (d *Driver) openPublic(j *running) {
	spec := &j.state.Job().Spec
	if spec.Sensitivity != tasks.Public || !spec.Input.Defined() {
		return
	}
	root := spec.Input
	d.aside(j, func(ctx context.Context) func() {
		blocks := map[dag.CID]struct{}{}
		err := dag.Reach(ctx, d.o.Blobs, root, func(c dag.CID) (bool, error) {
			blocks[c] = struct{}{}
			return true, nil
		})
		return func() {
			if err != nil { // the split will meet it too, and says so
				d.log.Warn("Public data cannot be read", slogJob(j.id), slogErr(err))
				return
			}
			d.publish(j.id, blocks)
		}
	})
}

// PublicInputs returns the roots of the data of unfinished public jobs: what may be announced, and nothing else of this
// side may.
func (d *Driver) PublicInputs(ctx context.Context) ([]dag.CID, error) {
	return ask(ctx, d, func() (roots []dag.CID) {
		for _, j := range d.active {
			if spec := &j.state.Job().Spec; spec.Sensitivity == tasks.Public && spec.Input.Defined() {
				roots = append(roots, spec.Input)
			}
		}
		return roots
	})
}

func isPublic(s tasks.Sensitivity) bool { return s == tasks.Public || s == tasks.Synthetic }
