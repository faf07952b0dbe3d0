package bench

import (
	"fmt"
	"math"
	"strings"
)

// Scale turns one measurement into points from 0 to 100: a straight line from Zero over Fifty to Hundred, on a
// logarithmic axis unless Linear. Zero may be the largest of the three, where less is better.
type Scale struct {
	Part    Part    `json:"part"`
	Name    string  `json:"name"`
	Unit    Unit    `json:"unit"`
	Share   float64 `json:"share"` // of the part's points; the shares of a part add up to 1
	Zero    float64 `json:"zero"`
	Fifty   float64 `json:"fifty"`
	Hundred float64 `json:"hundred"`
	Linear  bool    `json:"linear,omitempty"`
	Why     string  `json:"why"` // what machine is where on the scale
}

// scales is the published table of normalisation points. The first of each part is the one without which the part is
// ungraded.
var scales = []Scale{
	{GPU, VRAM, Bytes, 0.25, 1 << 30, 8 << 30, 24 << 30, false, "0: a display adapter; 50: 8 GiB, holds a 7 B model in 4 bit; 100: 24 GiB (RTX 4090)"},
	{GPU, FP16Matmul, FLOPS, 0.60, 500e9, 20e12, 160e12, false, "0: GT 1030; 50: a mid-range card with tensor cores; 100: RTX 4090, dense"},
	{GPU, INT8Matmul, OPS, 0.15, 1e12, 40e12, 320e12, false, "twice the FP16 points"},
	{CPU, FP64Multi, FLOPS, 0.35, 5e9, 100e9, 1.5e12, false, "0: one old core; 50: a four-core laptop with AVX2; 100: 32 cores of a Threadripper 3970X"},
	{CPU, FP32Multi, FLOPS, 0.15, 10e9, 200e9, 3e12, false, "twice the FP64 points"},
	{CPU, FP64Single, FLOPS, 0.20, 2e9, 30e9, 120e9, false, "0: a board computer; 50: a desktop core with AVX2; 100: a fast core with two AVX-512 units"},
	{CPU, Integer, OPS, 0.20, 2e9, 40e9, 400e9, false, "0: one slow core; 50: four desktop cores; 100: 32 fast ones"},
	{CPU, SHA256, ByteRate, 0.10, 200e6, 5e9, 60e9, false, "0: one core without SHA instructions; 50: four with; 100: 32 with"},
	{Memory, Size, Bytes, 0.50, 2 << 30, 16 << 30, 128 << 30, false, "0: 2 GiB; 50: 16 GiB; 100: 128 GiB"},
	{Memory, StreamTriad, ByteRate, 0.35, 4e9, 30e9, 150e9, false, "0: one old channel; 50: two channels of DDR4; 100: eight channels, or Apple's widest"},
	{Memory, LatencyRAM, Seconds, 0.15, 300e-9, 90e-9, 50e-9, false, "0: 300 ns, an emulated or starved machine; 50: 90 ns; 100: 50 ns"},
	{Drive, SeqRead, ByteRate, 0.20, 20e6, 500e6, 5e9, false, "0: an old USB stick; 50: SATA SSD; 100: NVMe, PCIe 4"},
	{Drive, SeqWrite, ByteRate, 0.20, 10e6, 400e6, 4e9, false, "0: an old USB stick; 50: SATA SSD; 100: NVMe, PCIe 4"},
	{Drive, RandRead, PerSecond, 0.20, 80, 30e3, 500e3, false, "0: a slow hard disk; 50: SATA SSD; 100: NVMe"},
	{Drive, RandWrite, PerSecond, 0.20, 80, 25e3, 400e3, false, "0: a slow hard disk; 50: SATA SSD; 100: NVMe"},
	{Drive, Fsync, Seconds, 0.20, 100e-3, 2e-3, 50e-6, false, "0: 100 ms; 50: 2 ms, a consumer SSD; 100: 50 µs, with a protected cache"},
	{Network, Down, ByteRate, 0.30, 125e3, 6.25e6, 125e6, false, "0: 1 Mbit/s; 50: 50 Mbit/s; 100: 1 Gbit/s"},
	{Network, Up, ByteRate, 0.40, 62.5e3, 2.5e6, 125e6, false, "0: 0.5 Mbit/s; 50: 20 Mbit/s; 100: 1 Gbit/s. Up weighs more: results leave that way"},
	{Network, RTT, Seconds, 0.20, 1, 60e-3, 2e-3, false, "0: 1 s; 50: 60 ms, across a continent; 100: 2 ms, the same house"},
	{Network, Jitter, Seconds, 0.10, 300e-3, 15e-3, 500e-6, false, "0: 300 ms; 50: 15 ms; 100: 0.5 ms"},
	{Uptime, Availability, Ratio, 1, 0.05, 0.50, 0.98, true, "0: an hour a day; 50: every second hour; 100: always but for updates"},
}

// Scales returns the published table.
func Scales() []Scale { return append([]Scale(nil), scales...) }

// Points places a value on the scale.
func (s Scale) Points(v float64) float64 {
	at := func(x float64) float64 {
		if s.Linear {
			return x
		}
		return math.Log(max(x, 1e-12))
	}
	x, zero, fifty, hundred := at(v), at(s.Zero), at(s.Fifty), at(s.Hundred)
	if zero > hundred { // less is better
		x, zero, fifty, hundred = -x, -zero, -fifty, -hundred
	}
	switch {
	case math.IsNaN(x) || x <= zero:
		return 0
	case x >= hundred:
		return 100
	case x < fifty:
		return 50 * (x - zero) / (fifty - zero)
	default:
		return 50 + 50*(x-fifty)/(hundred-fifty)
	}
}

// Weights say how much each part counts. Only their ratios matter.
type Weights struct {
	GPU     float64 `json:"gpu"`
	CPU     float64 `json:"cpu"`
	Memory  float64 `json:"memory"`
	Drive   float64 `json:"drive"`
	Network float64 `json:"network"`
	Uptime  float64 `json:"uptime"`
}

// DefaultWeights are the published weights; they add up to 100.
func DefaultWeights() Weights {
	return Weights{GPU: 25, CPU: 25, Memory: 15, Drive: 10, Network: 10, Uptime: 15}
}

func (w Weights) of(p Part) float64 {
	return map[Part]float64{GPU: w.GPU, CPU: w.CPU, Memory: w.Memory, Drive: w.Drive, Network: w.Network, Uptime: w.Uptime}[p]
}

func (w Weights) sum() float64 { return w.GPU + w.CPU + w.Memory + w.Drive + w.Network + w.Uptime }

// Text writes the weights as ParseWeights reads them.
func (w Weights) Text() string {
	return fmt.Sprintf("%g,%g,%g,%g,%g,%g", w.GPU, w.CPU, w.Memory, w.Drive, w.Network, w.Uptime)
}

// ParseWeights reads six numbers from 0 to 1000, joined by commas, in the order of the formula: GPU, CPU, memory, drives,
// network, uptime. At least one must not be 0.
func ParseWeights(text string) (Weights, error) {
	fields := strings.Split(text, ",")
	var v [6]float64
	if len(fields) != len(v) {
		return Weights{}, fmt.Errorf("weights %.80q: want six numbers joined by commas: gpu, cpu, memory, drive, network, uptime", text)
	}
	for i, f := range fields {
		var rest string
		n, _ := fmt.Sscanf(strings.TrimSpace(f)+"\n", "%g%s", &v[i], &rest)
		if n != 1 || math.IsNaN(v[i]) || v[i] < 0 || v[i] > 1000 {
			return Weights{}, fmt.Errorf("weights: %.20q is not a number from 0 to 1000", f)
		}
	}
	w := Weights{v[0], v[1], v[2], v[3], v[4], v[5]}
	if w.sum() == 0 {
		return Weights{}, fmt.Errorf("weights: all are 0; at least one part must count")
	}
	return w, nil
}

// Term is one line of the score's breakdown.
type Term struct {
	Part     Part    `json:"part"`
	Device   string  `json:"device,omitempty"` // which one counted, of several
	Weight   float64 `json:"weight"`           // percent of the whole
	Points   float64 `json:"points"`           // 0 to 100
	Gives    float64 `json:"gives"`            // Weight · Points / 100
	Partial  string  `json:"partial,omitempty"`
	Ungraded string  `json:"ungraded,omitempty"` // why there are no points
}

// Penalty is what takes points away.
type Penalty struct {
	Why    string  `json:"why"`
	Points float64 `json:"points"`
}

// Grade is the judgement over a profile: Score = Σ weight·points − penalties.
type Grade struct {
	// Score is 0 to 100. It means something only if Ungraded is empty.
	Score     float64   `json:"score"`
	Band      int       `json:"band"` // 1 to 10: Score in tenths of the scale; 0: ungraded
	Class     Class     `json:"class"`
	Terms     []Term    `json:"terms"`
	Penalties []Penalty `json:"penalties"`
	Ungraded  string    `json:"ungraded,omitempty"`
}

// Bounds of the penalties in points.
const (
	penaltyThermal = 10 // at a throttle risk of 1
	penaltyCrash   = 2  // each crash of the last seven days
	penaltyCrashes = 10 // at most
	penaltyFailing = 10 // each drive that says it is failing
	penaltyWarning = 4  // each drive that warns
	penaltyDrives  = 20 // at most
)

// Judge grades a profile. A part that could not be measured gives no points and is named; without CPU and memory there
// is no score at all, because nothing runs without them. A machine without a card has 0 points for it: that is known,
// not ungraded.
func Judge(p *Profile, w Weights) Grade {
	g := Grade{Class: classOf(p), Penalties: []Penalty{}}
	total := w.sum()
	if total <= 0 {
		w = DefaultWeights()
		total = w.sum()
	}
	for _, part := range Parts() {
		if part == Thermal {
			continue
		}
		t := term(p, part)
		t.Weight = 100 * w.of(part) / total
		t.Gives = t.Weight * t.Points / 100
		g.Score += t.Gives
		g.Terms = append(g.Terms, t)
		if t.Ungraded != "" && (part == CPU || part == Memory) && g.Ungraded == "" {
			g.Ungraded = fmt.Sprintf("%s: %s", part, t.Ungraded)
		}
	}
	g.Penalties = append(g.Penalties, penalties(p)...)
	for _, x := range g.Penalties {
		g.Score -= x.Points
	}
	g.Score = min(100, max(0, g.Score))
	if g.Ungraded != "" {
		g.Score = 0
		return g
	}
	g.Band = min(10, int(g.Score/10)+1)
	return g
}

// term gives a part the points of its best device.
func term(p *Profile, part Part) Term {
	best := Term{Part: part, Ungraded: "not measured yet"}
	for _, d := range p.Of(part) {
		if t := points(&d); best.Ungraded != "" && (t.Ungraded == "" || best.Device == "") || t.Ungraded == "" && t.Points > best.Points {
			best = t
		}
	}
	return best
}

func points(d *Device) Term {
	t := Term{Part: d.Part, Device: d.Name}
	if d.Part == GPU && d.Kind == NoCard {
		return t
	}
	var missing []string
	first := true
	for _, s := range scales {
		if s.Part != d.Part {
			continue
		}
		m, ok := d.Get(s.Name)
		switch {
		case ok && m.Graded():
			t.Points += s.Share * s.Points(m.Value)
		case first:
			t.Ungraded = "not measured"
			if ok {
				t.Ungraded = m.Ungraded
			}
			t.Points = 0
			return t
		default:
			missing = append(missing, s.Name)
		}
		first = false
	}
	if len(missing) > 0 {
		t.Partial = "no points for what was not measured: " + strings.Join(missing, ", ")
	}
	return t
}

func penalties(p *Profile) []Penalty {
	var out []Penalty
	for _, d := range p.Of(Thermal) {
		if m, ok := d.Get(ThrottleRisk); ok && m.Graded() && m.Value > 0 {
			out = append(out, Penalty{fmt.Sprintf("throttles under load (risk %.0f %%)", 100*m.Value), penaltyThermal * min(1, m.Value)})
		}
	}
	for _, d := range p.Of(Uptime) {
		if m, ok := d.Get(Crashes); ok && m.Graded() && m.Value >= 1 {
			out = append(out, Penalty{fmt.Sprintf("ended without farewell %.0f times in seven days", m.Value), min(penaltyCrashes, penaltyCrash*m.Value)})
		}
	}
	left := float64(penaltyDrives)
	for _, d := range p.Of(Drive) {
		var x Penalty
		switch {
		case d.Has(FlagSMARTFail):
			x = Penalty{"drive " + d.Name + " says it is failing", min(left, penaltyFailing)}
		case d.Has(FlagSMARTWarn):
			x = Penalty{"drive " + d.Name + " warns of wear or errors", min(left, penaltyWarning)}
		}
		if x.Points > 0 {
			left -= x.Points
			out = append(out, x)
		}
	}
	return out
}
