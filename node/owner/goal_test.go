package owner

import (
	"os"
	"path/filepath"
	"strings"
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

// A node learns from its days how much of the time it can compute and for how long at a time, keeps that over restarts, and
// says nothing before it knows.
func TestShareAndStays(t *testing.T) {
	home := t.TempDir()
	r, err := OpenReady(home)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 6, 1, 8, 0, 0, 0, time.UTC)
	tick := func(span time.Duration, is bool) {
		for end := now.Add(span); now.Before(end); now = now.Add(10 * time.Second) {
			r.Tick(now, is)
		}
	}
	tick(2*time.Hour, true)
	if r.Share(now) != 0 || r.Stays() != 0 {
		t.Errorf("after two hours it says %d and %v", r.Share(now), r.Stays())
	}
	for day := range 8 {
		tick(time.Hour, true)
		tick(time.Minute, false) // too short to end a stay
		tick(time.Hour, true)
		if day == 4 { // over a restart
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
			if r, err = OpenReady(home); err != nil {
				t.Fatal(err)
			}
		}
		now = now.Add(22*time.Hour - time.Minute) // asleep
	}
	if s := r.Share(now); s < 75 || s > 85 {
		t.Errorf("ready for %d of 1000, want a twelfth", s)
	}
	if s := r.Stays(); s < 2*time.Hour || s > 2*time.Hour+2*time.Minute {
		t.Errorf("stays for %v, want two hours", s)
	}
	for range 3 * keptStays {
		tick(time.Minute, true)
		now = now.Add(time.Hour)
	}
	if n := len(r.stays); n != keptStays || r.Stays() > 2*time.Minute {
		t.Errorf("%d stays are kept, the usual one is %v", n, r.Stays())
	}
	tick(6*time.Hour, true)
	if r.Stays() > 2*time.Minute { // one long one is an exception
		t.Errorf("stays for %v", r.Stays())
	}
}

func TestBadReadyFile(t *testing.T) {
	for _, text := range []string{
		`{`, `{"hours":{"1":3601}}`, `{"hours":{},"more":1}`, `{"hours":{},"first":-1}`, `{"hours":{},"since":5,"seen":4}`,
		`{"hours":{},"stays":[-1]}`, `{"hours":{},"stays":[1e18]}`, `{"hours":{},"stays":[` + strings.Repeat("1,", keptStays) + `1]}`,
	} {
		home := t.TempDir()
		if err := os.WriteFile(filepath.Join(home, ReadyFile), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := OpenReady(home)
		if err == nil {
			t.Errorf("%s is read", text)
			continue
		}
		now := time.Now()
		r.Tick(now, true) // begun anew
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if _, err := OpenReady(home); err != nil {
			t.Errorf("%s: not begun anew: %v", text, err)
		}
	}
}

func FuzzParseReady(f *testing.F) {
	f.Add([]byte(`{"hours":{"494000":3600},"first":1,"stays":[5,6,7,8,9],"since":4,"seen":9}`))
	f.Add([]byte(`{"hours":{"494000":3600}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		read, err := parseReady(data)
		for _, s := range read.Hours {
			if err != nil || s < 0 || s > 3600 {
				t.Fatalf("%d seconds in an hour, %v", s, err)
			}
		}
		r := Ready{hours: read.Hours, first: read.First, stays: read.Stays, since: read.Since, seen: read.Seen}
		if share, stays := r.Share(time.Unix(1e9, 0)), r.Stays(); share < 0 || share > 1000 || stays < 0 {
			t.Fatalf("ready for %d of 1000 and %v at a time", share, stays)
		}
	})
}
