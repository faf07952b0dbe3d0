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
	joined  []*gossip.Topic // by ring
	seen    *wire.SeenSet   // offers passed on while they could be repeated
}

// Bounds of the offers that are remembered: in all, and of one submitter. An offer is remembered for some minutes, so a
// submitter may publish a few each second.
const (
	seenOffers   = 1 << 15
	seenOffersOf = 1 << 10
)

func (t *topics) join(hear func(offer []byte)) error {
	for _, region := range t.rings {
		topic, err := t.gossip.Join("offers/"+string(defaultClass)+"/"+strings.ToLower(string(region)), t.judge, func(_ p2p.ID, data []byte) { hear(data) })
		if err != nil {
			return fmt.Errorf("join the offers of %s: %w", region, err)
		}
		t.joined = append(t.joined, topic)
	}
	return nil
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
	if class != defaultClass {
		return 0, nil // nobody is graded for more yet, so nobody listens
	}
	topic := t.joined[min(max(ring, 0), len(t.joined)-1)]
	return topic.Peers(), topic.Publish(ctx, offer)
}

// Audience estimates how many nodes hear an offer.
func (t *topics) Audience(_ tasks.DeviceClass, ring int) int {
	return t.joined[min(max(ring, 0), len(t.joined)-1)].Peers() + 1
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
	c := wire.Capability{
		Addresses: a.network.host.Addrs(), Class: defaultClass, Sandbox: tasks.GradeProcess,
		Region: string(a.network.place.Region), Cell: string(a.network.place.Cell), Slots: limits.Slots, Memory: limits.Memory, Program: Version,
	}
	if l := a.node.live.Load(); l != nil {
		c.Sandbox = l.runners.engine.Grade()
	}
	for _, k := range a.node.kinds.Names() {
		if a.node.owner.Allowed(k) && len(c.Kinds) < wire.MaxKinds {
			c.Kinds = append(c.Kinds, k)
		}
	}
	return c
}

func same(a, b wire.Capability) bool {
	return slices.Equal(a.Addresses, b.Addresses) && slices.Equal(a.Kinds, b.Kinds) && a.Sandbox == b.Sandbox && a.Slots == b.Slots && a.Memory == b.Memory
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
		}
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
	self := a.node.self.Node()
	key := wire.ProviderKey(a.network.name, defaultClass, 0, string(a.network.place.Cell), wire.Bucket(self))
	return a.network.dht.Provide(ctx, key)
}
