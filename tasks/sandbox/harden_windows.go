package sandbox

import (
	"time"

	"golang.org/x/sys/windows"

	"kith/tasks"
)

// harden has nothing to do here: the parent put the runner into a job object.
func harden() {}

// processCPU is the processor time of this process.
func processCPU() time.Duration {
	var created, exited, kernel, user windows.Filetime
	if windows.GetProcessTimes(windows.CurrentProcess(), &created, &exited, &kernel, &user) != nil {
		return 0
	}
	ticks := func(f windows.Filetime) int64 { return int64(f.HighDateTime)<<32 | int64(f.LowDateTime) }
	return time.Duration(ticks(kernel)+ticks(user)) * 100
}

// watchSelf has nothing to do here: this process and its limits belong to a job object.
func watchSelf(*tasks.Limits) (stop func()) { return func() {} }
