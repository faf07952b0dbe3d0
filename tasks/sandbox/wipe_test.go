package sandbox_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kith/tasks/sandbox"
)

func TestWipe(t *testing.T) {
	home := t.TempDir()
	dir := filepath.Join(home, "work")
	closed := filepath.Join(dir, "a", "closed")
	if err := errors.Join(os.MkdirAll(filepath.Join(closed, "in", "it"), 0o700), os.WriteFile(filepath.Join(closed, "f"), nil, 0),
		os.WriteFile(filepath.Join(home, "other"), []byte("mine"), 0o600), os.Symlink(home, filepath.Join(dir, "a", "link")),
		os.Symlink(home, filepath.Join(dir, "link")), os.Chmod(filepath.Join(closed, "in"), 0), os.Chmod(closed, 0)); err != nil {
		t.Fatal(err)
	}
	deep := filepath.Join(dir, "deep") // longer than a path may be
	if err := os.Mkdir(deep, 0o700); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(deep)
	if err != nil {
		t.Fatal(err)
	}
	name := strings.Repeat("d", 200)
	for range 60 {
		next, err := root.OpenRoot(".")
		if err == nil {
			err = errors.Join(next.Mkdir(name, 0o700), root.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
		if root, err = next.OpenRoot(name); err != nil {
			t.Fatal(err)
		}
		next.Close()
	}
	root.Close()
	if err := sandbox.Wipe(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is still there: %v", err)
	}
	if b, err := os.ReadFile(filepath.Join(home, "other")); err != nil || string(b) != "mine" {
		t.Errorf("it followed a link out: %q, %v", b, err)
	}
	if err := sandbox.Wipe(dir); err != nil {
		t.Errorf("what is not there: %v", err)
	}
	if err := sandbox.Empty(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("empty what is not there: %v", err)
	}
}

func TestBare(t *testing.T) {
	dir := t.TempDir()
	bare := func() bool {
		t.Helper()
		b, err := sandbox.Bare(dir)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	if !bare() {
		t.Error("a new folder is not bare")
	}
	for _, name := range []string{"f", ".f", "..f", strings.Repeat("n", 255)} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, nil, 0); err != nil {
			t.Fatal(err)
		}
		if bare() {
			t.Errorf("bare with %q in it", name)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "sub"), 0); err != nil {
		t.Fatal(err)
	}
	if bare() {
		t.Error("bare with a folder in it")
	}
	if _, err := sandbox.Bare(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what is not there: %v", err)
	}
}
