package host

import (
	"context"

	lhost "github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
)

// counted is a host whose streams are counted as they are read and written: a network in memory counts nothing itself.
type counted struct {
	lhost.Host
	c *counter
}

// NewStream implements host.Host.
func (h *counted) NewStream(ctx context.Context, p peer.ID, pids ...protocol.ID) (network.Stream, error) {
	s, err := h.Host.NewStream(ctx, p, pids...)
	if err != nil {
		return nil, err
	}
	return h.count(s), nil
}

// SetStreamHandler implements host.Host.
func (h *counted) SetStreamHandler(pid protocol.ID, f network.StreamHandler) {
	h.Host.SetStreamHandler(pid, func(s network.Stream) { f(h.count(s)) })
}

// SetStreamHandlerMatch implements host.Host.
func (h *counted) SetStreamHandlerMatch(pid protocol.ID, match func(protocol.ID) bool, f network.StreamHandler) {
	h.Host.SetStreamHandlerMatch(pid, match, func(s network.Stream) { f(h.count(s)) })
}

func (h *counted) count(s network.Stream) network.Stream {
	return &countedStream{s, h.c.proto(s.Protocol()), &h.c.all}
}

type countedStream struct {
	network.Stream
	own, all *counts
}

// Read implements network.Stream.
func (s *countedStream) Read(b []byte) (int, error) {
	n, err := s.Stream.Read(b)
	s.own.in.Add(int64(n))
	s.all.in.Add(int64(n))
	return n, err
}

// Write implements network.Stream.
func (s *countedStream) Write(b []byte) (int, error) {
	n, err := s.Stream.Write(b)
	for _, c := range []*counts{s.own, s.all} {
		c.out.Add(int64(n))
		c.writes.Add(1)
	}
	return n, err
}
