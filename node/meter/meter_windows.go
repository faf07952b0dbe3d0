package meter

import (
	"fmt"
	"io/fs"
	"time"

	"golang.org/x/sys/windows"
)

// Now reads what the process has used. Windows keeps no sum over ended children.
func Now() Use {
	var created, exited, kernel, user windows.Filetime
	u := Use{Memory: goMemory()}
	if windows.GetProcessTimes(windows.CurrentProcess(), &created, &exited, &kernel, &user) == nil {
		for _, t := range []windows.Filetime{kernel, user} {
			u.CPU += time.Duration(int64(t.HighDateTime)<<32|int64(t.LowDateTime)) * 100
		}
	}
	return u
}

// DiskOf reads the space of the volume that holds path.
func DiskOf(path string) (Disk, error) {
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return Disk{}, fmt.Errorf("read the space of the disk of %s: %w", path, err)
	}
	var free, total, all uint64
	if err := windows.GetDiskFreeSpaceEx(name, &free, &total, &all); err != nil {
		return Disk{}, fmt.Errorf("read the space of the disk of %s: %w", path, err)
	}
	return Disk{Free: int64(free), Total: int64(total)}, nil
}

func allocated(info fs.FileInfo) int64 { return info.Size() }
