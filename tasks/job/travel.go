package job

import (
	"slices"

	"kith/storage/dag"
	"kith/tasks"
)

// A task that is handed back before it is done may leave a checkpoint, and its next worker go on from there. Its result then
// holds the work of both, and of everybody they went on from: its past. Results count together only if nobody in the past of
// the one is, or is near, somebody in that of the other: what a liar left makes no two of them agree. One that holds more
// than its worker's own work is never believed alone, and if it loses, nobody knows who of them is to blame: none is blamed,
// and none of them is gone on from any more. Audits begin at the beginning.

// Bounds of what is kept of one task.
const (
	maxPoints = 4 // checkpoints
	maxPast   = 8 // workers whose work one holds
)

// source is a worker whose work is in something, and where it was then: in State.places.
type source struct{ worker, place uint32 }

// point is a checkpoint.
type point struct {
	root                    dag.CID
	bytes, done, total, cpu int64
	by                      []source // whose work it holds; who left it comes first
}

// carried is what a replica went on from.
type carried struct {
	past        []source // beside its own worker
	at          dag.CID  // the checkpoint; undefined of a vote that an audit begins with
	done, total int64    // how far that was
}

// has reports whether a worker's work is in what a replica went on from.
func (c *carried) has(w uint32) bool {
	return c != nil && among(c.past, w)
}

// among reports whether a worker's work is among that of others.
func among(by []source, w uint32) bool {
	return slices.ContainsFunc(by, func(o source) bool { return o.worker == w })
}

// lineage is the past of one voter's accepted result.
type lineage struct {
	voter uint32
	past  []source
}

// Checkpoint is one that a worker may go on from.
type Checkpoint struct {
	Root        dag.CID
	Bytes       int64
	Done, Total int64          // how far it is
	CPUMillis   int64          // that it has cost
	Past        []tasks.NodeID // whose work it holds
}

// WantsLeft reports whether the checkpoint that a worker leaves of a task with a lease that it handed back is of use: only
// then is Left logged and stepped.
func (s *State) WantsLeft(ref Ref, worker tasks.NodeID, lease tasks.LeaseID) bool {
	return s.leaves(ref, worker, lease) != nil
}

// leaves finds the replica that a worker has handed back and may leave a checkpoint of.
func (s *State) leaves(ref Ref, worker tasks.NodeID, lease tasks.LeaseID) *replica {
	w, known := s.byID[worker]
	t := s.at(ref)
	if t == nil || !known || t.phase != open && t.phase != deciding {
		return nil
	}
	i := slices.IndexFunc(t.reps, func(r replica) bool { return r.lease == lease && r.worker == w })
	if i < 0 || t.reps[i].state != returned || !s.sound(t.reps[i].held()) {
		return nil
	}
	return &t.reps[i]
}

// held lists whose work a replica holds, its worker first.
func (r *replica) held() []source {
	by := []source{{r.worker, r.place}}
	if r.from != nil {
		by = append(by, r.from.past...)
	}
	return by
}

// left folds what a worker left of a task.
func (s *State) left(ev *Left) {
	r := s.leaves(ev.Task, ev.Worker, ev.Lease)
	if r == nil || !ev.Root.Defined() || ev.Bytes < 0 || ev.Done < 0 || ev.Total < 0 || ev.CPUMillis < 0 {
		return
	}
	p := point{root: ev.Root, bytes: ev.Bytes, done: ev.Done, total: ev.Total, cpu: ev.CPUMillis, by: r.held()}
	list := slices.DeleteFunc(s.points[ev.Task], func(o point) bool { return o.root == p.root || sameWorkers(o.by, p.by) })
	if list = append(list, p); len(list) > maxPoints {
		list = list[len(list)-maxPoints:]
	}
	s.points[ev.Task] = list
}

func sameWorkers(a, b []source) bool {
	return !slices.ContainsFunc(a, func(o source) bool { return !among(b, o.worker) }) && !slices.ContainsFunc(b, func(o source) bool { return !among(a, o.worker) })
}

// sound reports whether others may go on with the work of these.
func (s *State) sound(by []source) bool {
	return len(by) <= maxPast && !slices.ContainsFunc(by, func(o source) bool { return s.workers[o.worker].lied || s.workers[o.worker].spoilt })
}

// Carry returns the checkpoint from which a worker at a place may go on with a task that Pick has named: the one that is
// furthest of those whose past clashes with no other replica that is counted upon, with which a quorum can still be had of
// who is here.
func (s *State) Carry(id tasks.NodeID, at Place, ref Ref) (Checkpoint, bool) {
	t := s.at(ref)
	if t == nil || len(s.points[ref]) == 0 {
		return Checkpoint{}, false
	}
	w := s.intern(id)
	p := s.furthest(w, &at, ref, t)
	if p == nil {
		return Checkpoint{}, false
	}
	c := Checkpoint{Root: p.root, Bytes: p.bytes, Done: p.done, Total: p.total, CPUMillis: p.cpu}
	for _, o := range p.by {
		c.Past = append(c.Past, s.workers[o.worker].id)
	}
	return c, true
}

func (s *State) furthest(w uint32, at *Place, ref Ref, t *task) (best *point) {
	if t.phase != open || t.disputed() {
		return nil
	}
	list := s.points[ref]
	for i := range list {
		p := &list[i]
		if best != nil && !further(p, best) || !s.sound(p.by) {
			continue
		}
		past := without(p.by, w)
		if len(past) >= maxPast || slices.ContainsFunc(t.reps, func(r replica) bool { return r.state <= good && !r.spare && s.clash(past, &r) }) {
			continue
		}
		if s.enough(w, at, ref, t, past) {
			best = p
		}
	}
	return best
}

// further reports whether more is done at a than at b; of two that do not say, the newer one, a, is.
func further(a, b *point) bool {
	if a.total > 0 && b.total > 0 {
		return float64(a.done)/float64(a.total) >= float64(b.done)/float64(b.total)
	}
	return true
}

// disputed reports whether two results of a task differ.
func (t *task) disputed() bool {
	var first dag.CID
	for i := range t.reps {
		switch r := &t.reps[i]; {
		case r.state != good:
		case first.Defined() && first != r.root:
			return true
		default:
			first = r.root
		}
	}
	return false
}

// without is a list without one worker: its own work is not its past.
func without(by []source, w uint32) []source {
	return slices.DeleteFunc(slices.Clone(by), func(o source) bool { return o.worker == w })
}

// enough reports whether, with a replica of w that has such a past, there are workers enough for the votes that are missing
// yet: what was done is not worth waiting for others.
func (s *State) enough(w uint32, at *Place, ref Ref, t *task, past []source) bool {
	if len(past) == 0 {
		return true
	}
	missing := s.need(t) - 1
	for i := range t.reps {
		if r := &t.reps[i]; r.state <= good && !r.spare {
			missing--
		}
	}
	for i := range s.workers {
		if missing <= 0 {
			break
		}
		x, o := &s.workers[i], source{uint32(i), s.workers[i].place}
		if o.worker == w || x.down || x.lied || s.bar(o.worker, &s.places[x.place], ref) != "" || near(at, &s.places[x.place]) {
			continue
		}
		if !slices.ContainsFunc(past, func(p source) bool { return p.worker == o.worker || s.beside(p, o) }) {
			missing--
		}
	}
	return missing <= 0
}

// carry folds the grant of a lease that goes on from a checkpoint. Without the checkpoint there is no such lease: nobody
// would know what its result holds.
func (s *State) carry(ev *Carried, now int64) {
	t := s.at(ev.Item.Task)
	i := slices.IndexFunc(s.points[ev.Item.Task], func(p point) bool { return p.root == ev.Root })
	if t == nil || i < 0 {
		return
	}
	p := &s.points[ev.Item.Task][i]
	before := len(t.reps)
	s.grantAs(ev.Worker, &ev.Item, 0, now)
	if len(t.reps) == before {
		return
	}
	r := &t.reps[before]
	past := without(p.by, r.worker)
	if len(past) == 0 {
		return // its own
	}
	r.from = &carried{past: past, at: p.root, done: p.done, total: p.total}
	s.carried++
	s.spared += p.cpu
	s.requeue(ev.Item.Task, t)
}

func (s *State) mislaid(ev *Mislaid) {
	list := slices.DeleteFunc(s.points[ev.Task], func(p point) bool { return p.root == ev.Root })
	if s.points[ev.Task] = list; len(list) == 0 {
		delete(s.points, ev.Task)
	}
}

// Checkpoints calls visit with every checkpoint of tasks that are not done.
func (s *State) Checkpoints(visit func(Ref, dag.CID)) {
	for ref, list := range s.points {
		for i := range list {
			visit(ref, list[i].root)
		}
	}
}

// CheckpointBytes is how many bytes they have together.
func (s *State) CheckpointBytes() (sum int64) {
	for _, list := range s.points {
		for i := range list {
			sum += list[i].bytes
		}
	}
	return sum
}

// unpoint drops what a liar had a hand in.
func (s *State) unpoint(liar uint32) {
	for ref, list := range s.points {
		list = slices.DeleteFunc(list, func(p point) bool { return among(p.by, liar) })
		if s.points[ref] = list; len(list) == 0 {
			delete(s.points, ref)
		}
	}
}

// unpast forgets the checkpoints of a task that begins again, and the past of its result.
func (s *State) unpast(ref Ref) {
	delete(s.points, ref)
	delete(s.pasts, ref)
}
