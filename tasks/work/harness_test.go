package work_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"kith/storage"
	"kith/storage/dag"
	"kith/storage/memstore"
	"kith/tasks"
	"kith/tasks/execute"
	"kith/tasks/kinds"
	"kith/tasks/kinds/testkind"
	"kith/tasks/sandbox"
	"kith/tasks/wire"
	"kith/tasks/work"
)

const network = "test"

// log is a log in memory. Its callbacks run in order in a goroutine of its own.
type log struct {
	mu    sync.Mutex
	recs  [][]byte
	calls chan func()
	fail  error
}

func newLog(t *testing.T) *log {
	l := &log{calls: make(chan func(), 1<<12)}
	go func() {
		for f := range l.calls {
			f()
		}
	}()
	t.Cleanup(func() { close(l.calls) })
	return l
}

func (l *log) Append(rec []byte, _ bool, done func(uint64, error)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	err := l.fail
	if err == nil {
		l.recs = append(l.recs, bytes.Clone(rec))
	}
	if seq := uint64(len(l.recs)); done != nil {
		l.calls <- func() { done(seq, err) }
	}
}

// all is what is in the log now.
func (l *log) all() [][]byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.recs)
}

func (l *log) Replay(from uint64, fn func(uint64, []byte) error) error {
	for i, r := range l.all() {
		if uint64(i+1) >= from {
			if err := fn(uint64(i+1), r); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *log) WriteSnapshot(uint64, func(io.Writer) error) error { return nil }
func (l *log) Snapshot() (uint64, io.ReadCloser, error)          { return 0, nil, storage.ErrNotFound }

// rig is one worker, and a submitter whose every word the test chooses.
type rig struct {
	*work.Driver
	t      *testing.T
	key    ed25519.PrivateKey // the submitter's
	id     tasks.NodeID
	worker ed25519.PrivateKey
	me     tasks.NodeID // the worker
	log    *log
	blobs  *memstore.Blobs
	exec   *execute.Executor
	dials  chan *boss
	refuse atomic.Bool // dials fail
	old    atomic.Bool // the submitter is a node that acknowledges nothing
	tried  atomic.Int64
	cancel context.CancelFunc
	done   chan struct{}
	fetch  func(ctx context.Context, in work.Input, arrived func([]dag.CID)) error
}

// boss is the submitter's end of one stream.
type boss struct {
	*rig
	conn net.Conn
	wire *wire.Session
	life time.Duration // of its leases, beside ten minutes
}

func (r *rig) DialSession(_ context.Context, to tasks.NodeID, _ []string) (work.Stream, error) {
	r.tried.Add(1)
	if r.refuse.Load() {
		return nil, errors.New("no route")
	}
	here, there := net.Pipe()
	b := &boss{rig: r, conn: there}
	r.t.Cleanup(func() { there.Close() })
	r.dials <- b
	return &end{here, to, r.old.Load()}, nil
}

type end struct {
	net.Conn
	remote tasks.NodeID
	old    bool
}

func (e *end) Remote() tasks.NodeID { return e.remote }

func (e *end) Version() int {
	if e.old {
		return 1
	}
	return wire.SessionVersion
}

func (r *rig) FetchInput(ctx context.Context, in work.Input, arrived func([]dag.CID)) error {
	return r.fetch(ctx, in, arrived)
}

func newRig(t *testing.T, set ...func(*work.Options)) *rig {
	t.Helper()
	r := &rig{t: t, log: newLog(t), blobs: memstore.NewBlobs(), dials: make(chan *boss, 100)}
	r.key = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, 32))
	r.id = tasks.NodeID(r.key.Public().(ed25519.PublicKey))
	r.worker = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{2}, 32))
	r.me = tasks.NodeID(r.worker.Public().(ed25519.PublicKey))
	registry := kinds.New(testkind.All()...)
	engine := sandbox.InProcess(registry)
	var err error
	if r.exec, err = execute.New(execute.Options{Engine: engine, Blobs: r.blobs, Kinds: registry, Scratch: t.TempDir()}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.exec.Close(); _ = engine.Close() })
	r.start(set...)
	return r
}

func (r *rig) start(set ...func(*work.Options)) {
	registry := kinds.New(testkind.All()...)
	o := work.Options{
		Network: network, Key: r.worker, Kinds: registry, Blobs: r.blobs, Log: r.log, Executor: r.exec, Fetcher: r, Dialer: r,
		Capability: func() []byte { return []byte("record") }, Slots: 2,
	}
	for _, f := range set {
		f(&o)
	}
	r.Driver = work.New(o)
	ctx, cancel := context.WithCancel(r.t.Context())
	r.cancel, r.done = cancel, make(chan struct{})
	done := r.done
	go func() {
		defer close(done)
		_ = r.Serve(ctx)
	}()
	r.t.Cleanup(r.stop)
}

func (r *rig) stop() {
	r.cancel()
	<-r.done
}

func (r *rig) offer() {
	now := time.Now().UnixMilli()
	r.HandleOffer(wire.Offer{Submitter: r.id, Kinds: []string{"test.noop"}, Want: 4, Class: tasks.CPU, Time: now, Expiry: now + 30_000}, 0)
}

// greet hears the hello of the next stream.
func (r *rig) greet() (*boss, *wire.Hello) {
	r.t.Helper()
	b := <-r.dials
	f, err := wire.ReadFrame(b.conn, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	id, err := wire.PeekSession(f)
	if err != nil {
		r.t.Fatal(err)
	}
	b.wire = wire.NewSession(network, r.key, r.me, id, wire.Submitter)
	m, err := b.wire.Open(f, time.Now().UnixMilli())
	if err != nil {
		r.t.Fatal(err)
	}
	return b, m.(*wire.Hello)
}

// welcome answers it.
func (b *boss) welcome(resumed bool, kept ...tasks.LeaseID) *boss {
	b.t.Helper()
	b.say(&wire.Welcome{Session: b.wire.ID(), Epoch: 7, Token: wire.Token{9}, Resumed: resumed, Kept: kept, Time: time.Now().UnixMilli()})
	return b
}

func (b *boss) frame(m wire.Message) []byte {
	b.t.Helper()
	f, err := b.wire.Seal(m, time.Now().UnixMilli())
	if err != nil {
		b.t.Fatal(err)
	}
	return f
}

func (b *boss) say(m wire.Message) {
	b.t.Helper()
	if _, err := b.conn.Write(b.frame(m)); err != nil {
		b.t.Fatal(err)
	}
}

// lease makes a lease of one task; change, if not nil, spoils it before it gets its id.
func (b *boss) lease(n int, change func(*tasks.Lease)) tasks.Lease {
	now := time.Now().UnixMilli()
	l := tasks.Lease{Worker: b.me, Epoch: 7, Granted: now, Expiry: now + 600_000 + b.life.Milliseconds(), Salt: [32]byte{byte(n)}, Do: tasks.Assignment{
		Job: tasks.JobID{1}, Task: tasks.TaskID{byte(n), byte(n >> 8)}, Mode: tasks.Map, Index: n, Parts: 1000,
		Steps: []tasks.Step{{Kind: "test.noop", Phase: "run", Params: []byte(`{"tasks":1}`)}},
	}}
	if change != nil {
		change(&l)
	}
	l.ID = tasks.NewLeaseID(l.Do.Job, l.Do.Task, l.Attempt, l.Worker, l.Epoch, l.Expiry)
	return l
}

// hear reads until a message of type T comes.
func hear[T wire.Message](b *boss) T {
	b.t.Helper()
	for {
		f, err := wire.ReadFrame(b.conn, nil)
		if err != nil {
			b.t.Fatalf("waiting for %T: %v", *new(T), err)
		}
		m, err := b.wire.Open(f, time.Now().UnixMilli())
		if err != nil {
			b.t.Fatal(err)
		}
		if want, ok := m.(T); ok {
			return want
		}
	}
}

// status is the worker's once everything said to it has been heard.
func (r *rig) status() work.Status {
	r.t.Helper()
	synctest.Wait()
	st, err := r.Status(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	return st
}

func (r *rig) session() *boss {
	r.t.Helper()
	r.offer()
	b, _ := r.greet()
	return b.welcome(false)
}

func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}
