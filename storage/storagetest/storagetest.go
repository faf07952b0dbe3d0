// Package storagetest is the conformance suite of stores: what storage.Blobs and storage.KV promise, as tests. Every
// implementation runs it; a store on disk also runs Disk, which kills and reopens it in a child process.
package storagetest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"kith/storage"
	"kith/storage/dag"
)

// Collected is what a store offers to garbage collection; see package gc.
type Collected interface {
	storage.Blobs
	Mark() uint64
	DeleteBefore(ctx context.Context, mark uint64, cids []dag.CID) (blocks int, bytes int64, err error)
}

// Block returns a raw block of n bytes, the same for the same arguments.
func Block(seed uint64, n int) storage.Block {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	data := make([]byte, n)
	rand.NewChaCha8(key).Read(data)
	return storage.Block{CID: dag.Sum(dag.Raw, dag.SHA256, data), Data: data}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Blobs runs the suite for blocks. open returns an empty store and a function that closes it.
func Blobs(t *testing.T, open func(t *testing.T) (blobs Collected, close func() error)) {
	fresh := func(t *testing.T) Collected {
		s, closeStore := open(t)
		t.Cleanup(func() { closeStore() })
		return s
	}
	t.Run("RoundTrip", func(t *testing.T) { roundTrip(t, fresh(t)) })
	t.Run("Refusals", func(t *testing.T) { refusals(t, fresh(t)) })
	t.Run("Copies", func(t *testing.T) { copies(t, fresh(t)) })
	t.Run("All", func(t *testing.T) { all(t, fresh(t)) })
	t.Run("Parallel", func(t *testing.T) { parallel(t, fresh(t)) })
	t.Run("Marks", func(t *testing.T) { marks(t, fresh(t)) })
	t.Run("MarksInParallel", func(t *testing.T) { marksInParallel(t, fresh(t)) })
	t.Run("Cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		useless(t, fresh(t), ctx, context.Canceled)
	})
	t.Run("Closed", func(t *testing.T) {
		s, closeStore := open(t)
		must(t, closeStore())
		must(t, closeStore())
		useless(t, s, t.Context(), storage.ErrClosed)
	})
}

func roundTrip(t *testing.T, s Collected) {
	ctx := t.Context()
	sizes := []int{dag.MaxBlock - 1, dag.MaxBlock}
	for _, n := range []int{0, 1, 64, 128, 256, 1000, 1024, 1060, 16 << 10, 64 << 10} {
		sizes = append(sizes, max(n-1, 0), n, n+1)
	}
	for i, n := range slices.Compact(sizes) {
		b := Block(uint64(i), n)
		switch i % 3 { // every codec and hash
		case 1:
			b.CID = dag.Sum(dag.Raw, dag.BLAKE3, b.Data)
		case 2:
			b.CID = dag.Sum(dag.DagCBOR, dag.SHA256, b.Data)
		}
		if ok, err := s.Has(ctx, b.CID); ok || err != nil {
			t.Fatalf("%d bytes: there before it was put: %v", n, err)
		}
		if _, err := s.Get(ctx, b.CID); !errors.Is(err, storage.ErrNotFound) {
			t.Fatalf("%d bytes: not found: %v", n, err)
		}
		if _, err := s.Size(ctx, b.CID); !errors.Is(err, storage.ErrNotFound) {
			t.Fatalf("%d bytes: not found: %v", n, err)
		}
		must(t, s.Put(ctx, b.CID, b.Data))
		must(t, s.Put(ctx, b.CID, b.Data)) // idempotent
		if ok, err := s.Has(ctx, b.CID); !ok || err != nil {
			t.Fatalf("%d bytes: gone: %v", n, err)
		}
		if got, err := s.Get(ctx, b.CID); err != nil || !bytes.Equal(got, b.Data) {
			t.Fatalf("%d bytes: got %d bytes %v", n, len(got), err)
		}
		if size, err := s.Size(ctx, b.CID); err != nil || size != n {
			t.Fatalf("%d bytes: size %d %v", n, size, err)
		}
		viewed := false
		must(t, s.View(ctx, b.CID, func(data []byte) error {
			viewed = bytes.Equal(data, b.Data)
			return nil
		}))
		if !viewed {
			t.Fatalf("%d bytes: view differs", n)
		}
		if i%2 == 0 {
			must(t, s.Delete(ctx, b.CID))
			must(t, s.Delete(ctx, b.CID)) // idempotent
			if ok, err := s.Has(ctx, b.CID); ok || err != nil {
				t.Fatalf("%d bytes: there after it was deleted: %v", n, err)
			}
			must(t, s.Put(ctx, b.CID, b.Data))
			if got, err := s.Get(ctx, b.CID); err != nil || !bytes.Equal(got, b.Data) {
				t.Fatalf("%d bytes: put again: %d bytes %v", n, len(got), err)
			}
		}
	}
	must(t, s.Sync(ctx))
	own := errors.New("of the caller")
	last := Block(9, 10)
	must(t, s.Put(ctx, last.CID, last.Data))
	if err := s.View(ctx, last.CID, func([]byte) error { return own }); !errors.Is(err, own) {
		t.Errorf("error of fn: %v", err)
	}
}

func refusals(t *testing.T, s Collected) {
	ctx := t.Context()
	b, other := Block(1, 100), Block(2, 100)
	if err := s.Put(ctx, b.CID, other.Data); !errors.Is(err, dag.ErrMismatch) {
		t.Errorf("wrong content: %v", err)
	}
	large := Block(3, dag.MaxBlock+1)
	if err := s.Put(ctx, large.CID, large.Data); !errors.Is(err, storage.ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
	if err := s.Put(ctx, dag.CID{}, nil); !errors.Is(err, dag.ErrCID) {
		t.Errorf("no CID: %v", err)
	}
	if err := s.PutMany(ctx, []storage.Block{other, {CID: b.CID, Data: other.Data}}); !errors.Is(err, dag.ErrMismatch) {
		t.Errorf("wrong content among many: %v", err)
	}
	must(t, s.PutMany(ctx, nil))
	for _, c := range []dag.CID{b.CID, large.CID} {
		if ok, err := s.Has(ctx, c); ok || err != nil {
			t.Errorf("refused and yet there: %v", err)
		}
	}
}

func copies(t *testing.T, s Collected) {
	ctx := t.Context()
	for _, n := range []int{100, 5000} {
		b := Block(1, n)
		buf := bytes.Clone(b.Data)
		must(t, s.Put(ctx, b.CID, buf))
		clear(buf)
		got, err := s.Get(ctx, b.CID)
		must(t, err)
		if !bytes.Equal(got, b.Data) {
			t.Errorf("%d bytes: the store kept the caller's slice", n)
		}
		clear(got)
		if got, err := s.Get(ctx, b.CID); err != nil || !bytes.Equal(got, b.Data) {
			t.Errorf("%d bytes: the store gave out its own slice: %v", n, err)
		}
	}
}

func all(t *testing.T, s Collected) {
	ctx := t.Context()
	if got := collect(t, s.All(ctx)); len(got) != 0 {
		t.Errorf("%d blocks in an empty store", len(got))
	}
	var blocks []storage.Block
	for i := range uint64(3000) {
		blocks = append(blocks, Block(i, int(i%1500)))
	}
	must(t, s.PutMany(ctx, blocks))
	got := collect(t, s.All(ctx))
	if !slices.IsSortedFunc(got, func(a, b dag.CID) int { return bytes.Compare(a[:], b[:]) }) {
		t.Error("not in key order")
	}
	want := map[dag.CID]bool{}
	for _, b := range blocks {
		want[b.CID] = true
	}
	for _, c := range got {
		delete(want, c)
	}
	if len(want) != 0 || len(got) > len(blocks) {
		t.Errorf("%d of %d blocks, %d missing", len(got), len(blocks), len(want))
	}
	n := 0
	for c, err := range s.All(ctx) { // writing within the loop is allowed, and so is leaving it
		must(t, err)
		must(t, s.Delete(ctx, c))
		if n++; n == 100 {
			break
		}
	}
	if left := collect(t, s.All(ctx)); len(left) != len(got)-100 {
		t.Errorf("%d left, want %d", len(left), len(got)-100)
	}
}

func collect(t *testing.T, all iter.Seq2[dag.CID, error]) (cids []dag.CID) {
	t.Helper()
	for c, err := range all {
		must(t, err)
		cids = append(cids, c)
	}
	return cids
}

func parallel(t *testing.T, s Collected) {
	ctx := t.Context()
	var wg sync.WaitGroup
	for w := range uint64(8) {
		wg.Go(func() {
			for i := range uint64(100) {
				b := Block(i+w%2*50, int(i)*40) // overlapping
				if err := s.Put(ctx, b.CID, b.Data); err != nil {
					t.Error(err)
				}
				if got, err := s.Get(ctx, b.CID); err != nil || !bytes.Equal(got, b.Data) {
					t.Errorf("got %d bytes %v", len(got), err)
				}
			}
		})
	}
	wg.Wait()
}

func marks(t *testing.T, s Collected) {
	ctx := t.Context()
	old, again, young := Block(1, 2000), Block(2, 2000), Block(3, 100)
	must(t, s.PutMany(ctx, []storage.Block{old, again}))
	mark := s.Mark()
	must(t, s.PutMany(ctx, []storage.Block{again, young}))
	cids := []dag.CID{old.CID, again.CID, young.CID, Block(4, 1).CID}
	n, size, err := s.DeleteBefore(ctx, mark, cids)
	if err != nil || n != 1 || size != 2000 {
		t.Errorf("deleted %d blocks of %d bytes %v, want 1 of 2000", n, size, err)
	}
	for i, want := range []bool{false, true, true} {
		if ok, err := s.Has(ctx, cids[i]); err != nil || ok != want {
			t.Errorf("block %d: there %v %v, want %v", i, ok, err, want)
		}
	}
	n, size, err = s.DeleteBefore(ctx, s.Mark(), cids)
	if err != nil || n != 2 || size != 2100 {
		t.Errorf("deleted %d blocks of %d bytes %v, want 2 of 2100", n, size, err)
	}
	must(t, s.Put(ctx, again.CID, again.Data))
	if got, err := s.Get(ctx, again.CID); err != nil || !bytes.Equal(got, again.Data) {
		t.Errorf("put after a sweep: %v", err)
	}
}

// marksInParallel: a block whose put returned after the mark is never deleted, whatever runs at the same time.
func marksInParallel(t *testing.T, s Collected) {
	ctx := t.Context()
	var cids []dag.CID
	for i := range uint64(50) {
		b := Block(i, 1500)
		cids = append(cids, b.CID)
		must(t, s.Put(ctx, b.CID, b.Data))
	}
	for range 10 {
		mark := s.Mark()
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, _, err := s.DeleteBefore(ctx, mark, cids); err != nil {
				t.Error(err)
			}
		})
		for i := range uint64(50) {
			b := Block(i, 1500)
			must(t, s.Put(ctx, b.CID, b.Data))
		}
		wg.Wait()
		for _, c := range cids {
			if ok, err := s.Has(ctx, c); !ok || err != nil {
				t.Fatalf("block put after the mark is gone: %v", err)
			}
		}
	}
}

// useless checks that every method fails with want.
func useless(t *testing.T, s Collected, ctx context.Context, want error) {
	b := Block(1, 10)
	fails := func(name string, err error) {
		t.Helper()
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
	}
	_, err := s.Has(ctx, b.CID)
	fails("Has", err)
	_, err = s.Get(ctx, b.CID)
	fails("Get", err)
	fails("View", s.View(ctx, b.CID, func([]byte) error { return nil }))
	_, err = s.Size(ctx, b.CID)
	fails("Size", err)
	fails("Put", s.Put(ctx, b.CID, b.Data))
	fails("PutMany", s.PutMany(ctx, []storage.Block{b}))
	fails("Delete", s.Delete(ctx, b.CID))
	_, _, err = s.DeleteBefore(ctx, 0, nil)
	fails("DeleteBefore", err)
	fails("Sync", s.Sync(ctx))
	err = nil
	for _, err = range s.All(ctx) {
	}
	if !errors.Is(err, want) && want == storage.ErrClosed { // an empty store may not notice that ctx is done
		t.Errorf("All: %v, want %v", err, want)
	}
}

// KV runs the suite for records. open returns an empty store and a function that closes it.
func KV(t *testing.T, open func(t *testing.T) (kv storage.KV, close func() error)) {
	t.Run("RoundTrip", func(t *testing.T) {
		kv, closeStore := open(t)
		defer closeStore()
		records(t, kv)
	})
	t.Run("Closed", func(t *testing.T) {
		kv, closeStore := open(t)
		must(t, closeStore())
		ctx := t.Context()
		if err := kv.Set(ctx, []byte("k"), nil); !errors.Is(err, storage.ErrClosed) {
			t.Errorf("Set: %v", err)
		}
		if _, err := kv.Get(ctx, []byte("k")); !errors.Is(err, storage.ErrClosed) {
			t.Errorf("Get: %v", err)
		}
		if err := kv.Delete(ctx, []byte("k")); !errors.Is(err, storage.ErrClosed) {
			t.Errorf("Delete: %v", err)
		}
		for _, err := range kv.Scan(ctx, nil) {
			if !errors.Is(err, storage.ErrClosed) {
				t.Errorf("Scan: %v", err)
			}
		}
	})
}

func records(t *testing.T, kv storage.KV) {
	ctx := t.Context()
	if _, err := kv.Get(ctx, []byte("none")); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("not found: %v", err)
	}
	model := map[string]string{}
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range 2000 {
		key := fmt.Sprintf("%c/%x", 'a'+rng.IntN(3), rng.IntN(300))
		if rng.IntN(4) == 0 {
			must(t, kv.Delete(ctx, []byte(key)))
			delete(model, key)
			continue
		}
		value := Block(uint64(i), rng.IntN(3000)).Data
		must(t, kv.Set(ctx, []byte(key), value))
		model[key] = string(value)
	}
	for key, want := range model {
		got, err := kv.Get(ctx, []byte(key))
		if err != nil || string(got) != want {
			t.Fatalf("key %q: %d bytes %v, want %d", key, len(got), err, len(want))
		}
		clear(got) // ours
	}
	for _, prefix := range []string{"", "b", "b/1", "none"} {
		var last string
		n := 0
		for r, err := range kv.Scan(ctx, []byte(prefix)) {
			must(t, err)
			key := string(r.Key)
			if key <= last || key[:len(prefix)] != prefix || model[key] != string(r.Value) {
				t.Fatalf("scan %q: key %q after %q", prefix, key, last)
			}
			last = key
			n++
		}
		for key := range model {
			if len(key) >= len(prefix) && key[:len(prefix)] == prefix {
				n--
			}
		}
		if n != 0 {
			t.Errorf("scan %q: %d records too many", prefix, n)
		}
	}
	for range kv.Scan(ctx, nil) {
		break
	}
	value := []byte("value")
	must(t, kv.Set(ctx, []byte("mine"), value))
	clear(value)
	if got, err := kv.Get(ctx, []byte("mine")); err != nil || string(got) != "value" {
		t.Errorf("the store kept the caller's slice: %q %v", got, err)
	}
}
