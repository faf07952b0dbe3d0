package sandbox

import (
	"bytes"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// stop stops every process of the tree, those that are started meanwhile too.
func (t *tree) stop(root *os.Process) {
	if unix.Kill(root.Pid, unix.SIGSTOP) != nil {
		return
	}
	stopped := map[int]bool{}
	for range 100 {
		found := false
		for _, pid := range descendants(root.Pid) {
			if !stopped[pid] {
				stopped[pid], found = true, true
				_ = unix.Kill(pid, unix.SIGSTOP)
			}
		}
		if !found {
			return
		}
	}
}

// cont lets them go on.
func (t *tree) cont(root *os.Process) {
	for _, pid := range append(descendants(root.Pid), root.Pid) {
		_ = unix.Kill(pid, unix.SIGCONT)
	}
}

// io adds up the bytes that the tree below and including pid has read from disks and written to them, or to the cache
// that goes there. The kernel adds ended children to their parents.
func (t *tree) io(pid int) int64 {
	var sum int64
	for _, p := range append(descendants(pid), pid) {
		b, err := os.ReadFile("/proc/" + strconv.Itoa(p) + "/io")
		if err != nil {
			continue
		}
		for line := range bytes.Lines(b) {
			name, value, _ := bytes.Cut(line, []byte(": "))
			if string(name) == "read_bytes" || string(name) == "write_bytes" {
				n, _ := strconv.ParseInt(string(bytes.TrimSpace(value)), 10, 64)
				sum += n
			}
		}
	}
	return sum
}
