//go:build !linux && !windows && !darwin

package disk

import (
	"errors"
	"runtime"
)

// Of cannot tell drives on this system.
func Of(string) (Drive, error) {
	return Drive{}, errors.New("drives cannot be told on " + runtime.GOOS)
}
