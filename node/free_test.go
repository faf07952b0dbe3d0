package node

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kith/node/api"
	"kith/node/lock"
	"kith/node/logfile"
	"kith/storage/badgerstore"
	"kith/storage/dag"
	"kith/storage/quota"
	"kith/storage/storagetest"
	"kith/tasks"
)

// stored reports which of the blocks the store of a data folder has in which no node runs.
func stored(t *testing.T, home string, cids ...dag.CID) []bool {
	t.Helper()
	s, err := badgerstore.Open(filepath.Join(home, blocksDir), badgerstore.Options{})
	must(t, err)
	defer func() { must(t, s.Close()) }()
	var out []bool
	for _, c := range cids {
		ok, err := s.Blobs().Has(t.Context(), c)
		must(t, err)
		out = append(out, ok)
	}
	return out
}

// TestFreeOffline: without a node, what no job needs goes and nothing else, results only when they are asked for, and a
// folder in use or a log that cannot be read is left alone.
func TestFreeOffline(t *testing.T) {
	if testing.Short() {
		t.Skip("runs a job")
	}
	first, donors := meet(t, 1)
	dir := writeFiles(t, map[string]string{"a.md": strings.Repeat("# Title\n\ntext\n\n", 2000)})
	j := first.submit(t, api.Submit{Path: dir, Ops: []api.Op{{Kind: "etl.zstd"}}, K: 1, Sensitivity: tasks.Public})
	j = first.finished(t, j.ID)
	orphan := storagetest.Block(9, 400_000)
	must(t, first.live.Load().stores.blobs.Put(t.Context(), orphan.CID, orphan.Data))
	log, home := slog.New(slog.DiscardHandler), first.home
	if f, err := FreeOffline(t.Context(), home, []quota.Kind{quota.Blocks}, log); !errors.Is(err, lock.ErrTaken) || len(f.Kinds) > 0 {
		t.Fatalf("beside a node that runs: %+v, %v", f, err)
	}
	must(t, donors[0].stop())
	must(t, first.stop())

	logs, scratch := filepath.Join(home, filepath.FromSlash(logfile.Dir)), filepath.Join(home, scratchDir, "left")
	must(t, os.MkdirAll(logs, 0o700))
	must(t, os.MkdirAll(scratch, 0o700))
	must(t, os.WriteFile(filepath.Join(scratch, "output"), make([]byte, 7000), 0o600))
	old, now := filepath.Join(logs, "kith-2026-01-02.log"), filepath.Join(logs, logfile.Current)
	must(t, os.WriteFile(old, make([]byte, 5000), 0o600))
	must(t, os.WriteFile(now, make([]byte, 50), 0o600))

	f, err := FreeOffline(t.Context(), home, []quota.Kind{quota.Blocks, quota.Logs}, log)
	must(t, err)
	freed := map[quota.Kind]int64{}
	for _, k := range f.Kinds {
		freed[k.Kind] = k.Bytes
	}
	if freed[quota.Scratch] < 7000 || freed[quota.Logs] != 5000 || freed[quota.Blocks] < 400_000 || f.Before == 0 || f.After == 0 {
		t.Errorf("%+v", f)
	}
	_, gone := os.Stat(old)
	_, left := os.Stat(scratch)
	if _, err := os.Stat(now); err != nil || !errors.Is(gone, os.ErrNotExist) || !errors.Is(left, os.ErrNotExist) {
		t.Errorf("the log of today: %v; an old one: %v; scratch: %v", err, gone, left)
	}
	if got := stored(t, home, orphan.CID, j.Result); got[0] || !got[1] {
		t.Fatalf("the orphan is there: %v, the result is there: %v", got[0], got[1])
	}
	// Results go when they are asked for.
	if f, err = FreeOffline(t.Context(), home, []quota.Kind{quota.Results}, log); err != nil || len(f.Kinds) != 1 || f.Kinds[0].Bytes == 0 {
		t.Errorf("%+v, %v", f, err)
	}
	if got := stored(t, home, j.Result); got[0] {
		t.Error("the result is still there")
	}
	// The node starts again and knows its job.
	again := start(t, home, map[string]string{"work.donate": "off"})
	if got, err := again.api.Job(t.Context(), j.ID.String()); err != nil || got.State != "done" {
		t.Errorf("%+v, %v", got, err)
	}
	must(t, again.live.Load().stores.blobs.Put(t.Context(), orphan.CID, orphan.Data))
	must(t, again.stop())

	// A job log that cannot be read pins nothing: then nothing may go.
	files, err := filepath.Glob(filepath.Join(home, filepath.FromSlash(submitDir), "*"))
	must(t, err)
	for _, name := range files {
		if data, err := os.ReadFile(name); err == nil && len(data) > 0 {
			must(t, os.WriteFile(name, append([]byte("no log"), data...), 0o600))
		}
	}
	if f, err := FreeOffline(t.Context(), home, []quota.Kind{quota.Blocks}, log); err == nil || !strings.Contains(err.Error(), "damaged") || len(f.Kinds) > 0 {
		t.Errorf("with a damaged log: %+v, %v", f, err)
	}
	if got := stored(t, home, orphan.CID); !got[0] {
		t.Error("blocks were deleted although the log of jobs could not be read")
	}
	if _, err := FreeOffline(t.Context(), filepath.Join(home, "none"), []quota.Kind{quota.Logs}, log); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no folder: %v", err)
	}
}
