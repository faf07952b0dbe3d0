//go:build !linux

package sandboxtest

import (
	"errors"

	"kith/tasks"
)

// direct is of use on Linux alone.
func direct(*tasks.Call, string) error { return errors.ErrUnsupported }
