package disk

import (
	"os"

	"golang.org/x/sys/unix"
)

// openDirect opens a file past the page cache, or where the file system cannot, through it.
func openDirect(name string) (File, bool, error) {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return nil, false, err
	}
	_, err = unix.FcntlInt(f.Fd(), unix.F_NOCACHE, 1)
	return f, err == nil, nil
}
