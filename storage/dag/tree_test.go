package dag_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"kith/storage/dag"
	"kith/storage/memstore"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestExportRoundTrip(t *testing.T) {
	s := memstore.NewBlobs()
	want := map[string][]byte{
		"a/b/c": random(1, 3000), "a/big": random(2, 2*dag.MaxBlock+5), "empty": nil, " spaces & 🌿.md": []byte("x"), "a-b": []byte("y"),
	}
	tree, err := dag.AddFiles(t.Context(), s, want)
	must(t, err)
	dir := filepath.Join(t.TempDir(), "new", "folder")

	// Interrupted, taken up again, and once more with nothing left to do.
	ctx, cancel := context.WithCancel(t.Context())
	err = dag.Export(ctx, s, tree.Root, dir, func(done, _ int64) {
		if done > dag.MaxBlock {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("interrupted: %v", err)
	}
	must(t, os.MkdirAll(filepath.Join(dir, "a"), 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "a", "big"), nil, 0o644)) // as a power cut may leave it
	for range 2 {
		var last int64
		must(t, dag.Export(t.Context(), s, tree.Root, dir, func(done, total int64) {
			if total != tree.Size || done < last {
				t.Errorf("progress %d of %d", done, total)
			}
			last = done
		}))
		if last != tree.Size {
			t.Errorf("progress ends at %d of %d", last, tree.Size)
		}
	}
	n := 0
	must(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		must(t, err)
		got, err := os.ReadFile(path)
		must(t, err)
		if !bytes.Equal(got, want[filepath.ToSlash(name)]) {
			t.Errorf("%q differs", name)
		}
		n++
		return nil
	}))
	if n != len(want) {
		t.Errorf("%d files, want %d", n, len(want))
	}
	back, err := dag.AddTree(t.Context(), s, dir, dag.Options{})
	if err != nil || back.Root != tree.Root {
		t.Errorf("imported again: %v %v, want %v", back.Root, err, tree.Root)
	}
}

func TestExportTouchesNothingElse(t *testing.T) {
	s := memstore.NewBlobs()
	tree, err := dag.AddFiles(t.Context(), s, map[string][]byte{"sub/file": []byte("new")})
	must(t, err)
	t.Run("other content", func(t *testing.T) {
		dir := t.TempDir()
		must(t, os.Mkdir(filepath.Join(dir, "sub"), 0o755))
		path := filepath.Join(dir, "sub", "file")
		for _, old := range []string{"old", "longer than new"} {
			must(t, os.WriteFile(path, []byte(old), 0o644))
			if err := dag.Export(t.Context(), s, tree.Root, dir, nil); !errors.Is(err, fs.ErrExist) || !strings.Contains(err.Error(), "sub/file") {
				t.Errorf("got %v", err)
			}
			if got, err := os.ReadFile(path); err != nil || string(got) != old {
				t.Errorf("the file is now %q %v", got, err)
			}
		}
	})
	t.Run("link out", func(t *testing.T) {
		dir, outside := t.TempDir(), t.TempDir()
		if err := os.Symlink(outside, filepath.Join(dir, "sub")); err != nil {
			t.Skip(err)
		}
		if err := dag.Export(t.Context(), s, tree.Root, dir, nil); err == nil {
			t.Error("exported through a symbolic link")
		}
		if left, err := os.ReadDir(outside); err != nil || len(left) > 0 {
			t.Errorf("wrote outside: %v %v", left, err)
		}
	})
}

func TestAddTreeUnreadable(t *testing.T) {
	if runtime.GOOS == "windows" || os.Getuid() == 0 {
		t.Skip("root and Windows can read everything")
	}
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "good"), []byte("x"), 0o644))
	must(t, os.WriteFile(filepath.Join(dir, "secret"), []byte("x"), 0))
	must(t, os.Mkdir(filepath.Join(dir, "closed"), 0))
	t.Cleanup(func() { os.Chmod(filepath.Join(dir, "closed"), 0o755) })
	_, err := dag.AddTree(t.Context(), memstore.NewBlobs(), dir, dag.Options{})
	if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), dir) {
		t.Errorf("got %v", err)
	}
	tree, err := dag.AddTree(t.Context(), memstore.NewBlobs(), dir, dag.Options{SkipUnreadable: true})
	if err != nil || tree.Files != 1 || tree.SkippedCount != 2 {
		t.Errorf("%+v %v", tree, err)
	}
}

func TestAddTreeCountsWhatItSkips(t *testing.T) {
	dir := t.TempDir()
	for i := range 1005 {
		if err := os.Symlink("x", filepath.Join(dir, fmt.Sprint(i))); err != nil {
			t.Skip(err)
		}
	}
	tree, err := dag.AddTree(t.Context(), memstore.NewBlobs(), dir, dag.Options{})
	if err != nil || tree.SkippedCount != 1005 || len(tree.Skipped) != 1000 {
		t.Errorf("%d counted, %d listed: %v", tree.SkippedCount, len(tree.Skipped), err)
	}
}

func TestAddTreeTooDeep(t *testing.T) {
	dir := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(dir, strings.Repeat("d/", 70)), 0o755))
	if _, err := dag.AddTree(t.Context(), memstore.NewBlobs(), dir, dag.Options{}); err == nil || !strings.Contains(err.Error(), "64 folders deep") {
		t.Errorf("got %v", err)
	}
}

func TestAddTreeStops(t *testing.T) {
	dir := t.TempDir()
	f, err := os.Create(filepath.Join(dir, "sparse"))
	must(t, err)
	must(t, f.Truncate(1<<40))
	must(t, f.Close())
	ctx, cancel := context.WithCancel(t.Context())
	_, err = dag.AddTree(ctx, memstore.NewBlobs(), dir, dag.Options{Progress: func(_ int, n int64) {
		if n > 10<<20 {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestAddTreeReportsAFullStore(t *testing.T) {
	dir := t.TempDir()
	for i := range 100 {
		must(t, os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), random(uint64(i), 1000), 0o644))
	}
	s := memstore.NewBlobs()
	s.SetLimit(5000)
	if _, err := dag.AddTree(t.Context(), s, dir, dag.Options{SkipUnreadable: true}); err == nil {
		t.Error("a full store went unnoticed")
	}
}
