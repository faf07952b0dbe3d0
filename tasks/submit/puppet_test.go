package submit_test

import (
	"io"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"kith/storage/dag"
	"kith/tasks"
	"kith/tasks/wire"
)

// puppet is a worker whose every word the test chooses.
type puppet struct {
	t      *testing.T
	w      *world
	conn   net.Conn
	wire   *wire.Session
	id     tasks.NodeID
	n      byte
	ended  chan error // what HandleSession returned
	leases []tasks.Lease
	raw    []byte         // of the message heard last
	heard  []wire.Message // in order
	share  int            // of the time in which it computes, by its own word
	stays  int64          // milliseconds at a time
}

// puppet connects one more worker, which says nothing yet.
func (w *world) puppet(t *testing.T, n byte) *puppet {
	t.Helper()
	return w.puppetAt(t, n, netip.AddrFrom4([4]byte{10, 1, n, 1}))
}

// puppetAt connects one from a given address.
func (w *world) puppetAt(t *testing.T, n byte, addr netip.Addr) *puppet {
	t.Helper()
	k, id := key(n)
	here, there := net.Pipe()
	p := &puppet{t: t, w: w, conn: here, id: id, n: n, ended: make(chan error, 1)}
	p.wire = wire.NewSession(network, k, w.submitter.id, wire.NewSessionID(), wire.Worker)
	s := w.submitter
	go func() {
		p.ended <- s.HandleSession(w.ctx, &stream{there, id, addr, w.old})
	}()
	t.Cleanup(func() { here.Close() })
	return p
}

func (p *puppet) capability() []byte {
	k, _ := key(p.n)
	now := time.Now().UnixMilli()
	b, err := wire.SignCapability(network, k, wire.Capability{Time: now, Expiry: now + 3600_000, Class: tasks.CPU, Sandbox: tasks.GradeProcess, Memory: 1 << 40, Share: p.share, Stays: p.stays})
	if err != nil {
		p.t.Fatal(err)
	}
	return b
}

func (p *puppet) hello() *wire.Hello {
	return &wire.Hello{Network: network, Capability: p.capability(), Ask: wire.Ask{Slots: 4}, Time: time.Now().UnixMilli()}
}

func (p *puppet) frame(m wire.Message) []byte {
	p.t.Helper()
	f, err := p.wire.Seal(m, time.Now().UnixMilli())
	if err != nil {
		p.t.Fatal(err)
	}
	return f
}

func (p *puppet) send(m wire.Message) {
	p.t.Helper()
	if _, err := p.conn.Write(p.frame(m)); err != nil {
		p.t.Fatal(err)
	}
}

// hear reads until a message of type T comes.
func hear[T wire.Message](p *puppet) T {
	p.t.Helper()
	for {
		f, err := wire.ReadFrame(p.conn, nil)
		if err != nil {
			p.t.Fatalf("waiting for %T: %v", *new(T), err)
		}
		m, err := p.wire.Open(f, time.Now().UnixMilli())
		if err != nil {
			p.t.Fatal(err)
		}
		p.raw, p.heard = f, append(p.heard, m)
		if l, ok := m.(*wire.Leases); ok {
			p.leases = append(p.leases, l.Leases...)
		}
		if want, ok := m.(T); ok {
			return want
		}
	}
}

// join says hello and waits for the first leases.
func (p *puppet) join() *puppet {
	p.t.Helper()
	p.send(p.hello())
	hear[*wire.Leases](p)
	return p
}

// deaf reads and forgets whatever comes, so that the submitter's writes do not stand.
func (p *puppet) deaf() { go func() { _, _ = io.Copy(io.Discard, p.conn) }() }

// fate waits for the end of the session.
func (p *puppet) fate() error {
	p.t.Helper()
	select {
	case err := <-p.ended:
		return err
	case <-time.After(time.Hour):
		p.t.Fatal("the session goes on")
		return nil
	}
}

// result computes a lease's honest reveal.
func (p *puppet) result(l *tasks.Lease) tasks.Reveal {
	p.t.Helper()
	e := p.w.submitter.exec
	out, err := e.Run(p.t.Context(), l.Do, func(int64, int64) {})
	if err != nil {
		p.t.Fatal(err)
	}
	sums, err := e.Digest(p.t.Context(), [][32]byte{l.Salt}, out.Root, out.Blocks)
	if err != nil {
		p.t.Fatal(err)
	}
	r := tasks.Reveal{Lease: l.ID, Root: out.Root, Digest: sums[0], Bytes: out.Bytes}
	byCID := map[dag.CID][]byte{}
	for _, b := range out.Blocks {
		byCID[b.CID] = b.Data
	}
	seen := map[dag.CID]bool{}
	var walk func(c dag.CID)
	walk = func(c dag.CID) {
		if seen[c] {
			return
		}
		seen[c] = true
		r.Blocks = append(r.Blocks, byCID[c])
		links, err := dag.Links(c, byCID[c])
		if err != nil {
			p.t.Fatal(err)
		}
		for _, l := range links {
			walk(l)
		}
	}
	walk(out.Root)
	return r
}

func (p *puppet) commit(r *tasks.Reveal) tasks.Commit {
	return tasks.Commit{Lease: r.Lease, Hash: tasks.CommitHash(r.Lease, p.id, r.Root, r.Digest)}
}

// bubble runs a scenario with a submitter under fake time.
func bubble(t *testing.T, f func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.submit()
		f(t, w)
	})
}

// begin submits one task, k = 2 of 3.
func (w *world) begin(t *testing.T, n int) tasks.JobID {
	t.Helper()
	id, err := w.submitter.Submit(t.Context(), noop(n))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// blame is what a job says of a worker.
func (w *world) blame(t *testing.T, id tasks.JobID, worker tasks.NodeID) (list []tasks.Outcome) {
	t.Helper()
	st, err := w.submitter.Job(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range st.Blame {
		if b.Worker == worker {
			list = append(list, b.Outcome)
		}
	}
	return list
}
