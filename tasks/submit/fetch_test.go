package submit_test

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"kith/storage/dag"
	"kith/storage/memstore"
	"kith/tasks"
	"kith/tasks/job"
	"kith/tasks/submit"
	"kith/tasks/wire"
)

// sources is a fetcher whose outputs come as a test says.
type sources struct {
	submit.Fetcher
	mu    sync.Mutex
	asked []tasks.NodeID
	fetch func(ctx context.Context, from tasks.NodeID, turn int, root dag.CID) error
}

func (s *sources) FetchOutput(ctx context.Context, from tasks.NodeID, _ tasks.LeaseID, root dag.CID) error {
	s.mu.Lock()
	s.asked = append(s.asked, from)
	turn := len(s.asked)
	s.mu.Unlock()
	return s.fetch(ctx, from, turn, root)
}

// Two workers have the same bytes, and the one that is asked first does not give them. The other is asked at once when that
// fails or its session ends, and soon when it is only silent; neither is held to have withheld anything.
func TestBytesFromWhoeverHasThem(t *testing.T) {
	never := func(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) }
	for _, c := range []struct {
		name   string
		first  func(ctx context.Context, hangUp func()) error
		within time.Duration
	}{
		{"the first fails", func(context.Context, func()) error { return errors.New("no route") }, time.Second},
		{"the first is gone", func(ctx context.Context, hangUp func()) error { hangUp(); return never(ctx) }, time.Second},
		{"the first is silent", func(ctx context.Context, _ func()) error { return never(ctx) }, 15 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, nil)
				theirs := memstore.NewBlobs()
				src := &sources{}
				w.submit(func(o *submit.Options) { o.Fetcher = src })
				id := w.begin(t, 1)
				out, err := dag.AddFiles(t.Context(), theirs, map[string][]byte{"big": bytes.Repeat([]byte("x"), 3<<20)})
				if err != nil {
					t.Fatal(err)
				}
				exec := w.executor(theirs, "worker")
				ps := map[tasks.NodeID]*puppet{}
				for n := range byte(2) {
					p := w.puppet(t, 50+n).join()
					ps[p.id] = p
				}
				src.fetch = func(ctx context.Context, from tasks.NodeID, turn int, root dag.CID) error {
					if turn == 1 {
						return c.first(ctx, func() { ps[from].conn.Close() })
					}
					return copyDAG(ctx, theirs, w.submitter.blobs, root, func(dag.CID) bool { return true })
				}
				reveals := map[tasks.NodeID]tasks.Reveal{}
				for _, p := range ps {
					l := p.leases[0]
					sums, err := exec.Digest(t.Context(), [][32]byte{l.Salt}, out.Root, nil)
					if err != nil {
						t.Fatal(err)
					}
					r := tasks.Reveal{Lease: l.ID, Root: out.Root, Digest: sums[0], Bytes: 3 << 20}
					reveals[p.id] = r
					p.send(&wire.Commits{Commits: []tasks.Commit{p.commit(&r)}})
				}
				for _, p := range ps {
					hear[*wire.RevealRequest](p)
				}
				began := time.Now()
				for _, p := range ps {
					p.send(&wire.Reveals{Reveals: []tasks.Reveal{reveals[p.id]}})
					p.deaf()
				}
				for {
					synctest.Wait()
					st, err := w.submitter.Job(t.Context(), id)
					if err != nil {
						t.Fatal(err)
					}
					if st.Phase == job.Finished {
						break
					}
					if time.Since(began) > c.within {
						t.Fatalf("not done after %v: %s, asked %d", c.within, st.Phase, len(src.asked))
					}
					time.Sleep(100 * time.Millisecond)
				}
				if len(src.asked) != 2 || src.asked[0] == src.asked[1] {
					t.Errorf("asked %d times", len(src.asked))
				}
				for _, p := range ps {
					if b := w.blame(t, id, p.id); len(b) != 0 {
						t.Errorf("blamed: %v", b)
					}
				}
			})
		})
	}
}
