//go:build !linux

package fleet

import (
	"errors"
	"syscall"
)

func dieWithUs() *syscall.SysProcAttr { return nil }

// Usage is only known on Linux.
func (n *Node) Usage() (Usage, error) { return Usage{}, errors.ErrUnsupported }
