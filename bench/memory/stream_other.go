//go:build !amd64

package memory

// sets lists the ways to run the four kernels here; the first is the one the score reads.
func sets() []set { return []set{goSet()} }
