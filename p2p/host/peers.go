package host

import (
	"bytes"
	"cmp"
	"context"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/protocol/ping"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"kith/p2p"
	"kith/p2p/internal/lp"
)

// Addrs returns the dialable addresses of this node, best first: public before relayed before LAN before loopback in
// profile WAN, LAN first in profile LAN; QUIC before TCP across the internet. At most p2p.MaxAddrs.
func (h *Host) Addrs() []string { return h.best(h.raw.ID(), h.raw.Addrs()) }

// PeerAddrs returns what is known of a peer's dialable addresses, in the same order.
func (h *Host) PeerAddrs(id p2p.ID) []string {
	p := lp.Peer(id)
	return h.best(p, h.raw.Peerstore().Addrs(p))
}

func (h *Host) best(p peer.ID, addrs []ma.Multiaddr) []string {
	rank := func(a ma.Multiaddr) int {
		r := 0
		switch {
		case isRelayed(a):
			r = 10
		case manet.IsIPLoopback(a):
			r = 30
		case manet.IsPublicAddr(a):
			r = 0
		default:
			r = 20
		}
		if h.profile == LAN && r == 20 {
			r = -10
		}
		if _, err := a.ValueForProtocol(ma.P_TCP); err == nil {
			r++
		}
		if _, err := a.ValueForProtocol(ma.P_IP6); err == nil {
			r += 2
		}
		return r
	}
	addrs = slices.Clone(addrs)
	slices.SortStableFunc(addrs, func(a, b ma.Multiaddr) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), bytes.Compare(a.Bytes(), b.Bytes()))
	})
	out := make([]string, 0, p2p.MaxAddrs)
	for _, a := range addrs {
		if manet.IsIPUnspecified(a) || manet.IsIP6LinkLocal(a) {
			continue
		}
		if out = append(out, lp.Text(p, a)); len(out) == p2p.MaxAddrs {
			break
		}
	}
	return out
}

func isRelayed(a ma.Multiaddr) bool {
	_, err := a.ValueForProtocol(ma.P_CIRCUIT)
	return err == nil
}

// Peers returns the connected peers in order of their IDs.
func (h *Host) Peers() []p2p.PeerInfo {
	out := []p2p.PeerInfo{}
	for _, p := range h.raw.Network().Peers() {
		if id, err := lp.ID(p); err == nil {
			if info, ok := h.Peer(id); ok {
				out = append(out, info)
			}
		}
	}
	slices.SortFunc(out, func(a, b p2p.PeerInfo) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	return out
}

// Peer describes one connected peer, or reports false.
func (h *Host) Peer(id p2p.ID) (p2p.PeerInfo, bool) {
	p := lp.Peer(id)
	c := bestConn(h.raw.Network().ConnsToPeer(p))
	if c == nil {
		return p2p.PeerInfo{}, false
	}
	info := p2p.PeerInfo{
		ID: id, Addrs: h.PeerAddrs(id), Remote: c.RemoteMultiaddr().String(),
		Relayed: c.Stat().Limited, Transport: transportName(c), Direction: p2p.Outbound,
		Since: c.Stat().Opened, RTT: h.raw.Peerstore().LatencyEWMA(p),
	}
	if !info.Relayed {
		info.IP = remoteIP(c)
	}
	if c.Stat().Direction == network.DirInbound {
		info.Direction = p2p.Inbound
	}
	for _, c := range h.raw.Network().ConnsToPeer(p) {
		info.Streams += c.Stat().NumStreams
	}
	if v, err := h.raw.Peerstore().Get(p, "AgentVersion"); err == nil {
		info.Agent, _ = v.(string)
	}
	return info, true
}

// Connected reports whether a direct connection, or only a relayed one, to the peer exists.
func (h *Host) Connected(id p2p.ID) (direct, relayed bool) {
	switch h.raw.Network().Connectedness(lp.Peer(id)) {
	case network.Connected:
		return true, false
	case network.Limited:
		return false, true
	}
	return false, false
}

// bestConn prefers direct over relayed, then the oldest.
func bestConn(conns []network.Conn) network.Conn {
	if len(conns) == 0 {
		return nil
	}
	return slices.MinFunc(conns, func(a, b network.Conn) int {
		if a.Stat().Limited != b.Stat().Limited {
			if a.Stat().Limited {
				return 1
			}
			return -1
		}
		return a.Stat().Opened.Compare(b.Stat().Opened)
	})
}

func remoteIP(c network.Conn) netip.Addr {
	ip, err := manet.ToIP(c.RemoteMultiaddr())
	if err != nil {
		return netip.Addr{}
	}
	a, _ := netip.AddrFromSlice(ip)
	return a.Unmap()
}

func transportName(c network.Conn) string {
	if c.Stat().Limited {
		return "relay"
	}
	switch {
	case has(c, ma.P_QUIC_V1):
		return "quic"
	case has(c, ma.P_TCP) && c.ConnState().StreamMultiplexer != "":
		return "tcp"
	}
	return "memory"
}

func has(c network.Conn, code int) bool {
	_, err := c.RemoteMultiaddr().ValueForProtocol(code)
	return err == nil
}

// MeasureRTT pings the peer now.
func (h *Host) MeasureRTT(ctx context.Context, id p2p.ID) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	select {
	case r := <-ping.Ping(ctx, h.raw, lp.Peer(id)):
		return r.RTT, r.Error
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// pinger measures each peer soon after it connects and then once in pingEvery.
type pinger struct {
	h    *Host
	next map[peer.ID]time.Time
	busy chan struct{} // pings under way
	wg   sync.WaitGroup
}

const pingsAtOnce = 4

func newPinger(h *Host) *pinger {
	return &pinger{h: h, next: map[peer.ID]time.Time{}, busy: make(chan struct{}, pingsAtOnce)}
}

func (p *pinger) stop() { p.wg.Wait() }

func (p *pinger) step(ctx context.Context, now time.Time) {
	peers := p.h.raw.Network().Peers()
	for id := range p.next {
		if !slices.Contains(peers, id) {
			delete(p.next, id)
		}
	}
	for _, id := range peers {
		if at, ok := p.next[id]; ok && now.Before(at) {
			continue
		}
		kid, err := lp.ID(id)
		if err != nil {
			continue
		}
		select {
		case p.busy <- struct{}{}:
		default:
			return // the next step goes on
		}
		p.next[id] = now.Add(pingEvery - pingEvery/8 + rand.N(pingEvery/4))
		p.wg.Go(func() {
			defer func() { <-p.busy }()
			if _, err := p.h.MeasureRTT(ctx, kid); err != nil && ctx.Err() == nil {
				p.h.log.Debug("ping failed", "peer", kid, "err", err)
			}
		})
	}
}
