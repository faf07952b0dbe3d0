package bench

import "strings"

// Class is what kind of work a machine is fit for. The texts are those of the device classes on the wire.
type Class string

// The classes, weakest first. Whoever has a class can do the work of the weaker ones too.
const (
	ClassCPU     Class = "cpu"
	ClassWeakGPU Class = "weak-gpu"
	ClassHighGPU Class = "high-gpu"
)

// Rank orders the classes: 0 for cpu, 2 for high-gpu.
func (c Class) Rank() int {
	switch c {
	case ClassHighGPU:
		return 2
	case ClassWeakGPU:
		return 1
	}
	return 0
}

// Kinds of cards by vendor, as Device.Kind holds them.
const (
	NVIDIA  = "nvidia"
	AMD     = "amd"
	Intel   = "intel"
	Apple   = "apple"
	OtherGP = "other"
	NoCard  = "none" // the machine was looked over and has no card
)

// What a card must have for a class.
const (
	highVRAM = 8e9   // bytes; cards sold as 8 GB hold a little less than 8 GiB
	highFP16 = 15e12 // FLOP/s, measured
	weakVRAM = 1.9e9
	weakFP16 = 200e9
)

// ClassRow is one row of the published table class → cards → kinds.
type ClassRow struct {
	Class Class    `json:"class"`
	Needs string   `json:"needs"` // of the card, in words
	Cards []string `json:"cards"` // examples
	Kinds []string `json:"kinds"` // of work; filled in by whoever knows the kinds
}

// Classes is the published table, weakest first.
func Classes() []ClassRow {
	return []ClassRow{
		{
			Class: ClassCPU, Needs: "no card, or one that cannot compute here",
			Cards: []string{"none", "integrated graphics without a runtime", "GeForce GT 710", "Radeon under Windows without DirectML", "any card without a working driver"},
		},
		{
			Class: ClassWeakGPU, Needs: "2 GB of its own or shared memory, and 0.2 TFLOP/s of FP16 matrix multiplication measured",
			Cards: []string{"GeForce GT 1030", "GeForce GTX 1050 Ti", "GeForce GTX 1660 Super (6 GB)", "Radeon RX 6600 under Linux with ROCm", "Intel Arc A380 with XPU", "Apple M1"},
		},
		{
			Class: ClassHighGPU, Needs: "8 GB of its own memory, and 15 TFLOP/s of FP16 matrix multiplication measured on NVIDIA's or AMD's runtime",
			Cards: []string{"GeForce RTX 3060 (12 GB)", "GeForce RTX 3090", "GeForce RTX 4090 (24 GB)", "Radeon RX 7900 XTX under Linux with ROCm", "A100", "H100 and its instances of 10 GB and more"},
		},
	}
}

// CardClass is the class of one card by what was measured: a card whose multiplication was not measured, because there
// is no runtime or it failed, is as good as none.
func CardClass(d *Device) Class {
	vram, okV := d.Get(VRAM)
	fp16, okF := d.Get(FP16Matmul)
	if !okV || !okF || !vram.Graded() || !fp16.Graded() || d.Has(FlagNoDriver) {
		return ClassCPU
	}
	switch {
	case vram.Value >= highVRAM && fp16.Value >= highFP16 && (d.Kind == NVIDIA || d.Kind == AMD) && !d.Has(FlagLimited):
		return ClassHighGPU
	case vram.Value >= weakVRAM && fp16.Value >= weakFP16:
		return ClassWeakGPU
	}
	return ClassCPU
}

// classOf is the class of the strongest card.
func classOf(p *Profile) Class {
	best := ClassCPU
	for _, d := range p.Of(GPU) {
		if c := CardClass(&d); c.Rank() > best.Rank() {
			best = c
		}
	}
	return best
}

// Table writes the published table in Markdown.
func Table(rows []ClassRow) string {
	var b strings.Builder
	b.WriteString("| class | needs | cards | kinds of work |\n| --- | --- | --- | --- |\n")
	for _, r := range rows {
		b.WriteString("| " + string(r.Class) + " | " + r.Needs + " | " + strings.Join(r.Cards, ", ") + " | " + strings.Join(r.Kinds, ", ") + " |\n")
	}
	return b.String()
}
