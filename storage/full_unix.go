//go:build unix

package storage

import (
	"errors"
	"syscall"
)

// IsFull reports whether err is the operating system saying that a disk, quota or file-size limit is exhausted.
func IsFull(err error) bool {
	return errors.Is(err, ErrFull) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG)
}
