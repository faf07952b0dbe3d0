package sensors

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jezek/xgb"
	"github.com/jezek/xgb/xproto"

	"kith/node/owner"
)

// root lays out the files of a computer.
func root(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		name = filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func at(t *testing.T, files map[string]string, o Options) *Set {
	t.Helper()
	o.Root = root(t, files)
	if o.Bus == nil {
		o.Bus = bus{}
	}
	if o.Displays == nil {
		o.Displays = func() []string { return nil }
	}
	s := New(o)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// bus answers from a table; what is not in it cannot be reached.
type bus map[string]any

func (b bus) Property(_ context.Context, _, _, name string) (any, error) {
	if v, ok := b[name]; ok {
		return v, nil
	}
	return nil, errors.New("no such service")
}

func TestBattery(t *testing.T) {
	const supply = "sys/class/power_supply/"
	for _, c := range []struct {
		name  string
		files map[string]string
		on    bool
		text  string
	}{
		{"a desktop", nil, false, "no battery"},
		{"plugged in", map[string]string{supply + "AC/type": "Mains\n", supply + "AC/online": "1\n", supply + "BAT0/type": "Battery\n", supply + "BAT0/status": "Charging\n"}, false, "mains"},
		{"unplugged", map[string]string{supply + "AC/type": "Mains\n", supply + "AC/online": "0\n", supply + "BAT0/type": "Battery\n", supply + "BAT0/status": "Discharging\n", supply + "BAT0/capacity": "57\n"}, true, "57 %"},
		{"fed over USB", map[string]string{supply + "ucsi/type": "USB\n", supply + "ucsi/online": "1\n", supply + "BAT0/type": "Battery\n", supply + "BAT0/status": "Discharging\n"}, false, "mains"},
		{"a mouse alone runs on battery", map[string]string{supply + "hid/type": "Battery\n", supply + "hid/scope": "Device\n", supply + "hid/status": "Discharging\n"}, false, "no battery"},
		{"full and not in use", map[string]string{supply + "BAT0/type": "Battery\n", supply + "BAT0/status": "Full\n"}, false, "not in use"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := at(t, c.files, Options{}).Read(t.Context(), false).Battery
			if !r.Known || (r.Value == 1) != c.on || !strings.Contains(r.Text, c.text) {
				t.Errorf("%+v", r)
			}
		})
	}
}

func TestHeat(t *testing.T) {
	for _, c := range []struct {
		name  string
		files map[string]string
		want  float64 // 0: unknown
	}{
		{"no sensor", nil, 0},
		{"the hottest counts", map[string]string{"sys/class/thermal/thermal_zone0/temp": "45000\n", "sys/class/hwmon/hwmon2/temp1_input": "71500\n"}, 71.5},
		{"nonsense is passed over", map[string]string{"sys/class/thermal/thermal_zone0/temp": "-274000\n", "sys/class/thermal/thermal_zone1/temp": "50000", "sys/class/hwmon/hwmon0/temp1_input": "4294967295\n"}, 50},
		{"only nonsense", map[string]string{"sys/class/thermal/thermal_zone0/temp": "hot\n"}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			if r := at(t, c.files, Options{}).Read(t.Context(), false).Heat; r.Known != (c.want > 0) || r.Value != c.want || r.Text == "" {
				t.Errorf("%+v", r)
			}
		})
	}
}

func TestPrograms(t *testing.T) {
	files := map[string]string{
		"proc/1/comm": "systemd\n", "proc/77/comm": "a-very-long-nam\n", "proc/77/cmdline": "/opt/a/a-very-long-name\x00--x\x00",
		"proc/78/comm": "wine\n", "proc/78/cmdline": `C:\Games\Doom.exe` + "\x00", "proc/self/comm": "not a process\n",
	}
	for chosen, want := range map[string]bool{"": false, "a-very-long-name": true, "doom": true, "DOOM.EXE": true, "vlc": false, "not a process": false, "a": false} {
		var list []string
		if chosen != "" {
			list = []string{"nothing", chosen}
		}
		r := at(t, files, Options{Programs: func() []string { return list }}).Read(t.Context(), false).Program
		if !r.Known || (r.Value == 1) != want {
			t.Errorf("%q: %+v", chosen, r)
		}
	}
}

func TestForeignLoad(t *testing.T) {
	own := time.Duration(0)
	files := map[string]string{"proc/stat": "cpu  1000 0 0 9000 0 0 0 0 0 0\n", "proc/pressure/cpu": "some avg10=12.50 avg60=1.00 avg300=0.00 total=1\nfull avg10=0.00\n"}
	s := at(t, files, Options{Own: func() time.Duration { return own }})
	if r := s.foreign(t.Context()); r.Known {
		t.Errorf("after one look: %+v", r)
	}
	if r := s.pressure(t.Context()); !r.Known || r.Value != 0.125 {
		t.Errorf("pressure %+v", r)
	}
	step := func(stat string, used time.Duration) owner.Reading {
		own += used
		if err := os.WriteFile(filepath.Join(s.o.Root, "proc/stat"), []byte(stat), 0o644); err != nil {
			t.Fatal(err)
		}
		return s.foreign(t.Context())
	}
	// Ten seconds of two processors: fifteen of twenty busy, five of these ours.
	if r := step("cpu  2500 0 0 9500 0 0 0 0 0 0\n", 5*time.Second); !r.Known || r.Value != 0.5 {
		t.Errorf("%+v", r)
	}
	if r := step("cpu  2500 0 0 9500 0 0 0 0 0 0\n", 0); r.Known {
		t.Errorf("a count that stands still: %+v", r)
	}
	if r := step("cpu  100 0 0 100 0 0 0 0 0 0\n", 0); r.Known {
		t.Errorf("a count that goes back: %+v", r)
	}
	if r := step("cpu  200 0 0 200 0 0 0 0 0 0\n", time.Hour); r.Value != 0 {
		t.Errorf("more of ours than there was: %+v", r)
	}
	for _, bad := range []string{"", "cpu\n", "cpu a b c d e f g\n", "intr 1 2 3 4 5 6 7 8\n"} {
		if r := step(bad, 0); r.Known {
			t.Errorf("%q: %+v", bad, r)
		}
	}
}

func TestMetered(t *testing.T) {
	const name = "org.freedesktop.NetworkManager.Metered"
	for _, c := range []struct {
		answer any
		known  bool
		value  float64
	}{{uint32(1), true, 1}, {uint32(2), true, 0}, {uint32(3), true, 1}, {uint32(4), true, 0}, {uint32(0), false, 0}, {uint32(9), false, 0}, {"yes", false, 0}} {
		if r := at(t, nil, Options{Bus: bus{name: c.answer}}).Read(t.Context(), false).Metered; r.Known != c.known || r.Value != c.value {
			t.Errorf("%v: %+v", c.answer, r)
		}
	}
	if r := at(t, nil, Options{}).Read(t.Context(), false).Metered; r.Known || !strings.Contains(r.Text, "NetworkManager") {
		t.Errorf("%+v", r)
	}
}

func TestIdle(t *testing.T) {
	s := at(t, map[string]string{"dev/tty1": "", "dev/pts/0": "", "dev/pts/ptmx": ""}, Options{})
	now := time.Now()
	for name, ago := range map[string]time.Duration{"dev/tty1": time.Hour, "dev/pts/0": 40 * time.Second, "dev/pts/ptmx": 0} {
		if err := os.Chtimes(filepath.Join(s.o.Root, name), now.Add(-ago), now); err != nil {
			t.Fatal(err)
		}
	}
	if r := s.Read(t.Context(), true).Idle; !r.Known || r.Value < 39 || r.Value > 60 {
		t.Errorf("%+v", r)
	}
	since := now.Add(-10 * time.Second)
	s = at(t, nil, Options{Bus: bus{
		"org.freedesktop.login1.Manager.IdleHint": true, "org.freedesktop.login1.Manager.IdleSinceHint": uint64(since.UnixMicro()),
	}})
	if r := s.Read(t.Context(), true).Idle; !r.Known || r.Value < 10 || r.Value > 30 {
		t.Errorf("login manager: %+v", r)
	}
	if r := at(t, nil, Options{Bus: bus{"org.freedesktop.login1.Manager.IdleHint": false}}).Read(t.Context(), true).Idle; r.Known || r.Text == "" {
		t.Errorf("nothing tells: %+v", r)
	}
}

// TestThisComputer reads the real sensors: whatever they say, it is a reading or a reason.
func TestThisComputer(t *testing.T) {
	s := New(Options{Programs: func() []string { return []string{"no-such-program"} }})
	defer func() { _ = s.Close() }()
	s.Read(t.Context(), false)
	time.Sleep(1100 * time.Millisecond)
	r := s.Read(t.Context(), false)
	for name, x := range map[string]owner.Reading{
		"idle": r.Idle, "screen": r.FullScreen, "program": r.Program, "battery": r.Battery, "metered": r.Metered, "heat": r.Heat, "foreign": r.Foreign, "pressure": r.Pressure,
	} {
		if !x.Known && x.Text == "" {
			t.Errorf("%s has neither a reading nor a reason", name)
		}
		t.Logf("%s: %+v", name, x)
	}
	if !r.Battery.Known || !r.Program.Known || !r.Foreign.Known {
		t.Error("what every Linux tells is not known")
	}
}

// TestScreen asks a real X server, where there is one to start.
func TestScreen(t *testing.T) {
	if _, err := exec.LookPath("Xvfb"); err != nil {
		t.Skip("no Xvfb on this machine")
	}
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	server := exec.Command("Xvfb", "-displayfd", "3", "-noreset", "-nolisten", "tcp", "-screen", "0", "320x200x24")
	server.ExtraFiles = []*os.File{writer}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	end := func() { // kindly, so that it removes its files
		_ = server.Process.Signal(syscall.SIGTERM)
		_ = server.Wait()
	}
	defer end()
	_ = writer.Close()
	b := make([]byte, 16)
	n, err := reader.Read(b)
	if err != nil {
		t.Skip("the X server does not start here")
	}
	_ = reader.Close()
	display := ":" + strings.TrimSpace(string(b[:n]))
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		try, err := xgb.NewConnDisplay(display)
		if err == nil {
			defer try.Close()
			break
		}
		if time.Now().After(deadline) {
			t.Skipf("the X server at %q lets nobody in: %v", display, err)
		}
	}
	s := at(t, nil, Options{Displays: func() []string { return []string{display} }})
	r := s.Read(t.Context(), false)
	for deadline := time.Now().Add(20 * time.Second); r.Idle.Value < 1 && time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		r.Idle = s.Read(t.Context(), true).Idle
	}
	r.FullScreen = s.fullScreen(t.Context())
	if !r.Idle.Known || r.Idle.Value < 1 || !strings.Contains(r.Idle.Text, display) {
		t.Fatalf("idle %+v", r.Idle)
	}
	if !r.FullScreen.Known || r.FullScreen.Value != 0 {
		t.Errorf("an empty screen: %+v", r.FullScreen)
	}

	x, err := xgb.NewConnDisplay(display)
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	top := xproto.Setup(x).DefaultScreen(x).Root
	w, err := xproto.NewWindowId(x)
	if err != nil {
		t.Fatal(err)
	}
	atom := func(name string) xproto.Atom {
		a, err := xproto.InternAtom(x, false, uint16(len(name)), name).Reply()
		if err != nil {
			t.Fatal(err)
		}
		return a.Atom
	}
	words := func(on xproto.Window, name string, kind xproto.Atom, v uint32) {
		b := []byte{byte(v), byte(v >> 8), byte(v >> 16), byte(v >> 24)}
		if err := xproto.ChangePropertyChecked(x, xproto.PropModeReplace, on, atom(name), kind, 32, 1, b).Check(); err != nil {
			t.Fatal(err)
		}
	}
	if err := xproto.CreateWindowChecked(x, 24, w, top, 0, 0, 320, 200, 0, xproto.WindowClassInputOutput, 0, 0, nil).Check(); err != nil {
		t.Fatal(err)
	}
	words(w, "_NET_WM_STATE", xproto.AtomAtom, uint32(atom("_NET_WM_STATE_FULLSCREEN")))
	words(top, "_NET_ACTIVE_WINDOW", xproto.AtomWindow, uint32(w))
	s.due = map[string]time.Time{}
	if r := s.Read(t.Context(), false).FullScreen; !r.Known || r.Value != 1 {
		t.Errorf("a film: %+v", r)
	}
	if err := xproto.DestroyWindowChecked(x, w).Check(); err != nil {
		t.Fatal(err)
	}
	s.due = map[string]time.Time{}
	if r := s.Read(t.Context(), false).FullScreen; r.Value != 0 {
		t.Errorf("after the film: %+v", r)
	}

	if tool, err := exec.LookPath("xdotool"); err == nil {
		move := exec.Command(tool, "mousemove", "10", "10")
		move.Env = append(os.Environ(), "DISPLAY="+display)
		if out, err := move.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if again := s.Read(t.Context(), true).Idle; !again.Known || again.Value >= r.Idle.Value {
			t.Errorf("after the mouse moved the screen was idle for %v s, before for %v s", again.Value, r.Idle.Value)
		}
	}
	end()
	for range 3 { // the first question may still find the old connection
		if r := s.Read(t.Context(), true).Idle; !r.Known && r.Text != "" {
			return
		}
	}
	t.Error("a screen that is gone still tells")
}
