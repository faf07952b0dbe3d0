//go:build unix

package disk

import (
	"errors"
	"syscall"
)

func readOnly(err error) bool { return errors.Is(err, ErrReadOnly) || errors.Is(err, syscall.EROFS) }
