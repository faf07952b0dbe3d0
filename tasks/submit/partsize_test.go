package submit

import (
	"testing"
	"time"
)

func TestPartSize(t *testing.T) {
	const mib = 1 << 20
	for _, c := range []struct {
		name        string
		rate, total int64
		aim         time.Duration
		slots       int
		want        int64
	}{
		{"by the rate", mib, 1 << 40, 10 * time.Second, 4, 10 * mib},
		{"most", 1 << 50, 1 << 50, time.Hour, 4, mostPart},
		{"least", 1, 1 << 40, time.Second, 4, leastPart},
		{"a small input", mib, 32 * mib, time.Minute, 4, mib},
		{"many slots", mib, 1000 * mib, time.Minute, 100, 5 * mib},
		{"no input", mib, 0, time.Minute, 100, leastPart},
	} {
		if got := partSize(c.rate, c.total, c.aim, c.slots); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

// Who holds an output too is asked soon once it is known how long deliveries take, and never later than without that.
func TestPatience(t *testing.T) {
	most := deliveryTime(0) / mostPatience
	for _, c := range []struct {
		name string
		took []time.Duration
		size int64
		want time.Duration
	}{
		{"nothing is known", nil, 1, most},
		{"too little is known", []time.Duration{1, 1, 1}, 1, most},
		{"quick ones", []time.Duration{time.Millisecond, time.Millisecond, 5, 5}, 1, leastPatience},
		{"some time", []time.Duration{time.Second, time.Second, time.Second, time.Hour}, 1, patient * time.Second},
		{"large ones", []time.Duration{time.Second, time.Second, time.Second, time.Second}, 2 << 20, 3 * patient * time.Second},
		{"long ones", []time.Duration{time.Hour, time.Hour, time.Hour, time.Hour}, 1, most},
	} {
		var l deliveries
		for _, took := range c.took {
			l.add(0, took)
		}
		if got := l.patience(c.size); got != min(c.want, deliveryTime(c.size)/mostPatience) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
	var l deliveries
	for range 2 * keptFetches {
		l.add(0, time.Second)
	}
	if len(l) != keptFetches {
		t.Errorf("%d are kept", len(l))
	}
}
