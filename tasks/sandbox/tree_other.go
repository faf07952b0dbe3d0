//go:build unix && !linux

package sandbox

import (
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"

	"kith/tasks"
)

const (
	canIsolate = false
	neutralDir = "/"
)

// scans are of no use here.
type scans struct{}

// tree is a runner and everything it started: a session and process group of its own. What leaves them is not found.
type tree struct{ group int }

func (t *tree) isolated() bool { return false }

func (t *tree) start(cmd *exec.Cmd, _ bool, _ Layers, _ int, _ *scans) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	t.group = cmd.Process.Pid
	return nil
}

// holds is for systems on which a runner is started in what holds it.
func (t *tree) holds() (Layers, error) { return 0, nil }

// admit has nothing to do here.
func (t *tree) admit(string) error { return nil }

// limit does nothing: other processes' limits cannot be set here. The runner limits itself (see harden).
func (t *tree) limit(int, *tasks.Limits, usage) {}

func (t *tree) kill(root *os.Process) {
	_ = unix.Kill(-t.group, unix.SIGKILL)
	_ = root.Kill()
}

func (t *tree) sweep() { _ = unix.Kill(-t.group, unix.SIGKILL) }

// usage cannot be sampled here; the runner watches itself.
func (t *tree) usage(int, int64) (usage, bool) { return usage{}, false }

// nameless cannot be told here.
func (t *tree) nameless(int) int64 { return 0 }
