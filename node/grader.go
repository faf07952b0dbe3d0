package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"kith/bench"
	"kith/bench/numeric"
	"kith/node/api"
	"kith/node/grading"
	"kith/node/owner"
	"kith/tasks"
	"kith/tasks/kinds"
)

// Causes that end a measurement.
var (
	errStopped = errors.New("the owner stopped everything")
	errNeeded  = errors.New("this computer is needed")
)

const (
	gradeLook  = time.Minute            // between two looks whether to measure
	gradeWatch = 250 * time.Millisecond // between two looks whether this computer is needed, while it is measured by itself
	gradeRetry = time.Hour              // after a measurement that failed
)

// grader measures this machine when it is idle, or when its owner says so, and tells what came of it. It is safe for
// concurrent use.
type grader struct {
	node *Node
	log  *slog.Logger
	life *grading.Life // nil: the log of runs cannot be written

	// sleeping tells whether nobody needs this computer: no task, no job, no user. Tests replace it.
	sleeping func() bool
	// busy tells whether other programs keep this computer busy. Tests replace it.
	busy func() bool
	// measure is grading.Measure. Tests replace it.
	measure func(context.Context, grading.Options, grading.Request, func(grading.Progress)) (bench.Profile, error)

	mu          sync.Mutex
	now, before *bench.Profile
	due         string
	cancel      context.CancelCauseFunc // of the measurement that runs; nil: none
	floats      []string                // equivalence classes of the kinds whose results hold floats
	floatsOf    string                  // the kernels they were made of
}

// openGrader reads what was measured before. Nothing about it can keep a node from starting.
func (n *Node) openGrader() *grader {
	g := &grader{node: n, log: n.log, measure: grading.Measure, busy: grading.Busy}
	g.sleeping = g.nobodyHere
	var err error
	if g.now, g.before, err = grading.Load(n.o.Home); err != nil {
		n.log.Warn("The last measurement of this computer cannot be read; it will be measured again", slog.Any("error", err))
	}
	life, err := grading.OpenLife(n.o.Home)
	if err != nil {
		n.log.Warn("The log of runs is damaged or cannot be written", slog.Any("error", err))
	}
	if life != nil {
		g.life = life
		n.closing.add("log of runs", life.Close)
	}
	return g
}

func (g *grader) serveLife(ctx context.Context) error {
	if g.life == nil {
		<-ctx.Done()
		return ctx.Err()
	}
	return g.life.Serve(ctx)
}

// weights are the owner's, or the hub's if it published some to this node's settings.
func (g *grader) weights() bench.Weights {
	w, err := bench.ParseWeights(g.node.settings.Get().Grade.Weights)
	if err != nil { // validated
		return bench.DefaultWeights()
	}
	return w
}

// profile is what is known now, with the log of runs as it stands.
func (g *grader) profile() (now, before *bench.Profile) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.now == nil || g.life == nil {
		return g.now, g.before
	}
	fresh := *g.now
	fresh.Devices = slices.Clone(g.now.Devices)
	fresh.Replace([]bench.Part{bench.Uptime}, []bench.Device{g.life.Device()})
	return &fresh, g.before
}

// Grade implements api.Grader.
func (g *grader) Grade() grading.Report {
	now, before := g.profile()
	r := grading.NewReport(now, before, g.weights())
	g.mu.Lock()
	r.Running, r.Due = g.cancel != nil, g.due
	g.mu.Unlock()
	FillClasses(r.Classes)
	return r
}

// FillClasses adds to each row of the table of classes the kinds of work that need this class.
func FillClasses(rows []bench.ClassRow) {
	all := kinds.All()
	for i := range rows {
		rows[i].Kinds = []string{}
		for _, name := range all.Names() {
			if k, err := all.Kind(name); err == nil && string(k.Describe().Needs.Class) == string(rows[i].Class) && !strings.HasPrefix(name, "test.") {
				rows[i].Kinds = append(rows[i].Kinds, name)
			}
		}
	}
}

// brief is the grade for the status.
func (g *grader) brief() api.Grade {
	r := g.Grade()
	b := api.Grade{Grade: r.Grade, Running: r.Running}
	if r.Profile != nil {
		b.At = r.Profile.At
	}
	return b
}

// advertise returns what other nodes are told: device class, grade band, and the equivalence classes of floats.
func (g *grader) advertise() (tasks.DeviceClass, int, []string) {
	now, _ := g.profile()
	if now == nil {
		return tasks.CPU, 0, nil
	}
	grade := bench.Judge(now, g.weights())
	return tasks.DeviceClass(grade.Class), grade.Band, g.equivalence(now.Kernels)
}

// equivalence composes the class of each kind whose results hold floats, "kind:class". It runs the kinds' fingerprints
// once for each set of kernels.
func (g *grader) equivalence(kernels string) []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.floatsOf == kernels {
		return g.floats
	}
	g.floats, g.floatsOf = nil, kernels
	for _, name := range g.node.kinds.Names() {
		k, err := g.node.kinds.Kind(name)
		if err != nil || k.Describe().Comparison != tasks.Numeric {
			continue
		}
		fingerprint := ""
		if f, ok := k.(tasks.Fingerprinter); ok {
			fingerprint = f.Fingerprint()
		}
		if c := numeric.Class(kernels, name, k.Describe().Version, fingerprint, Version); c != "" {
			g.floats = append(g.floats, name+":"+c)
		}
	}
	return g.floats
}

// Bench implements api.Grader.
func (g *grader) Bench(ctx context.Context, r grading.Request, progress func(grading.Progress)) (grading.Report, error) {
	if s, _ := g.node.owner.State(); s == owner.Killed {
		return grading.Report{}, tasks.Because(tasks.Killed, "nothing is measured until kith resume")
	}
	if err := g.run(ctx, r, progress); err != nil {
		return grading.Report{}, err
	}
	return g.Grade(), nil
}

// run measures once. Two never run at a time: they would measure each other.
func (g *grader) run(ctx context.Context, r grading.Request, progress func(grading.Progress)) error {
	r, err := r.Check()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	g.mu.Lock()
	if g.cancel != nil {
		g.mu.Unlock()
		return api.Refuse(api.CodeConflict, "wait until it is done", "this computer is being measured already")
	}
	g.cancel = cancel
	g.mu.Unlock()
	defer func() {
		g.mu.Lock()
		g.cancel = nil
		g.mu.Unlock()
	}()
	exe, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program's own file: %w", err)
	}
	o := grading.Options{Exe: exe, Args: []string{ProbeArg}, Program: Version, Dir: g.node.o.Home, Studied: g.node.drives.Measured}
	if p := g.node.settings.Get().Grade.Python; p != "" {
		o.Python = []string{p}
	}
	if g.life != nil {
		o.Uptime = g.life.Device
	}
	if l := g.node.live.Load(); l != nil {
		o.Network = l.network.measure
	}
	p, err := g.measure(ctx, o, r, progress)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
			return api.Refuse(api.CodeInterrupted, "try again later", "the measurement was ended: %s", cause)
		}
		return err
	}
	now, before, err := grading.Keep(g.node.o.Home, p, r.Parts)
	if now != nil {
		g.mu.Lock()
		g.now, g.before, g.due = now, before, ""
		g.mu.Unlock()
	}
	if err != nil {
		return err
	}
	report := g.Grade()
	g.log.Info("This computer was measured", slog.Float64("score", report.Grade.Score), slog.Int("band", report.Grade.Band),
		slog.String("class", string(report.Grade.Class)), slog.String("ungraded", report.Grade.Ungraded))
	if l := g.node.live.Load(); l != nil {
		l.network.graded(report.Grade.Class)
	}
	return nil
}

// interrupt ends the measurement that runs, if one does.
func (g *grader) interrupt(cause error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.cancel != nil {
		g.cancel(cause)
	}
}

// Serve measures this machine by itself when that is due and nobody has needed it for a while, until ctx ends.
func (g *grader) Serve(ctx context.Context) error {
	hardware := grading.Hardware(ctx)
	idleSince, notBefore := time.Now(), time.Time{}
	tick := time.NewTicker(gradeLook)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		if !g.sleeping() {
			idleSince = time.Now()
		}
		cfg := g.node.settings.Get().Grade
		if !g.consider(cfg.Auto.Bool(), hardware, time.Duration(cfg.Days)*24*time.Hour) ||
			time.Since(idleSince) < time.Duration(cfg.Idle)*time.Minute || time.Now().Before(notBefore) || g.busy() {
			continue
		}
		if err := g.quietly(ctx); err != nil && ctx.Err() == nil {
			g.log.Info("Measuring this computer was put off", slog.Any("error", err))
			idleSince = time.Now()
			if !errors.Is(err, errNeeded) {
				notBefore = time.Now().Add(gradeRetry)
			}
		}
	}
}

// consider notes why this machine should be measured anew and tells whether it should be.
func (g *grader) consider(auto bool, hardware string, every time.Duration) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.due = grading.Due(g.now, hardware, every, time.Now())
	return auto && g.due != ""
}

// quietly measures everything and gives up as soon as somebody needs this computer.
func (g *grader) quietly(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var watch sync.WaitGroup
	watch.Go(func() {
		tick := time.NewTicker(gradeWatch)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				if !g.sleeping() {
					cancel(errNeeded)
				}
			}
		}
	})
	err := g.run(ctx, grading.Request{Mode: bench.Full}, nil)
	if errors.Is(context.Cause(ctx), errNeeded) {
		err = errNeeded
	}
	cancel(nil)
	watch.Wait()
	return err
}

// nobodyHere tells whether this computer does nothing for others or itself through Kith, and nothing speaks against giving
// all of it: neither its owner nor a sensor, such as somebody at the keyboard, heat or a battery.
func (g *grader) nobodyHere() bool {
	l := g.node.live.Load()
	if l == nil || g.node.owner.Verdict().Level != owner.Full || len(l.submits.Imports()) > 0 {
		return false
	}
	if st, err := l.works.driver.Status(context.Background()); err != nil || len(st.Running) > 0 {
		return false
	}
	return !slices.ContainsFunc(l.submits.Jobs(), func(j api.Job) bool { return j.Finished == 0 })
}
