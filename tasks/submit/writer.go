package submit

import (
	"fmt"
	"time"

	"kith/tasks"
	"kith/tasks/job"
	"kith/tasks/wire"
)

func (s *session) wakeWriter() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// end tells the worker why the session ends.
func (s *session) end(r tasks.Reason) {
	s.mu.Lock()
	s.out.bye = ptr(clipReason(r))
	s.mu.Unlock()
	s.wakeWriter()
}

// flush hands every session's writer what this turn of the loop has for it.
func (d *Driver) flush() {
	for _, s := range d.sessions {
		if s.dirty {
			s.dirty = false
			s.wakeWriter()
		}
	}
}

// write sends what is in the outbox, as much as there is at a time, until the session ends.
func (s *session) write() error {
	stall := time.AfterFunc(writeStall, func() { s.stream.Close() })
	defer stall.Stop()
	for ended := false; !ended; {
		stall.Stop()
		select {
		case <-s.wake:
		case <-s.ended:
			ended = true
		}
		s.mu.Lock()
		out := s.out
		s.out = outbox{}
		s.mu.Unlock()
		frames, err := s.seal(&out)
		if err == nil && len(frames) > 0 {
			stall.Reset(writeStall)
			_, err = s.stream.Write(frames)
		}
		if err != nil {
			s.stream.Close()
			if ended {
				return nil // the peer was gone already
			}
			return fmt.Errorf("write: %w", err)
		}
		if out.bye != nil {
			s.stream.Close()
			return nil
		}
	}
	return nil
}

// maxRoots and maxPoints bound the input roots in one message of leases, and the bytes of checkpoints in it, so that it stays
// within a frame.
const (
	maxRoots  = 1 << 16
	maxPoints = 1 << 20
)

// carries is how many bytes of a checkpoint come with a lease.
func carries(l *tasks.Lease) (n int) {
	if l.Travel != nil && l.Travel.From != nil {
		for _, b := range l.Travel.From.Blocks {
			n += len(b)
		}
	}
	return n
}

// seal makes the frames of an outbox, in the order in which the worker should hear them.
func (s *session) seal(out *outbox) ([]byte, error) {
	now := time.Now().UnixMilli()
	var frames []byte
	put := func(m wire.Message) error {
		f, err := s.wire.Seal(m, now)
		if err != nil {
			return fmt.Errorf("seal %s: %w", m.Type(), err)
		}
		frames = append(frames, f...)
		return nil
	}
	if out.welcome != nil {
		out.welcome.Time = now
		if err := put(out.welcome); err != nil {
			return nil, err
		}
	}
	for list := out.delivered; len(list) > 0; {
		n := min(len(list), wire.MaxLeases)
		if err := put(&wire.Delivered{Results: list[:n], Time: now}); err != nil {
			return nil, err
		}
		list = list[n:]
	}
	for list := out.verdicts; len(list) > 0; {
		n := min(len(list), wire.MaxLeases)
		if err := put(&wire.Verdicts{Verdicts: list[:n]}); err != nil {
			return nil, err
		}
		list = list[n:]
	}
	if err := sealCancels(out.cancel, put); err != nil {
		return nil, err
	}
	for list := out.reveal; len(list) > 0; {
		n := min(len(list), wire.MaxLeases)
		if err := put(&wire.RevealRequest{Leases: list[:n]}); err != nil {
			return nil, err
		}
		list = list[n:]
	}
	for list := out.leases; len(list) > 0; {
		n, roots, bytes := 1, len(list[0].Do.Inputs), carries(&list[0])
		for n < len(list) && n < wire.MaxLeases && roots+len(list[n].Do.Inputs) <= maxRoots && bytes+carries(&list[n]) <= maxPoints {
			roots += len(list[n].Do.Inputs)
			bytes += carries(&list[n])
			n++
		}
		if err := put(&wire.Leases{Leases: list[:n]}); err != nil {
			return nil, err
		}
		list = list[n:]
	}
	for _, b := range out.receipts {
		m, err := s.d.signBatch(s, b)
		if err == nil {
			err = put(m)
		}
		if err != nil {
			return nil, err
		}
	}
	if out.nowork != nil {
		if err := put(&wire.NoWork{Reason: *out.nowork}); err != nil {
			return nil, err
		}
	}
	if out.bye != nil {
		if err := put(&wire.Bye{Reason: *out.bye}); err != nil {
			return nil, err
		}
	}
	return frames, nil
}

// sealCancels groups cancels by their reason.
func sealCancels(list []job.Asked, put func(wire.Message) error) error {
	for len(list) > 0 {
		m := &wire.Cancel{Reason: tasks.Reason{Code: list[0].Reason}}
		rest := list[:0]
		for _, c := range list {
			if c.Reason == m.Reason.Code && len(m.Leases) < wire.MaxLeases {
				m.Leases = append(m.Leases, c.Lease)
			} else {
				rest = append(rest, c)
			}
		}
		if err := put(m); err != nil {
			return err
		}
		list = rest
	}
	return nil
}
