package disk

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kith/bench"
)

// mounted mounts something until the test ends.
func mounted(t *testing.T, source, kind string, flags uintptr, data string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount(source, dir, kind, flags, data); err != nil {
		t.Skipf("mounting needs root: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func empty(t *testing.T, dir string) {
	t.Helper()
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

func TestThreeMegabytesAreFree(t *testing.T) {
	dir := mounted(t, "tmpfs", "tmpfs", 0, "size=3m")
	if _, err := Measure(t.Context(), Options{Dir: dir, Budget: time.Second}); !errors.Is(err, ErrNoRoom) || !strings.Contains(err.Error(), "3.1 MB are free") {
		t.Errorf("measured: %v", err)
	}
	if r := Study(t.Context(), Prober{Command: as("probe")}, dir, bench.Quick, nil); !strings.Contains(r.Failed, ErrNoRoom.Error()) || r.Drive.Kind != Virtual {
		t.Errorf("studied: %+v", r)
	}
	if _, err := (Prober{Command: as("probe")}).Soak(t.Context(), SoakOptions{Dir: dir, Minutes: 1}); !errors.Is(err, ErrNoRoom) {
		t.Errorf("soaked: %v", err)
	}
	empty(t, dir)
}

func TestReadOnlyDisk(t *testing.T) {
	source := t.TempDir()
	dir := mounted(t, source, "", unix.MS_BIND, "")
	must(t, unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""))
	r := Study(t.Context(), Prober{Command: as("probe")}, dir, bench.Quick, nil)
	d := r.Device()
	if !r.Drive.ReadOnly || r.Failed != ErrReadOnly.Error() || !d.Has(bench.FlagReadOnly) {
		t.Errorf("%+v", r)
	}
	if m, ok := d.Get(bench.SeqWrite); !ok || m.Graded() {
		t.Errorf("%+v", m)
	}
	if _, err := Measure(t.Context(), Options{Dir: dir, Budget: time.Second}); !errors.Is(err, unix.EROFS) {
		t.Errorf("measured all the same: %v", err)
	}
	empty(t, source)
}

// TestNoPermission takes the rights of nobody for one thread.
func TestNoPermission(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "private")
	must(t, os.Mkdir(dir, 0o500))
	failed := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with its rights
		if os.Geteuid() == 0 {
			_ = unix.Setfsuid(65534)
		}
		_, err := Measure(t.Context(), Options{Dir: dir, Budget: time.Second})
		failed <- err
	}()
	if err := <-failed; !errors.Is(err, os.ErrPermission) {
		t.Errorf("got %v", err)
	}
	empty(t, dir)
}
