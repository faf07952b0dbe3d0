package job

import (
	"fmt"
	"slices"

	"kith/storage/dag"
	"kith/tasks"
)

// Checker follows one job from event to event and finds what a look at its state alone cannot show: a merge that is done
// twice, a reveal that is asked for while somebody may still commit, a result that is accepted without its quorum, or on two
// voices with one node's work in both, an accepted result that changes or is gone though nothing took it back. It keeps a few bytes a merge; a Step costs little
// more than State.Step. The zero Checker is for a new job. It is not safe for concurrent use.
type Checker struct {
	// Every is the number of steps between two looks at the whole state (Check). 0: never; call Check at the end.
	Every int

	steps  int
	merged map[spot]dag.CID
}

// Step steps a state and returns ErrBroken, wrapped, if that broke a promise.
func (c *Checker) Step(s *State, ev Event, now int64, a *Actions) error {
	merges, finished, phase := s.merges, s.DoneTasks(), s.phase
	reveals := len(a.Reveal)
	held := s.holdings(ev)
	s.Step(ev, now, a)
	if err := s.checkHoldings(held); err != nil {
		return err
	}
	if s.phase.Over() {
		if phase == Finished && s.phase != Finished {
			return fmt.Errorf("%w: a finished job is %s", ErrBroken, s.phase)
		}
		return Check(s)
	}
	if s.merges < merges {
		c.merged = nil // merging began anew
	}
	switch ev := ev.(type) {
	case *Merged:
		if s.merges <= merges {
			break
		}
		if c.merged == nil {
			c.merged = map[spot]dag.CID{}
		}
		at := spot{ev.Level, ev.Index}
		if _, twice := c.merged[at]; twice {
			return fmt.Errorf("%w: merge %d/%d is done twice", ErrBroken, ev.Level, ev.Index)
		}
		c.merged[at] = ev.Root
	case *Verdicts:
		for i := range ev.Items {
			d := &ev.Items[i]
			if t := s.at(d.Task); t != nil && t.phase == done {
				if err := s.checkTask(d.Task, t, false, 0); err != nil {
					return err
				}
			}
		}
	case *Granted, Heartbeat, Committed, Revealed, Checked, SessionUp, SessionDown, Tick, *Placed:
		if n := s.DoneTasks(); n < finished {
			return fmt.Errorf("%w: %T took %d accepted results back", ErrBroken, ev, finished-n)
		}
	}
	for _, q := range a.Reveal[reveals:] {
		ref, ok := s.leases[q.Lease]
		if !ok {
			continue
		}
		for i := range s.at(ref).reps {
			if s.at(ref).reps[i].state == granted {
				return fmt.Errorf("%w: task %s is revealed while a replica may still commit", ErrBroken, ref)
			}
		}
	}
	if c.steps++; c.Every > 0 && c.steps%c.Every == 0 {
		return Check(s)
	}
	return nil
}

// holding is whose work is in one result that a verdict rests on, as places were when its leases were given.
type holding struct {
	ref   Ref
	voter uint32
	by    []source
}

// holdings lists them, before the verdict is folded.
func (s *State) holdings(ev Event) (list []holding) {
	var items []Decision
	switch ev := ev.(type) {
	case *Verdicts:
		items = ev.Items
	case *Provisional:
		items = ev.Items
	}
	for i := range items {
		d := &items[i]
		t := s.at(d.Task)
		if t == nil {
			continue
		}
		for k := range d.Replicas {
			r := s.repOf(t, &d.Replicas[k])
			if r == nil || d.Replicas[k].Outcome != tasks.Accepted {
				continue
			}
			list = append(list, holding{ref: d.Task, voter: r.worker + 1, by: r.held()})
		}
	}
	return list
}

// checkHoldings looks at those that became voters: no node's work, nor that of two that were near, is in two of them.
func (s *State) checkHoldings(list []holding) error {
	for i := range list {
		for k := range list[:i] {
			a, b := &list[i], &list[k]
			if a.ref != b.ref || len(a.by)+len(b.by) == 2 || s.at(a.ref) == nil || !s.at(a.ref).phase.has() {
				continue
			}
			votes := s.stages[a.ref.Stage].voters[a.ref.Index*s.k() : (a.ref.Index+1)*s.k()]
			if !slices.Contains(votes, a.voter) || !slices.Contains(votes, b.voter) {
				continue
			}
			for _, x := range a.by {
				for _, y := range b.by {
					if x.worker == y.worker || near(&s.places[x.place], &s.places[y.place]) {
						return fmt.Errorf("%w: task %s is accepted on workers %d and %d, and both hold the work of %d or its neighbour %d", ErrBroken, a.ref, a.voter-1, b.voter-1, x.worker, y.worker)
					}
				}
			}
		}
	}
	return nil
}
