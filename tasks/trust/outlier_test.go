package trust

import (
	"math"
	"math/rand/v2"
	"testing"
)

// The share of honest claims that are taken for outliers, for machines that differ a little and a lot; and a claim of ten
// times the work is seen among those that differ a little.
func TestOutliers(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, sigma := range []float64{0.1, 0.5, 1} {
		wrong, tried := 0, 0
		draw := func() int64 { return int64(2000 * math.Exp(sigma*rnd.NormFloat64())) }
		for range 2000 {
			claims := make([]int64, 64)
			for i := range claims {
				claims[i] = draw()
			}
			top := Ceiling(claims)
			for range 20 {
				tried++
				if draw() > top {
					wrong++
				}
			}
			if sigma == 0.1 && top > 20_000 {
				t.Fatalf("ten times the work passes: %d", top)
			}
		}
		rate := float64(wrong) / float64(tried)
		t.Logf("spread %.1f: %.5f of honest claims are called outliers", sigma, rate)
		if rate > 0.002 {
			t.Errorf("spread %.1f: %.5f of honest claims are called outliers", sigma, rate)
		}
	}
	if Ceiling(make([]int64, OutlierSample-1)) != math.MaxInt64 {
		t.Error("something is said of too few claims")
	}
	same := make([]int64, 64)
	for i := range same {
		same[i] = 1000
	}
	if top := Ceiling(same); top < 1200 || top > 2000 {
		t.Errorf("among claims that are all alike: %d", top)
	}
}
