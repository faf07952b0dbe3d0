package sandbox

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"kith/tasks"
	"kith/tasks/sandbox/cgroup"
)

// child is one runner process as its parent sees it.
type child struct {
	cmd    *exec.Cmd
	conn   *frameConn
	pipes  [2]*os.File // our ends: to its standard input, from its standard output
	stderr *tail
	tree   tree  // what the platform needs to count and kill the whole tree
	base   usage // what it used before any work
	taken  taken // guarded by the capper
	set    tasks.Limits
	dir    string        // where its folders are
	root   string        // where it sees them
	layers Layers        // that hold it
	joined chan struct{} // closed when group is known
	group  *cgroup.Group // nil if there are none
	cores  int64
	oom    bool // the kernel ended it for its memory; set before done is closed
	held   holding
	lost   func() time.Duration // by a quota of the owner's, since some moment
	// entries is how many files and folders each of its folders may hold.
	entries int

	mu    sync.Mutex
	cause error // why it was killed; nil if it was not
	done  chan struct{}
}

// What a runner that watches itself exits with.
const (
	exitOrphan = 90 // its parent has gone
	exitMemory = 91
	exitTime   = 92
)

// usage is what a process tree uses.
type usage struct {
	memory int64 // bytes that belong to it alone or are shared memory
	mapped int64 // bytes of address space it could fill with such
	cpu    time.Duration
	io     int64 // bytes read from disks, and written to them or to the cache that goes there
	tasks  int64 // processes and threads
}

// startChild starts a runner process: in the group host, if the calling thread is in it, or else in a new one of groups, if
// there are any. Call wait on it next.
func startChild(o *Options, plain bool, without Layers, groups *cgroup.Tree, host *cgroup.Group, scans *scans) (*child, error) {
	c := &child{stderr: &tail{}, done: make(chan struct{}), joined: make(chan struct{}), cores: int64(o.Procs), entries: o.Entries}
	theirIn, ourOut, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	ourIn, theirOut, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, theirIn.Close(), ourOut.Close())
	}
	c.pipes = [2]*os.File{ourOut, ourIn}
	c.conn = newFrameConn(ourIn, ourOut)
	cmd := exec.Command(o.Exe, o.Args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirIn, theirOut, c.stderr
	cmd.WaitDelay = time.Second
	cmd.Dir = neutralDir
	cmd.Env = append(systemEnv(), "GOMAXPROCS="+strconv.Itoa(o.Procs), "GOTRACEBACK=single", "TZ=UTC", "LANG=C")
	// A runner is young and small, so that the collector's usual pace has it collect over and over what a few tasks left. How
	// much it may hold in the end is the task's limit, near which it collects as often as need be.
	cmd.Env = append(cmd.Env, "GOGC=400")
	cmd.Env = append(cmd.Env, o.Env...)
	c.cmd = cmd
	err = c.tree.start(cmd, plain, without, o.Procs, scans)
	theirIn.Close()
	theirOut.Close()
	if err != nil {
		ourIn.Close()
		ourOut.Close()
		return nil, err
	}
	if host != nil {
		c.group = host
		close(c.joined)
	} else {
		go c.join(groups)
	}
	return c, nil
}

// join puts the process, which starts up and then waits for its first order, into a group of its own. Failure leaves it
// without. The kernel takes some 10 ms for the first move after a pause, which is about as long as the process starts.
func (c *child) join(groups *cgroup.Tree) {
	defer close(c.joined)
	if groups == nil {
		return
	}
	g, err := groups.New()
	if err != nil {
		return
	}
	if g.Add(c.pid()) != nil {
		_ = g.Close() // whoever is in it by half is out of it at the end
		return
	}
	c.group = g
}

// limit sets what the kernel itself enforces.
func (c *child) limit(l *tasks.Limits) error {
	if *l == c.set || c.dead() {
		return nil
	}
	c.tree.limit(c.pid(), l, c.base)
	c.set = *l
	if c.group == nil {
		return nil
	}
	// One process more than allowed, so that it is seen by sampling too that there were too many.
	return c.group.Set(cgroup.Limits{Memory: c.base.memory + l.MemoryBytes + kernelSlack, Processes: l.Processes + 1, Cores: c.cores})
}

// wait begins waiting for the end of the process; ended is called when the whole tree is gone.
func (c *child) wait(ended func()) {
	go func() {
		_ = c.cmd.Wait() // how it ended is in ProcessState
		c.tree.sweep()
		<-c.joined
		if c.group != nil {
			c.oom = c.group.OutOfMemory()
			c.clear()
		}
		_ = c.pipes[0].Close()
		_ = c.pipes[1].Close()
		close(c.done)
		if c.group != nil {
			_ = c.group.Close() // left empty it is removed at the next start
		}
		ended()
	}()
}

// clear ends what is left in the group and waits until nothing is.
func (c *child) clear() {
	if c.group.Empty() || c.group.Kill() != nil {
		return
	}
	end := time.Now().Add(killLimit)
	for wait := time.Millisecond; !c.group.Empty() && time.Now().Before(end); wait = min(2*wait, 50*time.Millisecond) {
		time.Sleep(wait)
	}
}

func (c *child) pid() int { return c.cmd.Process.Pid }

func (c *child) dead() bool {
	select {
	case <-c.done:
		return true
	default:
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.cause != nil
	}
}

// gone waits until the whole tree is gone.
func (c *child) gone(limit time.Duration) bool {
	select {
	case <-c.done:
		return true
	case <-time.After(limit):
		return false
	}
}

// kill ends the whole tree. The first cause is remembered.
func (c *child) kill(cause error) {
	c.mu.Lock()
	first := c.cause == nil
	if first {
		c.cause = cause
	}
	c.mu.Unlock()
	if !first {
		return
	}
	select {
	case <-c.joined:
		// With a process-id namespace the kernel ends all that is in it, without a look at each. Else the group goes all at
		// once; what left it is found when the runner is gone.
		if !c.tree.isolated() && c.group != nil && c.group.Kill() == nil {
			return
		}
	default:
	}
	c.tree.kill(c.cmd.Process)
}

// greet waits for the runner's greeting.
func (c *child) greet() error {
	kind, body, err := c.conn.read(64)
	if err == nil {
		f := fields{b: body}
		if v := f.int(); kind != frameHello || v != protocolVersion || f.end() != nil {
			err = fmt.Errorf("%w: greeting %d of version %d", errFrame, kind, v)
		}
	}
	if err != nil {
		c.kill(err)
		c.gone(killLimit)
		c.mu.Lock()
		defer c.mu.Unlock()
		return fmt.Errorf("%w%s", c.cause, c.stderr.suffix())
	}
	<-c.joined
	c.base, _ = c.tree.usage(c.pid(), 1<<20)
	return nil
}

// enter has the runner confine itself to the folders of dir with the layers of want, and says what came of it.
func (c *child) enter(dir string, want Layers) (why string, err error) {
	if !c.tree.isolated() {
		want &^= LayerNamespaces | LayerRoot
	}
	err = c.conn.write(frameEnter, func(b []byte) []byte { return putInt(putString(b, dir), int64(want&inside)) })
	if err != nil {
		return "", c.ended(err)
	}
	kind, body, err := c.conn.read(2 * maxDetail)
	if err != nil {
		return "", c.ended(err)
	}
	f := fields{b: body}
	c.layers, why = Layers(f.int()), clean(f.string(maxDetail))
	if err := f.end(); err != nil || kind != frameEntered {
		return "", c.ended(fmt.Errorf("%w: frame %d after entering", errFrame, kind))
	}
	if c.layers &= inside; c.group != nil {
		c.layers |= LayerCaps
	}
	c.dir, c.root = dir, ""
	if c.layers&LayerRoot != 0 {
		c.root = "/"
	}
	return why, nil
}

// ended says why the process is gone, after a failure to talk to it.
func (c *child) ended(talk error) error {
	c.kill(talk)
	if !c.gone(killLimit) {
		return tasks.Because(tasks.TaskFailed, "the runner does not die")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var why tasks.Reason
	if errors.As(c.cause, &why) || !errors.Is(c.cause, talk) {
		return c.cause
	}
	if errors.Is(talk, errFrame) {
		return tasks.Because(tasks.TaskFailed, "%v", talk)
	}
	code, said := c.cmd.ProcessState.ExitCode(), c.stderr.text()
	switch {
	case c.oom, code == exitMemory, strings.Contains(said, "out of memory"), strings.Contains(said, "failed to allocate"):
		return tasks.Because(tasks.MemoryLimit, "the runner could get no more")
	case code == exitTime:
		return tasks.Because(tasks.TimeLimit, "processor time")
	}
	return tasks.Because(tasks.TaskFailed, "the runner ended: %v%s", c.cmd.ProcessState, c.stderr.suffix())
}

// tail keeps the end of what a process prints.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

const tailBytes = 64 << 10 // the reason of a crash stands before its trace

// Write implements io.Writer.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p[max(0, len(p)-tailBytes):]...)
	if over := len(t.buf) - tailBytes; over > 0 {
		t.buf = append(t.buf[:0], t.buf[over:]...)
	}
	return len(p), nil
}

func (t *tail) text() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.buf)
}

// suffix is the beginning of the last crash, or else of the text, for an error message.
func (t *tail) suffix() string {
	s := t.text()
	for _, head := range [...]string{"fatal error: ", "panic: "} {
		if i := strings.LastIndex(s, head); i >= 0 {
			s = s[i:]
			break
		}
	}
	if s = redact(clean(strings.TrimSpace(s))); s == "" {
		return ""
	}
	return ": " + cut(s, 200)
}

// systemEnv is the little of the environment that programs need on this system.
func systemEnv() []string {
	if runtime.GOOS != "windows" {
		return nil
	}
	return []string{"SystemRoot=" + os.Getenv("SystemRoot"), "TEMP=" + os.TempDir(), "TMP=" + os.TempDir()}
}
