package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"kith/node/api"
	"kith/node/artifact"
	"kith/p2p"
	"kith/p2p/host"
	"kith/p2p/rpc"
	"kith/storage/dag"
	"kith/tasks"
	"kith/tasks/wire"
)

// The streams of whole DAGs. They carry blocks, so a relay will not do.
var (
	fetchProto   = rpc.Proto{Name: "fetch-artifact", Version: 1, Limits: rpc.Limits{PerPeer: 4, Total: 64}}
	depositProto = rpc.Proto{Name: "deposit", Version: 1, Limits: rpc.Limits{PerPeer: 2, Total: 16}}
)

// Pace of the use of depots.
const (
	depotRest    = time.Minute            // a depot that failed is left alone for so long
	depotTries   = 3                      // of a stream that breaks
	depotBusy    = 500 * time.Millisecond // until a deposit that another of ours brings is asked about again
	depotLook    = 5 * time.Minute        // between two questions to the directory
	depotLookOut = 20 * time.Second       // the same while one is wanted and none is known
	depotHint    = 30 * time.Minute       // a depot that the directory named is a hint for so long
	depotsFound  = 8                      // asked of the directory at once
)

// depots is this node's use of the depots of others. It implements submit.Depots and work.Depots.
type depots struct {
	node    *Node
	network *network
	l       *live

	mu     sync.Mutex
	hints  map[p2p.ID]hint      // from the directory
	rested map[p2p.ID]time.Time // failed, and until when they are left alone
	wanted time.Time            // when one was last asked for
	look   chan struct{}        // asks for a look at the directory
}

type hint struct {
	addrs []string
	until time.Time
}

func newDepots(n *Node, l *live) *depots {
	return &depots{node: n, network: l.network, l: l, hints: map[p2p.ID]hint{}, rested: map[p2p.ID]time.Time{}, look: make(chan struct{}, 1)}
}

// Direct implements submit.Depots and work.Depots.
func (d *depots) Direct(node tasks.NodeID) bool {
	direct, _ := d.network.host.Connected(p2p.ID(node))
	return direct
}

// Choose implements submit.Depots: of the depots that this node knows and that have not just failed, one that it is
// connected to, the nearest first; else one that the directory named.
func (d *depots) Choose() (tasks.NodeID, []string, bool) {
	now := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.wanted = now
	var best p2p.PeerInfo
	found := false
	for _, id := range d.network.registry.depots() {
		if now.Before(d.rested[id]) {
			continue
		}
		if p, ok := d.network.host.Peer(id); ok && !p.Relayed && (!found || p.RTT < best.RTT) {
			best, found = p, true
		}
	}
	if found {
		return tasks.NodeID(best.ID), best.Addrs, true
	}
	for id, h := range d.hints {
		if now.Before(h.until) && !now.Before(d.rested[id]) {
			return tasks.NodeID(id), h.addrs, true
		}
	}
	select {
	case d.look <- struct{}{}:
	default:
	}
	return tasks.NodeID{}, nil, false
}

// Serve asks the directory for depots now and then, while they are wanted, until ctx ends.
func (d *depots) Serve(ctx context.Context) error {
	var last time.Time
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-d.look:
		case <-time.After(depotLook):
			d.mu.Lock()
			idle := time.Since(d.wanted) > depotLook
			d.mu.Unlock()
			if idle {
				continue
			}
		}
		if time.Since(last) < depotLookOut {
			continue
		}
		last = time.Now()
		d.ask(ctx)
	}
}

// ask looks for depots in the directory, in every bucket until there are enough.
func (d *depots) ask(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	n := 0
	for bucket := range wire.Buckets {
		err := d.network.dht.FindProviders(ctx, wire.DepotKey(d.network.name, bucket), depotsFound, func(id p2p.ID, addrs []string) bool {
			d.mu.Lock()
			d.hints[id] = hint{addrs, time.Now().Add(depotHint)}
			d.mu.Unlock()
			n++
			return n < depotsFound
		})
		if err != nil {
			d.node.log.Debug("The directory names no depots", slog.Any("error", err))
		}
		if n >= depotsFound || ctx.Err() != nil {
			return
		}
	}
}

// failed leaves a depot alone for a while.
func (d *depots) failed(id p2p.ID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	for other, until := range d.rested {
		if now.After(until) {
			delete(d.rested, other)
		}
	}
	for other, h := range d.hints {
		if now.After(h.until) {
			delete(d.hints, other)
		}
	}
	d.rested[id] = now.Add(depotRest)
}

// talk opens a stream to a depot and uses it, again when it breaks, until use succeeds or the depot says no.
func (d *depots) talk(ctx context.Context, at tasks.Depot, proto rpc.Proto, use func(artifact.Stream) error) error {
	d.network.host.Remember(at.Addresses, host.ShortLived)
	id := p2p.ID(at.Node)
	var err error
	for try := 0; try < depotTries; {
		var s p2p.Stream
		if s, err = d.network.rpc.Open(ctx, id, proto); err == nil {
			err = use(d.network.paced(ctx, s))
			if err == nil {
				return s.Close()
			}
			_ = s.Reset()
		}
		var r tasks.Reason
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.As(err, &r) && r.Code != tasks.Busy:
			return err
		case !errors.As(err, &r):
			try++
		}
		select {
		case <-time.After(depotBusy):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return err
}

// Deposit implements submit.Depots and work.Depots.
func (d *depots) Deposit(ctx context.Context, at tasks.Depot, root dag.CID, until time.Time) error {
	err := d.talk(ctx, at, depositProto, func(s artifact.Stream) error {
		return artifact.Deposit(ctx, s, d.l.stores.blobs, artifact.Order{Network: d.network.name, Key: d.node.self.Key(), Root: root, Until: until})
	})
	if err != nil && ctx.Err() == nil {
		d.failed(p2p.ID(at.Node))
	}
	return err
}

// Collect implements submit.Depots and work.Depots.
func (d *depots) Collect(ctx context.Context, at tasks.Depot, lease tasks.LeaseID, root dag.CID, token []byte, most int64, arrived func([]dag.CID)) error {
	return d.talk(ctx, at, fetchProto, func(s artifact.Stream) error {
		return artifact.Fetch(ctx, s, d.l.stores.blobs, artifact.Want{
			Network: d.network.name, Root: root, Lease: lease, Token: token, Most: most, Arrived: arrived,
		})
	})
}

// openDepot opens what this node holds for others, whether or not its owner lets it take more.
func (n *Node) openDepot(l *live) (*artifact.Depot, error) {
	d, err := artifact.NewDepot(context.Background(), artifact.DepotOptions{
		Network: l.cfg.Network, Self: n.self.Node(), Blobs: l.stores.blobs, KV: l.stores.kv, Logger: n.log,
		Quota: func() int64 {
			if s := n.settings.Get().Serve; n.isDepot(l) {
				return int64(s.DepotQuota)
			}
			return 0
		},
		Room: func() *tasks.Reason {
			c := n.settings.Get()
			if used := n.meters.space().UsedPercent(); used >= n.space.diskStop(&c) {
				return &tasks.Reason{Code: tasks.DiskFull}
			}
			_, refuse := n.diskAllows(&c)
			return refuse
		},
	})
	if err != nil {
		return nil, fmt.Errorf("open the depot: %w", err)
	}
	return d, nil
}

// isDepot reports whether this node holds blocks for others: its owner agreed, and others can reach it.
func (n *Node) isDepot(l *live) bool {
	if !n.settings.Get().Serve.Depot.Bool() || l.cfg.Listen.OutboundOnly.Bool() {
		return false
	}
	h := l.network.host
	return h.Profile() == host.LAN || h.Reachability() == p2p.ReachPublic
}

// depotState describes what is held for others, nil if that is nothing and the owner wants it so.
func (n *Node) depotState(l *live) *api.Depot {
	serve := n.settings.Get().Serve
	d := &api.Depot{Open: n.isDepot(l), QuotaBytes: int64(serve.DepotQuota)}
	d.Deposits, d.Bytes = l.depot.Holds()
	if !serve.Depot.Bool() && d.Deposits == 0 {
		return nil
	}
	return d
}

// serveArtifacts answers fetches and deposits from now on.
func (n *Node) serveArtifacts(l *live) error {
	server := &artifact.Server{
		Network: l.cfg.Network, Self: n.self.Node(), Blobs: l.stores.blobs, Depot: l.depot,
		May: func(peer tasks.NodeID, c dag.CID) bool {
			return l.submits.driver.MayServe(peer, c) || l.works.driver.MayServe(peer, c)
		},
	}
	told := func(what string, handle func(context.Context, artifact.Stream) error) func(context.Context, p2p.Stream) {
		return func(ctx context.Context, s p2p.Stream) {
			if err := handle(ctx, l.network.paced(ctx, s)); err != nil {
				n.log.Debug(what, slog.Any("peer", s.Remote()), slog.Any("error", err))
			}
			_ = s.Close() // whatever was said last arrives
		}
	}
	return errors.Join(
		l.network.rpc.Handle(fetchProto, told("A fetch was refused or broke off", server.HandleFetch)),
		l.network.rpc.Handle(depositProto, told("A deposit was refused or broke off", l.depot.HandleDeposit)))
}
