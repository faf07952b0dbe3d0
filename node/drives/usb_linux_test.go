package drives

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kith/bench"
	"kith/bench/disk"
	"kith/storage/governor"
)

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == disk.ChildArg {
		os.Exit(disk.Main())
	}
	os.Exit(m.Run())
}

// cheapDisk is a real block device of its own, made of a file, with a file system mounted on it.
type cheapDisk struct {
	image, device, mount string
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		t.Skipf("%s %q: %v: %s", name, args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func newCheapDisk(t *testing.T, size int64) cheapDisk {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("making a block device needs root")
	}
	dir := t.TempDir()
	d := cheapDisk{image: filepath.Join(dir, "image"), mount: filepath.Join(dir, "mount")}
	f, err := os.Create(d.image)
	must(t, err)
	must(t, errors.Join(f.Truncate(size), f.Close(), os.Mkdir(d.mount, 0o700)))
	run(t, "mkfs.ext4", "-q", "-m", "0", "-O", "^has_journal", d.image)
	d.device = run(t, "losetup", "--find", "--show", d.image)
	t.Cleanup(func() {
		_ = unix.Unmount(d.mount, unix.MNT_DETACH)
		if out, err := exec.Command("losetup", "--detach", d.device).CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	if err := unix.Mount(d.device, d.mount, "ext4", 0, ""); err != nil {
		t.Skipf("mount: %v", err)
	}
	return d
}

// throttle returns how to start a child that the kernel lets write only so many bytes a second to the disk.
func (d cheapDisk) throttle(t *testing.T, bytes int) func() (*exec.Cmd, error) {
	t.Helper()
	const root = "/sys/fs/cgroup/blkio"
	group := filepath.Join(root, fmt.Sprintf("kith-test-%d", os.Getpid()))
	if err := os.Mkdir(group, 0o755); err != nil {
		t.Skipf("no control group for block devices: %v", err)
	}
	t.Cleanup(func() {
		for range 100 { // until the child is gone
			if err := os.Remove(group); err == nil || errors.Is(err, os.ErrNotExist) {
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
		t.Errorf("%s stays", group)
	})
	var st unix.Stat_t
	must(t, unix.Stat(d.device, &st))
	c := governor.CapFor(unix.Major(st.Rdev), unix.Minor(st.Rdev), governor.Limits{ReadBytes: int64(bytes), WriteBytes: int64(bytes)})
	for file, line := range c.BlkIO() {
		if err := os.WriteFile(filepath.Join(group, file), []byte(line), 0o600); err != nil {
			t.Skipf("%s: %v", file, err)
		}
	}
	exe, err := os.Executable()
	must(t, err)
	return func() (*exec.Cmd, error) {
		return exec.Command("sh", "-c", `echo $$ > "$1"/cgroup.procs && exec "$2" "$3"`, "sh", group, exe, disk.ChildArg), nil
	}
}

// story is a log that tests read while it is written.
type story struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *story) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *story) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// TestCheapUSBDisk: a slow, failing, hot and nearly full external disk. The block device, its slowness and its errors are
// the kernel's own; that it hangs on USB and what its sensor says are made up, because this machine has no such disk. It is
// graded low, throttled and flagged, and the log tells why.
func TestCheapUSBDisk(t *testing.T) {
	if testing.Short() {
		t.Skip("works a throttled disk for seconds")
	}
	cheap := newCheapDisk(t, 96<<20)
	slow := cheap.throttle(t, 10<<20)
	var log story
	smart := disk.SMART{Verdict: disk.Sound, Counts: map[string]int64{}}
	of := func(path string) (disk.Drive, error) {
		d, err := disk.Of(path)
		if err == nil && d.Mount == cheap.mount {
			d.ID, d.Kind, d.Bus, d.Model, d.Spinning, d.Name, d.Path = "cheap", disk.USB, "usb", "Expansion Desk", "yes", filepath.Base(cheap.device), cheap.device
		}
		return d, err
	}
	k, err := Open(t.TempDir(), Options{
		Logger: slog.New(slog.NewTextHandler(&log, nil)), Of: of,
		Ask: func(context.Context, disk.Drive) disk.SMART { return smart },
	})
	must(t, err)
	defer func() { must(t, k.Close()) }()
	device := k.Device(cheap.mount)
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- k.Serve(ctx) }()
	defer func() { cancel(); <-served }()
	view := func() View {
		list, _ := k.List()
		for _, v := range list {
			if v.Drive.ID == "cheap" {
				return v
			}
		}
		t.Fatal("the disk is not listed")
		return View{}
	}

	// Slow: measured by the same child process as any drive, under the kernel's throttle.
	speed, err := disk.Prober{Command: slow}.Probe(t.Context(), disk.Options{Dir: cheap.mount, Budget: time.Second, Size: 16 << 20, Depths: []int{1, 4}})
	must(t, err)
	on, err := of(cheap.mount)
	must(t, err)
	k.Measured(disk.Report{Drive: on, Speed: speed, SMART: smart})
	v := view()
	if v.State.Grade != governor.Fragile || !strings.Contains(strings.Join(v.State.Why, "; "), "writes only") || v.Limits.WriteBytes > 7<<20 || v.Limits.Jobs != 1 || !speed.Direct {
		t.Fatalf("slow: %+v, limits %+v", v.State, v.Limits)
	}

	// Hot.
	smart.Hot, smart.Celsius = "63 °C, and 60 are too many for it", 63
	k.AskAll(t.Context())
	if v = view(); v.State.Cause != governor.Hot || v.State.Level == 0 {
		t.Fatalf("hot: %+v", v.State)
	}

	// Nearly full: 3 MB are left, so it is not measured, and says so.
	must(t, os.WriteFile(filepath.Join(cheap.mount, "precious"), bytes.Repeat([]byte("precious"), 8<<20/8), 0o600))
	var st unix.Statfs_t
	must(t, unix.Statfs(cheap.mount, &st))
	filler, err := os.Create(filepath.Join(cheap.mount, "filler"))
	must(t, err)
	_, err = io.CopyN(filler, zeros{}, int64(st.Bavail)*st.Bsize-3<<20)
	must(t, errors.Join(err, filler.Sync(), filler.Close()))
	full := disk.Study(t.Context(), disk.Prober{Command: slow}, cheap.mount, bench.Quick, nil)
	if !strings.Contains(full.Failed, disk.ErrNoRoom.Error()) {
		t.Errorf("nearly full: %q", full.Failed)
	}

	// Failing: the device loses its second half, and the kernel tells of errors when that is read.
	f, err := os.Open(filepath.Join(cheap.mount, "precious"))
	must(t, err)
	must(t, errors.Join(unix.Syncfs(int(f.Fd())), f.Close())) // what was written is on the device
	must(t, os.Truncate(cheap.image, 8<<20))
	for _, name := range []string{"filler", "precious"} {
		f, err := os.Open(filepath.Join(cheap.mount, name))
		must(t, err)
		must(t, unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)) // out of memory, so that the device is asked
		_, err = io.Copy(io.Discard, struct{ io.Reader }{device.Reader(t.Context(), f)})
		f.Close()
		if err == nil {
			t.Logf("%s was read whole", name)
		}
	}
	k.Decide()
	for range 50 { // the kernel's log is heard in its own time
		if strings.Contains(log.String(), "kernel: ") {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	v = view()
	if v.State.Level < 3 || !v.State.Flagged() || device.Limits().WriteBytes > v.State.Base.WriteBytes {
		t.Errorf("failing: %+v", v.State)
	}
	for _, words := range []string{"cause=regraded", "writes only", "cause=hot", "63 °C", "cause=io-error", "kernel: ", "Expansion Desk", "write_before", "level="} {
		if !strings.Contains(log.String(), words) {
			t.Errorf("the log does not tell %q:\n%s", words, log.String())
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }
