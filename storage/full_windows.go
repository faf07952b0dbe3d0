package storage

import (
	"errors"
	"syscall"

	"golang.org/x/sys/windows"
)

// IsFull reports whether err is the operating system saying that a disk, quota or file-size limit is exhausted.
func IsFull(err error) bool {
	return errors.Is(err, ErrFull) || errors.Is(err, windows.ERROR_DISK_FULL) || errors.Is(err, windows.ERROR_HANDLE_DISK_FULL) ||
		errors.Is(err, windows.ERROR_DISK_QUOTA_EXCEEDED) || errors.Is(err, syscall.ENOSPC)
}
