package node

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"kith/p2p"
	"kith/tasks"
)

// Pace of the liveness checks. A process that was killed leaves a QUIC connection that looks well for half a minute;
// somebody who waits for its answer should know sooner.
const (
	pulseEvery  = time.Second // also how long each ping has
	pulseDoubt  = 2           // missed in a row: what a worker has may be given to others
	pulseMisses = 6           // missed in a row: the connection is dropped
)

// liveness pings, while there is work between them, the nodes this one waits for and has not heard for a moment. One that
// does not answer is first doubted: others may have its tasks too. Then the connection with it is dropped; its session ends
// and can be resumed if it was only slow. An idle node pings nobody.
type liveness struct {
	log     *slog.Logger
	peers   pinger
	waiting func(context.Context) map[tasks.NodeID]bool // for whom
	doubt   func(tasks.NodeID)
	missed  map[tasks.NodeID]int
}

// pinger is what liveness needs of the network; *host.Host is one.
type pinger interface {
	Connected(id p2p.ID) (direct, relayed bool)
	MeasureRTT(ctx context.Context, id p2p.ID) (time.Duration, error)
	Disconnect(id p2p.ID) error
}

func newLiveness(log *slog.Logger, peers pinger, waiting func(context.Context) map[tasks.NodeID]bool, doubt func(tasks.NodeID)) *liveness {
	return &liveness{log, peers, waiting, doubt, map[tasks.NodeID]int{}}
}

// Serve pings until ctx ends.
func (l *liveness) Serve(ctx context.Context) error {
	tick := time.NewTicker(pulseEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
			l.round(ctx)
		}
	}
}

// round pings everybody once.
func (l *liveness) round(ctx context.Context) {
	peers := l.waiting(ctx)
	for id := range l.missed {
		if !peers[id] {
			delete(l.missed, id)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, pulseEvery)
	defer cancel()
	var (
		wg sync.WaitGroup
		mu sync.Mutex
	)
	for id := range peers {
		wg.Go(func() {
			if direct, _ := l.peers.Connected(p2p.ID(id)); !direct {
				return // relays are slow, and say themselves when a side has gone
			}
			_, err := l.peers.MeasureRTT(ctx, p2p.ID(id))
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				delete(l.missed, id)
				return
			}
			l.missed[id]++
		})
	}
	wg.Wait()
	for id, n := range l.missed {
		if n == pulseDoubt {
			l.doubt(id)
		}
		if n >= pulseMisses {
			l.log.Info("A node we wait for does not answer", slog.Any("node", id))
			delete(l.missed, id)
			if err := l.peers.Disconnect(p2p.ID(id)); err != nil {
				l.log.Debug("Cannot drop the connection", slog.Any("node", id), slog.Any("error", err))
			}
		}
	}
}

// waitingFor lists the nodes that have something of ours, or for which we have something, and that have said nothing for a
// moment: workers while jobs run, and submitters whose leases or verdicts are open.
func (n *Node) waitingFor(ctx context.Context) map[tasks.NodeID]bool {
	out := map[tasks.NodeID]bool{}
	l := n.live.Load()
	for _, quiet := range []func(context.Context, time.Duration) ([]tasks.NodeID, error){l.submits.driver.Quiet, l.works.driver.Quiet} {
		list, _ := quiet(ctx, pulseEvery) // a driver that has stopped waits for nobody
		for _, id := range list {
			out[id] = true
		}
	}
	return out
}
