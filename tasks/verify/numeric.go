package verify

import (
	"math"

	"kith/tasks"
)

// Alike compares two numeric outputs: what is exact in them must be the same, and each row near the other's.
func Alike(a, b *tasks.Numbers, t tasks.Tolerance) bool {
	if a.Exact != b.Exact || len(a.Rows) != len(b.Rows) {
		return false
	}
	for i := range a.Rows {
		if !Near(a.Rows[i], b.Rows[i], t) {
			return false
		}
	}
	return true
}

// Near compares two rows of numbers. It is symmetric, and any tolerance that is not smaller lets the same outputs agree.
// Rows of different lengths, and any that hold a value which is not a finite number, agree with nothing: a NaN would
// otherwise hide whatever stands beside it.
func Near(a, b []float64, t tasks.Tolerance) bool {
	if len(a) != len(b) {
		return false
	}
	var dot, aa, bb float64
	for i := range a {
		x, y := a[i], b[i]
		if math.IsNaN(x) || math.IsNaN(y) || math.IsInf(x, 0) || math.IsInf(y, 0) {
			return false
		}
		if t.MaxRelative > 0 && relative(x, y, t.Floor) > t.MaxRelative {
			return false
		}
		if t.MaxRelative <= 0 && t.Cosine <= 0 && x != y {
			return false // no tolerance is stated
		}
		dot, aa, bb = dot+x*y, aa+x*x, bb+y*y
	}
	if t.Cosine <= 0 {
		return true
	}
	if aa == 0 || bb == 0 {
		return aa == bb // only nothing is like nothing
	}
	return dot/(math.Sqrt(aa)*math.Sqrt(bb)) >= t.Cosine
}

// relative is the error of one value against the other, relative to the larger, which counts as at least floor.
func relative(x, y, floor float64) float64 {
	if x == y {
		return 0
	}
	return math.Abs(x-y) / max(math.Abs(x), math.Abs(y), floor)
}
