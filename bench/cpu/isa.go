package cpu

import (
	"runtime"

	"github.com/klauspost/cpuid/v2"
)

// interesting lists the instruction sets that make a difference to work, in the order to show.
var interesting = []cpuid.FeatureID{
	cpuid.SSE42, cpuid.AVX, cpuid.AVX2, cpuid.FMA3, cpuid.AVX512F, cpuid.AVX512VNNI, cpuid.AVX512BF16, cpuid.AVX512FP16, cpuid.AVXVNNI,
	cpuid.AMXTILE, cpuid.AMXINT8, cpuid.AMXBF16, cpuid.AESNI, cpuid.VAES, cpuid.SHA,
	cpuid.ASIMD, cpuid.ASIMDDP, cpuid.ASIMDHP, cpuid.SVE, cpuid.AESARM, cpuid.SHA2,
}

// identify fills in what the processor itself tells, without the system.
func identify(t *Topology) {
	c := cpuid.CPU
	for _, f := range interesting {
		if c.Has(f) {
			t.ISA = append(t.ISA, f.String())
		}
	}
	if len(t.ISA) == 0 && runtime.GOARCH == "arm64" {
		t.ISA = []string{cpuid.ASIMD.String()} // every one has it
	}
	if t.Model == "" {
		t.Model = c.BrandName
	}
	t.Virtual = t.Virtual || c.VM()
	keep := func(into *int64, v int) {
		if *into == 0 && v > 0 {
			*into = int64(v)
		}
	}
	keep(&t.L1d, c.Cache.L1D)
	keep(&t.L1i, c.Cache.L1I)
	keep(&t.L2, c.Cache.L2)
	keep(&t.L3, c.Cache.L3)
	if t.BaseHz == 0 && c.Hz > 0 {
		t.BaseHz = c.Hz
	}
	if t.MaxHz == 0 && c.BoostFreq > 0 {
		t.MaxHz = c.BoostFreq
	}
	if t.Threads == 0 {
		t.Threads = runtime.NumCPU()
	}
	if t.Cores == 0 && c.PhysicalCores > 0 {
		t.Cores = min(c.PhysicalCores, t.Threads)
	}
}
