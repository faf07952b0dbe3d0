package node

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"kith/node/api"
	"kith/p2p"
	"kith/p2p/host"
	"kith/tasks"
)

// Status implements api.Observer.
func (n *Node) Status() api.Status {
	cfg := n.settings.Get()
	s := api.Status{
		Node: n.self.Node(), Network: cfg.Network, Version: Version, Platform: runtime.GOOS + "/" + runtime.GOARCH, Home: n.o.Home,
		Started: n.started.UnixMilli(), UptimeMillis: time.Since(n.started).Milliseconds(), Addresses: []string{},
		Reachability: string(p2p.ReachUnknown), Owner: n.ownerState(), Meters: n.meters.read(), Health: []api.Problem{},
		Work: api.Work{Slots: cfg.Work.Slots, Running: []api.Running{}, Why: []api.Reason{}},
	}
	s.Peer = host.PeerText(p2p.ID(s.Node))
	s.Meters.DiskQuotaBytes = int64(cfg.Storage.Quota)
	s.Meters.VRAMTotal = n.vram.Load()
	for _, p := range n.health.Active() {
		s.Health = append(s.Health, api.Problem{
			Code: p.Code, Severity: string(p.Severity), Title: p.Title, Text: p.Text, Remedy: p.Remedy, Since: p.Since.UnixMilli(),
		})
	}
	s.Grade = n.grader.brief()
	l := n.live.Load()
	if l == nil {
		return s
	}
	s.Ready = n.api.Ready() // a little after live: until then calls are refused
	s.Network = l.cfg.Network
	s.Addresses = append(s.Addresses, l.network.host.Addrs()...)
	s.Reachability = string(l.network.host.Reachability())
	s.Region = string(l.network.place.Region)
	s.Peers = len(l.network.host.Peers())
	s.Depot = n.depotState(l)
	s.Sandbox = sandboxOf(l.runners)
	s.Work = l.works.show(n.owner.Blocked())
	return s
}

func sandboxOf(r *runners) api.Sandbox {
	return api.Sandbox{Engine: r.engine.Name(), Grade: r.engine.Grade(), Words: r.report.Promise()}
}

// Peers implements api.Observer.
func (n *Node) Peers() []api.Peer {
	l := n.live.Load()
	if l == nil {
		return nil
	}
	workers, _ := l.submits.driver.Sessions(context.Background()) // none while the node stops
	roles := l.works.roles(workers)
	region := map[tasks.NodeID]string{}
	for _, w := range workers {
		region[w.Worker] = w.Region
	}
	var out []api.Peer
	for _, p := range l.network.host.Peers() {
		id := tasks.NodeID(p.ID)
		peer := api.Peer{
			Node: id, Peer: host.PeerText(p.ID), Address: p.Remote, Direct: !p.Relayed, Transport: p.Transport, Inbound: p.Direction == p2p.Inbound,
			RTTMillis: float64(p.RTT.Microseconds()) / 1000, Region: region[id], Agent: p.Agent, Since: p.Since.UnixMilli(), Roles: []string{},
		}
		peer.Roles = append(peer.Roles, roles[id]...)
		if l.network.registry.isDepot(p.ID) {
			peer.Roles = append(peer.Roles, "holds blocks for others")
		}
		out = append(out, peer)
	}
	return out
}

// Why implements api.Observer.
func (n *Node) Why() api.Why {
	w := api.Why{Reasons: []api.Reason{}, Submitters: []api.Answer{}, Idle: true}
	l := n.live.Load()
	if l == nil {
		w.Summary = "The node is still starting."
		return w
	}
	st, err := l.works.driver.Status(context.Background())
	if err != nil {
		w.Summary = "The node is stopping."
		return w
	}
	for _, s := range st.Sessions {
		a := api.Answer{Node: s.Submitter, At: s.Since}
		if s.Why != nil {
			r := api.NewReason(*s.Why)
			a.Reason = &r
		}
		w.Submitters = append(w.Submitters, a)
	}
	if len(st.Running) > 0 {
		w.Idle = false
		w.Summary = fmt.Sprintf("This node is at work: %d of %d slots.", len(st.Running), st.Slots)
		return w
	}
	w.Reasons = l.works.why(&st, n.owner.Blocked())
	w.Summary = "No node near here has offered work yet."
	if len(w.Reasons) > 0 {
		w.Summary = strings.ToUpper(w.Reasons[0].Words[:1]) + w.Reasons[0].Words[1:] + "."
	}
	return w
}

const watchEvery = 5 * time.Second

// watch looks for lasting problems until ctx ends.
func (n *Node) watch(ctx context.Context) error {
	l := n.live.Load()
	if kib, ok := udpBuffer(); ok {
		n.health.When(kib < 2500 && l.cfg.Listen.Transports != "tcp", smallBuffers, kib)
	}
	clock := newClockWatch()
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		cfg := n.settings.Get()
		used := n.meters.space().UsedPercent()
		n.health.When(used >= n.space.diskStop(&cfg), diskFull, used)
		n.health.When(used >= cfg.Storage.DiskAlert && used < cfg.Storage.DiskStop, diskFilling, used, cfg.Storage.DiskStop)
		n.watchDrives()
		n.watchSpace(&cfg)
		b := l.network.bootstrap.State()
		n.health.When(b.Peers == 0 && b.Tries > 1, noBootstrap, cmp.Or(b.Text, "No other node is connected."))
		if jump := clock.jump(); jump.Abs() > 5*time.Minute {
			n.health.Set(clockWrong, jump.Round(time.Second))
			n.log.Warn("The clock jumped", slog.Duration("by", jump))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// clockWatch notices when the wall clock and the steady clock part.
type clockWatch struct{ wall, steady time.Time }

func newClockWatch() clockWatch { now := time.Now(); return clockWatch{now.Round(0), now} }

// jump is how far the wall clock has moved on its own since the start.
func (c clockWatch) jump() time.Duration {
	now := time.Now()
	return now.Round(0).Sub(c.wall) - now.Sub(c.steady)
}

// udpBuffer reads how large a UDP buffer a program may ask for, in KiB, where the system says.
func udpBuffer() (int, bool) {
	data, err := os.ReadFile("/proc/sys/net/core/rmem_max")
	if err != nil {
		return 0, false
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(data)))
	return n >> 10, err == nil
}
