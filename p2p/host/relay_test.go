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

// A node whose owner says that strangers can dial it needs nobody to measure it.
func TestReachableByWord(t *testing.T) {
	h := p2ptest.Host(t, "first of its network", func(c *host.Config) { c.Profile = host.WAN; c.Public = true })
	if got := h.Reachability(); got != p2p.ReachPublic {
		t.Errorf("reachability %s", got)
	}
	none := p2ptest.Host(t, "without a listener", func(c *host.Config) { c.Profile = host.WAN; c.Listen = host.ListenNone; c.Public = true })
	if got := none.Reachability(); got == p2p.ReachPublic {
		t.Error("nobody can dial a node without a listener")
	}
}
