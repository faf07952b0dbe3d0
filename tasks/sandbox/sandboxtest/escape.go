package sandboxtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"kith/tasks"
	"kith/tasks/sandbox"
)

// Host is what escapes aim at: things that the test has made for them, and nothing else. Written as JSON it tells an
// attacker all it needs.
type Host struct {
	Name   string // of the escape to try
	Dir    string // a folder outside of the sandbox
	Secret string // a file in it
	In     string // the task's first input, as the task sees it
	TCP4   string
	TCP6   string // empty if there is no IPv6
	UDP4   string
	UDP6   string // empty if there is no IPv6
	Unix   string // and, with an @ before it, the name of an abstract socket
	PID    int    // of the test

	before string
	visits atomic.Int64
	packet []net.PacketConn
}

// NewHost makes the targets and remembers how the host is. All of it goes when the test ends.
func NewHost(t testing.TB) *Host {
	t.Helper()
	h := &Host{Dir: t.TempDir(), PID: os.Getpid()}
	h.Secret, h.Unix = filepath.Join(h.Dir, "key"), filepath.Join(h.Dir, "s")
	if err := os.WriteFile(h.Secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	h.TCP4 = h.listen(t, "tcp", "127.0.0.1:0")
	h.TCP6 = h.listen(t, "tcp", "[::1]:0")
	h.listen(t, "unix", h.Unix)
	h.listen(t, "unix", "@"+h.Unix)
	h.UDP4 = h.receive(t, "127.0.0.1:0")
	h.UDP6 = h.receive(t, "[::1]:0")
	h.before = hostState(t, h.Dir)
	return h
}

// Unharmed fails the test if anything of the host is not as it was, or a connection came through. With network set,
// neither must a datagram have.
func (h *Host) Unharmed(t testing.TB, network bool) {
	t.Helper()
	if b, err := os.ReadFile(h.Secret); err != nil || string(b) != "secret" {
		t.Errorf("the key was changed: %q, %v", b, err)
	}
	if after := hostState(t, h.Dir); after != h.before {
		t.Errorf("the host was changed:\n%s\nbefore:\n%s", after, h.before)
	}
	if n := h.visits.Load(); n > 0 {
		t.Errorf("%d connections came through", n)
	}
	if !network {
		return
	}
	for _, c := range h.packet {
		if err := c.SetReadDeadline(time.Now().Add(10 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if n, _, err := c.ReadFrom(make([]byte, 100)); err == nil {
			t.Errorf("a datagram of %d bytes came through", n)
		}
	}
}

// attempt is one way out. Those layers stop it, each alone; it is not tried on an engine that has none of them, which
// the engine's grade tells. A nil error means that it succeeded.
type attempt struct {
	name  string
	stops sandbox.Layers
	try   func(h *Host, c *tasks.Call) error
}

const (
	namespaces = sandbox.LayerNamespaces
	root       = sandbox.LayerRoot
	landlock   = sandbox.LayerLandlock
	syscalls   = sandbox.LayerSyscalls
	privileges = sandbox.LayerPrivileges
	network    = namespaces | syscalls
	files      = root | landlock
)

func dial(network string, address func(*Host) string) func(*Host, *tasks.Call) error {
	return func(h *Host, _ *tasks.Call) error {
		to := address(h)
		if to == "" {
			return errors.New("this machine has none")
		}
		conn, err := net.DialTimeout(network, to, time.Second)
		if err != nil {
			return err
		}
		_, err = conn.Write([]byte("out"))
		return errors.Join(err, conn.Close())
	}
}

// portable are the attempts that need nothing but Go.
var portable = []attempt{
	{"connect by TCP", network, dial("tcp", func(h *Host) string { return h.TCP4 })},
	{"connect by TCP over IPv6", network, dial("tcp", func(h *Host) string { return h.TCP6 })},
	{"send by UDP", network, dial("udp", func(h *Host) string { return h.UDP4 })},
	{"send by UDP over IPv6", network, dial("udp", func(h *Host) string { return h.UDP6 })},
	{"connect to a socket file", root | syscalls, dial("unix", func(h *Host) string { return h.Unix })},
	{"ask the DNS", network, func(h *Host, _ *tasks.Call) error {
		r := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "udp", h.UDP4)
		}}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		conn, err := r.Dial(ctx, "", "")
		if err != nil {
			return err
		}
		_, err = conn.Write([]byte("query"))
		return errors.Join(err, conn.Close())
	}},
	{"connect by multipath TCP", network, func(h *Host, _ *tasks.Call) error {
		d := net.Dialer{Timeout: time.Second}
		d.SetMultipathTCP(true)
		conn, err := d.Dial("tcp", h.TCP4)
		if err != nil {
			return err
		}
		return conn.Close()
	}},
	{"listen by TCP", syscalls, func(*Host, *tasks.Call) error {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		return l.Close()
	}},
	{"read the password file", files, read(func(*Host) string { return "/etc/passwd" })},
	{"read a key", files, read(func(h *Host) string { return h.Secret })},
	{"read a key by way of ..", files, read(func(h *Host) string { return "../../../../../../../../../../.." + h.Secret })},
	{"write to a key", files, func(h *Host, _ *tasks.Call) error { return os.WriteFile(h.Secret, []byte("mine"), 0o600) }},
	{"make a file outside", files, func(h *Host, _ *tasks.Call) error {
		return os.WriteFile(filepath.Join(h.Dir, "new"), nil, 0o600)
	}},
	{"rename a file outside", files, func(h *Host, _ *tasks.Call) error { return os.Rename(h.Secret, h.Secret+"2") }},
	{"remove a file outside", files, func(h *Host, _ *tasks.Call) error { return os.Remove(h.Secret) }},
	{"list a folder outside", files, func(h *Host, _ *tasks.Call) error { _, err := os.ReadDir(h.Dir); return err }},
	{"hard link to a key", files, func(h *Host, c *tasks.Call) error { return os.Link(h.Secret, filepath.Join(c.Scratch, "link")) }},
	{"hard link to an input", files, func(h *Host, c *tasks.Call) error {
		return os.Link(filepath.Join(h.In, "data"), filepath.Join(c.Scratch, "input"))
	}},
	{"symbolic link to a key", landlock | syscalls, func(h *Host, c *tasks.Call) error {
		return os.Symlink(h.Secret, filepath.Join(c.Scratch, "symlink"))
	}},
	{"write to an input", files, func(h *Host, _ *tasks.Call) error {
		return os.WriteFile(filepath.Join(h.In, "data"), []byte("other"), 0o600)
	}},
	{"add to an input", files, func(h *Host, _ *tasks.Call) error {
		return os.WriteFile(filepath.Join(h.In, "more"), nil, 0o600)
	}},
	{"remove an input", files, func(h *Host, _ *tasks.Call) error { return os.Remove(filepath.Join(h.In, "data")) }},
	{"cut a key", root | syscalls, func(h *Host, _ *tasks.Call) error { return os.Truncate(h.Secret, 1) }},
	{"change the mode of a key", root | syscalls, func(h *Host, _ *tasks.Call) error { return os.Chmod(h.Secret, 0o644) }},
	{"change the time of a key", root | syscalls, func(h *Host, _ *tasks.Call) error {
		return os.Chtimes(h.Secret, time.Time{}, time.Unix(1, 0))
	}},
	{"change the mode of an input", root | syscalls, func(h *Host, _ *tasks.Call) error { return os.Chmod(filepath.Join(h.In, "data"), 0o777) }},
	{"replace the scratch folder", files, func(h *Host, c *tasks.Call) error {
		return os.Rename(c.Scratch, c.Scratch+"-old")
	}},
	{"start a program", files | syscalls, func(*Host, *tasks.Call) error {
		p, err := os.StartProcess("/bin/true", []string{"true"}, &os.ProcAttr{})
		if err != nil {
			return err
		}
		_, err = p.Wait()
		return err
	}},
	{"start this program again", files | syscalls, func(*Host, *tasks.Call) error {
		exe, err := os.Executable()
		if err != nil {
			return err
		}
		p, err := os.StartProcess(exe, []string{exe, "-test.run=^$"}, &os.ProcAttr{})
		if err != nil {
			return err
		}
		_, err = p.Wait()
		return err
	}},
	{"start a program of its own", files | syscalls, func(_ *Host, c *tasks.Call) error {
		name := filepath.Join(c.Scratch, "script")
		if err := os.WriteFile(name, []byte("#!/bin/sh\n"), 0o700); err != nil {
			return err
		}
		p, err := os.StartProcess(name, []string{name}, &os.ProcAttr{})
		if err != nil {
			return err
		}
		_, err = p.Wait()
		return err
	}},
}

func read(name func(*Host) string) func(*Host, *tasks.Call) error {
	return func(h *Host, _ *tasks.Call) error {
		_, err := os.ReadFile(name(h))
		return err
	}
}

// escape tries the escape that the parameters name, and writes down what it met with: nothing if it got out.
func escape(c *tasks.Call) error {
	var h Host
	if err := json.Unmarshal(c.Params, &h); err != nil {
		return err
	}
	i := slices.IndexFunc(attempts(), func(a attempt) bool { return a.name == h.Name })
	if i < 0 {
		return fmt.Errorf("no escape %q", h.Name)
	}
	said := ""
	if err := attempts()[i].try(&h, c); err != nil {
		said = err.Error()
	}
	return put(c, "n", []byte(said))
}

func attempts() []attempt { return slices.Concat(portable, ofSystem) }

// Escapes tries every way out that the layers of e should stop, and that nothing came of it.
func Escapes(t *testing.T, e sandbox.Engine) {
	_ = runner(t, e) // what an engine has it knows when it has made a runner
	escapes(t, e, layers(e))
}

// escapes tries every way out that one of the layers held should stop, and looks at the host afterwards.
func escapes(t *testing.T, e sandbox.Engine, held sandbox.Layers) {
	h := NewHost(t)
	r := runner(t, e)
	in := filepath.Join(r.dir, sandbox.InDir, "0")
	if err := errors.Join(os.Mkdir(in, 0o700), os.WriteFile(filepath.Join(in, "data"), []byte("input"), 0o600)); err != nil {
		t.Fatal(err)
	}
	h.In = in
	if held&sandbox.LayerRoot != 0 {
		h.In = "/" + sandbox.InDir + "/0"
	}
	tried := 0
	for _, a := range attempts() {
		t.Run(a.name, func(t *testing.T) {
			if a.stops&held == 0 {
				t.Skipf("not tried: of %s this engine has none, as its grade says", a.stops)
			}
			tried++
			h.Name = a.name
			params, err := json.Marshal(h)
			if err != nil {
				t.Fatal(err)
			}
			w := r.files(t, Do("escape", string(params)))
			w.In = []sandbox.Files{{Dir: in}}
			said := string(mustRun(t, r, w).Inline["n"])
			if said == "" {
				t.Errorf("it got out, although held by %s", a.stops&held)
			}
			t.Log(said)
		})
	}
	t.Logf("%d escapes tried", tried)
	if b, err := os.ReadFile(filepath.Join(in, "data")); err != nil || string(b) != "input" {
		t.Errorf("the input was changed: %q, %v", b, err)
	}
	h.Unharmed(t, held&network != 0)
}

func (h *Host) listen(t testing.TB, network, address string) string {
	l, err := net.Listen(network, address)
	if err != nil {
		return ""
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			h.visits.Add(1)
			c.Close()
		}
	}()
	return l.Addr().String()
}

func (h *Host) receive(t testing.TB, address string) string {
	c, err := net.ListenPacket("udp", address)
	if err != nil {
		return ""
	}
	t.Cleanup(func() { c.Close() })
	h.packet = append(h.packet, c)
	return c.LocalAddr().String()
}

// hostState is what no escape may change.
func hostState(t testing.TB, dir string) string {
	var s strings.Builder
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		fmt.Fprintln(&s, path, info.Mode(), info.Size())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	name, _ := os.Hostname()
	fmt.Fprintln(&s, name, Mounts())
	return s.String()
}

// Mounts is what is mounted, where the system tells, but for the network namespaces that other tests may be making.
func Mounts() string {
	var s strings.Builder
	all, _ := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(all)) {
		if !strings.Contains(line, "/netns") && !strings.Contains(line, " nsfs ") {
			s.WriteString(line)
		}
	}
	return s.String()
}
