package work

import (
	"bytes"
	"crypto/ed25519"
	"io"
	"testing"

	"kith/storage"
	"kith/storage/dag"
	"kith/tasks"
	"kith/tasks/wire"
)

// oneLog is a log of one snapshot and one record.
type oneLog struct{ snap, rec []byte }

func (l *oneLog) Append(_ []byte, _ bool, done func(uint64, error)) {
	if done != nil {
		done(1, nil)
	}
}

func (l *oneLog) Replay(_ uint64, fn func(uint64, []byte) error) error {
	if l.rec == nil {
		return nil
	}
	return fn(1, l.rec)
}

func (l *oneLog) WriteSnapshot(uint64, func(io.Writer) error) error { return nil }

func (l *oneLog) Snapshot() (uint64, io.ReadCloser, error) {
	if l.snap == nil {
		return 0, nil, storage.ErrNotFound
	}
	return 0, io.NopCloser(bytes.NewReader(l.snap)), nil
}

// FuzzRecover feeds damaged snapshots and records of the log: they are refused, or every promise in them belongs to a
// session that can be gone on with.
func FuzzRecover(f *testing.F) {
	to := tasks.NodeID{1}
	p := promise{Submitter: to, Lease: tasks.LeaseID{2}, Job: tasks.JobID{3}, Root: dag.Sum(dag.Raw, dag.SHA256, nil), Expiry: 1 << 50, Blocks: [][]byte{{1}}}
	st := standing{Submitter: to, Addresses: []string{"/ip4/127.0.0.1/tcp/1"}, Epoch: 4}
	encode := func(v any) []byte {
		b, err := dag.Marshal(v)
		if err != nil {
			f.Fatal(err)
		}
		return b
	}
	snap := encode(&snapshotFile{Version: snapshotVersion, Sessions: []standing{st}, Promises: []promise{p}})
	f.Add(snap, encode(&record{Promise: &p}))
	f.Add(snap, encode(&record{Settled: &p.Lease}))
	f.Add(snap, encode(&record{Settled: &p.Lease, Told: &told{Submitter: to, Outcome: tasks.Accepted}}))
	f.Add(snap, encode(&record{Session: &st}))
	root := dag.Sum(dag.Raw, dag.SHA256, nil)
	mine := promise{Submitter: to, Job: tasks.JobID{3}, Root: root, Expiry: 1 << 50, Epoch: 4, Kinds: []string{"x/run"}}
	self := tasks.NodeID(ed25519.NewKeyFromSeed(make([]byte, 32)).Public().(ed25519.PublicKey))
	named := mine.claim()
	mine.Lease = named.Lease(self)
	body := encode(&wire.Delivered{Results: []wire.Delivery{{Lease: mine.Lease, Root: root}}})
	word := wordRecord{At: 1, Heard: wire.Spoken{Head: wire.Head{Type: wire.TypeDelivered, Submitter: to}, Body: body}}
	claims := claimRecord{Since: 1, Heard: word.Heard, Leases: []wire.Claim{mine.claim()}, Fresh: true}
	f.Add(encode(&snapshotFile{Version: snapshotVersion, Sessions: []standing{st}, Promises: []promise{mine}}), encode(&record{Said: &word}))
	f.Add(encode(&snapshotFile{Version: snapshotVersion, Claims: []claimRecord{claims}}), encode(&record{Payer: &payer{Submitter: to, Earned: 1, Swept: 1, Window: -5}}))
	f.Add(encode(&snapshotFile{Version: snapshotVersion, Claims: []claimRecord{claims}}), encode(&record{Paid: []tasks.LeaseID{mine.Lease}}))
	f.Add(snap, encode(&record{Claims: &claims}))
	point := checkpoint{Key: [32]byte{5}, Root: p.Root, Bytes: 6, At: 1 << 50}
	f.Add(encode(&snapshotFile{Version: snapshotVersion, Checkpoints: []checkpoint{point, {}, {Bytes: -1}}}), encode(&record{Checkpoint: &point}))
	f.Add(snap, encode(&record{Done: &point.Key}))
	f.Add(encode(&snapshotFile{Version: 2}), []byte(nil))
	f.Fuzz(func(t *testing.T, snap, rec []byte) {
		for _, l := range []*oneLog{{snap: snap}, {rec: rec}, {snap, rec}} {
			d := New(Options{Key: ed25519.NewKeyFromSeed(make([]byte, 32)), Log: l})
			if err := d.recover(); err != nil {
				continue
			}
			if n := len(d.points.list); n > maxCheckpoints || n > 0 && (!d.points.list[0].Root.Defined() || d.points.list[0].Bytes < 0) {
				t.Fatalf("%d checkpoints, %+v", n, d.points.list)
			}
			for l, x := range d.dues {
				if x.claim.Lease(d.self) != l || len(d.dues) > maxDues {
					t.Fatalf("claim on %s under lease %s, of %d", x.claim.Lease(d.self).Short(), l.Short(), len(d.dues))
				}
			}
			for id, p := range d.payers {
				if w := p.window(1); p.Submitter != id || w < 0 || w > mostWindow {
					t.Fatalf("account of %s: %+v", id.Short(), p)
				}
			}
			for _, s := range d.order {
				if d.sessions[s.peer] != s || len(s.leases()) == 0 {
					t.Fatal("a session without a promise")
				}
				for _, h := range s.leases() {
					if h.s != s || h.state != committed || h.promise.Submitter != s.peer || h.lease.ID != h.promise.Lease {
						t.Fatalf("promise %+v", h.promise)
					}
				}
			}
		}
	})
}
