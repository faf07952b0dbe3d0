package gpu

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/windows"

	"kith/bench"
)

// HasLibrary says whether Library can work in this program.
const HasLibrary = true

// The part of NVIDIA's management library that is needed, loaded when it is first called. It comes with the driver.
var (
	nvmlDLL          = windows.NewLazySystemDLL("nvml.dll")
	nvmlInit         = nvmlDLL.NewProc("nvmlInit_v2")
	nvmlShutdown     = nvmlDLL.NewProc("nvmlShutdown")
	nvmlDriver       = nvmlDLL.NewProc("nvmlSystemGetDriverVersion")
	nvmlCount        = nvmlDLL.NewProc("nvmlDeviceGetCount_v2")
	nvmlHandle       = nvmlDLL.NewProc("nvmlDeviceGetHandleByIndex_v2")
	nvmlName         = nvmlDLL.NewProc("nvmlDeviceGetName")
	nvmlUUID         = nvmlDLL.NewProc("nvmlDeviceGetUUID")
	nvmlMemory       = nvmlDLL.NewProc("nvmlDeviceGetMemoryInfo")
	nvmlCompute      = nvmlDLL.NewProc("nvmlDeviceGetCudaComputeCapability")
	nvmlTemperature  = nvmlDLL.NewProc("nvmlDeviceGetTemperature")
	nvmlPower        = nvmlDLL.NewProc("nvmlDeviceGetPowerUsage")
	nvmlLimit        = nvmlDLL.NewProc("nvmlDeviceGetEnforcedPowerLimit")
	nvmlClock        = nvmlDLL.NewProc("nvmlDeviceGetClockInfo")
	nvmlMaxClock     = nvmlDLL.NewProc("nvmlDeviceGetMaxClockInfo")
	nvmlPCIeGen      = nvmlDLL.NewProc("nvmlDeviceGetCurrPcieLinkGeneration")
	nvmlPCIeMax      = nvmlDLL.NewProc("nvmlDeviceGetMaxPcieLinkGeneration")
	nvmlPCIeWidth    = nvmlDLL.NewProc("nvmlDeviceGetCurrPcieLinkWidth")
	nvmlPCI          = nvmlDLL.NewProc("nvmlDeviceGetPciInfo_v3")
	nvmlErrorStrings = map[uintptr]string{
		1: "uninitialized", 3: "not supported", 4: "no permission", 9: "the driver is not loaded", 12: "the library was not found",
		15: "the card has fallen off the bus or is lost", 16: "the card requires a reset", 18: "library and driver do not match", 999: "unknown error",
	}
)

const (
	nvmlSM      = 1 // clock of the streaming multiprocessors
	nvmlTempGPU = 0
)

// nvmlMemoryInfo is nvmlMemory_t.
type nvmlMemoryInfo struct{ total, free, used uint64 }

// nvmlPCIInfo is nvmlPciInfo_t.
type nvmlPCIInfo struct {
	legacy                                   [16]byte
	domain, bus, device, deviceID, subsystem uint32
	id                                       [32]byte
}

func nvmlError(what string, r uintptr) error {
	words, ok := nvmlErrorStrings[r]
	if !ok {
		words = fmt.Sprintf("error %d", r)
	}
	return fmt.Errorf("NVML: %s: %s", what, words)
}

// Library asks NVIDIA's management library in this very process, which it may crash: only a child process calls it.
func Library() ([]Card, error) {
	for _, p := range []*windows.LazyProc{nvmlInit, nvmlShutdown, nvmlCount, nvmlHandle, nvmlName, nvmlMemory} {
		if err := p.Find(); err != nil {
			return nil, fmt.Errorf("NVML: %w", err)
		}
	}
	if r, _, _ := nvmlInit.Call(); r != 0 {
		return nil, nvmlError("start", r)
	}
	defer nvmlShutdown.Call()
	driver := nvmlDriverVersion()
	var n uint32
	if r, _, _ := nvmlCount.Call(uintptr(unsafe.Pointer(&n))); r != 0 {
		return nil, nvmlError("count the cards", r)
	}
	var cards []Card
	for i := range min(n, maxCards) {
		var d uintptr
		if r, _, _ := nvmlHandle.Call(uintptr(i), uintptr(unsafe.Pointer(&d))); r != 0 {
			c := lost("", int(i))
			c.Problem, c.Driver = nvmlError("card", r).Error(), driver
			cards = append(cards, c)
			continue
		}
		c := nvmlDescribe(d)
		c.Index, c.Driver = int(i), driver
		cards = append(cards, c)
	}
	return cards, nil
}

func nvmlDescribe(d uintptr) Card {
	c := unknown()
	c.Vendor = bench.NVIDIA
	c.Model = orElse(nvmlText(nvmlName, d), "NVIDIA card")
	c.UUID = nvmlText(nvmlUUID, d)
	var m nvmlMemoryInfo
	if r, _, _ := nvmlMemory.Call(d, uintptr(unsafe.Pointer(&m))); r == 0 {
		c.VRAM, c.Free = int64(min(m.total, 1<<50)), int64(min(m.free, 1<<50))
	} else {
		c.Problem = nvmlError("memory", r).Error()
	}
	var major, minor int32
	if nvmlCompute.Find() == nil {
		if r, _, _ := nvmlCompute.Call(d, uintptr(unsafe.Pointer(&major)), uintptr(unsafe.Pointer(&minor))); r == 0 && major > 0 {
			c.Compute = fmt.Sprintf("%d.%d", major, minor)
		}
	}
	var pci nvmlPCIInfo
	if nvmlPCI.Find() == nil {
		if r, _, _ := nvmlPCI.Call(d, uintptr(unsafe.Pointer(&pci))); r == 0 {
			c.Bus = fmt.Sprintf("%08x:%02x:%02x.0", pci.domain, pci.bus, pci.device)
		}
	}
	number := func(p *windows.LazyProc) float64 {
		var v uint32
		if p.Find() != nil {
			return -1
		}
		if r, _, _ := p.Call(d, uintptr(unsafe.Pointer(&v))); r != 0 {
			return -1
		}
		return float64(v)
	}
	numberOf := func(p *windows.LazyProc, which uintptr) float64 {
		var v uint32
		if p.Find() != nil {
			return -1
		}
		if r, _, _ := p.Call(d, which, uintptr(unsafe.Pointer(&v))); r != 0 {
			return -1
		}
		return float64(v)
	}
	c.TempC = numberOf(nvmlTemperature, nvmlTempGPU)
	if v := number(nvmlPower); v >= 0 {
		c.PowerW = v / 1000 // milliwatts
	}
	if v := number(nvmlLimit); v >= 0 {
		c.LimitW = v / 1000
	}
	c.ClockMHz, c.MaxMHz = numberOf(nvmlClock, nvmlSM), numberOf(nvmlMaxClock, nvmlSM)
	c.PCIeGen, c.PCIeMax, c.PCIeWidth = int(number(nvmlPCIeGen)), int(number(nvmlPCIeMax)), int(number(nvmlPCIeWidth))
	return c
}

// nvmlText calls a function that fills a text of one card.
func nvmlText(p *windows.LazyProc, d uintptr) string {
	if p.Find() != nil {
		return ""
	}
	var b [96]byte
	if r, _, _ := p.Call(d, uintptr(unsafe.Pointer(&b[0])), unsafe.Sizeof(b)); r != 0 {
		return ""
	}
	return clip(windows.ByteSliceToString(b[:]))
}

func nvmlDriverVersion() string {
	if nvmlDriver.Find() != nil {
		return ""
	}
	var b [96]byte
	if r, _, _ := nvmlDriver.Call(uintptr(unsafe.Pointer(&b[0])), unsafe.Sizeof(b)); r != 0 {
		return ""
	}
	return clip(windows.ByteSliceToString(b[:]))
}
