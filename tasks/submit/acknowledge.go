package submit

import (
	"time"

	"kith/tasks"
	"kith/tasks/job"
	"kith/tasks/wire"
)

// A worker hears of its result by the verdict, mostly within moments of showing it. When the verdict takes longer than
// this, because another replica or a comparison is waited for, the result is acknowledged by itself (wire.Delivered): the
// worker can prove then that it is here, and goes on showing this node others. Many are acknowledged by one message. A
// worker that does not know this node yet shows it few before it hears a word: at first words come sooner.
const (
	acknowledgeAfter = 250 * time.Millisecond
	acknowledgeSoon  = 50 * time.Millisecond
	soonLeases       = maxInFlight // of a session, from the first on
)

// acknowledges returns after how many milliseconds a worker hears of a result without its verdict.
func (s *session) acknowledges() int64 {
	if s.given <= soonLeases {
		return acknowledgeSoon.Milliseconds()
	}
	return acknowledgeAfter.Milliseconds()
}

// having is a result that is here and has no verdict yet.
type having struct {
	at int64 // when it came, Unix milliseconds
	of *grant
}

// have notes that all bytes of a worker's result are here, and are those it had committed to.
func (d *Driver) have(j *running, ref job.Ref, worker tasks.NodeID, r wire.Delivery, now int64) {
	if !j.state.Awaits(ref, r.Lease) {
		return // it was not asked for, or does not open its commit
	}
	s := d.sessions[worker]
	if s == nil { // it is away
		if o := d.owing[worker]; o != nil && o.waiting[r.Lease] != nil {
			o.waiting[r.Lease].got = r
		}
		return
	}
	if g := s.grants.get(r.Lease); g != nil {
		g.got = r
		d.acknowledgeLater(s, g, now)
	}
}

// acknowledgeLater sees to it that a result is acknowledged unless its verdict comes first.
func (d *Driver) acknowledgeLater(s *session, g *grant, now int64) {
	if s.stream.Version() < wire.SessionVersion {
		return
	}
	told := 0
	for told < len(s.having) && s.having[told].of.told {
		told++
	}
	s.having = append(s.having[told:], having{now, g})
	d.due(s.having[0].at + s.acknowledges())
}

// acknowledge tells a worker of its results that have waited long enough, or of all if something has ended that they
// waited for.
func (d *Driver) acknowledge(s *session, now int64, all bool) {
	n := 0
	for ; n < len(s.having) && (all || s.having[n].at+s.acknowledges() <= now); n++ {
		if g := s.having[n].of; !g.told {
			s.mu.Lock()
			s.out.delivered = append(s.out.delivered, g.got)
			s.mu.Unlock()
			s.dirty = true
		}
	}
	if s.having = s.having[n:]; len(s.having) > 0 {
		d.due(s.having[0].at + s.acknowledges())
	} else {
		s.having = nil
	}
}
