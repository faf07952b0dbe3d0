package job

import (
	"bytes"
	"cmp"
	"slices"

	"kith/storage/dag"
	"kith/tasks"
)

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
		return cmp.Or(a.Task.Stage-b.Task.Stage, a.Task.Index-b.Task.Index, bytes.Compare(a.Worker[:], b.Worker[:]))
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
