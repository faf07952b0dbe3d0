package core

import (
	"slices"

	"kith/tasks"
	"kith/tasks/deal"
	"kith/tasks/job"
	"kith/tasks/trust"
)

// This file follows the driver's use of trust: what becomes of verdicts. Who gets what is package deal's word here too.

// what names the only kind of work there is here.
const what_ = "sim"

// policy is what a job of a scenario asks for.
func (w *World) policy(j *running) tasks.Policy {
	p := tasks.Policy{K: j.spec.K, N: j.spec.N, DeviceClass: tasks.CPU, NodeLimit: j.spec.Nodes, Regions: j.spec.Regions}
	if j.spec.Deadline > 0 {
		p.Deadline = w.millis() + j.spec.Deadline.Milliseconds()
	}
	if j.spec.Adaptive {
		p.Replication = tasks.Adaptive
	}
	return p
}

// granted steps a grant and returns, if its result may stand alone, how many such results share one audit; else 0.
func (s *submitter) granted(j *running, x *session, g job.Grant) uint16 {
	if oneIn, ok := deal.Alone(j.state, s.book, g.Task, x.id, what_, s.w.millis()); ok {
		s.step(j, &job.Sole{Worker: x.id, Items: []job.Grant{g}, OneIn: oneIn})
		return uint16(oneIn)
	}
	s.step(j, &job.Granted{Worker: x.id, Items: []job.Grant{g}})
	return 0
}

// rule folds verdicts that are on stable storage.
func (s *submitter) rule(j *running, items []job.Decision) {
	if !j.spec.Adaptive {
		for i := range items {
			s.tell(j, &items[i], nil)
		}
		s.step(j, &job.Verdicts{Items: items})
		for i := range items {
			s.accepted(j, &items[i])
		}
		return
	}
	for len(items) > 0 && !j.over {
		ev := &job.Provisional{Round: items[0].Round}
		for len(items) > 0 && items[0].Round == ev.Round {
			ev.Items = append(ev.Items, items[0])
			ev.Known = append(ev.Known, items[0].Known...)
			items = items[1:]
		}
		s.provisional(j, ev)
	}
}

func (s *submitter) provisional(j *running, ev *job.Provisional) {
	if ev.Round != j.state.Round() {
		s.step(j, ev) // void
		return
	}
	for i := range ev.Items {
		s.tell(j, &ev.Items[i], ev.Known)
	}
	s.step(j, ev)
	for i := range ev.Items {
		s.accepted(j, &ev.Items[i])
		s.judge(&ev.Items[i], ev.Known)
	}
}

// tell notes the outcome of every replica of a verdict whose host does not know it yet.
func (s *submitter) tell(j *running, d *job.Decision, known []tasks.LeaseID) {
	for k := range d.Replicas {
		r := &d.Replicas[k]
		if r.Lease == (tasks.LeaseID{}) || slices.Contains(known, r.Lease) {
			continue
		}
		if r.Outcome == tasks.Accepted || r.Outcome == tasks.Outvoted {
			s.note(j, r.Worker, r.Lease, r.Outcome)
		} else if li, ok := j.leases[r.Lease]; ok {
			s.uncount(li)
		}
	}
}

// judge tells the book who agreed with whom, and acts on what it concludes.
func (s *submitter) judge(d *job.Decision, known []tasks.LeaseID) {
	w := s.w
	var votes []trust.Vote
	for k := range d.Replicas {
		r := &d.Replicas[k]
		if r.Outcome == tasks.Accepted || r.Outcome == tasks.Outvoted {
			votes = append(votes, trust.Vote{
				Node: r.Worker, Root: r.Root, Won: r.Outcome == tasks.Accepted, Told: slices.Contains(known, r.Lease), Group: w.hosts[w.hostOf(r.Worker)].group,
			})
		}
	}
	var id tasks.TaskID
	copy(id[:], d.Root[4:])
	lied, cleared := s.book.Verdict(id, what_, votes, w.millis())
	for _, who := range cleared {
		w.m.cleared++
		for _, j := range slices.Clone(s.jobs) {
			if j.spec.Adaptive && j.state.Knows(who) {
				s.step(j, &job.Cleared{Worker: who})
			}
		}
	}
	for _, who := range lied {
		i := w.hostOf(who)
		h := &w.hosts[i]
		w.m.actors[h.class].Banned++
		if h.caughtAt == 0 && h.lies > 0 {
			w.caught(h)
		}
		s.expel(i)
		for _, j := range slices.Clone(s.jobs) {
			if j.spec.Adaptive && j.state.Knows(who) {
				j.lies++
				w.after(syncMicros, func() {
					j.lies--
					if !s.down && !j.over {
						s.step(j, &job.Disproved{Worker: who})
						s.hungry()
					}
				})
			}
		}
	}
}

// end steps the end of a job, unless it was taken back on the way to the disk: then it is asked for again.
func (s *submitter) conclude(j *running, ev job.Event) {
	round := j.state.Round()
	s.w.after(syncMicros, func() {
		if _, done := ev.(*job.Done); done && (j.lies > 0 || j.state.Round() != round) {
			return
		}
		s.later(j, ev)
	})
}
