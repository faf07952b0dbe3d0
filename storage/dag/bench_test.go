package dag_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"testing"

	"kith/storage/dag"
	"kith/storage/memstore"
)

// drop is a store that forgets, so that a benchmark measures the builder alone.
type drop struct{}

func (drop) Put(context.Context, dag.CID, []byte) error { return nil }

// BenchmarkAddFile is cutting and hashing 256 MiB.
func BenchmarkAddFile(b *testing.B) {
	content := random(1, 256<<20)
	b.SetBytes(int64(len(content)))
	for b.Loop() {
		_, err := dag.AddFile(b.Context(), drop{}, bytes.NewReader(content), dag.Options{})
		must(b, err)
	}
}

// BenchmarkHole is a sparse file: equal leaves are hashed once.
func BenchmarkHole(b *testing.B) {
	b.SetBytes(1 << 30)
	for b.Loop() {
		z := zeros(1 << 30)
		_, err := dag.AddFile(b.Context(), drop{}, &z, dag.Options{})
		must(b, err)
	}
}

// BenchmarkSmallFile is a file of 4 KiB.
func BenchmarkSmallFile(b *testing.B) {
	content := random(1, 4<<10)
	b.SetBytes(int64(len(content)))
	for b.Loop() {
		_, err := dag.AddFile(b.Context(), drop{}, bytes.NewReader(content), dag.Options{})
		must(b, err)
	}
}

// BenchmarkRead reads 64 MiB back through a Reader.
func BenchmarkRead(b *testing.B) {
	s := memstore.NewBlobs()
	f := addBytes(b, s, random(1, 64<<20))
	b.SetBytes(f.Size)
	for b.Loop() {
		r, err := dag.Open(b.Context(), s, f.Root)
		must(b, err)
		_, err = io.Copy(io.Discard, r)
		must(b, err)
	}
}

// BenchmarkFiles lists a tree of 10,000 files.
func BenchmarkFiles(b *testing.B) {
	s := memstore.NewBlobs()
	content := map[string][]byte{}
	for i := range 10_000 {
		content[fmt.Sprintf("%d/%d/%d", i%10, i%97, i)] = nil
	}
	tree, err := dag.AddFiles(b.Context(), s, content)
	must(b, err)
	for b.Loop() {
		for _, err := range dag.Files(b.Context(), s, tree.Root) {
			must(b, err)
		}
	}
}
