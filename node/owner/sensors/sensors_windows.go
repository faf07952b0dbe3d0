package sensors

import (
	"context"
	"fmt"
	"unsafe"

	"golang.org/x/sys/windows"

	"kith/node/owner"
)

var (
	user32           = windows.NewLazySystemDLL("user32.dll")
	kernel32         = windows.NewLazySystemDLL("kernel32.dll")
	shell32          = windows.NewLazySystemDLL("shell32.dll")
	ole32            = windows.NewLazySystemDLL("ole32.dll")
	lastInput        = user32.NewProc("GetLastInputInfo")
	tickCount        = kernel32.NewProc("GetTickCount")
	powerStatus      = kernel32.NewProc("GetSystemPowerStatus")
	systemTimes      = kernel32.NewProc("GetSystemTimes")
	notification     = shell32.NewProc("SHQueryUserNotificationState")
	coInitialize     = ole32.NewProc("CoInitializeEx")
	coUninitialize   = ole32.NewProc("CoUninitialize")
	coCreateInstance = ole32.NewProc("CoCreateInstance")
)

type platform struct{}

// Close has nothing to let go of.
func (s *Set) Close() error { return nil }

// idle is the time since the last input of this session. A service has a session of its own, in which there is none.
func (s *Set) idle(context.Context) owner.Reading {
	info := struct{ Size, Time uint32 }{Size: 8}
	if ok, _, err := lastInput.Call(uintptr(unsafe.Pointer(&info))); ok == 0 {
		return owner.Unknown(fmt.Sprintf("Windows does not say: %v", err))
	}
	now, _, _ := tickCount.Call()
	return owner.Seen(float64(uint32(now)-info.Time)/1000, 1e10, "says Windows") // both counts wrap at 49 days
}

func (s *Set) battery(context.Context) owner.Reading {
	var p struct {
		AC, Flag, Percent, Saver uint8
		Left, Full               uint32
	}
	if ok, _, err := powerStatus.Call(uintptr(unsafe.Pointer(&p))); ok == 0 {
		return owner.Unknown(fmt.Sprintf("Windows does not say: %v", err))
	}
	switch {
	case p.AC == 0 && p.Percent <= 100:
		return owner.YesNo(true, fmt.Sprintf("on battery, %d %% left", p.Percent))
	case p.AC == 0:
		return owner.YesNo(true, "on battery")
	case p.AC == 1:
		return owner.YesNo(false, "on mains power")
	}
	return owner.Unknown("Windows does not know")
}

// fullScreen asks whether Windows itself holds back notes for the user: for a game, a presentation, a full screen.
func (s *Set) fullScreen(context.Context) owner.Reading {
	const busy, game, presentation = 2, 3, 4
	var state int32
	if hr, _, _ := notification.Call(uintptr(unsafe.Pointer(&state))); int32(hr) < 0 {
		return owner.Unknown("Windows does not say")
	}
	if state == busy || state == game || state == presentation {
		return owner.YesNo(true, "a program fills the screen")
	}
	return owner.YesNo(false, "no program fills the screen")
}

func (s *Set) running(context.Context) (map[string]bool, error) {
	h, err := windows.CreateToolhelp32Snapshot(windows.TH32CS_SNAPPROCESS, 0)
	if err != nil {
		return nil, fmt.Errorf("the running programs cannot be listed: %w", err)
	}
	defer func() { _ = windows.CloseHandle(h) }()
	out := map[string]bool{}
	e := windows.ProcessEntry32{Size: uint32(unsafe.Sizeof(windows.ProcessEntry32{}))}
	for err = windows.Process32First(h, &e); err == nil; err = windows.Process32Next(h, &e) {
		out[plainName(windows.UTF16ToString(e.ExeFile[:]))] = true
	}
	return out, nil
}

func (s *Set) foreign(context.Context) owner.Reading {
	var idle, kernel, user windows.Filetime // kernel time holds the idle time
	if ok, _, err := systemTimes.Call(uintptr(unsafe.Pointer(&idle)), uintptr(unsafe.Pointer(&kernel)), uintptr(unsafe.Pointer(&user))); ok == 0 {
		return owner.Unknown(fmt.Sprintf("Windows does not say: %v", err))
	}
	seconds := func(f windows.Filetime) float64 { return float64(int64(f.HighDateTime)<<32|int64(f.LowDateTime)) / 1e7 }
	all := seconds(kernel) + seconds(user)
	return s.load.foreign(all-seconds(idle), all, s.o.Own().Seconds())
}

func (s *Set) pressure(context.Context) owner.Reading {
	return owner.Unknown("Windows does not tell who waits")
}

func (s *Set) heat(context.Context) owner.Reading {
	return owner.Unknown("Windows shows no temperature to programs without rights")
}

// metered asks the network list manager what the way to the internet costs.
func (s *Set) metered(context.Context) owner.Reading {
	list := windows.GUID{Data1: 0xDCB00C01, Data2: 0x570F, Data3: 0x4A9B, Data4: [8]byte{0x8D, 0x69, 0x19, 0x9F, 0xDB, 0xA5, 0x72, 0x3B}}
	cost := windows.GUID{Data1: 0xDCB00008, Data2: 0x570F, Data3: 0x4A9B, Data4: [8]byte{0x8D, 0x69, 0x19, 0x9F, 0xDB, 0xA5, 0x72, 0x3B}}
	const multithreaded, everywhere = 0, 23 // CLSCTX_ALL
	if hr, _, _ := coInitialize.Call(0, multithreaded); int32(hr) >= 0 {
		defer func() { _, _, _ = coUninitialize.Call() }()
	}
	var object **[4]uintptr // its methods: three of IUnknown, then GetCost
	hr, _, _ := coCreateInstance.Call(uintptr(unsafe.Pointer(&list)), 0, everywhere, uintptr(unsafe.Pointer(&cost)), uintptr(unsafe.Pointer(&object)))
	if int32(hr) < 0 || object == nil {
		return owner.Unknown("Windows does not tell what the network costs")
	}
	methods := *object
	defer func() { _, _, _ = syscallN(methods[2], uintptr(unsafe.Pointer(object))) }() // Release
	var what uint32
	if hr, _, _ := syscallN(methods[3], uintptr(unsafe.Pointer(object)), uintptr(unsafe.Pointer(&what)), 0); int32(hr) < 0 || what == 0 {
		return owner.Unknown("Windows does not know what the network costs")
	}
	const free, fixed, variable, overLimit, roaming = 0x1, 0x2, 0x4, 0x10000, 0x40000
	return owner.YesNo(what&(fixed|variable|overLimit|roaming) != 0 && what&free == 0, "says Windows")
}
