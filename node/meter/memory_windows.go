package meter

import (
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
)

var globalMemory = windows.NewLazySystemDLL("kernel32.dll").NewProc("GlobalMemoryStatusEx")

// Memory is what this computer has, in bytes; 0 if unknown.
func Memory() int64 {
	s := struct {
		Length, Load                                                       uint32
		Physical, Free, PageFile, FreePageFile, Virtual, FreeVirtual, More uint64
	}{}
	s.Length = uint32(unsafe.Sizeof(s))
	if ok, _, _ := globalMemory.Call(uintptr(unsafe.Pointer(&s))); ok == 0 {
		return 0
	}
	return int64(s.Physical)
}

// Self reads the processor time of this process alone.
func Self() time.Duration { return Now().CPU }
