package sandbox

import (
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"kith/tasks"
)

// probeSystem tries what only this system offers an attacker. Every argument is such that even success does nothing.
func probeSystem(t *targets, try func(string, tasks.SandboxGrade, func() error)) {
	try("look into other processes", tasks.GradeProcess, func() error {
		_, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", t.PID))
		return err
	})
	call := func(name string, trap, a1, a2, a3 uintptr) {
		try(name, tasks.GradeProcess, func() error {
			// What the filter refuses fails with one of two errors, whatever the arguments; others mean that the kernel
			// looked at them.
			_, _, errno := unix.RawSyscall(trap, a1, a2, a3)
			if errno == unix.EPERM || errno == unix.ENOSYS {
				return errno
			}
			return nil
		})
	}
	none := uintptr(unsafe.Pointer(nil))
	call("make a socket", unix.SYS_SOCKET, unix.AF_UNIX, unix.SOCK_STREAM, 0)
	call("mount a file system", unix.SYS_MOUNT, none, none, none)
	call("make a namespace", unix.SYS_UNSHARE, unix.CLONE_NEWUTS, 0, 0)
	call("trace a process", unix.SYS_PTRACE, unix.PTRACE_ATTACH, 1<<30, 0)
	call("start a program", unix.SYS_EXECVE, none, none, none)
	call("load a program into the kernel", unix.SYS_BPF, 1<<20, none, 0)
	call("use a kernel ring", unix.SYS_IO_URING_SETUP, 0, none, 0)
	call("use the kernel's keys", unix.SYS_KEYCTL, 1<<20, 0, 0)
	call("signal other processes", unix.SYS_KILL, 1<<30, 0, 0)
}
