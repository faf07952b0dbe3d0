package cgroup

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// needed are the controllers without which there are no groups to be had.
var needed = [...]string{"memory", "pids", "cpu"}

// Tree is where this process makes its groups: one folder of its own below its own group, for every hierarchy in use. It
// is safe for concurrent use.
type Tree struct {
	dirs   []string // distinct
	of     map[string]string
	v2     map[string]bool // by controller
	number atomic.Int64
	io     io

	mu     sync.Mutex
	groups map[*Group]bool // that have a quota of their own
	quota  int64           // of the whole tree, microseconds a period; 0: none
	drives map[device]bool // that have a limit
}

// Group is a group of processes. Its methods may be called by one goroutine at a time.
type Group struct {
	tree  *Tree
	name  string
	quota int64 // microseconds a period; guarded by the tree
}

// trees tells the folders of several trees of one process apart.
var trees atomic.Int64

const (
	prefix = "kith-"
	aside  = prefix + "node" // where a process steps aside to, with version 2
)

// Open finds this process's own groups and makes the folder below them. What earlier processes left empty is removed.
func Open() (*Tree, error) { return openAt("/proc", os.Getpid()) }

// openAt is Open with another /proc, whose mountinfo may name other folders.
func openAt(proc string, pid int) (*Tree, error) {
	own, err := ownGroups(proc)
	if err != nil {
		return nil, err
	}
	start, err := startOf(proc, pid)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	t := &Tree{of: map[string]string{}, v2: map[string]bool{}}
	name := fmt.Sprintf("%s%d-%d-%d", prefix, pid, start, trees.Add(1))
	for _, c := range needed { // before anything is changed
		if _, ok := own[c]; !ok {
			return nil, fmt.Errorf("%w: no controller %q", ErrUnavailable, c)
		}
	}
	for _, c := range needed {
		g := own[c]
		dir := filepath.Join(g.dir, name)
		t.of[c], t.v2[c] = dir, g.v2
		if slices.Contains(t.dirs, dir) {
			continue
		}
		sweep(proc, g.dir)
		if g.v2 && withheld(booted, g.dir) {
			return nil, errors.Join(fmt.Errorf("%w: systemd has not delegated %s", ErrUnavailable, g.dir), t.Close())
		}
		if g.v2 {
			if err := delegate(g.dir, pid); err != nil {
				return nil, errors.Join(fmt.Errorf("%w: %w", ErrUnavailable, err), t.Close())
			}
		}
		if err := os.Mkdir(dir, 0o755); err != nil {
			return nil, errors.Join(fmt.Errorf("%w: %w", ErrUnavailable, err), t.Close())
		}
		t.dirs = append(t.dirs, dir)
		if g.v2 {
			if err := enable(dir); err != nil {
				return nil, errors.Join(fmt.Errorf("%w: %w", ErrUnavailable, err), t.Close())
			}
		}
	}
	t.io.dir, t.io.together = t.openIO(proc, own, name)
	return t, nil
}

// Close removes the folders. Groups must be closed before.
func (t *Tree) Close() error {
	var errs []error
	for _, dir := range t.dirs {
		errs = append(errs, remove(dir))
	}
	if t.io.together {
		errs = append(errs, remove(t.io.dir))
	}
	return errors.Join(errs...)
}

// New makes an empty group without limits.
func (t *Tree) New() (*Group, error) {
	g := &Group{tree: t, name: strconv.FormatInt(t.number.Add(1), 10)}
	for _, dir := range t.dirs {
		if err := os.Mkdir(filepath.Join(dir, g.name), 0o755); err != nil {
			return nil, errors.Join(fmt.Errorf("make control group: %w", err), g.Close())
		}
	}
	return g, nil
}

// Add moves a process into the group. What it starts from then on is in the group too.
func (g *Group) Add(pid int) error {
	for _, dir := range g.tree.dirs {
		if err := put(filepath.Join(dir, g.name, "cgroup.procs"), int64(pid)); err != nil {
			return err
		}
	}
	return g.tree.io.add("cgroup.procs", pid)
}

// Host moves the calling thread alone into the group, until it moves on: processes that it starts begin their lives there.
// Moving takes the kernel long (10 ms and more after a pause), starting does not. Only version 1 can do that; with version 2
// it returns ErrUnavailable. The goroutine must be locked to the thread. The first thread of a process is refused: it stands
// for all of it when memory runs out.
func (g *Group) Host() error {
	if syscall.Gettid() == os.Getpid() {
		return fmt.Errorf("%w for the first thread of a process", ErrUnavailable)
	}
	for _, v2 := range g.tree.v2 {
		if v2 {
			return fmt.Errorf("%w that take single threads", ErrUnavailable)
		}
	}
	for _, dir := range g.tree.dirs {
		if err := put(filepath.Join(dir, g.name, "tasks"), int64(syscall.Gettid())); err != nil {
			return err
		}
	}
	return g.tree.io.host(syscall.Gettid())
}

// Set sets the limits, all of which must be positive.
func (g *Group) Set(l Limits) error {
	if l.Memory <= 0 || l.Processes <= 0 || l.Cores <= 0 {
		return fmt.Errorf("control group: limits must be positive: %+v", l)
	}
	errs := []error{g.put("pids", "pids.max", l.Processes)}
	if g.tree.v2["memory"] {
		errs = append(errs, g.put("memory", "memory.max", l.Memory), ifThere(g.put("memory", "memory.swap.max", 0)),
			ifThere(g.put("memory", "memory.oom.group", 1)))
	} else {
		errs = append(errs, g.memoryV1(l.Memory))
	}
	return errors.Join(append(errs, g.tree.share(g, l.Cores*period))...)
}

func (g *Group) memoryV1(most int64) error {
	return memoryV1(filepath.Join(g.tree.of["memory"], g.name), most)
}

// OutOfMemory reports whether the kernel has ended a process of the group because of its memory limit.
func (g *Group) OutOfMemory() bool {
	name := "memory.oom_control"
	if g.tree.v2["memory"] {
		name = "memory.events"
	}
	return counted(g.file("memory", name), "oom_kill ")
}

// OverProcesses reports whether the kernel has refused the group a process or thread because of its limit.
func (g *Group) OverProcesses() bool { return counted(g.file("pids", "pids.events"), "max ") }

// counted reports whether a file of counters has more than 0 for one of them.
func counted(file, name string) bool {
	b, err := os.ReadFile(file)
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(b)) {
		if n, ok := strings.CutPrefix(strings.TrimSpace(line), name); ok {
			return n != "0"
		}
	}
	return false
}

// Kill ends every process of the group, and lets none of them start another. They are about to end when it returns.
func (g *Group) Kill() error {
	dir := filepath.Join(g.tree.of["pids"], g.name)
	if g.tree.v2["pids"] && write(filepath.Join(dir, "cgroup.kill"), "1") == nil {
		return nil
	}
	if err := put(filepath.Join(dir, "pids.max"), 0); err != nil {
		return err
	}
	seen := map[int]bool{}
	for found := true; found; { // once more, for what was being started
		found = false
		list, err := g.members()
		if err != nil {
			return err
		}
		for _, pid := range list {
			if !seen[pid] {
				seen[pid], found = true, true
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
	}
	return nil
}

// Empty reports whether no process of the group is left, not even one that is about to end.
func (g *Group) Empty() bool {
	list, err := g.members()
	return err != nil || len(list) == 0
}

// members lists the processes of the group. This one is none of them, though version 1 lists it while a thread of it is a
// host here.
func (g *Group) members() ([]int, error) {
	b, err := os.ReadFile(g.file("pids", "cgroup.procs"))
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, f := range strings.Fields(string(b)) {
		if pid, err := strconv.Atoi(f); err == nil && pid > 1 && pid != os.Getpid() {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// Close removes the group. Its processes must have ended, or be about to.
func (g *Group) Close() error {
	g.tree.mu.Lock()
	delete(g.tree.groups, g)
	g.tree.mu.Unlock()
	var errs []error
	for _, dir := range g.tree.dirs {
		errs = append(errs, remove(filepath.Join(dir, g.name)))
	}
	return errors.Join(errs...)
}

func (g *Group) file(controller, name string) string {
	return filepath.Join(g.tree.of[controller], g.name, name)
}

func (g *Group) put(controller, name string, v int64) error { return put(g.file(controller, name), v) }

func put(name string, v int64) error { return write(name, strconv.FormatInt(v, 10)) }

// write does not make files: those of a group are there or not.
func write(name, s string) error {
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(s)
	return errors.Join(err, f.Close())
}

func ifThere(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// remove removes a group, for whose last process the kernel may need a moment, or seconds on a machine that is overloaded.
func remove(dir string) error {
	for wait := time.Millisecond; ; wait *= 2 {
		err := os.Remove(dir)
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if !errors.Is(err, syscall.EBUSY) || wait > 2*time.Second {
			return err
		}
		time.Sleep(wait)
	}
}

// own is the group this process is in, for one controller.
type own struct {
	dir string
	v2  bool
}

// ownGroups finds the folders of this process's groups, by controller.
func ownGroups(proc string) (map[string]own, error) {
	groups, err := os.ReadFile(filepath.Join(proc, "self/cgroup"))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	mounts, err := os.ReadFile(filepath.Join(proc, "self/mountinfo"))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	found := map[string]own{}
	for line := range strings.Lines(string(groups)) {
		// number:controllers:path; no controllers is version 2
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(f) != 3 {
			continue
		}
		if f[1] == "" {
			if path.Base(f[2]) == aside { // one that stepped aside makes its groups where it was
				f[2] = path.Dir(f[2])
			}
			dir, ok := mountOf(mounts, "cgroup2", "", f[2])
			if !ok {
				continue
			}
			has, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
			if err != nil {
				continue
			}
			for _, c := range strings.Fields(string(has)) {
				found[c] = own{dir, true}
			}
			continue
		}
		for _, c := range strings.Split(f[1], ",") {
			if dir, ok := mountOf(mounts, "cgroup", c, f[2]); ok {
				found[c] = own{dir, false}
			}
		}
	}
	return found, nil
}

// mountOf finds where the group path of a hierarchy is to be seen.
func mountOf(mounts []byte, kind, controller, path string) (string, bool) {
	for line := range bytes.Lines(mounts) {
		// id parent device root mountpoint options … - type source super-options
		before, after, ok := strings.Cut(strings.TrimSpace(string(line)), " - ")
		f, g := strings.Fields(before), strings.Fields(after)
		if !ok || len(f) < 6 || len(g) < 3 || g[0] != kind {
			continue
		}
		if controller != "" && !slices.Contains(strings.Split(g[2], ","), controller) {
			continue
		}
		rel, err := filepath.Rel(f[3], path) // a container sees a part of the hierarchy
		if err != nil || rel == ".." || strings.HasPrefix(rel, "../") {
			continue
		}
		return filepath.Join(f[4], rel), true
	}
	return "", false
}

// booted is a folder that is there where systemd runs.
const booted = "/run/systemd/system"

// withheld reports whether a group is one that systemd keeps for itself. Root could make groups below it all the same, but systemd
// would change them as it likes, and end the whole unit when the kernel ends a task for its memory.
func withheld(booted, dir string) bool {
	if ext := filepath.Ext(dir); os.Geteuid() != 0 || ext != ".service" && ext != ".scope" {
		return false
	}
	if _, err := os.Stat(booted); err != nil {
		return false
	}
	_, err := syscall.Getxattr(dir, "trusted.delegate", nil)
	return errors.Is(err, syscall.ENODATA) // others say nothing
}

// delegate lets groups be made below a group of version 2 that this process is in: a group has members or groups below
// it, so the process steps aside, if it is alone.
func delegate(dir string, pid int) error {
	err := enable(dir)
	if err == nil || !errors.Is(err, syscall.EBUSY) {
		return err
	}
	members, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	if err != nil {
		return err
	}
	for _, m := range strings.Fields(string(members)) {
		if m != strconv.Itoa(pid) {
			return fmt.Errorf("the group %s has other members: it was not delegated to this process alone", dir)
		}
	}
	to := filepath.Join(dir, aside)
	if err := os.Mkdir(to, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := put(filepath.Join(to, "cgroup.procs"), int64(pid)); err != nil {
		return err
	}
	return enable(dir)
}

// enable hands the controllers on to the groups below dir.
func enable(dir string) error {
	has, err := os.ReadFile(filepath.Join(dir, "cgroup.subtree_control"))
	if err != nil {
		return err
	}
	for _, c := range needed {
		if err := handOn(dir, has, c); err != nil {
			return err
		}
	}
	return nil
}

// handOn hands a controller on to the groups below dir, unless it is among those that are.
func handOn(dir string, has []byte, controller string) error {
	if slices.Contains(strings.Fields(string(has)), controller) {
		return nil
	}
	return write(filepath.Join(dir, "cgroup.subtree_control"), "+"+controller)
}

// sweep removes the folders of processes that are no more.
func sweep(proc, dir string) {
	list, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, d := range list {
		rest, ok := strings.CutPrefix(d.Name(), prefix)
		f := strings.Split(rest, "-")
		if !ok || len(f) != 3 || !d.IsDir() {
			continue
		}
		pid, err1 := strconv.Atoi(f[0])
		start, err2 := strconv.ParseInt(f[1], 10, 64)
		if now, err := startOf(proc, pid); err1 != nil || err2 != nil || (err == nil && now == start) {
			continue
		}
		groups, err := os.ReadDir(filepath.Join(dir, d.Name()))
		if err != nil {
			continue
		}
		for _, g := range groups {
			if g.IsDir() {
				_ = os.Remove(filepath.Join(dir, d.Name(), g.Name())) // fails where somebody lives
			}
		}
		_ = os.Remove(filepath.Join(dir, d.Name()))
	}
}

// startOf tells when a process began, in the kernel's own count: with the process id, who it is.
func startOf(proc string, pid int) (int64, error) {
	b, err := os.ReadFile(filepath.Join(proc, strconv.Itoa(pid), "stat"))
	if err != nil {
		return 0, err
	}
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:])) // the second field may hold anything
	if len(f) < 20 {
		return 0, fmt.Errorf("process %d has no start", pid)
	}
	return strconv.ParseInt(f[19], 10, 64)
}
