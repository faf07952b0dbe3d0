package whole

import (
	"bytes"
	"io"
	"sync"
	"time"

	"kith/storage"
)

// syncTime is what a group commit takes.
const syncTime = 5 * time.Millisecond

// memLog is a log in memory that forgets what was not durable when it is cut. Its callbacks run in one goroutine, in
// order.
type memLog struct {
	mu      sync.Mutex
	recs    [][]byte
	synced  int
	snap    []byte
	snapSeq uint64
	calls   []func()
	wake    chan struct{}
	ended   bool
	done    chan struct{}
}

func (n *node) newLog() *memLog {
	l := startLog()
	n.logs = append(n.logs, l)
	return l
}

func startLog() *memLog {
	l := &memLog{wake: make(chan struct{}, 1), done: make(chan struct{})}
	go l.serve()
	return l
}

func (l *memLog) serve() {
	defer close(l.done)
	for range l.wake {
		time.Sleep(syncTime)
		l.mu.Lock()
		calls, ended := l.calls, l.ended
		l.calls = nil
		l.mu.Unlock()
		for _, f := range calls {
			f()
		}
		if ended {
			return
		}
	}
}

func (l *memLog) poke() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// Append implements submit.Log and work.Log.
func (l *memLog) Append(rec []byte, durable bool, done func(uint64, error)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return
	}
	l.recs = append(l.recs, bytes.Clone(rec))
	seq := uint64(len(l.recs))
	if durable || done != nil {
		l.calls = append(l.calls, func() {
			if durable {
				l.mu.Lock()
				l.synced = max(l.synced, int(seq))
				l.mu.Unlock()
			}
			if done != nil {
				done(seq, nil)
			}
		})
		l.poke()
	}
}

// Replay implements submit.Log and work.Log.
func (l *memLog) Replay(from uint64, fn func(uint64, []byte) error) error {
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

// WriteSnapshot implements submit.Log and work.Log.
func (l *memLog) WriteSnapshot(seq uint64, write func(io.Writer) error) error {
	var b bytes.Buffer
	if err := write(&b); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.snap, l.snapSeq = b.Bytes(), seq
	return nil
}

// Snapshot implements submit.Log and work.Log.
func (l *memLog) Snapshot() (uint64, io.ReadCloser, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.snap == nil {
		return 0, nil, storage.ErrNotFound
	}
	return l.snapSeq, io.NopCloser(bytes.NewReader(l.snap)), nil
}

// crash returns what a power cut leaves of the log.
func (l *memLog) crash() *memLog {
	l.close()
	n := startLog()
	l.mu.Lock()
	defer l.mu.Unlock()
	n.recs, n.synced, n.snap, n.snapSeq = append(n.recs, l.recs[:l.synced]...), l.synced, l.snap, l.snapSeq
	return n
}

func (l *memLog) close() {
	l.mu.Lock()
	l.ended = true
	l.mu.Unlock()
	l.poke()
	<-l.done
}
