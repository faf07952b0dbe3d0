package service

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// The life of the service on a real system: make test-guest boots one and runs these, as root and in this order, the last
// after the guest has started anew. ann is an ordinary user.
const (
	kith      = "/usr/local/bin/kith"
	annHome   = "/home/ann/.local/share/kith"
	submitter = "/data/submitter" // a second node, which gives the first one work
)

// oneMachine are the settings of nodes that meet on one machine without a network.
var oneMachine = []string{"listen.on=loopback", "listen.profile=lan", "peers.mdns=off"}

func inGuest(t *testing.T, part string) {
	t.Helper()
	if os.Getenv("KITH_GUEST") != part {
		t.Skip("runs in a guest: make test-guest")
	}
}

// do runs a command and returns what it prints, errors too.
func do(t *testing.T, command ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 5*time.Minute) // cleaning up needs it too
	defer cancel()
	out, err := exec.CommandContext(ctx, command[0], command[1:]...).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func must(t *testing.T, command ...string) string {
	t.Helper()
	out, err := do(t, command...)
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(command, " "), err, out)
	}
	return out
}

// ann is a command of the ordinary user, as one who is logged on gives it.
func ann(command ...string) []string {
	return append([]string{"runuser", "-u", "ann", "--", "env", "-i", "PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/home/ann", "XDG_RUNTIME_DIR=/run/user/1000"}, command...)
}

// root is one of an administrator who came by sudo.
func root(command ...string) []string {
	return append([]string{"env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "SUDO_USER=ann"}, command...)
}

// eventually asks until the answer is yes.
func eventually(t *testing.T, what string, ask func() bool) {
	t.Helper()
	for end := time.Now().Add(3 * time.Minute); !ask(); time.Sleep(300 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within three minutes: %s", what)
		}
	}
}

// nodeStatus is what of kith status these tests look at.
type nodeStatus struct {
	Ready   bool `json:"ready"`
	Peers   int  `json:"peers"`
	Sandbox struct {
		Grade int    `json:"grade"`
		Words string `json:"words"`
	} `json:"sandbox"`
	Owner struct {
		Level string `json:"level"`
	} `json:"owner"`
	Work struct {
		Done    int   `json:"done"`
		Running []any `json:"running"`
	} `json:"work"`
	Health []struct {
		Code   string `json:"code"`
		Text   string `json:"text"`
		Remedy string `json:"remedy"`
	} `json:"health"`
	Addresses []string `json:"addresses"`
}

// health is what is wrong, as one text.
func (s *nodeStatus) health() string {
	var b strings.Builder
	for _, h := range s.Health {
		b.WriteString(h.Code + ": " + h.Text + " " + h.Remedy + "\n")
	}
	return b.String()
}

func asks(t *testing.T, home string) (s nodeStatus, ok bool) {
	t.Helper()
	out, err := exec.Command(kith, "--home", home, "--json", "status").Output()
	if err != nil {
		return s, false
	}
	if err := json.Unmarshal(out, &s); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return s, s.Ready && s.Sandbox.Words != ""
}

// ready waits until the node of a data folder answers and has tried its sandbox.
func ready(t *testing.T, home string) nodeStatus {
	t.Helper()
	var s nodeStatus
	eventually(t, home+" answers", func() (ok bool) { s, ok = asks(t, home); return ok && s.Sandbox.Grade > 1 })
	return s
}

func installed(t *testing.T, out string) State {
	t.Helper()
	var s State
	if i := strings.IndexByte(out, '{'); i < 0 || json.NewDecoder(strings.NewReader(out[i:])).Decode(&s) != nil {
		t.Fatalf("no state: %s", out)
	}
	return s
}

// runners are the processes of ann's tasks, or ready for them.
func runners(t *testing.T) []string {
	t.Helper()
	out, _ := do(t, "pgrep", "-u", "ann", "-f", "^"+kith+" runner") // fails if there are none
	return strings.Fields(out)
}

func property(t *testing.T, user bool, name string) string {
	t.Helper()
	command := []string{"systemctl", "show", Name, "--property", name, "--value"}
	if user {
		return must(t, ann(slices.Insert(command, 1, "--user")...)...)
	}
	return must(t, command...)
}

// TestGuestUser is the life of an ordinary user's own service.
func TestGuestUser(t *testing.T) {
	inGuest(t, "first")
	if out, err := do(t, ann(kith, "service", "install")...); err == nil || !strings.Contains(out, "not by su or sudo") {
		t.Errorf("without a session: %v, %s", err, out)
	}
	// As in a session of hers: nobody has told the system yet that her services may outlive it.
	session := []string{"systemd-run", "--quiet", "--pipe", "--wait", "--collect", "--property=User=ann", "--property=PAMName=login", "--setenv=HOME=/home/ann", "--setenv=PATH=/usr/local/bin:/usr/bin"}
	out := must(t, append(session, "sh", "-c", kith+" --json service install; loginctl show-user ann --property=Linger --value")...)
	s := installed(t, out)
	if lingers := strings.HasSuffix(out, "yes"); !s.Installed || !s.Enabled || s.Active != "active" || s.Boot != lingers {
		t.Errorf("she is told %+v, her services outlive her session: %v", s, lingers)
	}
	must(t, "loginctl", "enable-linger", "ann")
	eventually(t, "her manager runs", func() bool {
		out, _ := do(t, ann("systemctl", "--user", "is-active", Name)...)
		return out == "active"
	})
	if s := installed(t, must(t, ann(kith, "--json", "service", "status")...)); !s.Boot {
		t.Errorf("after enable-linger: %+v", s)
	}
	st := ready(t, annHome)
	t.Logf("grade %d: %s", st.Sandbox.Grade, st.Sandbox.Words)
	if st.Sandbox.Grade != 3 || !strings.Contains(st.Sandbox.Words, "exact caps") {
		t.Errorf("as a service the grade is %d: %s\n%s", st.Sandbox.Grade, st.Sandbox.Words, st.health())
	}
	if log := must(t, ann("journalctl", "--user", "--quiet", "--no-pager", "-u", Name)...); !strings.Contains(log, "level=") {
		t.Errorf("her journal says\n%s", log)
	} else if strings.Contains(log, "token=") {
		t.Error("the journal holds an address that lets its reader in")
	}
	failsAndComesBack(t, true)
	must(t, ann("systemctl", "--user", "stop", Name)...)
	if n := runners(t); len(n) > 0 {
		t.Errorf("stopped, and runners %v are left", n)
	}
	if s := installed(t, must(t, ann(kith, "--json", "service", "status")...)); s.Active != "inactive" || !s.Enabled {
		t.Errorf("stopped: %+v", s)
	}
	must(t, ann("systemctl", "--user", "start", Name)...)
	ready(t, annHome)
	must(t, ann(kith, "service", "uninstall")...)
	if _, err := os.Stat(annHome); err != nil {
		t.Errorf("the data folder is gone too: %v", err)
	}
	gone(t, "/home/ann/.config/systemd/user", "/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/app.slice")
}

// failsAndComesBack kills the node where it stands.
func failsAndComesBack(t *testing.T, user bool) {
	t.Helper()
	pid := property(t, user, "MainPID")
	must(t, "kill", "-KILL", pid)
	eventually(t, "it is started again", func() bool {
		now := property(t, user, "MainPID")
		return now != pid && now != "0" && property(t, user, "ActiveState") == "active"
	})
	if n := property(t, user, "NRestarts"); n != "1" {
		t.Errorf("%s restarts", n)
	}
	if s := ready(t, annHome); s.Sandbox.Grade != 3 {
		t.Errorf("started again, the grade is %d: %s\n%s", s.Sandbox.Grade, s.Sandbox.Words, s.health())
	}
}

// gone checks that nothing is left of the service but the data folder: no unit, no link to one, no process, no group.
func gone(t *testing.T, units, groups string) {
	t.Helper()
	left := must(t, "find", units, "-name", "kith*")
	left += must(t, "find", groups, "-name", "kith.service*")
	if out, _ := do(t, "pgrep", "-af", "^"+kith); out != "" {
		left += out
	}
	if out := must(t, "systemctl", "list-units", "--all", "--no-legend", Name); out != "" {
		left += out
	}
	if left != "" {
		t.Errorf("left: %s", left)
	}
}

// TestGuestGrades: what the grade says where the system gives less.
func TestGuestGrades(t *testing.T) {
	inGuest(t, "first")
	for _, c := range []struct {
		name    string
		set     []string // of the kernel's settings
		unit    []string
		grade   int
		says    []string // the words and the remedies
		without string
	}{
		{"no groups handed to her", nil, nil, 2, []string{"caps by sampling", "without network or view", "kith service install", "may pass its memory limit"}, "exact"},
		{"no new namespaces", []string{"user.max_user_namespaces=0"}, nil, 2, []string{"user.max_user_namespaces", "kith service install"}, "without network or view"},
		{"no namespaces for ordinary users", []string{"kernel.unprivileged_userns_clone=0"}, []string{"--property=Delegate=yes"}, 3, []string{"exact caps", "kernel.unprivileged_userns_clone"}, "without network or view"},
		{"not by AppArmor's word", []string{"kernel.apparmor_restrict_unprivileged_userns=1"}, []string{"--property=Delegate=yes"}, 3, []string{"exact caps", "kernel.apparmor_restrict_unprivileged_userns"}, "without network or view"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, s := range c.set {
				key, _, _ := strings.Cut(s, "=")
				was, err := do(t, "sysctl", "-n", key)
				if err != nil {
					t.Skipf("this kernel has no %s", key)
				}
				must(t, "sysctl", "-w", s)
				t.Cleanup(func() { must(t, "sysctl", "-w", key+"="+was) })
			}
			command := append([]string{"systemd-run", "--quiet", "--collect", "--unit=plain", "--uid=ann", "--setenv=HOME=/home/ann"}, c.unit...)
			must(t, append(command, kith, "run")...)
			s := ready(t, annHome)
			must(t, "systemctl", "stop", "plain")
			said := s.Sandbox.Words + "\n" + s.health()
			t.Logf("grade %d: %s", s.Sandbox.Grade, said)
			if s.Sandbox.Grade != c.grade {
				t.Errorf("grade %d, want %d", s.Sandbox.Grade, c.grade)
			}
			for _, want := range c.says {
				if !strings.Contains(said, want) {
					t.Errorf("it does not say %q", want)
				}
			}
			if strings.Contains(s.Sandbox.Words, c.without) {
				t.Errorf("it says %q", c.without)
			}
		})
	}
}

// TestGuestSystem is the first part of the life of the machine's service, which works as ann: a job is done and the kill switch
// pressed.
func TestGuestSystem(t *testing.T) {
	inGuest(t, "first")
	hidden := "/root/kith" // from ann
	must(t, "cp", kith, hidden)
	if out, err := do(t, root(hidden, "service", "install", "--system")...); err == nil {
		t.Errorf("a program that its user may not start was installed: %s", out)
	}
	gone(t, "/etc/systemd/system", "/sys/fs/cgroup/system.slice")
	must(t, ann(append([]string{kith, "config", "set", "pause.active=ignore", "pause.busy=100"}, oneMachine...)...)...)
	s := installed(t, must(t, root(kith, "--json", "service", "install", "--system")...))
	if !s.Installed || !s.Enabled || !s.Boot || s.Active != "active" || !s.System {
		t.Fatalf("%+v", s)
	}
	st := ready(t, annHome) // hers, though root installed it
	if st.Sandbox.Grade != 3 {
		t.Errorf("the grade is %d: %s\n%s", st.Sandbox.Grade, st.Sandbox.Words, st.health())
	}
	if who := must(t, "ps", "-o", "user=", "-p", property(t, false, "MainPID")); who != "ann" {
		t.Errorf("it runs as %s", who)
	}
	if b, err := os.ReadFile("/sys/fs/cgroup/system.slice/" + Name + "/cgroup.subtree_control"); err != nil || strings.TrimSpace(string(b)) != "cpu io memory pids" {
		t.Errorf("handed on are %q, %v", b, err)
	}
	if log := must(t, "journalctl", "--quiet", "--no-pager", "-u", Name); !strings.Contains(log, "level=") || strings.Contains(log, "token=") {
		t.Errorf("the journal says\n%s", log)
	}
	failsAndComesBack(t, false)

	must(t, kith, "--home", submitter, "init")
	must(t, append([]string{kith, "--home", submitter, "config", "set", "work.donate=off", "listen.ports=any", "api.ports=any"}, oneMachine...)...)
	must(t, "systemd-run", "--quiet", "--collect", "--unit=submitter", kith, "--home", submitter, "run", "--bootstrap", dialable(t))
	t.Cleanup(func() {
		if t.Failed() {
			log, _ := do(t, "journalctl", "--quiet", "--no-pager", "-n", "60", "-u", "submitter", "-u", Name)
			t.Logf("the journal says\n%s", log)
		}
	})
	eventually(t, "the nodes meet", func() bool { s, _ := asks(t, submitter); return s.Peers > 0 })
	input := t.TempDir()
	for i := range 20 {
		text := strings.Repeat("Kith gives the idle part of a computer to work its owner trusts.\n", 50*(i+1))
		if err := os.WriteFile(filepath.Join(input, string(rune('a'+i))+".txt"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	must(t, kith, "--home", submitter, "submit", "etl.hash", input, "--k", "1", "--sensitivity", "public", "--wait")
	if s, _ := asks(t, annHome); s.Work.Done == 0 {
		t.Error("the job was done, but not by the service")
	}

	must(t, ann(kith, "kill")...)
	eventually(t, "nothing of a task is left", func() bool { return len(runners(t)) == 0 })
	if s, _ := asks(t, annHome); s.Owner.Level != "killed" {
		t.Errorf("killed, and it says %q", s.Owner.Level)
	}
	must(t, "systemctl", "stop", "submitter")
}

// dialable is an address of ann's node.
func dialable(t *testing.T) string {
	t.Helper()
	s := ready(t, annHome)
	i := slices.IndexFunc(s.Addresses, func(a string) bool { return strings.HasPrefix(a, "/ip4/") && strings.Contains(a, "/udp/") })
	if i < 0 {
		t.Fatalf("addresses %q", s.Addresses)
	}
	return s.Addresses[i]
}

// TestGuestAgain is its second part, after the machine has started anew.
func TestGuestAgain(t *testing.T) {
	inGuest(t, "again")
	eventually(t, "the node is back", func() bool { _, ok := asks(t, annHome); return ok })
	if s, _ := asks(t, annHome); s.Owner.Level != "killed" {
		t.Errorf("killed before the machine started anew, it now says %q", s.Owner.Level)
	}
	if n := runners(t); len(n) > 0 {
		t.Errorf("killed, and there are runners %v", n)
	}
	must(t, ann(kith, "resume")...)
	eventually(t, "the owner's word is done", func() bool { s, _ := asks(t, annHome); return s.Owner.Level != "killed" })
	if s := ready(t, annHome); s.Sandbox.Grade != 3 {
		t.Errorf("the grade is %d: %s\n%s", s.Sandbox.Grade, s.Sandbox.Words, s.health())
	}
	must(t, root(kith, "service", "uninstall", "--system")...)
	gone(t, "/etc/systemd/system", "/sys/fs/cgroup/system.slice")
	if s := installed(t, must(t, root(kith, "--json", "service", "status", "--system")...)); s.Installed {
		t.Errorf("%+v", s)
	}
}
