package sandbox

import (
	"os"

	"golang.org/x/sys/unix"
)

// stop stops every process of the tree, those that are started meanwhile too.
func (t *tree) stop(root *os.Process) {
	if unix.Kill(root.Pid, unix.SIGSTOP) != nil {
		return
	}
	stopped := map[int]bool{}
	for range 100 {
		found := false
		for _, pid := range descendants(root.Pid) {
			if !stopped[pid] {
				stopped[pid], found = true, true
				_ = unix.Kill(pid, unix.SIGSTOP)
			}
		}
		if !found {
			return
		}
	}
}

// cont lets them go on.
func (t *tree) cont(root *os.Process) {
	for _, pid := range append(descendants(root.Pid), root.Pid) {
		_ = unix.Kill(pid, unix.SIGCONT)
	}
}
