package links

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

func TestTable(t *testing.T) {
	for a := range codes {
		for b := range codes {
			if RTT(a, b) != RTT(b, a) || RTT(a, b) <= 0 || a != b && RTT(a, b) <= RTT(a, a) {
				t.Errorf("%s to %s: %s and back %s", codes[a], codes[b], RTT(a, b), RTT(b, a))
			}
			if (Ring(a, b) == 0) != (a == b) || Ring(a, b) != Ring(b, a) {
				t.Errorf("ring of %s from %s", codes[b], codes[a])
			}
		}
	}
}

// The hosts that are drawn are here for the share of the time that was chosen.
func TestAvailability(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var here, away time.Duration
	for range 200_000 {
		here += Session(r)
		away += Absence(r)
	}
	if got := float64(here) / float64(here+away); math.Abs(got-Available) > 0.01 {
		t.Errorf("here %.3f of the time, chosen %.3f", got, Available)
	}
	sum := 0.0
	for h := range 24 {
		sum += Awake(0, time.Duration(h)*time.Hour)
	}
	if math.Abs(sum/24-Available) > 0.01 {
		t.Errorf("laptops are open %.3f of the day, chosen %.3f", sum/24, Available)
	}
	if Awake(Index("JP"), 0) <= Awake(Index("US"), 8*time.Hour) {
		t.Error("nine in the morning in Japan is no busier than three at night in America")
	}
}
