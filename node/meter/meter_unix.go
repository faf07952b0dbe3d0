//go:build unix

package meter

import (
	"fmt"
	"io/fs"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Now reads what the process and its ended children have used.
func Now() Use {
	var sum time.Duration
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var r unix.Rusage
		if unix.Getrusage(who, &r) == nil {
			sum += time.Duration(r.Utime.Nano() + r.Stime.Nano())
		}
	}
	return Use{CPU: sum, Memory: resident()}
}

// DiskOf reads the space of the file system that holds path.
func DiskOf(path string) (Disk, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(path, &s); err != nil {
		return Disk{}, fmt.Errorf("read the space of the disk of %s: %w", path, err)
	}
	// Bavail leaves out what is reserved for root, so the used share is of what people can have.
	free := int64(s.Bavail) * int64(s.Bsize)
	used := int64(s.Blocks-s.Bfree) * int64(s.Bsize)
	return Disk{Free: free, Total: free + used}, nil
}

// allocated is what a file takes on disk: sparse files take less than they seem to.
func allocated(info fs.FileInfo) int64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return int64(st.Blocks) * 512
	}
	return info.Size()
}
