//go:build unix

package storage

import (
	"os"

	"golang.org/x/sys/unix"
)

var errHeld = unix.EWOULDBLOCK

// lockFile takes an advisory lock that ends with unlockFile, or with the file's last descriptor. Children do not inherit
// it: Go opens files close-on-exec.
func lockFile(f *os.File) error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) }

// unlockFile gives the lock back even while a child that is just being started, and has not reached its exec, shares the
// descriptor.
func unlockFile(f *os.File) { _ = unix.Flock(int(f.Fd()), unix.LOCK_UN) }
