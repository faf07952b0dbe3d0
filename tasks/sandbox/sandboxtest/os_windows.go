package sandboxtest

import (
	"os"
	"os/exec"
	"syscall"

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
