package network

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// Limits bound what serving others' measurements may cost. Zero means the default.
type Limits struct {
	PerPeer int64 // bytes an hour for one peer, both ways together; default 96 MiB
	Total   int64 // bytes an hour for all of them; default 256 MiB
}

const (
	defaultPerPeer = 96 << 20
	defaultTotal   = 256 << 20
	hour           = time.Hour
	maxPeers       = 1024 // remembered for an hour
)

// Server serves the measurements of others, one transfer at a time, so that they measure the line and not each other.
// It is safe for concurrent use.
type Server struct {
	limits Limits
	now    func() time.Time

	mu       sync.Mutex
	since    time.Time
	total    int64
	peers    map[string]int64
	transfer bool
}

// NewServer returns a server.
func NewServer(l Limits) *Server {
	if l.PerPeer == 0 {
		l.PerPeer = defaultPerPeer
	}
	if l.Total == 0 {
		l.Total = defaultTotal
	}
	return &Server{limits: l, now: time.Now, peers: map[string]int64{}}
}

// take asks for n bytes of one peer's share. done must be called when they have flowed.
func (s *Server) take(peer string, n int64) (done func(), ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := s.now(); now.Sub(s.since) >= hour {
		s.since, s.total = now, 0
		clear(s.peers)
	}
	if s.transfer || s.total+n > s.limits.Total || s.peers[peer]+n > s.limits.PerPeer || len(s.peers) >= maxPeers && s.peers[peer] == 0 {
		return nil, false
	}
	s.transfer = true
	s.total += n
	s.peers[peer] += n
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.transfer = false
	}, true
}

// Serve serves one stream of a peer until it ends. An end by the peer is no error.
func (s *Server) Serve(ctx context.Context, stream Stream, peer string) error {
	stop := context.AfterFunc(ctx, func() { _ = stream.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	for range maxOrders {
		if err := stream.SetDeadline(time.Now().Add(orderTime)); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var b [orderSize]byte
		if _, err := io.ReadFull(stream, b[:]); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		if err := s.obey(stream, peer, b[0], int64(binary.BigEndian.Uint32(b[1:]))); err != nil {
			return err
		}
	}
	return nil
}

func (s *Server) obey(stream Stream, peer string, what byte, n int64) error {
	switch what {
	case orderPing:
		if n > maxPings {
			return fmt.Errorf("%w: %d round trips", ErrProtocol, n)
		}
		if _, err := stream.Write([]byte{answerYes}); err != nil {
			return err
		}
		var b [pingSize]byte
		for range n {
			if _, err := io.ReadFull(stream, b[:]); err != nil {
				return err
			}
			if _, err := stream.Write(b[:]); err != nil {
				return err
			}
		}
		return nil
	case orderDown, orderUp:
		if n > MaxBytes {
			return fmt.Errorf("%w: %d bytes", ErrProtocol, n)
		}
		done, ok := s.take(peer, n)
		if !ok {
			_, err := stream.Write([]byte{answerRefused})
			return err
		}
		defer done()
		if _, err := stream.Write([]byte{answerYes}); err != nil {
			return err
		}
		if what == orderDown {
			return send(stream, n)
		}
		if _, err := io.CopyN(io.Discard, onlyReader{stream}, n); err != nil {
			return err
		}
		_, err := stream.Write([]byte{answerYes})
		return err
	}
	return fmt.Errorf("%w: order %d", ErrProtocol, what)
}
