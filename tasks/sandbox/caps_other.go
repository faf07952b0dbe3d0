//go:build unix && !linux

package sandbox

import (
	"os"

	"golang.org/x/sys/unix"
)

// stop stops the process group of the tree.
func (t *tree) stop(*os.Process) { _ = unix.Kill(-t.group, unix.SIGSTOP) }

// cont lets it go on.
func (t *tree) cont(*os.Process) { _ = unix.Kill(-t.group, unix.SIGCONT) }
