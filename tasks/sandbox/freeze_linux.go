package sandbox

import "golang.org/x/sys/unix"

// freeze stops the tree below and including pid, as far as it is found, so that it takes no more until it is killed.
func (t *tree) freeze(pid int) {
	_ = unix.Kill(pid, unix.SIGSTOP)
	for _, p := range descendants(pid) {
		_ = unix.Kill(p, unix.SIGSTOP)
	}
}
