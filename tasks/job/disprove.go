package job

import "kith/tasks"

// disprove folds the proof that a worker lied: none of its votes counts any more. What rested on it alone is done again,
// and what it helped to carry is looked at again.
func (s *State) disprove(id tasks.NodeID, now int64, a *Actions) {
	w := s.intern(id)
	if !s.adaptive() || s.workers[w].lied || s.phase.Over() {
		return
	}
	s.workers[w].lied = true
	s.unpoint(w)
	s.ending = false
	s.round++
	for i := range s.stages {
		st := &s.stages[i]
		for j := range st.tasks {
			ref, t := Ref{Stage: i, Index: j}, &st.tasks[j]
			switch t.phase {
			case deciding:
				t.phase = open
			case judging:
				t.phase = auditing
			case done:
				s.doubt(ref, w, a)
				continue
			}
			if t.phase.active() {
				s.silence(ref, t, w, a)
			}
		}
	}
	s.Renew(a)
	for i := range s.stages {
		for j := range s.stages[i].tasks {
			if t := &s.stages[i].tasks[j]; t.phase.active() && len(t.reps) > 0 {
				s.advance(Ref{Stage: i, Index: j}, t, now, a)
			}
		}
	}
	s.finishing(a)
}

// Doubtful counts the tasks of a range whose results stand alone, and those that are being audited.
func (s *State) Doubtful(stage, from, to int) (alone, audited int) {
	s.each(stage, from, to, func(_ Ref, t *task, votes []uint32) {
		switch {
		case t.phase == auditing || t.phase == judging:
			audited++
		case t.phase == done && len(votes) > 1 && votes[1] == 0:
			alone++
		}
	})
	return alone, audited
}

func (s *State) doubted(ev *Doubted, a *Actions) {
	if !s.adaptive() {
		return
	}
	s.each(ev.Stage, ev.From, ev.To, func(ref Ref, t *task, votes []uint32) {
		if t.phase == done && len(votes) > 1 && votes[1] == 0 && votes[0] != 0 {
			s.audit(ref, s.resting(ref, votes[:1], t), false, a)
		}
	})
}

// each visits the tasks of a range with their voters.
func (s *State) each(stage, from, to int, visit func(Ref, *task, []uint32)) {
	if stage < 0 || stage >= len(s.stages) {
		return
	}
	st := &s.stages[stage]
	for j := max(from, 0); j < min(to, len(st.tasks)); j++ {
		visit(Ref{Stage: stage, Index: j}, &st.tasks[j], st.voters[j*s.k():(j+1)*s.k()])
	}
}

// resting makes the votes that an audit begins with.
func (s *State) resting(ref Ref, voters []uint32, t *task) (list []replica) {
	for i, v := range voters {
		list = append(list, replica{
			worker: v - 1, place: s.workers[v-1].place, attempt: uint16(restingAttempt + i), state: good, root: t.root, bytes: t.bytes, told: true,
			from: s.pastOf(ref, v-1),
		})
	}
	return list
}

// doubt looks at an accepted output that a liar may have carried.
func (s *State) doubt(ref Ref, liar uint32, a *Actions) {
	st, t := &s.stages[ref.Stage], s.at(ref)
	votes := st.voters[ref.Index*s.k() : (ref.Index+1)*s.k()]
	mine := false
	var rest []uint32
	for _, v := range votes {
		switch {
		case v == liar+1, v != 0 && s.pastOf(ref, v-1).has(liar):
			mine = true
		case v != 0 && !s.workers[v-1].lied:
			rest = append(rest, v)
		}
	}
	switch {
	case !mine:
	case len(rest) == 0:
		s.undo(ref, a)
	default:
		clear(votes)
		copy(votes, rest)
		s.retain(ref, votes)
		s.audit(ref, s.resting(ref, rest, t), false, a)
	}
}

// silence takes a liar's replicas out of a task that has no verdict, or whose output is looked at again.
func (s *State) silence(ref Ref, t *task, liar uint32, a *Actions) {
	carried := false
	for i := range t.reps {
		r := &t.reps[i]
		switch {
		case r.worker != liar && !r.from.has(liar) || r.state > good:
		case r.state == good:
			r.state = cancelled
		case r.worker != liar:
			a.Cancel = append(a.Cancel, Asked{Worker: s.workers[r.worker].id, Lease: r.lease, Reason: tasks.NoTasksLeft})
			s.settle(ref, t, r, cancelled, a)
		default:
			a.Cancel = append(a.Cancel, Asked{Worker: s.workers[liar].id, Lease: r.lease, Reason: tasks.Banned})
			s.settle(ref, t, r, cancelled, a)
		}
	}
	if t.phase != auditing {
		t.seq = 0
		s.requeue(ref, t)
		return
	}
	for i := range t.reps {
		carried = carried || t.reps[i].state == good && t.reps[i].root == t.root
	}
	if !carried {
		s.undo(ref, a)
		return
	}
	votes := s.stages[ref.Stage].voters[ref.Index*s.k() : (ref.Index+1)*s.k()]
	clear(votes)
	for i, n := 0, 0; i < len(t.reps) && n < len(votes); i++ {
		if r := &t.reps[i]; r.state == good && r.root == t.root {
			votes[n] = r.worker + 1
			n++
		}
	}
	s.retain(ref, votes)
	t.seq = 0
	s.requeue(ref, t)
}

// undo takes a task back to where it waits for its inputs, whatever it had, and so everything that was made of its
// output.
func (s *State) undo(ref Ref, a *Actions) {
	st, t := &s.stages[ref.Stage], s.at(ref)
	for i := range t.reps {
		if r := &t.reps[i]; r.state < good {
			a.Cancel = append(a.Cancel, Asked{Worker: s.workers[r.worker].id, Lease: r.lease, Reason: tasks.NoTasksLeft})
			s.settle(ref, t, r, cancelled, a)
		}
	}
	had := t.phase.has()
	switch {
	case had:
		st.done--
		if t.phase != done {
			st.trials--
		}
	case t.phase != blocked:
		st.open--
	}
	clear(st.voters[ref.Index*s.k() : (ref.Index+1)*s.k()])
	keep := task{phase: blocked, tries: t.tries}
	if had || t.phase == blocked {
		keep.inputs, keep.id = nil, tasks.TaskID{}
	}
	*t = keep
	s.unpast(ref)
	if had {
		s.spoil(ref, a)
	}
}

// spoil undoes what was made of a task's output.
func (s *State) spoil(ref Ref, a *Actions) {
	last := len(s.stages) - 1
	if ref.Stage == last {
		s.ending, s.remerge = false, true
		return
	}
	for i := ref.Stage + 1; i <= last; i++ {
		st := &s.stages[i]
		reads := false
		for _, from := range st.Inputs {
			reads = reads || from == ref.Stage
		}
		if !reads {
			continue
		}
		if st.Mode == tasks.Gather {
			clear(st.outputs)
			st.have, st.busy = 0, false
			s.spoil(Ref{Stage: i, Index: -1}, a)
			continue
		}
		for j := range st.tasks {
			whole := ref.Index < 0 || st.Mode != tasks.Map
			if t := &st.tasks[j]; (whole || j == ref.Index) && (t.phase != blocked || t.inputs != nil || t.composing) {
				s.undo(Ref{Stage: i, Index: j}, a)
			}
		}
	}
}
