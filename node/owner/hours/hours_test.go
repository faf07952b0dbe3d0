package hours

import (
	"errors"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		name string
		list []string
		open []string // times of the week that must be open
		shut []string
	}{
		{"always", nil, []string{"mon 00:00", "sun 23:59"}, nil},
		{"nights", []string{"mon-fri 22:00-07:00"}, []string{"mon 22:00", "tue 06:59", "sat 03:00"}, []string{"mon 06:00", "mon 21:59", "tue 07:00", "sat 22:00", "sun 03:00"}},
		{"over the end of the week", []string{"sun 23:00-01:00"}, []string{"sun 23:30", "mon 00:59"}, []string{"mon 01:00", "sun 22:59"}},
		{"days joined", []string{"sat+sun 00:00-24:00"}, []string{"sat 00:00", "sun 23:59"}, []string{"mon 00:00", "fri 23:59"}},
		{"days round the week", []string{"fri-mon 10:00-11:00"}, []string{"fri 10:00", "sun 10:59", "mon 10:00"}, []string{"tue 10:00", "thu 10:30"}},
		{"several", []string{"mon-fri 22:00-07:00", "SAT+sun 00:00-24:00"}, []string{"sat 12:00", "wed 23:00"}, []string{"wed 12:00"}},
		{"an exception", []string{"daily 08:00-20:00", "not wed 12:00-13:00"}, []string{"wed 11:59", "wed 13:00", "tue 12:30"}, []string{"wed 12:00", "wed 12:59"}},
		{"exceptions alone", []string{"not mon-fri 09:00-17:00"}, []string{"mon 08:59", "sat 12:00"}, []string{"fri 16:59"}},
		{"one digit", []string{"tue 7:00-8:05"}, []string{"tue 08:04"}, []string{"tue 08:05"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, err := Parse(c.list)
			if err != nil {
				t.Fatal(err)
			}
			for want, list := range map[bool][]string{true: c.open, false: c.shut} {
				for _, text := range list {
					if got := w.Open(at(t, text)); got != want {
						t.Errorf("%s: %v, want %v", text, got, want)
					}
				}
			}
		})
	}
}

// at is a moment in a week of 2026.
func at(t *testing.T, text string) time.Time {
	t.Helper()
	m, ok := clock(text[4:])
	if !ok || index(text[:3]) < 0 {
		t.Fatal(text)
	}
	return time.Date(2026, 6, 1+index(text[:3]), m/60, m%60, 0, 0, time.UTC) // 1 June is a Monday
}

func TestRefused(t *testing.T) {
	for name, list := range map[string][]string{
		"nothing":              {""},
		"no times":             {"mon"},
		"no days":              {"22:00-07:00"},
		"unknown day":          {"moon 10:00-11:00"},
		"hour 25":              {"mon 25:00-26:00"},
		"minute 60":            {"mon 10:60-11:00"},
		"from 24:00":           {"mon 24:00-01:00"},
		"minus":                {"mon -1:00-02:00"},
		"no length":            {"mon 10:00-10:00"},
		"a day twice":          {"mon+mon 10:00-11:00"},
		"a day in its range":   {"mon-wed+tue 10:00-11:00"},
		"range of one":         {"mon-mon 10:00-11:00"},
		"the same twice":       {"mon 10:00-11:00", "mon 10:00-11:00"},
		"inside another":       {"mon 10:00-20:00", "mon 12:00-13:00"},
		"exception of nothing": {"mon 10:00-20:00", "not tue 10:00-20:00"},
		"nothing left":         {"mon 10:00-20:00", "not daily 00:00-24:00"},
		"never":                {"not daily 00:00-24:00"},
		"too much":             {"mon 10:00-20:00 11:00"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Parse(list); !errors.Is(err, ErrWindow) {
				t.Errorf("%q: %v", list, err)
			}
		})
	}
}

// TestSummerTime walks through the nights in which the clocks change: the wall clock alone counts, and a change that is
// foretold comes.
func TestSummerTime(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Skip(err)
	}
	w, err := Parse([]string{"daily 02:30-03:30"})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		from time.Time
		open time.Duration // of the night
	}{
		"an ordinary night":   {time.Date(2026, 6, 1, 0, 0, 0, 0, berlin), time.Hour},
		"an hour is skipped":  {time.Date(2026, 3, 29, 0, 0, 0, 0, berlin), 30 * time.Minute},
		"an hour comes twice": {time.Date(2026, 10, 25, 0, 0, 0, 0, berlin), 90 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			var open time.Duration
			for m := c.from; m.Before(c.from.Add(8 * time.Hour)); m = m.Add(time.Minute) {
				if w.Open(m) {
					open += time.Minute
				}
				next := w.Change(m)
				if next.IsZero() || w.Open(next) == w.Open(m) || w.Open(next.Add(-time.Minute)) != w.Open(m) {
					t.Fatalf("at %v the next change is said to be at %v", m, next)
				}
			}
			if open != c.open {
				t.Errorf("open for %v, want %v", open, c.open)
			}
		})
	}
}

func TestNeverChanges(t *testing.T) {
	for _, list := range [][]string{nil, {"daily 00:00-24:00"}} {
		w, err := Parse(list)
		if err != nil {
			t.Fatal(err)
		}
		if next := w.Change(time.Now()); !next.IsZero() {
			t.Errorf("%q changes at %v", list, next)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("mon-fri 22:00-07:00")
	f.Add("not sat+sun 00:00-24:00")
	f.Fuzz(func(t *testing.T, s string) {
		if w, err := Parse([]string{s}); err == nil {
			open := false
			for _, m := range w.open {
				open = open || m
			}
			if !open {
				t.Fatalf("%q was taken and is never", s)
			}
		}
	})
}
