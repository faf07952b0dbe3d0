//go:build !linux

package storagetest

import "testing"

func serveOthers(Opener) {}

// PowerCut checks what a power cut leaves of a store; only on Linux.
func PowerCut(t *testing.T, _ Opener, _ int, _ ...string) {
	t.Helper()
	t.Skip("which parts of a file are holes is known on Linux only")
}
