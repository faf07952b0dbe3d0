package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"kith/p2p"
	"kith/p2p/dht"
	"kith/p2p/geo"
	"kith/p2p/gossip"
	"kith/tasks"
	"kith/tasks/wire"
)

// topics carries offers. A node listens to the topics of its own country, its continent and the world, and publishes an
// offer of ring r to the r-th of them.
type topics struct {
	network string
	self    tasks.NodeID
	log     *slog.Logger
	gossip  *gossip.Gossip
	rings   []geo.Region
	seen    *wire.SeenSet // offers passed on while they could be repeated

	mu     sync.Mutex
	hear   func(offer []byte)
	joined map[tasks.DeviceClass][]*gossip.Topic // by ring
}

// Bounds of the offers that are remembered: in all, and of one submitter. An offer is remembered for some minutes, so a
// submitter may publish a few each second.
const (
	seenOffers   = 1 << 15
	seenOffersOf = 1 << 10
)

// deviceClasses in order, weakest first: who has one can do the work of those before it.
var deviceClasses = []tasks.DeviceClass{tasks.CPU, tasks.WeakGPU, tasks.HighGPU}

// join listens from now on to the offers of every class up to the strongest this node has. hear gets them all.
func (t *topics) join(strongest tasks.DeviceClass, hear func(offer []byte)) error {
	t.mu.Lock()
	t.hear = hear
	t.mu.Unlock()
	for _, class := range deviceClasses {
		if _, err := t.of(class); err != nil {
			return err
		}
		if class == strongest {
			break
		}
	}
	return nil
}

// of returns the topics of a class by ring, joined if need be: to publish offers, or because this node was graded better.
// A node that was graded worse stays in its topics, and passes on what it does not answer.
func (t *topics) of(class tasks.DeviceClass) ([]*gossip.Topic, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(t.joined[class]) < len(t.rings) {
		region := t.rings[len(t.joined[class])]
		topic, err := t.gossip.Join("offers/"+string(class)+"/"+strings.ToLower(string(region)), t.judge, func(_ p2p.ID, data []byte) { t.hear(data) })
		if err != nil {
			return nil, fmt.Errorf("join the offers of %s: %w", region, err)
		}
		t.joined[class] = append(t.joined[class], topic)
	}
	return t.joined[class], nil
}

// judge rejects what no honest node could send and ignores what came too late, again, or too often from one submitter.
func (t *topics) judge(_ p2p.ID, data []byte) gossip.Verdict {
	now := time.Now().UnixMilli()
	o, err := wire.OpenOffer(t.network, now, data)
	switch {
	case err == nil && (o.Submitter == t.self || t.seen.Admit(o.Submitter, data, o.Expiry, now)):
		return gossip.Accept
	case err == nil:
		drops := t.seen.Drops()
		t.log.Debug("An offer was not passed on", slog.Any("submitter", o.Submitter), slog.Uint64("repeated", drops.Repeated),
			slog.Uint64("flood", drops.Flood), slog.Uint64("full", drops.Full))
		return gossip.Ignore
	case errors.Is(err, wire.ErrEncoding), errors.Is(err, wire.ErrSignature), errors.Is(err, wire.ErrSize):
		return gossip.Reject
	default:
		return gossip.Ignore
	}
}

// Publish implements submit.Publisher.
func (t *topics) Publish(ctx context.Context, class tasks.DeviceClass, ring int, offer []byte) (int, error) {
	rings, err := t.of(class)
	if err != nil {
		return 0, err
	}
	topic := rings[min(max(ring, 0), len(rings)-1)]
	return topic.Peers(), topic.Publish(ctx, offer)
}

// Audience estimates how many nodes hear an offer.
func (t *topics) Audience(class tasks.DeviceClass, ring int) int {
	rings, err := t.of(class)
	if err != nil {
		return 1
	}
	return rings[min(max(ring, 0), len(rings)-1)].Peers() + 1
}

// Pace of the advert.
const (
	advertLife  = 2 * time.Hour
	advertFresh = 30 * time.Minute // a record older than this is signed anew
	advertRetry = 20 * time.Second // while the directory is out of reach
)

// advert is this node's signed word on what it can do: carried by every hello, and kept in the directory.
type advert struct {
	node    *Node
	network *network
	changed chan struct{} // the record says something else now; one slot

	mu     sync.Mutex
	record []byte
	made   time.Time
	seq    uint64
	from   wire.Capability // what the record says, but for times and sequence
}

// Record returns the signed record, made anew when it has aged or no longer says what is true.
func (a *advert) Record() []byte {
	now := a.describe()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.record != nil && time.Since(a.made) < advertFresh && same(now, a.from) {
		return a.record
	}
	at := time.Now()
	c := now
	c.Time, c.Expiry = at.UnixMilli(), at.Add(advertLife).UnixMilli()
	c.Seq = max(a.seq+1, uint64(at.UnixMilli())) // grows over restarts too
	record, err := wire.SignCapability(a.network.name, a.node.self.Key(), c)
	if err != nil {
		a.node.log.Error("Cannot sign the capability record", slog.Any("error", err))
		return a.record
	}
	a.record, a.made, a.seq, a.from = record, at, c.Seq, now
	return record
}

func (a *advert) describe() wire.Capability {
	limits := a.node.limits()
	class, band, equals := a.node.grader.advertise()
	c := wire.Capability{
		Addresses: a.network.host.Addrs(), Class: class, Band: band, Equals: equals[:min(len(equals), wire.MaxKinds)], Sandbox: tasks.GradeNone,
		Region: string(a.network.place.Region), Cell: string(a.network.place.Cell), Slots: limits.Slots, Memory: limits.Memory, Program: Version,
	}
	if l := a.node.live.Load(); l != nil {
		c.Sandbox = l.runners.engine.Grade()
		c.Depot = a.node.isDepot(l)
		if l.gives != nil && l.gives.ready != nil {
			c.Share, c.Stays = l.gives.ready.Share(time.Now()), l.gives.ready.Stays().Milliseconds()
		}
	}
	for _, k := range a.node.kinds.Names() {
		kind, err := a.node.kinds.Kind(k)
		if err == nil && kind.Describe().Needs.Sandbox > c.Sandbox {
			continue // it would be refused
		}
		if a.node.owner.Allowed(k) && len(c.Kinds) < wire.MaxKinds {
			c.Kinds = append(c.Kinds, k)
		}
	}
	return c
}

func same(a, b wire.Capability) bool {
	return a.Class == b.Class && a.Band == b.Band && slices.Equal(a.Equals, b.Equals) && slices.Equal(a.Addresses, b.Addresses) && slices.Equal(a.Kinds, b.Kinds) && a.Sandbox == b.Sandbox && a.Slots == b.Slots && a.Memory == b.Memory && a.Depot == b.Depot
}

// Serve keeps the record and the provider key in the directory until ctx ends.
func (a *advert) Serve(ctx context.Context) error {
	var sent []byte
	for {
		wait := advertRetry
		if r := a.Record(); r != nil && (!slices.Equal(r, sent) || a.old()) {
			switch err := a.publish(ctx, r); {
			case err == nil:
				sent = r
			case errors.Is(err, dht.ErrNoPeers):
			default:
				a.node.log.Debug("The directory did not take our record", slog.Any("error", err))
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		case <-a.changed:
		}
	}
}

// poke has the record published anew without waiting.
func (a *advert) poke() {
	select {
	case a.changed <- struct{}{}:
	default:
	}
}

func (a *advert) old() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return time.Since(a.made) >= advertFresh
}

func (a *advert) publish(ctx context.Context, record []byte) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := a.network.dht.PutRecord(ctx, record); err != nil {
		return err
	}
	if l := a.node.live.Load(); l != nil && a.node.isDepot(l) {
		if err := a.network.dht.Provide(ctx, wire.DepotKey(a.network.name, wire.Bucket(a.node.self.Node()))); err != nil {
			return err
		}
	}
	// Whoever looks for a weaker class finds this node too.
	strongest, band, _ := a.node.grader.advertise()
	bucket := wire.Bucket(a.node.self.Node())
	for _, class := range deviceClasses {
		keys := [][32]byte{wire.ProviderKey(a.network.name, class, band, string(a.network.place.Cell), bucket)}
		for _, area := range areas(a.network.place.Region) {
			keys = append(keys, wire.ProviderKey(a.network.name, class, wire.AnyBand, area, bucket))
		}
		for _, key := range keys {
			if err := a.network.dht.Provide(ctx, key); err != nil {
				return err
			}
		}
		if class == strongest {
			break
		}
	}
	return nil
}

// areas are the regions around a country under which its nodes stand in the directory, nearest first.
func areas(r geo.Region) (list []string) {
	for _, area := range geo.Rings(r) {
		list = append(list, string(area))
	}
	return list
}
