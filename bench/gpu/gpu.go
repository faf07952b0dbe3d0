// Package gpu lists the graphics cards of a machine, each by itself, and measures those that some runtime can compute
// on. Vendors' libraries and tools run in child processes: one that crashes or hangs costs its cards their figures,
// with the cause, and nothing else.
package gpu

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"kith/bench"
	"kith/bench/probe"
)

// Card is one card, or one instance of a split one, as its driver or the system describes it. Negative numbers are not
// known.
type Card struct {
	Index     int     `json:"index"`
	Vendor    string  `json:"vendor"` // bench.NVIDIA, …
	Model     string  `json:"model"`
	UUID      string  `json:"uuid"`
	Bus       string  `json:"bus"` // "0000:01:00.0"
	Driver    string  `json:"driver"`
	VRAM      int64   `json:"vram"` // bytes
	Free      int64   `json:"free"`
	Compute   string  `json:"compute"` // compute capability, "8.9"
	TempC     float64 `json:"temp"`
	PowerW    float64 `json:"power"`
	LimitW    float64 `json:"limit"`
	ClockMHz  float64 `json:"clock"`
	MaxMHz    float64 `json:"maxClock"`
	PCIeGen   int     `json:"pcieGen"`
	PCIeMax   int     `json:"pcieMax"`
	PCIeWidth int     `json:"pcieWidth"`
	Split     bool    `json:"split"`             // into instances, which stand beside it
	Instance  bool    `json:"instance"`          // of a split card
	Problem   string  `json:"problem,omitempty"` // why the driver does not tell more
	Shared    bool    `json:"shared"`            // uses the machine's memory
}

// unknown is a card of which nothing is known.
func unknown() Card {
	return Card{Index: -1, VRAM: -1, Free: -1, TempC: -1, PowerW: -1, LimitW: -1, ClockMHz: -1, MaxMHz: -1, PCIeGen: -1, PCIeMax: -1, PCIeWidth: -1}
}

// Options say how to look and how to measure.
type Options struct {
	Exe    string        // this program, which Args make a child that prints JSON of Library
	Args   []string      // nil: no such child; then only the tool is asked
	Python []string      // interpreters to try; nil: python3 and python
	Time   time.Duration // of one figure
	Limit  time.Duration // of measuring one card, with starting the runtime
}

const (
	listLimit = 15 * time.Second
	helper    = "kith-gpu" // built with the vendor's library, beside this program
)

// ErrNoLibrary: this program was built without the vendor's library.
var ErrNoLibrary = errors.New("this program was built without NVML")

// List returns every card of this machine. An error says that no list could be made at all; what went wrong with one
// card, or one vendor, stands in the cards.
func List(ctx context.Context, o Options) ([]Card, error) {
	system, err := systemCards(ctx)
	nvidia, nvErr := nvidiaCards(ctx, o)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil && len(nvidia) == 0 {
		return nil, err
	}
	return merge(nvidia, nvErr, system), nil
}

// nvidiaCards asks the library in a child process, then the vendor's tool.
func nvidiaCards(ctx context.Context, o Options) ([]Card, error) {
	var tried error
	for _, c := range libraryChildren(o) {
		var cards []Card
		err := probe.JSON(ctx, c, &cards)
		if err == nil {
			return cards, nil
		}
		tried = errors.Join(tried, err)
	}
	cards, err := smi(ctx)
	if err != nil {
		return nil, errors.Join(tried, err)
	}
	return cards, nil
}

func libraryChildren(o Options) []probe.Command {
	var out []probe.Command
	if o.Exe == "" {
		return nil
	}
	name := filepath.Join(filepath.Dir(o.Exe), helper)
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	if info, err := os.Stat(name); err == nil && info.Mode().IsRegular() {
		out = append(out, probe.Command{Path: name, Limit: listLimit})
	}
	if HasLibrary && o.Args != nil {
		out = append(out, probe.Command{Path: o.Exe, Args: o.Args, Limit: listLimit})
	}
	return out
}

// merge joins what NVIDIA's driver knows with what the system knows. A card that the system sees and the driver does not
// has no working driver; err says what the driver said instead.
func merge(nvidia []Card, err error, system []Card) []Card {
	out := append([]Card(nil), nvidia...)
	for _, c := range system {
		if c.Vendor != bench.NVIDIA {
			out = append(out, c)
			continue
		}
		known := false
		for _, n := range nvidia {
			known = known || sameBus(n.Bus, c.Bus) || (n.Bus == "" || c.Bus == "") && sameModel(n.Model, c.Model)
		}
		if !known {
			c.Problem = "the driver does not answer for it"
			if err != nil {
				c.Problem = err.Error()
			}
			out = append(out, c)
		}
	}
	return out
}

// sameBus compares bus addresses whose domain some write with four digits, some with eight.
func sameBus(a, b string) bool {
	tail := func(s string) string {
		s = strings.ToLower(s)
		if i := strings.IndexByte(s, ':'); i >= 0 && strings.Count(s, ":") == 2 {
			return strings.TrimLeft(s[:i], "0") + s[i:]
		}
		return s
	}
	return a != "" && tail(a) == tail(b)
}

func sameModel(a, b string) bool {
	clean := func(s string) string { return strings.TrimPrefix(strings.ToLower(s), "nvidia ") }
	return clean(a) == clean(b)
}

// Devices lists and measures every card. Measuring a card needs a runtime: without one the figures say so.
func Devices(ctx context.Context, o Options) []bench.Device {
	cards, err := List(ctx, o)
	if err != nil {
		return []bench.Device{bench.Failed(bench.GPU, "gpu", err)}
	}
	if len(cards) == 0 {
		return []bench.Device{{Part: bench.GPU, Name: "gpu", Model: "no graphics card", Kind: bench.NoCard, Measurements: []bench.Measurement{}}}
	}
	var out []bench.Device
	counts := map[string]int{} // cards of one vendor so far: that is how runtimes other than NVIDIA's count them
	for i, c := range cards {
		d := Device(c)
		d.Name = "gpu" + strconv.Itoa(i)
		d.Measurements = append(d.Measurements, measure(ctx, c, counts[c.Vendor], o)...)
		counts[c.Vendor]++
		for _, m := range d.Measurements {
			if m.Name == bench.FP16Matmul && !m.Graded() && !d.Has(bench.FlagNoDriver) && !c.Split {
				d.Flags = append(d.Flags, bench.FlagNoRuntime)
			}
		}
		d.Class = bench.CardClass(&d)
		out = append(out, d)
	}
	return out
}

// Device describes one card.
func Device(c Card) bench.Device {
	d := bench.Device{Part: bench.GPU, Name: "gpu" + strconv.Itoa(max(0, c.Index)), Model: c.Model, Kind: c.Vendor, Measurements: []bench.Measurement{}}
	fact := func(name, value string) {
		if value != "" {
			d.Facts = append(d.Facts, bench.Fact{Name: name, Value: value})
		}
	}
	fact("uuid", c.UUID)
	fact("bus", c.Bus)
	fact("driver", c.Driver)
	fact("compute capability", c.Compute)
	if cores, ok := tensorCores(c); ok {
		fact("tensor cores", map[bool]string{true: "yes", false: "no"}[cores])
	}
	if c.PCIeMax > 0 {
		fact("PCIe", fmt.Sprintf("generation %d of %d, %d lanes", max(0, c.PCIeGen), c.PCIeMax, max(0, c.PCIeWidth)))
	}
	number := func(name string, unit bench.Unit, v float64) {
		if v >= 0 {
			d.Measurements = append(d.Measurements, bench.Begin(name, unit, "what the driver says").Value(v))
		}
	}
	if c.VRAM > 0 {
		method := "what the driver says"
		if c.Shared {
			method = "shared with the processor, what the system says"
		}
		d.Measurements = append(d.Measurements, bench.Begin(bench.VRAM, bench.Bytes, method).Value(float64(c.VRAM)))
	} else {
		d.Measurements = append(d.Measurements, bench.Begin(bench.VRAM, bench.Bytes, "what the driver says").Fail(errors.New(orElse(c.Problem, "neither driver nor system says"))))
	}
	number("vram.free", bench.Bytes, float64(c.Free))
	number("temperature", bench.Celsius, c.TempC)
	number("power", bench.Watts, c.PowerW)
	number("power.limit", bench.Watts, c.LimitW)
	number("clock", bench.Hertz, mega(c.ClockMHz))
	number("clock.highest", bench.Hertz, mega(c.MaxMHz))
	if c.Problem != "" {
		d.Flags = append(d.Flags, bench.FlagNoDriver)
		fact("problem", c.Problem)
	}
	if c.Split {
		d.Flags = append(d.Flags, bench.FlagPartitioned)
	}
	if c.Vendor == bench.AMD && runtime.GOOS == "windows" {
		d.Flags = append(d.Flags, bench.FlagLimited)
		fact("advice", "under Windows this card does CPU and weak-GPU work only; under Linux with ROCm it can do more")
	}
	return d
}

func mega(mhz float64) float64 {
	if mhz < 0 {
		return -1
	}
	return mhz * 1e6
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// tensorCores tells whether a card has units for matrix multiplication, where that is known: NVIDIA's from 7.0 on, but
// for the cards of Turing that are sold without.
func tensorCores(c Card) (has, known bool) {
	if c.Vendor != bench.NVIDIA || c.Compute == "" {
		return false, false
	}
	v, err := strconv.ParseFloat(c.Compute, 64)
	if err != nil {
		return false, false
	}
	without := strings.Contains(c.Model, "GTX 16") || strings.Contains(c.Model, "MX450") || strings.Contains(c.Model, "MX550") ||
		strings.Contains(c.Model, "T400") || strings.Contains(c.Model, "T500") || strings.Contains(c.Model, "T600") || strings.Contains(c.Model, "T1000") || strings.Contains(c.Model, "T1200")
	return v >= 7 && (v < 7.5 || v >= 8 || !without), true
}

// Inventory lists the cards as the system alone names them, for telling whether one was added or taken out. It is quick
// and starts no vendor's code.
func Inventory(ctx context.Context) []Card {
	cards, err := systemCards(ctx)
	if err != nil {
		return nil
	}
	return cards
}
