package job

import (
	"crypto/sha256"
	"encoding/binary"

	"kith/storage/dag"
	"kith/tasks"
)

// Under tasks.Adaptive one result of a node that has earned it (Sole) is accepted alone, provisionally: until the job
// ends, any such result may be looked at again. An audit is one more replica of a task whose output is already used; the
// worker that gets it can see nothing that a first replica would not show it. What an audit or a later proof overturns is
// done again, with everything that was made of it.

// Adaptive replication.
const (
	// auditors is how many independent results confirm one that stood alone.
	auditors = 2
	// lead is by how much the winners of a disputed task must outnumber the other side. Where three in ten collude, those
	// few win one dispute in fourteen against one honest result; were it 2, one in six. More would let whoever always lies
	// tell more lies before it is caught.
	lead = 3
	// lateGrants, and as many more for each worker, bounds how many leases of the job are given out before an audit is,
	// so that it comes among first replicas and not at the head of what follows a verdict.
	lateGrants = 4
	// restingAttempt numbers the votes that an audit begins with. They have no clock.
	restingAttempt = 1 << 15
)

func (s *State) adaptive() bool { return s.job.Spec.Policy.Replication == tasks.Adaptive }

// Round counts how often accepted work was taken back. A verdict that was reached in an earlier round is void.
func (s *State) Round() int { return s.round }

// has reports whether a task's output may be built upon.
func (p taskPhase) has() bool { return p == done || p == auditing || p == judging }

// active reports whether replicas of a task are wanted, at work or being compared.
func (p taskPhase) active() bool { return p == open || p == auditing }

// draw is a secret number, the same at every replay.
func (s *State) draw(what string, words ...uint64) uint64 {
	b := append([]byte("kith/draw/1"), s.secret[:]...)
	b = append(b, what...)
	for _, w := range words {
		b = binary.BigEndian.AppendUint64(b, w)
	}
	h := sha256.Sum256(b)
	return binary.BigEndian.Uint64(h[:8])
}

// Handle is the attempt number a lease of the task shows. Under adaptive replication it says nothing: a number that
// counts would tell an audit from a first replica.
func (s *State) Handle(r Ref) int {
	try := s.Attempt(r)
	if !s.adaptive() {
		return try
	}
	return int(s.draw("handle", uint64(r.Stage), uint64(r.Index), uint64(try)) % wireTries)
}

// Alone reports whether a replica of the task may be granted with Sole: nobody else's may become a vote.
func (s *State) Alone(r Ref) bool {
	t := s.at(r)
	if !s.adaptive() || t == nil || t.phase != open {
		return false
	}
	for i := range t.reps {
		if !t.reps[i].state.again() {
			return false
		}
	}
	return true
}

// need is how many independent results make a verdict on the task as it stands.
func (s *State) need(t *task) int {
	if !s.adaptive() {
		return s.k()
	}
	if t.phase == auditing || t.phase == judging {
		return max(auditors, s.k())
	}
	sole := false
	var first dag.CID
	for i := range t.reps {
		r := &t.reps[i]
		sole = sole || r.sole > 0 && r.state <= good && (r.state == good || !r.spare)
		if r.state == good {
			if first.Defined() && first != r.root {
				return s.k()
			}
			first = r.root
		}
	}
	if sole {
		return 1
	}
	return s.k()
}

// vouched reports whether a result that may stand alone is there, when one is enough.
func (s *State) vouched(t *task, need int) bool {
	if need > 1 || s.k() == 1 {
		return true
	}
	for i := range t.reps {
		if t.reps[i].sole > 0 && t.reps[i].state == good {
			return true
		}
	}
	return false
}

// oneIn begins or goes on with a block of a worker's results that stand alone, exactly one of which is audited, and
// reports whether it is this one.
func (s *State) sampled(w uint32, length int) bool {
	x := &s.workers[w]
	if x.left == 0 {
		x.block++
		x.left = max(1, length)
		x.at = int(s.draw("block"+string(x.id[:]), uint64(x.block)) % uint64(x.left))
	}
	x.left--
	return x.left == x.at
}

// provisional folds verdicts of an adaptive job.
func (s *State) provisional(ev *Provisional, now int64, a *Actions) {
	if !s.adaptive() {
		return
	}
	round := s.round
	for i := range ev.Items {
		d := &ev.Items[i]
		t := s.at(d.Task)
		if t == nil || !d.Root.Defined() || t.phase == done {
			continue
		}
		if ev.Round != round || s.round != round || !s.rule(d, ev.Known, a) {
			s.undecide(d.Task, t, now, a) // what it rested on was taken back since
		}
	}
	if s.round != round {
		s.Renew(a)
	}
	s.finishing(a)
}

// Renew asks again for everything the driver was at: what it makes of what was taken back is void.
func (s *State) Renew(a *Actions) {
	if s.phase != Running {
		return
	}
	for i := range s.stages {
		s.stages[i].busy = false
		for j := range s.stages[i].tasks {
			s.stages[i].tasks[j].composing = false
		}
	}
	if s.remerge {
		s.remerge = false
		s.unmerged(a)
	}
	a.Compose, a.Gather, a.Merge = nil, nil, nil
	for i := range s.stages {
		s.openStage(i, a)
	}
	clear(s.merging)
	s.issue(s.tree.Pending(), nil, a)
}

// undecide takes a task back to where its replicas are compared.
func (s *State) undecide(ref Ref, t *task, now int64, a *Actions) {
	switch t.phase {
	case deciding:
		t.phase = open
	case judging:
		t.phase = auditing
	default:
		return
	}
	s.advance(ref, t, now, a)
}

// rule folds one verdict, and reports false if nobody it rests on may be believed.
func (s *State) rule(d *Decision, known []tasks.LeaseID, a *Actions) bool {
	t, st := s.at(d.Task), &s.stages[d.Task.Stage]
	votes := st.voters[d.Task.Index*s.k() : (d.Task.Index+1)*s.k()]
	var fresh []uint32
	all := 0
	for i := range d.Replicas {
		if d.Replicas[i].Outcome != tasks.Accepted {
			continue
		}
		w := s.intern(d.Replicas[i].Worker) + 1
		if s.workers[w-1].lied || s.unsound(t, d, i) {
			continue
		}
		dup := false
		for _, v := range fresh {
			dup = dup || v == w
		}
		if !dup {
			all++
			if len(fresh) < len(votes) {
				fresh = append(fresh, w)
			}
		}
	}
	if all == 0 {
		return false
	}
	clear(votes)
	copy(votes, fresh)
	s.settlePasts(d, votes)
	told := func(l tasks.LeaseID) bool {
		for _, k := range known {
			if k == l {
				return true
			}
		}
		return false
	}
	for i := range d.Replicas {
		o := &d.Replicas[i]
		if (o.Outcome == tasks.Accepted || o.Outcome == tasks.Outvoted) && o.Lease != (tasks.LeaseID{}) && (o.Outcome == tasks.Outvoted || !told(o.Lease)) {
			s.workers[s.intern(o.Worker)].tally.add(o.Outcome)
		}
	}
	length := 0
	var begin []replica
	for i := range t.reps {
		r := &t.reps[i]
		if r.state < good {
			s.workers[r.worker].live--
			delete(s.leases, r.lease)
		}
		if r.sole > 0 && r.worker+1 == votes[0] {
			length = int(r.sole)
		}
	}
	if t.phase == blocked { // a replay of a task whose inputs were made for it
		st.open++
	}
	was, changed := t.phase.has(), t.root != d.Root
	if was {
		st.trials--
	} else {
		st.open--
		st.done++
	}
	lease := tasks.LeaseID{}
	for i := range d.Replicas {
		if d.Replicas[i].Outcome == tasks.Accepted && s.intern(d.Replicas[i].Worker)+1 == votes[0] {
			lease = d.Replicas[i].Lease
		}
	}
	inputs, id := t.inputs, t.id
	*t = task{phase: done, tries: t.tries, root: d.Root, bytes: d.Bytes, inputs: inputs, id: id}
	s.verdicts++
	if was && changed {
		s.round++
		s.spoil(d.Task, a)
	}
	if all == 1 && s.k() > 1 {
		w := votes[0] - 1
		x := &s.workers[w]
		x.sole++
		if length > 0 {
			x.length = length
		}
		x.newest, x.unaudited = d.Task, true
		if s.sampled(w, x.length) {
			x.unaudited = false
			begin = append(begin, replica{lease: lease, worker: w, place: x.place, attempt: restingAttempt, state: good, root: d.Root, bytes: d.Bytes, told: true, from: s.pastOf(d.Task, w)})
			s.audit(d.Task, begin, true, a)
		}
	}
	if !was || changed {
		s.finishedTask(d.Task, a)
	} else {
		s.opened(d.Task.Stage, a)
	}
	return true
}

// audit begins to look at an accepted output again; votes are those for it that still count.
func (s *State) audit(ref Ref, votes []replica, late bool, a *Actions) {
	t, st := s.at(ref), &s.stages[ref.Stage]
	for i := range votes {
		s.workers[votes[i].worker].audits++
	}
	t.phase, t.reps, t.seq, t.fresh = auditing, votes, 0, false
	st.trials++
	if late {
		t.late = s.granted + 1 + int64(s.draw("late", uint64(ref.Stage), uint64(ref.Index), uint64(t.tries))%uint64(lateGrants*(s.used+1)))
		s.late = append(s.late, ref)
	}
	if s.composes(st) && t.inputs == nil && !t.composing {
		var from []dag.CID
		if st.Mode == tasks.Reduce {
			from = s.stages[st.Inputs[0]].roots()
		}
		s.admit(ref, from, a)
	}
	s.requeue(ref, t)
	a.Opened = true
}

// release queues the audits whose time has come, or all of them.
func (s *State) release(all bool) {
	kept := s.late[:0]
	for _, ref := range s.late {
		t := s.at(ref)
		if t.phase == auditing && t.late > s.granted && !all {
			kept = append(kept, ref)
			continue
		}
		if t.phase == auditing {
			t.late = 0
			s.requeue(ref, t)
		}
	}
	s.late = kept
}

// opened opens what waited for a stage's audits.
func (s *State) opened(stage int, a *Actions) {
	if !s.stages[stage].complete() {
		return
	}
	for i := stage + 1; i < len(s.stages); i++ {
		if st := &s.stages[i]; st.Mode != tasks.Map && st.Inputs[0] == stage {
			s.openStage(i, a)
		}
	}
}

// finishing ends the job once nothing is to be looked at again. Before, the newest result that a worker has alone is
// audited, unless it was, or the worker is known for long: whoever began to lie since its last audit, and lies always, has
// lied there.
func (s *State) finishing(a *Actions) {
	if !s.adaptive() || s.phase != Running || s.ending || s.tree == nil {
		return
	}
	root, ok := s.tree.Result()
	if !ok {
		return
	}
	for i := range s.stages {
		if s.stages[i].trials > 0 || s.stages[i].open > 0 {
			return
		}
	}
	if s.closing(a) {
		return
	}
	s.ending = true
	a.Finish = &Done{Root: root}
}

// wellKnown is the length of a block from which on a worker counts as known for long.
const wellKnown = 16

// closing begins the audits that are owed at the end, and reports whether there are any.
func (s *State) closing(a *Actions) bool {
	owed := map[uint32]Ref{}
	least := map[uint32]uint64{}
	begun := false
	for i := range s.workers {
		x := &s.workers[i]
		if x.sole == 0 || x.lied || x.length >= wellKnown {
			continue
		}
		w := uint32(i)
		switch {
		case x.unaudited && s.alone(x.newest) == w+1:
			s.audit(x.newest, s.resting(x.newest, []uint32{w + 1}, s.at(x.newest)), false, a)
			begun = true
		case x.audits == 0: // its newest was taken from it
			owed[w] = Ref{Stage: -1}
		}
		x.unaudited = false
	}
	if len(owed) == 0 {
		return begun
	}
	for i := range s.stages {
		st := &s.stages[i]
		for j := range st.tasks {
			w := s.alone(Ref{Stage: i, Index: j}) - 1 // of nobody, no worker's number
			if _, ok := owed[w]; !ok {
				continue
			}
			if at := s.draw("closing", uint64(i), uint64(j)); owed[w].Stage < 0 || at < least[w] {
				owed[w], least[w] = Ref{Stage: i, Index: j}, at
			}
		}
	}
	for i := range s.workers {
		ref, ok := owed[uint32(i)]
		if !ok || ref.Stage < 0 {
			continue
		}
		t := s.at(ref)
		s.audit(ref, s.resting(ref, []uint32{uint32(i) + 1}, t), false, a)
		begun = true
	}
	return begun
}

// alone returns the voter, a worker's number plus one, on whose word alone a task's output stands, or 0.
func (s *State) alone(ref Ref) uint32 {
	votes := s.stages[ref.Stage].voters[ref.Index*s.k() : (ref.Index+1)*s.k()]
	if s.at(ref).phase != done || len(votes) > 1 && votes[1] != 0 {
		return 0
	}
	return votes[0]
}
