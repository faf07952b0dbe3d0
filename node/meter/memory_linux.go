package meter

import "golang.org/x/sys/unix"

// Memory is what this computer has, in bytes; 0 if unknown.
func Memory() int64 {
	var i unix.Sysinfo_t
	if unix.Sysinfo(&i) != nil {
		return 0
	}
	return int64(uint64(i.Totalram) * uint64(i.Unit))
}
