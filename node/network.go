package node

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	netbench "kith/bench/network"
	"kith/node/config"
	"kith/node/owner"
	"kith/node/search"
	"kith/p2p"
	"kith/p2p/dht"
	"kith/p2p/exchange"
	"kith/p2p/geo"
	"kith/p2p/gossip"
	"kith/p2p/host"
	"kith/p2p/rpc"
	"kith/storage/dag"
	"kith/tasks"
	"kith/tasks/wire"
	"kith/tasks/work"
)

// sessionProtos are the stream a worker opens to a submitter, the best version first: in the first they acknowledge results,
// the other is for nodes from before. It carries control traffic only, so a relay will do.
var sessionProtos = []rpc.Proto{
	{Name: "session", Version: 2, Limits: rpc.Limits{PerPeer: 4, Total: 512, Relayed: true}},
	{Name: "session", Version: 1, Limits: rpc.Limits{PerPeer: 4, Total: 128, Relayed: true}},
}

// builtIn are the addresses every node knows. There are none yet: a network is joined by file, flag, setting, or mDNS.
var builtIn []string

// network is this node's place among others, and the ports through which the drivers use it.
type network struct {
	name      string
	log       *slog.Logger
	host      *host.Host
	rpc       *rpc.Service
	gossip    *gossip.Gossip
	dht       *dht.DHT
	exchange  *exchange.Exchange
	bootstrap *host.Bootstrap
	discovery *host.Discovery // nil: off
	in, out   *owner.Pace     // of blocks
	place     geo.Place
	areas     *geo.DB // where addresses are; nil: no such list is set
	providers *geo.Providers
	topics    *topics
	advert    *advert
	measuring *netbench.Server
	registry  *registry
	book      *search.Book // the nodes this one has met
	finder    *search.Finder
}

// openNetwork opens the listeners and everything that talks over them. Nobody is served before serve.
func (n *Node) openNetwork(l *live) (*network, error) {
	cfg := l.cfg
	w := &network{name: cfg.Network, log: n.log, in: owner.NewPace(), out: owner.NewPace()}
	var err error
	if cfg.Peers.MMDB != "" {
		if w.areas, err = geo.Open(cfg.Peers.MMDB); err != nil {
			return nil, fmt.Errorf("peers.mmdb: %w", err)
		}
		n.closing.add("region database", w.areas.Close)
	}
	if cfg.Peers.ASN != "" {
		if w.providers, err = geo.OpenProviders(cfg.Peers.ASN); err != nil {
			return nil, fmt.Errorf("peers.asn: %w", err)
		}
		n.closing.add("provider database", w.providers.Close)
	}
	if w.place, err = placeOf(cfg.Peers, w.areas, n.log); err != nil {
		return nil, err
	}
	first, last, err := cfg.Listen.Ports.Range()
	if err != nil {
		return nil, err
	}
	peers, err := bootstrapList(cfg.Peers)
	if err != nil {
		return nil, err
	}
	w.host, err = host.New(host.Config{
		Key: n.self.Key(), Network: cfg.Network, Profile: profileOf(cfg.Listen, publicAddrs(), peers),
		Listen: listenOf(cfg.Listen), Port: first, PortRange: last - first, Preferred: lastPort(l.stores), Transports: transportsOf(cfg.Listen.Transports),
		LowWater: cfg.Peers.Max / 2, HighWater: cfg.Peers.Max, ServeStrangers: cfg.Serve.Relay.Bool(), Public: cfg.Listen.Reachable == "yes",
		Refuse: func(id p2p.ID) bool {
			x := n.live.Load() // nil: shun ends what is connected until then
			return x != nil && x.notices.isRevoked(tasks.NodeID(id))
		},
		UserAgent: "kith/" + Version, Logger: n.log,
	})
	if errors.Is(err, host.ErrPortTaken) {
		return nil, fmt.Errorf("%w; set listen.ports to another range, or to any", err)
	}
	if err != nil {
		return nil, err
	}
	n.closing.add("network", w.host.Close)
	n.health.When(cfg.Listen.OutboundOnly.Bool(), noListener)
	port := listenPort(w.host.Addrs())
	if first != 0 && port != 0 && port != first {
		n.health.Set(listenMoved, first, port)
	}
	if err := rememberPort(l.stores, port); err != nil {
		return nil, err
	}
	n.meters.watchTraffic(func() (in, out int64) {
		t, _ := w.host.Traffic()
		return t.In, t.Out
	})

	w.rpc = rpc.New(w.host)
	n.closing.add("streams", w.rpc.Close)
	w.bootstrap, err = host.NewBootstrap(w.host, host.BootstrapOptions{Peers: peers, Cache: filepath.Join(n.o.Home, peersFile)})
	if err != nil {
		return nil, fmt.Errorf("peers.bootstrap: %w", err)
	}
	w.dht, err = dht.New(w.host, dht.Options{
		Mode: dhtMode(cfg.Serve.DHT), Bootstrap: w.bootstrap.Peers,
		Validate: func(id p2p.ID, record []byte) error {
			c, err := wire.OpenCapability(cfg.Network, time.Now().UnixMilli(), record)
			if err == nil && c.Node != tasks.NodeID(id) {
				err = errors.New("record of another node")
			}
			return err
		},
		Newer: func(a, b []byte) int {
			now := time.Now().UnixMilli()
			x, errX := wire.OpenCapability(cfg.Network, now, a)
			y, errY := wire.OpenCapability(cfg.Network, now, b)
			switch {
			case errX != nil || errY != nil:
				return 0
			case wire.Newer(&x, &y):
				return 1
			case wire.Newer(&y, &x):
				return -1
			}
			return 0
		},
	})
	if err != nil {
		return nil, err
	}
	n.closing.add("directory", w.dht.Close)
	if w.gossip, err = gossip.New(w.host, gossip.Options{}); err != nil {
		return nil, err
	}
	n.closing.add("gossip", w.gossip.Close)
	w.exchange, err = exchange.New(w.host, w.rpc, l.stores.blobs, exchange.Options{
		Providers: w.dht, In: w.in, Out: w.out,
		MayServe: func(peer p2p.ID, c dag.CID) bool {
			x, id := n.live.Load(), tasks.NodeID(peer) // nil: nobody is served before the drivers exist
			return x != nil && (x.submits.driver.MayServe(id, c) || x.works.driver.MayServe(id, c))
		},
	})
	if err != nil {
		return nil, err
	}
	n.closing.add("exchange", w.exchange.Close)
	if cfg.Peers.MDNS.Bool() && cfg.Listen.On != "loopback" {
		w.discovery = host.NewDiscovery(w.host)
	}
	w.topics = &topics{
		network: cfg.Network, self: n.self.Node(), log: n.log, gossip: w.gossip, rings: geo.Rings(w.place.Region),
		seen: wire.NewSeenSet(seenOffers, seenOffersOf), joined: map[tasks.DeviceClass][]*gossip.Topic{},
	}
	w.advert = &advert{node: n, network: w, changed: make(chan struct{}, 1)}
	w.measuring = netbench.NewServer(netbench.Limits{})
	w.book = search.NewBook(cfg.Network)
	w.finder = search.NewFinder(search.Options{
		Network: cfg.Network, Self: n.self.Node(), Book: w.book, Host: w.host, RPC: w.rpc, Directory: w.dht, Areas: areas(w.place.Region), Logger: n.log,
	})
	w.registry = newRegistry(w, n.self.Node(), w.advert.Record)
	return w, nil
}

// portKey is where the store keeps the port of the last run: others know this node by it.
var portKey = []byte("listen/port")

// lastPort returns the port of the last run, or 0.
func lastPort(s *stores) int {
	b, err := s.kv.Get(context.Background(), portKey)
	if err != nil {
		return 0
	}
	port, err := strconv.Atoi(string(b))
	if err != nil || port < 1 || port > 65535 {
		return 0
	}
	return port
}

func rememberPort(s *stores, port int) error {
	if port == 0 || port == lastPort(s) {
		return nil
	}
	return s.kv.Set(context.Background(), portKey, []byte(strconv.Itoa(port)))
}

// serve answers others from now on.
func (w *network) serve(l *live) error {
	for _, proto := range sessionProtos {
		err := w.rpc.Handle(proto, func(ctx context.Context, s p2p.Stream) {
			if err := l.submits.driver.HandleSession(ctx, stream{s}); err != nil {
				w.log.Debug("A worker's session ended", slog.Any("worker", s.Remote()), slog.Any("error", err))
			}
		})
		if err != nil {
			return err
		}
	}
	if err := errors.Join(w.rpc.Handle(measureProto, w.serveMeasure), w.rpc.Handle(registerProto, w.registry.handle)); err != nil {
		return err
	}
	answers := &search.Server{Network: w.name, Book: w.book, Hear: l.works.invited}
	if err := errors.Join(answers.Serve(w.rpc), l.notices.join()); err != nil {
		return err
	}
	class, _, _ := w.advert.node.grader.advertise()
	return w.topics.join(class, l.works.hear)
}

// stream shows a network stream as the drivers want it.
type stream struct{ p2p.Stream }

// Remote implements submit.Stream and work.Stream.
func (s stream) Remote() tasks.NodeID { return tasks.NodeID(s.Stream.Remote()) }

// RemoteAddr implements submit.Stream.
func (s stream) RemoteAddr() netip.Addr { return s.RemoteIP() }

// Version implements submit.Stream and work.Stream.
func (s stream) Version() int {
	if strings.HasSuffix(s.Protocol(), "/session/1") {
		return 1
	}
	return wire.SessionVersion
}

// Close ends both directions at once: it must unblock a Read and a Write. What must arrive was acknowledged before.
func (s stream) Close() error {
	err := s.Stream.Close()
	_ = s.SetDeadline(time.Now())
	return err
}

// DialSession implements work.Dialer.
func (w *network) DialSession(ctx context.Context, submitter tasks.NodeID, addresses []string) (work.Stream, error) {
	w.host.Remember(addresses, host.ShortLived)
	s, err := w.rpc.Open(ctx, p2p.ID(submitter), sessionProtos...)
	if err != nil {
		return nil, err
	}
	w.host.Remember(addresses, host.LongLived)
	return stream{s}, nil
}

// fetchAgain is the pause before a fetch that nobody fulfils is tried again. A peer that has just started does not serve
// what it will serve a moment later.
const fetchAgain = 300 * time.Millisecond

// fetch brings a DAG here and tries until ctx ends: whoever calls knows how long to wait.
func (w *network) fetch(ctx context.Context, r exchange.Request) error {
	for {
		_, err := w.exchange.FetchDAG(ctx, r)
		if !errors.Is(err, exchange.ErrStalled) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(fetchAgain):
		}
	}
}

// FetchInput implements work.Fetcher.
func (w *network) FetchInput(ctx context.Context, in work.Input, arrived func([]dag.CID)) error {
	stop := w.excuse(ctx, arrived)
	defer stop()
	return w.fetch(ctx, exchange.Request{
		Root: in.Root, From: []p2p.ID{p2p.ID(in.Submitter)}, Anyone: in.Public.Defined(), Announced: in.Public, Arrived: arrived,
	})
}

// excuse tells whoever waits for an input that it is on its way while the owner's own ceiling holds it back.
func (w *network) excuse(ctx context.Context, arrived func([]dag.CID)) (stop func()) {
	ctx, stop = context.WithCancel(ctx)
	go func() {
		tick := time.NewTicker(2 * time.Second)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				if w.in.Busy() {
					arrived(nil)
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	return stop
}

// FetchOutput implements submit.Fetcher.
func (w *network) FetchOutput(ctx context.Context, worker tasks.NodeID, _ tasks.LeaseID, root dag.CID) error {
	return w.fetch(ctx, exchange.Request{Root: root, From: []p2p.ID{p2p.ID(worker)}})
}

// FetchCheckpoint implements submit.Carrier.
func (w *network) FetchCheckpoint(ctx context.Context, worker tasks.NodeID, _ tasks.LeaseID, root dag.CID, most int64) error {
	return w.fetch(ctx, exchange.Request{Root: root, From: []p2p.ID{p2p.ID(worker)}, MaxBytes: most})
}

// seen is the country in which this node sees a peer: by the address a direct connection comes from, if how far it is
// fits that. What the peer says of itself counts for nothing.
func (w *network) seen(from netip.Addr, rtt time.Duration) string {
	if w.areas == nil {
		return ""
	}
	at, err := w.areas.Locate(from)
	if err != nil || !geo.Plausible(w.place, at, rtt) {
		return ""
	}
	return string(at.Region)
}

// provider is the number of the autonomous system that an address belongs to; 0: not known.
func (w *network) provider(of netip.Addr) uint {
	if w.providers == nil {
		return 0
	}
	return w.providers.Of(of)
}

// placeOf is where this node is: the owner's word, what a database says of its addresses, or unknown.
func placeOf(p config.Peers, db *geo.DB, log *slog.Logger) (geo.Place, error) {
	if db != nil && p.Region == "" {
		if place, ok := locate(db); ok {
			log.Info("Region found", slog.String("place", place.String()))
			return place, nil
		}
	}
	place, err := geo.ParsePlace(cmp.Or(p.Region, string(geo.Unknown)))
	if err != nil {
		return geo.Place{}, fmt.Errorf("peers.region: %w", err)
	}
	return place, nil
}

// locate looks this machine's public addresses up.
func locate(db *geo.DB) (geo.Place, bool) {
	for _, ip := range publicAddrs() {
		if place, err := db.Locate(ip); err == nil && place.Region != geo.Unknown {
			return place, true
		}
	}
	return geo.Place{}, false
}

// publicAddrs are the addresses of this machine that the whole internet could route to.
func publicAddrs() []netip.Addr {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var out []netip.Addr
	for _, a := range addrs {
		p, err := netip.ParsePrefix(a.String())
		if err != nil {
			continue
		}
		if ip := p.Addr().Unmap(); isPublic(ip) {
			out = append(out, ip)
		}
	}
	return out
}

// profileOf settles "auto": a machine with a public address, or one that is told of a node at such an address, lives in
// the wide world, perhaps behind a router; any other keeps to its neighbours, and one that listens on loopback alone has
// no others.
func profileOf(l config.Listen, own []netip.Addr, bootstrap []string) host.Profile {
	switch {
	case l.Profile == "wan":
		return host.WAN
	case l.Profile == "lan", l.On == "loopback", len(own) == 0 && !slices.ContainsFunc(bootstrap, namesPublic):
		return host.LAN
	default:
		return host.WAN
	}
}

// namesPublic reports whether a multiaddr text begins with an address, or a name, that the whole internet could route to.
func namesPublic(addr string) bool {
	parts := strings.Split(addr, "/")
	if len(parts) < 3 {
		return false
	}
	ip, err := netip.ParseAddr(parts[2])
	return strings.HasPrefix(parts[1], "dns") || err == nil && isPublic(ip)
}

// notRouted are the ranges that look global and are not: carrier-grade NAT (RFC 6598) and documentation (RFC 5737, 3849).
var notRouted = []netip.Prefix{
	netip.MustParsePrefix("100.64.0.0/10"),
	netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("203.0.113.0/24"),
	netip.MustParsePrefix("2001:db8::/32"),
}

// isPublic reports whether the whole internet could route to ip.
func isPublic(ip netip.Addr) bool {
	ip = ip.Unmap()
	return ip.IsGlobalUnicast() && !ip.IsPrivate() && !slices.ContainsFunc(notRouted, func(p netip.Prefix) bool { return p.Contains(ip) })
}

func listenOf(l config.Listen) host.Listen {
	switch {
	case l.OutboundOnly.Bool():
		return host.ListenNone
	case l.On == "loopback":
		return host.ListenLoopback
	default:
		return host.ListenAll
	}
}

func transportsOf(s string) host.Transports {
	switch s {
	case "quic":
		return host.QUICOnly
	case "tcp":
		return host.TCPOnly
	default:
		return host.QUICAndTCP
	}
}

func dhtMode(s string) dht.Mode {
	switch s {
	case "on":
		return dht.Server
	case "off":
		return dht.Client
	default:
		return "" // by profile
	}
}

// listenPort reads the port out of the first address, 0 if there is none.
func listenPort(addrs []string) int {
	for _, a := range addrs {
		fields := strings.Split(a, "/")
		for i, f := range fields {
			var port int
			if (f == "udp" || f == "tcp") && i+1 < len(fields) {
				if _, err := fmt.Sscan(fields[i+1], &port); err == nil {
					return port
				}
			}
		}
	}
	return 0
}

// bootstrapList joins the built-in list, the settings and the file.
func bootstrapList(p config.Peers) ([]string, error) {
	list := append(append([]string{}, builtIn...), p.Bootstrap...)
	if p.BootstrapFile == "" {
		return list, nil
	}
	f, err := os.Open(p.BootstrapFile)
	if err != nil {
		return nil, fmt.Errorf("peers.bootstrapFile: %w", err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		line, _, _ := strings.Cut(lines.Text(), "#")
		if line = strings.TrimSpace(line); line != "" {
			list = append(list, line)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("peers.bootstrapFile %s: %w", p.BootstrapFile, err)
	}
	return list, nil
}
