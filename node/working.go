package node

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"kith/node/api"
	"kith/node/owner"
	"kith/p2p"
	"kith/tasks"
	"kith/tasks/submit"
	"kith/tasks/wire"
	"kith/tasks/work"
)

// working is what this node does for others.
type working struct {
	node    *Node
	live    *live
	driver  *work.Driver
	network string
}

// killLimit bounds how long a switch waits for the driver; the engine kills by itself.
const killLimit = 2 * time.Second

func (n *Node) openWorking(l *live) *working {
	w := &working{node: n, live: l, network: l.cfg.Network}
	w.driver = work.New(work.Options{
		Network: l.cfg.Network, Key: n.self.Key(), Kinds: n.kinds, Blobs: l.stores.blobs, Log: l.stores.work, Book: l.stores.earned,
		Executor: l.runners.executor, Fetcher: l.network, Depots: l.depots, Dialer: l.network,
		Fits: n.fits, Admit: n.owner.Admit, Turn: n.turn, Capability: l.network.advert.Record, Allowed: n.owner.Allowed, Sandbox: l.runners.engine.Grade, Audience: l.network.topics.Audience,
		Load: n.foreign,
		Weight: func(submitter tasks.NodeID, kind string) int {
			return weight(n.settings.Get().Work.Weights, submitter, kind)
		},
		Slots: l.cfg.Work.Slots, Logger: n.log,
	})
	return w
}

// foreign is the share of the processors that other programs used when the sensors last looked, per mille; 0 if they
// cannot tell.
func (n *Node) foreign() int {
	if r := n.readings.Load(); r != nil && r.Foreign.Known {
		return int(1000 * r.Foreign.Value)
	}
	return 0
}

// hear considers an offer that a topic has accepted.
func (w *working) hear(data []byte) {
	o, err := wire.OpenOffer(w.network, time.Now().UnixMilli(), data)
	if err != nil || o.Submitter == w.node.self.Node() || w.live.notices.isRevoked(o.Submitter) {
		return
	}
	w.driver.HandleOffer(o, w.rtt(o.Submitter))
}

// invited considers an offer that its submitter handed to this node alone.
func (w *working) invited(ctx context.Context, o wire.Offer) *tasks.Reason {
	if w.live.notices.isRevoked(o.Submitter) {
		return &tasks.Reason{Code: tasks.Banned}
	}
	return w.driver.Invite(ctx, o, w.rtt(o.Submitter))
}

// rtt is how far a connected node is, 0 if that is not known.
func (w *working) rtt(id tasks.NodeID) time.Duration {
	p, _ := w.live.network.host.Peer(p2p.ID(id))
	return p.RTT
}

// run runs the driver. What the owner allows is brought to it by giving.
func (w *working) run(ctx context.Context) error { return w.driver.Serve(ctx) }

// allow tells the driver, and through it every submitter, what the owner's settings allow now.
func (w *working) allow(slots int) {
	ctx, cancel := context.WithTimeout(context.Background(), killLimit)
	defer cancel()
	if err := w.driver.Allow(ctx, slots); err != nil && !errors.Is(err, work.ErrStopped) {
		w.node.log.Warn("The working side did not hear the new settings in time", slog.Any("error", err))
	}
}

// follow tells the driver how far the owner gives way.
func (w *working) follow(v owner.Verdict) {
	ctx, cancel := context.WithTimeout(context.Background(), killLimit)
	defer cancel()
	var err error
	switch {
	case v.Level == owner.Ended:
		err = w.driver.Kill(ctx)
	case v.Level == owner.Halted:
		err = w.driver.Pause(ctx, v.Why[0].Reason())
	default:
		err = w.driver.Resume(ctx)
	}
	if err != nil && !errors.Is(err, work.ErrStopped) {
		w.node.log.Warn("The working side did not hear the owner's word in time", slog.Any("error", err))
	}
}

// show describes the work for the status.
func (w *working) show(blocked *tasks.Reason) api.Work {
	out := api.Work{Slots: w.node.limits().Slots, Running: []api.Running{}, Why: []api.Reason{}}
	st, err := w.driver.Status(context.Background())
	if err != nil {
		return out
	}
	out.Slots = st.Slots
	for _, r := range st.Running {
		out.Running = append(out.Running, api.Running{
			Lease: r.Lease, Job: r.Job, Submitter: r.Submitter, Kinds: r.Kinds, State: string(r.State), Done: r.Done, Total: r.Total, Since: r.Since,
		})
	}
	for _, s := range st.Sessions {
		if s.Connected {
			out.Sessions++
		}
	}
	out.Done, out.Accepted = st.Done, st.Done
	if len(out.Running) == 0 {
		out.Why = w.why(&st, blocked)
	}
	return out
}

// why lists the reasons for having no work, the owner's own first.
func (w *working) why(st *work.Status, blocked *tasks.Reason) []api.Reason {
	out := []api.Reason{}
	if blocked != nil {
		return append(out, api.NewReason(*blocked))
	}
	if len(w.live.network.host.Peers()) == 0 {
		return append(out, api.NewReason(tasks.Because(tasks.NoPeers, "")))
	}
	for _, s := range st.Sessions {
		if s.Why != nil {
			r := *s.Why
			if r.Detail == "" {
				r.Detail = "says " + s.Submitter.Short()
			}
			out = append(out, api.NewReason(r))
		}
	}
	if len(out) > 0 {
		return out
	}
	for _, nw := range st.NoWork {
		out = append(out, api.NewReason(nw.Reason))
		if len(out) == 3 {
			break
		}
	}
	return out
}

// roles says what a peer is to this node.
func (w *working) roles(workers []submit.Session) map[tasks.NodeID][]string {
	out := map[tasks.NodeID][]string{}
	for _, s := range workers {
		out[s.Worker] = append(out[s.Worker], "works for us")
	}
	if st, err := w.driver.Status(context.Background()); err == nil {
		for _, s := range st.Sessions {
			if s.Connected {
				out[s.Submitter] = append(out[s.Submitter], "we work for it")
			}
		}
	}
	return out
}
