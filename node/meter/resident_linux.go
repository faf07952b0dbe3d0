package meter

import (
	"bytes"
	"os"
	"strconv"
)

// resident reads the resident pages of this process but for mapped files: those are the system's cache, which gives way
// to whoever needs memory.
func resident() int64 {
	data, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return goMemory()
	}
	fields := bytes.Fields(data)
	if len(fields) < 3 {
		return goMemory()
	}
	pages, errAll := strconv.ParseInt(string(fields[1]), 10, 64)
	mapped, errMapped := strconv.ParseInt(string(fields[2]), 10, 64)
	if errAll != nil || errMapped != nil {
		return goMemory()
	}
	return (pages - mapped) * int64(os.Getpagesize())
}
