package tokens

import (
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var start = time.Unix(1_700_000_000, 0)

func TestBucket(t *testing.T) {
	r := Rate{Every: 10 * time.Second, Burst: 3}
	var b Bucket
	now := start
	for i, c := range []struct {
		after time.Duration
		want  bool
	}{
		{0, true},
		{0, true},
		{0, true},
		{0, false},
		{9 * time.Second, false},
		{time.Second, true},
		{0, false},
		{-time.Hour, false}, // the clock was set back
		{time.Hour + 5*time.Second, false},
		{5 * time.Second, true},
		{24 * time.Hour, true}, // no more is saved up than at once
		{0, true},
		{0, true},
		{0, false},
	} {
		now = now.Add(c.after)
		if got := b.Take(r, now); got != c.want {
			t.Fatalf("step %d: %v, want %v", i, got, c.want)
		}
	}
	if p := PerSecond(5000, 2); p.Every != 200*time.Microsecond || p.Burst != 2 {
		t.Errorf("%+v", p)
	}
}

// However somebody spaces what it does, it never does more than the rate allows over any time.
func TestNeverMoreThanTheRate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := Rate{Every: time.Second, Burst: float64(rapid.IntRange(1, 5).Draw(t, "burst"))}
		var b Bucket
		var done []time.Time
		now := start
		for range rapid.IntRange(1, 100).Draw(t, "tries") {
			now = now.Add(time.Duration(rapid.IntRange(0, 2000).Draw(t, "pause")) * time.Millisecond)
			if b.Take(r, now) {
				done = append(done, now)
			}
		}
		for i := range done {
			for j := i; j < len(done); j++ {
				if most := r.Burst + done[j].Sub(done[i]).Seconds(); float64(j-i+1) > most+1e-6 {
					t.Fatalf("%d within %v", j-i+1, done[j].Sub(done[i]))
				}
			}
		}
	})
}

// Each has its own bucket; there are no more than the most, and room comes back with time.
func TestEach(t *testing.T) {
	r := Rate{Every: time.Second, Burst: 2}
	var e Each[int]
	now := start
	for who := range 10 {
		for i := range 3 {
			if got := e.Take(who, r, 10, now); got != (i < 2) {
				t.Fatalf("%d: try %d: %v", who, i, got)
			}
		}
	}
	if e.Take(10, r, 10, now) {
		t.Error("an eleventh is remembered")
	}
	if now = now.Add(1500 * time.Millisecond); e.Take(10, r, 10, now) || !e.Take(3, r, 10, now) {
		t.Error("somebody was forgotten who had not waited long enough")
	}
	if now = now.Add(time.Second); !e.Take(10, r, 10, now) || len(e.m) > 10 {
		t.Errorf("no room after all have waited: %d", len(e.m))
	}
}

func TestEachIsSafeForConcurrentUse(t *testing.T) {
	r := Rate{Every: time.Hour, Burst: 100}
	var e Each[string]
	var wg sync.WaitGroup
	var mu sync.Mutex
	taken := 0
	for range 8 {
		wg.Go(func() {
			for range 50 {
				if e.Take("one", r, 4, start) {
					mu.Lock()
					taken++
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	if taken != 100 {
		t.Errorf("%d taken, want 100", taken)
	}
}
