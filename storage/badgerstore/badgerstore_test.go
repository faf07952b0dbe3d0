package badgerstore_test

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"kith/storage"
	"kith/storage/badgerstore"
	"kith/storage/dag"
	"kith/storage/storagetest"
)

func open(dir string) (storagetest.Collected, storage.KV, io.Closer, error) {
	s, err := badgerstore.Open(dir, badgerstore.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, nil, nil, err
	}
	return s.Blobs(), s.KV(), s, nil
}

func TestMain(m *testing.M) { storagetest.Main(m, open) }

func fresh(t testing.TB, dir string, o badgerstore.Options) *badgerstore.Store {
	t.Helper()
	o.Logger = slog.New(slog.DiscardHandler)
	s, err := badgerstore.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestConformance(t *testing.T) {
	t.Run("Blobs", func(t *testing.T) {
		storagetest.Blobs(t, func(t *testing.T) (storagetest.Collected, func() error) {
			s := fresh(t, t.TempDir(), badgerstore.Options{})
			return s.Blobs(), s.Close
		})
	})
	t.Run("KV", func(t *testing.T) {
		storagetest.KV(t, func(t *testing.T) (storage.KV, func() error) {
			s := fresh(t, t.TempDir(), badgerstore.Options{})
			return s.KV(), s.Close
		})
	})
	t.Run("Disk", func(t *testing.T) { storagetest.Disk(t, open) })
}

// TestPowerCut: Badger syncs its tables and its manifest; value logs and memtables wait for Sync. KITH_POWER_CUTS says how
// often; make power-cut does it hundreds of times.
func TestPowerCut(t *testing.T) {
	rounds := 6
	if testing.Short() {
		rounds = 2
	}
	if n, err := strconv.Atoi(os.Getenv("KITH_POWER_CUTS")); err == nil {
		rounds = n
	}
	storagetest.PowerCut(t, open, rounds, "*.vlog", "*.mem")
}

func TestSecondOpenIsRefused(t *testing.T) {
	dir := t.TempDir()
	fresh(t, dir, badgerstore.Options{})
	_, _, _, err := open(dir)
	if !errors.Is(err, storage.ErrLocked) || !strings.Contains(err.Error(), filepath.Join(dir, "lock")) {
		t.Errorf("got %v", err)
	}
}

// TestFullDisk: below the reserve writes are refused and nothing else happens; with space again they work.
func TestFullDisk(t *testing.T) {
	var free atomic.Int64
	free.Store(1 << 40)
	s := fresh(t, t.TempDir(), badgerstore.Options{Reserve: 1 << 20, Free: func(string) (int64, error) { return free.Load(), nil }})
	a, b := storagetest.Block(1, 100_000), storagetest.Block(2, 100_000)
	must(t, s.Blobs().Put(t.Context(), a.CID, a.Data))
	free.Store(1<<20 + 50_000)
	if err := s.Blobs().Put(t.Context(), b.CID, b.Data); !errors.Is(err, storage.ErrFull) {
		t.Errorf("Put: %v", err)
	}
	free.Store(1 << 10)
	if err := s.KV().Set(t.Context(), []byte("k"), nil); !errors.Is(err, storage.ErrFull) {
		t.Errorf("Set: %v", err)
	}
	if got, err := s.Blobs().Get(t.Context(), a.CID); err != nil || !bytes.Equal(got, a.Data) {
		t.Errorf("Get: %v", err)
	}
	must(t, s.Blobs().Put(t.Context(), a.CID, a.Data)) // costs nothing
	must(t, s.Blobs().Delete(t.Context(), a.CID))      // gives space back
	free.Store(1 << 40)
	must(t, s.Blobs().Put(t.Context(), b.CID, b.Data))
}

// TestDamagedFiles: whichever file is damaged, however, the store opens or says that it is corrupt and what to do; and
// a block it returns is the right one.
func TestDamagedFiles(t *testing.T) {
	dir := t.TempDir()
	s := fresh(t, dir, badgerstore.Options{})
	var blocks []storage.Block
	for i := range uint64(200) {
		b := storagetest.Block(i, int(i)*100)
		blocks = append(blocks, b)
		must(t, s.Blobs().Put(t.Context(), b.CID, b.Data))
	}
	for _, b := range blocks { // records too, whose key tells the value
		must(t, s.KV().Set(t.Context(), b.CID[:], b.Data[:len(b.Data)/10]))
	}
	must(t, s.Close()) // the memtable becomes a table
	s = fresh(t, dir, badgerstore.Options{})
	for i := range uint64(50) {
		b := storagetest.Block(1000+i, int(i)*100)
		blocks = append(blocks, b)
		must(t, s.Blobs().Put(t.Context(), b.CID, b.Data))
	}
	must(t, s.Blobs().Sync(t.Context()))
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	must(t, err)
	files := map[string]file{} // as a kill would leave them
	for _, name := range names {
		files[filepath.Base(name)] = readSparse(t, name)
	}
	must(t, s.Close())
	damages := map[string]func([]byte) []byte{
		"flipped start":  func(d []byte) []byte { return flip(d, 5) },
		"flipped middle": func(d []byte) []byte { return flip(d, len(d)/2) },
		"flipped end":    func(d []byte) []byte { return flip(d, len(d)-1) },
		"cut":            func(d []byte) []byte { return d[:len(d)/2] },
		"empty":          func(d []byte) []byte { return nil },
		"gone":           nil,
	}
	for name := range files {
		if name == "LOCK" || name == "lock" {
			continue
		}
		for what, damage := range damages {
			t.Run(name+"/"+what, func(t *testing.T) {
				dir := t.TempDir()
				for n, f := range files {
					if n == name {
						if damage == nil {
							continue
						}
						f.content = damage(bytes.Clone(f.content))
						if !strings.HasPrefix(what, "flipped") {
							f.size = int64(len(f.content))
						}
					}
					path := filepath.Join(dir, n)
					must(t, os.WriteFile(path, f.content, 0o600))
					must(t, os.Truncate(path, f.size))
				}
				blobs, kv, closer, err := open(dir)
				if err != nil {
					if !errors.Is(err, storage.ErrCorrupt) || !strings.Contains(err.Error(), "move the folder") {
						t.Fatalf("Open: %v", err)
					}
					t.Logf("refused: %v", err)
					return
				}
				defer closer.Close()
				lost := 0
				for _, b := range blocks {
					got, err := blobs.Get(t.Context(), b.CID)
					switch {
					case err == nil && bytes.Equal(got, b.Data):
					case errors.Is(err, storage.ErrNotFound), errors.Is(err, storage.ErrCorrupt):
						lost++
						must(t, blobs.Put(t.Context(), b.CID, b.Data)) // mends it
						if got, err := blobs.Get(t.Context(), b.CID); err != nil || !bytes.Equal(got, b.Data) {
							t.Fatalf("put again: %v", err)
						}
					default:
						t.Fatalf("got %d bytes %v", len(got), err)
					}
				}
				for _, b := range blocks[:200] {
					got, err := kv.Get(t.Context(), b.CID[:])
					if err == nil && !bytes.Equal(got, b.Data[:len(b.Data)/10]) {
						t.Fatal("a record is wrong and nobody says so")
					}
					if err != nil && !errors.Is(err, storage.ErrNotFound) && !errors.Is(err, storage.ErrCorrupt) {
						t.Fatalf("record: %v", err)
					}
				}
				t.Logf("%d of %d blocks lost", lost, len(blocks))
			})
		}
	}
}

// file is a sparse file: content and then zeros.
type file struct {
	content []byte
	size    int64
}

func readSparse(t *testing.T, name string) file {
	f, err := os.Open(name)
	must(t, err)
	defer f.Close()
	info, err := f.Stat()
	must(t, err)
	content := make([]byte, min(info.Size(), 4<<20)) // all this test writes
	_, err = io.ReadFull(f, content)
	must(t, err)
	return file{bytes.TrimRight(content, "\x00"), info.Size()}
}

func flip(d []byte, at int) []byte {
	if at >= 0 && at < len(d) { // empty files stay empty
		d[at] ^= 4
	}
	return d
}

func TestCompactGivesSpaceBack(t *testing.T) {
	if testing.Short() {
		t.Skip("writes 300 MB")
	}
	s := fresh(t, t.TempDir(), badgerstore.Options{})
	ctx := t.Context()
	var cids []dag.CID
	for i := range uint64(300) {
		b := storagetest.Block(i, dag.MaxBlock)
		must(t, s.Blobs().Put(ctx, b.CID, b.Data))
		cids = append(cids, b.CID)
	}
	keep := storagetest.Block(7, dag.MaxBlock)
	mark := s.Blobs().Mark()
	must(t, s.Blobs().Put(ctx, keep.CID, keep.Data))
	if n, size, err := s.Blobs().DeleteBefore(ctx, mark, cids); err != nil || n != 299 || size != 299<<20 {
		t.Fatalf("deleted %d blocks of %d bytes: %v", n, size, err)
	}
	before, err := s.Size()
	must(t, err)
	must(t, s.Compact(ctx))
	after, err := s.Size()
	must(t, err)
	if after > before/2 {
		t.Errorf("%d MiB before, %d MiB after", before>>20, after>>20)
	}
	if got, err := s.Blobs().Get(ctx, keep.CID); err != nil || !bytes.Equal(got, keep.Data) {
		t.Errorf("the block that stays: %v", err)
	}
	if n, _, err := s.Blobs().DeleteBefore(ctx, mark, cids); err != nil || n != 0 {
		t.Errorf("moving a block made it older: %d %v", n, err)
	}
}

// TestManySmallWrites fills many memtables: without compactors of Badger's own, writing goes on and the tables stay few.
func TestManySmallWrites(t *testing.T) {
	if testing.Short() {
		t.Skip("writes 50 MB of small records")
	}
	dir := t.TempDir()
	s := fresh(t, dir, badgerstore.Options{})
	var blocks []storage.Block
	for i := range uint64(200_000) {
		blocks = append(blocks, storagetest.Block(i, 150))
		if len(blocks) == 1000 {
			must(t, s.Blobs().PutMany(t.Context(), blocks))
			blocks = blocks[:0]
		}
	}
	must(t, s.Close())
	names, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	must(t, err)
	var size int64
	for _, name := range names {
		info, err := os.Stat(name)
		must(t, err)
		size += info.Size()
	}
	t.Logf("%d tables of %d MiB", len(names), size>>20)
	s = fresh(t, dir, badgerstore.Options{})
	n := 0
	for _, err := range s.Blobs().All(t.Context()) {
		must(t, err)
		n++
	}
	if n != 200_000 {
		t.Errorf("%d blocks", n)
	}
}

// TestReopenedOften: every Close leaves a table; they do not pile up.
func TestReopenedOften(t *testing.T) {
	dir := t.TempDir()
	for i := range uint64(20) {
		s := fresh(t, dir, badgerstore.Options{})
		b := storagetest.Block(i, 100)
		must(t, s.Blobs().Put(t.Context(), b.CID, b.Data))
		must(t, s.KV().Set(t.Context(), []byte("opened"), []byte{byte(i)})) // so that the tables overlap
		must(t, s.Close())
	}
	names, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	must(t, err)
	if len(names) > 8 {
		t.Errorf("%d tables", len(names))
	}
}

// TestTinyDisk fills a real disk: no write dies on a mapped page, what was stored stays, and deleting makes room.
func TestTinyDisk(t *testing.T) {
	dir := storagetest.TinyDisk(t, 96<<20)
	if _, err := badgerstore.Open(dir, badgerstore.Options{}); !errors.Is(err, storage.ErrFull) {
		t.Errorf("less than the reserve free: %v", err)
	}
	o := badgerstore.Options{Reserve: 32 << 20}
	s := fresh(t, dir, o)
	var stored []storage.Block
	fill := func() {
		t.Helper()
		for i := 0; ; i++ {
			b := storagetest.Block(uint64(len(stored)), 100_000)
			err := s.Blobs().Put(t.Context(), b.CID, b.Data)
			if errors.Is(err, storage.ErrFull) {
				break
			}
			must(t, err)
			if stored = append(stored, b); i > 2000 {
				t.Fatal("the disk does not fill")
			}
		}
	}
	check := func() {
		t.Helper()
		for _, b := range stored {
			if got, err := s.Blobs().Get(t.Context(), b.CID); err != nil || !bytes.Equal(got, b.Data) {
				t.Fatalf("block %s: %v", b.CID, err)
			}
		}
	}
	fill()
	check()
	must(t, s.Blobs().Sync(t.Context()))
	must(t, s.Close())
	o.Reserve = 28 << 20 // the owner gives some of it
	s = fresh(t, dir, o)
	check()
	n := len(stored)
	fill()
	check()
	if len(stored) == n {
		t.Error("no more room though the reserve is smaller")
	}
}
