package job

import (
	"cmp"
	"fmt"
	"slices"

	"kith/storage/dag"
	"kith/tasks"
	"kith/tasks/merge"
)

// session notes that a worker can be talked to, or not. What it committed to before it was away may be asked for now.
func (s *State) session(id tasks.NodeID, down, lost bool, now int64, a *Actions) {
	w, ok := s.byID[id]
	if !ok || s.workers[w].down == down && !lost {
		return
	}
	s.workers[w].down = down
	if s.workers[w].live == 0 {
		return
	}
	var mine []Ref
	for _, e := range s.mine(w) {
		mine = append(mine, e.ref)
	}
	slices.SortFunc(mine, func(a, b Ref) int { return cmp.Or(a.Stage-b.Stage, a.Index-b.Index) })
	for _, ref := range slices.Compact(mine) {
		t := s.at(ref)
		for i := range t.reps {
			r := &t.reps[i]
			if r.worker != w || r.state >= good {
				continue
			}
			if down {
				r.spare = r.spare || lost
				r.due = min(r.due, now+ResumeMillis)
				s.timers.push(timer{r.due, ref, r.attempt})
				s.timers.push(timer{now + graceMillis, ref, r.attempt})
			} else {
				r.spare = false
				s.clock(ref, r, r.until)
			}
		}
		if down && !lost {
			s.requeue(ref, t)
		} else {
			s.advance(ref, t, now, a)
		}
	}
}

// NextTick returns when Step wants a Tick, in Unix milliseconds, or false when nothing has a clock.
func (s *State) NextTick() (int64, bool) {
	if s.phase.Over() {
		return 0, false
	}
	next, ok := int64(0), false
	set := func(at int64) {
		if !ok || at < next {
			next, ok = at, true
		}
	}
	if d := s.job.Spec.Policy.Deadline; d > 0 && !s.ending {
		set(d)
	}
	if len(s.timers) > 0 {
		set(s.timers[0].at)
	}
	if len(s.timers) > 0 || s.barred {
		if at, ok := s.nextLook(); ok {
			set(at)
		}
	}
	return next, ok
}

// tick runs every clock that has ended.
func (s *State) tick(now int64, a *Actions) {
	if d := s.job.Spec.Policy.Deadline; d > 0 && now >= d && !s.ending {
		s.fail(tasks.Because(tasks.DeadlinePassed, "%d of %d tasks were done", s.DoneTasks(), s.allTasks()), a)
		return
	}
	for len(s.timers) > 0 && s.timers[0].at <= now {
		e := s.timers.pop()
		t := s.at(e.ref)
		for i := range t.reps {
			if r := &t.reps[i]; r.attempt == e.attempt && r.state < good {
				s.ring(e.ref, t, r, now, a)
				break
			}
		}
	}
	if at, ok := s.nextLook(); ok && at <= now {
		s.hedge(now, a)
		s.relax(now, a)
	}
	s.prune()
}

// prune drops the timers of replicas that went on, when they are most.
func (s *State) prune() {
	if len(s.timers) < 4*len(s.leases)+1024 {
		return
	}
	kept := s.timers[:0]
	for _, e := range s.timers {
		if r := s.rep(e); r != nil && r.state < good {
			kept = append(kept, e)
		}
	}
	clear(s.timers[len(kept):])
	s.timers = kept
	s.timers.order()
}

// mine lists the replicas a worker is at, in the order of their grants.
func (s *State) mine(w uint32) []timer {
	x := &s.workers[w]
	kept := x.held[:0]
	for _, e := range x.held {
		if r := s.rep(e); r != nil && r.worker == w && r.state < good {
			kept = append(kept, e)
		}
	}
	x.held = kept
	return kept
}

// hold adds to that list.
func (s *State) hold(w uint32, e timer) {
	x := &s.workers[w]
	if len(x.held) > 2*x.live+8 {
		s.mine(w)
	}
	x.held = append(x.held, e)
}

// ring is one clock going off.
func (s *State) ring(ref Ref, t *task, r *replica, now int64, a *Actions) {
	if r.due > now { // it was moved, or this is the grace of a lost session
		if s.workers[r.worker].down && !r.spare {
			r.spare = true
			s.advance(ref, t, now, a)
		}
		return
	}
	switch {
	case r.state == granted:
		s.gaveUp(ref, r, now)
		s.settle(ref, t, r, lapsed, a)
	case r.state == committed && s.workers[r.worker].down: // nobody asked it: it withholds nothing
		s.settle(ref, t, r, lapsed, a)
	case r.state == committed: // it has kept its word, and waits for another's
		s.clock(ref, r, now+ResumeMillis)
	default:
		s.settle(ref, t, r, withheld, a)
	}
	s.advance(ref, t, now, a)
}

// rep returns the replica a timer is about, or nil when it is gone.
func (s *State) rep(e timer) *replica {
	t := s.at(e.ref)
	if t == nil {
		return nil
	}
	for i := range t.reps {
		if t.reps[i].attempt == e.attempt {
			return &t.reps[i]
		}
	}
	return nil
}

// Resume makes a replayed job ready to go on: nobody is connected yet, and whatever the driver was asked to do before
// the restart is asked again.
func (s *State) Resume(now int64, a *Actions) {
	if s.phase.Over() {
		return
	}
	s.ending = false
	for i := range s.workers {
		s.session(s.workers[i].id, true, false, now, a)
	}
	for i := range s.stages {
		s.stages[i].busy = false
		for j := range s.stages[i].tasks {
			t := &s.stages[i].tasks[j]
			t.composing = false
			if t.phase == open && t.fresh {
				a.Opened = true
			}
		}
	}
	if s.phase != Running {
		return
	}
	for i := range s.stages {
		s.openStage(i, a)
	}
	clear(s.merging)
	s.issue(s.tree.Pending(), nil, a)
}

// Retry asks again for the gathers, compositions, merges and comparisons that failed.
func (s *State) Retry(now int64, a *Actions) {
	if s.phase != Running || s.ending {
		return
	}
	s.recompare(now, a)
	for i := range s.stages {
		if s.stages[i].Mode != tasks.Map {
			s.openStage(i, a)
		}
	}
	s.issue(s.tree.Pending(), nil, a)
}

// Needed calls visit with every root in the store that the job still builds on: accepted outputs with a consumer that
// is not done, gathers' outputs, merges that are not merged further, and the result; and with the event to log and step
// when that root is gone. After such an event other roots may be needed.
func (s *State) Needed(visit func(root dag.CID, lost Event)) {
	if s.phase != Running {
		return
	}
	last := len(s.stages) - 1
	for i := range s.stages[:last] {
		st := &s.stages[i]
		if s.consumed(i) {
			continue
		}
		if st.Mode == tasks.Gather {
			for _, root := range st.outputs {
				if st.complete() {
					visit(root, &Reopened{Task: Ref{Stage: i}})
				}
			}
			continue
		}
		for j := range st.tasks {
			if st.tasks[j].phase.has() {
				visit(st.tasks[j].root, &Reopened{Task: Ref{Stage: i, Index: j}})
			}
		}
	}
	snap := s.tree.Snapshot()
	for l := range snap.Levels {
		for _, o := range snap.Levels[l].Open {
			for i, root := range o.Roots {
				switch {
				case !root.Defined():
				case l == 0:
					visit(root, &Reopened{Task: Ref{Stage: last, Index: o.Index*merge.FanIn + i}})
				default:
					visit(root, &Unmerged{})
				}
			}
		}
	}
	if root := snap.Root; root.Defined() {
		if len(snap.Levels) == 0 {
			visit(root, &Reopened{Task: Ref{Stage: last}})
		} else {
			visit(root, &Unmerged{})
		}
	}
}

// Roots calls visit with every root the job has made or may need again: what must stay in the store until it is over.
func (s *State) Roots(visit func(dag.CID)) {
	for _, c := range s.parts {
		visit(c)
	}
	s.Checkpoints(func(_ Ref, c dag.CID) { visit(c) })
	for i := range s.stages {
		for _, c := range s.stages[i].outputs {
			visit(c)
		}
		for j := range s.stages[i].tasks {
			t := &s.stages[i].tasks[j]
			visit(t.root)
			for _, c := range t.inputs {
				visit(c)
			}
		}
	}
	if s.tree == nil {
		return
	}
	snap := s.tree.Snapshot()
	visit(snap.Root)
	for l := range snap.Levels {
		for _, o := range snap.Levels[l].Open {
			for _, c := range o.Roots {
				visit(c)
			}
		}
	}
}

// consumed reports whether every stage that reads stage i is complete.
func (s *State) consumed(i int) bool {
	for j := i + 1; j < len(s.stages); j++ {
		for _, from := range s.stages[j].Inputs {
			if from == i && !s.stages[j].complete() {
				return false
			}
		}
	}
	return true
}

// DoneTasks returns how many tasks have a verdict.
func (s *State) DoneTasks() (n int) {
	for i := range s.stages {
		n += s.stages[i].done
	}
	return n
}

// Size returns how many tasks the job has.
func (s *State) Size() int { return s.allTasks() }

func (s *State) allTasks() (n int) {
	for i := range s.stages {
		if s.stages[i].Mode != tasks.Gather {
			n += s.stages[i].size
		}
	}
	return n
}

// Clip shortens a detail to what the wire allows.
func Clip(s string) string {
	const most = 256
	if len(s) <= most {
		return s
	}
	n := most
	for n > 0 && s[n]&0xc0 == 0x80 {
		n--
	}
	return s[:n]
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
