package host

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/libp2p/go-libp2p/core/network"
	ma "github.com/multiformats/go-multiaddr"

	"kith/p2p"
	"kith/p2p/internal/lp"
)

// watchers hands peer events to any number of queues and never waits for one.
type watchers struct {
	mu      sync.Mutex
	closed  bool
	queues  []chan p2p.PeerEvent
	dropped atomic.Uint64
}

// Watch returns a queue of the connections and disconnections from now on. A watcher that falls eventQueue events
// behind loses the newest; DroppedEvents counts them, and Peers tells the truth again. stop ends the queue, and so does
// Close; then the channel is closed.
func (h *Host) Watch() (events <-chan p2p.PeerEvent, stop func()) { return h.watch.add() }

// DroppedEvents counts the peer events that slow watchers lost.
func (h *Host) DroppedEvents() uint64 { return h.watch.dropped.Load() }

func (w *watchers) add() (<-chan p2p.PeerEvent, func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	q := make(chan p2p.PeerEvent, eventQueue)
	if w.closed {
		close(q)
		return q, func() {}
	}
	w.queues = append(w.queues, q)
	return q, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if i := slices.Index(w.queues, q); i >= 0 {
			w.queues = slices.Delete(w.queues, i, i+1)
			close(q)
		}
	}
}

func (w *watchers) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	for _, q := range w.queues {
		close(q)
	}
	w.queues = nil
}

func (w *watchers) send(e p2p.PeerEvent) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, q := range w.queues {
		select {
		case q <- e:
		default:
			w.dropped.Add(1)
		}
	}
}

// Connected, Disconnected, Listen and ListenClose implement libp2p's network.Notifiee.
func (w *watchers) Connected(n network.Network, c network.Conn) {
	w.doubt(n, c)
	if id, err := lp.ID(c.RemotePeer()); err == nil {
		w.send(p2p.PeerEvent{Peer: id, Connected: true, Relayed: c.Stat().Limited})
	}
}

func (w *watchers) Disconnected(n network.Network, c network.Conn) {
	if n.Connectedness(c.RemotePeer()) == network.Connected || n.Connectedness(c.RemotePeer()) == network.Limited {
		return // another connection with the same peer is left
	}
	if id, err := lp.ID(c.RemotePeer()); err == nil {
		w.send(p2p.PeerEvent{Peer: id})
	}
}

func (w *watchers) Listen(network.Network, ma.Multiaddr)      {}
func (w *watchers) ListenClose(network.Network, ma.Multiaddr) {}
