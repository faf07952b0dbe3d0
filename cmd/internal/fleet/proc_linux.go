package fleet

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// dieWithUs makes the kernel end a node when this program is killed.
func dieWithUs() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }

// ticks is USER_HZ, the unit of /proc/PID/stat, which is 100 on every Linux.
const ticks = 100

// Usage reads what the node's own process, without its runners, has used.
func (n *Node) Usage() (Usage, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", n.PID()))
	if err != nil {
		return Usage{}, err
	}
	// The name in parentheses may hold blanks: fields count from behind it, utime and stime being 14 and 15.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if len(fields) < 22 {
		return Usage{}, fmt.Errorf("/proc/%d/stat has %d fields", n.PID(), len(fields))
	}
	user, _ := strconv.ParseInt(fields[11], 10, 64)
	system, _ := strconv.ParseInt(fields[12], 10, 64)
	pages, _ := strconv.ParseInt(fields[21], 10, 64)
	return Usage{CPU: time.Duration(user+system) * time.Second / ticks, RSS: pages * int64(os.Getpagesize())}, nil
}
