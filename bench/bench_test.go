package bench

import (
	"errors"
	"math"
	"strings"
	"testing"
)

func TestMeasurementNeverHoldsWhatCannotBe(t *testing.T) {
	for _, v := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), -1} {
		m := Begin("x", FLOPS, "").Value(v)
		if m.Graded() || m.Value != 0 {
			t.Errorf("%v: got %+v, want ungraded without a value", v, m)
		}
	}
	if m := Begin("x", Celsius, "").Value(-5); !m.Graded() || m.Value != -5 {
		t.Errorf("a frosty sensor: %+v", m)
	}
	if m := Begin("x", FLOPS, "").Median(nil); m.Graded() {
		t.Errorf("no samples: %+v, want ungraded", m)
	}
}

func TestMedianAndConfidence(t *testing.T) {
	tests := []struct {
		name       string
		samples    []float64
		value      float64
		confidence float64
	}{
		{"one", []float64{7}, 7, 1},
		{"two, far apart", []float64{6, 10}, 8, 0.5},
		{"steady", []float64{5, 5, 5, 5, 5}, 5, 1},
		{"one outlier hardly counts", []float64{10, 10, 10, 10, 10, 10, 10, 2}, 10, 1},
		{"half and half", []float64{1, 1, 1, 1, 3, 3, 3, 3}, 2, 0},
	}
	for _, tt := range tests {
		m := Begin("x", FLOPS, "").Median(tt.samples)
		if m.Value != tt.value || m.Confidence != tt.confidence {
			t.Errorf("%s: got %v with confidence %v, want %v with %v", tt.name, m.Value, m.Confidence, tt.value, tt.confidence)
		}
	}
}

func TestScales(t *testing.T) {
	sum := map[Part]float64{}
	for _, s := range Scales() {
		sum[s.Part] += s.Share
		for _, p := range []struct{ v, want float64 }{{s.Zero, 0}, {s.Fifty, 50}, {s.Hundred, 100}} {
			if got := s.Points(p.v); math.Abs(got-p.want) > 1e-9 {
				t.Errorf("%s %s: %v is %v points, want %v", s.Part, s.Name, p.v, got, p.want)
			}
		}
		beyond, short := s.Hundred*2, s.Zero/2
		if s.Zero > s.Hundred {
			beyond, short = s.Hundred/2, s.Zero*2
		}
		if s.Points(beyond) != 100 || s.Points(short) != 0 || s.Points(math.NaN()) != 0 {
			t.Errorf("%s %s leaves 0 to 100 beyond its ends", s.Part, s.Name)
		}
		if s.Why == "" {
			t.Errorf("%s %s does not say why", s.Part, s.Name)
		}
	}
	for part, x := range sum {
		if math.Abs(x-1) > 1e-9 {
			t.Errorf("the shares of %s add up to %v", part, x)
		}
	}
}

// machine is a profile in which every figure has fifty points.
func machine(t *testing.T) *Profile {
	t.Helper()
	p := &Profile{Version: ProfileVersion}
	byPart := map[Part]*Device{}
	for _, s := range Scales() {
		d := byPart[s.Part]
		if d == nil {
			d = &Device{Part: s.Part, Name: string(s.Part)}
			byPart[s.Part] = d
		}
		d.Measurements = append(d.Measurements, Begin(s.Name, s.Unit, "test").Value(s.Fifty))
	}
	for _, part := range Parts() {
		if d := byPart[part]; d != nil {
			p.Devices = append(p.Devices, *d)
		}
	}
	return p
}

func (p *Profile) device(part Part) *Device {
	for i := range p.Devices {
		if p.Devices[i].Part == part {
			return &p.Devices[i]
		}
	}
	return nil
}

func TestJudge(t *testing.T) {
	fail := errors.New("the probe crashed")
	tests := []struct {
		name     string
		change   func(p *Profile)
		score    float64
		band     int
		ungraded string
	}{
		{"all in the middle", func(*Profile) {}, 50, 6, ""},
		{"no card is known, not ungraded", func(p *Profile) {
			*p.device(GPU) = Device{Part: GPU, Name: "gpu", Kind: NoCard}
		}, 37.5, 4, ""},
		{"a crashed GPU probe gives nothing", func(p *Profile) { *p.device(GPU) = Failed(GPU, "gpu", fail) }, 37.5, 4, ""},
		{"a crashed CPU probe leaves the machine ungraded", func(p *Profile) { *p.device(CPU) = Failed(CPU, "cpu", fail) }, 0, 0, "cpu: the probe crashed"},
		{"no memory figure leaves the machine ungraded", func(p *Profile) { p.device(Memory).Measurements = nil }, 0, 0, "memory: not measured"},
		{"thermal", func(p *Profile) {
			p.Devices = append(p.Devices, Device{Part: Thermal, Name: "thermal", Measurements: []Measurement{Begin(ThrottleRisk, Ratio, "").Value(0.5)}})
		}, 45, 5, ""},
		{"crashes", func(p *Profile) {
			d := p.device(Uptime)
			d.Measurements = append(d.Measurements, Begin(Crashes, Count, "").Value(100))
		}, 40, 5, ""},
		{"SMART, but never more than the bound", func(p *Profile) {
			for range 5 {
				p.Devices = append(p.Devices, Device{Part: Drive, Name: "old", Flags: []Flag{FlagSMARTFail}})
			}
		}, 30, 4, ""},
		{"the better of two drives counts", func(p *Profile) {
			p.Devices = append(p.Devices, Device{Part: Drive, Name: "slow", Measurements: []Measurement{Begin(SeqRead, ByteRate, "").Value(1)}})
		}, 50, 6, ""},
	}
	for _, tt := range tests {
		p := machine(t)
		tt.change(p)
		g := Judge(p, DefaultWeights())
		if math.Abs(g.Score-tt.score) > 1e-6 || g.Band != tt.band || g.Ungraded != tt.ungraded {
			t.Errorf("%s: got %.3f band %d ungraded %q, want %v band %d ungraded %q", tt.name, g.Score, g.Band, g.Ungraded, tt.score, tt.band, tt.ungraded)
		}
	}
}

func TestJudgeNamesWhatIsMissing(t *testing.T) {
	p := machine(t)
	p.device(CPU).Measurements = p.device(CPU).Measurements[:1] // FP64 alone
	for _, term := range Judge(p, DefaultWeights()).Terms {
		if term.Part == CPU && !strings.Contains(term.Partial, SHA256) {
			t.Errorf("term %+v does not say that hashing is missing", term)
		}
	}
	for _, term := range Judge(&Profile{}, DefaultWeights()).Terms {
		if term.Ungraded == "" || term.Points != 0 {
			t.Errorf("an empty profile has %+v", term)
		}
	}
}

func TestWeights(t *testing.T) {
	w, err := ParseWeights(" 0, 1,0,0,0,0")
	if err != nil || w != (Weights{CPU: 1}) {
		t.Fatalf("got %+v, %v", w, err)
	}
	if g := Judge(machine(t), w); math.Abs(g.Score-50) > 1e-9 {
		t.Errorf("CPU alone: %v, want 50", g.Score)
	}
	if w, err := ParseWeights(DefaultWeights().Text()); err != nil || w != DefaultWeights() || w.sum() != 100 {
		t.Errorf("default weights: %+v, %v", w, err)
	}
	for _, bad := range []string{"", "1", "1,2,3,4,5", "1,2,3,4,5,6,7", "a,1,1,1,1,1", "-1,1,1,1,1,1", "NaN,1,1,1,1,1", "1e9,1,1,1,1,1", "0,0,0,0,0,0", "1 2,1,1,1,1,1"} {
		if w, err := ParseWeights(bad); err == nil {
			t.Errorf("%q gave %+v, want an error", bad, w)
		}
	}
}

func TestClass(t *testing.T) {
	card := func(kind string, vram, fp16 float64, flags ...Flag) Device {
		d := Device{Part: GPU, Name: "gpu0", Kind: kind, Flags: flags, Measurements: []Measurement{Begin(VRAM, Bytes, "").Value(vram)}}
		if fp16 > 0 {
			d.Measurements = append(d.Measurements, Begin(FP16Matmul, FLOPS, "").Value(fp16))
		} else {
			d.Measurements = append(d.Measurements, Begin(FP16Matmul, FLOPS, "").Fail(errors.New("no runtime")))
		}
		return d
	}
	tests := []struct {
		name string
		card Device
		want Class
	}{
		{"RTX 4090", card(NVIDIA, 24564<<20, 150e12), ClassHighGPU},
		{"GTX 1660 Super", card(NVIDIA, 6144<<20, 8e12), ClassWeakGPU},
		{"GT 1030", card(NVIDIA, 2048<<20, 0.3e12), ClassWeakGPU},
		{"RTX 4090 without a runtime", card(NVIDIA, 24564<<20, 0), ClassCPU},
		{"7900 XTX with ROCm", card(AMD, 24e9, 90e12), ClassHighGPU},
		{"7900 XTX under Windows", card(AMD, 24e9, 90e12, FlagLimited), ClassWeakGPU},
		{"Apple M2 Max", card(Apple, 32e9, 25e12), ClassWeakGPU},
		{"driver lost", card(NVIDIA, 24e9, 90e12, FlagNoDriver), ClassCPU},
		{"none", Device{Part: GPU, Name: "gpu", Kind: NoCard}, ClassCPU},
	}
	for _, tt := range tests {
		if got := CardClass(&tt.card); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
	two := &Profile{Devices: []Device{tests[1].card, tests[0].card}}
	if g := Judge(two, DefaultWeights()); g.Class != ClassHighGPU {
		t.Errorf("two cards: %s, want the class of the stronger", g.Class)
	}
	if rows := Classes(); len(rows) != 3 || !strings.Contains(Table(rows), "GTX 1660 Super") {
		t.Error("the published table is incomplete")
	}
}

func TestReplaceKeepsOtherParts(t *testing.T) {
	p := machine(t)
	n := len(p.Devices)
	p.Replace([]Part{Drive}, []Device{{Part: Drive, Name: "sdb"}, {Part: Drive, Name: "sda"}})
	if len(p.Devices) != n+1 || p.Of(Drive)[0].Name != "sda" || len(p.Of(CPU)) != 1 {
		t.Errorf("after the drives were measured anew: %+v", p.Devices)
	}
}
