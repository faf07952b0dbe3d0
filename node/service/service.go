// Package service has systemd run a node from the start of the machine, in control groups that are the node's own: only
// there can the kernel itself hold the limits of tasks, for a node that is not root.
package service

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
)

// Name is the unit's.
const Name = "kith.service"

// Errors of the manager. The wrapped text says more.
var (
	ErrUnavailable = errors.New("this system does not run services by systemd")
	ErrForeign     = errors.New("there is a unit of that name that kith service did not make")
	ErrUnit        = errors.New("the unit cannot be written")
	ErrNoSession   = errors.New("there is no session of this user for systemd to run services in")
)

// Unit says what is to be run.
type Unit struct {
	Exe    string // absolute path of the program
	Home   string // absolute path of the node's data folder
	System bool   // one of the machine, else one of the user's own
	User   string // whom a unit of the machine runs as; required for one
}

const mark = "# Made by kith service install, which writes it anew.\n"

// Text is the unit file.
func (u Unit) Text() (string, error) {
	for _, p := range [...]string{u.Exe, u.Home} {
		if !filepath.IsAbs(p) || strings.ContainsAny(p, "\x00\r\n") {
			return "", fmt.Errorf("%w: %q is not an absolute path that can be named", ErrUnit, p)
		}
	}
	if u.System && (u.User == "" || strings.ContainsAny(u.User, " \t\r\n%\\\"'$")) {
		return "", fmt.Errorf("%w: user %q", ErrUnit, u.User)
	}
	var b strings.Builder
	b.WriteString(mark)
	b.WriteString("[Unit]\nDescription=Kith: gives the idle part of this computer to work its owner trusts\n")
	if u.System {
		b.WriteString("Wants=network-online.target\nAfter=network-online.target\n")
	}
	b.WriteString("\n[Service]\n")
	if u.System {
		fmt.Fprintf(&b, "User=%s\n", u.User)
	}
	fmt.Fprintf(&b, "ExecStart=%s --home %s run\n", quoted(u.Exe), quoted(u.Home))
	// A program that cannot be started, such as one in a folder that its user may not enter, is an error to who starts it.
	b.WriteString("Type=exec\n")
	// The group is delegated so that the node makes one for each task; a task that is ended for its memory is the node's
	// business and no reason to end the node. What the node prints is for its owner's eyes: an address that lets whoever reads it
	// in. Its log goes to the journal.
	b.WriteString(`Delegate=yes
OOMPolicy=continue
KillMode=mixed
TimeoutStopSec=30
Restart=on-failure
RestartSec=5
LimitNOFILE=65536
StandardOutput=null
StandardError=journal

[Install]
`)
	if u.System {
		b.WriteString("WantedBy=multi-user.target\n")
	} else {
		b.WriteString("WantedBy=default.target\n")
	}
	return b.String(), nil
}

// quoted writes an argument as unit files have them.
func quoted(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "%", "%%", "$", "$$").Replace(s) + `"`
}

// Manager installs units. Use New.
type Manager struct {
	system bool
	user   string // whose own units they are, else empty
	dir    string // where unit files are
	booted string // a folder that is there where systemd runs
	run    func(ctx context.Context, name string, args ...string) (string, error)
}

// New returns a manager of the machine's units, for which one must be root, or of the user's own.
func New(system bool) (*Manager, error) {
	m := &Manager{system: system, dir: "/etc/systemd/system", booted: "/run/systemd/system", run: run}
	if !system {
		config, err := os.UserConfigDir()
		if err != nil {
			return nil, fmt.Errorf("find the folder of units: %w", err)
		}
		who, err := user.Current()
		if err != nil {
			return nil, fmt.Errorf("find whose units they are: %w", err)
		}
		m.user = who.Username
		m.dir = filepath.Join(config, "systemd", "user")
	}
	return m, nil
}

func run(ctx context.Context, name string, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	text := strings.TrimSpace(string(out))
	if err != nil && text != "" {
		err = fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, text)
	}
	return text, err
}

// State is what is known of the unit.
type State struct {
	Path      string `json:"path"`
	Installed bool   `json:"installed"`
	Enabled   bool   `json:"enabled"` // starts by itself
	Boot      bool   `json:"boot"`    // starts with the machine; else, if it is enabled, when its user first logs on
	Active    string `json:"active"`  // in systemd's own word: active, inactive, failed …
	System    bool   `json:"system"`
}

func (m *Manager) path() string { return filepath.Join(m.dir, Name) }

func (m *Manager) systemctl(ctx context.Context, args ...string) (string, error) {
	if !m.system {
		args = append([]string{"--user"}, args...)
	}
	out, err := m.run(ctx, "systemctl", args...)
	if err != nil && !m.system && strings.Contains(out, "connect to") && strings.Contains(out, "bus") {
		err = fmt.Errorf("%w: %w", ErrNoSession, err)
	}
	return out, err
}

// available says what is missing.
func (m *Manager) available() error {
	if _, err := os.Stat(m.booted); err != nil {
		return fmt.Errorf("%w: there is no %s", ErrUnavailable, m.booted)
	}
	return nil
}

// ours reports whether the unit is there, or ErrForeign if it is somebody else's.
func (m *Manager) ours() (bool, error) {
	b, err := os.ReadFile(m.path())
	switch {
	case errors.Is(err, os.ErrNotExist):
		return false, nil
	case err != nil:
		return false, err
	case !strings.HasPrefix(string(b), mark):
		return false, fmt.Errorf("%w: %s", ErrForeign, m.path())
	}
	return true, nil
}

// Install writes the unit, starts it, and has it started with the machine, or for a user's own with their first log-on or,
// where that is allowed, with the machine too. What fails is undone.
func (m *Manager) Install(ctx context.Context, u Unit) (State, error) {
	u.System = m.system
	text, err := u.Text()
	if err != nil {
		return State{}, err
	}
	if err := m.available(); err != nil {
		return State{}, err
	}
	before, err := m.ours()
	if err != nil {
		return State{}, err
	}
	old, _ := os.ReadFile(m.path())
	if err := os.MkdirAll(m.dir, 0o755); err != nil {
		return State{}, fmt.Errorf("make the folder of units: %w", err)
	}
	if err := os.WriteFile(m.path(), []byte(text), 0o644); err != nil {
		return State{}, fmt.Errorf("write the unit: %w", err)
	}
	_, err = m.systemctl(ctx, "daemon-reload")
	if err == nil {
		_, err = m.systemctl(ctx, "enable", "--now", Name)
	}
	if err == nil && before { // it runs already, as the old unit said
		_, err = m.systemctl(ctx, "restart", Name)
	}
	if err != nil {
		var undo error
		if before {
			undo = os.WriteFile(m.path(), old, 0o644)
		} else {
			_, _ = m.systemctl(ctx, "disable", "--now", Name)
			undo = os.Remove(m.path())
		}
		_, _ = m.systemctl(ctx, "daemon-reload")
		return State{}, errors.Join(fmt.Errorf("start the service: %w", err), undo)
	}
	if !m.system {
		_, _ = m.run(ctx, "loginctl", "enable-linger") // some systems ask for more rights; Status says what came of it
	}
	return m.Status(ctx)
}

// Uninstall stops the service and removes the unit. That there is none is no error.
func (m *Manager) Uninstall(ctx context.Context) (State, error) {
	there, err := m.ours()
	if err != nil || !there {
		return State{Path: m.path(), System: m.system}, err
	}
	if err := m.available(); err == nil {
		if _, err := m.systemctl(ctx, "disable", "--now", Name); err != nil {
			return State{}, fmt.Errorf("stop the service: %w", err)
		}
	}
	if err := os.Remove(m.path()); err != nil {
		return State{}, fmt.Errorf("remove the unit: %w", err)
	}
	if m.available() == nil {
		_, _ = m.systemctl(ctx, "daemon-reload")
		_, _ = m.systemctl(ctx, "reset-failed", Name) // else it is listed as failed for ever; fails if it has not
	}
	return m.Status(ctx)
}

// Status says how the service is.
func (m *Manager) Status(ctx context.Context) (State, error) {
	s := State{Path: m.path(), System: m.system}
	var err error
	if s.Installed, err = m.ours(); err != nil || !s.Installed {
		return s, err
	}
	if err := m.available(); err != nil {
		return s, err
	}
	// Both end with an error for any other answer than the best.
	enabled, _ := m.systemctl(ctx, "is-enabled", Name)
	s.Enabled = enabled == "enabled"
	s.Active, _ = m.systemctl(ctx, "is-active", Name)
	s.Boot = s.Enabled
	if !m.system && s.Enabled {
		linger, err := m.run(ctx, "loginctl", "show-user", m.user, "--property=Linger", "--value")
		s.Boot = err == nil && linger == "yes"
	}
	return s, nil
}
