package disk

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/windows"
)

// openTest makes a file in dir that goes when it is closed, whatever happens, past the cache. Overlapped, because a plain
// handle does one request after the other.
func openTest(dir string) (File, bool, error) {
	path := filepath.Join(dir, ".kith-probe-"+rand.Text())
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return nil, false, err
	}
	open := func(flags uint32) (windows.Handle, error) {
		return windows.CreateFile(name, windows.GENERIC_READ|windows.GENERIC_WRITE|windows.DELETE, windows.FILE_SHARE_DELETE, nil, windows.CREATE_NEW,
			windows.FILE_FLAG_DELETE_ON_CLOSE|windows.FILE_FLAG_OVERLAPPED|flags, 0)
	}
	h, err := open(windows.FILE_FLAG_NO_BUFFERING)
	direct := err == nil
	if err != nil {
		h, err = open(0)
	}
	if err != nil {
		return nil, false, &os.PathError{Op: "create", Path: path, Err: err}
	}
	return os.NewFile(uintptr(h), path), direct, nil
}

// openSoak opens the file of a soak test, which keeps what it has.
func openSoak(path string, _ int64) (File, bool, error) {
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return nil, false, err
	}
	h, err := windows.CreateFile(name, windows.GENERIC_READ|windows.GENERIC_WRITE, 0, nil, windows.OPEN_ALWAYS, windows.FILE_FLAG_NO_BUFFERING|windows.FILE_FLAG_OVERLAPPED, 0)
	if err != nil {
		return nil, false, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(h), path), true, nil
}

// freeSpace returns the bytes free to us on the volume of dir.
func freeSpace(dir string) (int64, error) {
	name, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return 0, err
	}
	var free, total, all uint64
	if err := windows.GetDiskFreeSpaceEx(name, &free, &total, &all); err != nil {
		return 0, fmt.Errorf("%s: %w", dir, err)
	}
	return int64(free), nil
}
