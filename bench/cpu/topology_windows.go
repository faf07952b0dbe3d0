package cpu

import (
	"encoding/binary"
	"unsafe"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/registry"
)

var logicalProcessors = windows.NewLazySystemDLL("kernel32.dll").NewProc("GetLogicalProcessorInformationEx")

const allRelations = 0xffff

// Read reads the topology of this machine. It never fails: what cannot be found out is zero.
func Read() Topology {
	var t Topology
	var size uint32
	_, _, _ = logicalProcessors.Call(allRelations, 0, uintptr(unsafe.Pointer(&size))) // tells the size
	if size > 0 && size < 16<<20 {
		buf := make([]byte, size)
		if ok, _, _ := logicalProcessors.Call(allRelations, uintptr(unsafe.Pointer(&buf[0])), uintptr(unsafe.Pointer(&size))); ok != 0 {
			t = parseRelations(buf[:size], binary.LittleEndian)
		}
	}
	if k, err := registry.OpenKey(registry.LOCAL_MACHINE, `HARDWARE\DESCRIPTION\System\CentralProcessor\0`, registry.QUERY_VALUE); err == nil {
		defer k.Close()
		if s, _, err := k.GetStringValue("ProcessorNameString"); err == nil {
			t.Model = clip(s)
		}
		if mhz, _, err := k.GetIntegerValue("~MHz"); err == nil && mhz < 1e6 {
			t.BaseHz = int64(mhz) * 1e6
		}
	}
	identify(&t)
	return t
}
