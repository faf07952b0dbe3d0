package core

import (
	"kith/tasks"
	"kith/tasks/job"
)

// This file is where the simulation follows the driver's use of trust.

// adaptive asks for replicas by trust.
func adaptive(*tasks.Policy, bool) {}

// granted steps a grant and reports whether its result may stand alone.
func (s *submitter) granted(j *running, x *session, g job.Grant) bool {
	s.step(j, &job.Granted{Worker: x.id, Items: []job.Grant{g}})
	return false
}

// rule folds verdicts that are on stable storage.
func (s *submitter) rule(j *running, items []job.Decision) {
	for i := range items {
		for k := range items[i].Replicas {
			r := &items[i].Replicas[k]
			if r.Outcome == tasks.Accepted || r.Outcome == tasks.Outvoted {
				s.note(j, r.Worker, r.Lease, r.Outcome)
			} else if li, ok := j.leases[r.Lease]; ok {
				s.uncount(li)
			}
		}
	}
	s.step(j, &job.Verdicts{Items: items})
	for i := range items {
		s.accepted(j, &items[i])
	}
}
