package host_test

import (
	"context"
	"testing"

	"kith/p2p"
	"kith/p2p/host"
	"kith/p2p/internal/p2ptest"
)

// An outbound-only node is reached through a relay, and its connection is known for what it is.
func TestRelayedPeer(t *testing.T) {
	p2ptest.NoLeaks(t)
	hidden, other := p2ptest.Relayed(t)
	for h, id := range map[*host.Host]p2p.ID{other: hidden.ID(), hidden: other.ID()} {
		p, ok := h.Peer(id)
		if !ok || !p.Relayed || p.Transport != "relay" || p.IP.IsValid() {
			t.Errorf("peer %+v", p)
		}
		if direct, relayed := h.Connected(id); direct || !relayed {
			t.Errorf("direct %t, relayed %t", direct, relayed)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- hidden.Serve(ctx) }()
	p2ptest.Eventually(t, "the hidden node knows that it is", func() bool { return hidden.Reachability() == p2p.ReachPrivate })
	cancel()
	<-done
}
