package sandbox

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"kith/tasks"
)

const (
	sampleEvery = 50 * time.Millisecond // memory, processor and processes of a running task
	kernelSlack = 8 << 20               // what the kernel keeps for the processes of a group counts too
	memorySlack = 128 << 20             // the Go runtime takes address space in pieces of 64 MiB, and some for itself
	maxEntries  = maxFiles + maxFiles/4 // files and folders in scratch, and in output, unless Options say otherwise
	frameRate   = 200                   // progress and log frames a second that a runner may send, and at first
	frameBurst  = 4096
)

// runner is a place for the tasks of one job. Its process is replaced before a kind that wants one to itself.
type runner struct {
	engine *Process
	job    tasks.JobID
	dir    string

	mu     sync.Mutex // guards child against Close
	child  *child
	closed bool

	used bool // the process has done work
}

// Run implements Runner.
func (r *runner) Run(ctx context.Context, w Work) (Result, error) {
	reusable, err := checkWork(r.engine.opts.Kinds, &w)
	if err != nil {
		return Result{}, err
	}
	if err := ctx.Err(); err != nil {
		return Result{}, context.Cause(ctx)
	}
	c, err := r.process(ctx, r.used && !reusable)
	if err != nil {
		return Result{}, err
	}
	if err := c.limit(&w.Limits); err != nil { // what the process holds already may be over a lower limit
		if c, err = r.process(ctx, true); err == nil {
			err = c.limit(&w.Limits)
		}
		if err != nil {
			return Result{}, fmt.Errorf("set limits: %w", err)
		}
	}
	r.used = true
	r.engine.caps.begin(c, w.Op == OpRun || w.Op == OpPrepare)
	res, err := c.work(ctx, r.dir, &w)
	r.engine.caps.end(c)
	if !reusable {
		c.kill(ErrClosed)
		c.gone(killLimit)
	}
	return res, err
}

// process returns the runner's process: a new one if fresh is set.
func (r *runner) process(ctx context.Context, fresh bool) (*child, error) {
	r.mu.Lock()
	c, closed := r.child, r.closed
	r.mu.Unlock()
	if closed {
		return nil, ErrClosed
	}
	if !fresh {
		return c, nil
	}
	c.kill(ErrClosed)
	c.gone(killLimit)
	c, err := r.engine.confined(ctx, r.dir)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		c.kill(ErrClosed)
		return nil, ErrClosed
	}
	r.child, r.used = c, false
	return c, nil
}

// Alive implements Runner.
func (r *runner) Alive() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.closed && !r.child.dead()
}

// Close implements Runner.
func (r *runner) Close() error {
	r.mu.Lock()
	r.closed = true
	c := r.child
	r.mu.Unlock()
	c.kill(ErrClosed)
	if !c.gone(killLimit) {
		return fmt.Errorf("runner process %d cannot be killed", c.pid())
	}
	return nil
}

// checkWork refuses work that no engine could do and says whether all its kinds share processes.
func checkWork(kinds tasks.Registry, w *Work) (reusable bool, err error) {
	l := &w.Limits
	if l.WallMillis <= 0 || l.CPUMillis <= 0 || l.MemoryBytes <= 0 || l.ScratchBytes <= 0 || l.OutputBytes <= 0 || l.LogBytes <= 0 || l.Processes <= 0 {
		return false, fmt.Errorf("sandbox: limits must all be set: %+v", *l)
	}
	if w.Inline < 0 || (w.Inline == 0 && w.OutDir == "") {
		return false, errors.New("sandbox: work has no place for its output")
	}
	switch w.Op {
	case OpSplit:
		if len(w.In) != 1 {
			return false, errors.New("sandbox: a split has one input")
		}
		return true, nil
	case opProbe, opExact:
		return true, nil
	case OpRun, OpMerge, OpCompare, OpPrepare:
	default:
		return false, fmt.Errorf("sandbox: unknown operation %.20q", w.Op)
	}
	if len(w.Steps) == 0 {
		return false, errors.New("sandbox: no steps to run")
	}
	reusable = true
	for i := range w.Steps {
		k, err := kinds.Kind(w.Steps[i].Kind)
		if err != nil {
			return false, err
		}
		reusable = reusable && k.Describe().Reusable
	}
	return reusable, nil
}

// work sends w to the process and waits for the end of it.
func (c *child) work(ctx context.Context, dir string, w *Work) (Result, error) {
	seen, err := translate(w, dir, c.root)
	if err != nil {
		return Result{}, err
	}
	if c.dead() {
		return Result{}, c.ended(errors.New("the runner has ended"))
	}
	began := time.Now()
	watch := c.watch(ctx, w, began)
	log := logbook{left: w.Limits.LogBytes}
	res, rep, err := c.talk(w, &seen, &log, began)
	peak, spent := watch.stop()
	if err != nil {
		err = c.ended(err)
		return Result{Log: log.lines, WallMillis: time.Since(began).Milliseconds(), CPUMillis: spent.Milliseconds(), PeakMemory: peak}, err
	}
	res.Log = log.lines
	res.WallMillis = time.Since(began).Milliseconds()
	res.CPUMillis = rep.cpuMicros / 1000
	res.PeakMemory = peak
	if rep.code != "" {
		return res, tasks.Reason{Code: rep.code, Detail: cut(rep.detail, 250)}
	}
	if res.OnDisk {
		if _, _, err := measure(w.OutDir, w.Limits.OutputBytes, c.entries, tasks.OutputLimit, true); err != nil {
			return Result{Log: res.Log}, err
		}
	}
	return res, nil
}

// talk is the dialogue itself. Every error means that the process is of no further use.
func (c *child) talk(w, seen *Work, log *logbook, began time.Time) (Result, *report, error) {
	if err := c.conn.write(frameWork, func(b []byte) []byte { return putWork(b, seen) }); err != nil {
		return Result{}, nil, err
	}
	most := maxResultFrame(w)
	for frames := int64(0); ; frames++ {
		if frames > frameBurst+w.Limits.LogBytes && frames > frameBurst+w.Limits.LogBytes+int64(time.Since(began)/time.Second)*frameRate {
			return Result{}, nil, fmt.Errorf("%w: too many messages", errFrame)
		}
		kind, body, err := c.conn.read(most)
		if err != nil {
			return Result{}, nil, err
		}
		switch kind {
		case frameLog:
			log.add(string(body))
		case frameProgress:
			f := fields{b: body}
			done, total := f.int(), f.int()
			if err := f.end(); err != nil {
				return Result{}, nil, err
			}
			if w.Progress != nil {
				w.Progress(done, total)
			}
		case frameResult:
			rep, err := parseReport(body, w.Inline)
			if err != nil {
				return Result{}, nil, err
			}
			if rep.onDisk && w.OutDir == "" {
				return Result{}, nil, fmt.Errorf("%w: output on disk without a folder", errFrame)
			}
			if rep.onDisk {
				rep.inline = nil
			}
			return Result{Inline: rep.inline, OnDisk: rep.onDisk}, &rep, nil
		default:
			return Result{}, nil, fmt.Errorf("%w: frame %d", errFrame, kind)
		}
	}
}

// watch kills the process when the work passes a limit or its context ends.
type watch struct {
	c    *child
	w    *Work
	quit func() bool

	mu      sync.Mutex
	clock   clock
	timer   *time.Timer
	stopped bool
	peak    int64
	cpu     time.Duration // of the tree when first sampled
	spent   time.Duration // since then, when last sampled
	sampled bool
	next    time.Time // when it is sampled again
	files   *files    // nil: the work has no folders
}

func (c *child) watch(ctx context.Context, w *Work, began time.Time) *watch {
	t := &watch{c: c, w: w, clock: clock{at: began, held: c.stood() + c.lost()}, next: began.Add(sampleEvery)}
	if w.Scratch != "" || w.OutDir != "" {
		t.files = newFiles(w, c.entries, began)
	}
	t.quit = func() bool { return true }
	if ctx.Done() != nil {
		t.quit = context.AfterFunc(ctx, func() { t.kill(context.Cause(ctx)) })
	}
	t.mu.Lock()
	t.timer = time.AfterFunc(t.wait(began), t.tick)
	t.mu.Unlock()
	return t
}

func millis(n int64) time.Duration {
	return time.Duration(min(n, int64(time.Hour/time.Millisecond)*24*365)) * time.Millisecond
}

// kill does nothing once the work has ended: the process may already serve the next.
func (t *watch) kill(why error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.stopped {
		t.stopped = true
		t.c.kill(why)
	}
}

func (t *watch) stop() (peak int64, spent time.Duration) {
	t.quit()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stopped = true
	t.timer.Stop()
	return t.peak, t.spent
}

func (t *watch) tick() {
	why := t.check()
	if why != nil {
		t.freeze()
		t.kill(why)
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.stopped {
		t.timer.Reset(t.wait(time.Now()))
	}
}

// wait is how long nothing needs to be looked at.
func (t *watch) wait(now time.Time) time.Duration {
	wait := min(t.next.Sub(now), t.clock.left(t.w.Limits.WallMillis))
	if t.files != nil {
		wait = min(wait, t.files.every)
	}
	return max(time.Millisecond, wait)
}

// freeze stops what is to be killed where it is, and sees what it holds in the end.
func (t *watch) freeze() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stopped || t.c.dead() {
		return
	}
	t.c.tree.freeze(t.c.pid())
	if u, ok := t.c.tree.usage(t.c.pid(), t.w.Limits.Processes); ok {
		t.peak = max(t.peak, u.memory-t.c.base.memory)
	}
}

func (t *watch) check() error {
	l := &t.w.Limits
	t.mu.Lock()
	t.clock.tick(time.Now(), t.c.stood()+t.c.lost())
	err := t.clock.over(l.WallMillis)
	t.mu.Unlock()
	if err != nil {
		return err
	}
	if t.files != nil {
		if err := t.files.check(time.Now(), func() int64 { return t.c.tree.nameless(t.c.pid()) }); err != nil {
			return err
		}
	}
	if time.Until(t.next) > 0 {
		return nil
	}
	t.next = time.Now().Add(sampleEvery)
	u, ok := t.c.tree.usage(t.c.pid(), l.Processes)
	if ok {
		used := max(0, u.memory-t.c.base.memory)
		t.mu.Lock()
		if !t.sampled {
			t.sampled, t.cpu = true, u.cpu
		}
		cpu := u.cpu - t.cpu
		t.peak, t.spent = max(t.peak, used), cpu
		t.mu.Unlock()
		switch {
		case used > l.MemoryBytes && t.w.Op != opExact:
			return tasks.Because(tasks.MemoryLimit, "%d of %d bytes", used, l.MemoryBytes)
		case cpu > millis(l.CPUMillis):
			return tasks.Because(tasks.TimeLimit, "%d ms of processor time", l.CPUMillis)
		case u.tasks > l.Processes, t.c.group != nil && t.c.group.OverProcesses():
			return tasks.Because(tasks.TaskFailed, "more than %d processes and threads", l.Processes)
		}
	}
	return nil
}
