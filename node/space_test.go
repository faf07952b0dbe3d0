package node

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kith/node/api"
	"kith/node/api/client"
	"kith/node/config"
	"kith/node/logfile"
	"kith/storage/quota"
	"kith/storage/storagetest"
	"kith/tasks"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func kindOf(t *testing.T, r api.SpaceReport, k quota.Kind) api.KindSpace {
	t.Helper()
	for _, x := range r.Kinds {
		if x.Kind == k {
			return x
		}
	}
	t.Fatalf("no %s in %+v", k, r)
	return api.KindSpace{}
}

// TestSpace: what fills the disk is told, looking deletes nothing, and freeing deletes what was told and no more.
func TestSpace(t *testing.T) {
	r := start(t, t.TempDir(), nil)
	blobs := r.live.Load().stores.blobs
	orphan := storagetest.Block(7, 500_000)
	must(t, blobs.Put(t.Context(), orphan.CID, orphan.Data))
	for range 2 { // what is younger than a collection stays: it may be an import under way
		if _, err := r.Collect(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	must(t, blobs.Put(t.Context(), orphan.CID, orphan.Data))
	dir := filepath.Join(r.home, filepath.FromSlash(logfile.Dir))
	must(t, os.MkdirAll(dir, 0o700))
	must(t, os.WriteFile(filepath.Join(dir, "kith-2026-01-02.log"), make([]byte, 5000), 0o600))
	must(t, os.WriteFile(filepath.Join(dir, logfile.Current), make([]byte, 50), 0o600))

	report, err := r.api.Space(t.Context())
	must(t, err)
	blocks, logs := kindOf(t, report, quota.Blocks), kindOf(t, report, quota.Logs)
	if blocks.Free < 500_000 || blocks.Things != 1 || blocks.Goes == "" || blocks.Quota == 0 || logs.Free != 5000 || logs.Things != 1 || !report.Running || report.Used == 0 || report.DiskTotal == 0 {
		t.Fatalf("%+v", report)
	}
	if ok, err := blobs.Has(t.Context(), orphan.CID); !ok || err != nil {
		t.Fatalf("looking deleted a block: %v", err)
	}
	// The mark: a block put after the last collection is young. One more collection makes it old.
	if _, err := r.Collect(t.Context()); err != nil {
		t.Fatal(err)
	}
	freed, err := r.api.FreeSpace(t.Context(), []quota.Kind{quota.Blocks, quota.Logs})
	must(t, err)
	if len(freed.Kinds) != 2 || freed.Kinds[0].Things != 1 || freed.Kinds[1].Bytes != 5000 {
		t.Errorf("%+v", freed)
	}
	if ok, err := blobs.Has(t.Context(), orphan.CID); ok || err != nil {
		t.Errorf("the block is still there: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, logfile.Current)); err != nil {
		t.Errorf("the log of today is gone: %v", err)
	}
	var told *client.Error
	for _, bad := range [][]quota.Kind{nil, {"everything"}, {quota.Scratch}} {
		if _, err := r.api.FreeSpace(t.Context(), bad); !errors.As(err, &told) || told.Code != api.CodeBadRequest {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// TestGuardAndQuotas: a full kind and a full disk stop new work; the owner can overrule both for a time, which is said,
// remembered over a restart, and ends by itself.
func TestGuardAndQuotas(t *testing.T) {
	home := t.TempDir()
	r := start(t, home, map[string]string{"storage.diskAlert": "10", "storage.diskStop": "10"})
	used := r.meters.space().UsedPercent()
	full := used >= 10
	blocked := func(n *running) tasks.Code {
		if reason := n.owner.Blocked(); reason != nil {
			return reason.Code
		}
		return ""
	}
	if full && blocked(r) != tasks.DiskFull {
		t.Errorf("the disk is used to %d %%: %q", used, blocked(r))
	}
	must(t, r.api.Override(t.Context(), time.Hour))
	if got := blocked(r); got != "" {
		t.Errorf("overruled, and yet %q", got)
	}
	s, err := r.api.Status(t.Context())
	if err != nil || !has(s.Health, "disk-guard-off", "until") {
		t.Errorf("%+v %v", s.Health, err)
	}
	must(t, r.stop())
	r = start(t, home, nil)
	if got := blocked(r); got != "" {
		t.Errorf("forgotten over a restart: %q", got)
	}
	must(t, r.api.Override(t.Context(), 0))
	if full && blocked(r) != tasks.DiskFull {
		t.Error("the guard is not on again")
	}
	for _, bad := range []time.Duration{-time.Second, 400 * 24 * time.Hour} {
		if err := r.api.Override(t.Context(), bad); err == nil {
			t.Errorf("off for %v", bad)
		}
	}
	// A kind over its quota.
	if _, err := r.settings.Set(map[string]string{"storage.diskStop": "100", "storage.models": "1MiB"}); err != nil {
		t.Fatal(err)
	}
	must(t, os.MkdirAll(filepath.Join(home, "models"), 0o700))
	must(t, os.WriteFile(filepath.Join(home, "models", "m"), make([]byte, 2<<20), 0o600))
	r.meters.walk()
	c := r.settings.Get()
	r.watchSpace(&c)
	if reason := r.owner.Blocked(); reason == nil || reason.Code != tasks.DiskFull || !strings.Contains(reason.Detail, "models") {
		t.Errorf("%+v", reason)
	}
	if s, err := r.api.Status(t.Context()); err != nil || !has(s.Health, "over-quota", "models") {
		t.Errorf("%+v %v", s.Health, err)
	}
}

func TestSpaceBadFiles(t *testing.T) {
	for _, text := range []string{"", "{", `{"until":-5}`, `{"until":99999999999999}`, `{"until":"x"}`} {
		home := t.TempDir()
		must(t, os.WriteFile(filepath.Join(home, spaceFile), []byte(text), 0o600))
		s, err := openSpace(home)
		if err != nil || !s.off().IsZero() {
			t.Errorf("%q: off until %v, %v", text, s.off(), err)
		}
	}
	// Without a node what the files tell is told.
	home := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(home, "blocks"), 0o700))
	must(t, os.WriteFile(filepath.Join(home, "blocks", "x"), make([]byte, 100_000), 0o600))
	if r := SpaceOf(home, config.Defaults()); kindOf(t, r, quota.Blocks).Bytes < 100_000 || r.Running {
		t.Errorf("%+v", r)
	}
}
