// Package bench says what a machine can do: what was measured (Profile), how good that is (Score) and what work it is
// fit for (Class). It is pure: the packages below it measure, each in its own field, and hand their results up as
// values. A measurement that failed says why and has no value; nothing ever stands in for it.
package bench

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
)

// Part is a part of the machine that is graded by itself.
type Part string

// The parts, in the order of the formula. Thermal weighs nothing by itself; it takes points away.
const (
	GPU     Part = "gpu"
	CPU     Part = "cpu"
	Memory  Part = "memory"
	Drive   Part = "drive"
	Network Part = "network"
	Uptime  Part = "uptime"
	Thermal Part = "thermal"
)

// Parts lists every part in the order of the formula.
func Parts() []Part { return []Part{GPU, CPU, Memory, Drive, Network, Uptime, Thermal} }

// Unit is what a value counts. Values are in base units, never in thousands of them.
type Unit string

// Units.
const (
	FLOPS     Unit = "FLOP/s"
	OPS       Unit = "op/s"
	ByteRate  Unit = "B/s"
	PerSecond Unit = "1/s"
	Seconds   Unit = "s"
	Bytes     Unit = "B"
	Hertz     Unit = "Hz"
	Celsius   Unit = "°C"
	Watts     Unit = "W"
	Ratio     Unit = "ratio" // 0 to 1
	Count     Unit = "count"
)

// Names of the measurements that the score reads. Probes may report many more.
const (
	FP64Multi  = "fp64.multi" // every core
	FP64Single = "fp64.single"
	FP32Multi  = "fp32.multi"
	FP32Single = "fp32.single"
	SHA256     = "sha256.multi"
	Integer    = "integer.multi"

	Size        = "size"
	StreamTriad = "stream.triad"
	LatencyRAM  = "latency.ram"

	FP16Matmul = "matmul.fp16"
	INT8Matmul = "matmul.int8"
	VRAM       = "vram"

	SeqRead   = "read.sequential"
	SeqWrite  = "write.sequential"
	RandRead  = "read.random"  // 4 KiB, at the best queue depth
	RandWrite = "write.random" // 4 KiB, at the best queue depth
	Fsync     = "fsync"        // median time to make a small write durable

	Down   = "down"
	Up     = "up"
	RTT    = "rtt"
	Jitter = "jitter"

	Availability = "availability"
	Crashes      = "crashes" // ends without farewell in the last seven days

	ThrottleRisk = "throttle.risk"
)

// Measurement is one figure and how it came about. Either Ungraded is empty and Value counts, or Ungraded says in words
// why there is no value, and Value is 0.
type Measurement struct {
	Name       string  `json:"name"`
	Value      float64 `json:"value"`
	Unit       Unit    `json:"unit"`
	Method     string  `json:"method"`             // how it was measured, for people
	At         int64   `json:"at"`                 // when it ended, Unix milliseconds
	TookMillis int64   `json:"tookMillis"`         // how long it was measured
	Confidence float64 `json:"confidence"`         // 0 to 1: one less the relative spread of what was sampled
	Ungraded   string  `json:"ungraded,omitempty"` // why there is no value
}

// Graded reports whether there is a value.
func (m Measurement) Graded() bool { return m.Ungraded == "" }

// Stopwatch makes one Measurement of what happens between Begin and its end.
type Stopwatch struct {
	m     Measurement
	begun time.Time
}

// Begin starts a measurement.
func Begin(name string, unit Unit, method string) Stopwatch {
	return Stopwatch{Measurement{Name: name, Unit: unit, Method: method}, time.Now()}
}

// Name sets the method where it is only known at the end.
func (s Stopwatch) Name(method string) Stopwatch {
	s.m.Method = method
	return s
}

// Value ends the measurement with one exact value. A value that no honest probe returns (not a number, infinite,
// negative) leaves it ungraded.
func (s Stopwatch) Value(v float64) Measurement { return s.end(v, 1) }

// ErrNoSamples: the time was over before anything was measured.
var ErrNoSamples = errors.New("the time was over before anything was measured")

// Median ends the measurement with the median of samples; how far their middle half spreads is the lack of confidence.
func (s Stopwatch) Median(samples []float64) Measurement {
	if len(samples) == 0 {
		return s.Fail(ErrNoSamples)
	}
	sorted := slices.Sorted(slices.Values(samples))
	n := len(sorted)
	mid := sorted[n/2]
	if n%2 == 0 {
		mid = (sorted[n/2-1] + sorted[n/2]) / 2
	}
	spread := 0.0
	if mid > 0 {
		spread = (sorted[(3*n)/4-min(1, n/4)] - sorted[n/4]) / mid
	}
	return s.end(mid, 1-spread)
}

// Best ends the measurement with the largest sample, for what can only be disturbed downwards.
func (s Stopwatch) Best(samples []float64) Measurement {
	m := s.Median(samples)
	if !m.Graded() {
		return m
	}
	m.Value = slices.Max(samples)
	return m
}

func (s Stopwatch) end(v, confidence float64) Measurement {
	if math.IsNaN(v) || math.IsInf(v, 0) || v < 0 && s.m.Unit != Celsius {
		return s.Fail(fmt.Errorf("the probe returned %v, which cannot be", v))
	}
	m := s.stop()
	m.Value = v
	m.Confidence = min(1, max(0, confidence))
	if math.IsNaN(confidence) {
		m.Confidence = 0
	}
	return m
}

// Fail ends the measurement without a value.
func (s Stopwatch) Fail(err error) Measurement {
	m := s.stop()
	m.Ungraded = err.Error()
	return m
}

func (s Stopwatch) stop() Measurement {
	m := s.m
	m.At, m.TookMillis = time.Now().UnixMilli(), time.Since(s.begun).Milliseconds()
	return m
}

// Fact is something read, not measured: "cores" "32".
type Fact struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Flag is a lasting trouble of a device.
type Flag string

// Flags that the score knows. Probes may set others, which people see.
const (
	FlagThrottling  Flag = "throttling"   // slows down under load
	FlagSMARTFail   Flag = "smart-failed" // the drive says it is failing
	FlagSMARTWarn   Flag = "smart-warning"
	FlagReadOnly    Flag = "read-only"
	FlagFragile     Flag = "fragile" // a brand or bus known to suffer
	FlagIOErrors    Flag = "io-errors"
	FlagLimited     Flag = "limited"     // fit for less than its hardware, by its driver or system
	FlagNoRuntime   Flag = "no-runtime"  // a card without software that can compute on it
	FlagNoDriver    Flag = "no-driver"   // a card without a working driver
	FlagPartitioned Flag = "partitioned" // a card split into instances
	FlagShared      Flag = "shared"      // cores or memory are a virtual machine's share
)

// Device is one part of the machine, or one of several of a kind: a card, a drive.
type Device struct {
	Part         Part          `json:"part"`
	Name         string        `json:"name"` // "cpu", "gpu0", "nvme0n1": unique in a profile
	Model        string        `json:"model"`
	Kind         string        `json:"kind,omitempty"` // of a card its vendor, of a drive "nvme", "ssd", "hdd", "usb", …
	Class        Class         `json:"class,omitempty"`
	Facts        []Fact        `json:"facts,omitempty"`
	Flags        []Flag        `json:"flags,omitempty"`
	Measurements []Measurement `json:"measurements"`
}

// Failed is a device that could not be measured at all.
func Failed(part Part, name string, err error) Device {
	d := Device{Part: part, Name: name}
	for _, s := range scales {
		if s.Part == part {
			d.Measurements = append(d.Measurements, Begin(s.Name, s.Unit, "not measured").Fail(err))
		}
	}
	return d
}

// Get returns a measurement by name.
func (d *Device) Get(name string) (Measurement, bool) {
	for _, m := range d.Measurements {
		if m.Name == name {
			return m, true
		}
	}
	return Measurement{}, false
}

// Has reports whether the device has a flag.
func (d *Device) Has(f Flag) bool { return slices.Contains(d.Flags, f) }

// Fact returns a fact by name, or "".
func (d *Device) Fact(name string) string {
	for _, f := range d.Facts {
		if f.Name == name {
			return f.Value
		}
	}
	return ""
}

// Mode is how long to measure.
type Mode string

// The modes.
const (
	Quick Mode = "quick" // 10 seconds at most, all parts together
	Full  Mode = "full"  // 90 seconds at most
)

// Profile is everything measured about one machine, newest figure of each part.
type Profile struct {
	Version    int      `json:"version"` // ProfileVersion
	Program    string   `json:"program"` // version of the program that measured
	At         int64    `json:"at"`      // Unix milliseconds
	TookMillis int64    `json:"tookMillis"`
	Mode       Mode     `json:"mode"`
	Hardware   string   `json:"hardware"`        // fingerprint of the hardware: a change asks for a new grade
	Kernels    string   `json:"kernels"`         // hash of the float kernels; "" if they failed
	Notes      []string `json:"notes,omitempty"` // what may have disturbed the measuring
	Devices    []Device `json:"devices"`
}

// ProfileVersion changes whenever figures of one version must not be compared with those of another.
const ProfileVersion = 2

// Of returns the devices of one part.
func (p *Profile) Of(part Part) []Device {
	var out []Device
	for _, d := range p.Devices {
		if d.Part == part {
			out = append(out, d)
		}
	}
	return out
}

// Replace puts newly measured devices of parts in the place of those that p holds, in the order of the formula.
func (p *Profile) Replace(parts []Part, devices []Device) {
	kept := slices.DeleteFunc(slices.Clone(p.Devices), func(d Device) bool { return slices.Contains(parts, d.Part) })
	p.Devices = append(kept, devices...)
	order := Parts()
	slices.SortStableFunc(p.Devices, func(a, b Device) int {
		return cmp.Or(cmp.Compare(slices.Index(order, a.Part), slices.Index(order, b.Part)), cmp.Compare(a.Name, b.Name))
	})
}
