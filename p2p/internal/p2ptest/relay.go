package p2ptest

import (
	"testing"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/client"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/relay"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
	ma "github.com/multiformats/go-multiaddr"

	"kith/p2p/host"
	"kith/p2p/internal/lp"
)

// Relayed opens an outbound-only host and another that is connected to it through a relay, and in no other way.
func Relayed(t testing.TB) (hidden, other *host.Host) {
	t.Helper()
	middle, err := libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"), libp2p.Security(libp2ptls.ID, libp2ptls.New),
		libp2p.EnableRelayService(relay.WithReservationAddressFilter(func(ma.Multiaddr) bool { return true })),
		libp2p.ForceReachabilityPublic(), libp2p.DisableMetrics())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = middle.Close() })
	relayAddr := lp.Text(middle.ID(), middle.Addrs()[0])
	hidden = Host(t, "hidden", func(c *host.Config) { c.Profile = host.WAN; c.Listen = host.ListenNone; c.Relays = []string{relayAddr} })
	other = Host(t, "other", func(c *host.Config) { c.Profile = host.WAN })
	// libp2p passes on the relayed addresses of public relays only: this one is asked and named by hand.
	info, err := lp.AddrInfo(relayAddr)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Reserve(Context(t), hidden.Unrouted(), info); err != nil {
		t.Fatal(err)
	}
	if _, err := other.Connect(Context(t), relayAddr+"/p2p-circuit/p2p/"+hidden.Unrouted().ID().String()); err != nil {
		t.Fatal(err)
	}
	return hidden, other
}
