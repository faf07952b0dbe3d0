package node

import (
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"

	"kith/bench/disk"
	"kith/node/api"
	"kith/node/api/client"
	"kith/node/lock"
	"kith/storage/governor"
	"kith/tasks"
)

// TestDrives: a running node shows the drive of its data folder, counts what it reads and writes there, takes no work
// while it fails, and says so.
func TestDrives(t *testing.T) {
	r := start(t, t.TempDir(), nil)
	list, err := r.api.Drives(t.Context())
	if err != nil || len(list.Drives) != 1 {
		t.Fatalf("%+v %v", list, err)
	}
	d := list.Drives[0]
	if d.Stats.WrittenBytes == 0 || len(d.InUse) < 3 || d.Limits.WriteBytes == 0 || len(d.Decisions) == 0 {
		t.Errorf("%+v", d)
	}
	if _, err := r.api.SoakedDrive(t.Context(), t.TempDir()); err == nil || !strings.Contains(err.Error(), "no soak test") {
		t.Errorf("no soak test: %v", err)
	}
	var told *client.Error
	if _, err := r.api.ForgetDrive(t.Context(), "nosuchdrive"); !errors.As(err, &told) || told.Code != api.CodeNotFound {
		t.Errorf("no such drive: %v", err)
	}
	held := func() []governor.Cap {
		g := r.live.Load().gives
		g.mu.Lock()
		defer g.mu.Unlock()
		return g.caps.Drives
	}
	eventually(t, "tasks are held to the drive's limits", func() bool {
		c := held()
		return len(c) == 1 && c[0].WriteBytes == d.Limits.WriteBytes || len(r.driveCaps(0)) == 0 // no block device
	})
	if c := r.driveCaps(1 << 20); len(c) > 0 && (c[0].ReadBytes != 1<<20 || c[0].WriteBytes != 1<<20) {
		t.Errorf("the owner gives 1 MiB/s, the kernel is told %+v", c)
	}
	if err := r.drives.Tell(d.ID, governor.IOError, "sector 5"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "tasks are held to the lower limits", func() bool {
		c := held()
		return len(c) == 1 && c[0].WriteBytes < d.Limits.WriteBytes || len(r.driveCaps(0)) == 0
	})
	r.watchDrives()
	if s, err := r.api.Status(t.Context()); err != nil || !has(s.Health, "drive-throttled", "sector 5") {
		t.Errorf("%+v %v", s.Health, err)
	}
	r.drives.Measured(disk.Report{Drive: drive(t, r), SMART: disk.SMART{Verdict: disk.Dying, Why: []string{"SMART status"}}})
	r.watchDrives()
	s, err := r.api.Status(t.Context())
	if err != nil || !has(s.Health, "drive-failing", "SMART status") || len(s.Work.Why) == 0 || s.Work.Why[0].Code != tasks.DriveFailing {
		t.Errorf("%+v, %+v, %v", s.Health, s.Work.Why, err)
	}
	if got, err := r.api.ForgetDrive(t.Context(), d.ID[:6]); err != nil || got.Level != 0 {
		t.Errorf("%+v %v", got, err)
	}
	if _, _, err := OfflineDrives(r.home, slog.New(slog.NewTextHandler(io.Discard, nil))); !errors.Is(err, lock.ErrTaken) {
		t.Errorf("opened beside a node that runs: %v", err)
	}
}

func drive(t *testing.T, r *running) disk.Drive {
	t.Helper()
	d, err := disk.Of(r.home)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func has(list []api.Problem, code, text string) bool {
	for _, p := range list {
		if p.Code == code && strings.Contains(p.Text, text) {
			return true
		}
	}
	return false
}

// TestWorkOnFragileDrives: on slow external disks, lowered as far as limits go, a job still ends with the right result, and
// nothing waits for itself.
func TestWorkOnFragileDrives(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for slow drives")
	}
	first, donors := meet(t, 2)
	rate := []disk.Rate{{Depth: 1, Bytes: 12 << 20, Requests: 3000}}
	slow := disk.Result{Took: 1, SeqRead: rate, SeqWrite: rate, RandRead: rate, RandWrite: rate}
	for _, n := range append(donors, first) {
		d := drive(t, n)
		d.Kind, d.Bus, d.Spinning = disk.USB, "usb", "yes"
		n.drives.Measured(disk.Report{Drive: d, Speed: slow, SMART: disk.SMART{Verdict: disk.Sound}})
		for _, cause := range []governor.Cause{governor.IOError, governor.MediumError, governor.LinkReset} {
			must(t, n.drives.Tell(d.ID, cause, "a test"))
		}
		list, err := n.api.Drives(t.Context())
		if err != nil || list.Drives[0].Grade != governor.Fragile || list.Drives[0].Level != 5 || list.Drives[0].Limits.Queue != 1 {
			t.Fatalf("%+v %v", list, err)
		}
	}
	dir := writeFiles(t, map[string]string{"a/one.md": strings.Repeat("# Title\n\ntext\n\n", 20_000), "two.txt": "short"})
	j := first.submit(t, api.Submit{Path: dir, Ops: []api.Op{{Kind: "etl.chunk"}, {Kind: "etl.zstd"}}, Sensitivity: tasks.Public})
	j = first.finished(t, j.ID)
	if j.ResultBytes == 0 {
		t.Errorf("%+v", j)
	}
	checkResult(t, first, j)
	if list, err := first.api.Drives(t.Context()); err != nil || list.Drives[0].Stats.Waited == 0 || list.Drives[0].Stats.Reason == "" {
		t.Errorf("nobody waited: %+v %v", list.Drives[0].Stats, err)
	}
}
