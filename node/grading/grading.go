// Package grading measures this machine part by part, keeps what was measured in the data folder and judges it. What may
// crash or hang runs in a child process of this same program (Child); a part whose child fails is ungraded, with the
// cause, and the others go on.
package grading

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"kith/bench"
	"kith/bench/cpu"
	"kith/bench/disk"
	"kith/bench/gpu"
	"kith/bench/memory"
	"kith/bench/probe"
	"kith/bench/thermal"
)

// Request says what to measure.
type Request struct {
	Parts []bench.Part `json:"parts"` // empty: all
	Mode  bench.Mode   `json:"mode"`  // empty: quick
}

// Progress is one step of a measurement.
type Progress struct {
	Part   bench.Part `json:"part"`
	Done   bool       `json:"done"`   // false: it begins
	Share  float64    `json:"share"`  // of the time all parts together will take, when this step begins or ends
	Failed string     `json:"failed"` // why it is ungraded; only when done
}

// Options are what a measurement needs of its surroundings.
type Options struct {
	Exe     string   // this program
	Args    []string // arguments that make it a child; Child gets the rest
	Program string   // version
	Dir     string   // folder on the drive that is measured
	Python  []string // interpreters to try for cards; nil: the usual

	// Parts that this package cannot measure by itself; nil: the part is ungraded, and says so.
	Network func(ctx context.Context, mode bench.Mode) bench.Device
	Uptime  func() bench.Device

	// Studied hears what was learnt of a drive, for whoever limits what may be read and written there; it may be nil.
	Studied func(disk.Report)

	// Cards replaces the listing and measuring of cards in tests; nil: gpu.Devices.
	Cards func(ctx context.Context, o gpu.Options) []bench.Device
}

// budget is what each part may take. The sums hold the promise of 10 and 90 seconds. Others that keep the machine busy make a
// part slower, so none has so much that it takes the time of the next.
type budget struct {
	figure time.Duration // one figure
	limit  time.Duration // the whole part
}

var budgets = map[bench.Mode]map[bench.Part]budget{
	bench.Quick: {
		bench.CPU: {150 * time.Millisecond, 3 * time.Second}, bench.Memory: {40 * time.Millisecond, 4 * time.Second}, bench.GPU: {200 * time.Millisecond, 3 * time.Second},
		bench.Drive: {0, 3500 * time.Millisecond}, bench.Network: {200 * time.Millisecond, 1500 * time.Millisecond},
	},
	bench.Full: {
		bench.CPU: {2 * time.Second, 30 * time.Second}, bench.Memory: {400 * time.Millisecond, 15 * time.Second}, bench.GPU: {1500 * time.Millisecond, 20 * time.Second},
		bench.Drive: {0, 25 * time.Second}, bench.Network: {time.Second, 8 * time.Second},
	},
}

const (
	quickLimit = 10 * time.Second
	fullLimit  = 90 * time.Second
)

// Errors of a request.
var (
	ErrPart = errors.New("no such part of the machine")
	ErrMode = errors.New("no such mode: want quick or full")
)

// ErrElsewhere: only a running node can measure this part.
var ErrElsewhere = errors.New("only a running node measures this: start it with kith run")

// Check reads a request, fills in what is empty and refuses what cannot be.
func (r Request) Check() (Request, error) {
	if r.Mode == "" {
		r.Mode = bench.Quick
	}
	if r.Mode != bench.Quick && r.Mode != bench.Full {
		return r, fmt.Errorf("%w, not %.20q", ErrMode, r.Mode)
	}
	known := bench.Parts()
	for _, p := range r.Parts {
		if !slices.Contains(known, p) {
			var names []string
			for _, k := range known {
				names = append(names, string(k))
			}
			return r, fmt.Errorf("%w: %.20q; there are %s", ErrPart, p, strings.Join(names, ", "))
		}
	}
	if len(r.Parts) == 0 {
		r.Parts = known
	}
	return r, nil
}

func (r Request) has(p bench.Part) bool { return slices.Contains(r.Parts, p) }

// Measure measures what r asks for and returns it alone, with what may have disturbed it. progress may be nil. An end of
// ctx leaves the rest ungraded and is an error: nothing of it should be kept.
func Measure(ctx context.Context, o Options, r Request, progress func(Progress)) (bench.Profile, error) {
	r, err := r.Check()
	if err != nil {
		return bench.Profile{}, err
	}
	limit := quickLimit
	if r.Mode == bench.Full {
		limit = fullLimit
	}
	begun := time.Now()
	timed, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("the %s of a %s measurement were over", limit, r.Mode))
	defer cancel()
	p := bench.Profile{Version: bench.ProfileVersion, Program: o.Program, Mode: r.Mode, Hardware: Hardware(timed), Devices: []bench.Device{}}
	if n := loadNote(); n != "" {
		p.Notes = append(p.Notes, n)
	}
	m := &measuring{o: o, r: r, progress: progress, p: &p}
	m.whole()
	if r.Mode == bench.Full { // the processor last, because it heats what is measured next
		m.part(timed, bench.Network, m.network)
		m.part(timed, bench.Drive, m.drives)
		m.part(timed, bench.GPU, m.cards)
		m.part(timed, bench.Memory, m.memory)
		m.processor(timed)
	} else { // first that without which there is no grade, if the time is not enough
		m.part(timed, bench.Memory, m.memory)
		m.processor(timed)
		m.part(timed, bench.Drive, m.drives)
		m.part(timed, bench.Network, m.network)
		m.part(timed, bench.GPU, m.cards)
	}
	m.part(ctx, bench.Uptime, m.uptime) // takes no time
	p.Replace(nil, nil)                 // in order
	p.At, p.TookMillis = time.Now().UnixMilli(), time.Since(begun).Milliseconds()
	if ctx.Err() != nil {
		return p, fmt.Errorf("interrupted: %w", context.Cause(ctx))
	}
	return p, nil
}

// measuring is one run.
type measuring struct {
	o        Options
	r        Request
	progress func(Progress)
	p        *bench.Profile
	total    float64
	spent    float64
}

// weight is the share of a part in the time, for the progress bar.
func (m *measuring) weight(p bench.Part) float64 {
	return max(0.1, budgets[m.r.Mode][p].limit.Seconds())
}

func (m *measuring) whole() {
	for _, p := range m.r.Parts {
		m.total += m.weight(p)
	}
}

func (m *measuring) tell(p bench.Part, done bool, failed string) {
	if done {
		m.spent += m.weight(p)
	}
	if m.progress != nil {
		m.progress(Progress{Part: p, Done: done, Share: min(1, m.spent/max(m.total, 0.1)), Failed: failed})
	}
}

// part measures one part, if it is asked for, within its time.
func (m *measuring) part(ctx context.Context, p bench.Part, do func(ctx context.Context, b budget) []bench.Device) {
	if !m.r.has(p) {
		return
	}
	m.tell(p, false, "")
	b := budgets[m.r.Mode][p]
	if b.limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, b.limit, fmt.Errorf("the %s for this part were over", b.limit))
		defer cancel()
	}
	var devices []bench.Device
	if ctx.Err() != nil {
		devices = []bench.Device{bench.Failed(p, string(p), fmt.Errorf("not measured: %w", context.Cause(ctx)))}
	} else {
		devices = do(ctx, b)
	}
	m.p.Devices = append(m.p.Devices, devices...)
	m.tell(p, true, failure(devices))
}

// failure is why a part has no grade, "" if it has one.
func failure(devices []bench.Device) string {
	cause := ""
	for _, d := range devices {
		if d.Kind == bench.NoCard {
			return ""
		}
		for _, x := range d.Measurements {
			if x.Graded() {
				return ""
			}
			if cause == "" {
				cause = x.Ungraded
			}
		}
	}
	return cause
}

func (m *measuring) network(ctx context.Context, _ budget) []bench.Device {
	if m.o.Network == nil {
		return []bench.Device{bench.Failed(bench.Network, "network", ErrElsewhere)}
	}
	return []bench.Device{m.o.Network(ctx, m.r.Mode)}
}

func (m *measuring) uptime(context.Context, budget) []bench.Device {
	if m.o.Uptime == nil {
		return []bench.Device{bench.Failed(bench.Uptime, "uptime", ErrElsewhere)}
	}
	return []bench.Device{m.o.Uptime()}
}

func (m *measuring) cards(ctx context.Context, b budget) []bench.Device {
	cards := m.o.Cards
	if cards == nil {
		cards = gpu.Devices
	}
	return cards(ctx, gpu.Options{
		Exe: m.o.Exe, Args: slices.Concat(m.o.Args, []string{libraryPart}), Python: m.o.Python, Time: b.figure, Limit: b.limit,
	})
}

func (m *measuring) memory(ctx context.Context, b budget) []bench.Device {
	return m.child(ctx, bench.Memory, b).Devices
}

// processor measures the processor and watches its heat meanwhile.
func (m *measuring) processor(ctx context.Context) {
	hot := m.r.has(bench.Thermal)
	if !m.r.has(bench.CPU) && !hot {
		return
	}
	part := bench.CPU
	if !m.r.has(bench.CPU) {
		part = bench.Thermal
	}
	m.tell(part, false, "")
	b := budgets[m.r.Mode][bench.CPU]
	timed, cancel := context.WithTimeoutCause(ctx, b.limit, fmt.Errorf("the %s for this part were over", b.limit))
	defer cancel()
	every, after := 250*time.Millisecond, 500*time.Millisecond
	if m.r.Mode == bench.Full {
		every, after = time.Second, 5*time.Second
	}
	var watch *thermal.Watch
	if hot {
		watch = thermal.Start(timed, thermal.Read, every)
	}
	a := m.child(timed, bench.CPU, b)
	m.p.Kernels = a.Kernels
	single, load := bench.Measurement{Ungraded: "not measured"}, bench.Measurement{Ungraded: "not measured"}
	if len(a.Devices) > 0 {
		if x, ok := a.Devices[0].Get("clock.single"); ok {
			single = x
		}
		if x, ok := a.Devices[0].Get("clock.load"); ok {
			load = x
		}
	}
	if m.r.has(bench.CPU) {
		m.p.Devices = append(m.p.Devices, a.Devices...)
	}
	m.tell(part, true, failure(a.Devices))
	if !hot {
		return
	}
	d := watch.Stop(ctx, single, load, after)
	m.p.Devices = append(m.p.Devices, d)
	if part != bench.Thermal {
		m.tell(bench.Thermal, true, failure([]bench.Device{d}))
	}
}

// answer is what a child prints.
type answer struct {
	Devices []bench.Device `json:"devices"`
	Kernels string         `json:"kernels"`
}

// child measures one part in a process of its own.
func (m *measuring) child(ctx context.Context, p bench.Part, b budget) answer {
	var a answer
	err := probe.JSON(ctx, probe.Command{Path: m.o.Exe, Args: slices.Concat(m.o.Args, []string{string(p), b.figure.String(), b.limit.String()}), Limit: b.limit}, &a)
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("not measured: %w", context.Cause(ctx))
	}
	if err == nil && len(a.Devices) == 0 {
		err = probe.ErrOutput
	}
	if err != nil {
		return answer{Devices: []bench.Device{bench.Failed(p, string(p), err)}}
	}
	return a
}

// Hardware names what this machine is made of, as far as that can be told without measuring. Another text, another
// machine: it must be graded anew.
func Hardware(ctx context.Context) string {
	t, mem := cpu.Read(), memory.Read()
	h := sha256.New()
	fmt.Fprintf(h, "%s|%d|%d|%d|%s|%s", t.Model, t.Sockets, t.Cores, t.Threads, strings.Join(t.ISA, " "), strconv.FormatInt((mem.Total+1<<29)>>30, 10))
	for _, c := range gpu.Inventory(ctx) {
		fmt.Fprintf(h, "|%s|%s|%s", c.Vendor, c.Model, c.Bus)
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// Busy reports whether other programs keep this machine busy right now, where the system tells.
func Busy() bool { return loadNote() != "" }

// loadNote says that others keep this machine busy, where the system tells.
func loadNote() string {
	data, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return ""
	}
	first, _, _ := strings.Cut(string(data), " ")
	load, err := strconv.ParseFloat(first, 64)
	if err != nil || load < 0.3*float64(runtime.NumCPU()) {
		return ""
	}
	return fmt.Sprintf("other programs kept the machine busy when the measurement began (load %.1f on %d processors)", load, runtime.NumCPU())
}
