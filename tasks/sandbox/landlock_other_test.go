//go:build !linux

package sandbox_test

func landlockKeepsLength() bool { return true }
