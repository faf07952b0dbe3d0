package verify

import (
	"math"
	"testing"

	"kith/tasks"
	"pgregory.net/rapid"
)

func TestNear(t *testing.T) {
	rel, cos := tasks.Tolerance{MaxRelative: 1e-3, Floor: 1e-6}, tasks.Tolerance{Cosine: 0.999}
	nan := math.NaN()
	for _, c := range []struct {
		name string
		a, b []float64
		t    tasks.Tolerance
		want bool
	}{
		{"the same", []float64{1, 2}, []float64{1, 2}, rel, true},
		{"nothing", nil, nil, rel, true},
		{"within the error", []float64{1000}, []float64{1000.5}, rel, true},
		{"beyond the error", []float64{1000}, []float64{1002}, rel, false},
		{"small numbers count as the floor", []float64{1e-12}, []float64{-1e-12}, rel, true},
		{"one wrong value among many right ones", []float64{1, 1, 1, 1}, []float64{1, 1, 1, 2}, rel, false},
		{"lengths", []float64{1}, []float64{1, 0}, rel, false},
		{"not a number", []float64{nan}, []float64{nan}, rel, false},
		{"infinite", []float64{math.Inf(1)}, []float64{math.Inf(1)}, cos, false},
		{"direction", []float64{1, 0}, []float64{1, 0.01}, cos, true},
		{"another direction", []float64{1, 0}, []float64{1, 0.1}, cos, false},
		{"opposite", []float64{1, 2}, []float64{-1, -2}, cos, false},
		{"zero against something", []float64{0, 0}, []float64{0, 1}, cos, false},
		{"zeros", []float64{0, 0}, []float64{0, 0}, cos, true},
		{"both demanded", []float64{1, 1}, []float64{2, 2}, tasks.Tolerance{Cosine: 0.999, MaxRelative: 1e-3}, false},
		{"no tolerance", []float64{1}, []float64{1.0000000001}, tasks.Tolerance{}, false},
	} {
		if got := Near(c.a, c.b, c.t); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

// Whatever the numbers: nearness is symmetric, everything finite is near itself, and a wider tolerance never parts what a
// narrower one joins.
func TestNearRules(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 8).Draw(t, "length")
		a, b := make([]float64, n), make([]float64, n)
		for i := range n {
			a[i] = rapid.Float64Range(-1e6, 1e6).Draw(t, "a")
			b[i] = a[i] * (1 + rapid.Float64Range(-0.01, 0.01).Draw(t, "error"))
			if rapid.IntRange(0, 9).Draw(t, "far") == 0 {
				b[i] = rapid.Float64Range(-1e6, 1e6).Draw(t, "b")
			}
		}
		tol := tasks.Tolerance{MaxRelative: rapid.Float64Range(1e-9, 0.1).Draw(t, "relative"), Cosine: rapid.Float64Range(0.5, 1).Draw(t, "cosine"), Floor: 1e-9}
		if Near(a, b, tol) != Near(b, a, tol) {
			t.Fatal("not symmetric")
		}
		self := tol
		self.Cosine = min(self.Cosine, 1-1e-12) // a sum of squares rounds
		if !Near(a, a, self) {
			t.Fatal("not near itself")
		}
		wide := tasks.Tolerance{MaxRelative: tol.MaxRelative * 2, Cosine: tol.Cosine / 2, Floor: tol.Floor}
		if Near(a, b, tol) && !Near(a, b, wide) {
			t.Fatal("parted by a wider tolerance")
		}
	})
}
