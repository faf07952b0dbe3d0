// Package tokens bounds how often others may do something: so often over time, and a few times at once.
package tokens

import (
	"sync"
	"time"
)

// Rate is once in Every, and Burst times at once.
type Rate struct {
	Every time.Duration
	Burst float64
}

// PerSecond is the rate of n a second.
func PerSecond(n, burst float64) Rate {
	return Rate{Every: time.Duration(float64(time.Second) / n), Burst: burst}
}

// Bucket is what one of them may still do. The zero Bucket is full. It is not safe for concurrent use.
type Bucket struct {
	spent float64
	at    time.Time
}

// Take reports whether it may be done now, and counts it if so. A clock that is set back fills nothing.
func (b *Bucket) Take(r Rate, now time.Time) bool {
	b.settle(r, now)
	if b.spent+1 > r.Burst {
		return false
	}
	b.spent++
	return true
}

func (b *Bucket) settle(r Rate, now time.Time) {
	if past := now.Sub(b.at); past > 0 {
		b.spent = max(0, b.spent-float64(past)/float64(r.Every))
		b.at = now
	}
}

// Each holds a bucket for each of many, by name: all of one rate. The zero value is ready, and safe for concurrent use.
type Each[K comparable] struct {
	mu sync.Mutex
	m  map[K]Bucket
}

// Take is Bucket.Take for one of them. No more than most are remembered: whose bucket is full again is forgotten then, and
// if there is none, who is not remembered may not.
func (e *Each[K]) Take(who K, r Rate, most int, now time.Time) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.m == nil {
		e.m = map[K]Bucket{}
	}
	b, known := e.m[who]
	if !known && len(e.m) >= most {
		for other, x := range e.m {
			if x.settle(r, now); x.spent == 0 {
				delete(e.m, other)
			}
		}
		if len(e.m) >= most {
			return false
		}
	}
	ok := b.Take(r, now)
	e.m[who] = b
	return ok
}
