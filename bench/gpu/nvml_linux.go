//go:build cgo

package gpu

import (
	"fmt"

	"github.com/NVIDIA/go-nvml/pkg/nvml"

	"kith/bench"
)

// HasLibrary says whether Library can work in this program.
const HasLibrary = true

// Library asks NVIDIA's management library in this very process, which it may crash: only a child process calls it.
func Library() (cards []Card, err error) { return library(nvml.New()) }

func library(lib nvml.Interface) (cards []Card, err error) {
	if r := lib.Init(); r != nvml.SUCCESS {
		return nil, fmt.Errorf("NVML: %s", lib.ErrorString(r))
	}
	defer lib.Shutdown()
	driver, _ := lib.SystemGetDriverVersion() // "" if it is not told
	n, r := lib.DeviceGetCount()
	if r != nvml.SUCCESS {
		return nil, fmt.Errorf("NVML: count the cards: %s", lib.ErrorString(r))
	}
	for i := range min(n, maxCards) {
		d, r := lib.DeviceGetHandleByIndex(i)
		if r != nvml.SUCCESS {
			c := lost("", i)
			c.Problem, c.Driver = "NVML: "+lib.ErrorString(r), driver
			cards = append(cards, c)
			continue
		}
		c := describe(lib, d)
		c.Index, c.Driver = i, driver
		if current, _, r := d.GetMigMode(); r == nvml.SUCCESS && current == nvml.DEVICE_MIG_ENABLE {
			c.Split = true
		}
		cards = append(cards, c)
		if !c.Split {
			continue
		}
		most, _ := d.GetMaxMigDeviceCount() // 0 if it is not told
		for k := range most {
			part, r := d.GetMigDeviceHandleByIndex(k)
			if r != nvml.SUCCESS {
				continue // not every slot holds one
			}
			p := describe(lib, part)
			p.Index, p.Driver, p.Instance, p.Bus = k, driver, true, c.Bus
			if p.Compute == "" {
				p.Compute = c.Compute
			}
			cards = append(cards, p)
		}
	}
	return cards, nil
}

func describe(lib nvml.Interface, d nvml.Device) Card {
	c := unknown()
	c.Vendor, c.Model = bench.NVIDIA, "NVIDIA card"
	if s, r := d.GetName(); r == nvml.SUCCESS {
		c.Model = clip(s)
	}
	if s, r := d.GetUUID(); r == nvml.SUCCESS {
		c.UUID = clip(s)
	}
	if m, r := d.GetMemoryInfo(); r == nvml.SUCCESS {
		c.VRAM, c.Free = int64(min(m.Total, 1<<50)), int64(min(m.Free, 1<<50))
	} else {
		c.Problem = "NVML: memory: " + lib.ErrorString(r)
	}
	if major, minor, r := d.GetCudaComputeCapability(); r == nvml.SUCCESS && major > 0 {
		c.Compute = fmt.Sprintf("%d.%d", major, minor)
	}
	if p, r := d.GetPciInfo(); r == nvml.SUCCESS {
		c.Bus = fmt.Sprintf("%08x:%02x:%02x.0", p.Domain, p.Bus, p.Device)
	}
	if v, r := d.GetTemperature(nvml.TEMPERATURE_GPU); r == nvml.SUCCESS && v < 200 {
		c.TempC = float64(v)
	}
	if v, r := d.GetPowerUsage(); r == nvml.SUCCESS { // milliwatts
		c.PowerW = float64(v) / 1000
	}
	if v, r := d.GetEnforcedPowerLimit(); r == nvml.SUCCESS {
		c.LimitW = float64(v) / 1000
	}
	if v, r := d.GetClockInfo(nvml.CLOCK_SM); r == nvml.SUCCESS {
		c.ClockMHz = float64(v)
	}
	if v, r := d.GetMaxClockInfo(nvml.CLOCK_SM); r == nvml.SUCCESS {
		c.MaxMHz = float64(v)
	}
	link := func(into *int, v int, r nvml.Return) {
		if r == nvml.SUCCESS {
			*into = v
		}
	}
	v, r := d.GetCurrPcieLinkGeneration()
	link(&c.PCIeGen, v, r)
	v, r = d.GetMaxPcieLinkGeneration()
	link(&c.PCIeMax, v, r)
	v, r = d.GetCurrPcieLinkWidth()
	link(&c.PCIeWidth, v, r)
	return c
}
