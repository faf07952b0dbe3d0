package governor

import "time"

// bucket is a token bucket that may go into debt. A rate of zero lets everything through.
type bucket struct {
	rate float64 // tokens a second
	size float64 // most it holds
	have float64
	at   time.Time
}

// set changes rate and size. A bucket begins full; later, what it holds stays.
func (b *bucket) set(now time.Time, rate, size float64) {
	if b.at.IsZero() {
		b.have = size
	} else {
		b.fill(now)
	}
	b.rate, b.size, b.at = rate, size, now
	b.have = min(b.have, size)
}

func (b *bucket) fill(now time.Time) {
	if gone := now.Sub(b.at); gone > 0 {
		b.have = min(b.size, b.have+gone.Seconds()*b.rate)
	}
	b.at = now // also when the clock was set back
}

// wait is how long until the bucket is out of debt.
func (b *bucket) wait(now time.Time) time.Duration {
	if b.rate <= 0 {
		return 0
	}
	b.fill(now)
	if b.have > 0 {
		return 0
	}
	return time.Duration((1-b.have)/b.rate*float64(time.Second)) + time.Microsecond
}

// take takes n tokens, whether they are there or not.
func (b *bucket) take(now time.Time, n float64) {
	if b.rate <= 0 {
		return
	}
	b.fill(now)
	b.have -= n
}
