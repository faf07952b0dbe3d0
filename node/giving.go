package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"kith/bench/gpu"
	"kith/node/config"
	"kith/node/meter"
	"kith/node/owner"
	"kith/node/owner/hours"
	"kith/node/owner/sensors"
	"kith/tasks"
	"kith/tasks/job"
	"kith/tasks/sandbox"
	"kith/tasks/submit"
	"kith/tasks/work"
)

// stopFile in the data folder stops everything for as long as it is there, and until the owner says resume.
const stopFile = "STOP"

// giving joins the owner's word with everything that it rules: the sandbox, the transfers, the driver.
type giving struct {
	node    *Node
	live    *live
	sensors *sensors.Set
	guard   *owner.Guard
	ready   *owner.Ready

	mu      sync.Mutex // held while a verdict is brought into effect: the last one wins
	level   owner.Level
	applied bool
	caps    sandbox.Caps // in effect
	most    int64        // bytes a second of them that the owner gives, whatever the drive
	ownBusy atomic.Bool  // own jobs are being split or merged
	jobsAt  time.Time    // when they were last asked for
}

// orders are the owner's settings in the form in which they are asked for thousands of times.
type orders struct {
	limits   owner.Limits
	priority string
	mine     map[tasks.NodeID]bool
	programs []string
	watch    config.Stop
	goal     int
}

// order renews what follows from the settings.
func (n *Node) order(c config.Config) {
	week, err := hours.Parse(c.Work.Hours)
	if err != nil {
		n.log.Error("Hours that were valid are not any more", slog.Any("error", err)) // settings are validated
	}
	m := n.machine()
	active := map[string]owner.Level{"shrink": owner.Shrunk, "pause": owner.Halted}[c.Pause.Active]
	o := &orders{priority: c.Work.Priority, mine: map[tasks.NodeID]bool{}, programs: c.Pause.Programs, watch: c.Stop, goal: c.Work.GoalHours}
	o.limits = owner.Limits{
		Donate: c.Work.Donate.Bool(), Slots: c.Work.Slots,
		Memory: atMost(int64(c.Work.Memory), m.Memory), MemoryPerTask: int64(c.Work.MemoryPerTask),
		Scratch: atMost(int64(c.Work.Scratch), m.Disk), ScratchPerTask: int64(c.Work.ScratchPerTask),
		TaskSeconds: c.Work.TaskSeconds, KindsOff: c.Work.KindsOff, DiskStop: c.Storage.DiskStop, Quota: int64(c.Storage.Quota),
		Caps: owner.Caps{
			CPU: float64(c.Work.CPU) / 100, Cores: c.Work.Cores, VRAM: min(int64(c.Work.VRAM), m.VRAM),
			IO: c.Work.IO.Bytes(), Down: c.Work.Down.Bytes(), Up: c.Work.Up.Bytes(),
		},
		InUse: owner.Caps{
			CPU: float64(c.InUse.CPU) / 100, Cores: c.InUse.Cores, Memory: int64(c.InUse.Memory), VRAM: min(int64(c.InUse.VRAM), m.VRAM),
			IO: c.InUse.IO.Bytes(), Down: c.InUse.Down.Bytes(), Up: c.InUse.Up.Bytes(),
		},
		Rules: owner.Rules{
			Active: active, IdleAfter: time.Duration(c.Pause.IdleAfter), FullScreen: c.Pause.FullScreen.Bool(), Program: len(c.Pause.Programs) > 0,
			Battery: c.Pause.Battery.Bool(), Metered: c.Pause.Metered.Bool(), Hot: float64(c.Pause.Hot), Busy: float64(c.Pause.Busy) / 100,
			DiskStop: float64(c.Storage.DiskStop) / 100, Hours: week,
		},
		HandBack: time.Duration(c.Pause.HandBack), Processors: runtime.NumCPU(),
	}
	for _, text := range c.Work.Mine {
		var id tasks.NodeID
		if id.UnmarshalText([]byte(text)) == nil {
			o.mine[id] = true
		}
	}
	n.orders.Store(o)
}

// atMost is the lesser of what was set and what there is, if that is known.
func atMost(set, has int64) int64 {
	if has > 0 {
		return min(set, has)
	}
	return set
}

// machine is what this computer has to give.
func (n *Node) machine() config.Machine {
	return config.Machine{Cores: runtime.NumCPU(), Memory: meter.Memory(), Disk: n.meters.space().Total, VRAM: n.vram.Load()}
}

// limits are the owner's caps as they stand.
func (n *Node) limits() owner.Limits {
	c := n.settings.Get()
	slots, refuse := n.diskAllows(&c)
	l := n.orders.Load().limits
	l.Refuse, l.Slots = refuse, max(min(l.Slots, slots), 1)
	l.DiskStop, l.Quota = n.space.diskStop(&c), n.space.quota(&c)
	l.Rules.DiskStop = float64(l.DiskStop) / 100
	return l
}

// openGiving makes the owner's guard. It must be the last part that opens.
func (n *Node) openGiving(l *live) *giving {
	g := &giving{node: n, live: l}
	g.sensors = sensors.New(sensors.Options{
		Programs: func() []string { return n.orders.Load().programs },
		Own:      func() time.Duration { return meter.Self() + l.runners.engine.Load().CPU },
		Disk: func() (float64, bool) {
			d := n.meters.space()
			return float64(d.UsedPercent()) / 100, d.Total > 0
		},
	})
	n.closing.add("sensors", g.sensors.Close)
	var err error
	if g.ready, err = owner.OpenReady(n.o.Home); err != nil {
		n.log.Warn("The hours of readiness begin anew", slog.Any("error", err))
	}
	n.closing.add("hours of readiness", g.ready.Close)
	g.guard = (&owner.Guard{
		Owner: n.owner, Processors: runtime.NumCPU(), Each: g.each, Apply: g.apply,
		Failed: func(err error) {
			n.log.Warn("How fast the node yields is not written down", slog.Any("error", err))
		},
		Read: func(ctx context.Context, quick bool) owner.Readings {
			r := g.sensors.Read(ctx, quick)
			n.readings.Store(&r)
			return r
		},
		Load: func() owner.Load {
			u := l.runners.engine.Load()
			return owner.Load{CPU: u.CPU, Lent: u.Lent}
		},
	}).Init()
	return g
}

// serve watches over the owner's word until ctx ends.
func (g *giving) serve(ctx context.Context) error {
	g.look(ctx)
	return g.guard.Serve(ctx)
}

// look asks once what graphics memory there is: the vendor's library may take a second.
func (g *giving) look(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	exe, err := os.Executable()
	if err != nil {
		g.node.log.Debug("No graphics memory to give", slog.Any("reason", err))
		return
	}
	cards, err := g.node.cards(ctx, exe, []string{ProbeArg})
	if err != nil {
		g.node.log.Debug("No graphics memory to give", slog.Any("reason", err))
		return
	}
	g.node.vram.Store(graphicsMemory(cards))
	g.node.order(g.node.settings.Get())
	g.node.settings.Bound(g.node.machine())
}

// graphicsMemory is what tasks can have of it: the cards' own, as far as their drivers answer. The instances of a card that
// is split stand beside it.
func graphicsMemory(cards []gpu.Card) int64 {
	var sum int64
	for _, c := range cards {
		if c.VRAM > 0 && !c.Split && !c.Shared && c.Problem == "" {
			sum += c.VRAM
		}
	}
	return sum
}

// bring brings what the owner wants now into effect, and returns when it is.
func (g *giving) bring() {
	g.apply(g.node.owner.Verdict(), false)
	g.guard.Nudge()
}

// apply brings a verdict into effect. It implements owner.Guard.
func (g *giving) apply(v owner.Verdict, halt bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if now := g.node.owner.Verdict(); now.Level > v.Level { // somebody was faster
		v = now
	}
	caps := sandbox.Caps{Memory: v.Caps.Memory, IO: v.Caps.IO, Halt: halt || v.Level >= owner.Halted}
	if v.Processors < float64(runtime.NumCPU()) {
		caps.CPU = v.Processors
	}
	caps.Drives, g.most = g.node.driveCaps(v.Caps.IO), v.Caps.IO
	g.caps = caps
	if v.Level == owner.Ended {
		g.live.runners.engine.Kill() // first, and without asking anybody
		g.node.grader.interrupt(errStopped)
	}
	g.live.runners.engine.SetCaps(caps)
	g.live.network.in.Set(v.Caps.Down)
	g.live.network.out.Set(v.Caps.Up)
	if was := g.level; !g.applied || was != v.Level {
		g.level, g.applied = v.Level, true
		g.node.log.Info("What the owner allows", slog.String("level", v.Level.String()), slog.String("because", v.Text()))
		g.live.works.follow(v)
		if v.Level == owner.Ended {
			g.live.runners.executor.Clear()
		}
	}
}

// each looks at what no sensor tells, in every round of the guard.
func (g *giving) each() {
	n := g.node
	if _, err := os.Stat(filepath.Join(n.o.Home, stopFile)); err == nil {
		if s, _ := n.owner.State(); s != owner.Killed {
			if err := n.owner.Kill(owner.ByFile, "the file "+stopFile+" is in the data folder"); err != nil {
				n.log.Error("A stop could not be written down; it holds until the next start", slog.Any("error", err))
			}
			g.bring()
		}
	}
	g.watchDrive()
	g.watchOwnJobs()
}

// watchDrive brings new limits of the drive into effect: it may have become slow, hot or faulty.
func (g *giving) watchDrive() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if drives := g.node.driveCaps(g.most); g.applied && !slices.Equal(drives, g.caps.Drives) {
		g.caps.Drives = drives
		g.live.runners.engine.SetCaps(g.caps)
	}
}

// watchOwnJobs lets the work of others wait while this node splits or merges jobs of its own, if the owner comes first.
func (g *giving) watchOwnJobs() {
	if time.Since(g.jobsAt) < time.Second {
		return
	}
	g.jobsAt = time.Now()
	g.ready.Tick(g.jobsAt, g.node.owner.Verdict().Level <= owner.Shrunk && g.node.limits().Donate)
	busy := false
	if g.node.orders.Load().priority == "mine-first" {
		jobs, err := g.live.submits.driver.Jobs(context.Background())
		busy = err == nil && slices.ContainsFunc(jobs, func(j submit.Status) bool {
			return j.Phase == job.Planning || j.Phase == job.Running && j.Tasks > 0 && j.Done == j.Tasks
		})
	}
	if g.ownBusy.Swap(busy) != busy {
		g.live.works.allow(g.node.limits().Slots)
	}
}

// fits says why a task can never run here, or nil. It implements work.Options.Fits.
func (n *Node) fits(a tasks.Assignment) *tasks.Reason {
	if l := n.live.Load(); l != nil {
		if r := l.notices.refuses(a.Job); r.Code != "" {
			return &r
		}
	}
	return n.owner.Fits(a)
}

// turn says how a submitter stands with the owner. It implements work.Options.Turn.
func (n *Node) turn(submitter tasks.NodeID) work.Turn {
	o := n.orders.Load()
	mine := o.mine[submitter]
	switch o.priority {
	case "mine-first":
		l := n.live.Load()
		if mine {
			return work.Turn{Keen: true}
		}
		return work.Turn{Rank: 1, Wait: l != nil && l.gives.ownBusy.Load()}
	case "community-first":
		if mine {
			return work.Turn{Rank: 1}
		}
	}
	return work.Turn{}
}

// clearStop takes the stop file away: the owner says that work may run again.
func (n *Node) clearStop() error {
	err := os.Remove(filepath.Join(n.o.Home, stopFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("the file %s stops this node and cannot be removed: %w", filepath.Join(n.o.Home, stopFile), err)
	}
	return nil
}
