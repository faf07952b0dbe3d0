//go:build cgo

package gpu

import (
	"errors"
	"testing"

	"github.com/NVIDIA/go-nvml/pkg/nvml"
	"github.com/NVIDIA/go-nvml/pkg/nvml/mock"

	"kith/bench"
)

// twoCards is a library with a healthy card and one that is lost.
func twoCards() *mock.Interface {
	healthy := &mock.Device{
		GetNameFunc:                   func() (string, nvml.Return) { return "NVIDIA GeForce RTX 4090", nvml.SUCCESS },
		GetUUIDFunc:                   func() (string, nvml.Return) { return "GPU-1", nvml.SUCCESS },
		GetMemoryInfoFunc:             func() (nvml.Memory, nvml.Return) { return nvml.Memory{Total: 24 << 30, Free: 23 << 30}, nvml.SUCCESS },
		GetCudaComputeCapabilityFunc:  func() (int, int, nvml.Return) { return 8, 9, nvml.SUCCESS },
		GetPciInfoFunc:                func() (nvml.PciInfo, nvml.Return) { return nvml.PciInfo{Bus: 1}, nvml.SUCCESS },
		GetTemperatureFunc:            func(nvml.TemperatureSensors) (uint32, nvml.Return) { return 40, nvml.SUCCESS },
		GetPowerUsageFunc:             func() (uint32, nvml.Return) { return 22_500, nvml.SUCCESS },
		GetEnforcedPowerLimitFunc:     func() (uint32, nvml.Return) { return 0, nvml.ERROR_NOT_SUPPORTED },
		GetClockInfoFunc:              func(nvml.ClockType) (uint32, nvml.Return) { return 210, nvml.SUCCESS },
		GetMaxClockInfoFunc:           func(nvml.ClockType) (uint32, nvml.Return) { return 3105, nvml.SUCCESS },
		GetCurrPcieLinkGenerationFunc: func() (int, nvml.Return) { return 1, nvml.SUCCESS },
		GetMaxPcieLinkGenerationFunc:  func() (int, nvml.Return) { return 4, nvml.SUCCESS },
		GetCurrPcieLinkWidthFunc:      func() (int, nvml.Return) { return 16, nvml.SUCCESS },
		GetMigModeFunc:                func() (int, int, nvml.Return) { return 0, 0, nvml.ERROR_NOT_SUPPORTED },
	}
	return &mock.Interface{
		InitFunc:                   func() nvml.Return { return nvml.SUCCESS },
		ShutdownFunc:               func() nvml.Return { return nvml.SUCCESS },
		ErrorStringFunc:            func(r nvml.Return) string { return "code" },
		SystemGetDriverVersionFunc: func() (string, nvml.Return) { return "551.86", nvml.SUCCESS },
		DeviceGetCountFunc:         func() (int, nvml.Return) { return 2, nvml.SUCCESS },
		DeviceGetHandleByIndexFunc: func(i int) (nvml.Device, nvml.Return) {
			if i == 1 {
				return nil, nvml.ERROR_GPU_IS_LOST
			}
			return healthy, nvml.SUCCESS
		},
	}
}

func TestLibrary(t *testing.T) {
	cards, err := library(twoCards())
	if err != nil || len(cards) != 2 {
		t.Fatalf("got %+v, %v", cards, err)
	}
	d := Device(cards[0])
	if m, _ := d.Get(bench.VRAM); m.Value != 24<<30 || d.Fact("compute capability") != "8.9" || cards[0].PowerW != 22.5 || cards[0].LimitW != -1 {
		t.Errorf("got %+v", cards[0])
	}
	if cards[1].Problem == "" {
		t.Errorf("the lost card: %+v", cards[1])
	}
}

func TestLibraryWithoutDriver(t *testing.T) {
	lib := twoCards()
	lib.InitFunc = func() nvml.Return { return nvml.ERROR_DRIVER_NOT_LOADED }
	if cards, err := library(lib); err == nil {
		t.Errorf("got %+v", cards)
	}
	// The real one, on a machine without a driver, must say so and not crash.
	if cards, err := Library(); err != nil && len(cards) > 0 || errors.Is(err, ErrNoLibrary) {
		t.Errorf("got %+v, %v", cards, err)
	}
}
