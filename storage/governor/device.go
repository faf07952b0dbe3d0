package governor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"syscall"
	"time"
)

// Device holds readers and writers of one drive to its limits. It is safe for concurrent use and starts no goroutine. A
// nil *Device lets everything through at once.
//
// Speed limits are debts: whoever is let in tells afterwards how many bytes it moved, and as long as that is more than
// was due, nobody else is let in. So one request may overshoot by its own size, never more than Queue of them.
type Device struct {
	name string
	now  func() time.Time

	mu      sync.Mutex
	limits  Limits
	read    bucket
	write   bucket
	readOps bucket
	writOps bucket
	busy    int           // requests now
	files   int           // files of tasks open now
	turn    chan struct{} // closed when a request or file ends or limits change
	last    time.Time     // end of the last sync
	syncing sync.Mutex    // held during a sync: they queue
	stats   Stats
	syncs   []time.Duration // the latest, for their median
	at      int             // where the next one goes
	signals []Signal
}

// Stats is what a Device has seen since it was made.
type Stats struct {
	ReadBytes    int64         `json:"readBytes"`
	WrittenBytes int64         `json:"writtenBytes"`
	Reads        int64         `json:"reads"`
	Writes       int64         `json:"writes"`
	Syncs        int64         `json:"syncs"`
	SyncMedian   time.Duration `json:"syncMedian"`       // of the latest, in nanoseconds
	Waiting      int           `json:"waiting"`          // who waits right now
	Waited       time.Duration `json:"waited"`           // all waits together, in nanoseconds
	Reason       string        `json:"reason,omitempty"` // why somebody waits, or waited last
}

const (
	keptSyncs   = 64
	fewSyncs    = 16                     // before there are so many, none is called unusual
	spikeFactor = 20                     // times the median
	spikeLeast  = 500 * time.Millisecond // shorter than this nothing is a spike
	spikeAlways = 10 * time.Second       // longer than this everything is
	maxSignals  = 256
)

// NewDevice makes a Device; name is for messages. now is the clock; nil: the system's.
func NewDevice(name string, l Limits, now func() time.Time) *Device {
	if now == nil {
		now = time.Now
	}
	d := &Device{name: name, now: now, turn: make(chan struct{})}
	d.allowLocked(l)
	return d
}

// Allow changes the limits; who waits now waits by the new ones.
func (d *Device) Allow(l Limits) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.allowLocked(l)
}

func (d *Device) allowLocked(l Limits) {
	now := d.now()
	d.limits = l
	d.read.set(now, float64(l.ReadBytes), float64(max(l.ReadBytes/4, mib)))
	d.write.set(now, float64(l.WriteBytes), float64(max(l.Burst, mib)))
	d.readOps.set(now, float64(l.ReadOps), float64(max(l.ReadOps/4, 1)))
	d.writOps.set(now, float64(l.WriteOps), float64(max(l.WriteOps/4, 1)))
	d.wakeLocked()
}

func (d *Device) wakeLocked() {
	close(d.turn)
	d.turn = make(chan struct{})
}

// Limits returns what holds now.
func (d *Device) Limits() Limits {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.limits
}

// Stats returns what was seen so far.
func (d *Device) Stats() Stats {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.stats
	s.SyncMedian = median(d.syncs)
	return s
}

// Read waits for leave to read. done must be called once, with the bytes that were read.
func (d *Device) Read(ctx context.Context) (done func(bytes int), err error) {
	return d.begin(ctx, false)
}

// Write waits for leave to write. done must be called once, with the bytes that were written.
func (d *Device) Write(ctx context.Context) (done func(bytes int), err error) {
	return d.begin(ctx, true)
}

func (d *Device) begin(ctx context.Context, writing bool) (func(int), error) {
	if d == nil {
		return func(int) {}, nil
	}
	if err := d.await(ctx, func(now time.Time) (time.Duration, string) { return d.enterLocked(now, writing) }); err != nil {
		return nil, err
	}
	return func(n int) { d.end(n, writing, true) }, nil
}

// enterLocked lets a request in, or says how long to wait at least (0: until somebody else is done) and why.
func (d *Device) enterLocked(now time.Time, writing bool) (time.Duration, string) {
	bytes, ops := &d.read, &d.readOps
	verb, rate, count := "read", d.limits.ReadBytes, d.limits.ReadOps
	if writing {
		bytes, ops = &d.write, &d.writOps
		verb, rate, count = "write", d.limits.WriteBytes, d.limits.WriteOps
	}
	if w := bytes.wait(now); w > 0 {
		return w, fmt.Sprintf("%s limit of %s: %.1f MiB/s", verb, d.name, float64(rate)/mib)
	}
	if w := ops.wait(now); w > 0 {
		return w, fmt.Sprintf("%s limit of %s: %d requests a second", verb, d.name, count)
	}
	if d.limits.Queue > 0 && d.busy >= d.limits.Queue {
		return 0, fmt.Sprintf("queue limit of %s: %d requests at once", d.name, d.limits.Queue)
	}
	d.busy++
	return 0, ""
}

func (d *Device) end(n int, writing, queued bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.now()
	if writing {
		d.write.take(now, float64(n))
		d.writOps.take(now, 1)
		d.stats.Writes++
		d.stats.WrittenBytes += int64(n)
	} else {
		d.read.take(now, float64(n))
		d.readOps.take(now, 1)
		d.stats.Reads++
		d.stats.ReadBytes += int64(n)
	}
	if queued {
		d.busy--
		d.wakeLocked()
	}
}

// await calls try with the lock held until it gives no reason to wait.
func (d *Device) await(ctx context.Context, try func(now time.Time) (time.Duration, string)) error {
	var began time.Time
	for {
		d.mu.Lock()
		now := d.now()
		wait, why := try(now)
		if why == "" {
			if !began.IsZero() {
				d.stats.Waiting--
				d.stats.Waited += now.Sub(began)
			}
			d.mu.Unlock()
			return nil
		}
		if began.IsZero() {
			began = now
			d.stats.Waiting++
		}
		d.stats.Reason = why
		turn := d.turn
		d.mu.Unlock()

		var timer *time.Timer
		var due <-chan time.Time
		if wait > 0 {
			timer = time.NewTimer(wait)
			due, turn = timer.C, nil // others' ends change nothing about a debt but for new limits, which a second brings
			if wait > time.Second {
				timer.Reset(time.Second)
			}
		}
		select {
		case <-ctx.Done():
			d.mu.Lock()
			d.stats.Waiting--
			d.stats.Waited += d.now().Sub(began)
			d.mu.Unlock()
			if timer != nil {
				timer.Stop()
			}
			return fmt.Errorf("waited for the %s: %w", why, context.Cause(ctx))
		case <-due:
		case <-turn:
		}
	}
}

// Wrote counts bytes that had to be written at once: the node's own logs never wait. Others pay for them.
func (d *Device) Wrote(bytes int) {
	if d != nil {
		d.end(bytes, true, false)
	}
}

// DidRead counts bytes that had to be read at once.
func (d *Device) DidRead(bytes int) {
	if d != nil {
		d.end(bytes, false, false)
	}
}

// File waits until one more file of a task may be open. done must be called once.
func (d *Device) File(ctx context.Context) (done func(), err error) {
	if d == nil {
		return func() {}, nil
	}
	err = d.await(ctx, func(time.Time) (time.Duration, string) {
		if d.limits.Files > 0 && d.files >= d.limits.Files {
			return 0, fmt.Sprintf("file limit of %s: %d at once", d.name, d.limits.Files)
		}
		d.files++
		return 0, ""
	})
	if err != nil {
		return nil, err
	}
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.files--
		d.wakeLocked()
	}, nil
}

// Sync calls do, which syncs, once Limits.SyncEvery has passed since the last sync ended, and notes how long it took.
func (d *Device) Sync(do func() error) error {
	if d == nil {
		return do()
	}
	d.syncing.Lock()
	defer d.syncing.Unlock()
	d.mu.Lock()
	wait := d.limits.SyncEvery - d.now().Sub(d.last)
	if d.last.IsZero() || wait > d.limits.SyncEvery {
		wait = 0
	}
	d.mu.Unlock()
	time.Sleep(wait)
	begin := d.now()
	err := do()
	took := d.now().Sub(begin)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.last = d.now()
	d.stats.Syncs++
	usual := median(d.syncs)
	enough := len(d.syncs) >= fewSyncs && took > spikeLeast && took > spikeFactor*usual
	if enough || took > spikeAlways {
		d.signalLocked(Signal{SyncSpike, fmt.Sprintf("a sync took %v, usual are %v", took.Round(time.Millisecond), usual.Round(10*time.Microsecond)), d.last})
	}
	if len(d.syncs) < keptSyncs {
		d.syncs = append(d.syncs, took)
	} else {
		d.syncs[d.at] = took
		d.at = (d.at + 1) % keptSyncs
	}
	d.failedLocked("sync", err)
	return err
}

func median(list []time.Duration) time.Duration {
	if len(list) == 0 {
		return 0
	}
	list = slices.Clone(list)
	slices.Sort(list)
	return list[len(list)/2]
}

// Failed notes an error of a read or write if it is the drive's own. nil is none.
func (d *Device) Failed(what string, err error) {
	if d == nil || err == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.failedLocked(what, err)
}

func (d *Device) failedLocked(what string, err error) {
	if cause := causeOf(err); cause != "" {
		d.signalLocked(Signal{cause, fmt.Sprintf("%s: %v", what, err), d.now()})
	}
}

// causeOf names the cause if an error is the drive's fault.
func causeOf(err error) Cause {
	var errno syscall.Errno
	switch {
	case err == nil:
		return ""
	case errors.Is(err, syscall.EROFS):
		return ReadOnly
	case errors.As(err, &errno):
		return errnoCause(errno)
	}
	return ""
}

func (d *Device) signalLocked(s Signal) {
	if len(d.signals) < maxSignals {
		d.signals = append(d.signals, s)
	}
}

// Signals returns what happened since the last call, for Decide.
func (d *Device) Signals() []Signal {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.signals
	d.signals = nil
	return s
}

// Reader returns r with every read held to the limits. It ends with ctx.
func (d *Device) Reader(ctx context.Context, r io.Reader) io.Reader {
	if d == nil {
		return r
	}
	return stream{d: d, ctx: ctx, r: r}
}

// Writer returns w with every write held to the limits. It ends with ctx.
func (d *Device) Writer(ctx context.Context, w io.Writer) io.Writer {
	if d == nil {
		return w
	}
	return stream{d: d, ctx: ctx, w: w}
}

type stream struct {
	d   *Device
	ctx context.Context //nolint:containedctx // io.Reader has no place for one
	r   io.Reader
	w   io.Writer
}

func (s stream) Read(p []byte) (n int, err error) {
	done, err := s.d.begin(s.ctx, false)
	if err != nil {
		return 0, err
	}
	defer func() { done(n) }()
	n, err = s.r.Read(p)
	s.d.Failed("read", err)
	return n, err
}

func (s stream) Write(p []byte) (n int, err error) {
	done, err := s.d.begin(s.ctx, true)
	if err != nil {
		return 0, err
	}
	defer func() { done(n) }()
	n, err = s.w.Write(p)
	s.d.Failed("write", err)
	return n, err
}
