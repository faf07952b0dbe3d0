package disk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"kith/storage"
)

// File is a test file. The one of this machine goes past the page cache.
type File interface {
	io.ReaderAt
	io.WriterAt
	Sync() error
	Close() error
}

// Options of a measurement. Dir is required.
type Options struct {
	Dir    string        // a folder on the drive that may be written to
	Budget time.Duration // all of it together, about; default 4 s
	Size   int64         // of the test file at most; default 1 GiB, and a tenth of what is free at most
	Depths []int         // queue depths; default 1, 2, 4, 8, 16, 32
	// Progress is called about four times a second with the name of the step, the share done and the requests so far.
	Progress func(step string, share float64, requests int64)
	// Open makes the test file, which is gone once it is closed, and says whether it goes past the page cache. Space
	// tells the bytes free. They are for tests; default: of this machine.
	Open  func(dir string) (f File, direct bool, err error)
	Space func(dir string) (free int64, err error)
}

// Rate is a speed at one queue depth.
type Rate struct {
	Depth      int           `json:"depth"`
	Bytes      float64       `json:"bytes"`      // a second
	Requests   float64       `json:"requests"`   // a second
	Median     time.Duration `json:"median"`     // of one request, in nanoseconds
	Slow       time.Duration `json:"slow"`       // 99 of 100 were faster
	Confidence float64       `json:"confidence"` // 1 less how far the middle half of short stretches spreads
}

// Result is what was measured. What could not be is missing, with the reason in Failed.
type Result struct {
	At         time.Time         `json:"at"`
	Took       time.Duration     `json:"took"`
	Method     string            `json:"method"`
	Direct     bool              `json:"direct"` // past the page cache; else the figures are of memory too
	Size       int64             `json:"size"`   // of the test file
	Fill       float64           `json:"fill"`   // bytes a second while the file was made
	SeqRead    []Rate            `json:"seqRead"`
	SeqWrite   []Rate            `json:"seqWrite"`
	RandRead   []Rate            `json:"randRead"`
	RandWrite  []Rate            `json:"randWrite"`
	SyncMedian time.Duration     `json:"syncMedian"`
	SyncSlow   time.Duration     `json:"syncSlow"` // 99 of 100 were faster
	Syncs      int               `json:"syncs"`
	Cliff      float64           `json:"cliff,omitempty"`   // share of the writing speed that was left at the end; 0: too little was written to tell
	CliffAt    int64             `json:"cliffAt,omitempty"` // bytes after which it fell; 0: it did not
	Verified   int64             `json:"verified"`          // bytes that were compared
	Wrong      []string          `json:"wrong,omitempty"`   // what was given back otherwise than it was written, and failed requests
	Failed     map[string]string `json:"failed,omitempty"`  // step → why it has no figure
}

// Errors of a measurement.
var (
	// ErrNoRoom: a test file does not fit.
	ErrNoRoom = errors.New("not enough free space to measure the drive")
	// ErrWrong: the drive gave back something else than was written, or failed.
	ErrWrong = errors.New("the drive lost data")
	// ErrHung: the drive does not answer.
	ErrHung = errors.New("the drive does not answer")
)

// Sizes of a test file.
const (
	smallest    = 16 << 20
	usual       = 1 << 30
	leftFree    = 64 << 20
	maxWrong    = 20
	maxProcs    = 260
	seqDepth    = 8
	stretches   = 8
	cliffStep   = 200 * time.Millisecond
	cliffLeast  = 15 // steps, before a cliff can be told
	steepEnough = 0.6
)

// Measure measures a drive in this process, which should have nothing else to do; Probe does it in a child. While it runs,
// Go has as many processors as the deepest queue has requests: otherwise a worker whose request is done waits for a
// processor that another one's request holds, and at depth 32 two cores reach half the drive's speed.
func Measure(ctx context.Context, o Options) (Result, error) {
	if o.Budget <= 0 {
		o.Budget = 4 * time.Second
	}
	if len(o.Depths) == 0 {
		o.Depths = []int{1, 2, 4, 8, 16, 32}
	}
	if o.Open == nil {
		o.Open = openTest
	}
	if o.Space == nil {
		o.Space = freeSpace
	}
	if procs := slices.Max(o.Depths) + 2; procs > runtime.GOMAXPROCS(0) && procs <= maxProcs {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
	}
	size, err := sizeFor(o)
	if err != nil {
		return Result{}, err
	}
	f, direct, err := o.Open(o.Dir)
	if err != nil {
		return Result{}, fmt.Errorf("make a test file: %w", err)
	}
	defer f.Close()
	m := &meter{ctx: ctx, o: o, file: f, pages: newPages(int(size/page), rand.Uint64()), began: time.Now()}
	m.result = Result{At: m.began, Direct: direct, Size: size, Failed: map[string]string{}, Method: "direct IO, verified"}
	if !direct {
		m.result.Method = "through the page cache (this file system has no direct IO), verified"
	}
	stop := make(chan struct{})
	var ticking sync.WaitGroup
	if o.Progress != nil {
		ticking.Go(func() { m.tell(stop) })
	}
	err = m.run()
	close(stop)
	ticking.Wait()
	m.result.Took = time.Since(m.began)
	return m.result, err
}

// sizeFor chooses the size of the test file: whole chunks.
func sizeFor(o Options) (int64, error) {
	free, err := o.Space(o.Dir)
	if err != nil {
		return 0, fmt.Errorf("free space: %w", err)
	}
	size := int64(usual)
	if o.Size > 0 {
		size = o.Size
	}
	size = max(min(size, free/10), min(smallest, size)) / chunk * chunk
	if size <= 0 || free-size < min(leftFree, free/2) || free < size+chunk {
		return 0, fmt.Errorf("%w: %.1f MB are free, it takes %d", ErrNoRoom, float64(free)/1e6, (smallest+leftFree)/1000/1000)
	}
	return size, nil
}

// meter is one measurement under way.
type meter struct {
	ctx    context.Context //nolint:containedctx // of the one call of Measure
	o      Options
	file   File
	pages  *pages
	began  time.Time
	result Result

	step     atomic.Pointer[string]
	requests atomic.Int64
	verified atomic.Int64
	mu       sync.Mutex // guards result.Wrong
	failed   atomic.Bool
}

func (m *meter) tell(stop chan struct{}) {
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for {
		if s := m.step.Load(); s != nil {
			m.o.Progress(*s, min(time.Since(m.began).Seconds()/m.o.Budget.Seconds(), 1), m.requests.Load())
		}
		select {
		case <-stop:
			return
		case <-tick.C:
		}
	}
}

// wrong notes what a drive did wrong. The first such thing ends the step.
func (m *meter) wrong(what string, err error) {
	m.failed.Store(true)
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.result.Wrong) < maxWrong {
		m.result.Wrong = append(m.result.Wrong, fmt.Sprintf("%s: %v", what, err))
	}
}

// run goes through the steps. Each gets its share of the time.
func (m *meter) run() error {
	share := func(x float64) time.Duration { return time.Duration(x * float64(m.o.Budget)) }
	if err := m.fill(share(0.22)); err != nil {
		return err
	}
	each := func(d time.Duration) time.Duration { return d / time.Duration(len(m.o.Depths)) }
	for _, s := range []struct {
		name   string
		depths []int
		each   time.Duration
		to     *[]Rate
		size   int
		write  bool
		random bool
	}{
		{"write in sequence", []int{1, seqDepth}, share(0.07), &m.result.SeqWrite, chunk, true, false},
		{"read in sequence", []int{1, seqDepth}, share(0.07), &m.result.SeqRead, chunk, false, false},
		{"read at random", m.o.Depths, each(share(0.2)), &m.result.RandRead, page, false, true},
		{"write at random", m.o.Depths, each(share(0.2)), &m.result.RandWrite, page, true, true},
	} {
		for _, depth := range s.depths {
			r, err := m.speed(s.name, depth, s.each, s.size, s.write, s.random)
			if err != nil {
				m.result.Failed[s.name] = err.Error()
				if errors.Is(err, ErrWrong) || m.ctx.Err() != nil {
					return err
				}
				break
			}
			*s.to = append(*s.to, r)
		}
	}
	if err := m.syncs(share(0.07)); err != nil {
		m.result.Failed["sync"] = err.Error()
		return err
	}
	err := m.verify(share(0.05))
	m.result.Verified = m.verified.Load()
	return err
}

func (m *meter) enter(name string) { m.step.Store(&name) }

// fill writes the file once, and in what time is left again from its beginning, and looks whether the speed falls.
func (m *meter) fill(limit time.Duration) error {
	m.enter("make the test file")
	steps := make([]atomic.Int64, int(limit/cliffStep)+2)
	chunks := int64(m.result.Size / chunk)
	var next atomic.Int64
	begin := time.Now()
	most := max(limit*4, 2*time.Second) // a slow drive gets that long for the smallest file
	err := m.parallel(seqDepth, func(int) (func() (bool, error), error) {
		b := aligned(chunk)
		copy(b, m.pages.noise)
		return func() (bool, error) {
			gone := time.Since(begin)
			i := next.Add(1) - 1
			if i >= chunks || gone > limit && i*chunk >= smallest || gone > most {
				next.Add(-1)
				return false, nil
			}
			if err := m.write(b, int(i)*perChunk); err != nil {
				return false, err
			}
			steps[min(int(time.Since(begin)/cliffStep), len(steps)-1)].Add(chunk)
			return true, nil
		}, nil
	})
	took := time.Since(begin)
	written := next.Load() * chunk
	m.result.Size = written
	if err != nil {
		return err
	}
	if written < chunk {
		return fmt.Errorf("%w: not one MiB was written in %v", ErrHung, took.Round(time.Second))
	}
	m.pages.gens = m.pages.gens[:written/page]
	m.result.Fill = float64(written) / took.Seconds()
	if err := m.file.Sync(); err != nil {
		m.wrong("sync", err)
		return fmt.Errorf("%w: sync: %w", ErrWrong, err)
	}
	var speeds []float64
	for i := range int(took / cliffStep) {
		speeds = append(speeds, float64(steps[min(i, len(steps)-1)].Load()))
	}
	m.result.Cliff, m.result.CliffAt = cliff(speeds)
	return nil
}

// cliff tells how much of the writing speed is left at the end, and after how many bytes it fell. 0: too short to tell.
func cliff(steps []float64) (left float64, at int64) {
	if len(steps) < cliffLeast {
		return 0, 0
	}
	third := len(steps) / 3
	before, after := middle(steps[:third]), middle(steps[len(steps)-third:])
	if before <= 0 {
		return 0, 0
	}
	left = min(after/before, 1)
	if left >= steepEnough {
		return left, 0
	}
	sum := 0.0
	for i, s := range steps {
		if i >= 3 && s < before*(1+left)/2 && middle(steps[i:min(i+3, len(steps))]) < before*(1+left)/2 {
			return left, int64(sum)
		}
		sum += s
	}
	return left, int64(sum)
}

func middle(list []float64) float64 {
	if len(list) == 0 {
		return 0
	}
	list = slices.Sorted(slices.Values(list))
	return list[len(list)/2]
}

// parallel runs depth workers until each is done, one has an error, or ctx ends. start is called in the worker.
func (m *meter) parallel(depth int, start func(worker int) (func() (more bool, err error), error)) error {
	var wg sync.WaitGroup
	var once sync.Once
	var first error
	var stop atomic.Bool
	for w := range depth {
		wg.Go(func() {
			next, err := start(w)
			for more := true; err == nil && more && !stop.Load(); {
				if err = context.Cause(m.ctx); err == nil {
					more, err = next()
				}
			}
			if err != nil {
				stop.Store(true)
				once.Do(func() { first = err })
			}
		})
	}
	wg.Wait()
	return first
}

func (m *meter) write(b []byte, first int) error {
	m.pages.stamp(b, first)
	n, err := m.file.WriteAt(b, int64(first)*page)
	m.requests.Add(1)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	if err != nil {
		m.pages.failed(len(b), first)
		if storage.IsFull(err) {
			return fmt.Errorf("%w: %w", ErrNoRoom, err)
		}
		m.wrong("write", err)
		return fmt.Errorf("%w: write: %w", ErrWrong, err)
	}
	m.pages.wrote(b, first)
	return nil
}

func (m *meter) read(b []byte, first int) error {
	_, err := m.file.ReadAt(b, int64(first)*page)
	m.requests.Add(1)
	if err == nil {
		err = m.pages.check(b, first)
		m.verified.Add(int64(len(b)))
	}
	if err != nil {
		m.wrong("read", err)
		return fmt.Errorf("%w: read: %w", ErrWrong, err)
	}
	return nil
}

// speed measures one kind of request at one depth.
func (m *meter) speed(name string, depth int, limit time.Duration, size int, write, random bool) (Rate, error) {
	m.enter(fmt.Sprintf("%s, depth %d", name, depth))
	units := int(m.result.Size) / size
	if units < depth {
		return Rate{}, fmt.Errorf("%w for depth %d", ErrNoRoom, depth)
	}
	counts := make([]atomic.Int64, stretches)
	took := make([][]time.Duration, depth)
	var next atomic.Int64
	busy := make([]atomic.Bool, units) // of writing in sequence
	begin := time.Now()
	err := m.parallel(depth, func(w int) (func() (bool, error), error) {
		b := aligned(size)
		rng := rand.New(rand.NewPCG(rand.Uint64(), uint64(w)))
		if write && !random {
			copy(b, m.pages.noise)
		}
		mine := units / depth // a page is written by one worker only
		last := time.Now()
		return func() (bool, error) {
			unit := 0
			if random {
				unit = w + depth*rng.IntN(mine)
			} else {
				for unit = int(next.Add(1)-1) % units; write && !busy[unit].CompareAndSwap(false, true); { // a slow one is still at it, a round later
					unit = int(next.Add(1)-1) % units
				}
			}
			first := unit * (size / page)
			var err error
			if write {
				if random {
					m.pages.fill(b, first)
				}
				err = m.write(b, first)
				if !random {
					busy[unit].Store(false)
				}
			} else {
				err = m.read(b, first)
			}
			now := time.Now()
			took[w] = append(took[w], now.Sub(last))
			last = now
			gone := now.Sub(begin)
			if err != nil || gone >= limit {
				return false, err
			}
			counts[min(int(gone*stretches/limit), stretches-1)].Add(1)
			return true, nil
		}, nil
	})
	if err != nil {
		return Rate{}, err
	}
	return rateOf(depth, size, time.Since(begin), slices.Concat(took...), counts), nil
}

func rateOf(depth, size int, all time.Duration, took []time.Duration, counts []atomic.Int64) Rate {
	r := Rate{Depth: depth}
	r.Requests = float64(len(took)) / all.Seconds()
	r.Bytes = r.Requests * float64(size)
	slices.Sort(took)
	r.Median, r.Slow = took[len(took)/2], took[min(len(took)*99/100, len(took)-1)]
	var each []float64
	for i := range counts {
		each = append(each, float64(counts[i].Load()))
	}
	slices.Sort(each)
	if mid := each[len(each)/2]; mid > 0 {
		r.Confidence = max(0, 1-(each[len(each)*3/4]-each[len(each)/4])/mid)
	}
	return r
}

// syncs measures how long it takes until a page is safe.
func (m *meter) syncs(limit time.Duration) error {
	m.enter("sync")
	b := aligned(page)
	var took []time.Duration
	n := int(m.result.Size / page)
	for begin := time.Now(); len(took) < 5 || time.Since(begin) < limit && len(took) < 1000; {
		if err := context.Cause(m.ctx); err != nil {
			return err
		}
		first := rand.IntN(n)
		m.pages.fill(b, first)
		at := time.Now()
		if err := m.write(b, first); err != nil {
			return err
		}
		if err := m.file.Sync(); err != nil {
			m.wrong("sync", err)
			return fmt.Errorf("%w: sync: %w", ErrWrong, err)
		}
		took = append(took, time.Since(at))
	}
	slices.Sort(took)
	m.result.Syncs = len(took)
	m.result.SyncMedian, m.result.SyncSlow = took[len(took)/2], took[len(took)*99/100]
	return nil
}

// verify reads the file again from its beginning: all of it, or as much as the time allows.
func (m *meter) verify(limit time.Duration) error {
	m.enter("verify")
	b := aligned(chunk)
	begin := time.Now()
	for i := range int(m.result.Size / chunk) {
		if err := context.Cause(m.ctx); err != nil {
			return err
		}
		if err := m.read(b, i*perChunk); err != nil {
			return err
		}
		if time.Since(begin) > limit && i >= 8 {
			break
		}
	}
	return nil
}

// Best returns the fastest of several rates, by requests.
func Best(list []Rate) (Rate, bool) {
	var best Rate
	for _, r := range list {
		if r.Requests > best.Requests && !math.IsInf(r.Requests, 0) {
			best = r
		}
	}
	return best, best.Requests > 0
}
