// Package execute does, on this machine, everything about a task that is not talk: it lays a job's input out as parts,
// brings a task's inputs from blocks to files, runs its steps in the job's sandbox, takes the output back into blocks,
// and digests, gathers and merges outputs. Workers use Run and Digest, submitters the rest.
//
// Small tasks never touch the file system: inputs go to the runner inline, outputs come back inline, and the blocks of
// an output small enough to travel in a message are handed to the caller instead of to the store.
package execute

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"

	"kith/storage"
	"kith/storage/dag"
	"kith/tasks"
	"kith/tasks/sandbox"
)

// Options are the parts an Executor is made of. Engine, Blobs, Kinds and Scratch are required.
type Options struct {
	Engine sandbox.Engine // stays the caller's to close
	Blobs  storage.Blobs
	Kinds  tasks.Registry
	// Scratch is a folder of this executor's own. What an earlier run left in it is wiped.
	Scratch string
	// MaxInput bounds the files of one task's inputs together, in bytes, when they are on disk or hashed: a small DAG
	// can stand for endless files. 0: 64 GiB.
	MaxInput int64
	// MaxIdle is how many runners may wait for their job's next task, over all jobs. 0: twice the processors, at least 8.
	MaxIdle int
	// Prepared is a folder of this executor's own for what kinds make once, for this machine, of the files that their
	// inputs carry along; it outlives the executor. Empty: nothing is made. PreparedBytes bounds it; 0: 512 MiB.
	Prepared      string
	PreparedBytes int64
	Disk          Disk         // of Scratch and Prepared; nil: no limits
	Logger        *slog.Logger // nil: slog.Default
}

// Disk holds what the executor reads and writes in its scratch folder to the limits of the drive. A governor.Device is
// one.
type Disk interface {
	Reader(ctx context.Context, r io.Reader) io.Reader
	Writer(ctx context.Context, w io.Writer) io.Writer
	// File waits until one more file may be open; done is called once.
	File(ctx context.Context) (done func(), err error)
}

// free is a disk without limits.
type free struct{}

func (free) Reader(_ context.Context, r io.Reader) io.Reader { return r }
func (free) Writer(_ context.Context, w io.Writer) io.Writer { return w }
func (free) File(context.Context) (func(), error)            { return func() {}, nil }

// Sizes.
const (
	inlineInput     = 256 << 10 // input files of one task that travel inline, together
	inlineOutput    = 256 << 10 // output files that come back inline, together
	inlineFiles     = 1024      // in one inline input
	defaultMaxInput = 64 << 30
)

// ErrInput: what is to be run on is not fit for it: too large, or with names that cannot be files here.
var ErrInput = errors.New("input cannot be used")

// Executor runs work on this machine. It is safe for concurrent use: as many runners exist as calls are in progress,
// and up to MaxIdle more.
type Executor struct {
	o    Options
	log  *slog.Logger
	pool pool
	made prepared

	salvaged []Checkpoint
}

// New returns an executor. Close it when no call is in progress any more.
func New(o Options) (*Executor, error) {
	if o.Engine == nil || o.Blobs == nil || o.Kinds == nil || o.Scratch == "" {
		return nil, errors.New("execute: Engine, Blobs, Kinds and Scratch are required")
	}
	if o.MaxInput <= 0 {
		o.MaxInput = defaultMaxInput
	}
	if o.MaxIdle <= 0 {
		o.MaxIdle = max(8, 2*runtime.GOMAXPROCS(0))
	}
	o.Logger = cmp.Or(o.Logger, slog.Default())
	if o.Disk == nil {
		o.Disk = free{}
	}
	scratch, err := filepath.Abs(o.Scratch) // runners work in folders of their own
	if err != nil {
		return nil, fmt.Errorf("scratch folder: %w", err)
	}
	o.Scratch = scratch
	if err := os.MkdirAll(o.Scratch, 0o700); err != nil {
		return nil, fmt.Errorf("scratch folder: %w", err)
	}
	e := &Executor{o: o, log: o.Logger}
	if err := e.made.open(&e.o); err != nil {
		return nil, err
	}
	e.pool = pool{engine: o.Engine, root: o.Scratch, most: o.MaxIdle, busy: map[*slot]bool{}}
	return e, e.wipe(true)
}

// wipe removes what a crash left behind, but for checkpoints if they are wanted.
func (e *Executor) wipe(salvage bool) error {
	left, err := os.ReadDir(e.o.Scratch)
	if err != nil {
		return fmt.Errorf("scratch folder: %w", err)
	}
	for _, d := range left {
		slot := strings.HasPrefix(d.Name(), slotPrefix)
		if slot || strings.HasPrefix(d.Name(), sandbox.ProbePrefix) { // nothing but our own: the setting may be wrong
			if slot && salvage {
				e.salvage(filepath.Join(e.o.Scratch, d.Name()))
			}
			if err := sandbox.Wipe(filepath.Join(e.o.Scratch, d.Name())); err != nil {
				return fmt.Errorf("wipe scratch folder: %w", err)
			}
		}
	}
	return nil
}

// Close ends all runners and wipes the scratch folder.
func (e *Executor) Close() error {
	return errors.Join(e.pool.close(), e.wipe(false))
}

// Release ends the runners of a job: those in use when their task is done.
func (e *Executor) Release(job tasks.JobID) { e.pool.release(job) }

// Clear ends the runners that wait for their job's next task and removes their folders. Those in use go when their task
// ends: after the engine's Kill, at once.
func (e *Executor) Clear() { e.pool.clear() }

// Output is what a run left behind.
type Output struct {
	Root  dag.CID
	Bytes int64 // of the output's files together
	// Blocks is the whole DAG if all of it fits a message; then none of it is in the store. If nil, all of it is.
	Blocks     []storage.Block
	Log        []string
	WallMillis int64
	CPUMillis  int64
	// Checkpoint is, of a run that was ended before its time, the folder from which RunFrom can go on, in the store;
	// undefined: there is none.
	Checkpoint      dag.CID
	CheckpointBytes int64
}

// Run does one assignment. Its inputs must be in the store. An error that is a tasks.Reason says why the task failed;
// the output then still carries the log. progress may be nil; it is called from one goroutine at a time.
func (e *Executor) Run(ctx context.Context, a tasks.Assignment, progress func(done, total int64)) (Output, error) {
	return e.run(ctx, a, &keeper{}, progress)
}

func (e *Executor) run(ctx context.Context, a tasks.Assignment, k *keeper, progress func(done, total int64)) (Output, error) {
	limits, err := e.limits(a.Limits, a.Steps)
	if err != nil {
		return Output{}, err
	}
	w := sandbox.Work{
		Op: sandbox.OpRun, Steps: a.Steps, Seed: a.Seed, Stage: a.Stage, Index: a.Index, Parts: a.Parts, Ranges: a.Ranges,
		Limits: limits, Progress: progress,
	}
	return e.perform(ctx, a.Job, w, a.Inputs, a.Keys, keep, k)
}

// Where the blocks of a small output go.
type destination bool

const (
	keep  destination = false // to the caller
	store destination = true  // to the store
)

// perform materialises inputs, runs w in a runner of the job, and imports what it wrote.
func (e *Executor) perform(ctx context.Context, job tasks.JobID, w sandbox.Work, inputs []dag.CID, keys [][]byte, to destination, k *keeper) (Output, error) {
	s, err := e.pool.acquire(ctx, job)
	if err != nil {
		return Output{}, err
	}
	defer e.pool.put(s)
	if w.In, err = e.materialise(ctx, s, inputs, keys); err != nil {
		return Output{}, err
	}
	w.Inline, w.OutDir, w.Scratch = inlineOutput, s.out(), s.tmp()
	if w.Op == sandbox.OpRun && len(inputs) > 0 && (len(keys) == 0 || len(keys[0]) == 0) { // what is sealed leaves no trace
		w.Prepared = e.prepare(ctx, s, &w, inputs[0])
	}
	if err := k.begin(ctx, e, s); err != nil {
		return Output{}, fmt.Errorf("checkpoint: %w", err)
	}
	res, err := s.runner.Run(ctx, w)
	out := Output{Log: res.Log, WallMillis: res.WallMillis, CPUMillis: res.CPUMillis}
	s.dirty = s.dirty || res.OnDisk || err != nil
	out.Checkpoint, out.CheckpointBytes = k.end(ctx, e, s, err)
	if err != nil {
		return out, err
	}
	if res.OnDisk {
		t, err := dag.AddTree(ctx, e.o.Blobs, s.out(), dag.Options{Wrap: func(r io.Reader) io.Reader { return e.o.Disk.Reader(ctx, r) }})
		if err != nil {
			return out, fmt.Errorf("import output: %w", err)
		}
		out.Root, out.Bytes = t.Root, t.Size
		return out, nil
	}
	return e.importInline(ctx, out, res.Inline, to)
}

// limits fills what a spec left open with what the kinds of the steps declare, which run one after another.
func (e *Executor) limits(l tasks.Limits, steps []tasks.Step) (tasks.Limits, error) {
	var d tasks.Limits
	for i := range steps {
		k, err := e.o.Kinds.Kind(steps[i].Kind)
		if err != nil {
			return l, err
		}
		of := k.Describe().Limits
		d.WallMillis += of.WallMillis
		d.CPUMillis += of.CPUMillis
		d.MemoryBytes = max(d.MemoryBytes, of.MemoryBytes)
		d.ScratchBytes += of.ScratchBytes
		d.OutputBytes = max(d.OutputBytes, of.OutputBytes)
		d.LogBytes = max(d.LogBytes, of.LogBytes)
		d.VRAMBytes = max(d.VRAMBytes, of.VRAMBytes)
		d.Processes = max(d.Processes, of.Processes)
	}
	return tasks.Limits{
		WallMillis:   cmp.Or(l.WallMillis, d.WallMillis, 60_000),
		CPUMillis:    cmp.Or(l.CPUMillis, d.CPUMillis, 60_000),
		MemoryBytes:  cmp.Or(l.MemoryBytes, d.MemoryBytes, 512<<20),
		ScratchBytes: cmp.Or(l.ScratchBytes, d.ScratchBytes, 1<<30),
		OutputBytes:  cmp.Or(l.OutputBytes, d.OutputBytes, 512<<20),
		LogBytes:     cmp.Or(l.LogBytes, d.LogBytes, 64<<10),
		VRAMBytes:    cmp.Or(l.VRAMBytes, d.VRAMBytes),
		Processes:    cmp.Or(l.Processes, d.Processes, 256),
	}, nil
}

// pool keeps runners warm for the next task of their job.
type pool struct {
	engine sandbox.Engine
	root   string
	most   int // idle ones

	mu     sync.Mutex
	closed bool
	next   int
	idle   []*slot // least recently used first
	busy   map[*slot]bool
}

const slotPrefix = "runner-"

// slot is a runner and its folder.
type slot struct {
	job     tasks.JobID
	runner  sandbox.Runner
	dir     string
	dirty   bool // something may lie in its folders
	release bool // the job is over; guarded by the pool
	// prepared is the key of what lies in the folder of that name, as long as the slot lives.
	prepared string
}

func (s *slot) out() string { return filepath.Join(s.dir, sandbox.OutDir) }
func (s *slot) tmp() string { return filepath.Join(s.dir, sandbox.TmpDir) }
func (s *slot) in() string  { return filepath.Join(s.dir, sandbox.InDir) }

// acquire returns a runner of the job, warm if there is one.
func (p *pool) acquire(ctx context.Context, job tasks.JobID) (*slot, error) {
	for {
		p.mu.Lock()
		if p.closed {
			p.mu.Unlock()
			return nil, sandbox.ErrClosed
		}
		var s *slot
		for i := len(p.idle) - 1; i >= 0; i-- {
			if p.idle[i].job == job {
				s = p.idle[i]
				p.idle = append(p.idle[:i], p.idle[i+1:]...)
				p.busy[s] = true
				break
			}
		}
		p.mu.Unlock()
		if s == nil {
			return p.open(ctx, job)
		}
		if s.runner.Alive() {
			return s, nil
		}
		p.discard(s)
	}
}

// open starts a runner that has never done any work.
func (p *pool) open(ctx context.Context, job tasks.JobID) (*slot, error) {
	p.mu.Lock()
	p.next++
	dir := filepath.Join(p.root, slotPrefix+strconv.Itoa(p.next))
	p.mu.Unlock()
	s := &slot{job: job, dir: dir}
	if err := errors.Join(os.Mkdir(dir, 0o700), os.Mkdir(s.in(), 0o700), os.Mkdir(s.out(), 0o700), os.Mkdir(s.tmp(), 0o700)); err != nil {
		return nil, fmt.Errorf("scratch folder: %w", err)
	}
	var err error
	if s.runner, err = p.engine.Open(ctx, job, dir); err != nil {
		_ = sandbox.Wipe(dir)
		return nil, fmt.Errorf("open sandbox: %w", err)
	}
	p.mu.Lock()
	p.busy[s] = true
	p.mu.Unlock()
	return s, nil
}

// put gives a runner back after its task.
func (p *pool) put(s *slot) {
	if !s.runner.Alive() || s.clean() != nil {
		p.discard(s)
		return
	}
	p.mu.Lock()
	delete(p.busy, s)
	over := s
	if !s.release && !p.closed {
		over = nil
		if p.idle = append(p.idle, s); len(p.idle) > p.most {
			over = p.idle[0]
			p.idle = append(p.idle[:0], p.idle[1:]...)
		}
	}
	p.mu.Unlock()
	if over != nil {
		p.discard(over)
	}
}

// clean empties the folders for the next task. It looks before it deletes: most tasks leave nothing.
func (s *slot) clean() error {
	if !s.dirty {
		if bare, err := sandbox.Bare(s.tmp()); err != nil || bare {
			return err
		}
	}
	s.dirty = false
	for _, dir := range [...]string{s.out(), s.tmp()} {
		if err := sandbox.Empty(dir); err != nil { // the runner holds on to the folder itself
			return err
		}
	}
	inputs, err := os.ReadDir(s.in())
	if err != nil {
		return err
	}
	for _, d := range inputs {
		if s.prepared != "" && d.Name() == preparedDir {
			continue
		}
		if err := sandbox.Wipe(filepath.Join(s.in(), d.Name())); err != nil {
			return err
		}
	}
	return nil
}

// discard ends a runner and removes its folder.
func (p *pool) discard(s *slot) {
	_ = s.runner.Close() // a process that does not die is reported by the engine
	_ = sandbox.Wipe(s.dir)
	p.mu.Lock()
	delete(p.busy, s)
	p.mu.Unlock()
}

func (p *pool) release(job tasks.JobID) {
	p.mu.Lock()
	for s := range p.busy {
		if s.job == job {
			s.release = true
		}
	}
	var over []*slot
	kept := p.idle[:0]
	for _, s := range p.idle {
		if s.job == job {
			over = append(over, s)
		} else {
			kept = append(kept, s)
		}
	}
	clear(p.idle[len(kept):])
	p.idle = kept
	p.mu.Unlock()
	p.discardAll(over)
}

func (p *pool) clear() {
	p.mu.Lock()
	over := p.idle
	p.idle = nil
	p.mu.Unlock()
	p.discardAll(over)
}

func (p *pool) discardAll(over []*slot) {
	var wg sync.WaitGroup
	for _, s := range over {
		wg.Go(func() { p.discard(s) })
	}
	wg.Wait()
}

func (p *pool) close() error {
	p.mu.Lock()
	p.closed = true
	over := p.idle
	p.idle = nil
	busy := len(p.busy)
	p.mu.Unlock()
	p.discardAll(over)
	if busy > 0 {
		return fmt.Errorf("execute: closed while %d tasks run", busy)
	}
	return nil
}
