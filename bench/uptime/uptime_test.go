package uptime

import (
	"errors"
	"math"
	"testing"
	"time"

	"kith/bench"
)

var now = time.UnixMilli(1_790_000_000_000)

func ago(d time.Duration) int64 { return now.Add(-d).UnixMilli() }

func TestDevice(t *testing.T) {
	const hour, day = time.Hour, 24 * time.Hour
	tests := []struct {
		name              string
		log               Log
		share             float64 // −1: ungraded
		crashes, restarts float64
	}{
		{"never ran", Log{}, 0, 0, 0},
		{"just started", Log{First: ago(time.Minute), Spans: []Span{{Start: ago(time.Minute), Alive: ago(time.Minute)}}}, -1, 0, 0},
		{"always on", Log{First: ago(60 * day), Spans: []Span{{Start: ago(59 * day), Alive: ago(time.Minute)}}}, 1, 0, 0},
		{"half of two days, then a power cut, now on for an hour", Log{First: ago(48 * hour), Spans: []Span{{Start: ago(48 * hour), Alive: ago(25 * hour)}, {Start: ago(hour), Alive: ago(0)}}}, 0.5, 1, 1},
		{"clean restart", Log{First: ago(10 * hour), Spans: []Span{{Start: ago(10 * hour), Alive: ago(5 * hour), Clean: true}, {Start: ago(5 * hour), Alive: ago(0)}}}, 1, 0, 1},
		{"an old crash does not count", Log{First: ago(20 * day), Spans: []Span{{Start: ago(20 * day), Alive: ago(10 * day)}, {Start: ago(10 * day), Alive: ago(0)}}}, 1, 0, 0},
	}
	for _, tt := range tests {
		d := tt.log.Device(now, true)
		m, _ := d.Get(bench.Availability)
		if tt.share < 0 && m.Graded() || tt.share >= 0 && (!m.Graded() || math.Abs(m.Value-tt.share) > 1e-6) {
			t.Errorf("%s: %+v, want %v", tt.name, m, tt.share)
		}
		c, _ := d.Get(bench.Crashes)
		r, _ := d.Get("restarts")
		if c.Value != tt.crashes || r.Value != tt.restarts {
			t.Errorf("%s: %v crashes and %v restarts, want %v and %v", tt.name, c.Value, r.Value, tt.crashes, tt.restarts)
		}
	}
}

func TestLife(t *testing.T) {
	var l Log
	l.Begin(now.Add(-10 * time.Hour))
	l.Alive(now.Add(-6 * time.Hour)) // then the power fails
	data, err := l.Text()
	if err != nil {
		t.Fatal(err)
	}
	l, err = Parse(data, now.Add(-5*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	l.Begin(now.Add(-5 * time.Hour))
	l.End(now.Add(-time.Hour))
	l.Begin(now)
	d := l.Device(now, true)
	m, _ := d.Get(bench.Availability)
	c, _ := d.Get(bench.Crashes)
	if math.Abs(m.Value-0.8) > 1e-6 || c.Value != 1 {
		t.Errorf("available %v with %v crashes, want 0.8 and 1", m.Value, c.Value)
	}
}

func TestKilledAndNotStartedAgain(t *testing.T) {
	l := Log{First: ago(10 * time.Hour), Spans: []Span{{Start: ago(10 * time.Hour), Alive: ago(5 * time.Hour)}}}
	d := l.Device(now, false)
	m, _ := d.Get(bench.Availability)
	c, _ := d.Get(bench.Crashes)
	r, _ := d.Get("restarts")
	if math.Abs(m.Value-0.5) > 1e-6 || c.Value != 1 || r.Value != 0 {
		t.Errorf("available %v, %v crashes, %v restarts; want 0.5, 1 and 0", m.Value, c.Value, r.Value)
	}
}

func TestClockSetBack(t *testing.T) {
	var l Log
	l.Begin(now.Add(24 * time.Hour))
	l.Alive(now.Add(25 * time.Hour))
	l.Begin(now)
	d := l.Device(now.Add(time.Hour), true)
	if m, _ := d.Get(bench.Availability); m.Graded() && (m.Value < 0 || m.Value > 1) {
		t.Errorf("got %+v", m)
	}
	data, err := l.Text()
	if err != nil {
		t.Fatal(err)
	}
	if again, err := Parse(data, now); err != nil || len(again.Spans) == 0 {
		t.Errorf("after the clock went back: %+v, %v", again, err)
	}
}

func TestDamagedLog(t *testing.T) {
	for _, data := range []string{"", "{", "[]", `{"spans": 5}`} {
		if _, err := Parse([]byte(data), now); !errors.Is(err, ErrDamaged) {
			t.Errorf("%q: %v", data, err)
		}
	}
	if _, err := Parse(make([]byte, maxFile+1), now); !errors.Is(err, ErrDamaged) {
		t.Errorf("too long: %v", err)
	}
}

func TestLogStaysSmall(t *testing.T) {
	var l Log
	for i := range 3 * maxSpans {
		l.Begin(now.Add(time.Duration(i) * time.Second))
	}
	if len(l.Spans) > maxSpans {
		t.Errorf("%d spans", len(l.Spans))
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"first":1,"spans":[{"start":1,"alive":2,"clean":true}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := Parse(data, now)
		if err != nil {
			return
		}
		l.Begin(now)
		for _, m := range l.Device(now.Add(time.Hour), true).Measurements {
			if m.Graded() && (m.Value < 0 || math.IsNaN(m.Value) || m.Name == bench.Availability && m.Value > 1) {
				t.Errorf("%+v", m)
			}
		}
	})
}
