package node

import (
	"testing"

	"kith/p2p/host"
)

func TestProfileOf(t *testing.T) {
	if len(publicAddrs()) > 0 {
		t.Skip("this machine has a public address: auto is wan whatever it is told")
	}
	for _, c := range []struct {
		setting string
		peers   []string
		want    host.Profile
	}{
		{"auto", nil, host.LAN},
		{"auto", []string{"/ip4/192.168.1.4/udp/4717/quic-v1/p2p/x", "/ip4/127.0.0.1/tcp/1/p2p/x", "/ip4/100.70.0.1/tcp/1", "/ip6/fe80::1/tcp/1", "x"}, host.LAN},
		{"auto", []string{"/ip4/192.168.1.4/tcp/1", "/ip4/203.0.113.7/udp/4717/quic-v1/p2p/x"}, host.WAN},
		{"auto", []string{"/ip6/2001:db8::1/tcp/4717"}, host.WAN},
		{"auto", []string{"/dnsaddr/kith.example"}, host.WAN},
		{"lan", []string{"/dns4/kith.example/tcp/1"}, host.LAN},
		{"wan", nil, host.WAN},
	} {
		if got := profileOf(c.setting, c.peers); got != c.want {
			t.Errorf("profileOf(%s, %q) = %s, want %s", c.setting, c.peers, got, c.want)
		}
	}
}
