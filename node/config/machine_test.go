package config

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// TestAbsurd refuses what nobody can mean, each with what is allowed.
func TestAbsurd(t *testing.T) {
	s := open(t, t.TempDir())
	s.Bound(Machine{Cores: 4, Memory: 8 << 30, Disk: 100 << 30, VRAM: 6 << 30})
	for _, c := range []struct{ key, value, want string }{
		{"work.cpu", "0", "1 to 100"},
		{"work.cpu", "-5", "1 to 100"},
		{"work.cpu", "101", "1 to 100"},
		{"work.slots", "0", "1 to 256"},
		{"work.cores", "5", "1 to 4, for it has 4 processors"},
		{"inUse.cores", "0", "1 to 1024"},
		{"work.memory", "9GiB", "64MiB to 8192MiB, for it has 8192MiB of memory"},
		{"inUse.memory", "1TiB", "for it has 8192MiB of memory"},
		{"work.memory", "0", "64MiB to 16TiB"},
		{"work.scratch", "1TiB", "of disk"},
		{"work.vram", "7GiB", "of graphics memory"},
		{"work.io", "0", "64KiB/s or more, or unlimited"},
		{"work.io", "1B", "64KiB/s or more, or unlimited"},
		{"work.up", "-1", "64KiB/s or more, or unlimited"},
		{"work.down", "fast", "64KiB/s or more, or unlimited"},
		{"work.hours", "mon 10:00-10:00", "mon-fri 22:00-07:00"},
		{"work.hours", "mon 10:00-20:00,not daily 00:00-24:00", "no minute of the week"},
		{"work.priority", "me", "balanced, mine-first, community-first"},
		{"work.mine", "ann", "52 letters"},
		{"work.goalHours", "200", "0 to 168"},
		{"pause.idleAfter", "0", "1s to 24h"},
		{"pause.idleAfter", "48h", "1s to 24h"},
		{"pause.idleAfter", "-1m", "1s to 24h"},
		{"pause.hot", "20", "40 to 110"},
		{"pause.programs", "/usr/bin/vlc", "without its folder"},
		{"stop.stale", "10s", "1m or more, or never"},
		{"stop.stewards", strings.Repeat("a", 52), "lower it or name more"},
	} {
		var bad *Error
		if _, err := s.Set(map[string]string{c.key: c.value}); !errors.As(err, &bad) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s = %s: got %v, want something about %q", c.key, c.value, err, c.want)
		}
	}
	for key, value := range map[string]string{
		"work.cpu": "50", "work.cores": "4", "work.memory": "8GiB", "work.io": "10MB/s", "work.up": "unlimited", "work.goalHours": "0",
		"work.hours": "mon-fri 22:00-07:00,sat+sun 00:00-24:00", "pause.idleAfter": "90s", "stop.stale": "never", "pause.programs": "vlc,Game Name.exe",
	} {
		if _, err := s.Set(map[string]string{key: value}); err != nil {
			t.Errorf("%s = %s: %v", key, value, err)
		}
		if _, err := s.Undo(); err != nil && !errors.Is(err, ErrNoHistory) {
			t.Errorf("undo of %s: %v", key, err)
		}
	}
}

func TestRatesAndSpans(t *testing.T) {
	for in, want := range map[string]Rate{"10MB/s": 10e6, "512KiB": 512 << 10, "unlimited": Unlimited, "1": 1} {
		if got, err := ParseRate(in); err != nil || got != want {
			t.Errorf("%q: got %v, %v", in, got, err)
		}
	}
	for in, want := range map[string]Span{"90s": Span(90 * time.Second), "1h 30m": Span(90 * time.Minute), "never": Never} {
		got, err := ParseSpan(in)
		if err != nil || got != want {
			t.Errorf("%q: got %v, %v", in, got, err)
		}
		if again, err := ParseSpan(got.String()); err != nil || again != got {
			t.Errorf("%q writes itself as %q", in, got)
		}
	}
	if Unlimited.Bytes() != 0 || Rate(7).Bytes() != 7 {
		t.Error("unlimited is no ceiling, and 7 is one")
	}
}

func FuzzParseRate(f *testing.F) {
	f.Add("10MB/s")
	f.Fuzz(func(t *testing.T, in string) {
		r, err := ParseRate(in)
		if err != nil {
			return
		}
		if again, err := ParseRate(r.String()); err != nil || again != r {
			t.Fatalf("%q: %d writes itself as %q, read as %d, %v", in, r, r.String(), again, err)
		}
	})
}

func FuzzParseSpan(f *testing.F) {
	f.Add("1h30m")
	f.Fuzz(func(t *testing.T, in string) {
		d, err := ParseSpan(in)
		if err != nil {
			return
		}
		if again, err := ParseSpan(d.String()); err != nil || again != d {
			t.Fatalf("%q: %d writes itself as %q, read as %d, %v", in, d, d.String(), again, err)
		}
	})
}
