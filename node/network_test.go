package node

import (
	"net/netip"
	"testing"
	"time"

	"kith/node/config"
	"kith/p2p"
	"kith/p2p/host"
	"kith/tasks/wire"
)

// A node from before is served in the session that it knows, and one of now in the newer.
func TestSessionsOfBothVersions(t *testing.T) {
	first, others := meet(t, 1)
	w := others[0].live.Load().network
	for _, proto := range sessionProtos {
		s, err := w.rpc.Open(t.Context(), p2p.ID(first.Self()), proto)
		if err != nil {
			t.Fatal(err)
		}
		if got := (stream{s}).Version(); got != proto.Version {
			t.Errorf("version %d: it says %d", proto.Version, got)
		}
		end := wire.NewSession(w.name, others[0].self.Key(), first.Self(), wire.NewSessionID(), wire.Worker)
		now := time.Now().UnixMilli()
		hello, err := end.Seal(&wire.Hello{Network: w.name, Capability: w.advert.Record(), Ask: wire.Ask{Slots: 1}, Time: now}, now)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Write(hello); err != nil {
			t.Fatal(err)
		}
		frame, err := wire.ReadFrame(s, nil)
		if err != nil {
			t.Fatal(err)
		}
		if m, err := end.Open(frame, time.Now().UnixMilli()); err != nil || m.Type() != wire.TypeWelcome {
			t.Errorf("version %d: %v, %v", proto.Version, m, err)
		}
		_ = s.Reset()
	}
	dialled, err := w.DialSession(t.Context(), first.Self(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if dialled.Version() != wire.SessionVersion {
		t.Error("two nodes of now speak as one from before")
	}
	_ = dialled.Close()
}

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
