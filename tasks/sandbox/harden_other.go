//go:build unix && !linux

package sandbox

import (
	"os"
	"os/signal"
	"runtime/metrics"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"kith/tasks"
)

// harden takes from a runner process what it does not need.
func harden() {
	signal.Ignore(syscall.SIGXFSZ)
	_ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
}

// processCPU is the processor time of this process and the children it has waited for.
func processCPU() time.Duration {
	var self, children unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &self) != nil || unix.Getrusage(unix.RUSAGE_CHILDREN, &children) != nil {
		return 0
	}
	total := self.Utime.Nano() + self.Stime.Nano() + children.Utime.Nano() + children.Stime.Nano()
	return time.Duration(total)
}

const watchEvery = 100 * time.Millisecond

// watchSelf ends this process, while work runs, when its parent dies or a limit is passed that nobody else can sample
// here. (An idle runner sees the end of its input.) It counts this process alone, not what it starts.
func watchSelf(l *tasks.Limits) (stop func()) {
	done := make(chan struct{})
	parent, cpu, memory := os.Getppid(), processCPU(), mapped()
	go func() {
		tick := time.NewTicker(watchEvery)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
			}
			switch {
			case os.Getppid() != parent:
				os.Exit(exitOrphan)
			case mapped()-memory > l.MemoryBytes:
				os.Exit(exitMemory)
			case processCPU()-cpu > millis(l.CPUMillis):
				os.Exit(exitTime)
			}
		}
	}()
	return func() { close(done) }
}

// mapped is the memory that the Go runtime holds and has not given back, in bytes.
func mapped() int64 {
	s := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(s)
	return int64(s[0].Value.Uint64() - s[1].Value.Uint64())
}
