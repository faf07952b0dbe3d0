package node

import (
	"net/netip"
	"testing"

	"kith/node/config"
	"kith/p2p/host"
)

func TestProfileOf(t *testing.T) {
	public := []netip.Addr{netip.MustParseAddr("9.9.9.9")}
	for _, c := range []struct {
		profile, on string
		own         []netip.Addr
		peers       []string
		want        host.Profile
	}{
		{"auto", "all", nil, nil, host.LAN},
		{"auto", "all", nil, []string{"/ip4/192.168.1.4/udp/4717/quic-v1/p2p/x", "/ip4/127.0.0.1/tcp/1/p2p/x", "/ip4/100.70.0.1/tcp/1", "/ip6/fe80::1/tcp/1", "x"}, host.LAN},
		{"auto", "all", nil, []string{"/ip4/203.0.113.7/udp/4717/quic-v1/p2p/x", "/ip6/2001:db8::1/tcp/4717"}, host.LAN},
		{"auto", "all", nil, []string{"/ip4/192.168.1.4/tcp/1", "/ip4/9.9.9.9/udp/4717/quic-v1/p2p/x"}, host.WAN},
		{"auto", "all", nil, []string{"/ip6/2620:fe::fe/tcp/4717"}, host.WAN},
		{"auto", "all", nil, []string{"/dnsaddr/kith.example"}, host.WAN},
		{"auto", "all", public, nil, host.WAN},
		{"auto", "loopback", public, nil, host.LAN},
		{"lan", "all", public, []string{"/dns4/kith.example/tcp/1"}, host.LAN},
		{"wan", "loopback", nil, nil, host.WAN},
	} {
		if got := profileOf(config.Listen{Profile: c.profile, On: c.on}, c.own, c.peers); got != c.want {
			t.Errorf("%s, listening on %s with %v and %q: %s, want %s", c.profile, c.on, c.own, c.peers, got, c.want)
		}
	}
}
