//go:build unix

package disk

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// openTest makes a file in dir that has no name any more, so that nothing stays behind whatever happens.
func openTest(dir string) (File, bool, error) {
	made, err := os.CreateTemp(dir, ".kith-probe-*")
	if err != nil {
		return nil, false, err
	}
	defer made.Close()
	f, direct, err := openDirect(made.Name())
	if err := errors.Join(err, os.Remove(made.Name())); err != nil {
		return nil, false, err
	}
	return f, direct, nil
}

// openSoak opens the file of a soak test, which keeps what it has.
func openSoak(path string, _ int64) (File, bool, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		return nil, false, err
	}
	return openDirect(path)
}

// freeSpace returns the bytes free to us on the file system of dir.
func freeSpace(dir string) (int64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, fmt.Errorf("%s: %w", filepath.Clean(dir), err)
	}
	return int64(s.Bavail) * int64(s.Bsize), nil
}
