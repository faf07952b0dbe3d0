package badgerstore_test

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"kith/storage"
	"kith/storage/badgerstore"
	"kith/storage/dag"
	"kith/storage/storagetest"
)

func benchBlocks(n, size int) []storage.Block {
	blocks := make([]storage.Block, n)
	for i := range blocks {
		blocks[i] = storagetest.Block(uint64(i), size)
	}
	return blocks
}

// BenchmarkPut writes 256 MiB of 1 MiB blocks into an empty store.
func BenchmarkPut(b *testing.B) {
	blocks := benchBlocks(256, dag.MaxBlock)
	b.SetBytes(256 << 20)
	for b.Loop() {
		b.StopTimer()
		s := fresh(b, b.TempDir(), badgerstore.Options{})
		b.StartTimer()
		for _, blk := range blocks {
			must(b, s.Blobs().Put(b.Context(), blk.CID, blk.Data))
		}
		b.StopTimer()
		must(b, s.Close())
		b.StartTimer()
	}
}

// BenchmarkPutMany writes 20,000 blocks of 4 KiB in batches of 1000.
func BenchmarkPutMany(b *testing.B) {
	blocks := benchBlocks(20_000, 4<<10)
	b.SetBytes(20_000 * 4 << 10)
	for b.Loop() {
		b.StopTimer()
		s := fresh(b, b.TempDir(), badgerstore.Options{})
		b.StartTimer()
		for i := 0; i < len(blocks); i += 1000 {
			must(b, s.Blobs().PutMany(b.Context(), blocks[i:i+1000]))
		}
		b.StopTimer()
		must(b, s.Close())
		b.StartTimer()
	}
}

// BenchmarkView reads 256 MiB of 1 MiB blocks, verified, without copying; BenchmarkGet copies.
func BenchmarkView(b *testing.B) {
	benchRead(b, func(s *badgerstore.Blobs, c dag.CID) error {
		return s.View(b.Context(), c, func([]byte) error { return nil })
	})
}

func BenchmarkGet(b *testing.B) {
	benchRead(b, func(s *badgerstore.Blobs, c dag.CID) error {
		_, err := s.Get(b.Context(), c)
		return err
	})
}

func benchRead(b *testing.B, read func(*badgerstore.Blobs, dag.CID) error) {
	s := fresh(b, b.TempDir(), badgerstore.Options{})
	blocks := benchBlocks(256, dag.MaxBlock)
	must(b, s.Blobs().PutMany(b.Context(), blocks))
	b.SetBytes(256 << 20)
	for b.Loop() {
		for _, blk := range blocks {
			must(b, read(s.Blobs(), blk.CID))
		}
	}
}

// BenchmarkAddTree imports the Go distribution's own source tree: 11,000 files, 128 MB.
func BenchmarkAddTree(b *testing.B) {
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		b.Skip("no Go distribution: ", err)
	}
	src := filepath.Join(strings.TrimSpace(string(root)), "src")
	for b.Loop() {
		b.StopTimer()
		s := fresh(b, b.TempDir(), badgerstore.Options{})
		b.StartTimer()
		tree, err := dag.AddTree(b.Context(), s.Blobs(), src, dag.Options{})
		must(b, err)
		b.SetBytes(tree.Size)
		b.StopTimer()
		must(b, s.Close())
		b.StartTimer()
	}
}
