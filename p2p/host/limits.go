package host

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/network"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	"github.com/libp2p/go-libp2p/x/rate"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// privateRanges are the addresses that many peers of one house, school or test share without meaning harm.
var privateRanges = []netip.Prefix{
	netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"),
	netip.MustParsePrefix("192.168.0.0/16"), netip.MustParsePrefix("169.254.0.0/16"), netip.MustParsePrefix("100.64.0.0/10"),
	netip.MustParsePrefix("::1/128"), netip.MustParsePrefix("fc00::/7"), netip.MustParsePrefix("fe80::/10"),
}

// resourceManager sets every limit of libp2p's resource manager on purpose: counts small enough for a home router,
// memory a fixed number of bytes, one peer far below the whole.
func resourceManager(c Config) (network.ResourceManager, error) {
	base := rcmgr.DefaultLimits
	libp2p.SetDefaultServiceLimits(&base)
	conns, in := rcmgr.LimitVal(3*c.HighWater), rcmgr.LimitVal(2*c.HighWater)
	limits := rcmgr.PartialLimitConfig{
		System: rcmgr.ResourceLimits{
			Conns: conns, ConnsInbound: in, ConnsOutbound: in, FD: conns,
			Streams: 32 * conns, StreamsInbound: 16 * conns, StreamsOutbound: 32 * conns,
			Memory: rcmgr.LimitVal64(c.Memory),
		},
		Transient: rcmgr.ResourceLimits{
			Conns: 64, ConnsInbound: 32, ConnsOutbound: 64, FD: 64,
			Streams: 512, StreamsInbound: 256, StreamsOutbound: 512,
			Memory: rcmgr.LimitVal64(c.Memory / 4),
		},
		PeerDefault: rcmgr.ResourceLimits{
			Conns: perPeerConns, ConnsInbound: perPeerConns, ConnsOutbound: perPeerConns, FD: perPeerConns,
			Streams: perPeerStreamsIn + perPeerStreamsOut, StreamsInbound: perPeerStreamsIn, StreamsOutbound: perPeerStreamsOut,
			Memory: perPeerMemory,
		},
		ProtocolPeerDefault: rcmgr.ResourceLimits{
			Streams: perPeerStreamsIn + perPeerStreamsOut, StreamsInbound: perPeerStreamsIn / 2, StreamsOutbound: perPeerStreamsOut,
			Memory: perPeerMemory,
		},
	}.Build(base.Scale(c.Memory, int(conns)))

	free := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	if c.Profile == LAN {
		free = privateRanges
	}
	var v4, v6 []rcmgr.NetworkPrefixLimit
	var unlimited []rate.PrefixLimit
	for _, p := range free {
		l := rcmgr.NetworkPrefixLimit{Network: p, ConnCount: math.MaxInt}
		if p.Addr().Is4() {
			v4 = append(v4, l)
		} else {
			v6 = append(v6, l)
		}
		unlimited = append(unlimited, rate.PrefixLimit{Prefix: p})
	}
	rm, err := rcmgr.NewResourceManager(rcmgr.NewFixedLimiter(limits),
		rcmgr.WithMetricsDisabled(),
		rcmgr.WithNetworkPrefixLimit(v4, v6),
		rcmgr.WithLimitPerSubnet(
			[]rcmgr.ConnLimitPerSubnet{{PrefixLength: 32, ConnCount: subnetConns}},
			[]rcmgr.ConnLimitPerSubnet{{PrefixLength: 56, ConnCount: subnetConns}, {PrefixLength: 48, ConnCount: 4 * subnetConns}}),
		rcmgr.WithConnRateLimiters(&rate.Limiter{
			NetworkPrefixLimits: unlimited,
			SubnetRateLimiter: rate.SubnetLimiter{
				IPv4SubnetLimits: []rate.SubnetLimit{{PrefixLength: 32, Limit: rate.Limit{RPS: 0.5, Burst: 2 * subnetConns}}},
				IPv6SubnetLimits: []rate.SubnetLimit{{PrefixLength: 56, Limit: rate.Limit{RPS: 0.5, Burst: 2 * subnetConns}}},
				GracePeriod:      time.Minute,
			},
		}))
	if err != nil {
		return nil, fmt.Errorf("resource manager: %w", err)
	}
	return rm, nil
}

// privateQUICDelay is how long a dial inside the LAN gives TCP before it tries QUIC too.
const privateQUICDelay = 100 * time.Millisecond

// rankDials prefers TCP inside the LAN, where it carries blocks several times faster than QUIC for less CPU, and
// leaves public addresses to libp2p's own order: QUIC first, which holes can be punched for.
func rankDials(addrs []ma.Multiaddr) []network.AddrDelay {
	var private, rest []ma.Multiaddr
	for _, a := range addrs {
		if _, err := a.ValueForProtocol(ma.P_CIRCUIT); err != nil && manet.IsPrivateAddr(a) {
			private = append(private, a)
		} else {
			rest = append(rest, a)
		}
	}
	isTCP := func(a ma.Multiaddr) bool { _, err := a.ValueForProtocol(ma.P_TCP); return err == nil }
	var out []network.AddrDelay
	hasTCP := slices.ContainsFunc(private, isTCP)
	for _, a := range private {
		d := network.AddrDelay{Addr: a}
		if hasTCP && !isTCP(a) {
			d.Delay = privateQUICDelay
		}
		out = append(out, d)
	}
	return append(out, swarm.DefaultDialRanker(rest)...)
}
