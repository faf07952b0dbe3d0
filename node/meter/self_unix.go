//go:build unix

package meter

import (
	"time"

	"golang.org/x/sys/unix"
)

// Self reads the processor time of this process alone.
func Self() time.Duration {
	var r unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &r) != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
