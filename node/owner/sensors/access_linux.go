package sensors

import (
	"time"

	"golang.org/x/sys/unix"
)

// accessed is when a file was last read.
func accessed(name string) (time.Time, bool) {
	var s unix.Stat_t
	if unix.Stat(name, &s) != nil {
		return time.Time{}, false
	}
	return time.Unix(s.Atim.Unix()), true
}
