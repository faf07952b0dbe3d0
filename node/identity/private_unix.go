//go:build unix

package identity

import (
	"fmt"
	"io/fs"
)

// private refuses a key that group or others may touch.
func private(path string, info fs.FileInfo) error {
	if perm := info.Mode().Perm(); perm&0o077 != 0 {
		return fmt.Errorf("%w: %s has mode %#o; chmod 600 it, and if others use this machine, move it away to make a new one", ErrPermissions, path, perm)
	}
	return nil
}
