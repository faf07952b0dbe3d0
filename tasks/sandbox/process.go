package sandbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"time"

	"kith/tasks"
	"kith/tasks/sandbox/cgroup"
)

// ErrClosed: the engine or runner was closed.
var ErrClosed = errors.New("sandbox is closed")

// Options say how a process engine starts its runners. Exe and Kinds are required.
type Options struct {
	Exe  string   // the program that calls Main: usually this one, os.Executable()
	Args []string // what makes it call Main, for example "runner"
	Env  []string // further environment; runners see nothing of the parent's own
	// Kinds are the kinds of work the runners know. The parent asks them only for their descriptions.
	Kinds tasks.Registry
	// Spares is how many unused runners are kept ready, so that a new job waits for no process start; 0 means 1,
	// negative means none.
	Spares int
	// Procs is how many threads a runner may compute on at once (GOMAXPROCS); 0 means 2: the kind's own and one for the
	// garbage collector.
	Procs int
	// Entries is how many files and folders a task may have in its scratch, and in its output; 0 means 81,920.
	Entries int
	// Without names layers to do without even where they are available: for tests of what holds then. See Layers.
	Without Layers
	Logger  *slog.Logger // nil: slog.Default
}

// Timings of the engine.
const (
	startLimit  = 20 * time.Second // from start to the runner's greeting
	enterLimit  = 2 * time.Second  // for a runner to confine itself, which takes milliseconds; the next has twice as long
	enterTries  = 4
	killLimit   = 10 * time.Second       // after that a process that will not die is given up and reported; one that waits for a disk dies late
	refillAfter = 100 * time.Millisecond // new spares wait until the work just begun has had its start
	retryAfter  = 10 * time.Second       // after a spare failed to start
)

// Process is the engine whose runners are child processes: a cleaned environment, no inherited files, limits on time,
// processor, memory, scratch, output, log and processes, and a whole tree that dies together, also when this process
// is killed. On Linux a runner also confines itself, before any work, with all of the Layers that the kernel offers; it
// needs neither root nor any installed program for that. What holds is found out by SelfTest.
//
// The engine starts its goroutines with the first call of Warm or Open and ends them in Close.
type Process struct {
	opts Options
	log  *slog.Logger

	mu      sync.Mutex
	closed  bool
	plain   bool   // namespaces were tried and are not to be had
	cannot  Layers // were tried and are not to be had
	why     []string
	groups  *cgroup.Tree
	host    *cgroup.Group      // where the starter's thread is; its own, but for Close
	grade   tasks.SandboxGrade // proven by SelfTest
	live    map[*child]bool
	spares  []*child
	pending int           // spares being started
	starts  chan func()   // to the starter; nil before the first start
	ended   chan struct{} // closed when the starter has ended
	refill  *time.Timer

	starting sync.WaitGroup // starts in progress
	caps     capper
	scans    scans
}

var _ Engine = (*Process)(nil)

// NewProcess returns an engine. It starts nothing yet.
func NewProcess(o Options) (*Process, error) {
	if o.Exe == "" || o.Kinds == nil {
		return nil, errors.New("sandbox: Options.Exe and Options.Kinds are required")
	}
	if o.Spares == 0 {
		o.Spares = 1
	}
	if o.Procs <= 0 {
		o.Procs = 2
	}
	if o.Entries <= 0 {
		o.Entries = maxEntries
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return &Process{opts: o, log: o.Logger, plain: o.Without&offered&atStart&^(LayerRoot|LayerContainer) != 0 || !canIsolate, cannot: o.Without, grade: tasks.GradeProcess, live: map[*child]bool{}, caps: capper{log: o.Logger}}, nil
}

// Name implements Engine.
func (e *Process) Name() string { return "process" }

// Grade implements Engine. It is tasks.GradeProcess until SelfTest has proven more.
func (e *Process) Grade() tasks.SandboxGrade {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.grade
}

// Isolated reports whether runners have namespaces of their own: no network and no view of other processes. It is a
// guess until the first runner has started.
func (e *Process) Isolated() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return !e.plain && offered&LayerNamespaces != 0
}

// Layers returns what holds runners, as far as is known: all that was not found missing when the last one was opened.
func (e *Process) Layers() Layers {
	e.mu.Lock()
	defer e.mu.Unlock()
	l := offered &^ e.cannot
	if e.plain {
		l &^= atStart
	}
	return l
}

// Warm starts the spare runners in the background.
func (e *Process) Warm() { e.refillSoon(0) }

// Open implements Engine. It takes a spare runner, or starts one, and confines it.
func (e *Process) Open(ctx context.Context, job tasks.JobID, dir string) (Runner, error) {
	c, err := e.confined(ctx, dir)
	if err != nil {
		return nil, err
	}
	return &runner{engine: e, job: job, dir: dir, child: c}, nil
}

// confined returns a runner process that never did any work and is held by every layer there is.
func (e *Process) confined(ctx context.Context, dir string) (*child, error) {
	limit := enterLimit
	for {
		c, err := e.take(ctx)
		if err != nil {
			return nil, err
		}
		if err := c.tree.admit(dir); err != nil {
			c.kill(ErrClosed)
			if has, _ := c.tree.holds(); has&LayerContainer != 0 {
				err = e.lacks(LayerContainer, 0, err.Error())
			} else {
				err = e.plainFrom(err)
			}
			if err != nil {
				return nil, fmt.Errorf("let the runner into its folders: %w", err)
			}
			continue
		}
		if !canConfine {
			return c, nil
		}
		e.mu.Lock()
		want := offered &^ e.cannot
		if e.plain && offered&LayerToken != 0 {
			want &^= atStart
		}
		e.mu.Unlock()
		if !c.tree.isolated() {
			want &^= LayerNamespaces | LayerRoot
		}
		why, err := e.enter(ctx, c, dir, want, limit)
		if errors.Is(err, errEntry) && limit < enterLimit<<(enterTries-1) {
			limit *= 2
			e.log.Warn("A runner hung as it confined itself; another takes its place", slog.Duration("limit", limit))
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("confine runner: %w", err)
		}
		missing := want &^ c.layers
		if missing == LayerCaps {
			why = "no control group"
		}
		if _, err := c.tree.holds(); err != nil && missing == LayerContainer {
			why = err.Error()
		}
		if missing == 0 {
			return c, nil
		}
		if err := e.lacks(missing, c.layers, why); err != nil {
			c.kill(ErrClosed)
			return nil, err
		}
		if missing&whole == 0 {
			return c, nil
		}
		c.kill(ErrClosed) // its root may be half made, its folders shut to it; the next will not try
	}
}

var errEntry = errors.New("the runner did not confine itself in time")

// enter has a runner confine itself within a limit. Go's way to make a system call on all threads, which this takes, can
// spin for ever on a busy machine; nothing of a task is in the runner by then, and another one can take its place.
func (e *Process) enter(ctx context.Context, c *child, dir string, want Layers, limit time.Duration) (why string, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errEntry)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { c.kill(context.Cause(ctx)) })
	defer stop()
	return c.enter(dir, want)
}

// plainFrom has runners started plain from now on, if they are not yet, because of err.
func (e *Process) plainFrom(err error) error {
	e.mu.Lock()
	was := e.plain
	e.plain = true
	e.mu.Unlock()
	if was {
		return err
	}
	return e.lacks(offered&atStart, 0, err.Error())
}

// lacks notes layers that cannot be had. What was proven once must not be missing later.
func (e *Process) lacks(missing, have Layers, why string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.grade > have.grade() {
		return fmt.Errorf("runner is held by less than the engine's grade promises: %s", why)
	}
	if missing&^e.cannot != 0 {
		e.cannot |= missing
		e.why = append(e.why, missing.String()+": "+why)
		e.log.Warn("runners do without a part of their confinement", "missing", missing.String(), "reason", why)
	}
	return nil
}

// take returns a runner process that never did any work.
func (e *Process) take(ctx context.Context) (*child, error) {
	defer e.refillSoon(refillAfter)
	e.mu.Lock()
	for len(e.spares) > 0 {
		c := e.spares[len(e.spares)-1]
		e.spares = e.spares[:len(e.spares)-1]
		if !c.dead() {
			e.mu.Unlock()
			return c, nil
		}
	}
	e.mu.Unlock()
	return e.start(ctx)
}

// start starts one runner on the thread kept for that and waits for its greeting.
func (e *Process) start(ctx context.Context) (*child, error) {
	type started struct {
		c   *child
		err error
	}
	got := make(chan started, 1)
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		return nil, ErrClosed
	}
	if e.starts == nil {
		e.starts, e.ended = make(chan func()), make(chan struct{})
		go e.starter(e.starts)
	}
	e.starting.Add(1)
	e.mu.Unlock()
	defer e.starting.Done()
	ctx, cancel := context.WithTimeoutCause(ctx, startLimit, fmt.Errorf("no greeting within %v", startLimit))
	defer cancel()
	e.starts <- func() {
		c, err := e.spawn()
		got <- started{c, err}
	}
	s := <-got
	if s.err != nil {
		return nil, fmt.Errorf("start runner: %w", s.err)
	}
	stop := context.AfterFunc(ctx, func() { s.c.kill(context.Cause(ctx)) })
	defer stop()
	if err := s.c.greet(); err != nil {
		has, _ := s.c.tree.holds()
		if has&LayerContainer == 0 || ctx.Err() != nil || errors.Is(err, ErrClosed) || errors.Is(err, errKilled) || e.lacks(LayerContainer, 0, err.Error()) != nil {
			return nil, fmt.Errorf("start runner: %w", err)
		}
		return e.start(ctx)
	}
	return s.c, nil
}

// starter owns the operating-system thread that all runners are children of: the kernel kills them when that thread
// ends, and threads of ordinary goroutines may end at any time.
func (e *Process) starter(starts <-chan func()) {
	defer close(e.ended)
	runtime.LockOSThread()
	var groups *cgroup.Tree
	e.mu.Lock()
	capped := e.cannot&LayerCaps == 0
	e.mu.Unlock()
	noGroups := "exact caps: not wanted"
	if capped {
		var err error
		if groups, err = cgroup.Open(); err != nil {
			noGroups = err.Error()
			e.log.Info("limits are kept by sampling", "reason", err)
		}
	}
	e.mu.Lock()
	if e.groups = groups; groups == nil {
		e.cannot |= LayerCaps
		e.why = append(e.why, noGroups)
	}
	e.mu.Unlock()
	if groups != nil {
		e.caps.join(groups)
	}
	for {
		if groups != nil && e.host == nil {
			e.host = hostIn(groups)
		}
		start, ok := <-starts
		if !ok {
			break
		}
		start()
	}
}

// hostIn moves the calling thread into a new group, in which the next process will start. Where that cannot be, processes
// are moved themselves.
func hostIn(groups *cgroup.Tree) *cgroup.Group {
	g, err := groups.New()
	if err != nil {
		return nil
	}
	if g.Host() != nil {
		_ = g.Close()
		return nil
	}
	return g
}

// spawn starts a process; called on the starter's thread.
func (e *Process) spawn() (*child, error) {
	e.mu.Lock()
	plain, closed, groups, without := e.plain, e.closed, e.groups, e.cannot&LayerContainer
	e.mu.Unlock()
	if closed {
		return nil, ErrClosed
	}
	c, err := startChild(&e.opts, plain, without, groups, e.host, &e.scans)
	if refused := err; err != nil && !plain {
		// Namespaces are refused in many ways (a sysctl, a policy, a full table): what counts is whether it works without.
		if c, err = startChild(&e.opts, true, without, groups, e.host, &e.scans); err == nil {
			e.mu.Lock()
			e.plain = true
			e.why = append(e.why, fmt.Sprintf("%s: %v", offered&atStart, refused))
			e.mu.Unlock()
			e.log.Warn("Runners start without what should hold them from their first moment", slog.String("missing", (offered&atStart).String()), slog.Any("reason", refused))
		}
	}
	if err != nil {
		return nil, err
	}
	e.host, c.lost = nil, e.caps.lost
	e.mu.Lock()
	e.live[c] = true
	closed = e.closed
	e.mu.Unlock()
	c.wait(func() {
		e.mu.Lock()
		delete(e.live, c)
		e.mu.Unlock()
	})
	if closed {
		c.kill(ErrClosed)
	}
	return c, nil
}

// refillSoon starts the missing spares after a while, in the background.
func (e *Process) refillSoon(after time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed || e.opts.Spares < 0 {
		return
	}
	if e.refill == nil {
		e.refill = time.AfterFunc(after, e.refillNow)
	} else {
		e.refill.Reset(after)
	}
}

func (e *Process) refillNow() {
	for {
		e.mu.Lock()
		if e.closed || len(e.spares)+e.pending >= e.opts.Spares {
			e.mu.Unlock()
			return
		}
		e.pending++
		e.mu.Unlock()
		c, err := e.start(context.Background())
		e.mu.Lock()
		e.pending--
		switch {
		case err == nil && e.closed:
			c.kill(ErrClosed)
		case err == nil:
			e.spares = append(e.spares, c)
		}
		e.mu.Unlock()
		if err != nil {
			if !errors.Is(err, ErrClosed) && !errors.Is(err, errKilled) {
				e.log.Warn("a spare runner did not start", "error", err)
			}
			e.refillSoon(retryAfter)
			return
		}
	}
}

var errKilled = tasks.Because(tasks.Killed, "")

// Kill implements Engine.
func (e *Process) Kill() { e.killAll(errKilled) }

func (e *Process) killAll(why error) {
	e.mu.Lock()
	all := make([]*child, 0, len(e.live))
	for c := range e.live {
		all = append(all, c)
	}
	e.spares = nil
	e.mu.Unlock()
	var wg sync.WaitGroup
	for _, c := range all {
		wg.Go(func() {
			c.kill(why)
			if !c.gone(killLimit) {
				e.log.Error("a runner process cannot be killed", "pid", c.pid())
			}
		})
	}
	wg.Wait()
}

// Close implements Engine.
func (e *Process) Close() error {
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		return nil
	}
	e.closed = true
	if e.refill != nil {
		e.refill.Stop()
	}
	starts := e.starts
	e.mu.Unlock()
	e.killAll(ErrClosed)
	e.starting.Wait() // what was being started sees closed, or dies at birth
	e.killAll(ErrClosed)
	e.caps.close()
	if starts != nil {
		close(starts)
		<-e.ended
		if e.host != nil { // which the starter's thread leaves by ending
			_ = e.host.Close()
		}
		if e.groups != nil {
			_ = e.groups.Close() // left empty it is removed at the next start
		}
	}
	return nil
}
