//go:build unix

package governor

import "syscall"

// errnoCause names what an error number of the system says about the drive.
func errnoCause(e syscall.Errno) Cause {
	switch e {
	case syscall.EIO:
		return IOError
	case syscall.ENODEV, syscall.ENXIO, syscall.ESTALE:
		return Vanished
	}
	return ""
}
