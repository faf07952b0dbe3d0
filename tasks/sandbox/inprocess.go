package sandbox

import (
	"context"
	"sync"
	"time"

	"kith/tasks"
)

// InProcess is an engine that runs kinds in the caller's goroutine: for simulations and tests of things above the
// sandbox. It confines nothing (its grade is tasks.GradeNone): time limits only reach kinds that heed their context,
// and memory and processor time are not limited at all. It uses no clock but package time, so that it may live in a
// testing/synctest bubble, and starts no goroutine of its own.
func InProcess(kinds tasks.Registry) Engine {
	return &inProcess{kinds: kinds, live: map[*inRunner]bool{}}
}

type inProcess struct {
	kinds  tasks.Registry
	mu     sync.Mutex
	closed bool
	live   map[*inRunner]bool
}

func (e *inProcess) Name() string              { return "in-process" }
func (e *inProcess) Grade() tasks.SandboxGrade { return tasks.GradeNone }

func (e *inProcess) Open(ctx context.Context, _ tasks.JobID, _ string) (Runner, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil, ErrClosed
	}
	r := &inRunner{engine: e}
	r.ctx, r.cancel = context.WithCancelCause(context.Background())
	e.live[r] = true
	return r, nil
}

func (e *inProcess) Kill() { e.end(errKilled) }

func (e *inProcess) end(why error) {
	e.mu.Lock()
	live := e.live
	e.live = map[*inRunner]bool{}
	e.mu.Unlock()
	for r := range live {
		r.cancel(why)
		r.busy.Lock()
		r.busy.Unlock() //lint:ignore SA2001 having held it says that the runner's Run has returned
	}
}

func (e *inProcess) Close() error {
	e.mu.Lock()
	e.closed = true
	e.mu.Unlock()
	e.end(ErrClosed)
	return nil
}

type inRunner struct {
	engine *inProcess
	ctx    context.Context // ends when the runner is closed or killed
	cancel context.CancelCauseFunc
	busy   sync.Mutex // held while Run runs
}

func (r *inRunner) Alive() bool { return r.ctx.Err() == nil }

func (r *inRunner) Close() error {
	r.cancel(ErrClosed)
	r.engine.mu.Lock()
	delete(r.engine.live, r)
	r.engine.mu.Unlock()
	return nil
}

func (r *inRunner) Run(ctx context.Context, w Work) (Result, error) {
	r.busy.Lock()
	defer r.busy.Unlock()
	if r.ctx.Err() != nil {
		return Result{}, context.Cause(r.ctx)
	}
	if ctx.Err() != nil {
		return Result{}, context.Cause(ctx)
	}
	if _, err := checkWork(r.engine.kinds, &w); err != nil {
		return Result{}, err
	}
	outer := ctx
	ctx, cancel := context.WithTimeoutCause(ctx, millis(w.Limits.WallMillis), tasks.Because(tasks.TimeLimit, "%d ms", w.Limits.WallMillis))
	defer cancel()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	defer context.AfterFunc(r.ctx, func() { stop(context.Cause(r.ctx)) })()

	var mu sync.Mutex // a kind may log from several goroutines
	log := logbook{left: w.Limits.LogBytes}
	began := time.Now()
	rep := perform(ctx, r.engine.kinds, &w,
		func(line string) {
			mu.Lock()
			defer mu.Unlock()
			log.add(line)
		},
		func(done, total int64) {
			if w.Progress != nil && done >= 0 && total >= 0 {
				mu.Lock()
				defer mu.Unlock()
				w.Progress(done, total)
			}
		})
	mu.Lock()
	res := Result{Inline: rep.inline, OnDisk: rep.onDisk, Log: log.lines, WallMillis: time.Since(began).Milliseconds()}
	mu.Unlock()
	if ctx.Err() != nil {
		why := context.Cause(ctx)
		if outer.Err() != nil { // like the process engine: what was cancelled is over
			r.cancel(why)
		}
		return Result{Log: res.Log, WallMillis: res.WallMillis}, why
	}
	if rep.code != "" {
		return res, tasks.Reason{Code: rep.code, Detail: cut(clean(rep.detail), 250)}
	}
	if res.OnDisk {
		if _, _, err := measure(w.OutDir, w.Limits.OutputBytes, maxEntries, tasks.OutputLimit, true); err != nil {
			return Result{Log: res.Log}, err
		}
	}
	if w.Scratch != "" {
		if _, _, err := measure(w.Scratch, w.Limits.ScratchBytes, maxEntries, tasks.ScratchLimit, false); err != nil {
			return Result{Log: res.Log}, err
		}
	}
	return res, nil
}
