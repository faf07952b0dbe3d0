package sandbox_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kith/storage/governor"
	"kith/tasks/sandbox"
	"kith/tasks/sandbox/sandboxtest"
)

// driveOf is the whole drive that holds a folder.
func driveOf(t testing.TB, dir string) governor.Cap {
	t.Helper()
	var s unix.Stat_t
	if err := unix.Stat(dir, &s); err != nil {
		t.Fatal(err)
	}
	sys, err := filepath.EvalSymlinks("/sys/dev/block/" + strconv.Itoa(int(unix.Major(s.Dev))) + ":" + strconv.Itoa(int(unix.Minor(s.Dev))))
	if err != nil {
		t.Skipf("%s is on no block device: %v", dir, err)
	}
	if _, err := os.Stat(filepath.Join(sys, "partition")); err == nil {
		sys = filepath.Dir(sys)
	}
	b, err := os.ReadFile(filepath.Join(sys, "dev"))
	if err != nil {
		t.Skip(err)
	}
	major, minor, _ := strings.Cut(strings.TrimSpace(string(b)), ":")
	a, err1 := strconv.ParseUint(major, 10, 32)
	z, err2 := strconv.ParseUint(minor, 10, 32)
	if err1 != nil || err2 != nil {
		t.Skipf("%s says %q", sys, b)
	}
	return governor.Cap{Major: uint32(a), Minor: uint32(z)}
}

// TestCapsDrive has the kernel hold tasks that go past the system's cache to the limits of their drive, all together.
func TestCapsDrive(t *testing.T) {
	drive := driveOf(t, t.TempDir())
	for _, way := range []string{"write", "read"} {
		t.Run(way, func(t *testing.T) {
			e := process(t, func(o *sandbox.Options) { o.Spares = -1 })
			w := sandboxtest.Do("direct", way)
			w.Limits.WallMillis, w.Limits.CPUMillis = 600_000, 600_000
			var ends []func()
			var results []<-chan error
			for range 2 {
				end, result := lend(t, e, w)
				ends, results = append(ends, end), append(results, result)
			}
			if !e.Load().Drives {
				t.Skip("the kernel limits no drives here")
			}
			working(t, e, 2)
			moved := func(over time.Duration) (bytes, seconds float64) {
				select {
				case err := <-results[0]:
					t.Skipf("nothing goes past the cache here: %v", err)
				default:
				}
				before, began := e.Load(), time.Now()
				time.Sleep(over)
				return float64(e.Load().IO - before.IO), time.Since(began).Seconds()
			}
			capTo := func(rate int64) {
				c := drive
				c.ReadBytes, c.WriteBytes = rate, rate
				e.SetCaps(sandbox.Caps{Drives: []governor.Cap{c}})
			}
			const fast = 4 << 20
			free := func() bool { // how soon depends on who else uses this machine
				for range 100 {
					if n, s := moved(100 * time.Millisecond); n > 3*fast*s {
						return true
					}
				}
				return false
			}
			if !free() {
				t.Skip("the disk is too slow, or this system does not count the bytes of a process")
			}
			for _, rate := range []int64{fast, fast / 4} {
				capTo(rate)
				moved(200 * time.Millisecond) // what was under way
				if n, s := moved(time.Second); n > 1.15*float64(rate)*s+256<<10 {
					t.Errorf("two tasks moved %.0f KiB in %.2f s under a limit of %d KiB/s", n/1024, s, rate>>10)
				}
				began := e.Load().IO // a drive that is held back takes a request at a time
				for end := time.Now().Add(time.Minute); e.Load().IO == began; time.Sleep(10 * time.Millisecond) {
					if time.Now().After(end) {
						t.Fatal("nothing moves")
					}
				}
			}
			e.SetCaps(sandbox.Caps{})
			if !free() {
				t.Error("without a limit they move no more than with one")
			}
			for i := range ends {
				ends[i]()
				<-results[i]
			}
		})
	}
}

// benchDrive prints how far two tasks are from the limit of their drive.
func benchDrive(b *testing.B, e *sandbox.Process) {
	if !e.Load().Drives {
		return
	}
	const rate = 8 << 20
	c := driveOf(b, b.TempDir())
	c.ReadBytes, c.WriteBytes = rate, rate
	for _, way := range []string{"write", "read"} {
		w := sandboxtest.Do("direct", way)
		w.Limits.WallMillis, w.Limits.CPUMillis = 600_000, 600_000
		var ends []func()
		for range 2 {
			end, _ := lend(b, e, w)
			ends = append(ends, end)
		}
		working(b, e, 2)
		time.Sleep(time.Second) // a file of a MiB is there
		e.SetCaps(sandbox.Caps{Drives: []governor.Cap{c}})
		time.Sleep(time.Second)
		before, began := e.Load(), time.Now()
		time.Sleep(10 * time.Second)
		got := float64(e.Load().IO-before.IO) / time.Since(began).Seconds()
		b.ReportMetric(100*(got-rate)/rate, "%-drive-"+way+"-error")
		e.SetCaps(sandbox.Caps{})
		for _, end := range ends {
			end()
		}
		working(b, e, 0)
	}
}
