package memstore

import (
	"bytes"
	"io"
	"sync"
	"time"

	"kith/storage"
)

// Log is an append-only log in memory with group commit, as the drivers of both sides want one. What was not durable when
// it is cut is lost, as in a power cut. All methods are safe for concurrent use.
type Log struct {
	commit time.Duration

	mu      sync.Mutex
	recs    [][]byte
	synced  int // of them, those that a cut leaves
	snap    []byte
	snapSeq uint64
	calls   []func()
	idle    chan struct{} // closed when no callback is left to run; nil: none is
	ended   bool
}

// NewLog returns an empty log whose group commit takes so long. 0: what is durable is so at once.
func NewLog(commit time.Duration) *Log { return &Log{commit: commit} }

// Append never waits. done, if not nil, is called once, in the order of appends, from another goroutine: after the record
// is durable, if it is to be. After Close or Cut nothing is appended.
func (l *Log) Append(rec []byte, durable bool, done func(seq uint64, err error)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return
	}
	l.recs = append(l.recs, bytes.Clone(rec))
	at := len(l.recs)
	if durable && l.commit == 0 {
		l.synced = at
	}
	if !durable && done == nil {
		return
	}
	l.calls = append(l.calls, func() {
		if durable {
			l.mu.Lock()
			l.synced = max(l.synced, at)
			l.mu.Unlock()
		}
		if done != nil {
			done(uint64(at), nil)
		}
	})
	if l.idle == nil {
		l.idle = make(chan struct{})
		go l.run()
	}
}

// run calls back until nothing is left to call.
func (l *Log) run() {
	for {
		if l.commit > 0 {
			time.Sleep(l.commit)
		}
		l.mu.Lock()
		calls := l.calls
		l.calls = nil
		if len(calls) == 0 {
			close(l.idle)
			l.idle = nil
			l.mu.Unlock()
			return
		}
		l.mu.Unlock()
		for _, f := range calls {
			f()
		}
	}
}

// Replay calls fn with every record from a sequence number on; the first has 1.
func (l *Log) Replay(from uint64, fn func(seq uint64, rec []byte) error) error {
	l.mu.Lock()
	recs := l.recs
	l.mu.Unlock()
	for i := range recs {
		if seq := uint64(i + 1); seq >= from {
			if err := fn(seq, recs[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// WriteSnapshot replaces the snapshot.
func (l *Log) WriteSnapshot(seq uint64, write func(io.Writer) error) error {
	var b bytes.Buffer
	if err := write(&b); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.snap, l.snapSeq = b.Bytes(), seq
	return nil
}

// Snapshot returns the newest snapshot, or storage.ErrNotFound.
func (l *Log) Snapshot() (uint64, io.ReadCloser, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.snap == nil {
		return 0, nil, storage.ErrNotFound
	}
	return l.snapSeq, io.NopCloser(bytes.NewReader(l.snap)), nil
}

// Len is how many records there are.
func (l *Log) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.recs)
}

// Cut ends the log and returns a new one with what a power cut leaves of it.
func (l *Log) Cut() *Log {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	n := NewLog(l.commit)
	n.recs, n.synced, n.snap, n.snapSeq = append(n.recs, l.recs[:l.synced]...), l.synced, l.snap, l.snapSeq
	return n
}

// Close ends the log and waits for the callbacks of what was appended.
func (l *Log) Close() error {
	l.mu.Lock()
	l.ended = true
	idle := l.idle
	l.mu.Unlock()
	if idle != nil {
		<-idle
	}
	return nil
}
