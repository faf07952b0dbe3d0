package sandbox

import (
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"kith/tasks"
)

// harden takes from a runner process what it does not need. Failures are not fatal: the parent's own checks hold
// without these.
func harden() {
	signal.Ignore(syscall.SIGXFSZ)
	// Orphans of the tree come to this process, so that the parent finds them below it.
	_ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
	// Nothing that an ancestor left open goes on to what a kind may start.
	_ = unix.CloseRange(3, ^uint(0), unix.CLOSE_RANGE_CLOEXEC)
	_ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
	// If the machine runs out of memory, let it be this process that the kernel ends.
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte("1000"), 0)
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

// watchSelf has nothing to do here: the kernel ends this process when its parent dies, and the parent samples it.
func watchSelf(*tasks.Limits) (stop func()) { return func() {} }
