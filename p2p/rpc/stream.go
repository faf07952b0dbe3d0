package rpc

import (
	"net/netip"
	"sync/atomic"

	"github.com/libp2p/go-libp2p/core/network"
	manet "github.com/multiformats/go-multiaddr/net"

	"kith/p2p"
	"kith/p2p/internal/lp"
)

// stream shows a libp2p stream as a p2p.Stream.
type stream struct {
	network.Stream
	remote p2p.ID
	closed atomic.Bool
}

var _ p2p.Stream = (*stream)(nil)

func wrap(raw network.Stream) (*stream, error) {
	id, err := lp.ID(raw.Conn().RemotePeer())
	if err != nil {
		return nil, err
	}
	return &stream{Stream: raw, remote: id}, nil
}

func (s *stream) Close() error {
	s.closed.Store(true)
	return s.Stream.Close()
}

func (s *stream) Reset() error {
	s.closed.Store(true)
	return s.Stream.Reset()
}

// release resets a stream that its handler left open, so that neither side waits for the other.
func (s *stream) release() {
	if !s.closed.Load() {
		_ = s.Stream.Reset()
	}
}

func (s *stream) Remote() p2p.ID { return s.remote }

func (s *stream) Relayed() bool { return s.Conn().Stat().Limited }

func (s *stream) Protocol() string { return string(s.Stream.Protocol()) }

func (s *stream) RemoteIP() netip.Addr {
	if s.Relayed() {
		return netip.Addr{}
	}
	ip, err := manet.ToIP(s.Conn().RemoteMultiaddr())
	if err != nil {
		return netip.Addr{}
	}
	a, _ := netip.AddrFromSlice(ip)
	return a.Unmap()
}
