package links

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

const draws = 200_000

// quantiles draws many and returns the hours below which the given shares lie.
func quantiles(draw func(*rand.Rand) time.Duration, shares ...float64) []float64 {
	r := rand.New(rand.NewPCG(1, 2))
	list := make([]time.Duration, draws)
	for i := range list {
		list[i] = draw(r)
	}
	slices.Sort(list)
	out := make([]float64, len(shares))
	for i, s := range shares {
		out[i] = list[int(s*draws)].Hours()
	}
	return out
}

// What is drawn lies where the published distributions have it. Means say little here: the tail of absences moves that of
// as many draws by a fifth.
func TestIntervals(t *testing.T) {
	shares := []float64{.1, .25, .5, .75, .9, .99}
	normal := []float64{-1.28155, -.67449, 0, .67449, 1.28155, 2.32635}
	for name, c := range map[string]struct {
		draw func(*rand.Rand) time.Duration
		want func(i int) float64
	}{
		"session": {Session, func(i int) float64 { return 2.964 * math.Pow(-math.Log(1-shares[i]), 1/.393) }},
		"absence": {Absence, func(i int) float64 { return math.Exp(-.586 + 2.844*normal[i]) }},
	} {
		t.Run(name, func(t *testing.T) {
			for i, got := range quantiles(c.draw, shares...) {
				if want := c.want(i); math.Abs(math.Log(got/want)) > .1 {
					t.Errorf("%g %% lie below %.4g h, published %.4g h", 100*shares[i], got, want)
				}
			}
		})
	}
	r := rand.New(rand.NewPCG(3, 4))
	sum := 0.0
	for range draws {
		sum += Session(r).Hours()
	}
	if mean := sum / draws; math.Abs(mean-10.35) > .5 {
		t.Errorf("sessions last %.2f h on average, published 10.35 h", mean)
	}
	if math.Abs(Present-.246) > .001 {
		t.Errorf("%.4f of the hosts are here, the fits come to 0.246", Present)
	}
}

// What is left of an interval that somebody looks into has the equilibrium distribution: the share of it below x is the
// integral of the interval's survival up to x by its mean. That of the longest is drawn no further than a Duration holds.
func TestLeft(t *testing.T) {
	survival := map[string]func(h float64) float64{
		"session": func(h float64) float64 { return math.Exp(-math.Pow(h/2.964, .393)) },
		"absence": func(h float64) float64 { return math.Erfc((math.Log(h)+.586)/(2.844*math.Sqrt2)) / 2 },
	}
	mean := map[string]float64{"session": 2.964 * math.Gamma(1+1/.393), "absence": math.Exp(-.586 + 2.844*2.844/2)}
	for name, draw := range map[string]func(*rand.Rand) time.Duration{"session": SessionLeft, "absence": AbsenceLeft} {
		t.Run(name, func(t *testing.T) {
			shares := []float64{.1, .25, .5, .75, .9}
			for i, x := range quantiles(draw, shares...) {
				sum := 0.0 // over steps that grow, as the intervals do
				for a := 1e-6; a < x; a *= 1.001 {
					b := math.Min(a*1.001, x)
					sum += survival[name]((a+b)/2) * (b - a)
				}
				if got := sum / mean[name]; math.Abs(got-shares[i]) > .01 {
					t.Errorf("%.4g h is drawn as the %g %% quantile, but is that of %.3f %%", x, 100*shares[i], 100*got)
				}
			}
		})
	}
	r := rand.New(rand.NewPCG(5, 6))
	for range draws {
		if d := AbsenceLeft(r); d < 0 || d > longest {
			t.Fatalf("an absence of %s", d)
		}
	}
}

// A fleet that begins as somebody finds it stays as it is: as many hosts are here after days as at the beginning.
func TestStationary(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	const hosts = 40_000
	at := []time.Duration{0, time.Hour, 12 * time.Hour, 3 * 24 * time.Hour, 30 * 24 * time.Hour}
	here := make([]int, len(at))
	for range hosts {
		up := r.Float64() < Present
		left := AbsenceLeft(r)
		if up {
			left = SessionLeft(r)
		}
		now := time.Duration(0)
		for i := range at {
			for now+left <= at[i] {
				now += left
				if up = !up; up {
					left = Session(r)
				} else {
					left = Absence(r)
				}
			}
			if up {
				here[i]++
			}
		}
	}
	for i, n := range here {
		if got := float64(n) / hosts; math.Abs(got-Present) > .01 {
			t.Errorf("%.3f of the hosts are here after %s, %.3f would be", got, at[i], Present)
		}
	}
}

// The day of a laptop has the mean and the night that were measured, and its peak within the hours that were.
func TestAwake(t *testing.T) {
	sum, least, most, peak := 0.0, 1.0, 0.0, 0
	for h := range 24 {
		a := Awake(Index("GB"), time.Duration(h)*time.Hour)
		sum += a
		least = min(least, a)
		if a > most {
			most, peak = a, h
		}
	}
	if math.Abs(sum/24-.81*.83) > .001 {
		t.Errorf("laptops are open %.4f of the day, measured %.4f", sum/24, .81*.83)
	}
	if fewer := 1 - least/most; fewer < .4 || fewer > .5 {
		t.Errorf("%.2f fewer at night than at the peak, measured 0.40 to 0.50", fewer)
	}
	if peak < 11 || peak > 17 || most > 1 {
		t.Errorf("the peak, %.2f, is at %d o'clock", most, peak)
	}
	if Awake(Index("JP"), 0) <= Awake(Index("US"), 8*time.Hour) {
		t.Error("nine in the morning in Japan is no busier than three at night in America")
	}
}
