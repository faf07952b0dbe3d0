package dag_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"kith/storage/dag"
	"kith/storage/memstore"
)

// random returns n bytes, the same for the same seed.
func random(seed uint64, n int) []byte {
	var key [32]byte
	key[0], key[1] = byte(seed), byte(seed>>8)
	b := make([]byte, n)
	rand.NewChaCha8(key).Read(b)
	return b
}

func addBytes(t testing.TB, s *memstore.Blobs, b []byte) dag.File {
	t.Helper()
	f, err := dag.AddFile(t.Context(), s, bytes.NewReader(b), dag.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func readAll(t testing.TB, s dag.Getter, c dag.CID) []byte {
	t.Helper()
	r, err := dag.Open(t.Context(), s, c)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := io.Copy(&b, r); err != nil {
		t.Fatal(err)
	}
	if int64(b.Len()) != r.Size() {
		t.Fatalf("read %d bytes, size %d", b.Len(), r.Size())
	}
	return b.Bytes()
}

func TestFileRoundTrip(t *testing.T) {
	for _, n := range []int{0, 1, 1000, dag.MaxBlock - 1, dag.MaxBlock, dag.MaxBlock + 1, 3*dag.MaxBlock + 7} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			s := memstore.NewBlobs()
			want := random(1, n)
			f := addBytes(t, s, want)
			if f.Size != int64(n) {
				t.Errorf("size %d, want %d", f.Size, n)
			}
			if n <= dag.MaxBlock && f.Root != dag.Sum(dag.Raw, dag.SHA256, want) {
				t.Error("a small file is not its raw block")
			}
			if !bytes.Equal(readAll(t, s, f.Root), want) {
				t.Error("read back other bytes")
			}
			// However the reader hands the bytes out, the root is the same.
			again, err := dag.AddFile(t.Context(), s, &dribble{b: want}, dag.Options{})
			if err != nil || again != f {
				t.Errorf("added again: %v %v, want %v", again, err, f)
			}
		})
	}
}

// dribble hands out its bytes in odd pieces.
type dribble struct {
	b []byte
	n int
}

func (d *dribble) Read(p []byte) (int, error) {
	if len(d.b) == 0 {
		return 0, io.EOF
	}
	d.n = (d.n*7 + 12345) % 600_000
	n := copy(p[:min(len(p), d.n+1)], d.b)
	d.b = d.b[n:]
	return n, nil
}

// TestGolden pins the roots: they are part of the protocol.
func TestGolden(t *testing.T) {
	s := memstore.NewBlobs()
	large := addBytes(t, s, random(2, 3*dag.MaxBlock))
	small := addBytes(t, s, []byte("hello"))
	dir, err := dag.NewDirectory(t.Context(), s, []dag.Entry{
		{Name: "b\xff", Root: small.Root, Size: small.Size},
		{Name: "a", Root: large.Root, Size: large.Size},
	})
	if err != nil {
		t.Fatal(err)
	}
	data, err := s.Get(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range []struct{ name, got, want string }{
		{"small", small.Root.String(), goldenSmall},
		{"large", large.Root.String(), goldenLarge},
		{"dir", dir.String(), goldenDir},
		{"dir bytes", fmt.Sprintf("%x", data), goldenDirBytes},
	} {
		if g.got != g.want {
			t.Errorf("%s: %s, want %s", g.name, g.got, g.want)
		}
	}
}

func TestLargeFileIsCut(t *testing.T) {
	if testing.Short() {
		t.Skip("hashes 300 MB")
	}
	s := memstore.NewBlobs()
	want := random(3, 140<<20)
	for i := 0; i < len(want); i += 300 + int(want[i])*8 {
		want[i] = '\n'
	}
	want[len(want)-1] = '\n'
	f := addBytes(t, s, want)
	if !bytes.Equal(readAll(t, s, f.Root), want) {
		t.Fatal("read back other bytes")
	}
	var segments []dag.File
	at := int64(0)
	for seg, err := range dag.Segments(t.Context(), s, f) {
		if err != nil {
			t.Fatal(err)
		}
		if seg.Size > dag.MaxSegment {
			t.Errorf("segment of %d bytes", seg.Size)
		}
		part := want[at : at+seg.Size]
		if part[len(part)-1] != '\n' {
			t.Errorf("segment ending at %d tears a line", at+seg.Size)
		}
		if own := addBytes(t, s, part); own != seg {
			t.Errorf("the segment's bytes as a file are %v, want %v", own, seg)
		}
		segments = append(segments, seg)
		at += seg.Size
	}
	if len(segments) < 3 || at != f.Size {
		t.Fatalf("%d segments over %d of %d bytes", len(segments), at, f.Size)
	}
	// A byte put in at the front changes the first segments and leaves the others as they were.
	moved := addBytes(t, s, append([]byte("x"), want...))
	var same int
	for seg, err := range dag.Segments(t.Context(), s, moved) {
		if err != nil {
			t.Fatal(err)
		}
		if slices.Contains(segments, seg) {
			same++
		}
	}
	if same < len(segments)-1 {
		t.Errorf("only %d of %d segments survive an insertion", same, len(segments))
	}
	var files []dag.CID
	for _, seg := range segments {
		files = append(files, seg.Root)
	}
	whole, err := dag.Concat(t.Context(), s, s, files)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(readAll(t, s, whole), want) {
		t.Error("the segments joined are not the file")
	}
}

// zeros yields n zero bytes.
type zeros int64

func (z *zeros) Read(p []byte) (int, error) {
	if *z == 0 {
		return 0, io.EOF
	}
	n := min(int64(len(p)), int64(*z))
	clear(p[:n])
	*z -= zeros(n)
	return int(n), nil
}

func TestHoleIsOneBlock(t *testing.T) {
	s := memstore.NewBlobs()
	z := zeros(200 << 20)
	f, err := dag.AddFile(t.Context(), s, &z, dag.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if f.Size != 200<<20 || s.Used() > 3<<20 {
		t.Errorf("%d bytes stored for a hole of %d", s.Used(), f.Size)
	}
	var count, total int64
	for seg, err := range dag.Segments(t.Context(), s, f) {
		if err != nil {
			t.Fatal(err)
		}
		count++
		total += seg.Size
	}
	if count != 4 || total != f.Size {
		t.Errorf("%d segments of %d bytes", count, total)
	}
}

func TestAddFileStops(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	reason := errors.New("enough")
	z := zeros(1 << 50)
	_, err := dag.AddFile(ctx, memstore.NewBlobs(), &z, dag.Options{Progress: func(_ int, n int64) {
		if n > 5<<20 {
			cancel(reason)
		}
	}})
	if !errors.Is(err, reason) {
		t.Errorf("got %v", err)
	}
}

func TestReaderSeeks(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := memstore.NewBlobs()
		var want []byte
		var roots []dag.CID
		for i := range rapid.IntRange(0, 8).Draw(rt, "files") {
			b := random(uint64(i), rapid.SampledFrom([]int{0, 1, 10, 5000, dag.MaxBlock + 3}).Draw(rt, "size"))
			want = append(want, b...)
			roots = append(roots, addBytes(t, s, b).Root)
		}
		c, err := dag.Concat(t.Context(), s, s, roots)
		if err != nil {
			rt.Fatal(err)
		}
		r, err := dag.Open(t.Context(), s, c)
		if err != nil {
			rt.Fatal(err)
		}
		ref := bytes.NewReader(want)
		if r.Size() != int64(len(want)) {
			rt.Fatalf("size %d, want %d", r.Size(), len(want))
		}
		for range 20 {
			off := rapid.Int64Range(0, int64(len(want))+5).Draw(rt, "offset")
			n := rapid.IntRange(0, 3000).Draw(rt, "length")
			if _, err := r.Seek(off, io.SeekStart); err != nil {
				rt.Fatal(err)
			}
			ref.Seek(off, io.SeekStart)
			got, gotErr := io.ReadAll(io.LimitReader(r, int64(n)))
			exp, expErr := io.ReadAll(io.LimitReader(ref, int64(n)))
			if !bytes.Equal(got, exp) || gotErr != expErr {
				rt.Fatalf("at %d: %d bytes %v, want %d %v", off, len(got), gotErr, len(exp), expErr)
			}
		}
	})
}

func TestConcatIsAssociative(t *testing.T) {
	s := memstore.NewBlobs()
	concat := func(cs ...dag.CID) dag.CID {
		t.Helper()
		c, err := dag.Concat(t.Context(), s, s, cs)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	for _, n := range []int{2, 3, 4095, 4096, 4097, 9000} {
		var roots []dag.CID
		for i := range n {
			roots = append(roots, addBytes(t, s, []byte(fmt.Sprint("file ", i%50))).Root)
		}
		whole := concat(roots...)
		for _, at := range []int{1, n / 2, n - 1} {
			if concat(concat(roots[:at]...), concat(roots[at:]...)) != whole {
				t.Errorf("%d files: grouping at %d changes the root", n, at)
			}
		}
	}
}

func TestAddTree(t *testing.T) {
	dir := t.TempDir()
	want := map[string][]byte{}
	for _, name := range []string{"a/b/c.txt", "a/big", "a/ spaces & 🌿.md", "z\xff\xfe", "empty", "a-b"} {
		content := random(uint64(len(name)), max(0, len(name)-5)*100_000)
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Skipf("this file system refuses %q: %v", name, err)
		}
		want[name] = content
	}
	if err := os.Mkdir(filepath.Join(dir, "folder"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("..", filepath.Join(dir, "a", "loop")); err != nil {
		t.Skip(err)
	}
	s := memstore.NewBlobs()
	var files int
	var size int64
	tree, err := dag.AddTree(t.Context(), s, dir, dag.Options{Progress: func(f int, n int64) { files, size = f, n }})
	if err != nil {
		t.Fatal(err)
	}
	if tree.Files != len(want) || tree.Folders != 4 || files != tree.Files || size != tree.Size {
		t.Errorf("%+v, progress %d files %d bytes", tree, files, size)
	}
	if len(tree.Skipped) != 1 || tree.Skipped[0].Path != "a/loop" || !strings.Contains(tree.Skipped[0].Reason, "symbolic") {
		t.Errorf("skipped %v", tree.Skipped)
	}
	got := map[string][]byte{}
	for e, err := range dag.Files(t.Context(), s, tree.Root) {
		if err != nil {
			t.Fatal(err)
		}
		got[e.Name] = readAll(t, s, e.Root)
	}
	for name := range want {
		if !bytes.Equal(got[name], want[name]) {
			t.Errorf("%q differs", name)
		}
	}
	again, err := dag.AddTree(t.Context(), memstore.NewBlobs(), dir, dag.Options{Workers: 7})
	if err != nil || again.Root != tree.Root {
		t.Errorf("other scheduling, other root: %v %v", again.Root, err)
	}
	one, err := dag.AddTree(t.Context(), s, filepath.Join(dir, "a", "big"), dag.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if e, err := dag.Lookup(t.Context(), s, one.Root, "big"); err != nil || e.Size != int64(len(want["a/big"])) || one.Files != 1 {
		t.Errorf("single file: %+v %v %v", one, e, err)
	}
}

func TestAddTreeNamesWhatIsMissing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "no such thing")
	_, err := dag.AddTree(t.Context(), memstore.NewBlobs(), path, dag.Options{})
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "no such thing") {
		t.Errorf("got %v", err)
	}
}

func TestWalk(t *testing.T) {
	s := memstore.NewBlobs()
	tree, err := dag.AddFiles(t.Context(), s, map[string][]byte{"a": []byte("1"), "b/c": random(1, 2*dag.MaxBlock), "b/d": []byte("1")})
	if err != nil {
		t.Fatal(err)
	}
	visits := 0
	seen := map[dag.CID]bool{}
	err = dag.Walk(t.Context(), s, tree.Root, func(c dag.CID, data []byte) (bool, error) {
		visits++
		seen[c] = true
		return true, dag.Verify(c, data)
	})
	if err != nil || visits != 7 || len(seen) != 6 {
		t.Errorf("%d visits of %d blocks: %v", visits, len(seen), err)
	}
}

func TestWalkIsBounded(t *testing.T) {
	s := memstore.NewBlobs()
	c := dag.Sum(dag.Raw, dag.SHA256, nil)
	for range 70 {
		data, err := dag.Marshal([]dag.CID{c})
		if err != nil {
			t.Fatal(err)
		}
		c = dag.Sum(dag.DagCBOR, dag.SHA256, data)
		if err := s.Put(t.Context(), c, data); err != nil {
			t.Fatal(err)
		}
	}
	err := dag.Walk(t.Context(), s, c, func(dag.CID, []byte) (bool, error) { return true, nil })
	if !errors.Is(err, dag.ErrMalformed) {
		t.Errorf("got %v", err)
	}
}

func TestHashOption(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "big"), random(1, 2*dag.MaxBlock), 0o644))
	s := memstore.NewBlobs()
	tree, err := dag.AddTree(t.Context(), s, dir, dag.Options{Hash: dag.BLAKE3})
	must(t, err)
	must(t, dag.Walk(t.Context(), s, tree.Root, func(c dag.CID, _ []byte) (bool, error) {
		if c.Hash() != dag.BLAKE3 {
			t.Errorf("%s is not BLAKE3", c)
		}
		return true, nil
	}))
	if !bytes.Equal(readAll(t, s, mustLookup(t, s, tree.Root, "big").Root), random(1, 2*dag.MaxBlock)) {
		t.Error("read back other bytes")
	}
}

func mustLookup(t testing.TB, s dag.Getter, dir dag.CID, path string) dag.Entry {
	t.Helper()
	e, err := dag.Lookup(t.Context(), s, dir, path)
	must(t, err)
	return e
}

// TestWideFile reads a file of three levels, front to back and from a place in the middle.
func TestWideFile(t *testing.T) {
	s := memstore.NewBlobs()
	var roots []dag.CID
	var want []byte
	for i := range 9000 {
		b := fmt.Appendf(nil, "%d ", i)
		want = append(want, b...)
		roots = append(roots, addBytes(t, s, b).Root)
	}
	c, err := dag.Concat(t.Context(), s, s, roots)
	must(t, err)
	if !bytes.Equal(readAll(t, s, c), want) {
		t.Error("read back other bytes")
	}
	r, err := dag.Open(t.Context(), s, c)
	must(t, err)
	for _, at := range []int{40_000, 10, len(want) - 3} {
		_, err = r.Seek(int64(at), io.SeekStart)
		must(t, err)
		rest, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(rest, want[at:]) {
			t.Errorf("from %d: %d bytes %v", at, len(rest), err)
		}
	}
	must(t, r.Close())
	if _, err := r.Read(make([]byte, 1)); err == nil {
		t.Error("read after Close")
	}
}
