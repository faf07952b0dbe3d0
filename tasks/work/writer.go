package work

import (
	"fmt"
	"time"

	"kith/tasks/wire"
)

// write sends what is in the outbox, as much as there is at a time, until the stream ends.
func (s *session) write(c *connection) error {
	stall := time.AfterFunc(writeStall, func() { c.stream.Close() })
	defer stall.Stop()
	for ended := false; !ended; {
		stall.Stop()
		select {
		case <-c.wake:
		case <-c.ended:
			ended = true
		}
		s.mu.Lock()
		out := s.out
		s.out = outbox{}
		s.mu.Unlock()
		frames, err := c.seal(&out)
		if err == nil && len(frames) > 0 {
			stall.Reset(writeStall)
			_, err = c.stream.Write(frames)
		}
		if err != nil {
			c.stream.Close()
			if ended {
				return nil // the peer was gone already
			}
			return fmt.Errorf("write: %w", err)
		}
		if out.bye != nil {
			c.stream.Close()
			return nil
		}
	}
	return nil
}

// maxRevealBytes bounds the inline blocks in one message of reveals, so that it stays within a frame.
const maxRevealBytes = 2 << 20

// seal makes the frames of an outbox.
func (c *connection) seal(out *outbox) ([]byte, error) {
	now := time.Now().UnixMilli()
	var frames []byte
	put := func(m wire.Message) error {
		f, err := c.wire.Seal(m, now)
		if err != nil {
			return fmt.Errorf("seal %s: %w", m.Type(), err)
		}
		frames = append(frames, f...)
		return nil
	}
	for list := out.commits; len(list) > 0; {
		n := min(len(list), wire.MaxLeases)
		if err := put(&wire.Commits{Commits: list[:n]}); err != nil {
			return nil, err
		}
		list = list[n:]
	}
	for list := out.reveals; len(list) > 0; {
		n, size := 0, 0
		for n < len(list) && n < wire.MaxLeases && size <= maxRevealBytes {
			for _, b := range list[n].Blocks {
				size += len(b)
			}
			n++
		}
		if err := put(&wire.Reveals{Reveals: list[:n]}); err != nil {
			return nil, err
		}
		list = list[n:]
	}
	for i := range out.returned {
		if err := put(&out.returned[i]); err != nil {
			return nil, err
		}
	}
	for _, ack := range out.acks {
		if err := put(ack); err != nil {
			return nil, err
		}
	}
	if out.beat != nil {
		out.beat.Time = now
		if err := put(out.beat); err != nil {
			return nil, err
		}
	}
	if out.ask != nil {
		if err := put(out.ask); err != nil {
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
