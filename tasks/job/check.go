package job

import (
	"errors"
	"fmt"

	"kith/tasks"
)

// ErrBroken: a job's state contradicts itself.
var ErrBroken = errors.New("job state is broken")

// Check looks at the whole state and returns ErrBroken, wrapped with what is wrong, unless: every accepted result has a
// quorum of distinct workers, no two of which hold the work of one; no task is lost (each is done, has a replica with a clock, has a place in a queue, or waits
// for an input that is not there); every lease belongs to a replica that may still answer; and all counts are right. It
// costs time in the number of tasks.
func Check(s *State) error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s", ErrBroken, fmt.Sprintf(format, args...))
	}
	if s.phase.Over() {
		if s.phase == Finished && !s.result.Defined() {
			return bad("done without a result")
		}
		return nil
	}
	fresh, queued := map[Ref]bool{}, map[Ref]uint32{}
	for _, r := range s.fresh.items[s.fresh.head:] {
		fresh[r] = true
	}
	for _, e := range s.partial.items {
		queued[e.ref] = max(queued[e.ref], e.seq)
	}
	clocks := map[Ref]map[uint16]int64{}
	for _, e := range s.timers {
		m := clocks[e.ref]
		if m == nil {
			m = map[uint16]int64{}
			clocks[e.ref] = m
		}
		if at, ok := m[e.attempt]; !ok || e.at < at {
			m[e.attempt] = e.at
		}
	}
	live := make([]int, len(s.workers))
	leases := 0
	for i := range s.stages {
		st := &s.stages[i]
		var finished, opened, trials int
		for j := range st.tasks {
			t, ref := &st.tasks[j], Ref{Stage: i, Index: j}
			switch t.phase {
			case done:
				finished++
			case auditing, judging:
				finished++
				trials++
			case open, deciding:
				opened++
			}
			if err := s.checkTask(ref, t, fresh[ref], queued[ref]); err != nil {
				return err
			}
			for k := range t.reps {
				r := &t.reps[k]
				if r.state >= good {
					continue
				}
				live[r.worker]++
				leases++
				if s.leases[r.lease] != ref {
					return bad("lease %s of task %s is not known", r.lease.Short(), ref)
				}
				if at, ok := clocks[ref][r.attempt]; !ok || at > r.due {
					return bad("replica %d of task %s has no clock", r.attempt, ref)
				}
			}
		}
		if finished != st.done || opened != st.open || trials != st.trials {
			return bad("stage %d counts %d done, %d open, %d audited; there are %d, %d and %d", i, st.done, st.open, st.trials, finished, opened, trials)
		}
	}
	if leases != len(s.leases) {
		return bad("%d leases for %d replicas", len(s.leases), leases)
	}
	used := 0
	for i := range live {
		if s.workers[i].live != live[i] {
			return bad("worker %d has %d live replicas, counted %d", i, live[i], s.workers[i].live)
		}
		if s.workers[i].used {
			used++
		}
	}
	if used != s.used {
		return bad("%d workers used, counted %d", used, s.used)
	}
	if s.merges > s.mergesTotal() {
		return bad("%d merges of %d", s.merges, s.mergesTotal())
	}
	return nil
}

func (s *State) checkTask(ref Ref, t *task, fresh bool, seq uint32) error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: task %s: %s", ErrBroken, ref, fmt.Sprintf(format, args...))
	}
	st := &s.stages[ref.Stage]
	if len(s.points[ref]) > 0 && t.phase.has() {
		return bad("done, and its checkpoints are kept")
	}
	switch t.phase {
	case blocked:
		if there := st.Mode == tasks.Map && s.ready(st, ref.Index) || st.Mode == tasks.Reduce && s.stages[st.Inputs[0]].complete(); !there || s.phase != Running {
			break
		}
		if !s.composes(st) || t.inputs != nil {
			return bad("has all its inputs and is not open")
		}
	case open, auditing:
		if t.phase == auditing && (!t.root.Defined() || len(t.reps) == 0) {
			return bad("audited without an output or a vote")
		}
		if t.fresh {
			if !fresh {
				return bad("is new and in no queue")
			}
			return nil
		}
		active, voices := 0, map[uint32]bool{}
		for i := range t.reps {
			r := &t.reps[i]
			if r.state < good {
				active++
			}
			if !r.state.again() {
				if voices[r.worker] {
					return bad("worker %d has two voices", r.worker)
				}
				voices[r.worker] = true
			}
		}
		if wants := s.wants(ref, t); (wants > 0) != (t.seq != 0) || t.seq != 0 && seq != t.seq {
			return bad("wants %d more, place in the queue %d of %d", wants, t.seq, seq)
		}
		if active == 0 && s.wants(ref, t) == 0 && t.late == 0 && !t.comparing && !s.ending {
			return bad("nobody works on it and nobody may: %s", s.describe(t))
		}
	case done:
		votes := st.voters[ref.Index*s.k() : (ref.Index+1)*s.k()]
		seen := map[uint32]bool{}
		if s.adaptive() && votes[0] != 0 {
			for len(votes) > 1 && votes[len(votes)-1] == 0 {
				votes = votes[:len(votes)-1]
			}
		}
		for _, v := range votes {
			if v != 0 && s.workers[v-1].lied {
				return bad("accepted on the word of a liar: %v", votes)
			}
			if v == 0 || seen[v] {
				return bad("accepted without a quorum: %v", votes)
			}
			seen[v] = true
		}
		for _, l := range s.pasts[ref] {
			for _, o := range l.past {
				if s.workers[o.worker].lied {
					return bad("accepted on the work of liar %d, which %d holds", o.worker, l.voter)
				}
				if seen[o.worker+1] {
					return bad("accepted on two voices with the work of %d", o.worker)
				}
				if seen[l.voter+1] {
					seen[o.worker+1] = true
				}
			}
		}
		if !t.root.Defined() || t.reps != nil {
			return bad("done without a root, or with replicas")
		}
	}
	return nil
}

func (s *State) describe(t *task) (list []string) {
	for i := range t.reps {
		list = append(list, fmt.Sprint(t.reps[i].worker, t.reps[i].state, t.reps[i].spare))
	}
	return list
}
