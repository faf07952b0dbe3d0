package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/discovery/mdns"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"kith/p2p"
	"kith/p2p/internal/lp"
)

// Limits of the discovery on the local network.
const (
	foundQueue   = 64               // answers waiting to be dialled; more are dropped and counted
	foundDial    = 10 * time.Second // for one answer
	restartDelay = 2 * time.Second  // after the machine's addresses changed, for them to settle
	retryDelay   = time.Minute      // where it cannot start, as without a network, unless addresses change before
)

// Discovery finds the nodes of the same network on the local network by multicast DNS, under the service
// "_kith-<network>._udp", and connects to them.
type Discovery struct {
	h       *Host
	log     *slog.Logger
	found   chan peer.AddrInfo
	dropped atomic.Uint64
	met     atomic.Uint64
}

// NewDiscovery returns a part that has to be served.
func NewDiscovery(h *Host) *Discovery {
	return &Discovery{h: h, log: h.log, found: make(chan peer.AddrInfo, foundQueue)}
}

// DiscoveryStats counts what happened since the start.
type DiscoveryStats struct {
	Met     uint64 `json:"met"`     // peers connected to
	Dropped uint64 `json:"dropped"` // answers beyond the queue
}

// Stats returns the counts.
func (d *Discovery) Stats() DiscoveryStats {
	return DiscoveryStats{Met: d.met.Load(), Dropped: d.dropped.Load()}
}

// Serve answers and asks until ctx ends, starting over when the machine's addresses change. A node that listens nowhere
// has nothing to answer and waits; so does one of a machine that has no network yet.
func (d *Discovery) Serve(ctx context.Context) error {
	if len(d.h.raw.Network().ListenAddresses()) == 0 {
		d.log.Info("local discovery is off: this node is outbound-only")
		<-ctx.Done()
		return ctx.Err()
	}
	sub, err := d.h.raw.EventBus().Subscribe(new(event.EvtLocalAddressesUpdated), eventbus.Name("kith mdns"))
	if err != nil {
		return fmt.Errorf("subscribe to address changes: %w", err)
	}
	defer sub.Close()
	failed := "" // why it did not start
	for {
		addrs := d.listening()
		s := mdns.NewMdnsService(d.h.raw, "_kith-"+d.h.network+"._udp", d)
		err := s.Start()
		if err == nil {
			failed = ""
			err = d.serve(ctx, sub.Out(), addrs)
		} else {
			if err.Error() != failed {
				d.log.Info("local discovery waits for a network", "reason", err)
			}
			failed = err.Error()
			err = d.wait(ctx, sub.Out(), addrs)
		}
		if cerr := s.Close(); cerr != nil {
			d.log.Debug("closing local discovery failed", "err", cerr)
		}
		if err != nil {
			return err
		}
		select {
		case <-time.After(restartDelay):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// listening is the text of the addresses that neighbours can dial.
func (d *Discovery) listening() string {
	addrs, err := d.h.raw.Network().InterfaceListenAddresses()
	if err != nil {
		d.log.Debug("own addresses are unknown", "err", err)
	}
	return fmt.Sprint(addrs)
}

// serve returns nil when the addresses are no longer addrs.
func (d *Discovery) serve(ctx context.Context, changes <-chan any, addrs string) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case _, ok := <-changes:
			if !ok {
				return p2p.ErrClosed
			}
			if d.listening() != addrs {
				return nil
			}
		case ai := <-d.found:
			d.meet(ctx, ai)
		}
	}
}

// wait is serve for no longer than retryDelay, after which it returns nil.
func (d *Discovery) wait(ctx context.Context, changes <-chan any, addrs string) error {
	short, cancel := context.WithTimeout(ctx, retryDelay)
	defer cancel()
	err := d.serve(short, changes, addrs)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return nil
	}
	return err
}

// HandlePeerFound implements mdns.Notifee. Anybody on the LAN can answer anything: it only queues.
func (d *Discovery) HandlePeerFound(ai peer.AddrInfo) {
	select {
	case d.found <- ai:
	default:
		d.dropped.Add(1)
	}
}

// meet connects to a peer at its local addresses; an answer cannot send this node to dial the internet.
func (d *Discovery) meet(ctx context.Context, ai peer.AddrInfo) {
	id, err := lp.ID(ai.ID)
	if err != nil {
		return
	}
	if direct, _ := d.h.Connected(id); direct || id == d.h.id {
		return
	}
	ai.Addrs = ma.FilterAddrs(ai.Addrs, func(a ma.Multiaddr) bool { return manet.IsPrivateAddr(a) && !isRelayed(a) })
	if len(ai.Addrs) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, foundDial)
	defer cancel()
	if err := d.h.raw.Connect(ctx, ai); err != nil {
		d.log.Debug("a neighbour on the local network cannot be reached", "peer", id, "err", err)
		return
	}
	d.met.Add(1)
	d.log.Info("met a neighbour on the local network", "peer", id)
}
