package grading

import (
	"math"

	"kith/bench"
)

// Report is what a machine was measured to be, judged.
type Report struct {
	Profile *bench.Profile   `json:"profile"`          // absent: never measured
	Before  *bench.Profile   `json:"before,omitempty"` // of the same hardware
	Grade   bench.Grade      `json:"grade"`
	Weights bench.Weights    `json:"weights"`
	Running bool             `json:"running"`       // it is being measured right now
	Due     string           `json:"due,omitempty"` // why it will be measured anew
	Scales  []bench.Scale    `json:"scales"`
	Classes []bench.ClassRow `json:"classes"`
}

// NewReport judges a profile; nil is one of which nothing is known.
func NewReport(now, before *bench.Profile, w bench.Weights) Report {
	r := Report{Profile: now, Before: before, Weights: w, Scales: bench.Scales(), Classes: bench.Classes()}
	if now == nil {
		now = &bench.Profile{}
	}
	r.Grade = bench.Judge(now, w)
	if r.Profile == nil {
		r.Grade.Ungraded = "never measured: kith bench does it"
	}
	return r
}

// Change compares a figure with the one before: how many percent more it is. false: there is nothing to compare.
func (r *Report) Change(d *bench.Device, m bench.Measurement) (percent float64, ok bool) {
	if r.Before == nil || !m.Graded() {
		return 0, false
	}
	for _, old := range r.Before.Devices {
		if old.Part != d.Part || old.Name != d.Name {
			continue
		}
		o, found := old.Get(m.Name)
		if !found || !o.Graded() || o.Value == 0 || o.At == m.At {
			return 0, false
		}
		return 100 * (m.Value - o.Value) / math.Abs(o.Value), true
	}
	return 0, false
}
