package job

import (
	"bytes"
	"slices"

	"kith/storage/dag"
	"kith/tasks"
	"kith/tasks/verify"
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
	return c != nil && slices.ContainsFunc(c.past, func(o source) bool { return o.worker == w })
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
	in := func(list []source, w uint32) bool {
		return slices.ContainsFunc(list, func(o source) bool { return o.worker == w })
	}
	return !slices.ContainsFunc(a, func(o source) bool { return !in(b, o.worker) }) && !slices.ContainsFunc(b, func(o source) bool { return !in(a, o.worker) })
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
		list = slices.DeleteFunc(list, func(p point) bool {
			return slices.ContainsFunc(p.by, func(o source) bool { return o.worker == liar })
		})
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

// beside reports whether two workers were near when their leases were given, or are.
func (s *State) beside(a, b source) bool {
	p, q := [2]uint32{a.place, s.workers[a.worker].place}, [2]uint32{b.place, s.workers[b.worker].place}
	for _, i := range p {
		for _, j := range q {
			if near(&s.places[i], &s.places[j]) {
				return true
			}
		}
	}
	return false
}

// of returns the i-th worker whose work a replica holds: its own first; false: there are no more.
func (r *replica) of(i int) (source, bool) {
	if i == 0 {
		return source{r.worker, r.place}, true
	}
	if r.from == nil || i > len(r.from.past) {
		return source{}, false
	}
	return r.from.past[i-1], true
}

// clash reports whether somebody of a past is, or is near, somebody whose work a replica holds.
func (s *State) clash(past []source, r *replica) bool {
	for i := 0; ; i++ {
		o, ok := r.of(i)
		if !ok {
			return false
		}
		if slices.ContainsFunc(past, func(p source) bool { return p.worker == o.worker || s.beside(p, o) }) {
			return true
		}
	}
}

func (s *State) disjoint(a, b *replica) bool {
	for i := 0; ; i++ {
		o, ok := a.of(i)
		if !ok {
			return true
		}
		if s.clash([]source{o}, b) {
			return false
		}
	}
}

// holds reports whether a replica holds work of others that a worker at a place is, or is near.
func (s *State) holds(r *replica, w uint32, at *Place) bool {
	return r.from != nil && slices.ContainsFunc(r.from.past, func(o source) bool {
		return o.worker == w || near(at, &s.places[o.place]) || near(at, &s.places[s.workers[o.worker].place])
	})
}

// origins is a replica's past as package verify sees it.
func (s *State) origins(r *replica) []verify.Origin {
	list := make([]verify.Origin, len(r.from.past))
	for i, o := range r.from.past {
		p := &s.places[o.place]
		list[i] = verify.Origin{Worker: s.workers[o.worker].id, Group: p.Group, Account: p.Account}
	}
	return list
}

// settlePasts keeps the pasts of the results that carry a verdict, and looks at those that lost.
func (s *State) settlePasts(d *Decision, votes []uint32) {
	s.unpast(d.Task)
	t := s.at(d.Task)
	for i := range d.Replicas {
		o := &d.Replicas[i]
		r := s.repOf(t, o)
		switch {
		case r == nil || r.from == nil:
		case o.Outcome == tasks.Accepted && slices.Contains(votes, r.worker+1):
			s.pasts[d.Task] = append(s.pasts[d.Task], lineage{r.worker, r.from.past})
		case o.Outcome == tasks.Cancelled:
			s.workers[r.worker].spoilt = true
			for _, p := range r.from.past {
				s.workers[p.worker].spoilt = true
			}
		}
	}
}

// repOf finds the replica that a verdict speaks of.
func (s *State) repOf(t *task, o *Settled) *replica {
	for i := range t.reps {
		if r := &t.reps[i]; r.lease == o.Lease && s.workers[r.worker].id == o.Worker {
			return r
		}
	}
	return nil
}

// unsound reports whether a result that a verdict rests on cannot count beside those before it, or holds a liar's work.
func (s *State) unsound(t *task, d *Decision, n int) bool {
	r := s.repOf(t, &d.Replicas[n])
	if r == nil {
		return false
	}
	if r.from != nil && slices.ContainsFunc(r.from.past, func(o source) bool { return s.workers[o.worker].lied }) {
		return true
	}
	for i := range d.Replicas[:n] {
		o := s.repOf(t, &d.Replicas[i])
		if o != nil && d.Replicas[i].Outcome == tasks.Accepted && (o.from != nil || r.from != nil) && !s.disjoint(o, r) {
			return true
		}
	}
	return false
}

// pastOf is the past of a voter's accepted result, as of a replica; nil if there is none.
func (s *State) pastOf(ref Ref, voter uint32) *carried {
	for _, l := range s.pasts[ref] {
		if l.voter == voter {
			return &carried{past: l.past}
		}
	}
	return nil
}

// retain forgets the pasts of results that carry a verdict no more.
func (s *State) retain(ref Ref, votes []uint32) {
	list := slices.DeleteFunc(s.pasts[ref], func(l lineage) bool { return !slices.Contains(votes, l.voter+1) })
	if s.pasts[ref] = list; len(list) == 0 {
		delete(s.pasts, ref)
	}
}

// beat notes how far a replica is.
func (s *State) beat(ev *Heartbeat, now int64) {
	_, _, r := s.find(ev.Worker, ev.Lease)
	if r == nil || !ev.Running || r.state != granted {
		return
	}
	if r.began == 0 {
		r.began = now
	}
	r.done, r.total = max(ev.Done, 0), max(ev.Total, 0)
}

// Moved is a task that goes on at a worker from where others were ended.
type Moved struct {
	Task        Ref
	Worker      tasks.NodeID
	From        []tasks.NodeID // the last first
	Done, Total int64          // where it went on
}

// mostMoved bounds State.Moved.
const mostMoved = 16

// Moved returns tasks at work that went on from others' checkpoints, in the order of their numbers, at most a few.
func (s *State) Moved() (list []Moved) {
	for _, ref := range s.leases {
		t := s.at(ref)
		for i := range t.reps {
			r := &t.reps[i]
			if r.state != granted || r.from == nil || slices.ContainsFunc(list, func(m Moved) bool { return m.Task == ref && m.Worker == s.workers[r.worker].id }) {
				continue
			}
			m := Moved{Task: ref, Worker: s.workers[r.worker].id, Done: r.from.done, Total: r.from.total}
			for _, o := range r.from.past {
				m.From = append(m.From, s.workers[o.worker].id)
			}
			list = append(list, m)
		}
	}
	slices.SortFunc(list, func(a, b Moved) int {
		if n := a.Task.Stage - b.Task.Stage; n != 0 {
			return n
		}
		if n := a.Task.Index - b.Task.Index; n != 0 {
			return n
		}
		return bytes.Compare(a.Worker[:], b.Worker[:])
	})
	return list[:min(len(list), mostMoved)]
}

// WentOn reports whether a lease of a task without a verdict went on from another's checkpoint.
func (s *State) WentOn(ref Ref, lease tasks.LeaseID) bool {
	t := s.at(ref)
	return t != nil && slices.ContainsFunc(t.reps, func(r replica) bool { return r.lease == lease && r.from != nil })
}

// mostLooked is how many leases and checkpoints State.partly looks at, at most: with more, what is half done hardly shows.
const mostLooked = 1024

// partly is how much is done of the tasks without a verdict, in tasks. A task that was handed back with a checkpoint is as
// far as that.
func (s *State) partly() (sum float64) {
	if len(s.leases)+len(s.points) > mostLooked {
		return 0
	}
	seen := map[Ref]bool{}
	look := func(ref Ref) {
		t := s.at(ref)
		if seen[ref] || t.phase.has() {
			return
		}
		seen[ref] = true
		var parts []float64
		for i := range t.reps {
			switch r := &t.reps[i]; {
			case r.state == granted && r.total > 0:
				parts = append(parts, min(float64(r.done)/float64(r.total), 1))
			case r.state == granted && r.from != nil && r.from.total > 0:
				parts = append(parts, min(float64(r.from.done)/float64(r.from.total), 1))
			case r.state > granted && r.state <= good:
				parts = append(parts, 1)
			}
		}
		for i := range s.points[ref] {
			if p := &s.points[ref][i]; p.total > 0 && !s.goesOn(t, p.root) {
				parts = append(parts, min(float64(p.done)/float64(p.total), 1))
			}
		}
		slices.Sort(parts)
		slices.Reverse(parts)
		need := max(s.need(t), 1)
		for _, p := range parts[:min(len(parts), need)] {
			sum += p / float64(need)
		}
	}
	for _, ref := range s.leases {
		look(ref)
	}
	for ref := range s.points {
		look(ref)
	}
	return sum
}

// goesOn reports whether a replica of a task is at work that went on from a checkpoint.
func (s *State) goesOn(t *task, root dag.CID) bool {
	return slices.ContainsFunc(t.reps, func(r replica) bool { return r.state <= good && r.from != nil && r.from.at == root })
}
