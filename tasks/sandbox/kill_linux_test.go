package sandbox_test

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// BenchmarkKillKernel is what the kernel takes to end 500 small processes in 50 sets of namespaces, with nothing of Kith
// about them: the floor of BenchmarkKill.
func BenchmarkKillKernel(b *testing.B) {
	var all []time.Duration
	for b.Loop() {
		b.StopTimer()
		var inits []*exec.Cmd
		for range 50 {
			c := exec.Command("/bin/sh", "-c", "for i in 1 2 3 4 5 6 7 8 9; do /bin/sleep 60 & done; wait")
			c.SysProcAttr = &syscall.SysProcAttr{
				Pdeathsig:   syscall.SIGKILL,
				Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS,
				UidMappings: []syscall.SysProcIDMap{{ContainerID: 1, HostID: os.Getuid(), Size: 1}},
				GidMappings: []syscall.SysProcIDMap{{ContainerID: 1, HostID: os.Getgid(), Size: 1}},
			}
			if err := c.Start(); err != nil {
				b.Fatal(err)
			}
			inits = append(inits, c)
		}
		for end := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			n := 0
			for _, c := range inits {
				n += children(b, c.Process.Pid)
			}
			if n == 450 {
				break
			}
			if time.Now().After(end) {
				b.Fatalf("%d of 450 processes", n)
			}
		}
		b.StartTimer()
		t := time.Now()
		for _, c := range inits {
			_ = c.Process.Kill()
		}
		var wg sync.WaitGroup
		for _, c := range inits {
			wg.Go(func() { _ = c.Wait() }) // killed, as it says
		}
		wg.Wait()
		all = append(all, time.Since(t))
	}
	reportTimes(b, all)
}

// children counts the children of a process of one thread.
func children(b *testing.B, pid int) int {
	list, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		b.Fatal(err)
	}
	return len(strings.Fields(string(list)))
}
