//go:build unix

package probe

import (
	"context"
	"os/exec"
	"runtime"
	"syscall"
)

// runTree runs cmd in a process group of its own and ends the whole group when ctx does. On an operating system that
// knows how, the group's leader also dies with the thread that started it, which therefore stays with it.
func runTree(ctx context.Context, cmd *exec.Cmd) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		cmd.SysProcAttr = attributes()
		if err := cmd.Start(); err != nil {
			done <- err
			return
		}
		stop := context.AfterFunc(ctx, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
		defer stop()
		err := cmd.Wait()
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // what it left behind
		done <- err
	}()
	return <-done
}
