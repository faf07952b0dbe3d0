// Package eventlog is an append-only, checksummed log of small records with group commit and snapshots: what a node
// must not forget. A record is durable when its done callback says so; a power cut loses at most records nobody was
// told about, and damage to what had been synced is found and named, never read as data.
//
// Open starts one goroutine, which does all writing; Close ends it. Records that arrive while the disk is busy share the
// next write and the next sync, so that one caller waits for one sync and a thousand callers wait for two. Only a log
// that a thousand callers a second ask for durability waits a moment more for them to gather; see pace.
package eventlog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"kith/storage"
)

const (
	// MaxRecord is the largest record in bytes.
	MaxRecord = 16 << 20
	// MaxPending is how many bytes may wait for the disk before Append refuses more with ErrBehind.
	MaxPending = 64 << 20
	// DefaultSegmentSize is the size in bytes after which a new segment begins.
	DefaultSegmentSize = 64 << 20
)

// Errors of this package, besides those of package storage. Match them with errors.Is.
var (
	// ErrBehind: MaxPending bytes wait for the disk already; the record was not taken.
	ErrBehind = errors.New("the disk does not keep up with the event log")
	// ErrBroken: an earlier sync failed, so what is on disk is unknown; the log must be reopened.
	ErrBroken = errors.New("the event log stopped after a failed write; restart once the disk is sound")
	// ErrTooLarge: the record has more than MaxRecord bytes.
	ErrTooLarge = errors.New("record is larger than 16 MiB")
)

// Options of a log. The zero value is good.
type Options struct {
	SegmentSize int64         // bytes; default DefaultSegmentSize
	SyncDelay   time.Duration // added to every sync, to see how a slower disk would do
	Files       Files         // default: the folder itself
	Logger      *slog.Logger  // default slog.Default()
}

// Recovery is what Open had to drop: records that no one was told were durable.
type Recovery struct {
	File   string // empty: nothing was dropped
	Offset int64
	Bytes  int64
}

// Log is an open event log. All methods are safe for concurrent use.
type Log struct {
	files     Files
	lock      io.Closer
	o         Options
	log       *slog.Logger
	recovered Recovery

	snapshots sync.Mutex // held while a snapshot is written or segments are pruned

	mu       sync.Mutex
	wake     sync.Cond // something to write, or closing
	next     uint64    // sequence number of the next record
	synced   uint64    // all records up to it are on stable storage
	pending  batch
	spare    batch // its memory is used again
	segments []segment
	broken   error // sticky
	closing  bool  // Close was called
	drained  bool  // the writing goroutine calls nobody any more
	stopped  chan struct{}

	// Of the writing goroutine alone: the last segment, and when it writes next.
	out  File
	cur  segment
	pace pace
}

// segment is one file. The last one grows; size is set for it alone.
type segment struct {
	first uint64
	size  int64 // bytes written
}

// batch is what the next write takes.
type batch struct {
	buf     []byte
	first   uint64 // sequence number of the first record
	calls   []call
	durable bool
}

type call struct {
	seq  uint64
	err  error
	done func(uint64, error)
}

// Open opens the log in a folder, creating both if need be. A tail that a power cut left unfinished is dropped, which
// Recovered and a warning report; damage anywhere else is storage.ErrCorrupt with file and offset. If another process has
// the log open, the error is storage.ErrLocked.
func Open(path string, o Options) (*Log, error) {
	if o.SegmentSize <= 0 {
		o.SegmentSize = DefaultSegmentSize
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Files == nil {
		if err := os.MkdirAll(path, 0o700); err != nil {
			return nil, fmt.Errorf("event log: %w", err)
		}
		o.Files = dir(path)
	}
	l := &Log{files: o.Files, o: o, log: o.Logger.With(slog.String("log", path)), stopped: make(chan struct{})}
	l.wake.L = &l.mu
	lock, err := l.files.Lock()
	if err != nil {
		return nil, fmt.Errorf("event log: %w", err)
	}
	l.lock = lock
	if err := l.recover(); err != nil {
		lock.Close()
		return nil, fmt.Errorf("event log %s: %w", path, err)
	}
	go l.write()
	return l, nil
}

// Recovered tells what Open dropped.
func (l *Log) Recovered() Recovery { return l.recovered }

// Last returns the sequence number of the last record accepted, 0 if there is none.
func (l *Log) Last() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.next - 1
}

// Append takes a copy of rec and returns at once. Sequence numbers begin at 1 and grow by one in the order of the
// calls; done, which may be nil, is called once, in that order, from the writing goroutine: after the record is on
// stable storage if durable is set, else after it was handed to the operating system. A durable record carries all
// before it. done must not block and must not call Close; it may call Append.
//
// After storage.ErrFull (later appends may work again), ErrBehind, ErrTooLarge or storage.ErrClosed the record is not in
// the log; after ErrBroken nobody knows before the log is opened again.
func (l *Log) Append(rec []byte, durable bool, done func(seq uint64, err error)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var err error
	switch {
	case l.closing:
		err = storage.ErrClosed
	case l.broken != nil:
		err = l.broken
	case len(rec) > MaxRecord:
		err = ErrTooLarge
	case len(l.pending.buf) > MaxPending:
		err = ErrBehind
	}
	b := &l.pending
	if err != nil {
		l.refuse(call{err: err, done: done})
		return
	}
	if len(b.buf) == 0 {
		b.first = l.next
	}
	b.buf = appendRecord(b.buf, uint32(len(rec)), l.next, l.synced, rec)
	b.durable = b.durable || durable
	if done != nil {
		b.calls = append(b.calls, call{seq: l.next, done: done})
	}
	l.next++
	l.wake.Signal()
}

// refuse reports an error in its turn; after Close there are no turns any more.
func (l *Log) refuse(c call) {
	if c.done == nil {
		return
	}
	if l.drained {
		go c.done(0, c.err)
		return
	}
	l.pending.calls = append(l.pending.calls, c)
	l.wake.Signal()
}

// AppendSync appends rec and waits until it is on stable storage. When ctx ends first, the record may still be written.
func (l *Log) AppendSync(ctx context.Context, rec []byte) (uint64, error) {
	type result struct {
		seq uint64
		err error
	}
	done := make(chan result, 1)
	l.Append(rec, true, func(seq uint64, err error) { done <- result{seq, err} })
	select {
	case r := <-done:
		return r.seq, r.err
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}

// Sync waits until every record appended before is on stable storage.
func (l *Log) Sync(ctx context.Context) error {
	done := make(chan error, 1)
	l.mu.Lock()
	switch {
	case l.closing:
		l.mu.Unlock()
		return storage.ErrClosed
	case l.broken != nil:
		defer l.mu.Unlock()
		return l.broken
	}
	l.pending.durable = true
	l.pending.calls = append(l.pending.calls, call{done: func(_ uint64, err error) { done <- err }})
	l.wake.Signal()
	l.mu.Unlock()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Close writes and syncs what is pending and ends the writing goroutine. Close again is a no-op.
func (l *Log) Close() error {
	l.mu.Lock()
	if l.closing {
		l.mu.Unlock()
		<-l.stopped
		return nil
	}
	l.closing = true
	l.wake.Signal()
	l.mu.Unlock()
	<-l.stopped
	return errors.Join(l.broken, l.lock.Close())
}
