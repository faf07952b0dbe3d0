package job

import (
	"slices"

	"kith/tasks"
	"kith/tasks/verify"
)

// Whose work is in what: see travel.go.

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

// clash reports whether somebody of a past is, or is near, somebody whose work a replica holds.
func (s *State) clash(past []source, r *replica) bool {
	return slices.ContainsFunc(r.held(), func(o source) bool {
		return slices.ContainsFunc(past, func(p source) bool { return p.worker == o.worker || s.beside(p, o) })
	})
}

func (s *State) disjoint(a, b *replica) bool { return !s.clash(a.held(), b) }

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
