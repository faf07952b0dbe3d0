package gc_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"kith/storage"
	"kith/storage/badgerstore"
	"kith/storage/dag"
	"kith/storage/gc"
	"kith/storage/memstore"
	"kith/storage/storagetest"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func pins(cids ...dag.CID) iter.Seq2[dag.CID, error] {
	return func(yield func(dag.CID, error) bool) {
		for _, c := range cids {
			if !yield(c, nil) {
				return
			}
		}
	}
}

func putNode(t testing.TB, s dag.Putter, links ...dag.CID) dag.CID {
	t.Helper()
	data, err := dag.Marshal(links)
	must(t, err)
	c := dag.Sum(dag.DagCBOR, dag.SHA256, data)
	must(t, s.Put(t.Context(), c, data))
	return c
}

func tree(t testing.TB, s dag.Putter, seed int) dag.Entry {
	t.Helper()
	e, err := dag.AddFiles(t.Context(), s, map[string][]byte{
		"a/b":    fmt.Append(nil, "file ", seed),
		"a/c":    []byte("shared"),
		"a/d/e":  bytes.Repeat([]byte{byte(seed)}, 2*dag.MaxBlock+1),
		"common": []byte("shared too"),
	})
	must(t, err)
	return e
}

func check(t testing.TB, s dag.Getter, root dag.CID) {
	t.Helper()
	must(t, dag.Walk(t.Context(), s, root, func(dag.CID, []byte) (bool, error) { return true, nil }))
}

func TestRun(t *testing.T) {
	disk, err := badgerstore.Open(t.TempDir(), badgerstore.Options{Logger: slog.New(slog.DiscardHandler)})
	must(t, err)
	defer disk.Close()
	for name, s := range map[string]storagetest.Collected{"memory": memstore.NewBlobs(), "disk": disk.Blobs()} {
		t.Run(name, func(t *testing.T) {
			keep, drop := tree(t, s, 1), tree(t, s, 2)
			loose := storagetest.Block(1, 5000)
			must(t, s.Put(t.Context(), loose.CID, loose.Data))
			dry, err := gc.Run(t.Context(), s, pins(keep.Root), gc.Options{DryRun: true})
			must(t, err)
			check(t, s, drop.Root)
			done, err := gc.Run(t.Context(), s, pins(keep.Root, keep.Root), gc.Options{})
			must(t, err)
			check(t, s, keep.Root)
			for _, c := range []dag.CID{drop.Root, loose.CID} {
				if ok, err := s.Has(t.Context(), c); ok || err != nil {
					t.Errorf("%s is still there: %v", c, err)
				}
			}
			if done.Freed == 0 || done.FreedBytes < 5000 || done.Freed != dry.Freed || done.FreedBytes != dry.FreedBytes || done.Kept != dry.Kept {
				t.Errorf("done %+v\ndry  %+v", done, dry)
			}
			again, err := gc.Run(t.Context(), s, pins(keep.Root), gc.Options{})
			if err != nil || again.Freed != 0 || again.Kept != done.Kept || again.Mark <= done.Mark && name == "memory" {
				t.Errorf("again: %+v %v", again, err)
			}
			none, err := gc.Run(t.Context(), s, pins(), gc.Options{})
			if err != nil || none.Kept != 0 || none.Freed != done.Kept {
				t.Errorf("without pins: %+v %v", none, err)
			}
		})
	}
}

// TestBefore: blocks put after the mark of the run before are safe though nothing pins them, also if they were there
// already.
func TestBefore(t *testing.T) {
	s := memstore.NewBlobs()
	again := storagetest.Block(1, 10)
	must(t, s.Put(t.Context(), again.CID, again.Data))
	first, err := gc.Run(t.Context(), s, pins(again.CID), gc.Options{})
	must(t, err)
	must(t, s.Put(t.Context(), again.CID, again.Data))
	young := storagetest.Block(2, 10)
	must(t, s.Put(t.Context(), young.CID, young.Data))
	second, err := gc.Run(t.Context(), s, pins(), gc.Options{Before: first.Mark})
	if err != nil || second.Freed != 0 || second.Young != 2 {
		t.Errorf("second: %+v %v", second, err)
	}
	third, err := gc.Run(t.Context(), s, pins(), gc.Options{Before: second.Mark})
	if err != nil || third.Freed != 2 {
		t.Errorf("third: %+v %v", third, err)
	}
}

// TestWritersMeanwhile: whatever is put while collections run, and pinned within an interval, is never lost.
func TestWritersMeanwhile(t *testing.T) {
	s := memstore.NewBlobs()
	var mu sync.Mutex
	var pinned []dag.CID
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		defer stop()
		for i := range 60 {
			e := tree(t, s, i%7) // some are put again after they were garbage
			mu.Lock()
			pinned = append(pinned, e.Root)
			if len(pinned) > 3 {
				pinned = pinned[1:]
			}
			mu.Unlock()
			done <- struct{}{}
		}
	})
	before := s.Mark()
	for ctx.Err() == nil {
		select { // whoever was putting when the last run took its mark has pinned by now
		case <-done:
		case <-ctx.Done():
		}
		mu.Lock()
		roots := append([]dag.CID{}, pinned...)
		mu.Unlock()
		r, err := gc.Run(t.Context(), s, pins(roots...), gc.Options{Before: before})
		must(t, err)
		before = r.Mark
		mu.Lock()
		roots = append([]dag.CID{}, pinned...)
		mu.Unlock()
		for _, c := range roots {
			check(t, s, c)
		}
	}
	wg.Wait()
}

func TestIncomplete(t *testing.T) {
	s := memstore.NewBlobs()
	e := tree(t, s, 1)
	garbage := storagetest.Block(1, 10)
	must(t, s.Put(t.Context(), garbage.CID, garbage.Data))
	a, err := dag.Lookup(t.Context(), s, e.Root, "a")
	must(t, err)
	must(t, s.Delete(t.Context(), a.Root))
	r, err := gc.Run(t.Context(), s, pins(e.Root), gc.Options{})
	if !errors.Is(err, gc.ErrIncomplete) || r.Missing != 1 || r.Examples[0] != a.Root || r.Freed != 0 {
		t.Errorf("%+v %v", r, err)
	}
	r, err = gc.Run(t.Context(), s, pins(e.Root), gc.Options{Incomplete: true})
	if err != nil || r.Missing != 1 || r.Freed < 4 {
		t.Errorf("%+v %v", r, err)
	}
	// A missing leaf reaches nothing: it is only reported.
	leaf := storagetest.Block(2, 10)
	r, err = gc.Run(t.Context(), s, pins(leaf.CID), gc.Options{})
	if err != nil || r.Missing != 1 || r.Examples[0] != leaf.CID {
		t.Errorf("%+v %v", r, err)
	}
}

func TestErrorsEndTheRun(t *testing.T) {
	s := memstore.NewBlobs()
	e := tree(t, s, 1)
	broken := errors.New("broken")
	roots := func(yield func(dag.CID, error) bool) { yield(dag.CID{}, broken) }
	if _, err := gc.Run(t.Context(), s, roots, gc.Options{}); !errors.Is(err, broken) {
		t.Errorf("roots: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := gc.Run(ctx, s, pins(e.Root), gc.Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	check(t, s, e.Root)
	deep := storagetest.Block(1, 1).CID
	for range 300 {
		deep = putNode(t, s, deep)
	}
	if _, err := gc.Run(t.Context(), s, pins(deep), gc.Options{}); !errors.Is(err, dag.ErrMalformed) {
		t.Errorf("too deep: %v", err)
	}
	must(t, s.Close())
	if _, err := gc.Run(t.Context(), s, pins(), gc.Options{}); !errors.Is(err, storage.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

// TestAgainstModel: on random DAGs, with so little memory that everything is spilled, the run keeps exactly what a set in
// memory would.
func TestAgainstModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 1))
		s := memstore.NewBlobs()
		var all []dag.CID
		links := map[dag.CID][]dag.CID{}
		for i := range 3000 {
			if i < 500 || rng.IntN(3) == 0 {
				b := storagetest.Block(rng.Uint64(), 20)
				must(t, s.Put(t.Context(), b.CID, b.Data))
				all = append(all, b.CID)
				continue
			}
			var below []dag.CID
			for range rng.IntN(12) {
				below = append(below, all[rng.IntN(len(all))])
			}
			c := putNode(t, s, below...)
			links[c] = below
			all = append(all, c)
		}
		var roots []dag.CID
		for range rng.IntN(20) {
			roots = append(roots, all[rng.IntN(len(all))])
		}
		want := map[dag.CID]bool{}
		var reach func(dag.CID)
		reach = func(c dag.CID) {
			if !want[c] {
				want[c] = true
				for _, l := range links[c] {
					reach(l)
				}
			}
		}
		for _, c := range roots {
			reach(c)
		}
		dir := t.TempDir()
		r, err := gc.Run(t.Context(), s, pins(roots...), gc.Options{Memory: 1, Dir: dir})
		if err != nil || r.Kept != int64(len(want)) || r.Missing != 0 {
			rt.Fatalf("%+v %v, want %d kept", r, err, len(want))
		}
		for c, err := range s.All(t.Context()) {
			if err != nil || !want[c] {
				rt.Fatalf("%s kept: %v", c, err)
			}
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
			rt.Fatalf("%d files left: %v", len(left), err)
		}
	})
}

// many is a store of n garbage leaves and n pinned ones that exist only as numbers.
type many struct {
	*memstore.Blobs
	n int
}

func (m many) All(context.Context) iter.Seq2[dag.CID, error] {
	return func(yield func(dag.CID, error) bool) {
		for i := range 2 * m.n {
			if !yield(numbered(i), nil) {
				return
			}
		}
	}
}

func (m many) DeleteBefore(_ context.Context, _ uint64, cids []dag.CID) (int, int64, error) {
	return len(cids), 0, nil
}

func numbered(i int) dag.CID {
	c := dag.Sum(dag.Raw, dag.SHA256, nil)
	copy(c[4:], []byte{byte(i >> 24), byte(i >> 16), byte(i >> 8), byte(i)})
	return c
}

// TestMemory: a million keys, half of them pinned, in half a MiB.
func TestMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("a million keys")
	}
	const n = 500_000
	roots := func(yield func(dag.CID, error) bool) {
		for i := range n {
			if !yield(numbered(i*7919%n*2), nil) {
				return
			}
		}
	}
	var before, peak runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	r, err := gc.Run(t.Context(), many{memstore.NewBlobs(), n}, roots, gc.Options{Memory: 512 << 10, Progress: func(int64, int64) {
		var now runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&now)
		peak.HeapAlloc = max(peak.HeapAlloc, now.HeapAlloc)
	}})
	if err != nil || r.Kept != n || r.Freed != n {
		t.Fatalf("%+v %v", r, err)
	}
	if held := int64(peak.HeapAlloc) - int64(before.HeapAlloc); held > 16<<20 {
		t.Errorf("held %d MiB; the keys take %d", held>>20, 2*n*dag.Size>>20)
	}
}
