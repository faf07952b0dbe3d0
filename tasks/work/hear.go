package work

import (
	"context"
	"slices"
	"time"

	"kith/tasks"
	"kith/tasks/wire"
)

// hear acts on one message of the submitter; heard is the same word for word, of those about results. It runs in the loop.
func (s *session) hear(m wire.Message, heard *said) {
	if heard != nil {
		s.writeDown(m, heard)
	}
	switch m := m.(type) {
	case *wire.Leases:
		for i := range m.Leases {
			s.take(&m.Leases[i])
		}
	case *wire.RevealRequest:
		for _, l := range m.Leases {
			s.show(l, heard)
		}
		s.writeShown(len(s.shown) == len(m.Leases))
	case *wire.Delivered:
		for i := range m.Results {
			s.delivered(&m.Results[i], heard)
		}
	case *wire.Verdicts:
		for i := range m.Verdicts {
			s.verdict(&m.Verdicts[i], heard)
		}
	case *wire.Cancel:
		for _, l := range m.Leases {
			if h := s.m[l]; h != nil {
				s.d.why(m.Reason)
				s.d.forget(h)
				s.drop(h)
			}
		}
	case *wire.Receipts:
		s.d.countersign(s, m)
	case *wire.NoWork:
		s.reason = &m.Reason
		s.d.why(m.Reason)
	default:
		s.d.dropped.Add(1)
	}
}

// take accepts a lease or gives it back at once.
func (s *session) take(l *tasks.Lease) {
	d := s.d
	if _, told := s.verdicts[l.ID]; told || s.m[l.ID] != nil { // said again, which no honest submitter does
		d.dropped.Add(1)
		return
	}
	s.reason = nil
	h := &held{s: s, lease: *l, since: time.Now().UnixMilli()}
	s.m[l.ID] = h
	s.held++
	d.uses(l.Do.Job)
	switch r := s.refuse(l); {
	case r != nil:
		d.why(*r)
		s.giveBack(h, *r, nil)
	default:
		if len(l.Do.Inputs) == 0 && !carries(l) {
			h.state = ready
		}
		s.queue = append(s.queue, h)
		d.changed = true
		s.beat()
	}
}

// refuse says why a lease cannot be taken, or nil.
func (s *session) refuse(l *tasks.Lease) *tasks.Reason {
	d := s.d
	switch {
	case d.killed:
		return &tasks.Reason{Code: tasks.Killed}
	case d.paused:
		return &tasks.Reason{Code: tasks.Paused}
	case len(s.m) > maxHeld:
		return ptr(tasks.Because(tasks.Busy, "%d leases already", maxHeld))
	case l.Epoch != s.epoch:
		return ptr(tasks.Because(tasks.BadMessage, "lease of another session"))
	}
	if why := s.mute(); why != nil {
		return why
	}
	for i := range l.Do.Steps {
		name := l.Do.Steps[i].Kind
		k, err := d.o.Kinds.Kind(name)
		if err != nil {
			return ptr(tasks.Because(tasks.UnknownKindCode, "%s", name))
		}
		if !d.allowed(name) {
			return ptr(tasks.Because(tasks.KindOff, "%s", name))
		}
		if why := d.weak(k.Describe().Needs.Sandbox); why != nil { // whatever the submitter makes of our record
			return why
		}
		if _, err := k.Check(l.Do.Steps[i].Params); err != nil {
			return ptr(clip(tasks.Because(tasks.TaskFailed, "%v", err)))
		}
	}
	if d.o.Fits != nil {
		return d.o.Fits(l.Do)
	}
	return nil
}

// waits reports whether next would take something.
func (s *session) waits() bool {
	return slices.ContainsFunc(s.queue, func(h *held) bool { return h.state == ready })
}

// next takes the first lease whose inputs are here off the queue.
func (s *session) next() *held {
	for i, h := range s.queue {
		if h.state == ready {
			s.queue = slices.Delete(s.queue, i, i+1)
			return h
		}
	}
	return nil
}

// prepareAhead fetches inputs for as many leases as there are slots, and two more.
func (s *session) prepareAhead() {
	d := s.d
	ahead := d.o.Slots + 2
	for _, h := range s.queue {
		if h.state != queued {
			if ahead--; ahead == 0 {
				return
			}
			continue
		}
		h.state = preparing
		if h.lease.Do.Public.Defined() && !h.share {
			h.share = true
			d.shared.open(&h.lease.Do)
		}
		ctx, cancel := context.WithCancelCause(d.ctx)
		h.stop = func(r tasks.Reason) { cancel(r) }
		d.work.Go(func() {
			err := d.fetch(ctx, h)
			came := err == nil && carries(&h.lease) && d.fetchPoint(ctx, h)
			cancel(nil)
			d.box.Post(func() {
				h.came = came
				d.prepared(h, err)
			})
		})
		if ahead--; ahead == 0 {
			return
		}
	}
}

// prepared ends the fetch of a lease's inputs.
func (d *Driver) prepared(h *held, err error) {
	h.stop = nil
	d.changed = true
	switch {
	case h.state != preparing || d.ctx.Err() != nil:
	case err != nil:
		d.log.Info("Inputs of a task did not come", "submitter", h.s.peer, "lease", h.lease.ID, "error", err)
		r := reasonOf(err)
		if r.Code == tasks.TaskFailed {
			r.Code = tasks.NoBlockPath
		}
		d.why(r)
		h.s.giveBack(h, r, nil)
	default:
		h.state = ready
	}
}

// giveBack returns a lease with a reason.
func (s *session) giveBack(h *held, r tasks.Reason, log []string) { s.handOver(h, r, log, nil) }

// handOver is giveBack with a checkpoint, if there is one, from which others can go on.
func (s *session) handOver(h *held, r tasks.Reason, log []string, point *tasks.Point) {
	s.mu.Lock()
	s.out.returned = append(s.out.returned, wire.Returned{Lease: h.lease.ID, Reason: clip(r), Log: lastLines(log), Point: point})
	s.mu.Unlock()
	s.remember(&tasks.Verdict{Lease: h.lease.ID, Outcome: tasks.Returned})
	s.drop(h)
	if point != nil && point.Blocks == nil {
		s.d.leave(s.peer, h.lease.ID, point.Root)
	}
	s.send()
}

// lastLines is the end of a log, as much as a message may carry.
func lastLines(log []string) []string {
	size, from := 0, len(log)
	for from > 0 && len(log)-from < wire.MaxLogLines && size+len(log[from-1]) <= wire.MaxLog {
		from--
		size += len(log[from])
	}
	return log[from:]
}

// drop ends a lease, whatever it was doing.
func (s *session) drop(h *held) {
	if h.state == over {
		return
	}
	d := s.d
	if h.stop != nil {
		h.stop(tasks.Reason{Code: tasks.JobCancelled})
	}
	if h.state < committed {
		s.held--
	}
	if h.state < running {
		s.queue = slices.DeleteFunc(s.queue, func(q *held) bool { return q == h })
	}
	if h.state == keeping || h.state == committed {
		s.lost(h)
		d.settle(h)
	}
	h.state = over
	if h.share {
		d.shared.close(&h.lease.Do)
	}
	delete(s.m, h.lease.ID)
	d.unuses(h.lease.Do.Job)
	d.served.Lock()
	if m := d.outputs[s.peer]; m != nil {
		delete(m, h.lease.ID)
	}
	d.served.Unlock()
	d.changed = true
}

// kept sends a commit that is on stable storage now.
func (d *Driver) kept(h *held, err error) {
	if h.state != keeping {
		return // cancelled meanwhile
	}
	if err != nil {
		h.s.giveBack(h, reasonOf(err), nil)
		return
	}
	h.state = committed
	h.s.held--
	d.forget(h)
	h.s.mu.Lock()
	h.s.out.commits = append(h.s.out.commits, h.promise.commit(d.self))
	h.s.mu.Unlock()
	h.s.send()
}

// show opens a commit, if the submitter may see more.
func (s *session) show(l tasks.LeaseID, heard *said) {
	h := s.m[l]
	if h == nil || h.state != committed {
		s.d.dropped.Add(1)
		return
	}
	again := h.asked != nil
	h.asked = heard
	if h.shownAt != 0 || s.mayShow() {
		s.open(h)
	} else if !again {
		s.heldBack = append(s.heldBack, h)
	}
}

// open lets the submitter see an output.
func (s *session) open(h *held) {
	l := h.lease.ID
	if h.shownAt == 0 {
		s.shows(h)
	}
	if h.asked != nil {
		s.shown = append(s.shown, h)
		s.d.owe(h, h.asked)
	}
	if h.promise.Blocks == nil {
		s.d.served.Lock()
		m := s.d.outputs[s.peer]
		if m == nil {
			m = map[tasks.LeaseID]*shownOutput{}
			s.d.outputs[s.peer] = m
		}
		m[l] = &shownOutput{root: h.promise.Root}
		s.d.served.Unlock()
	}
	s.mu.Lock()
	s.out.reveals = append(s.out.reveals, s.d.reveal(&h.promise))
	s.mu.Unlock()
	s.send()
}

// delivered notes that the submitter has the bytes of a result.
func (s *session) delivered(r *wire.Delivery, heard *said) {
	h := s.m[r.Lease]
	if h == nil || h.state != committed || h.promise.Root != r.Root || h.promise.Digest != r.Digest {
		s.d.dropped.Add(1)
		return
	}
	s.d.owe(h, heard)
	s.answered(h, true)
}

func (s *session) verdict(v *tasks.Verdict, heard *said) {
	h := s.m[v.Lease]
	if h == nil {
		return
	}
	s.remember(v)
	if v.Outcome == tasks.Accepted || v.Outcome == tasks.Outvoted {
		s.answered(h, v.Outcome == tasks.Accepted)
	}
	if v.Outcome == tasks.Accepted {
		s.accepted++
		s.d.owe(h, heard)
		s.d.accepted++
		if s.d.o.Book != nil && len(h.lease.Do.Steps) > 0 { // one from before a restart is not known in full
			s.made[v.Lease] = &h.lease.Do
		}
	} else {
		s.d.disown(v)
		s.d.log.Info("A result was not accepted", "submitter", s.peer, "lease", v.Lease, "outcome", string(v.Outcome))
	}
	s.drop(h)
}

// beat begins to send heartbeats while the session holds leases.
func (s *session) beat() {
	if s.beating {
		return
	}
	s.beating = true
	time.AfterFunc(s.d.o.Heartbeat, func() { s.d.box.Post(s.heartbeat) })
}

func (s *session) heartbeat() {
	s.beating = false
	if len(s.m) == 0 || s.d.ctx.Err() != nil {
		return
	}
	m := &wire.Heartbeat{Load: s.d.load()}
	now := time.Now().UnixMilli()
	s.listen(now)
	for _, h := range s.leases() {
		if (h.state == keeping || h.state == committed) && h.promise.Expiry+promiseKept.Milliseconds() < now {
			s.drop(h) // nobody will ask any more
			continue
		}
		b := wire.Beat{Lease: h.lease.ID, State: wire.Delivering, Done: h.done, Total: h.total}
		switch {
		case h.state < running:
			b.State = wire.Preparing
		case h.state == running:
			b.State = wire.Running
		}
		if len(m.Leases) < wire.MaxBeats {
			m.Leases = append(m.Leases, b)
		}
	}
	s.mu.Lock()
	s.out.beat = m
	s.mu.Unlock()
	s.send()
	s.beat()
}

// recalled is how many verdicts a session remembers for the receipts that follow them.
const recalled = 4096

// remember keeps a verdict until its receipt comes.
func (s *session) remember(v *tasks.Verdict) {
	if len(s.recalled) == recalled {
		delete(s.verdicts, s.recalled[0])
		delete(s.made, s.recalled[0])
		s.recalled = append(s.recalled[:0], s.recalled[1:]...)
	}
	s.recalled = append(s.recalled, v.Lease)
	s.verdicts[v.Lease] = v.Outcome
}

// recount remembers a batch that was signed, in case it comes again.
func (s *session) recount(ack *wire.ReceiptAck) {
	if len(s.recounted) == recalled {
		delete(s.signed, s.recounted[0])
		s.recounted = append(s.recounted[:0], s.recounted[1:]...)
	}
	s.recounted = append(s.recounted, ack.Root)
	s.signed[ack.Root] = ack
}

// owes reports whether every receipt of a batch is about a lease this node held, and says of it what the verdict said.
func (s *session) owes(list []tasks.Receipt) bool {
	for i := range list {
		o, ok := s.verdicts[list[i].Lease]
		if x := s.d.dues[list[i].Lease]; !ok && x != nil && x.word() == wire.Approved && x.submitter() == s.peer { // late, and yet
			o, ok = tasks.Accepted, true
		}
		if !ok || o != list[i].Outcome {
			return false
		}
	}
	return true
}
