package disk

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// openDirect opens a file past the page cache, or where the file system cannot, through it.
func openDirect(name string) (File, bool, error) {
	f, err := os.OpenFile(name, os.O_RDWR|unix.O_DIRECT, 0)
	if err == nil {
		return f, true, nil
	}
	if !errors.Is(err, unix.EINVAL) {
		return nil, false, err
	}
	f, err = os.OpenFile(name, os.O_RDWR, 0)
	return f, false, err
}
