package whole

import (
	"context"
	"crypto/ed25519"
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"kith/node/search"
	"kith/p2p"
	"kith/p2p/dht"
	"kith/p2p/exchange"
	"kith/p2p/gossip"
	"kith/p2p/host"
	"kith/p2p/rpc"
	"kith/simnet/links"
	"kith/simnet/scenario"
	"kith/storage/dag"
	"kith/storage/memstore"
	"kith/tasks"
	"kith/tasks/execute"
	"kith/tasks/sandbox"
	"kith/tasks/submit"
	"kith/tasks/wire"
	"kith/tasks/work"
)

var sessionProto = rpc.Proto{Name: "session", Version: 2, Limits: rpc.Limits{PerPeer: 4, Total: 4096, Relayed: true}}

// node is one whole node.
type node struct {
	w       *world
	hosts   *scenario.Hosts
	region  int
	at      netip.Addr
	key     ed25519.PrivateKey
	id      tasks.NodeID
	submits bool

	host     *host.Host
	rpc      *rpc.Service
	gossip   *gossip.Gossip
	dht      *dht.DHT
	exchange *exchange.Exchange
	blobs    *memstore.Blobs
	engine   sandbox.Engine
	executor *execute.Executor
	topics   []*gossip.Topic

	driver  atomic.Pointer[submit.Driver]
	works   *work.Driver
	logs    []*memstore.Log
	log     *memstore.Log // of the submitting side; outlives a kill
	cancel  context.CancelFunc
	ends    context.CancelFunc // of the submitting side alone
	done    sync.WaitGroup
	serving sync.WaitGroup
	gone    bool
	lies    atomic.Int64

	book    *search.Book
	finder  *search.Finder
	invited atomic.Bool // was handed an offer that gossip did not bring
}

// syncTime is what a group commit takes.
const syncTime = 5 * time.Millisecond

func (n *node) newLog() *memstore.Log {
	l := memstore.NewLog(syncTime)
	n.logs = append(n.logs, l)
	return l
}

func (n *node) submitter() *submit.Driver { return n.driver.Load() }

// build makes the parts in the order in which one needs the other.
func (n *node) build(scratch string) (err error) {
	if n.host, err = n.w.net.Host(n.key, n.at); err != nil {
		return err
	}
	n.rpc = rpc.New(n.host)
	n.dht, err = dht.New(n.host, dht.Options{
		Mode: dht.Server, Small: true,
		Validate: func(id p2p.ID, record []byte) error {
			c, err := wire.OpenCapability(network, time.Now().UnixMilli(), record)
			if err == nil && c.Node != tasks.NodeID(id) {
				err = errors.New("record of another node")
			}
			return err
		},
		Newer: func(a, b []byte) int { return 0 },
	})
	if err != nil {
		return err
	}
	if n.gossip, err = gossip.New(n.host, gossip.Options{}); err != nil {
		return err
	}
	n.exchange, err = exchange.New(n.host, n.rpc, n.blobs, exchange.Options{NoBitswap: true, MayServe: func(peer p2p.ID, c dag.CID) bool {
		d := n.submitter()
		return d != nil && d.MayServe(tasks.NodeID(peer), c) || n.works != nil && n.works.MayServe(tasks.NodeID(peer), c)
	}})
	if err != nil {
		return err
	}
	n.openSearch()
	n.engine = sandbox.InProcess(n.w.kinds)
	n.executor, err = execute.New(execute.Options{Engine: n.engine, Blobs: n.blobs, Kinds: n.w.kinds, Scratch: scratch, Logger: n.w.log})
	return err
}

// start runs the drivers and listens to offers.
func (n *node) start() error {
	for _, name := range n.areas() {
		if n.hosts.Quiet {
			break
		}
		t, err := n.gossip.Join("offers/"+name, func(_ p2p.ID, b []byte) gossip.Verdict {
			if _, err := wire.OpenOffer(network, time.Now().UnixMilli(), b); err != nil {
				return gossip.Ignore
			}
			return gossip.Accept
		}, func(_ p2p.ID, b []byte) { n.hear(b) })
		if err != nil {
			return err
		}
		n.topics = append(n.topics, t)
	}
	if err := n.answers().Serve(n.rpc); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	n.cancel = cancel
	n.done.Go(func() { _ = n.host.Serve(ctx) })
	n.done.Go(func() { _ = n.dht.Serve(ctx) })
	if n.submits {
		if err := n.rpc.Handle(sessionProto, func(ctx context.Context, s p2p.Stream) {
			if d := n.submitter(); d != nil {
				_ = d.HandleSession(ctx, stream{s})
			}
		}); err != nil {
			return err
		}
		if err := n.startDrivers(); err != nil {
			return err
		}
	}
	l, book := n.newLog(), n.newLog()
	slots := n.hosts.Slots
	if slots == 0 {
		slots = 2
	}
	n.works = work.New(work.Options{
		Network: network, Key: n.key, Kinds: n.w.kinds, Blobs: n.blobs, Log: l, Book: book, Executor: &actor{n.executor, n},
		Fetcher: n, Dialer: n, Capability: func() []byte { return n.capability(slots) }, Slots: slots, Logger: n.w.log,
		Audience: func(_ tasks.DeviceClass, ring int) int { return n.audience(ring) + 1 },
	})
	n.done.Go(func() { _ = n.works.Serve(ctx) })
	if n.hosts.Actor == scenario.Flapping {
		n.done.Go(func() { n.flap(ctx) })
	}
	return nil
}

// startDrivers starts the submitting side, anew after a kill: from the log alone.
func (n *node) startDrivers() error {
	if n.log == nil {
		n.log = n.newLog()
	} else {
		n.log = n.log.Cut()
		n.logs = append(n.logs, n.log)
	}
	d := submit.New(submit.Options{
		Searcher: seeker{n},
		Network:  network, Key: n.key, Kinds: n.w.kinds, Blobs: n.blobs, Log: n.log, Executor: n.executor, Fetcher: n, Offers: n,
		Addresses: n.host.Addrs, Region: func() string { return links.Regions()[n.region] }, MaxSessions: 4096, Logger: n.w.log,
		RTT: func(id tasks.NodeID) time.Duration {
			p, _ := n.host.Peer(p2p.ID(id))
			return p.RTT
		},
	})
	n.driver.Store(d)
	ctx, cancel := context.WithCancel(context.Background())
	n.ends = cancel
	n.serving.Go(func() { _ = d.Serve(ctx) })
	return nil
}

// kill ends the submitting side, or the whole node of a volunteer, without a goodbye worth the name.
func (n *node) kill() {
	if n.submits {
		n.ends()
		n.serving.Wait()
		return
	}
	if !n.gone {
		n.gone = true
		n.cancel()
		for _, p := range n.host.Peers() {
			_ = n.host.Disconnect(p.ID)
		}
	}
}

func (n *node) capability(slots int) []byte {
	now := time.Now().UnixMilli()
	b, err := wire.SignCapability(network, n.key, wire.Capability{
		Time: now, Expiry: now + 3600_000, Class: tasks.CPU, Sandbox: tasks.GradeProcess, Slots: slots, Memory: 1 << 40,
		Region: links.Regions()[n.region], Program: "simnet", Addresses: n.host.Addrs(), Equals: n.equals(),
	})
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return b
}

// hear considers an offer.
func (n *node) hear(b []byte) {
	o, err := wire.OpenOffer(network, time.Now().UnixMilli(), b)
	if err != nil || o.Submitter == n.id || n.works == nil || n.gone {
		return
	}
	n.works.HandleOffer(o, n.rtt(o.Submitter))
}

// rtt is how far a submitter is, as a node knows it by its last ping.
func (n *node) rtt(id tasks.NodeID) time.Duration {
	for _, s := range n.w.subs {
		if s.id == id {
			return n.w.between(n.at, s.at) * 2
		}
	}
	return 0
}

func (n *node) topic(ring int) *gossip.Topic { return n.topics[min(max(ring, 0), len(n.topics)-1)] }

// audience is how many nodes gossip knows that hear an offer of a ring.
func (n *node) audience(ring int) int {
	if n.hosts.Quiet {
		return 0
	}
	return n.topic(ring).Peers()
}

// Publish implements submit.Publisher.
func (n *node) Publish(ctx context.Context, _ tasks.DeviceClass, ring int, offer []byte) (int, error) {
	t := n.topic(ring)
	return t.Peers(), t.Publish(ctx, offer)
}

// stream shows a network stream as the drivers want it.
type stream struct{ p2p.Stream }

// Remote implements submit.Stream and work.Stream.
func (s stream) Remote() tasks.NodeID { return tasks.NodeID(s.Stream.Remote()) }

// RemoteAddr implements submit.Stream.
func (s stream) RemoteAddr() netip.Addr { return s.RemoteIP() }

// Acknowledges implements submit.Stream and work.Stream.
func (s stream) Version() int { return wire.SessionVersion }

// Close ends both directions at once.
func (s stream) Close() error { return s.Reset() }

// DialSession implements work.Dialer.
func (n *node) DialSession(ctx context.Context, submitter tasks.NodeID, addresses []string) (work.Stream, error) {
	n.host.Remember(addresses, host.LongLived)
	s, err := n.rpc.Open(ctx, p2p.ID(submitter), sessionProto)
	if err != nil {
		return nil, err
	}
	return stream{s}, nil
}

// FetchInput implements work.Fetcher.
func (n *node) FetchInput(ctx context.Context, in work.Input, arrived func([]dag.CID)) error {
	_, err := n.exchange.FetchDAG(ctx, exchange.Request{Root: in.Root, From: []p2p.ID{p2p.ID(in.Submitter)}, Arrived: arrived})
	return err
}

// FetchOutput implements submit.Fetcher.
func (n *node) FetchOutput(ctx context.Context, from tasks.NodeID, _ tasks.LeaseID, root dag.CID) error {
	_, err := n.exchange.FetchDAG(ctx, exchange.Request{Root: root, From: []p2p.ID{p2p.ID(from)}})
	return err
}

// flap loses all connections every minute or so.
func (n *node) flap(ctx context.Context) {
	for pause(ctx, 30*time.Second+time.Duration(n.w.random()*float64(time.Minute))) == nil {
		for _, p := range n.host.Peers() {
			_ = n.host.Disconnect(p.ID)
		}
	}
}

// stopParts ends everything but the connections.
func (n *node) stopParts() error {
	if n.cancel != nil {
		n.cancel()
	}
	if n.ends != nil {
		n.ends()
	}
	n.serving.Wait()
	n.done.Wait()
	var errs []error
	for _, c := range []interface{ Close() error }{n.rpc, n.exchange, n.gossip, n.dht, n.executor, n.engine} {
		errs = append(errs, closePart(c))
	}
	for _, l := range n.logs {
		errs = append(errs, l.Close())
	}
	return errors.Join(errs...)
}

// closePart closes what was made; a node that failed to build has not all.
func closePart(c interface{ Close() error }) error {
	switch c := c.(type) {
	case *rpc.Service:
		if c == nil {
			return nil
		}
	case *exchange.Exchange:
		if c == nil {
			return nil
		}
	case *gossip.Gossip:
		if c == nil {
			return nil
		}
	case *dht.DHT:
		if c == nil {
			return nil
		}
	case *execute.Executor:
		if c == nil {
			return nil
		}
	case nil:
		return nil
	}
	return c.Close()
}

// hangUp ends the streams that the other end went away from.
func (n *node) hangUp() {
	if n.host == nil {
		return
	}
	for _, c := range n.host.Unrouted().Network().Conns() {
		for _, s := range c.GetStreams() {
			_ = s.Reset()
		}
	}
}

func (n *node) closeHost() error {
	if n.host == nil {
		return nil
	}
	return n.host.Close()
}
