package host

import (
	"context"
	"sync/atomic"
	"time"

	lhost "github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/host/autorelay"
	circuit "github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/proto"
)

// How a node that strangers cannot dial looks for relays.
const (
	relaysWanted = 2
	relayWait    = 5 * time.Second // after the start, for better candidates to show up
	relaySearch  = 5 * time.Second // at least, between two searches, which look no further than here; at 0 libp2p never pauses
)

// relaySource names relays: the configured ones, then the connected peers that offer to be one.
type relaySource struct {
	static []peer.AddrInfo
	host   atomic.Pointer[lhost.Host] // set once the host exists
}

func (s *relaySource) options() []autorelay.Option {
	return []autorelay.Option{
		autorelay.WithNumRelays(relaysWanted), autorelay.WithMinCandidates(1), autorelay.WithBootDelay(relayWait),
		autorelay.WithMinInterval(relaySearch),
	}
}

// find implements autorelay.PeerSource.
func (s *relaySource) find(_ context.Context, n int) <-chan peer.AddrInfo {
	out := make(chan peer.AddrInfo, n)
	defer close(out)
	for _, ai := range s.static[:min(n, len(s.static))] {
		out <- ai
		n--
	}
	h := s.host.Load()
	if h == nil {
		return out
	}
	for _, p := range (*h).Network().Peers() {
		if n == 0 {
			break
		}
		if offered, err := (*h).Peerstore().SupportsProtocols(p, circuit.ProtoIDv2Hop); err == nil && len(offered) > 0 {
			out <- (*h).Peerstore().PeerInfo(p)
			n--
		}
	}
	return out
}
