// Package cpu says what a processor is (Topology) and how fast (Measure): floating point with a matrix multiplication
// written for its vector instructions, whole numbers, hashing, and the clock it holds under load.
package cpu

import (
	"fmt"
	"strconv"

	"kith/bench"
)

// Topology is what a processor says of itself. Zero means that it does not say.
type Topology struct {
	Model       string
	Sockets     int
	Cores       int   // physical
	Threads     int   // logical processors that are online
	Performance int   // cores of the fast kind, where there are two kinds
	Efficiency  int   // cores of the slow kind
	L1d, L1i    int64 // bytes, of one core
	L2          int64 // bytes, of one cache
	L3          int64 // bytes, all together
	BaseHz      int64
	MaxHz       int64
	ISA         []string // instruction sets that matter for work
	Virtual     bool     // a hypervisor's share of a processor
}

// SMT is how many threads share a core, 0 if that is not known.
func (t Topology) SMT() int {
	if t.Cores == 0 || t.Efficiency > 0 {
		return 0
	}
	return t.Threads / t.Cores
}

// Device describes the processor with what was measured.
func Device(t Topology, measured []bench.Measurement) bench.Device {
	d := bench.Device{Part: bench.CPU, Name: "cpu", Model: t.Model, Measurements: measured}
	add := func(name, value string) {
		if value != "" && value != "0" {
			d.Facts = append(d.Facts, bench.Fact{Name: name, Value: value})
		}
	}
	add("sockets", strconv.Itoa(t.Sockets))
	add("cores", strconv.Itoa(t.Cores))
	add("threads", strconv.Itoa(t.Threads))
	add("threads per core", strconv.Itoa(t.SMT()))
	add("performance cores", strconv.Itoa(t.Performance))
	add("efficiency cores", strconv.Itoa(t.Efficiency))
	for _, c := range []struct {
		name string
		size int64
	}{{"L1 data", t.L1d}, {"L1 instructions", t.L1i}, {"L2", t.L2}, {"L3", t.L3}} {
		if c.size > 0 {
			add(c.name, fmt.Sprintf("%d KiB", c.size>>10))
		}
	}
	for _, c := range []struct {
		name string
		hz   int64
	}{{"base clock", t.BaseHz}, {"highest clock", t.MaxHz}} {
		if c.hz > 0 {
			add(c.name, fmt.Sprintf("%.2f GHz", float64(c.hz)/1e9))
		}
	}
	isa := ""
	for i, s := range t.ISA {
		if i > 0 {
			isa += " "
		}
		isa += s
	}
	add("instructions", isa)
	if t.Virtual {
		d.Flags = append(d.Flags, bench.FlagShared)
	}
	return d
}
