package sensors

import "syscall"

// syscallN calls a method of a system object.
func syscallN(method uintptr, args ...uintptr) (uintptr, uintptr, error) {
	a, b, errno := syscall.SyscallN(method, args...)
	return a, b, errno
}
