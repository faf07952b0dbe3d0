package submit_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"kith/storage/dag"
	"kith/storage/memstore"
	"kith/tasks"
	"kith/tasks/job"
	"kith/tasks/kinds"
	"kith/tasks/submit"
	"kith/tasks/wire"
)

// depots is a depot that takes and gives what a test says.
type depots struct {
	mu       sync.Mutex
	direct   bool
	known    bool
	fails    error
	deposits []dag.CID
	collect  func(root dag.CID) error
}

func (d *depots) set(f func(*depots)) { d.mu.Lock(); f(d); d.mu.Unlock() }

func (d *depots) Direct(tasks.NodeID) bool { d.mu.Lock(); defer d.mu.Unlock(); return d.direct }

func (d *depots) Choose() (tasks.NodeID, []string, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return tasks.NodeID{5}, []string{"/ip4/192.0.2.7/tcp/1"}, d.known
}

func (d *depots) Deposit(_ context.Context, at tasks.Depot, root dag.CID, until time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if at.Node != (tasks.NodeID{5}) || time.Until(until) < time.Minute {
		return errors.New("not the depot of the lease")
	}
	if d.fails != nil {
		d.known = false // as one that has just failed
		return d.fails
	}
	d.deposits = append(d.deposits, root)
	return nil
}

func (d *depots) Collect(_ context.Context, at tasks.Depot, _ tasks.LeaseID, root dag.CID, token []byte, _ int64, _ func([]dag.CID)) error {
	if at.Node != (tasks.NodeID{5}) || string(token) != "token" {
		return errors.New("not what the reveal says")
	}
	return d.collect(root)
}

// relayed is a stream over a relay.
type relayed struct{ *stream }

func (relayed) Relayed() bool { return true }

// relayedPuppet connects a worker over a relay.
func (w *world) relayedPuppet(t *testing.T, n byte) *puppet {
	t.Helper()
	k, id := key(n)
	here, there := net.Pipe()
	p := &puppet{t: t, w: w, conn: here, id: id, n: n, ended: make(chan error, 1)}
	p.wire = wire.NewSession(network, k, w.submitter.id, wire.NewSessionID(), wire.Worker)
	s := w.submitter
	go func() { p.ended <- s.HandleSession(w.ctx, relayed{&stream{Conn: there, remote: id}}) }()
	t.Cleanup(func() { here.Close() })
	return p
}

// chunks begins a job with an input.
func (w *world) chunks(t *testing.T) tasks.JobID {
	t.Helper()
	file, err := dag.AddFiles(t.Context(), w.submitter.blobs, map[string][]byte{"a.txt": bytes.Repeat([]byte("some text\n"), 50)})
	if err != nil {
		t.Fatal(err)
	}
	id, err := w.submitter.Submit(t.Context(), tasks.Spec{Ops: []tasks.Op{{Kind: "etl.chunk"}}, Input: file.Root, Sensitivity: tasks.Approved, Policy: tasks.Policy{K: 1}})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// A worker behind a relay gets leases when their inputs lie in a depot; without a depot the job says what is missing.
func TestLeasesThroughADepot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &depots{fails: tasks.Reason{Code: tasks.DepotFull}}
		w := newWorld(t, corpora())
		w.submit(func(o *submit.Options) { o.Depots = d })
		id := w.chunks(t)
		p := w.relayedPuppet(t, 50)
		p.send(p.hello())
		if m := hear[*wire.Welcome](p); m.Reason == nil || m.Reason.Code != tasks.NoBlockPath {
			t.Errorf("welcomed with %+v", m.Reason)
		}
		waits := func() bool {
			time.Sleep(10 * time.Second)
			e, err := w.submitter.Explain(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			for _, x := range e.Waits {
				if x.Reason.Code == tasks.NoBlockPath && strings.Contains(x.Reason.Remedy(), "serve.depot") {
					return true
				}
			}
			return false
		}
		if !waits() {
			t.Error("the job does not say that blocks have no way")
		}
		d.set(func(d *depots) { d.known = true })
		if !waits() {
			t.Error("the job does not say that the depot is full")
		}
		d.set(func(d *depots) { d.known, d.fails = true, nil })
		hear[*wire.Leases](p)
		l := p.leases[0]
		if l.Depot == nil || l.Depot.Node != (tasks.NodeID{5}) || len(l.Depot.Addresses) != 1 || len(l.Depot.Tokens) != len(l.Do.Inputs) || len(d.deposits) != 1 || d.deposits[0] != l.Do.Inputs[0] {
			t.Fatalf("depot %+v, deposits %v", l.Depot, d.deposits)
		}
		token, err := wire.OpenFetchToken(network, time.Now().UnixMilli(), p.id, l.Do.Inputs[0], l.Depot.Tokens[0])
		if err != nil || token.By != w.submitter.id || token.Lease != l.ID || token.Expiry != l.Expiry {
			t.Errorf("token %+v, %v", token, err)
		}
	})
}

// With a direct path beside the relay, nothing goes through a depot.
func TestDirectPathBesideARelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &depots{direct: true, known: true}
		w := newWorld(t, corpora())
		w.submit(func(o *submit.Options) { o.Depots = d })
		w.chunks(t)
		p := w.relayedPuppet(t, 50).join()
		if p.leases[0].Depot != nil || len(d.deposits) != 0 {
			t.Errorf("depot %+v, deposits %v", p.leases[0].Depot, d.deposits)
		}
	})
}

// An output that lies in a depot is collected, opened with the key of its lease, and held against its commit.
func TestOutputFromADepot(t *testing.T) {
	for _, c := range []struct {
		name string
		lie  bool
	}{{"honest", false}, {"sealed under another key", true}} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := &depots{known: true}
				w := newWorld(t, kinds.All())
				w.submit(func(o *submit.Options) { o.Depots = d })
				id, err := w.submitter.Submit(t.Context(), tasks.Spec{Ops: []tasks.Op{{Kind: "test.noop", Params: []byte(`{"tasks":1}`)}}, Sensitivity: tasks.Public, Policy: tasks.Policy{K: 1}})
				if err != nil {
					t.Fatal(err)
				}
				p := w.relayedPuppet(t, 50).join()
				l := p.leases[0]
				if l.Depot == nil || len(l.Depot.Tokens) != 0 {
					t.Fatalf("depot %+v", l.Depot)
				}
				blobs := memstore.NewBlobs()
				exec := w.executor(blobs, "worker")
				out, err := dag.AddFiles(t.Context(), blobs, map[string][]byte{"big": bytes.Repeat([]byte("x"), 3<<20)})
				if err != nil {
					t.Fatal(err)
				}
				sums, err := exec.Digest(t.Context(), [][32]byte{l.Salt}, out.Root, nil)
				if err != nil {
					t.Fatal(err)
				}
				k := tasks.OutputKey(l.Salt)
				if c.lie {
					k[0]++
				}
				sealed, size, err := exec.Pack(t.Context(), out.Root, k)
				if err != nil {
					t.Fatal(err)
				}
				d.collect = func(root dag.CID) error {
					return copyDAG(t.Context(), blobs, w.submitter.blobs, root, func(dag.CID) bool { return true })
				}
				p.send(&wire.Commits{Commits: []tasks.Commit{{Lease: l.ID, Hash: tasks.CommitHash(l.ID, p.id, out.Root, sums[0])}}})
				hear[*wire.RevealRequest](p)
				p.send(&wire.Reveals{Reveals: []tasks.Reveal{{
					Lease: l.ID, Root: out.Root, Digest: sums[0], Bytes: 3 << 20,
					Parcel: &tasks.Parcel{Depot: l.Depot.Node, Root: sealed, Bytes: size, Token: []byte("token")},
				}}})
				got := hear[*wire.Verdicts](p).Verdicts[0].Outcome
				if want := map[bool]tasks.Outcome{false: tasks.Accepted, true: tasks.Withheld}[c.lie]; got != want {
					t.Errorf("verdict %s, want %s", got, want)
				}
				if !c.lie {
					synctest.Wait()
					if st, err := w.submitter.Job(t.Context(), id); err != nil || st.Phase != job.Finished {
						t.Errorf("%s, %v", st.Phase, err)
					}
				}
			})
		})
	}
}
