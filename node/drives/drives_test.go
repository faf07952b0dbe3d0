package drives

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"kith/bench/disk"
	"kith/storage/governor"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// machine is a made-up machine: its drives, its kernel's log and its clock of starts.
type machine struct {
	mu      sync.Mutex
	on      map[string]disk.Drive // by path
	smart   disk.SMART
	kernel  chan string
	deaf    error
	boot    string
	booted  time.Time
	crashes []string
	log     bytes.Buffer
}

func newMachine() *machine {
	usb := disk.Drive{ID: "usb0000000000001", Name: "sdb", Path: "/dev/sdb", Kind: disk.USB, Model: "Seagate Expansion", Bus: "usb", Port: "usb 1-2", Spinning: "yes", Parts: []string{"sdb1"}, Major: 8, Minor: 16}
	return &machine{on: map[string]disk.Drive{"/data": usb}, kernel: make(chan string), boot: "first", booted: time.Now(), smart: disk.SMART{Verdict: disk.Sound, Counts: map[string]int64{}}}
}

func (m *machine) options() Options {
	return Options{
		Logger: slog.New(slog.NewTextHandler(&m.log, nil)),
		Of: func(path string) (disk.Drive, error) {
			m.mu.Lock()
			defer m.mu.Unlock()
			for at, d := range m.on {
				if strings.HasPrefix(path, at) {
					return d, nil
				}
			}
			return disk.Drive{}, fmt.Errorf("no drive holds %s", path)
		},
		Ask: func(context.Context, disk.Drive) disk.SMART {
			m.mu.Lock()
			defer m.mu.Unlock()
			return m.smart
		},
		Kernel: func(ctx context.Context, each func(string)) error {
			if m.deaf != nil {
				return m.deaf
			}
			for {
				select {
				case r := <-m.kernel:
					each(r)
				case <-ctx.Done():
					return ctx.Err()
				}
			}
		},
		Boot:    func() (string, time.Time, error) { return m.boot, m.booted, nil },
		Crashes: func(time.Time) []string { return m.crashes },
	}
}

func (m *machine) open(t *testing.T, home string) *Keeper {
	t.Helper()
	k, err := Open(home, m.options())
	must(t, err)
	return k
}

func only(t *testing.T, k *Keeper) View {
	t.Helper()
	list, _ := k.List()
	if len(list) != 1 {
		t.Fatalf("%d drives: %+v", len(list), list)
	}
	return list[0]
}

// TestStory: a cheap external disk resets, errs, heats up and dies; each thing lowers its limits with its cause, the log
// tells it, and quiet brings back what was not final.
func TestStory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine()
		m.booted = time.Now()
		home := t.TempDir()
		k := m.open(t, home)
		device := k.Device("/data")
		first := only(t, k)
		if first.State.Grade != governor.Fragile || first.Limits.Jobs != 1 || len(first.InUse) != 1 {
			t.Fatalf("%+v", first)
		}
		if n, _ := k.Jobs("/data"); n != 1 {
			t.Errorf("%d jobs at once", n)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- k.Serve(ctx) }()

		step := func(cause governor.Cause, level int) {
			t.Helper()
			synctest.Wait()
			v := only(t, k)
			last := v.Decisions[len(v.Decisions)-1]
			if last.Cause != cause || v.State.Level != level || device.Limits() != v.Limits || v.Limits != v.State.Limits() {
				t.Fatalf("%+v, level %d, want %s and %d", last, v.State.Level, cause, level)
			}
		}
		kernel := func(after time.Duration, text string) {
			m.kernel <- fmt.Sprintf("3,1,%d,-;%s", after.Microseconds(), text)
		}
		time.Sleep(time.Second)
		kernel(time.Second, "usb 1-2: reset high-speed USB device number 5 using xhci_hcd")
		step(governor.LinkReset, 1)
		kernel(2*time.Second, "I/O error, dev sda, sector 5") // another drive
		step(governor.LinkReset, 1)
		kernel(3*time.Second, "I/O error, dev sdb, sector 5 op 0x1:(WRITE)")
		step(governor.IOError, 3)
		device.Failed("write a block", &os.PathError{Op: "write", Path: "x", Err: syscall.EROFS})
		time.Sleep(decideEvery)
		step(governor.ReadOnly, 6)

		// A day and more of quiet.
		time.Sleep(6 * 25 * time.Hour)
		step(governor.Calm, 0)
		if v := only(t, k); v.Limits != first.Limits || v.State.Flagged() {
			t.Errorf("not as before: %+v", v.State)
		}
		m.mu.Lock()
		m.smart = disk.SMART{Verdict: disk.Warning, Why: []string{"3 pending sectors"}, Counts: map[string]int64{"pending": 3}, Hot: "64 °C", Celsius: 64}
		m.mu.Unlock()
		time.Sleep(askEvery + time.Second)
		if v := only(t, k); v.State.Level < 2 || v.State.Grade != governor.Fragile || v.SMART.Celsius != 64 {
			t.Errorf("%+v", v.State)
		}
		m.mu.Lock()
		m.smart = disk.SMART{Verdict: disk.Dying, Why: []string{"SMART status: the drive says it is failing"}}
		m.mu.Unlock()
		time.Sleep(askEvery + time.Second)
		if n, why := k.Jobs("/data"); n != 0 || !strings.Contains(why, "failing: SMART status") {
			t.Errorf("%d jobs: %s", n, why)
		}
		// One silent answer, of a sleeping drive, takes nothing back.
		m.mu.Lock()
		m.smart = disk.SMART{Verdict: disk.Silent, Why: []string{"asleep"}}
		m.mu.Unlock()
		time.Sleep(askEvery + time.Second)
		if v := only(t, k); v.State.Grade != governor.Failing {
			t.Errorf("%+v", v.State)
		}
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		must(t, k.Close())
		for _, words := range []string{"cause=link-reset", "cause=io-error", "cause=read-only", "cause=calm", "cause=hot", "cause=smart-failing", "grade=failing", "Seagate Expansion (sdb)", "kernel: usb 1-2"} {
			if !strings.Contains(m.log.String(), words) {
				t.Errorf("the log does not tell %q", words)
			}
		}
		again := only(t, m.open(t, home))
		if again.State.Grade != governor.Failing || len(again.Decisions) < 8 || again.Limits.Jobs != 0 {
			t.Errorf("forgotten over a restart: %+v", again.State)
		}
	})
}

// TestUncleanShutdown: a machine that went down while the node ran counts, a node that was merely killed does not.
func TestUncleanShutdown(t *testing.T) {
	home := t.TempDir()
	m := newMachine()
	m.open(t, home).Device("/data")
	k := m.open(t, home) // first was killed before it noted the drive
	k.Device("/data")
	must(t, k.save())
	for _, c := range []struct {
		name    string
		boot    string
		crashes []string
		close   bool
		level   int
	}{
		{"killed", "first", nil, false, 0},
		{"power cut", "second", nil, true, 1},
		{"orderly restart", "third", nil, false, 1},
		{"kernel crash", "fourth", []string{"/sys/fs/pstore/dmesg-1"}, true, 2}, // the other half of the same story, within a minute, counts once
	} {
		m.boot, m.crashes = c.boot, c.crashes
		k := m.open(t, home)
		if got := only(t, k).State.Level; got != c.level {
			t.Errorf("%s: level %d, want %d; %+v", c.name, got, c.level, only(t, k).Decisions)
		}
		if c.close {
			must(t, k.Close())
		}
	}
}

// TestOldRecordsAreHeardOnce: the kernel's log is read from its beginning at each start, and counts once.
func TestOldRecordsAreHeardOnce(t *testing.T) {
	home := t.TempDir()
	m := newMachine()
	k := m.open(t, home)
	k.Device("/data")
	k.hear("3,1,5000000,-;I/O error, dev sdb, sector 5")
	must(t, k.Close())
	k = m.open(t, home)
	k.Device("/data")
	k.hear("3,1,5000000,-;I/O error, dev sdb, sector 5")
	if n := len(only(t, k).Decisions); n != 2 { // its grade, and one error
		t.Errorf("%d decisions: %+v", n, only(t, k).Decisions)
	}
	must(t, k.Close())
	m.boot = "second" // numbers begin anew
	k = m.open(t, home)
	if k.file.Kernel != 0 {
		t.Error("records of a new start would go unheard")
	}
}

func TestMeasuredAndTold(t *testing.T) {
	m := newMachine()
	m.on["/data"] = disk.Drive{ID: "ssd0000000000001", Name: "sda", Kind: disk.SSD, Spinning: "no", Path: "/dev/sda", Major: 8}
	home := t.TempDir()
	k := m.open(t, home)
	device := k.Device("/data")
	if v := only(t, k); v.State.Grade != governor.Ungraded || len(v.State.Why) == 0 {
		t.Errorf("%+v", v.State)
	}
	rate := func(bytes float64) []disk.Rate { return []disk.Rate{{Depth: 8, Bytes: bytes, Requests: bytes / 4096}} }
	speed := disk.Result{Took: time.Second, SeqRead: rate(500 << 20), SeqWrite: rate(400 << 20), RandRead: rate(200 << 20), RandWrite: rate(100 << 20), SyncSlow: time.Millisecond}
	k.Measured(disk.Report{Drive: m.on["/data"], Speed: speed})
	if v := only(t, k); v.State.Grade != governor.Good || device.Limits().WriteBytes >= 400<<20 || v.Speed == nil {
		t.Errorf("%+v", v.State)
	}
	k.Measured(disk.Report{Drive: m.on["/data"], Failed: "not enough free space"})
	if v := only(t, k); v.State.Grade == governor.Good && v.Failed == "" {
		t.Errorf("a failed measurement is not shown: %+v", v)
	}
	k.Measured(disk.Report{Drive: m.on["/data"], Speed: speed})
	for _, name := range []string{"ssd0000000000001", "ssd0", "sda", "/dev/sda", "/data/x"} {
		if id, err := k.Find(name); err != nil || id != "ssd0000000000001" {
			t.Errorf("%s: %s %v", name, id, err)
		}
	}
	for _, name := range []string{"", "ss", "sdz", "/nowhere"} {
		if id, err := k.Find(name); !errors.Is(err, ErrUnknownDrive) {
			t.Errorf("%q: %s %v", name, id, err)
		}
	}
	must(t, k.Tell("ssd0000000000001", governor.SoakFailed, "2 pages were damaged"))
	if v := only(t, k); v.State.Level != 2 || v.State.Text != "2 pages were damaged" {
		t.Errorf("%+v", v.State)
	}
	must(t, k.Tell("ssd0000000000001", governor.Owner, "kith drives --forget"))
	if v := only(t, k); v.State.Level != 0 {
		t.Errorf("%+v", v.State)
	}
	if err := k.Tell("none", governor.Owner, ""); !errors.Is(err, ErrUnknownDrive) {
		t.Error(err)
	}
	if c, ok := k.Cap("/data"); !ok || !strings.HasPrefix(c.IOMax(), "8:0 rbps=") {
		t.Errorf("%+v %v", c, ok)
	}
	// Its mount goes read-only, then another drive stands in its place.
	changed := m.on["/data"]
	changed.ReadOnly = true
	m.on["/data"] = changed
	k.Decide()
	if v := only(t, k); v.State.Cause != governor.ReadOnly {
		t.Errorf("%+v", v.State)
	}
	m.on["/data"] = disk.Drive{ID: "other00000000001", Name: "sdc", Kind: disk.HDD}
	k.Decide()
	if v := only(t, k); v.State.Cause != governor.Vanished {
		t.Errorf("%+v", v.State)
	}
	if k.Device("/data") == device {
		t.Error("the new drive is held to the limits of the old one")
	}
}

func TestBadFiles(t *testing.T) {
	m := newMachine()
	for name, text := range map[string]string{
		"garbage": "<xml>", "empty": "", "another version": `{"version":9}`, "unknown field": `{"version":1,"colour":"red"}`,
		"null drive": `{"version":1,"drives":{"a":null}}`, "negative": `{"version":1,"drives":{"a":{"drive":{"id":"a"},"state":{"base":{"writeBytes":-5}}}}}`,
		"an endless sync pause": `{"version":1,"drives":{"a":{"drive":{"id":"a"},"state":{"base":{"syncEvery":9000000000000000000}}}}}`,
		"wild level":            `{"version":1,"drives":{"a":{"drive":{"id":"a"},"state":{"level":63}}}}`,
	} {
		home := t.TempDir()
		path := filepath.Join(home, FileName)
		must(t, os.WriteFile(path, []byte(text), 0o600))
		k, err := Open(home, m.options())
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if kept, err := os.ReadFile(path + ".damaged"); err != nil || string(kept) != text {
			t.Errorf("%s: not kept: %q %v", name, kept, err)
		}
		must(t, k.Close())
	}
	// No drive can be told, the kernel's log is closed: the node works all the same, and says so.
	m.on, m.deaf = map[string]disk.Drive{}, syscall.EPERM
	k := m.open(t, t.TempDir())
	if d := k.Device("/data"); d != nil {
		t.Error("a device of an unknown drive")
	}
	if n, why := k.Jobs("/data"); n == 0 {
		t.Errorf("an unknown drive stops the work: %s", why)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_ = k.Serve(ctx)
	if _, blind := k.List(); !strings.Contains(blind, "not permitted") {
		t.Errorf("blind: %q", blind)
	}
}

// TestHere: the real sources of this machine, whatever it is.
func TestHere(t *testing.T) {
	home := t.TempDir()
	k, err := Open(home, Options{Logger: slog.New(slog.DiscardHandler)})
	must(t, err)
	if v := only(t, k); v.Drive.Mount == "" {
		t.Errorf("%+v", v)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := k.Serve(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	must(t, k.Close())
}

func TestWindowsEvents(t *testing.T) {
	text := "Event[0]:\r\n  Log Name: System\r\n  Source: disk\r\n  Date: 2026-11-25T10:00:00\r\n  Event ID: 7\r\n  Description: \r\nThe device, \\Device\\Harddisk1\\DR1, has a bad block.\r\n\r\nEvent[1]:\r\n  Event ID: 153\r\n  Description:\r\nThe IO operation at logical block address 0x1 for Disk 2 (PDO name: \\Device\\Harddisk2\\x) was retried.\r\nEvent[2]:\r\n  Event ID: 99\r\n"
	got := recordsOf(text, 1000)
	if len(got) != 2 {
		t.Fatalf("%q", got)
	}
	for i, want := range []governor.Event{{Cause: governor.MediumError, Device: "PhysicalDrive1", Micros: 1000}, {Cause: governor.IOError, Device: "PhysicalDrive2", Micros: 1001}} {
		e, ok := governor.ParseKernel(got[i])
		if !ok || e.Cause != want.Cause || e.Device != want.Device || e.Micros != want.Micros {
			t.Errorf("%q gives %+v", got[i], e)
		}
	}
	if !sameBoot("2026-11-25T10:00Z", "2026-11-25T10:01Z") || sameBoot("2026-11-25T10:00Z", "2026-11-25T10:05Z") || sameBoot("", "") || !sameBoot("x", "x") {
		t.Error("starts are told apart wrongly")
	}
}

func FuzzFile(f *testing.F) {
	f.Add([]byte(`{"version":1,"boot":"x","clean":true,"seen":"2026-11-25T10:00:00Z","kernel":5,"drives":{"a":{"drive":{"id":"a","name":"sda","kind":"ssd","spinning":"no"},"state":{"grade":"good","why":["x"],"base":{"readBytes":5},"level":2},"decisions":[]}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := parse(data)
		if err != nil {
			return
		}
		for _, r := range file.Drives {
			l := r.State.Limits()
			if l.WriteBytes < 0 || l.SyncEvery < 0 {
				t.Errorf("%+v", l)
			}
		}
	})
}

func FuzzWindowsEvents(f *testing.F) {
	f.Add("Event[0]:\n Event ID: 7\n \\Device\\Harddisk1\\DR1")
	f.Fuzz(func(t *testing.T, text string) {
		for _, r := range recordsOf(text, 5) {
			if _, ok := governor.ParseKernel(r); !ok {
				t.Errorf("%q is no record", r)
			}
		}
	})
}
