package node

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"time"

	"kith/bench"
	netbench "kith/bench/network"
	"kith/p2p"
	"kith/p2p/rpc"
	"kith/tasks"
)

// measureProto is the stream over which nodes measure the way to each other. Relays carry none of it.
var measureProto = rpc.Proto{Name: "measure", Version: 1, Limits: rpc.Limits{PerPeer: 2, Total: 8}}

// serveMeasure serves a peer's measurement, within the hourly share of the server.
func (w *network) serveMeasure(ctx context.Context, s p2p.Stream) {
	if err := w.measuring.Serve(ctx, s, s.Remote().String()); err != nil {
		w.log.Debug("A peer's measurement ended", slog.String("peer", s.Remote().Short()), slog.Any("error", err))
	}
	_ = s.Close() // the peer has what it is owed
}

// measure measures the way to the nearest peers that are connected directly.
func (w *network) measure(ctx context.Context, mode bench.Mode) bench.Device {
	o := netbench.Options{Peers: 1, Bytes: 4 << 20, Time: 250 * time.Millisecond}
	if mode == bench.Full {
		o = netbench.Options{Peers: 3, Bytes: 16 << 20, Time: time.Second}
	}
	near := w.host.Peers()
	near = slices.DeleteFunc(near, func(p p2p.PeerInfo) bool { return p.Relayed })
	slices.SortStableFunc(near, func(a, b p2p.PeerInfo) int {
		far := func(p p2p.PeerInfo) time.Duration { return cmp.Or(p.RTT, time.Hour) } // not measured yet: last
		return cmp.Compare(far(a), far(b))
	})
	var peers []netbench.Peer
	for _, p := range near {
		peers = append(peers, netbench.Peer{Name: "node " + p.ID.Short(), Open: func(ctx context.Context) (netbench.Stream, error) { return w.rpc.Open(ctx, p.ID, measureProto) }})
	}
	return netbench.Measure(ctx, peers, o)
}

// graded tells others of the grade this node has just got, and listens to the offers of its class.
func (w *network) graded(class bench.Class) {
	w.advert.poke()
	for _, c := range deviceClasses {
		if _, err := w.topics.of(c); err != nil {
			w.log.Warn("Cannot listen to the offers of a device class", slog.String("class", string(c)), slog.Any("error", err))
		}
		if c == tasks.DeviceClass(class) {
			return
		}
	}
}
