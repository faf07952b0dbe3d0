//go:build !linux

package sandbox

// freeze has nothing to do here: killing is as quick.
func (t *tree) freeze(int) {}
