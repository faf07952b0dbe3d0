package service

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write golden files")

func TestUnit(t *testing.T) {
	if filepath.Separator != '/' {
		t.Skip("units are for systems with such paths")
	}
	for name, u := range map[string]Unit{
		"user":   {Exe: "/home/ann/bin/kith", Home: "/home/ann/.local/share/kith"},
		"system": {Exe: "/usr/bin/kith", Home: "/var/lib/kith", System: true, User: "kith"},
		"odd":    {Exe: `/home/a "b"/100%/$HOME/kith`, Home: `/home/back\slash/ü`},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := u.Text()
			if err != nil {
				t.Fatal(err)
			}
			golden := filepath.Join("testdata", name+".service")
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil || got != string(want) {
				t.Errorf("%v; got\n%s\nwant\n%s", err, got, want)
			}
			if tool, err := exec.LookPath("systemd-analyze"); err == nil && name != "system" {
				unit := filepath.Join(t.TempDir(), Name)
				exe, _ := os.Executable()
				u.Exe = exe // it must be there
				text, _ := u.Text()
				if err := os.WriteFile(unit, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
				if out, err := exec.Command(tool, "verify", unit).CombinedOutput(); err != nil || strings.Contains(string(out), Name+":") {
					t.Errorf("systemd-analyze: %v\n%s", err, out)
				}
			}
		})
	}
	for name, u := range map[string]Unit{
		"relative program": {Exe: "kith", Home: "/h"},
		"relative folder":  {Exe: "/kith", Home: "h"},
		"two lines":        {Exe: "/kith\nExecStartPre=/bin/true", Home: "/h"},
		"no user":          {Exe: "/kith", Home: "/h", System: true},
		"two users":        {Exe: "/kith", Home: "/h", System: true, User: "a\nGroup=root"},
	} {
		if text, err := u.Text(); !errors.Is(err, ErrUnit) {
			t.Errorf("%s: %v\n%s", name, err, text)
		}
	}
}

// fake is a manager whose systemctl remembers what it was told.
type fake struct {
	*Manager
	calls []string
	fail  string // the beginning of the call that fails
	on    bool
	stays bool // the user's units outlive the session
}

func newFake(t *testing.T, system bool) *fake {
	dir := t.TempDir()
	f := &fake{}
	f.Manager = &Manager{system: system, user: "ann", dir: filepath.Join(dir, "units"), booted: dir, run: f.systemctl}
	return f
}

func (f *fake) systemctl(_ context.Context, name string, args ...string) (string, error) {
	call := name + " " + strings.Join(args, " ")
	f.calls = append(f.calls, call)
	args = slices.DeleteFunc(slices.Clone(args), func(a string) bool { return a == "--user" })
	if f.fail != "" && args[0] == f.fail {
		return "no", errors.New(f.fail + " failed")
	}
	switch args[0] {
	case "enable":
		f.on = true
	case "disable":
		f.on = false
	case "show-user":
		if f.system || args[1] != "ann" {
			return "", fmt.Errorf("asked for %q", args)
		}
		return map[bool]string{true: "yes", false: "no"}[f.stays], nil
	case "is-enabled":
		return map[bool]string{true: "enabled", false: "disabled"}[f.on], nil
	case "is-active":
		return map[bool]string{true: "active", false: "inactive"}[f.on], nil
	}
	return "", nil
}

func unit(t *testing.T) Unit {
	dir := t.TempDir()
	return Unit{Exe: filepath.Join(dir, "kith"), Home: filepath.Join(dir, "home"), User: "ann"}
}

func TestInstall(t *testing.T) {
	for name, system := range map[string]bool{"user": false, "system": true} {
		t.Run(name, func(t *testing.T) {
			f, u := newFake(t, system), unit(t)
			if s, err := f.Status(t.Context()); err != nil || s.Installed {
				t.Fatalf("before: %+v, %v", s, err)
			}
			s, err := f.Install(t.Context(), u)
			if err != nil || !s.Installed || !s.Enabled || s.Active != "active" || s.System != system || s.Boot != system {
				t.Fatalf("installed: %+v, %v", s, err)
			}
			f.stays = true
			if s, err := f.Status(t.Context()); err != nil || !s.Boot {
				t.Errorf("where a user's units start with the machine: %+v, %v", s, err)
			}
			want := "systemctl --user enable --now " + Name
			if system {
				want = "systemctl enable --now " + Name
			}
			if !slices.Contains(f.calls, want) || slices.Contains(f.calls, "loginctl enable-linger") == system {
				t.Errorf("calls %q", f.calls)
			}
			u.System = system
			text, _ := u.Text()
			if b, err := os.ReadFile(s.Path); err != nil || string(b) != text {
				t.Errorf("%s, %v", b, err)
			}
			f.calls = nil
			if _, err := f.Install(t.Context(), u); err != nil || !slices.ContainsFunc(f.calls, func(c string) bool { return strings.Contains(c, "restart") }) {
				t.Errorf("again: %v, calls %q", err, f.calls)
			}
			for range 2 {
				if s, err := f.Uninstall(t.Context()); err != nil || s.Installed || f.on {
					t.Fatalf("uninstalled: %+v, %v", s, err)
				}
			}
			if _, err := os.Stat(s.Path); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the unit is still there: %v", err)
			}
		})
	}
}

func TestInstallFails(t *testing.T) {
	f, u := newFake(t, false), unit(t)
	f.fail = "enable"
	if _, err := f.Install(t.Context(), u); err == nil || !strings.Contains(err.Error(), "enable failed") {
		t.Fatalf("got %v", err)
	}
	if _, err := os.Stat(f.path()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the unit is still there: %v", err)
	}
	f.fail = ""
	if _, err := f.Install(t.Context(), u); err != nil {
		t.Fatal(err)
	}
	before, _ := os.ReadFile(f.path())
	f.fail = "restart"
	other := u
	other.Home += "2"
	if _, err := f.Install(t.Context(), other); err == nil {
		t.Fatal("it did not fail")
	}
	if after, err := os.ReadFile(f.path()); err != nil || string(after) != string(before) {
		t.Errorf("the old unit was lost: %s, %v", after, err)
	}
	f.fail = "disable"
	if _, err := f.Uninstall(t.Context()); err == nil {
		t.Error("a service that could not be stopped was removed")
	}
}

// TestNoSession: who came by su has no service manager that answers.
func TestNoSession(t *testing.T) {
	for _, said := range []string{"Failed to connect to bus: No medium found", "Failed to connect to user scope bus via local transport: No such file or directory"} {
		f := newFake(t, false)
		f.run = func(context.Context, string, ...string) (string, error) { return said, errors.New("exit status 1") }
		if _, err := f.Install(t.Context(), unit(t)); !errors.Is(err, ErrNoSession) {
			t.Errorf("got %v", err)
		}
		if _, err := os.Stat(f.path()); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("a unit was left: %v", err)
		}
	}
}

func TestForeignUnit(t *testing.T) {
	f := newFake(t, true)
	if err := errors.Join(os.MkdirAll(f.dir, 0o700), os.WriteFile(f.path(), []byte("[Unit]\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	for name, do := range map[string]func() (State, error){
		"install": func() (State, error) { return f.Install(t.Context(), unit(t)) }, "uninstall": func() (State, error) { return f.Uninstall(t.Context()) },
	} {
		if _, err := do(); !errors.Is(err, ErrForeign) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if b, err := os.ReadFile(f.path()); err != nil || string(b) != "[Unit]\n" || len(f.calls) > 0 {
		t.Errorf("%s, %v, calls %q", b, err, f.calls)
	}
}

func TestNoSystemd(t *testing.T) {
	f := newFake(t, false)
	f.booted = filepath.Join(f.booted, "none")
	if _, err := f.Install(t.Context(), unit(t)); !errors.Is(err, ErrUnavailable) || len(f.calls) > 0 {
		t.Errorf("got %v, calls %q", err, f.calls)
	}
	if _, err := os.Stat(f.path()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a unit was written: %v", err)
	}
	if s, err := f.Uninstall(t.Context()); err != nil || s.Installed {
		t.Errorf("%+v, %v", s, err)
	}
}
