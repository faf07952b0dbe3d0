package job

import (
	"slices"

	"kith/storage/dag"
	"kith/tasks"
	"kith/tasks/verify"
)

// grant records a lease that was given.
func (s *State) grant(id tasks.NodeID, g *Grant, now int64) { s.grantAs(id, g, 0, now) }

// grantAs is grant; sole, if not zero, says that the result may be accepted alone and how seldom it is audited.
func (s *State) grantAs(id tasks.NodeID, g *Grant, sole uint16, now int64) {
	t := s.at(g.Task)
	if t != nil && t.phase == blocked && s.composes(&s.stages[g.Task.Stage]) {
		// A replay: the inputs had been composed then, and are composed again before the next grant.
		t.phase = open
		s.stages[g.Task.Stage].open++
	}
	if t == nil || !t.phase.active() {
		return
	}
	if _, twice := s.leases[g.Lease]; twice {
		return
	}
	w := s.intern(id)
	for i := range t.reps {
		if r := &t.reps[i]; r.worker == w && !r.state.again() {
			return // one worker, one voice
		}
	}
	if t.reps == nil {
		t.reps = make([]replica, 0, s.k())
	}
	t.reps = append(t.reps, replica{lease: g.Lease, worker: w, place: s.workers[w].place, attempt: uint16(g.Attempt), at: now, due: g.Expiry, until: g.Expiry})
	t.tries = max(t.tries, uint16(g.Attempt)+1)
	t.fresh = false
	s.leases[g.Lease] = g.Task
	s.workers[w].live++
	if !s.workers[w].used {
		s.workers[w].used = true
		s.used++
	}
	t.reps[len(t.reps)-1].sole = sole
	s.granted++
	s.lastGrant = now
	s.release(false)
	s.timers.push(timer{g.Expiry, g.Task, uint16(g.Attempt)})
	s.hold(w, timer{g.Expiry, g.Task, uint16(g.Attempt)})
	s.requeue(g.Task, t)
}

// again reports whether the worker of a replica in this state may try the task once more.
func (s repState) again() bool { return s == lapsed || s == returned || s == cancelled }

// requeue gives a task that wants replicas a valid place in the queue, and takes it from one that does not.
func (s *State) requeue(ref Ref, t *task) {
	if !t.phase.active() || t.fresh {
		return
	}
	if s.wants(ref, t) == 0 {
		t.seq = 0
		return
	}
	if t.seq == 0 {
		t.seq = s.partial.push(ref)
	}
}

// wants returns how many more replicas an open task should be granted now.
func (s *State) wants(ref Ref, t *task) int {
	if !t.phase.active() || t.late > 0 {
		return 0
	}
	most := s.hopeful(ref, t)
	coming, used := 0, 0
	for i := range t.reps {
		r := &t.reps[i]
		if r.state < good && !r.spare {
			coming++
		}
		if r.state.spent() || r.state == granted {
			used++
		}
	}
	// With a quorum for one root and no verdict, as many speak for another: one more must decide, unless a comparison does.
	least := 1
	if t.comparing {
		least = 0
	}
	return max(0, min(max(s.need(t)-most, least)-coming, s.n()-used))
}

// agreed asks package verify whether the task's replicas make a verdict, or would with a comparison.
func (s *State) agreed(ref Ref, t *task, need int) verify.Decision {
	if !s.vouched(t, need) {
		need = s.k()
	}
	p := verify.Policy{K: need, N: s.n()}
	if s.adaptive() {
		p.Lead = lead
	}
	var room [4]verify.Replica
	return verify.Decide(p, s.how(ref.Stage), s.replicas(ref, t, room[:0]), t.agree)
}

func (s repState) verify() verify.State {
	return [...]verify.State{
		granted: verify.Live, committed: verify.Committed, asked: verify.Committed, shown: verify.Revealed, good: verify.Checked,
		forged: verify.Forged, withheld: verify.Withheld, lapsed: verify.Lapsed, returned: verify.Returned, failed: verify.Failed, cancelled: verify.Cancelled,
	}[s]
}

// settle ends a replica before its task's verdict.
func (s *State) settle(ref Ref, t *task, r *replica, to repState, a *Actions) {
	was := r.state
	r.state = to
	if was < good {
		s.workers[r.worker].live--
	}
	delete(s.leases, r.lease)
	o := to.outcome()
	s.workers[r.worker].tally.add(o)
	a.Settle = append(a.Settle, Outcome{Worker: s.workers[r.worker].id, Verdict: tasks.Verdict{Lease: r.lease, Outcome: o}})
	t.seq = 0 // a new place, so that workers who passed the old one look again
}

func (s repState) outcome() tasks.Outcome {
	switch s {
	case forged:
		return tasks.Forged
	case withheld:
		return tasks.Withheld
	case lapsed:
		return tasks.Lapsed
	case returned, failed:
		return tasks.Returned
	default:
		return tasks.Cancelled
	}
}

func (s *State) commit(ev Committed, now int64, a *Actions) {
	ref, t, r := s.find(ev.Worker, ev.Commit.Lease)
	if r == nil || !t.phase.active() {
		return
	}
	if r.state == asked && r.commit == ev.Commit.Hash { // it came back and did not hear the question: ask again in time
		r.state, r.spare = committed, false
		s.advance(ref, t, now, a)
	}
	if r.state != granted {
		return
	}
	r.state, r.commit, r.spare = committed, ev.Commit.Hash, false
	if r.from == nil { // else it did only the rest
		s.stages[ref.Stage].turns.add(r.at, now-r.at)
	}
	if r.began > 0 {
		s.ran(ref, r, now-r.began)
	}
	s.advance(ref, t, now, a)
}

func (s *State) reveal(ev Revealed, now int64, a *Actions) {
	ref, t, r := s.find(ev.Worker, ev.Reveal.Lease)
	if r == nil || r.state != asked || !t.phase.active() {
		return
	}
	v := ev.Reveal
	if !v.Root.Defined() || tasks.CommitHash(v.Lease, ev.Worker, v.Root, v.Digest) != r.commit || ev.Checked && !ev.Good {
		s.settle(ref, t, r, forged, a)
		s.advance(ref, t, now, a)
		return
	}
	s.stages[ref.Stage].shows.add(r.at, now-(r.until-DeliveryMillis))
	r.state, r.spare = shown, false
	r.root, r.digest, r.bytes, r.wall, r.cpu = v.Root, v.Digest, v.Bytes, v.WallMillis, v.CPUMillis
	if r.began == 0 { // too short to have been heard of: its own word, which gains it nothing
		s.ran(ref, r, min(v.WallMillis, now-r.at))
	}
	if ev.Checked {
		s.good(r)
	} else {
		s.clock(ref, r, max(r.due, now+DeliveryMillis+v.Bytes>>20*mibMillis))
	}
	s.advance(ref, t, now, a)
}

func (s *State) good(r *replica) {
	r.state = good
	s.workers[r.worker].live--
	delete(s.leases, r.lease)
}

// clock moves the end of a replica's present state.
func (s *State) clock(ref Ref, r *replica, due int64) {
	r.due, r.until = due, due
	s.timers.push(timer{due, ref, r.attempt})
}

func (s *State) check(ev *Checked, now int64, a *Actions) {
	t := s.at(ev.Task)
	if t == nil || !t.phase.active() {
		return
	}
	named := func(list []tasks.LeaseID, l tasks.LeaseID) bool {
		for i := range list {
			if list[i] == l {
				return true
			}
		}
		return false
	}
	for i := range t.reps {
		r := &t.reps[i]
		switch {
		case r.state != shown || r.root != ev.Root:
		case named(ev.Good, r.lease):
			s.good(r)
		case named(ev.Bad, r.lease) && ev.Missing:
			s.settle(ev.Task, t, r, withheld, a)
		case named(ev.Bad, r.lease):
			s.settle(ev.Task, t, r, forged, a)
		}
	}
	s.advance(ev.Task, t, now, a)
}

func (s *State) giveBack(ev *Returned, now int64, a *Actions) {
	ref, t, r := s.find(ev.Worker, ev.Lease)
	if r == nil || !t.phase.active() || r.state >= good {
		return
	}
	switch {
	case r.state != granted: // it had committed: going back on it is withholding
		s.settle(ref, t, r, withheld, a)
	case ev.Reason.Code == tasks.TaskFailed || ev.Reason.Code == tasks.TimeLimit || ev.Reason.Code == tasks.MemoryLimit ||
		ev.Reason.Code == tasks.OutputLimit || ev.Reason.Code == tasks.ScratchLimit:
		r.code = ev.Reason.Code
		s.settle(ref, t, r, failed, a)
		same := 0
		for i := range t.reps {
			if t.reps[i].state == failed {
				same++
			}
		}
		if same >= s.k() {
			reason := ev.Reason
			reason.Detail = Clip("task " + ref.String() + ", on " + count(same, "node") + ": " + reason.Detail)
			s.fail(reason, a)
		}
	default:
		s.settle(ref, t, r, returned, a)
	}
	s.advance(ref, t, now, a)
}

// advance moves an open task on as far as it can go.
func (s *State) advance(ref Ref, t *task, now int64, a *Actions) {
	if !t.phase.active() {
		return
	}
	var live, have, waiting, unchecked, away int
	for i := range t.reps {
		switch r := &t.reps[i]; {
		case r.state == granted:
			live++
		case r.state >= good:
		case r.spare: // its worker is away; what it committed to stays bound
			away++
		case r.state == committed:
			have++
		case r.state == asked:
			waiting++
		case r.state == shown:
			unchecked++
		}
	}
	most, need := s.hopeful(ref, t), s.need(t)
	if waiting+unchecked == 0 && most >= need {
		switch d := s.agreed(ref, t, need); d.Action {
		case verify.Accept:
			s.callOff(ref, t, now, a) // a copy of one that answered after all
			s.decide(ref, t, &d, a)
			return
		case verify.Compare:
			s.askCompare(ref, t, d.Pairs, a)
		}
	}
	switch {
	case waiting > 0:
	case unchecked > 0:
		s.askCheck(ref, t, a)
	case have > 0 && (have >= need-most || live+away == 0 && s.wants(ref, t) == 0):
		// Enough have committed. Whoever has not must not be able to any more before the first root is named.
		s.callOff(ref, t, now, a)
		for i := range t.reps {
			if r := &t.reps[i]; r.state == committed && !r.spare {
				r.state = asked
				a.Reveal = append(a.Reveal, Asked{Worker: s.workers[r.worker].id, Lease: r.lease})
				s.clock(ref, r, now+DeliveryMillis)
			}
		}
	case have+live+away == 0 && t.late == 0 && !t.comparing && s.wants(ref, t) == 0:
		s.fail(s.stuck(ref, t), a)
	}
	if int(t.tries) >= s.maxTries() && !t.comparing && live+have+waiting+unchecked+away == 0 {
		s.fail(tasks.Because(tasks.TooFewNodes, "task %s was given out %d times and not finished", ref, t.tries), a)
	}
	s.requeue(ref, t)
	if t.seq != 0 {
		a.Opened = true
	}
}

// callOff ends the replicas of a task that are at work: they are not needed any more.
func (s *State) callOff(ref Ref, t *task, now int64, a *Actions) {
	for i := range t.reps {
		if r := &t.reps[i]; r.state == granted {
			s.gaveUp(ref, r, now)
			a.Cancel = append(a.Cancel, Asked{Worker: s.workers[r.worker].id, Lease: r.lease, Reason: tasks.NoTasksLeft})
			s.settle(ref, t, r, cancelled, a)
		}
	}
}

// stuck says why a task can never be decided.
func (s *State) stuck(ref Ref, t *task) tasks.Reason {
	roots, votes, bad, broke := map[dag.CID]bool{}, 0, 0, 0
	for i := range t.reps {
		switch t.reps[i].state {
		case good:
			roots[t.reps[i].root] = true
			votes++
		case failed:
			broke++
		case forged, withheld:
			bad++
		}
	}
	if len(roots) == 1 && votes >= s.k() {
		return tasks.Because(tasks.NoDiverseNode, "task %s used all %d executions: %d agree, and too few of them are independent", ref, s.n(), votes)
	}
	return tasks.Because(tasks.Disagreement, "task %s used all %d executions: %d different results, %d failed, %d forged or withheld",
		ref, s.n(), len(roots), broke, bad)
}

func (s *State) askCheck(ref Ref, t *task, a *Actions) {
	for i := range t.reps {
		if t.reps[i].state != shown {
			continue
		}
		c := Examine{Task: ref, Root: t.reps[i].root, Bytes: t.reps[i].bytes}
		first := true
		for j := range t.reps {
			r := &t.reps[j]
			if r.state != shown || r.root != c.Root {
				continue
			}
			if j < i {
				first = false
				break
			}
			c.Claims = append(c.Claims, Claim{Worker: s.workers[r.worker].id, Lease: r.lease, Digest: r.digest})
		}
		if first {
			a.Check = append(a.Check, c)
		}
	}
}

// decide asks for the verdict to be made durable.
func (s *State) decide(ref Ref, t *task, v *verify.Decision, a *Actions) {
	root := v.Root
	for _, i := range v.Winners {
		if t.root.Defined() && t.reps[i].root == t.root {
			root = t.root // an audit confirmed what is built upon already
		}
	}
	counts := s.countOf(t, v.Winners)
	var losers []dag.CID
	for _, i := range v.Losers {
		losers = append(losers, t.reps[i].root)
	}
	if t.phase, t.seq = deciding, 0; t.root.Defined() {
		t.phase = judging
	}
	d := Decision{Task: ref, Root: root, Round: s.round, Replicas: make([]Settled, 0, len(t.reps))}
	d.Turns = t.root.Defined() && t.root != root
	counted := 0
	for i := range t.reps {
		r := &t.reps[i]
		o, party := r.state.outcome(), r.root
		switch {
		case r.state == granted: // cannot be: they were cancelled before the reveal
			o = tasks.Cancelled
		case r.state == good && slices.Contains(v.Winners, i):
			o, party = tasks.Accepted, root
			if r.root == root {
				d.Bytes = r.bytes
			}
		case r.state == good:
			o = tasks.Outvoted
			if r.from != nil { // whose fault it is nobody can tell
				o = tasks.Cancelled
			}
			if len(losers) > 1 {
				party = t.party(r.root, losers)
			}
		case r.state.again():
			continue
		}
		if r.told {
			d.Known = append(d.Known, r.lease)
		}
		d.Replicas = append(d.Replicas, Settled{Worker: s.workers[r.worker].id, Lease: r.lease, Outcome: o, WallMillis: r.wall, CPUMillis: r.cpu})
		if s.adaptive() {
			d.Replicas[len(d.Replicas)-1].Root = party
		}
		if counts.counts(i) { // the replicas that count come first: their workers are the voters
			last := len(d.Replicas) - 1
			d.Replicas[counted], d.Replicas[last] = d.Replicas[last], d.Replicas[counted]
			counted++
		}
	}
	a.Decide = append(a.Decide, d)
}

// verdict ends a task. It is also what a replay finds, when none of the commits and reveals before it are known.
func (s *State) verdict(d *Decision, a *Actions) {
	t := s.at(d.Task)
	if t == nil || t.phase.has() || !d.Root.Defined() || s.adaptive() {
		return
	}
	st := &s.stages[d.Task.Stage]
	votes := st.voters[d.Task.Index*s.k() : (d.Task.Index+1)*s.k()]
	distinct := 0
	for i := range d.Replicas {
		if d.Replicas[i].Outcome == tasks.Accepted {
			w := s.intern(d.Replicas[i].Worker) + 1
			seen := false
			for _, v := range votes[:distinct] {
				seen = seen || v == w
			}
			if !seen && distinct < len(votes) {
				votes[distinct] = w
				distinct++
			}
		}
	}
	if distinct < s.k() {
		clear(votes)
		return
	}
	for i := range d.Replicas {
		o := &d.Replicas[i]
		if o.Outcome == tasks.Accepted || o.Outcome == tasks.Outvoted {
			s.workers[s.intern(o.Worker)].tally.add(o.Outcome)
		}
	}
	for i := range t.reps {
		r := &t.reps[i]
		if r.state < good {
			s.workers[r.worker].live--
			delete(s.leases, r.lease)
		}
	}
	s.settlePasts(d, votes)
	if t.phase == blocked {
		st.open++
	}
	t.phase, t.seq, t.fresh, t.reps, t.inputs = done, 0, false, nil, nil
	t.root, t.bytes = d.Root, d.Bytes
	st.open--
	st.done++
	s.verdicts++
	s.finishedTask(d.Task, a)
}

// Pick finds the next task for a worker at a place, and whether there is one. The caller steps Granted, after Placed if
// the place is news to the job, before it picks for the same worker again. Tasks that want one more replica come before
// tasks nobody has begun.
func (s *State) Pick(id tasks.NodeID, at Place) (Ref, bool) {
	if s.phase != Running || s.ending {
		return Ref{}, false
	}
	if s.used >= s.NodeLimit() && !s.Knows(id) {
		return Ref{}, false
	}
	w := s.intern(id)
	if s.workers[w].lied {
		return Ref{}, false
	}
	if s.fresh.empty() {
		s.release(true) // nothing is left for audits to hide among
	}
	stale := func(e entry) bool {
		t := s.at(e.ref)
		return t.seq != e.seq || !t.phase.active()
	}
	if s.partial.trim(stale); len(s.partial.items) > max(s.partial.limit, 4096) {
		s.partial.compact(stale)
	}
	me := &s.workers[w]
	me.cursor = max(me.cursor, s.partial.base)
	for ; me.cursor < s.partial.base+len(s.partial.items); me.cursor++ {
		e := s.partial.items[me.cursor-s.partial.base]
		if !stale(e) && s.bar(w, &at, e.ref) == "" && !s.unsure(w, s.at(e.ref)) && !s.tooSlow(w, e.ref) {
			return e.ref, true
		}
	}
	for !s.fresh.empty() {
		if s.adaptive() && s.mixed != s.granted+1 { // in no order, so that a place in it does not tell an audit
			s.mixed = s.granted + 1
			s.fresh.swap(int(s.draw("next", uint64(s.granted)) % uint64(len(s.fresh.items)-s.fresh.head)))
		}
		r := s.fresh.front()
		if t := s.at(r); t.phase == open && t.fresh {
			return r, !s.tooSlow(w, r)
		}
		s.fresh.pop()
	}
	return Ref{}, false
}

// bar says why a worker at a place may not have a replica of a task: it had its say already, or is not independent of
// somebody whose replica is, or may become, a vote.
func (s *State) bar(w uint32, at *Place, ref Ref) tasks.Code {
	t := s.at(ref)
	if s.composes(&s.stages[ref.Stage]) && t.inputs == nil {
		return tasks.WaitingForStage
	}
	for i := range t.reps {
		r := &t.reps[i]
		switch {
		case r.state.again():
		case r.worker == w:
			return tasks.TooFewNodes
		case r.state <= good && (s.close(at, r) || s.holds(r, w, at)):
			return tasks.NoDiverseNode
		}
	}
	return ""
}

// Bar says why a worker at a place may not have a replica of a task, or "" if it may.
func (s *State) Bar(id tasks.NodeID, at Place, ref Ref) tasks.Code {
	if t := s.at(ref); t == nil || !t.phase.active() {
		return tasks.NoTasksLeft
	}
	return s.bar(s.intern(id), &at, ref)
}

// cancelAll tells every worker to stop.
func (s *State) cancelAll(a *Actions) {
	for i := range s.stages {
		for j := range s.stages[i].tasks {
			t := &s.stages[i].tasks[j]
			for k := range t.reps {
				if r := &t.reps[k]; r.state < good {
					a.Cancel = append(a.Cancel, Asked{Worker: s.workers[r.worker].id, Lease: r.lease, Reason: s.cancelCode()})
				}
			}
		}
	}
}

func (s *State) cancelCode() tasks.Code {
	if s.phase == Cancelled {
		return tasks.JobCancelled
	}
	return s.reason.Code
}
