package sandboxtest

import (
	"os"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/windows"
)

func ownSession(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
}

// garbage writes to the standard output the process was born with.
func garbage(b []byte) error {
	_, err := os.NewFile(uintptr(syscall.Stdout), "stdout").Write(b)
	return err
}

// block holds the thread it is called on.
func block() {
	event, err := windows.CreateEvent(nil, 1, 0, nil)
	if err == nil {
		_, _ = windows.WaitForSingleObject(event, windows.INFINITE)
	}
}

// cpuTime is the processor time of this process.
func cpuTime() time.Duration {
	var created, exited, kernel, user windows.Filetime
	if err := windows.GetProcessTimes(windows.CurrentProcess(), &created, &exited, &kernel, &user); err != nil {
		panic(err)
	}
	ticks := func(f windows.Filetime) int64 { return int64(f.HighDateTime)<<32 | int64(f.LowDateTime) }
	return time.Duration(ticks(kernel)+ticks(user)) * 100
}
