package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"reflect"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/thejerf/suture/v4"

	"kith/bench/gpu"
	"kith/node/api"
	"kith/node/artifact"
	"kith/node/config"
	"kith/node/drives"
	"kith/node/grading"
	"kith/node/health"
	"kith/node/identity"
	"kith/node/lock"
	"kith/node/meter"
	"kith/node/owner"
	"kith/tasks"
	"kith/tasks/kinds"
	"kith/tasks/sandbox"
)

// Options are what a node is started with.
type Options struct {
	Home      string            // data folder; made if need be
	Page      fs.FS             // the local page: index.html and what it needs
	Overrides map[string]string // settings of this run alone, by key
	SyncDelay time.Duration     // added to every sync of the logs, to see how a slower disk would do
	Logger    *slog.Logger
	Level     *slog.LevelVar // of Logger; follows the setting log.level. It may be nil

	without sandbox.Layers // that runners do without, in tests of what other machines are
}

// Node is one running node. Make it with New, run it once with Serve, or give it up with Close.
type Node struct {
	o        Options
	log      *slog.Logger
	started  time.Time
	kinds    tasks.Registry
	settings *config.Store
	self     identity.Identity
	health   *health.Tracker
	owner    *owner.Owner
	drives   *drives.Keeper
	space    *space
	api      *api.Server
	meters   *meters
	grader   *grader
	orders   atomic.Pointer[orders]         // what follows from the settings
	readings atomic.Pointer[owner.Readings] // of the last look
	account  statement
	vram     atomic.Int64 // bytes that this computer has
	cards    func(ctx context.Context, exe string, args []string) ([]gpu.Card, error)
	closing  closing
	idle     bool // opened by FreeOffline: no part runs

	live atomic.Pointer[live] // nil until everything is open
}

// live is what Serve opens.
type live struct {
	cfg     config.Config // as it was at the start
	stores  *stores
	runners *runners
	network *network
	depot   *artifact.Depot
	depots  *depots
	submits *submitting
	works   *working
	gives   *giving
	notices *notices
}

// New opens what is quick: the data folder and its lock, settings, identity, the owner's switch and the local API,
// which answers as soon as Serve runs. On an empty machine it makes all of them.
func New(o Options) (_ *Node, err error) {
	n := &Node{o: o, log: o.Logger, started: time.Now(), kinds: kinds.All(), cards: grading.Cards, closing: closing{log: o.Logger}}
	defer func() {
		if err != nil {
			_ = n.closing.run()
		}
	}()
	if err := makeHome(o.Home); err != nil {
		return nil, err
	}
	held, err := lock.Take(o.Home)
	if err != nil {
		return nil, err
	}
	n.closing.add("lock", held.Close)
	if n.settings, err = config.Open(o.Home); err != nil {
		return nil, err
	}
	cfg, err := n.config()
	if err != nil {
		return nil, err
	}
	n.meters = newMeters(o.Home)
	n.settings.Bound(n.machine())
	n.follow(cfg)
	if n.self, _, err = identity.Open(o.Home); err != nil {
		return nil, err
	}
	n.health = health.NewTracker(o.Logger)
	if n.drives, err = drives.Open(o.Home, drives.Options{Logger: o.Logger}); err != nil {
		return nil, err
	}
	n.closing.add("drives", n.drives.Close)
	if n.space, err = openSpace(o.Home); err != nil {
		return nil, err
	}
	n.owner, err = owner.Open(o.Home, n.limits, n.meters.space)
	if errors.Is(err, owner.ErrDamaged) {
		n.health.Set(switchDamaged, err)
	} else if err != nil {
		return nil, err
	}
	if n.api, err = api.Listen(o.Home, cfg.API.Ports, n, o.Page, o.Logger); err != nil {
		return nil, err
	}
	n.health.When(n.api.Moved(), portMoved, n.api.Access().URL)
	n.grader = n.openGrader()
	return n, nil
}

// Serve runs the node until ctx ends or something breaks that no restart can mend. Everything is closed when it returns.
// An end by ctx is no error.
func (n *Node) Serve(ctx context.Context) (err error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	sup := suture.New("kith", suture.Spec{
		EventHook: n.supervised, PassThroughPanics: true, Timeout: partsTimeout,
		FailureBackoff: time.Second, FailureThreshold: 5, FailureDecay: 30,
	})
	sup.Add(fatal("local API", n.api.Serve, stop)) // first: the page answers while the rest opens
	ended := sup.ServeBackground(ctx)
	defer func() {
		stop(nil)
		<-ended
		err = errors.Join(err, n.closing.run())
	}()

	l, err := n.open(ctx)
	if err != nil {
		if errors.Is(context.Cause(ctx), context.Canceled) { // stopped before it had begun
			return nil
		}
		return err
	}
	n.live.Store(l)
	l.notices.shun()
	for _, p := range n.parts(l, stop) {
		sup.Add(p)
	}
	n.api.Attach(api.Ports{Jobs: l.submits, Submitter: l.submits, Results: l.submits, Records: n, Judge: n, Catalogue: n, Switch: n, Notices: n, Grader: n.grader, Drives: driveOps{n.drives, n.o.Home}, Space: n, Settings: n.settings})
	n.log.Info("Node is ready", slog.Any("node", n.self), slog.Duration("took", time.Since(n.started)))
	debug.FreeOSMemory() // opening needs more than running

	<-ctx.Done()
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}

// open opens everything that takes time, in the order in which one needs the other, until ctx ends.
func (n *Node) open(ctx context.Context) (*live, error) {
	cfg, err := n.config()
	if err != nil {
		return nil, err
	}
	l := &live{cfg: cfg}
	if l.stores, err = n.openStores(); err != nil {
		return nil, err
	}
	if l.runners, err = n.openRunners(ctx, l); err != nil {
		return nil, err
	}
	if err := context.Cause(ctx); err != nil { // the network is the last that takes long
		return nil, err
	}
	if l.network, err = n.openNetwork(l); err != nil {
		return nil, err
	}
	if l.depot, err = n.openDepot(l); err != nil {
		return nil, err
	}
	l.depots = newDepots(n, l)
	l.submits = n.openSubmitting(l)
	l.works = n.openWorking(l)
	l.gives = n.openGiving(l)
	if l.notices, err = n.openNotices(l); err != nil {
		return nil, err
	}
	// A true cycle: the network serves the drivers, which call through it. Nothing is served before both exist.
	return l, errors.Join(l.network.serve(l), n.serveArtifacts(l))
}

// parts lists everything that runs until the end. The drivers recover their state when they start and can do so only
// once, so their failure ends the node.
func (n *Node) parts(l *live, stop context.CancelCauseFunc) []suture.Service {
	list := []suture.Service{
		part("settings", n.settings.Serve),
		part("meters", n.meters.Serve),
		part("watch", n.watch),
		part("drives", n.drives.Serve),
		part("network", l.network.host.Serve),
		part("directory", l.network.dht.Serve),
		part("bootstrap", l.network.bootstrap.Serve),
		part("advert", l.network.advert.Serve),
		part("announcer", n.newAnnouncer(l).Serve),
		part("registry", l.network.registry.Serve),
		part("depot", l.depot.Serve),
		part("depots of others", l.depots.Serve),
		fatal("submitting side", n.served("the log of jobs and of trust", submitDir, l.submits.driver.Serve), stop),
		fatal("working side", l.works.run, stop),
		part("owner's word", l.gives.serve),
		part("stewards' word", l.notices.Serve),
		part("facts", l.submits.keepFacts),
		part("collector", n.collect),
		part("uptime", n.grader.serveLife),
		part("grader", n.grader.Serve),
		part("liveness", newLiveness(n.log, l.network.host, n.waitingFor, l.submits.driver.Unheard).Serve),
	}
	if l.network.discovery != nil {
		list = append(list, part("local network", l.network.discovery.Serve))
	}
	return list
}

// Close gives up a node that was made and never served.
func (n *Node) Close() error { return n.closing.run() }

// API is how to call the local API.
func (n *Node) API() *api.Server { return n.api }

// Self is who this node is.
func (n *Node) Self() tasks.NodeID { return n.self.Node() }

// config returns the settings in effect, with those of this run on top.
func (n *Node) config() (config.Config, error) {
	c := n.settings.Raw()
	for key, value := range n.o.Overrides {
		if err := c.SetText(key, value); err != nil {
			return config.Config{}, err
		}
	}
	if err := c.Validate(); err != nil {
		return config.Config{}, err
	}
	return c.Filled(), nil
}

// follow brings live settings into effect, now and whenever they change.
func (n *Node) follow(now config.Config) {
	level := func(c config.Config) {
		if n.o.Level != nil {
			_ = n.o.Level.UnmarshalText([]byte(c.Log.Level)) // validated
		}
	}
	level(now)
	n.order(now)
	n.settings.Subscribe(func(before, now config.Config) {
		level(now)
		n.order(now)
		l := n.live.Load()
		if l == nil {
			return
		}
		l.gives.bring()
		if !reflect.DeepEqual(before.Work, now.Work) {
			l.works.allow(now.Work.Slots)
		}
	})
}

// service is a part as the supervisor sees it.
type service struct {
	name  string
	serve func(context.Context) error
	stop  context.CancelCauseFunc // nil: the part is restarted when it fails
}

// part is restarted with growing pauses when it fails.
func part(name string, serve func(context.Context) error) suture.Service {
	return &service{name: name, serve: serve}
}

// fatal ends the node when it fails.
func fatal(name string, serve func(context.Context) error, stop context.CancelCauseFunc) suture.Service {
	return &service{name, serve, stop}
}

// String names the part in the supervisor's log.
func (s *service) String() string { return s.name }

// Serve implements suture.Service. A network timeout inside a part is a context error to errors.Is, which suture would
// take for an order to stop: such errors lose that meaning unless it is our own context that ended.
func (s *service) Serve(ctx context.Context) error {
	err := s.serve(ctx)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err == nil {
		err = errors.New("ended by itself")
	}
	if s.stop != nil {
		s.stop(fmt.Errorf("%s: %w", s.name, err))
		return suture.ErrDoNotRestart
	}
	return fmt.Errorf("%s: %v", s.name, err) //nolint:errorlint // see above
}

// supervised logs what the supervisor does.
func (n *Node) supervised(e suture.Event) {
	switch e.Type() {
	case suture.EventTypeResume:
	case suture.EventTypeServiceTerminate:
		n.log.Warn("A part of the node ended and is started again", slog.Any("event", e.Map()))
	default:
		n.log.Warn("A part of the node gives trouble", slog.Any("event", e.Map()))
	}
}

// meterDisk reads the disk of the data folder for the owner's guard.
func meterDisk(home string) owner.Disk {
	d, err := meter.DiskOf(home)
	if err != nil {
		return owner.Disk{}
	}
	return owner.Disk{Free: d.Free, Total: d.Total}
}
