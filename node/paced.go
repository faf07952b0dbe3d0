package node

import (
	"context"
	"sync"
	"time"

	"kith/node/artifact"
	"kith/node/owner"
	"kith/p2p"
)

// paceSlice is how much of a stream waits for the pace at once.
const paceSlice = 32 << 10

// pacedStream holds what is read and written to the owner's rates. What this node holds back is not the peer's delay, so
// deadlines move on by it. One goroutine reads or writes at a time, as with every conversation about a whole DAG.
type pacedStream struct {
	artifact.Stream
	ctx     context.Context
	in, out *owner.Pace

	mu       sync.Mutex
	deadline time.Time
}

// paced shows a stream that carries blocks as node/artifact wants it, under the owner's caps on the network.
func (w *network) paced(ctx context.Context, s p2p.Stream) *pacedStream {
	return &pacedStream{Stream: stream{s}, ctx: ctx, in: w.in, out: w.out}
}

// SetDeadline implements artifact.Stream.
func (s *pacedStream) SetDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deadline = t
	return s.Stream.SetDeadline(t)
}

// Read implements io.Reader. What has come cannot be held back any more, but the next can.
func (s *pacedStream) Read(b []byte) (int, error) {
	n, err := s.Stream.Read(b[:min(len(b), paceSlice)])
	if held := s.hold(s.in, n); held != nil && err == nil {
		err = held
	}
	return n, err
}

// Write implements io.Writer.
func (s *pacedStream) Write(b []byte) (int, error) {
	done := 0
	for {
		slice := b[done:min(done+paceSlice, len(b))]
		if err := s.hold(s.out, len(slice)); err != nil {
			return done, err
		}
		n, err := s.Stream.Write(slice)
		if done += n; err != nil || done == len(b) {
			return done, err
		}
	}
}

// hold waits for the pace. A deadline that has passed is somebody's wish to end the conversation, and stays.
func (s *pacedStream) hold(p *owner.Pace, n int) error {
	if n <= 0 {
		return nil
	}
	begun := time.Now()
	if err := p.Wait(s.ctx, n); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if waited := time.Since(begun); waited > time.Millisecond && s.deadline.After(begun) {
		s.deadline = s.deadline.Add(waited)
		return s.Stream.SetDeadline(s.deadline)
	}
	return nil
}
