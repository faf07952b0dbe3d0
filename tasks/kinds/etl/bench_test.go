package etl_test

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"kith/tasks"
	"kith/tasks/kinds/etl/chunk"
	"kith/tasks/kinds/etl/compress"
	"kith/tasks/kinds/etl/corpus"
	"kith/tasks/kinds/etl/dedup"
	"kith/tasks/kinds/etl/hash"
	"kith/tasks/kinds/kindtest"
)

// dir is a tasks.Output on disk.
type dir string

func (d dir) Create(name string) (io.WriteCloser, error) {
	path := filepath.Join(string(d), filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	return os.Create(path)
}

func (d dir) Pass(in fs.FS, from, name string) error {
	return os.Link(filepath.Join(string(in.(dirFS)), from), filepath.Join(string(d), name))
}

// dirFS is os.DirFS whose folder can be found again.
type dirFS string

func (d dirFS) Open(name string) (fs.File, error) { return os.DirFS(string(d)).Open(name) }

// goSource lays the source of Go's standard library out as corpora of 4 MiB on disk, and returns them and their size.
func goSource(b *testing.B) (parts []fs.FS, size int64) {
	b.Helper()
	root := kindtest.GoSource(b)
	var paths []string
	if err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			paths = append(paths, path)
		}
		return err
	}); err != nil {
		b.Skip(err)
	}
	slices.Sort(paths)
	var w *corpus.Writer
	var filled int64
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			b.Fatal(err)
		}
		if w != nil && filled+int64(len(data)) > tasks.DefaultPartBytes {
			if err := w.Close(); err != nil {
				b.Fatal(err)
			}
			w = nil
		}
		if w == nil {
			folder := b.TempDir()
			parts = append(parts, dirFS(folder))
			if w, err = corpus.Create(dir(folder)); err != nil {
				b.Fatal(err)
			}
			filled = 0
		}
		if err := w.Write(&corpus.Record{Path: path[len(root)+1:]}, data); err != nil {
			b.Fatal(err)
		}
		filled += int64(len(data))
		size += int64(len(data))
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
	return parts, size
}

// step is one phase of one kind.
type step struct {
	kind   tasks.Kind
	phase  string
	params string
}

// through runs steps one after another over one part, as one task of a map stage would.
func through(b *testing.B, in fs.FS, steps ...step) fs.FS {
	b.Helper()
	for _, s := range steps {
		folder := b.TempDir()
		c := &tasks.Call{Phase: s.phase, Params: []byte(s.params), Parts: 32, Ranges: 8, In: []fs.FS{in}, Out: dir(folder)}
		if err := s.kind.Run(b.Context(), c); err != nil {
			b.Fatal(err)
		}
		in = dirFS(folder)
	}
	return in
}

// BenchmarkMap measures map stages over source text in the page cache, in bytes of source. Run it with GOMAXPROCS=1.
func BenchmarkMap(b *testing.B) {
	parts, size := goSource(b)
	for _, c := range []struct {
		name  string
		steps []step
	}{
		{"chunk", []step{{chunk.Kind{}, "run", ""}}},
		{"chunk+sign", []step{{chunk.Kind{}, "run", ""}, {dedup.Kind{}, "sign", ""}}},
		{"chunk+sign, overlap", []step{{chunk.Kind{}, "run", `{"overlap":200}`}, {dedup.Kind{}, "sign", ""}}},
		{"hash", []step{{hash.Kind{}, "run", ""}}},
		{"hash, sha256", []step{{hash.Kind{}, "run", `{"algorithms":["sha256"]}`}}},
		{"zstd, chunks", []step{{chunk.Kind{}, "run", ""}, {compress.Kind{}, "run", ""}}},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(size)
			for b.Loop() {
				for _, part := range parts {
					through(b, part, c.steps...)
				}
			}
		})
	}
}

// BenchmarkDedup measures all phases of etl.dedup over chunks, in bytes of source.
func BenchmarkDedup(b *testing.B) {
	parts, size := goSource(b)
	chunks := make([]fs.FS, len(parts))
	for i, part := range parts {
		chunks[i] = through(b, part, step{chunk.Kind{}, "run", ""})
	}
	b.SetBytes(size)
	run := func(c tasks.Call) fs.FS {
		folder := b.TempDir()
		c.Parts, c.Ranges, c.Out = len(parts), 8, dir(folder)
		if err := (dedup.Kind{}).Run(b.Context(), &c); err != nil {
			b.Fatal(err)
		}
		return dirFS(folder)
	}
	for b.Loop() {
		var signed, found []fs.FS
		for i, part := range chunks {
			signed = append(signed, run(tasks.Call{Phase: "sign", Index: i, In: []fs.FS{part}}))
		}
		for r := range 8 {
			found = append(found, run(tasks.Call{Phase: "agree", Index: r, In: signed}))
		}
		resolved := run(tasks.Call{Phase: "resolve", In: found, Log: func(format string, args ...any) {
			b.Logf(format, args...)
		}})
		for i, part := range signed {
			drop := dirFS(filepath.Join(string(resolved.(dirFS)), fmt.Sprintf("%06d", i)))
			run(tasks.Call{Phase: "apply", Index: i, In: []fs.FS{drop, part}})
		}
	}
}
