package sandbox_test

import "golang.org/x/sys/unix"

// landlockKeepsLength reports whether Landlock looks at the cutting of files here: since its version 3, Linux 6.2.
func landlockKeepsLength() bool {
	abi, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	return errno == 0 && abi >= 3
}
