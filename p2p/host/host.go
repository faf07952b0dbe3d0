// Package host is a node's place on the network: its identity and transports, whom it is connected to and how well,
// and the three ways to find others without a central server: lists (Bootstrap), the local network (Discovery) and
// the cache of earlier peers.
package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/event"
	lhost "github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
	"github.com/libp2p/go-libp2p/p2p/host/routed"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/p2p/net/connmgr"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/relay"
	libp2ptls "github.com/libp2p/go-libp2p/p2p/security/tls"
	libp2pquic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"

	"kith/p2p"
	"kith/p2p/internal/lp"
)

// Host is one node on one network. All methods are safe for concurrent use. New opens the listeners and libp2p's own
// goroutines; Serve adds Kith's. After Close every call fails or returns nothing.
type Host struct {
	id      p2p.ID
	network string
	profile Profile
	log     *slog.Logger

	raw    lhost.Host             // as libp2p made it
	routed *routedhost.RoutedHost // raw, which asks finder for addresses it does not know
	finder finder
	bytes  *counter // nil for a wrapped host

	watch watchers

	reachMu sync.Mutex
	reach   p2p.Reachability
	said    bool // by the owner; nothing measured counts

	closeOnce sync.Once
	closeErr  error
}

// New opens a host. It listens at once, so that Addrs is complete when it returns.
func New(c Config) (*Host, error) { return newHost(c, choosePort) }

// openTries is how often a host is opened: another program may take a port between its choice and its use.
const openTries = 3

// errListen: a chosen port cannot be listened on.
var errListen = errors.New("listen")

func newHost(c Config, choose func(Config) (int, error)) (*Host, error) {
	if err := c.complete(); err != nil {
		return nil, err
	}
	for try := 1; ; try++ {
		port := 0
		if c.Listen != ListenNone {
			var err error
			if port, err = choose(c); err != nil {
				return nil, err
			}
		}
		h, err := open(c, port)
		if err == nil || try == openTries || !errors.Is(err, errListen) {
			return h, err
		}
		c.Logger.Info("a chosen port was taken meanwhile", "port", port, "err", err)
	}
}

// open opens a host that listens on a port.
func open(c Config, port int) (*Host, error) {
	key, err := lp.PrivKey(c.Key)
	if err != nil {
		return nil, err
	}
	rm, err := resourceManager(c)
	if err != nil {
		return nil, err
	}
	cm, err := connmgr.NewConnManager(c.LowWater, c.HighWater, connmgr.WithGracePeriod(gracePeriod), connmgr.WithSilencePeriod(silencePeriod))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("connection manager: %w", err), rm.Close())
	}
	bytes := new(counter)
	opts := []libp2p.Option{
		libp2p.Identity(key),
		libp2p.UserAgent(c.UserAgent),
		libp2p.ProtocolVersion("kith/1/" + c.Network),
		libp2p.Security(libp2ptls.ID, libp2ptls.New),
		libp2p.Muxer(yamux.ID, yamux.DefaultTransport),
		libp2p.ResourceManager(rm),
		libp2p.ConnectionManager(cm),
		libp2p.BandwidthReporter(bytes),
		libp2p.WithDialTimeout(dialTimeout),
		libp2p.DisableMetrics(),
		libp2p.NoListenAddrs,
	}
	if c.Refuse != nil {
		opts = append(opts, libp2p.ConnectionGater(gate{c.Refuse}))
	}
	if c.Transports != TCPOnly {
		opts = append(opts, libp2p.Transport(libp2pquic.NewTransport))
	}
	if c.Transports != QUICOnly {
		opts = append(opts, libp2p.Transport(tcp.NewTCPTransport))
	}
	if !c.UDPFirst {
		opts = append(opts, libp2p.SwarmOpts(swarm.WithDialRanker(rankDials)))
	}
	relays := new(relaySource)
	wan, err := wanOptions(c, relays)
	if err != nil {
		return nil, errors.Join(err, cm.Close(), rm.Close())
	}
	raw, err := libp2p.New(append(opts, wan...)...)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start network: %w", err), cm.Close(), rm.Close())
	}
	relays.host.Store(&raw)
	must, may := listenAddrs(c, port)
	for _, a := range must {
		if err := raw.Network().Listen(a); err != nil {
			return nil, errors.Join(fmt.Errorf("%w on %s: %w", errListen, a, err), raw.Close())
		}
	}
	for _, a := range may {
		if err := raw.Network().Listen(a); err != nil {
			c.Logger.Info("no IPv6 on this machine", "addr", a.String(), "err", err)
		}
	}
	h, err := wrap(raw, c.Network, c.Profile, c.Logger)
	if err != nil {
		return nil, errors.Join(err, raw.Close())
	}
	h.bytes = bytes
	if c.Public && c.Listen != ListenNone {
		h.reach, h.said = p2p.ReachPublic, true
	}
	return h, nil
}

// wanOptions are the parts that only make sense where strangers and routers are.
func wanOptions(c Config, relays *relaySource) ([]libp2p.Option, error) {
	if c.Profile == LAN {
		return []libp2p.Option{libp2p.DisableRelay(), libp2p.ForceReachabilityPublic()}, nil
	}
	opts := []libp2p.Option{libp2p.EnableRelay(), libp2p.EnableAutoNATv2(), libp2p.EnableHolePunching()}
	switch c.Listen {
	case ListenAll:
		opts = append(opts, libp2p.NATPortMap())
	case ListenNone:
		opts = append(opts, libp2p.ForceReachabilityPrivate()) // there is nothing to measure; ask for a relay at once
	}
	if c.Public && c.Listen != ListenNone {
		opts = append(opts, libp2p.ForceReachabilityPublic())
	}
	if c.ServeStrangers && c.Listen != ListenNone {
		limits := relay.DefaultResources()
		limits.Limit = &relay.RelayLimit{Duration: relayTime, Data: relayBytes}
		limits.MaxReservations, limits.MaxCircuits = relayPeers, relayCircuits
		opts = append(opts, libp2p.EnableRelayService(relay.WithResources(limits)), libp2p.EnableNATService())
	}
	var err error
	if relays.static, err = lp.AddrInfos(c.Relays); err != nil {
		return nil, fmt.Errorf("%w: relays: %w", errConfig, err)
	}
	opts = append(opts, libp2p.EnableAutoRelayWithPeerSource(relays.find, relays.options()...))
	return opts, nil
}

// Wrap makes a Host of a ready libp2p host, for simulations. It counts the traffic of its streams itself, whatever carries
// them. Closing the Host closes it.
func Wrap(raw lhost.Host, network string, profile Profile, log *slog.Logger) (*Host, error) {
	c := &counter{}
	h, err := wrap(&counted{raw, c}, network, profile, log)
	if err == nil {
		h.bytes = c
	}
	return h, err
}

func wrap(raw lhost.Host, netName string, profile Profile, log *slog.Logger) (*Host, error) {
	id, err := lp.ID(raw.ID())
	if err != nil {
		return nil, err
	}
	if !networkName.MatchString(netName) {
		return nil, fmt.Errorf("%w: network name %.40q", errConfig, netName)
	}
	if log == nil {
		log = slog.Default()
	}
	h := &Host{id: id, network: netName, profile: profile, log: log, raw: raw, reach: p2p.ReachUnknown}
	h.routed = routedhost.Wrap(raw, &h.finder)
	raw.Network().Notify(&h.watch)
	return h, nil
}

// ID is this node's identity.
func (h *Host) ID() p2p.ID { return h.id }

// Network is the name of the network.
func (h *Host) Network() string { return h.network }

// Profile is the profile the host was made with.
func (h *Host) Profile() Profile { return h.profile }

// Logger is the logger the host was made with, for the packages that work on the host.
func (h *Host) Logger() *slog.Logger { return h.log }

// Libp2p is the host as libp2p knows it, with address look-up, for the sibling packages and for simulations only.
func (h *Host) Libp2p() lhost.Host { return h.routed }

// Unrouted is Libp2p without address look-up, for the part that does the looking up.
func (h *Host) Unrouted() lhost.Host { return h.raw }

// finder is the late-bound source of addresses: the DHT needs the host, and the host wants the DHT.
type finder struct {
	mu   sync.RWMutex
	find func(context.Context, p2p.ID) ([]string, error)
}

// FindPeer implements the routed host's Routing.
func (f *finder) FindPeer(ctx context.Context, p peer.ID) (peer.AddrInfo, error) {
	f.mu.RLock()
	find := f.find
	f.mu.RUnlock()
	id, err := lp.ID(p)
	if err != nil {
		return peer.AddrInfo{}, err
	}
	if find == nil {
		return peer.AddrInfo{}, fmt.Errorf("%w: no address of %s is known", p2p.ErrUnreachable, id.Short())
	}
	texts, err := find(ctx, id)
	if err != nil {
		return peer.AddrInfo{}, err
	}
	infos, _ := lp.AddrInfos(texts)
	for _, ai := range infos {
		if ai.ID == p {
			return ai, nil
		}
	}
	return peer.AddrInfo{}, fmt.Errorf("%w: no address of %s was found", p2p.ErrUnreachable, id.Short())
}

// SetFinder names the function that looks up the addresses of a peer when the host knows none.
func (h *Host) SetFinder(find func(ctx context.Context, id p2p.ID) ([]string, error)) {
	h.finder.mu.Lock()
	defer h.finder.mu.Unlock()
	h.finder.find = find
}

// Connect makes sure a connection to the peer named by addr ("…/p2p/…") exists.
func (h *Host) Connect(ctx context.Context, addr string) (p2p.ID, error) {
	return h.ConnectAny(ctx, []string{addr})
}

// ConnectAny makes sure a connection to one peer exists that is known under several addresses; all must name the same
// peer.
func (h *Host) ConnectAny(ctx context.Context, addrs []string) (p2p.ID, error) {
	infos, err := lp.AddrInfos(addrs)
	if err != nil {
		return p2p.ID{}, err
	}
	if len(infos) != 1 {
		return p2p.ID{}, fmt.Errorf("%w: %d addresses name %d peers, want 1", p2p.ErrUnreachable, len(addrs), len(infos))
	}
	id, err := lp.ID(infos[0].ID)
	if err != nil {
		return p2p.ID{}, err
	}
	if id == h.id {
		return id, fmt.Errorf("%w: that is this node itself", p2p.ErrUnreachable)
	}
	if err := h.routed.Connect(network.WithAllowLimitedConn(ctx, "connect"), infos[0]); err != nil {
		return id, fmt.Errorf("%w: %w", p2p.ErrUnreachable, err)
	}
	return id, nil
}

// Remember keeps dialable addresses of a peer for the given time, so that a later stream can find it.
func (h *Host) Remember(addrs []string, ttl time.Duration) {
	infos, err := lp.AddrInfos(addrs)
	if err != nil {
		h.log.Debug("unreadable peer address", "err", err)
	}
	for _, ai := range infos {
		h.raw.Peerstore().AddAddrs(ai.ID, ai.Addrs, ttl)
	}
}

// Disconnect closes every connection with the peer.
func (h *Host) Disconnect(id p2p.ID) error { return h.raw.Network().ClosePeer(lp.Peer(id)) }

// Protect keeps the connection with a peer from being trimmed until Unprotect with the same tag.
func (h *Host) Protect(id p2p.ID, tag string) {
	if cm := h.raw.ConnManager(); cm != nil {
		cm.Protect(lp.Peer(id), tag)
	}
}

// Unprotect takes one protection back.
func (h *Host) Unprotect(id p2p.ID, tag string) {
	if cm := h.raw.ConnManager(); cm != nil {
		cm.Unprotect(lp.Peer(id), tag)
	}
}

// Reachability is what was last measured about strangers dialling this node.
func (h *Host) Reachability() p2p.Reachability {
	h.reachMu.Lock()
	defer h.reachMu.Unlock()
	return h.reach
}

// Serve measures round-trip times and follows reachability until ctx ends.
func (h *Host) Serve(ctx context.Context) error {
	sub, err := h.raw.EventBus().Subscribe([]any{new(event.EvtLocalReachabilityChanged), new(event.EvtHostReachableAddrsChanged)},
		eventbus.Name("kith host"))
	if err != nil {
		return fmt.Errorf("subscribe to reachability: %w", err)
	}
	defer sub.Close()
	pinger := newPinger(h)
	defer pinger.stop()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case e, ok := <-sub.Out():
			if !ok {
				return p2p.ErrClosed
			}
			h.learnReachability(e)
		case now := <-tick.C:
			pinger.step(ctx, now)
		}
	}
}

// learnReachability prefers AutoNAT v2, which knows single addresses, and takes v1's word until v2 has one.
func (h *Host) learnReachability(e any) {
	h.reachMu.Lock()
	defer h.reachMu.Unlock()
	if h.profile == LAN || h.said {
		return
	}
	was := h.reach
	switch e := e.(type) {
	case event.EvtHostReachableAddrsChanged:
		if len(e.Reachable) > 0 {
			h.reach = p2p.ReachPublic
		} else if len(e.Unreachable) > 0 && len(e.Unknown) == 0 {
			h.reach = p2p.ReachPrivate
		}
	case event.EvtLocalReachabilityChanged:
		switch e.Reachability {
		case network.ReachabilityPublic:
			h.reach = p2p.ReachPublic
		case network.ReachabilityPrivate:
			h.reach = p2p.ReachPrivate
		}
	}
	if h.reach != was {
		h.log.Info("reachability changed", "was", string(was), "now", string(h.reach))
	}
}

// Close ends all connections and listeners. It takes at most closeTimeout; what has not ended by then is abandoned.
func (h *Host) Close() error {
	h.closeOnce.Do(func() {
		done := make(chan error, 1)
		go func() { done <- h.raw.Close() }()
		select {
		case h.closeErr = <-done:
		case <-time.After(closeTimeout):
			h.closeErr = fmt.Errorf("network did not close within %s", closeTimeout)
		}
		h.watch.close()
	})
	return h.closeErr
}

// Lifetimes for Remember.
const (
	// ShortLived suits addresses from an offer or an mDNS answer.
	ShortLived = 2 * time.Minute
	// LongLived suits addresses of a peer that one works with.
	LongLived = 15 * time.Minute
)
