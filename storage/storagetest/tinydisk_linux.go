package storagetest

import (
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
)

// TinyDisk returns a folder that is a disk of that many bytes of its own, or skips the test where none can be mounted.
func TinyDisk(t *testing.T, bytes int64) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("kith-test", dir, "tmpfs", 0, fmt.Sprintf("size=%d", bytes)); err != nil {
		t.Skipf("mounting a small disk needs root: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}
