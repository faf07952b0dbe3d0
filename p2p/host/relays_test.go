package host

import (
	"testing"

	"github.com/libp2p/go-libp2p"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"

	"kith/p2p/internal/lp"
)

// A hidden node asks a relay for a reservation by itself: a configured one, or a connected peer that offers.
func TestFindsRelay(t *testing.T) {
	if testing.Short() {
		t.Skip("libp2p takes its time")
	}
	for _, configured := range []bool{true, false} {
		relay, err := libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"), libp2p.Security(libp2ptls.ID, libp2ptls.New),
			libp2p.EnableRelayService(), libp2p.ForceReachabilityPublic(), libp2p.DisableMetrics())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = relay.Close() })
		addr := lp.Text(relay.ID(), relay.Addrs()[0])
		hidden := testHost(t, "hidden", func(c *Config) {
			c.Profile, c.Listen = WAN, ListenNone
			if configured {
				c.Relays = []string{addr}
			}
		})
		if !configured {
			if _, err := hidden.Connect(ctxFor(t), addr); err != nil {
				t.Fatal(err)
			}
		}
		eventually(t, "a reservation is held", func() bool { return hidden.raw.ConnManager().IsProtected(relay.ID(), "autorelay") })
	}
}
