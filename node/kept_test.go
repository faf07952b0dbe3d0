package node

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

func TestKeptFile(t *testing.T) {
	dir := t.TempDir()
	f := keptFile(filepath.Join(dir, "x"))
	if b, err := f.Load(); b != nil || err != nil {
		t.Errorf("before anything was kept: %q %v", b, err)
	}
	for _, want := range [][]byte{{1, 2}, {}, {3}} {
		if err := f.Save(want); err != nil {
			t.Fatal(err)
		}
		if b, err := f.Load(); err != nil || !bytes.Equal(b, want) {
			t.Errorf("%q, want %q: %v", b, want, err)
		}
	}
	if err := os.WriteFile(string(f), make([]byte, mostKept+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Load(); err == nil {
		t.Error("too large a file is read")
	}
	if _, err := keptFile(dir).Load(); err == nil {
		t.Error("a folder is read")
	}
}
