package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	canConfine  = true
	sandboxExec = "/usr/bin/sandbox-exec"
	enteredEnv  = "KITH_RUNNER_ENTERED"
)

// enter confines this process for good, with the system's own sandbox: only a program can be started in it, so this one
// begins a new life there, with the same standard input and output, whose first words are the answer. It returns only if
// that fails.
func enter(dir string, want Layers) (Layers, error) {
	if want&LayerProfile == 0 {
		return 0, nil
	}
	exe, err := os.Executable()
	if err == nil {
		exe, err = filepath.EvalSymlinks(exe)
	}
	if err != nil {
		return 0, err
	}
	if dir != "" {
		if dir, err = filepath.EvalSymlinks(dir); err != nil {
			return 0, err
		}
	}
	profile, err := seatbelt(exe, dir)
	if err != nil {
		return 0, err
	}
	if _, err := os.Stat(sandboxExec); err != nil {
		return 0, err
	}
	lowerLimits()
	args := append([]string{"sandbox-exec", "-p", profile, exe}, os.Args[1:]...)
	return 0, fmt.Errorf("%s: %w", sandboxExec, syscall.Exec(sandboxExec, args, append(os.Environ(), enteredEnv+"=1")))
}

// entered reports whether this is the new life.
func entered() (Layers, bool) {
	if os.Getenv(enteredEnv) == "" {
		return 0, false
	}
	_ = os.Unsetenv(enteredEnv)
	// That the profile holds is seen by what it refuses.
	if _, err := os.ReadDir("/Users"); !errors.Is(err, os.ErrPermission) {
		return 0, true
	}
	return LayerProfile, true
}

// lowerLimits bounds what no other limit does.
func lowerLimits() {
	for resource, most := range map[int]uint64{unix.RLIMIT_NOFILE: 4096, unix.RLIMIT_MEMLOCK: 0, unix.RLIMIT_CORE: 0} {
		var l unix.Rlimit
		if unix.Getrlimit(resource, &l) == nil {
			l.Max = min(l.Max, most)
			l.Cur = min(l.Cur, l.Max)
			_ = unix.Setrlimit(resource, &l)
		}
	}
}
