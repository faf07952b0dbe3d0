package cgroup

import (
	"errors"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// number reads what a file of a group says; -1 is no limit.
func number(t *testing.T, name string) int64 {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	word := strings.Fields(string(b))[0]
	if word == "max" { // as version 2 says it
		return -1
	}
	n, err := strconv.ParseInt(word, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestSumWhileRunning lowers and raises the ceilings of a tree on this system while a group below it is at work.
func TestSumWhileRunning(t *testing.T) {
	tree, g := opened(t)
	cmd := exec.Command("sh", "-c", "while :; do :; done")
	if err := cmd.Start(); err != nil {
		t.Skip(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if err := errors.Join(g.Close(), tree.Close()); err != nil {
			t.Error(err)
		}
	}()
	if err := errors.Join(g.Set(limits), g.Add(cmd.Process.Pid)); err != nil {
		t.Fatal(err)
	}
	group := map[bool]string{false: "cpu.cfs_quota_us", true: "cpu.max"}[tree.v2["cpu"]]
	for _, c := range []struct {
		cpu         float64
		tree, group int64 // microseconds; -1: none, which for a group is that of the tree
	}{
		{0.5, 50_000, -1},
		{0.25, 25_000, -1},
		{8, 800_000, 200_000},
		{0.00001, 1000, -1},
		{0, -1, 200_000},
		{1, 100_000, -1},
	} {
		if err := tree.Limit(Sum{CPU: c.cpu, Memory: 256 << 20}); err != nil {
			t.Fatalf("%v processors: %v", c.cpu, err)
		}
		if n := number(t, filepath.Join(tree.of["cpu"], group)); n != c.tree {
			t.Errorf("%v processors: the tree has %d, want %d", c.cpu, n, c.tree)
		}
		if n := number(t, g.file("cpu", group)); n != c.group {
			t.Errorf("%v processors: the group has %d, want %d", c.cpu, n, c.group)
		}
	}
	if err := g.Set(Limits{Memory: 64 << 20, Processes: 7, Cores: 4}); err != nil {
		t.Error("more than the tree has, for one group: ", err)
	}
	// What counts is what the process gets: with a fifth of one processor, far less than without a ceiling.
	if err := tree.Limit(Sum{CPU: 0.2}); err != nil {
		t.Fatal(err)
	}
	time.Sleep(200 * time.Millisecond) // what it had of the old quota
	before, began := used(t, cmd.Process.Pid), time.Now()
	time.Sleep(time.Second)
	if share := (used(t, cmd.Process.Pid) - before).Seconds() / time.Since(began).Seconds(); share > 0.3 {
		t.Errorf("a busy loop with a fifth of a processor took %.2f of it", share)
	}
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) { // on a busy machine it gets less than it may have
		waited, err := tree.Throttled()
		if err != nil || time.Now().After(end) {
			t.Fatalf("it has waited for %v, %v", waited, err)
		}
		if waited > 0 {
			break
		}
	}
	for _, bad := range []Sum{{CPU: -1}, {Memory: -1}, {CPU: math.NaN()}, {CPU: math.Inf(1)}} {
		if tree.Limit(bad) == nil {
			t.Errorf("accepted %+v", bad)
		}
	}
}

// used is the processor time of a process.
func used(t *testing.T, pid int) time.Duration {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "schedstat"))
	if err != nil {
		t.Skip(err)
	}
	n, err := strconv.ParseInt(strings.Fields(string(b))[0], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return time.Duration(n)
}

// TestSumVersion2 plays the kernel of version 2.
func TestSumVersion2(t *testing.T) {
	dir := t.TempDir()
	tree := &Tree{dirs: []string{dir}, of: map[string]string{"memory": dir, "pids": dir, "cpu": dir}, v2: map[string]bool{"memory": true, "pids": true, "cpu": true}}
	for _, name := range []string{"memory.max", "memory.swap.max", "cpu.max"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if waited, err := tree.Throttled(); err == nil {
		t.Errorf("no file, and yet waited for %v", waited)
	}
	stat := filepath.Join(dir, "cpu.stat")
	for text, want := range map[string]time.Duration{"usage_usec 9\nnr_throttled 3\nthrottled_usec 1500\n": 1500 * time.Microsecond, "usage_usec 9\n": -1, "throttled_usec x\n": -1} {
		if err := os.WriteFile(stat, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if got, err := tree.Throttled(); (err == nil) != (want >= 0) || err == nil && got != want {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, c := range []struct {
		sum         Sum
		memory, cpu string
	}{
		{Sum{Memory: 1 << 30, CPU: 1.5}, "1073741824", "150000 100000"},
		{Sum{}, "max", "max 100000"},
	} {
		for _, name := range []string{"memory.max", "cpu.max"} { // files of the kernel have no old end
			if err := os.Truncate(filepath.Join(dir, name), 0); err != nil {
				t.Fatal(err)
			}
		}
		if err := tree.Limit(c.sum); err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]string{"memory.max": c.memory, "cpu.max": c.cpu} {
			if b, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(b) != want {
				t.Errorf("%s is %q, want %q (%v)", name, b, want, err)
			}
		}
	}
}

// TestMemoryIsNeverOver has a program take all the memory it can: the kernel ends it, and the group never held more than it may.
func TestMemoryIsNeverOver(t *testing.T) {
	tree, g := opened(t)
	const most = 32 << 20
	// tail keeps a line until it ends, which this one does not.
	cmd := exec.Command("sh", "-c", "read go; head -c 1000000000 /dev/zero | tail -n 1 >/dev/null")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Skip(err)
	}
	if err := errors.Join(g.Set(Limits{Memory: most, Processes: 10, Cores: 1}), g.Add(cmd.Process.Pid)); err != nil {
		t.Error(err)
	}
	_, _ = in.Write([]byte("go\n"))
	_ = cmd.Wait()
	if !g.OutOfMemory() {
		t.Error("the kernel ended nothing")
	}
	peak := g.file("memory", map[bool]string{false: "memory.max_usage_in_bytes", true: "memory.peak"}[tree.v2["memory"]])
	if _, err := os.Stat(peak); err == nil { // Linux 5.19, for version 2
		if n := number(t, peak); n > most || n < most/2 {
			t.Errorf("the group held %d bytes at most, of %d", n, most)
		}
	}
	if err := errors.Join(g.Close(), tree.Close()); err != nil {
		t.Error(err)
	}
}
