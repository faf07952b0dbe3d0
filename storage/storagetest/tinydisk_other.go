//go:build !linux

package storagetest

import "testing"

// TinyDisk returns a folder that is a disk of that many bytes of its own, or skips the test where none can be mounted.
func TinyDisk(t *testing.T, bytes int64) string {
	t.Helper()
	t.Skip("a small disk can be mounted on Linux only")
	return ""
}
