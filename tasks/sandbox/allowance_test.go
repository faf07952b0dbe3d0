package sandbox

import (
	"math/rand/v2"
	"testing"
	"time"
)

// TestAllowanceKeepsTheAverage spends whatever a task may spend while it runs, for a long time: on average it is the rate.
func TestAllowanceKeepsTheAverage(t *testing.T) {
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 1))
		rate := 0.05 + r.Float64()*3
		var a allowance
		var used, over float64
		var gone time.Duration
		stopped := false
		for range 5000 {
			step := time.Duration(1+r.IntN(20)) * time.Millisecond
			spent := 0.0
			if !stopped {
				spent = r.Float64() * 4 * step.Seconds() // four threads at most
			}
			stopped = a.spend(rate, spent, step)
			used += spent
			gone += step
			over = max(over, used-rate*gone.Seconds())
		}
		if most := rate*credit.Seconds() + 4*0.02; over > most+1e-9 {
			t.Errorf("seed %d: at a rate of %.2f it was %.3f ahead once, at most %.3f", seed, rate, over, most)
		}
	}
}

func TestAllowanceOddities(t *testing.T) {
	var a allowance
	if a.spend(0, 1e9, time.Second) || a.spend(-1, 1e9, time.Second) {
		t.Error("no rate, and yet a debt")
	}
	if a.spend(1, 0, -time.Hour) {
		t.Error("a clock that goes back makes a debt")
	}
	if !a.spend(1, 2, time.Second) {
		t.Error("twice the rate and no debt")
	}
	if a.spend(1, 0, 24*time.Hour); a.left > credit.Seconds() {
		t.Error("a night asleep was saved up")
	}
}
