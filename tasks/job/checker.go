package job

import (
	"fmt"

	"kith/storage/dag"
)

// Checker follows one job from event to event and finds what a look at its state alone cannot show: a merge that is done
// twice, a reveal that is asked for while somebody may still commit, a result that is accepted without its quorum, an
// accepted result that changes or is gone though nothing took it back. It keeps a few bytes a merge; a Step costs little
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
	s.Step(ev, now, a)
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
