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
