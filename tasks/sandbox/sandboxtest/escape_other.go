//go:build !linux

package sandboxtest

var ofSystem []attempt
