package governor

import (
	"syscall"

	"golang.org/x/sys/windows"
)

// errnoCause names what an error number of the system says about the drive.
func errnoCause(e syscall.Errno) Cause {
	switch e {
	case syscall.EIO, windows.ERROR_CRC, windows.ERROR_SECTOR_NOT_FOUND, windows.ERROR_READ_FAULT, windows.ERROR_WRITE_FAULT, windows.ERROR_IO_DEVICE, windows.ERROR_GEN_FAILURE:
		return IOError
	case windows.ERROR_NOT_READY, windows.ERROR_DEV_NOT_EXIST, windows.ERROR_DEVICE_NOT_CONNECTED, windows.ERROR_NO_SUCH_DEVICE, windows.ERROR_DEVICE_REMOVED:
		return Vanished
	case windows.ERROR_WRITE_PROTECT:
		return ReadOnly
	}
	return ""
}
