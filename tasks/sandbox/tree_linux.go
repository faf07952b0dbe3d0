package sandbox

import (
	"bytes"
	"crypto/rand"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"kith/tasks"
)

const (
	canIsolate = true // where the kernel lets us
	offered    = LayerNamespaces | LayerRoot | LayerLandlock | LayerSyscalls | LayerPrivileges | LayerCaps
	neutralDir = "/"
	markName   = "KITH_RUNNER="
	clockTick  = 10 * time.Millisecond // Linux reports processor time to programs in these
)

// tree is a runner and everything it started. With namespaces the runner is the init process of its own process-id
// namespace, and the kernel ends all of it with it. Without, every process of the tree carries a mark in its
// environment, by which strays are found that left the process group and session.
type tree struct {
	mark  string // empty with namespaces
	scans *scans
}

// scans look for marked processes. Who asks while one is in progress shares the next: when many trees end together, all
// processes of the machine are looked at a few times, not a few times for each.
type scans struct {
	turn sync.Mutex // held by the one in progress

	mu   sync.Mutex
	next *scan // gathers those who ask
}

type scan struct {
	found map[string][]int // by mark
	done  chan struct{}
}

// isolated reports whether the runner has namespaces of its own.
func (t *tree) isolated() bool { return t.mark == "" }

// start starts the runner. It must be called on a thread that lives as long as the runner may.
func (t *tree) start(cmd *exec.Cmd, plain bool, _ Layers, _ int, s *scans) error {
	t.scans = s
	attr := &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	if plain {
		t.mark = markName + rand.Text()
		cmd.Env = append(cmd.Env, t.mark)
	} else {
		// The id inside is not 0, so that exec leaves the runner with no more than the one capability by which it makes
		// its own root, and gives up before any work.
		const inside = 1
		attr.Cloneflags = unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: inside, HostID: os.Getuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: inside, HostID: os.Getgid(), Size: 1}}
		attr.AmbientCaps = []uintptr{unix.CAP_SYS_ADMIN}
	}
	cmd.SysProcAttr = attr
	return cmd.Start()
}

// holds is for systems on which a runner is started in what holds it, and cannot always be.
func (t *tree) holds() (Layers, error) { return 0, nil }

// admit has nothing to do here: the runner is let into its folders as it confines itself.
func (t *tree) admit(string) error { return nil }

// limit sets what the kernel itself enforces. These catch sooner what sampling would catch too.
func (t *tree) limit(pid int, l *tasks.Limits, base usage) {
	_ = unix.Prlimit(pid, unix.RLIMIT_DATA, soft(pid, unix.RLIMIT_DATA, base.mapped+l.MemoryBytes+memorySlack), nil)
	// In a user namespace of its own nobody else counts; the kernel exempts the machine's root. One more than allowed, so
	// that it is seen that there were too many.
	if t.mark == "" {
		_ = unix.Prlimit(pid, unix.RLIMIT_NPROC, soft(pid, unix.RLIMIT_NPROC, l.Processes+1), nil)
	}
	_ = unix.Prlimit(pid, unix.RLIMIT_FSIZE, soft(pid, unix.RLIMIT_FSIZE, l.ScratchBytes), nil)
}

func soft(pid, resource int, value int64) *unix.Rlimit {
	var old unix.Rlimit
	if unix.Prlimit(pid, resource, nil, &old) != nil {
		old.Max = unix.RLIM_INFINITY
	}
	return &unix.Rlimit{Cur: min(uint64(value), old.Max), Max: old.Max}
}

func (t *tree) kill(root *os.Process) {
	if t.mark == "" {
		_ = root.Kill()
		return
	}
	// Stop before killing: what is stopped does not fork, and the runner must live until the last so that orphans
	// come to it.
	seen := map[int]bool{}
	for range 100 {
		found := false
		for _, pid := range append(descendants(root.Pid), t.marked()...) {
			if !seen[pid] && pid != root.Pid {
				seen[pid], found = true, true
				_ = unix.Kill(pid, unix.SIGSTOP)
			}
		}
		if !found {
			break
		}
	}
	for pid := range seen {
		_ = unix.Kill(pid, unix.SIGKILL)
	}
	_ = unix.Kill(-root.Pid, unix.SIGKILL) // its process group
	_ = root.Kill()
}

// sweep ends what outlived a runner that died by itself.
func (t *tree) sweep() {
	if t.mark == "" {
		return
	}
	for range 100 {
		pids := t.marked()
		if len(pids) == 0 {
			return
		}
		for _, pid := range pids {
			_ = unix.Kill(pid, unix.SIGSTOP)
		}
		for _, pid := range t.marked() {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
	}
}

// marked finds the living processes that carry the mark.
func (t *tree) marked() []int { return t.scans.find(t.mark) }

// find lists the processes with a mark, as of a moment after it was called.
func (s *scans) find(mark string) []int {
	s.mu.Lock()
	mine := s.next
	first := mine == nil
	if first {
		mine = &scan{found: map[string][]int{}, done: make(chan struct{})}
		s.next = mine
	}
	mine.found[mark] = nil
	s.mu.Unlock()
	if first {
		s.turn.Lock()
		s.mu.Lock()
		s.next = nil
		s.mu.Unlock()
		mine.look()
		s.turn.Unlock()
		close(mine.done)
	}
	<-mine.done
	return mine.found[mark]
}

// look reads the environment of every process.
func (s *scan) look() {
	names, err := os.ReadDir("/proc")
	if err != nil {
		return
	}
	for _, d := range names {
		pid, err := strconv.Atoi(d.Name())
		if err != nil {
			continue
		}
		env, err := os.ReadFile(filepath.Join("/proc", d.Name(), "environ"))
		if err != nil || !bytes.Contains(env, []byte(markName)) {
			continue
		}
		for v := range bytes.SplitSeq(env, []byte{0}) {
			if pids, ok := s.found[string(v)]; ok {
				s.found[string(v)] = append(pids, pid)
				break
			}
		}
	}
}

// usage adds up the tree below and including pid, until it has met more than most processes and threads.
func (t *tree) usage(pid int, most int64) (usage, bool) {
	var u usage
	todo := []int{pid}
	for len(todo) > 0 && u.tasks <= most {
		p := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if !u.add(p) && p == pid {
			return usage{}, false
		}
		todo = append(todo, children(p)...)
	}
	return u, true
}

// nameless is the size of the files that the tree below and including pid holds open and that have no name any more.
func (t *tree) nameless(pid int) int64 {
	var total int64
	for _, p := range append(descendants(pid), pid) {
		dir := "/proc/" + strconv.Itoa(p) + "/fd"
		list, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, d := range list {
			var s unix.Stat_t
			if unix.Stat(filepath.Join(dir, d.Name()), &s) == nil && s.Mode&unix.S_IFMT == unix.S_IFREG && s.Nlink == 0 {
				total += s.Blocks * 512
			}
		}
	}
	return total
}

// add counts one process.
func (u *usage) add(pid int) bool {
	dir := "/proc/" + strconv.Itoa(pid)
	status, err := os.ReadFile(dir + "/status")
	if err != nil {
		return false
	}
	u.memory += kib(status, "\nRssAnon:") + kib(status, "\nRssShmem:")
	u.mapped += kib(status, "\nVmData:")
	u.tasks += max(1, kib(status, "\nThreads:")/1024)
	stat, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return false
	}
	// The fields after the command, which may hold anything, in parentheses: utime, stime, cutime, cstime are 14 to 17.
	if i := bytes.LastIndexByte(stat, ')'); i >= 0 {
		if f := strings.Fields(string(stat[i+1:])); len(f) > 14 {
			for _, v := range f[11:15] {
				n, _ := strconv.ParseInt(v, 10, 64)
				u.cpu += time.Duration(n) * clockTick
			}
		}
	}
	// The kernel adds ended children to their parents.
	io, err := os.ReadFile(dir + "/io")
	if err != nil {
		return true // what lost its privileges may not tell
	}
	for line := range bytes.Lines(io) {
		name, value, _ := bytes.Cut(line, []byte(": "))
		if string(name) == "read_bytes" || string(name) == "write_bytes" {
			n, _ := strconv.ParseInt(string(bytes.TrimSpace(value)), 10, 64)
			u.io += n
		}
	}
	return true
}

// kib returns the number after a field name in /proc/<pid>/status, times 1024.
func kib(status []byte, field string) int64 {
	_, rest, ok := bytes.Cut(status, []byte(field))
	if !ok {
		return 0
	}
	line, _, _ := bytes.Cut(rest, []byte{'\n'})
	word := strings.Fields(string(line))
	if len(word) == 0 {
		return 0
	}
	n, _ := strconv.ParseInt(word[0], 10, 64)
	return n << 10
}

// children lists the processes that pid has started and that came to it as orphans.
func children(pid int) []int {
	dir := "/proc/" + strconv.Itoa(pid) + "/task"
	threads, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var pids []int
	for _, t := range threads {
		list, err := os.ReadFile(filepath.Join(dir, t.Name(), "children"))
		if err != nil {
			continue
		}
		for _, f := range strings.Fields(string(list)) {
			if p, err := strconv.Atoi(f); err == nil {
				pids = append(pids, p)
			}
		}
	}
	return pids
}

func descendants(pid int) []int {
	all := children(pid)
	for i := 0; i < len(all); i++ {
		all = append(all, children(all[i])...)
	}
	return all
}
