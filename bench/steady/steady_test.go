package steady

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"

	"kith/bench"
)

// calm are rounds of a computer that does nothing else: the truth with a little noise.
func calm(r *rand.Rand, truth float64, rounds, samples int) [][]Sample {
	out := make([][]Sample, rounds)
	for i := range out {
		for range samples {
			out[i] = append(out[i], Sample{Value: truth * (1 + 0.01*(r.Float64()-0.5))})
		}
	}
	return out
}

func near(got, want, share float64) bool { return math.Abs(got-want) <= share*want }

func TestFigureOfADisturbedComputer(t *testing.T) {
	const truth = 100.0
	// Each case spoils calm rounds of rates: slower is what disturbance does to them.
	tests := []struct {
		name  string
		take  Take
		spoil func(r *rand.Rand, rounds [][]Sample)
	}{
		{"nothing", Typical, func(*rand.Rand, [][]Sample) {}},
		{"one round of a burst that nobody noticed", Typical, func(r *rand.Rand, rounds [][]Sample) {
			for i := range rounds[1] {
				rounds[1][i].Value *= 0.3
			}
		}},
		{"every second sample lost its processor", Typical, func(r *rand.Rand, rounds [][]Sample) {
			for _, round := range rounds {
				for i := range round {
					if i%2 == 0 {
						lost := 0.1 + 0.8*r.Float64()
						round[i] = Sample{round[i].Value * (1 - lost), lost}
					}
				}
			}
		}},
		{"four of five samples lost their processor", Most, func(r *rand.Rand, rounds [][]Sample) {
			for _, round := range rounds {
				for i := range round {
					if i%5 != 0 {
						lost := 0.1 + 0.8*r.Float64()
						round[i] = Sample{round[i].Value * (1 - lost), lost}
					}
				}
			}
		}},
		{"the memory is shared with others most of the time, which no clock tells", Most, func(r *rand.Rand, rounds [][]Sample) {
			for _, round := range rounds {
				for i := range round {
					if r.Float64() < 0.7 {
						round[i].Value *= 0.5 + 0.4*r.Float64()
					}
				}
			}
		}},
		{"slips of the clock", Most, func(r *rand.Rand, rounds [][]Sample) { rounds[0][0].Value *= 50 }},
		{"values that cannot be", Typical, func(r *rand.Rand, rounds [][]Sample) {
			for i, v := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), -5, 0} {
				rounds[i][0].Value = v
				rounds[i][1].Lost = v
			}
		}},
	}
	for _, tt := range tests {
		for seed := range uint64(50) {
			r := rand.New(rand.NewPCG(seed, 1))
			rounds := calm(r, truth, 5, 30)
			tt.spoil(r, rounds)
			got, ok := Of(rounds, tt.take)
			if !ok || !near(got.Value, truth, 0.05) {
				t.Errorf("%s (%d): %+v, %v; want %v", tt.name, seed, got, ok, truth)
			}
			// The same for what is disturbed upwards: times.
			for _, round := range rounds {
				for i := range round {
					round[i].Value = 1 / round[i].Value
				}
			}
			if got, ok = Of(rounds, 1-tt.take); !ok || !near(got.Value, 1/truth, 0.05) {
				t.Errorf("%s, as times (%d): %+v, %v; want %v", tt.name, seed, got, ok, 1/truth)
			}
		}
	}
}

func TestConfidenceTellsOfDisturbance(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	quiet, _ := Of(calm(r, 100, 5, 20), Typical)
	if quiet.Confidence < 0.97 || quiet.Kept != 100 || quiet.Of != 100 {
		t.Errorf("a quiet computer: %+v", quiet)
	}
	moving := calm(r, 100, 5, 20)
	for i, round := range moving {
		for j := range round {
			round[j].Value *= 1 - 0.1*float64(i)
		}
	}
	if f, _ := Of(moving, Typical); f.Confidence > 0.85 {
		t.Errorf("rounds that differ by a tenth each: %+v", f)
	}
	starved := calm(r, 100, 5, 20)
	for _, round := range starved {
		for j := range round {
			round[j].Lost = 0.6
		}
	}
	if f, _ := Of(starved, Typical); f.Confidence > 0.45 || f.Value == 0 {
		t.Errorf("a computer that never had time: %+v", f)
	}
	if Enough(starved) || !Enough(calm(r, 100, 3, 1)) || Enough(calm(r, 100, 2, 1)) || Enough(nil) {
		t.Error("enough: three whole samples")
	}
	if m := End(bench.Begin("x", bench.OPS, ""), "so", nil, Typical); m.Graded() {
		t.Errorf("%+v of no rounds", m)
	}
}

func TestFigureHolds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sample := rapid.Custom(func(t *rapid.T) Sample {
			return Sample{rapid.Float64Range(1, 1e12).Draw(t, "value"), rapid.Float64Range(0, 1).Draw(t, "lost")}
		})
		rounds := rapid.SliceOfN(rapid.SliceOfN(sample, 1, 20), 1, 6).Draw(t, "rounds")
		take := rapid.SampledFrom([]Take{Least, Typical, Most}).Draw(t, "take")
		f, ok := Of(rounds, take)
		low, high := math.Inf(1), 0.0
		scaled := make([][]Sample, len(rounds))
		for i, r := range rounds {
			for _, s := range r {
				low, high = min(low, s.Value), max(high, s.Value)
				scaled[i] = append(scaled[i], Sample{4 * s.Value, s.Lost}) // a power of two: exact
			}
		}
		if !ok || f.Value < low || f.Value > high || f.Confidence < 0 || f.Confidence > 1 || f.Kept < 1 || f.Kept > f.Of {
			t.Fatalf("%+v of values from %v to %v", f, low, high)
		}
		if g, _ := Of(scaled, take); g.Value != 4*f.Value || g.Kept != f.Kept {
			t.Fatalf("in another unit %+v, before %+v", g, f)
		}
		turned := append(append([][]Sample{}, rounds[len(rounds)/2:]...), rounds[:len(rounds)/2]...)
		if g, _ := Of(turned, take); g.Value != f.Value || g.Kept != f.Kept {
			t.Fatalf("in another order %+v, before %+v", g, f)
		}
		least, _ := Of(rounds, Least)
		most, _ := Of(rounds, Most)
		if least.Value > most.Value {
			t.Fatalf("least %v, most %v", least.Value, most.Value)
		}
	})
}

func TestTogether(t *testing.T) {
	const ms = time.Millisecond
	s := func(did float64, wall, own time.Duration) stretch { return stretch{did, Timing{Wall: wall, Own: own}} }
	none := stretch{}
	tests := []struct {
		name   string
		each   [][]stretch
		stolen float64
		want   []Sample
	}{
		{"one thread", [][]stretch{{s(10, 10*ms, 10*ms), s(5, 10*ms, 5*ms)}}, 0, []Sample{{1000, 0}, {1000, 0.5}}},
		{"a window it had no turn in", [][]stretch{{s(10, 10*ms, 10*ms), none}}, 0, []Sample{{1000, 0}}},
		{"the host took some", [][]stretch{{s(10, 10*ms, 10*ms)}}, 0.2, []Sample{{1000, 0.2}}},
		{"never anything", [][]stretch{{none, none}}, 0, []Sample{{0, 1}}},
	}
	for _, tt := range tests {
		got := together(tt.each, 20*ms, 0, tt.stolen)
		if len(got) != len(tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
			continue
		}
		for i := range got {
			if !near(got[i].Value, tt.want[i].Value, 1e-9) || math.Abs(got[i].Lost-tt.want[i].Lost) > 1e-9 {
				t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
			}
		}
	}
	// More threads than any computer has processors, never two in the same window: the sum over the whole time counts.
	var turns [][]stretch
	for i := range 1 << 14 {
		list := make([]stretch, 2)
		list[i%2] = s(1, ms, ms)
		turns = append(turns, list)
	}
	if got := together(turns, 2*time.Second, 0, 0); len(got) != 1 || !near(got[0].Value, 1<<13, 1e-9) || got[0].Lost != 0.5 {
		t.Errorf("turns: %v", got)
	}
}

func TestRun(t *testing.T) {
	did := make([]int, 3)
	var work []func() float64
	for i := range did {
		work = append(work, func() float64 { did[i]++; time.Sleep(10 * time.Microsecond); return 1 })
	}
	got, err := Run(t.Context(), 20*time.Millisecond, work)
	if err != nil || len(got) == 0 {
		t.Fatalf("%v, %v", got, err)
	}
	for i, n := range did {
		if n == 0 {
			t.Errorf("thread %d did nothing", i)
		}
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("the owner stopped everything")
	work[0] = func() float64 { cancel(stop); return 1 }
	if _, err := Run(ctx, time.Hour, work); !errors.Is(err, stop) {
		t.Errorf("got %v, want %v", err, stop)
	}
}
