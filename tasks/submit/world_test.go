package submit_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"kith/storage"
	"kith/storage/dag"
	"kith/storage/memstore"
	"kith/tasks"
	"kith/tasks/execute"
	"kith/tasks/job"
	"kith/tasks/kinds"
	"kith/tasks/kinds/testkind"
	"kith/tasks/sandbox"
	"kith/tasks/submit"
	"kith/tasks/wire"
	"kith/tasks/work"
)

const network = "test"

// memLog is a log in memory that dies at a fault.
type memLog struct {
	*memstore.Log
	mu       sync.Mutex
	lossy    bool // it has died
	failWith error
	fault    fault       // at which it dies
	hit      func() bool // called then; whether it dies in earnest
	count    int         // appends so far
}

func newMemLog(t testing.TB) *memLog { return wrapLog(t, memstore.NewLog(0)) }

func wrapLog(t testing.TB, inner *memstore.Log) *memLog {
	t.Cleanup(func() { _ = inner.Close() })
	return &memLog{Log: inner}
}

func (l *memLog) Append(rec []byte, durable bool, done func(uint64, error)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lossy {
		return
	}
	if l.count++; l.fault.at == l.count && l.hit() {
		if l.fault.kept {
			l.Log.Append(rec, true, nil)
		}
		l.lossy = true
		return
	}
	if err := l.failWith; err != nil && durable {
		if done != nil {
			go done(0, err)
		}
		return
	}
	l.Log.Append(rec, durable, done)
}

// crash returns what a power cut leaves of the log, and stops the old one.
func (l *memLog) crash(t testing.TB) *memLog {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lossy = true
	return wrapLog(t, l.Cut())
}

// stream is one end of a pipe that says who is at the other.
type stream struct {
	net.Conn
	remote tasks.NodeID
	addr   netip.Addr
	old    bool // of the version before
}

func (s *stream) Remote() tasks.NodeID   { return s.remote }
func (s *stream) RemoteAddr() netip.Addr { return s.addr }
func (s *stream) Relayed() bool          { return false }

func (s *stream) Version() int {
	if s.old {
		return 1
	}
	return wire.SessionVersion
}

// world is one submitter and some donors in one process.
type world struct {
	t         testing.TB
	ctx       context.Context
	kinds     tasks.Registry
	submitter *submitter                // the test's
	current   atomic.Pointer[submitter] // the donors'
	mu        sync.Mutex                // guards what goroutines of the drivers read
	donors    []*donor
	log       *slog.Logger
	pipe      func() (net.Conn, net.Conn)
	machine   func(*donor) // makes a donor's machine another; nil: all are alike
	old       bool         // puppets to come are nodes from before

	donate []func(*donor, *work.Options) // for every donor, whenever it starts
}

type submitter struct {
	*submit.Driver
	key    ed25519.PrivateKey
	id     tasks.NodeID
	blobs  *memstore.Blobs
	log    *memLog
	book   *memLog
	exec   *execute.Executor
	cancel context.CancelFunc
	done   chan struct{}
}

type donor struct {
	*work.Driver
	w      *world
	n      int
	key    ed25519.PrivateKey
	id     tasks.NodeID
	addr   netip.Addr
	old    bool // it is a node from before
	blobs  *memstore.Blobs
	log    work.Log
	book   *memLog
	exec   work.Executor
	cancel context.CancelFunc
	done   chan struct{}
	equals []string // equivalence classes of its floats
	region string   // by its own word
	conns  []net.Conn
	mu     sync.Mutex
	cut    bool // the network to it is down
}

func key(n byte) (ed25519.PrivateKey, tasks.NodeID) {
	k := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, 32))
	return k, tasks.NodeID(k.Public().(ed25519.PublicKey))
}

func newWorld(t testing.TB, registry tasks.Registry) *world {
	w := &world{t: t, ctx: t.Context(), kinds: registry, log: slog.New(slog.DiscardHandler), pipe: net.Pipe}
	if registry == nil {
		w.kinds = kinds.New(testkind.All()...)
	}
	if os.Getenv("KITH_TEST_LOG") != "" {
		w.log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	return w
}

func (w *world) executor(blobs storage.Blobs, name string) *execute.Executor {
	w.t.Helper()
	engine := sandbox.InProcess(w.kinds)
	e, err := execute.New(execute.Options{Engine: engine, Blobs: blobs, Kinds: w.kinds, Scratch: filepath.Join(w.t.TempDir(), name), Logger: w.log})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = e.Close(); _ = engine.Close() })
	return e
}

func (w *world) startSubmitter(log, book *memLog, blobs *memstore.Blobs, set ...func(*submit.Options)) *submitter {
	w.t.Helper()
	s := &submitter{blobs: blobs, log: log, book: book, done: make(chan struct{})}
	s.key, s.id = key(200)
	s.exec = w.executor(blobs, fmt.Sprintf("submitter%d", time.Now().UnixNano()))
	o := submit.Options{
		Network: network, Key: s.key, Kinds: w.kinds, Blobs: blobs, Log: log, Book: book, Executor: s.exec,
		Fetcher: fetcher{w}, Carrier: fetcher{w}, Offers: publisher{w}, LAN: true, Logger: w.log,
	}
	for _, f := range set {
		f(&o)
	}
	s.Driver = submit.New(o)
	ctx, cancel := context.WithCancel(w.ctx)
	s.cancel = cancel
	w.submitter = s
	w.current.Store(s)
	go func() {
		defer close(s.done)
		if err := s.Serve(ctx); !errors.Is(err, context.Canceled) {
			w.t.Errorf("submitter: %v", err)
		}
	}()
	w.t.Cleanup(s.stop)
	return s
}

func (s *submitter) stop() {
	s.cancel()
	<-s.done
}

func (w *world) submit(set ...func(*submit.Options)) *submitter {
	return w.startSubmitter(newMemLog(w.t), newMemLog(w.t), memstore.NewBlobs(), set...)
}

// newDonor makes a donor without starting it.
func (w *world) newDonor(set ...func(*work.Options)) *donor {
	w.t.Helper()
	n := len(w.running())
	d := &donor{w: w, n: n, blobs: memstore.NewBlobs(), log: newMemLog(w.t), book: newMemLog(w.t)}
	d.key, d.id = key(byte(n + 1))
	d.addr = netip.AddrFrom4([4]byte{10, 0, byte(n), 1})
	d.exec = w.executor(d.blobs, fmt.Sprintf("donor%d", n))
	if w.machine != nil {
		w.machine(d)
	}
	d.start(set...)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.donors = append(w.donors, d)
	return d
}

func (d *donor) start(set ...func(*work.Options)) {
	w := d.w
	o := work.Options{
		Network: network, Key: d.key, Kinds: w.kinds, Blobs: d.blobs, Log: d.log, Book: d.book, Executor: d.exec,
		Fetcher: fetcher{w}, Dialer: dialer{d}, Capability: d.capability, Slots: 2, Logger: w.log,
	}
	for _, f := range w.donate {
		f(d, &o)
	}
	for _, f := range set {
		f(&o)
	}
	w.mu.Lock()
	d.Driver = work.New(o)
	w.mu.Unlock()
	ctx, cancel := context.WithCancel(w.ctx)
	d.cancel, d.done = cancel, make(chan struct{})
	go func() {
		defer close(d.done)
		if err := d.Serve(ctx); !errors.Is(err, context.Canceled) {
			w.t.Errorf("donor %d: %v", d.n, err)
		}
	}()
	w.t.Cleanup(d.stop)
}

// running is a donor and the driver it has now.
type running struct {
	*donor
	driver *work.Driver
}

func (w *world) running() (list []running) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, d := range w.donors {
		list = append(list, running{d, d.Driver})
	}
	return list
}

func (d *donor) stop() {
	d.cancel()
	<-d.done
}

func (d *donor) capability() []byte {
	now := time.Now().UnixMilli()
	b, err := wire.SignCapability(network, d.key, wire.Capability{
		Time: now, Expiry: now + 3600_000, Class: tasks.CPU,
		Sandbox: tasks.GradeProcess, Slots: 2, Memory: 1 << 40, Program: "test",
		Equals: d.equals, Region: d.region,
	})
	if err != nil {
		d.w.t.Error(err)
	}
	return b
}

// dialer connects a donor to the submitter through a pipe.
type dialer struct{ d *donor }

func (x dialer) DialSession(ctx context.Context, to tasks.NodeID, _ []string) (work.Stream, error) {
	w := x.d.w
	x.d.mu.Lock()
	defer x.d.mu.Unlock()
	s := w.current.Load()
	if x.d.cut || to != s.id {
		return nil, errors.New("no route")
	}
	here, there := w.pipe()
	x.d.conns = append(x.d.conns, here)
	go func() { _ = s.HandleSession(w.ctx, &stream{Conn: there, remote: x.d.id, addr: x.d.addr, old: x.d.old}) }()
	return &stream{Conn: here, remote: to, old: x.d.old}, nil
}

// disconnect breaks all of a donor's streams.
func (d *donor) disconnect(stay bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cut = stay
	for _, c := range d.conns {
		c.Close()
	}
	d.conns = nil
}

// publisher tells all donors of an offer.
type publisher struct{ w *world }

func (p publisher) Publish(_ context.Context, _ tasks.DeviceClass, _ int, offer []byte) (int, error) {
	o, err := wire.OpenOffer(network, time.Now().UnixMilli(), offer)
	if err != nil {
		p.w.t.Error(err)
		return 0, err
	}
	list := p.w.running()
	for _, d := range list {
		d.driver.HandleOffer(o, 0)
	}
	return len(list), nil
}

var errRefused = errors.New("the other side does not serve this block")

// fetcher copies DAGs between the stores of a world, as far as their owners serve them.
type fetcher struct{ w *world }

func (f fetcher) FetchInput(ctx context.Context, in work.Input, arrived func([]dag.CID)) error {
	var me *donor
	for _, d := range f.w.running() {
		st, err := d.driver.Status(ctx)
		if err != nil {
			continue // it has crashed
		}
		for _, r := range st.Running {
			if r.Lease == in.Lease {
				me = d.donor
			}
		}
	}
	if me == nil {
		return errors.New("no donor holds this lease")
	}
	return copyDAG(ctx, f.w.current.Load().blobs, me.blobs, in.Root, func(c dag.CID) bool { arrived([]dag.CID{c}); return f.w.current.Load().MayServe(me.id, c) })
}

func (f fetcher) FetchOutput(ctx context.Context, from tasks.NodeID, _ tasks.LeaseID, root dag.CID) error {
	for _, d := range f.w.running() {
		if d.id == from {
			return copyDAG(ctx, d.blobs, f.w.current.Load().blobs, root, func(c dag.CID) bool { return d.driver.MayServe(f.w.current.Load().id, c) })
		}
	}
	return errors.New("no such worker")
}

func (f fetcher) FetchCheckpoint(ctx context.Context, from tasks.NodeID, lease tasks.LeaseID, root dag.CID, _ int64) error {
	return f.FetchOutput(ctx, from, lease, root)
}

func copyDAG(ctx context.Context, from, to storage.Blobs, root dag.CID, may func(dag.CID) bool) error {
	return dag.Walk(ctx, from, root, func(c dag.CID, data []byte) (bool, error) {
		if !may(c) {
			return false, fmt.Errorf("%w: %s", errRefused, c)
		}
		return true, to.Put(ctx, c, data)
	})
}

func noop(n int) tasks.Spec {
	return tasks.Spec{Ops: []tasks.Op{{Kind: "test.noop", Params: fmt.Appendf(nil, `{"tasks":%d}`, n)}}, Sensitivity: tasks.Public}
}

// finish waits for the end of a job.
func (w *world) finish(id tasks.JobID) submit.Status {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, time.Hour)
	if _, ok := w.t.(*testing.B); !ok {
		cancel()
		ctx, cancel = context.WithTimeout(w.ctx, 30*time.Second)
	}
	defer cancel()
	var last submit.Status
	for st, err := range w.submitter.Follow(ctx, id) {
		if err != nil {
			e, _ := w.submitter.Explain(w.ctx, id)
			w.t.Fatalf("following: %v\nlast: %+v\nexplanation: %+v", err, last.Summary, e)
		}
		last = st
	}
	return last
}

func (w *world) run(spec tasks.Spec) submit.Status {
	w.t.Helper()
	id, err := w.submitter.Submit(w.ctx, spec)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.finish(id)
}

func (w *world) mustFinish(st submit.Status) {
	w.t.Helper()
	if st.Phase != job.Finished {
		e, _ := w.submitter.Explain(w.ctx, st.ID)
		w.t.Fatalf("job is %s: %v; %+v", st.Phase, st.Reason, e)
	}
}

// offer is an offer of a job as it would be heard.
func (w *world) offer(id tasks.JobID) wire.Offer {
	now := time.Now().UnixMilli()
	return wire.Offer{Job: id, Submitter: w.submitter.id, Kinds: []string{"test.noop"}, Want: 8, Class: tasks.CPU, Time: now, Expiry: now + 30_000}
}

// corpora is a registry of kinds that read a corpus.
func corpora() tasks.Registry { return kinds.All() }
