package fabric

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p"
	libp2pquic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/quicreuse"
	"github.com/marcopolo/simnet"
	"github.com/quic-go/quic-go"
	"go.uber.org/fx"

	"kith/p2p/host"
	"kith/p2p/internal/lp"
)

// QUIC is a network of simulated packets below real QUIC: handshakes, congestion, loss, and routers that only let
// answers in.
type QUIC struct {
	c     Conditions
	net   *simnet.Simnet
	asked map[[2]netip.Addr]time.Time // when a closed address last wrote to another; the router's goroutine
}

// never is how late a lost packet comes: long after everything has given it up.
const never = 24 * time.Hour

// open is how long a router remembers whom its home wrote to.
const open = 2 * time.Minute

// port is where every host listens.
const port = 4001

// NewQUIC makes an empty network.
func NewQUIC(c Conditions) (*QUIC, error) {
	if err := c.complete(); err != nil {
		return nil, err
	}
	q := &QUIC{c: c, asked: map[[2]netip.Addr]time.Time{}}
	q.net = &simnet.Simnet{LatencyFunc: q.delay, Logger: c.Logger}
	return q, nil
}

// delay is how long the router keeps a packet. One goroutine calls it.
func (q *QUIC) delay(p *simnet.Packet) time.Duration {
	from, to := addrOf(p.From), addrOf(p.To)
	now := time.Now()
	if q.c.Closed(from) {
		q.asked[[2]netip.Addr{from, to}] = now
	}
	if q.c.Closed(to) && now.Sub(q.asked[[2]netip.Addr{to, from}]) > open || q.c.Cut(from, to) || q.c.Lost() {
		return never
	}
	return q.c.Between(from, to)
}

func addrOf(a net.Addr) netip.Addr {
	if u, ok := a.(*net.UDPAddr); ok {
		ip, _ := netip.AddrFromSlice(u.IP)
		return ip.Unmap()
	}
	return netip.Addr{}
}

// source tells QUIC which address its packets come from.
type source struct{ ip atomic.Pointer[net.IP] }

// PreferredSourceIPForDestination implements quicreuse.SourceIPSelector.
func (s *source) PreferredSourceIPForDestination(*net.UDPAddr) (net.IP, error) {
	if ip := s.ip.Load(); ip != nil {
		return *ip, nil
	}
	return nil, errors.New("not listening yet")
}

// Host implements Net.
func (q *QUIC) Host(key ed25519.PrivateKey, at netip.Addr) (*host.Host, error) {
	k, err := lp.PrivKey(key)
	if err != nil {
		return nil, err
	}
	link := simnet.LinkSettings{BitsPerSecond: q.c.Bits, MTU: 1500}
	src := &source{}
	reuse := []quicreuse.Option{
		quicreuse.OverrideSourceIPSelector(func() (quicreuse.SourceIPSelector, error) { return src, nil }),
		quicreuse.OverrideListenUDP(func(_ string, a *net.UDPAddr) (net.PacketConn, error) {
			src.ip.Store(&a.IP)
			return q.net.NewEndpoint(a, simnet.NodeBiDiLinkSettings{Downlink: link, Uplink: link}), nil
		}),
	}
	raw, err := libp2p.New(
		libp2p.Identity(k), libp2p.UserAgent("kith/simnet"), libp2p.ProtocolVersion("kith/1/"+q.c.Network),
		libp2p.Transport(libp2pquic.NewTransport), libp2p.ListenAddrStrings(fmt.Sprintf("/ip4/%s/udp/%d/quic-v1", at, port)),
		libp2p.DisableMetrics(), libp2p.DisableRelay(), libp2p.ForceReachabilityPublic(),
		libp2p.DisableIdentifyAddressDiscovery(), // it stalls virtual time
		libp2p.QUICReuse(func(l fx.Lifecycle, reset quic.StatelessResetKey, token quic.TokenGeneratorKey, opts ...quicreuse.Option) (*quicreuse.ConnManager, error) {
			cm, err := quicreuse.NewConnManager(reset, token, opts...)
			if err == nil {
				l.Append(fx.StopHook(cm.Close)) // nobody else closes one that was handed in
			}
			return cm, err
		}, reuse...),
	)
	if err != nil {
		return nil, fmt.Errorf("add a host over QUIC: %w", err)
	}
	return host.Wrap(raw, q.c.Network, host.LAN, q.c.Logger)
}

// Ready implements Net.
func (q *QUIC) Ready() error {
	q.net.Start()
	return nil
}

// Changed implements Net: every packet asks anew.
func (q *QUIC) Changed() error { return nil }

// Close implements Net.
func (q *QUIC) Close() error {
	q.net.Close()
	return nil
}
