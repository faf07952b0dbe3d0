package cgroup

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

var limits = Limits{Memory: 64 << 20, Processes: 7, Cores: 2}

// opened opens the groups of this system, if it lets us, and makes one.
func opened(t *testing.T) (*Tree, *Group) {
	t.Helper()
	tree, err := Open()
	if err != nil {
		t.Skip(err)
	}
	g, err := tree.New()
	if err != nil {
		t.Fatal(err)
	}
	return tree, g
}

// TestReal makes a group on this system, if it lets us.
func TestReal(t *testing.T) {
	tree, g := opened(t)
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Skip(err)
	}
	if err := errors.Join(g.Set(limits), g.Add(cmd.Process.Pid)); err != nil {
		t.Error(err)
	}
	lower := limits
	lower.Memory /= 2
	if err := errors.Join(g.Set(lower), g.Set(limits)); err != nil {
		t.Error("down and up again: ", err)
	}
	of, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", cmd.Process.Pid))
	if name := filepath.Base(tree.dirs[0]) + "/" + g.name; err != nil || !strings.Contains(string(of), name) {
		t.Errorf("the process is in\n%s not in %s (%v)", of, name, err)
	}
	if g.OutOfMemory() {
		t.Error("out of memory")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if err := errors.Join(g.Close(), tree.Close(), g.Close()); err != nil {
		t.Error(err)
	}
	for _, dir := range tree.dirs {
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left", dir)
		}
	}
}

// TestHost starts a process from a thread that is in the group.
func TestHost(t *testing.T) {
	tree, g := opened(t)
	cmd := exec.Command("sleep", "60")
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		err := g.Host()
		if err == nil {
			err = cmd.Start()
		}
		done <- err
	}()
	err := <-done
	if err == nil {
		of, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", cmd.Process.Pid))
		if name := filepath.Base(tree.dirs[0]) + "/" + g.name; err != nil || strings.Count(string(of), name) != len(tree.dirs) {
			t.Errorf("the process is in\n%s not in %s (%v)", of, name, err)
		}
		if here, err := os.ReadFile("/proc/self/cgroup"); err != nil || strings.Contains(string(here), g.name+"\n") && strings.Contains(string(here), prefix) {
			t.Errorf("this process moved too:\n%s%v", here, err)
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
	}
	if err != nil && !errors.Is(err, ErrUnavailable) {
		t.Error(err)
	}
	if err := errors.Join(g.Close(), tree.Close()); err != nil {
		t.Error(err)
	}
}

// TestKill ends a group whose processes have left their sessions, and from which a thread of this process starts others.
func TestKill(t *testing.T) {
	tree, g := opened(t)
	// It starts the others when it is in the group, else they would not be.
	cmd := exec.Command("sh", "-c", "read go; for i in 1 2 3; do setsid sleep 60 & done; wait")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	killed := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		hosted := g.Host()
		if hosted != nil && !errors.Is(hosted, ErrUnavailable) {
			killed <- hosted
			return
		}
		err := errors.Join(g.Set(limits), cmd.Start())
		if err == nil && hosted != nil {
			err = g.Add(cmd.Process.Pid)
		}
		if err == nil {
			_, err = in.Write([]byte("go\n"))
		}
		for err == nil && count(g) < 4 {
			time.Sleep(time.Millisecond)
		}
		killed <- errors.Join(err, g.Kill())
	}()
	if err := <-killed; err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	for deadline := time.Now().Add(20 * time.Second); !g.Empty(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d are left", count(g))
		}
	}
	if err := errors.Join(g.Close(), tree.Close()); err != nil {
		t.Error(err)
	}
	if g.Kill() == nil {
		t.Error("a group that is gone was killed")
	}
}

func count(g *Group) int {
	list, _ := g.members()
	return len(list)
}

// fake lays out a /proc and group folders; the kernel's part is played by the test.
func fake(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, s := range files {
		name = filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(strings.ReplaceAll(s, "ROOT", root)), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

const stat = "42 (a b) c) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 777 0 0\n"

func TestVersion2(t *testing.T) {
	root := fake(t, map[string]string{
		"proc/42/stat":                                     stat,
		"proc/self/cgroup":                                 "0::/app.slice/kith.service\n",
		"proc/self/mountinfo":                              "30 20 0:26 / ROOT/cg rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n",
		"cg/app.slice/kith.service/x":                      "",
		"cg/app.slice/kith.service/kith-":                  "", // no group of ours
		"cg/app.slice/kith.service/cgroup.controllers":     "cpuset cpu io memory pids\n",
		"cg/app.slice/kith.service/cgroup.subtree_control": "cpu memory pids\n",
		"cg/app.slice/kith.service/kith-41-5-1/7/x":        "",
	})
	own := filepath.Join(root, "cg/app.slice/kith.service")
	if err := os.Remove(filepath.Join(own, "kith-41-5-1/7/x")); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"kith-42-777-99", "kith-42-1-1", "kith-node", "kith-1-2", "other-1-1-1"} {
		if err := os.Mkdir(filepath.Join(own, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	tree, err := openAt(filepath.Join(root, "proc"), 42)
	if err == nil || !errors.Is(err, ErrUnavailable) || len(tree.dirsOrNone()) != 0 {
		t.Fatalf("a new folder without files of the kernel: %v", err)
	}
	for dir, want := range map[string]bool{
		"kith-41-5-1": false, "kith-42-1-1": false, "kith-42-777-99": true, "kith-node": true, "kith-1-2": true, "other-1-1-1": true,
	} {
		if _, err := os.Stat(filepath.Join(own, dir)); (err == nil) != want {
			t.Errorf("%s: there %v, want %v", dir, err == nil, want)
		}
	}
	tree = &Tree{dirs: []string{own}, of: map[string]string{"memory": own, "pids": own, "cpu": own}, v2: map[string]bool{"memory": true, "pids": true, "cpu": true}}
	g, err := tree.New()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"memory.max", "memory.swap.max", "memory.oom.group", "pids.max", "cpu.max", "cgroup.procs", "cgroup.kill"} {
		if err := os.WriteFile(filepath.Join(own, g.name, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(g.Set(limits), g.Add(4711), g.Kill()); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"memory.max": "67108864", "memory.swap.max": "0", "memory.oom.group": "1", "pids.max": "7", "cpu.max": "200000 100000", "cgroup.procs": "4711", "cgroup.kill": "1",
	} {
		if b, err := os.ReadFile(filepath.Join(own, g.name, name)); err != nil || string(b) != want {
			t.Errorf("%s is %q, want %q (%v)", name, b, want, err)
		}
	}
	for events, want := range map[string]bool{"low 0\noom 1\noom_kill 0\n": false, "oom_kill 2\n": true, "": false} {
		if err := os.WriteFile(filepath.Join(own, g.name, "memory.events"), []byte(events), 0o644); err != nil {
			t.Fatal(err)
		}
		if g.OutOfMemory() != want {
			t.Errorf("%q: want %v", events, want)
		}
	}
	for _, bad := range []Limits{{}, {Memory: -1, Processes: 1, Cores: 1}, {Memory: 1, Cores: 1}, {Memory: 1, Processes: 1}} {
		if g.Set(bad) == nil {
			t.Errorf("accepted %+v", bad)
		}
	}
}

// TestHalfDelegated: where a controller is missing, nothing is changed.
func TestHalfDelegated(t *testing.T) {
	root := fake(t, map[string]string{
		"proc/42/stat":                           stat,
		"proc/self/cgroup":                       "0::/kith.service\n",
		"proc/self/mountinfo":                    "30 20 0:26 / ROOT/cg rw - cgroup2 cgroup2 rw\n",
		"cg/kith.service/cgroup.controllers":     "memory pids\n",
		"cg/kith.service/cgroup.subtree_control": "",
	})
	if _, err := openAt(filepath.Join(root, "proc"), 42); !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "cpu") {
		t.Errorf("got %v", err)
	}
	if list, err := os.ReadDir(filepath.Join(root, "cg/kith.service")); err != nil || len(list) != 2 {
		t.Errorf("left: %v, %v", list, err)
	}
	if s := kernelFile(t, filepath.Join(root, "cg/kith.service/cgroup.subtree_control")); s != "" {
		t.Errorf("handed on: %q", s)
	}
}

// TestWithheld: root does not take what systemd has not handed over.
func TestWithheld(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("others cannot")
	}
	root := t.TempDir()
	at := func(name string) string { return filepath.Join(root, name) }
	for _, name := range []string{"given.service", "kept.service", "kept.scope", "some.slice"} {
		if err := os.Mkdir(at(name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Setxattr(at("given.service"), "trusted.delegate", []byte("1"), 0); err != nil {
		t.Skip("no such attributes here: ", err)
	}
	for name, want := range map[string]bool{"given.service": false, "kept.service": true, "kept.scope": true, "some.slice": false} {
		if got := withheld(root, at(name)); got != want {
			t.Errorf("%s: %v", name, got)
		}
		if withheld(at("none"), at(name)) {
			t.Errorf("%s without systemd", name)
		}
	}
}

// TestTwice: a process that has stepped aside for one tree makes the next beside it, not below.
func TestTwice(t *testing.T) {
	first, err := Open()
	if err != nil {
		t.Skip(err)
	}
	second, err := Open()
	if err != nil {
		t.Fatal(err, first.Close())
	}
	for i, dir := range first.dirs {
		if filepath.Dir(dir) != filepath.Dir(second.dirs[i]) {
			t.Errorf("%s and %s", dir, second.dirs[i])
		}
	}
	if err := errors.Join(first.Close(), second.Close()); err != nil {
		t.Error(err)
	}
}

func (t *Tree) dirsOrNone() []string {
	if t == nil {
		return nil
	}
	return t.dirs
}

func TestOwnGroups(t *testing.T) {
	for _, c := range []struct {
		name, cgroup, mounts, controller string
		want                             string // below the root; empty: none
		v2                               bool
	}{
		{"version 1", "4:memory:/a/b\n3:cpu,cpuacct:/\n", "1 0 0:1 / ROOT/m rw - cgroup cgroup rw,memory\n", "memory", "m/a/b", false},
		{"shared hierarchy", "3:cpu,cpuacct:/x\n", "1 0 0:1 / ROOT/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n", "cpu", "cpu,cpuacct/x", false},
		{"container", "4:memory:/docker/1/sub\n", "1 0 0:1 /docker/1 ROOT/m ro - cgroup cgroup rw,memory\n", "memory", "m/sub", false},
		{"outside of the mount", "4:memory:/other\n", "1 0 0:1 /docker/1 ROOT/m ro - cgroup cgroup rw,memory\n", "memory", "", false},
		{"not mounted", "4:memory:/a\n", "1 0 0:1 / / rw - ext4 /dev/vda rw\n", "memory", "", false},
		{"version 2", "0::/\n", "1 0 0:1 / ROOT/u rw - cgroup2 cgroup rw\n", "pids", "u", true},
		{"version 2, stepped aside", "0::/a/kith-node\n", "1 0 0:1 / ROOT/u rw - cgroup2 cgroup rw\n", "pids", "u/a", true},
		{"version 2 without it", "0::/\n", "1 0 0:1 / ROOT/u rw - cgroup2 cgroup rw\n", "memory", "", false},
		{"nonsense", "4:\n:::::\n\n", "x\n - \n1 2 3 - cgroup\n", "memory", "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := fake(t, map[string]string{"self/cgroup": c.cgroup, "self/mountinfo": c.mounts, "u/cgroup.controllers": "pids\n", "u/a/cgroup.controllers": "pids\n"})
			groups, err := ownGroups(root)
			if err != nil {
				t.Fatal(err)
			}
			got, ok := groups[c.controller]
			if ok != (c.want != "") || ok && (got.dir != filepath.Join(root, c.want) || got.v2 != c.v2) {
				t.Errorf("got %+v, %v", got, ok)
			}
		})
	}
	if _, err := ownGroups(t.TempDir()); !errors.Is(err, ErrUnavailable) {
		t.Errorf("no /proc: %v", err)
	}
}
