package owner

import (
	"testing"
	"time"
)

func TestReady(t *testing.T) {
	home := t.TempDir()
	r, err := OpenReady(home)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	tick := func(span time.Duration, is bool) {
		for end := now.Add(span); now.Before(end); now = now.Add(10 * time.Second) {
			r.Tick(now, is)
		}
	}
	tick(2*time.Hour, true)
	tick(time.Hour, false)
	if d := r.Done(); d < 119*time.Minute || d > 2*time.Hour {
		t.Errorf("ready for %v, want two hours", d)
	}
	before := r.Done()
	now = now.Add(10 * time.Hour) // asleep
	r.Tick(now, true)
	r.Tick(now.Add(-time.Minute), true) // the clock goes back
	if r.Done() != before {
		t.Errorf("sleep counts: %v", r.Done()-before)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if r, err = OpenReady(home); err != nil || r.Done() != before {
		t.Fatalf("after a restart: %v, %v", r.Done(), err)
	}
	now = now.Add(8 * 24 * time.Hour)
	r.Tick(now, false)
	if r.Done() != 0 {
		t.Errorf("a week later %v still count", r.Done())
	}
}

func FuzzParseReady(f *testing.F) {
	f.Add([]byte(`{"hours":{"494000":3600}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		h, err := parseReady(data)
		for _, s := range h {
			if err != nil || s < 0 || s > 3600 {
				t.Fatalf("%d seconds in an hour, %v", s, err)
			}
		}
	})
}
