//go:build unix

package dag_test

import (
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"kith/storage/dag"
	"kith/storage/memstore"
)

// TestAddTreeSkipsPipes: what is no file is named and never opened, which would block.
func TestAddTreeSkipsPipes(t *testing.T) {
	dir, err := os.MkdirTemp("", "k") // short: socket paths are
	must(t, err)
	defer os.RemoveAll(dir)
	must(t, syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600))
	l, err := net.Listen("unix", filepath.Join(dir, "socket"))
	must(t, err)
	defer l.Close()
	tree, err := dag.AddTree(t.Context(), memstore.NewBlobs(), dir, dag.Options{})
	must(t, err)
	reasons := map[string]string{}
	for _, s := range tree.Skipped {
		reasons[s.Path] = s.Reason
	}
	if tree.Files != 0 || reasons["pipe"] != "named pipe" || reasons["socket"] != "socket" {
		t.Errorf("%+v", tree)
	}
	if _, err := dag.AddTree(t.Context(), memstore.NewBlobs(), filepath.Join(dir, "pipe"), dag.Options{}); err == nil {
		t.Error("a pipe was imported")
	}
}
