package steady

import (
	"bytes"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// threadTime is the time that this thread has had a processor.
func threadTime() (time.Duration, bool) {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		return 0, false
	}
	return time.Duration(t.Nano()), true
}

// pin binds this thread to the t-th processor that it may use, if it may use exactly as many as there are threads.
func pin(t, threads int) bool {
	var may unix.CPUSet
	if err := unix.SchedGetaffinity(0, &may); err != nil || may.Count() != threads {
		return false
	}
	for cpu := range len(may) * strconv.IntSize {
		if !may.IsSet(cpu) {
			continue
		}
		if t--; t < 0 {
			var one unix.CPUSet
			one.Set(cpu)
			return unix.SchedSetaffinity(0, &one) == nil
		}
	}
	return false
}

func readStolen() stolen {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return stolen{}
	}
	return parseStolen(b)
}

// parseStolen reads the first line of /proc/stat: ten counts of ticks, the eighth is what the host stole; the last two are
// in the first already.
func parseStolen(b []byte) stolen {
	line, _, _ := bytes.Cut(b, []byte("\n"))
	fields := bytes.Fields(line)
	if len(fields) < 9 || string(fields[0]) != "cpu" {
		return stolen{}
	}
	s := stolen{known: true}
	for i, f := range fields[1:9] {
		n, err := strconv.ParseUint(string(f), 10, 53)
		if err != nil {
			return stolen{}
		}
		s.all += float64(n)
		if i == 7 {
			s.ticks = float64(n)
		}
	}
	return s
}
