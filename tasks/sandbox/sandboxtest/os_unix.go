//go:build unix

package sandboxtest

import (
	"os/exec"
	"syscall"
	"time"
)

func ownSession(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} }

// block holds the thread it is called on.
func block() {
	var fds [2]int
	if syscall.Pipe(fds[:]) == nil {
		_, _ = syscall.Read(fds[0], make([]byte, 1))
	}
}

// garbage writes to the standard output the process was born with.
func garbage(b []byte) error {
	_, err := syscall.Write(1, b)
	return err
}

// cpuTime is the processor time of this process.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
