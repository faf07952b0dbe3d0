package work

import (
	"cmp"
	"slices"
	"time"
)

// Slots are shared by start-time fair queueing: the submitter whose tasks have used the least slot time, divided by its
// weight, goes first, so that one with long tasks or many of them takes nothing from another. A submitter that had
// nothing to do begins where the others stand: it can neither save up nor be made to catch up.

// share is a submitter's part of the slots.
type share struct {
	spent   time.Duration // slot time used, divided by weight, on the scale of Driver.reached
	running []*held       // with since
	resting bool          // it had nothing to do
}

// used is what counts against a submitter at now: what it has spent, and what its running tasks have used so far.
func (d *Driver) used(s *session, now int64) time.Duration {
	used := s.share.spent
	for _, h := range s.share.running {
		used += time.Duration(max(0, now-h.since)) * time.Millisecond / time.Duration(d.weight(h))
	}
	return used
}

func (d *Driver) weight(h *held) int {
	if d.o.Weight == nil || len(h.lease.Do.Steps) == 0 {
		return 1
	}
	return max(1, d.o.Weight(h.s.peer, h.lease.Do.Steps[0].Kind))
}

// fair puts the submitters in the order in which free slots go to them.
func (d *Driver) fair() {
	if len(d.order) < 2 {
		return
	}
	now := time.Now().UnixMilli()
	for _, s := range d.order {
		waits := slices.ContainsFunc(s.queue, func(h *held) bool { return h.state == ready })
		switch {
		case !waits && len(s.share.running) == 0:
			s.share.resting = true
		case s.share.resting:
			s.share.resting = false
			s.share.spent = max(s.share.spent, d.reached)
		}
	}
	slices.SortStableFunc(d.order, func(a, b *session) int {
		if a.pays.mean() != b.pays.mean() {
			if a.pays.mean() {
				return 1
			}
			return -1
		}
		return cmp.Compare(d.used(a, now), d.used(b, now))
	})
	d.turn = len(d.order) - 1 // the next one is the first
}

// began notes that a task has a slot.
func (d *Driver) began(h *held) {
	d.reached = max(d.reached, d.used(h.s, h.since))
	h.s.share.running = append(h.s.share.running, h)
}

// finished notes that it has left it.
func (d *Driver) finished(h *held, took time.Duration) {
	h.s.share.running = slices.DeleteFunc(h.s.share.running, func(o *held) bool { return o == h })
	h.s.share.spent += took / time.Duration(d.weight(h))
}
