// Package uptime keeps the log of a node's own life: when it ran, whether it ended in order, and what follows from that
// for whoever wants to rely on it. A node that notes every minute that it lives knows after a power cut, to a minute,
// when that was.
package uptime

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"kith/bench"
)

// Span is one run of the node.
type Span struct {
	Start int64 `json:"start"` // Unix milliseconds
	Alive int64 `json:"alive"` // last sign of life
	Clean bool  `json:"clean"` // it ended in order
}

// Log is the runs, oldest first. The zero Log is of a node that never ran.
type Log struct {
	First int64  `json:"first"` // when the node first ran at all
	Spans []Span `json:"spans"`
}

const (
	// Window is how far back availability looks.
	Window = 30 * 24 * time.Hour
	// Recent is how far back crashes count.
	Recent   = 7 * 24 * time.Hour
	maxSpans = 2000
	maxFile  = 1 << 20
	// enough is how long a log must be before it says anything.
	enough = 10 * time.Minute
)

// ErrDamaged: the log cannot be read. A new one begins.
var ErrDamaged = errors.New("the log of runs is damaged")

// Parse reads a log. Runs that cannot be (they end before they begin, or lie in the future of now) are dropped; a clock
// that was wrong for a while must not count for ever.
func Parse(data []byte, now time.Time) (Log, error) {
	var l Log
	if len(data) > maxFile {
		return Log{}, fmt.Errorf("%w: %d bytes", ErrDamaged, len(data))
	}
	if err := json.Unmarshal(data, &l); err != nil {
		return Log{}, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	latest := now.UnixMilli()
	var kept []Span
	last := int64(0)
	for _, s := range l.Spans {
		if s.Start < last || s.Alive < s.Start || s.Alive > latest {
			continue
		}
		kept = append(kept, s)
		last = s.Alive
	}
	l.Spans = kept
	if l.First <= 0 || l.First > latest {
		l.First = 0
		if len(kept) > 0 {
			l.First = kept[0].Start
		}
	}
	l.trim(now)
	return l, nil
}

// Text writes the log as Parse reads it.
func (l *Log) Text() ([]byte, error) { return json.Marshal(l) }

// Begin notes that the node starts.
func (l *Log) Begin(now time.Time) {
	at := now.UnixMilli()
	if l.First == 0 {
		l.First = at
	}
	if n := len(l.Spans); n > 0 && l.Spans[n-1].Alive > at { // the clock was set back
		l.Spans[n-1].Alive = max(l.Spans[n-1].Start, min(l.Spans[n-1].Alive, at))
	}
	l.Spans = append(l.Spans, Span{Start: at, Alive: at})
	l.trim(now)
}

// Alive notes that the node lives.
func (l *Log) Alive(now time.Time) {
	if n := len(l.Spans); n > 0 {
		l.Spans[n-1].Alive = max(l.Spans[n-1].Alive, now.UnixMilli())
	}
}

// End notes that the node ends in order.
func (l *Log) End(now time.Time) {
	l.Alive(now)
	if n := len(l.Spans); n > 0 {
		l.Spans[n-1].Clean = true
	}
}

func (l *Log) trim(now time.Time) {
	old := now.Add(-2 * Window).UnixMilli()
	drop := max(0, len(l.Spans)-maxSpans)
	for drop < len(l.Spans) && l.Spans[drop].Alive < old {
		drop++
	}
	l.Spans = append([]Span(nil), l.Spans[drop:]...)
}

// Device says what the log amounts to at a moment. alive tells that the last run goes on; else its end was as it says.
func (l *Log) Device(now time.Time, alive bool) bench.Device {
	d := bench.Device{Part: bench.Uptime, Name: "uptime", Measurements: []bench.Measurement{}}
	since := max(l.First, now.Add(-Window).UnixMilli())
	whole := now.UnixMilli() - since
	var ran int64
	var crashes, restarts int
	recent := now.Add(-Recent).UnixMilli()
	for i, s := range l.Spans {
		last := i == len(l.Spans)-1
		from, to := max(s.Start, since), s.Alive
		if last && alive {
			to = max(to, now.UnixMilli())
		}
		ran += max(0, to-from)
		if s.Alive < recent || last && alive {
			continue
		}
		if !last {
			restarts++
		}
		if !s.Clean {
			crashes++
		}
	}
	share := bench.Begin(bench.Availability, bench.Ratio, fmt.Sprintf("share of the last %d days", Window/(24*time.Hour)))
	if first := time.Duration(whole) * time.Millisecond; first < Window {
		share = share.Name("share of the time since the first start, " + first.Round(time.Minute).String() + " ago")
	}
	if time.Duration(whole)*time.Millisecond < enough {
		d.Measurements = append(d.Measurements, share.Fail(fmt.Errorf("known for less than %s", enough)))
	} else {
		m := share.Value(min(1, float64(ran)/float64(whole)))
		m.Confidence = min(1, float64(whole)/float64(Recent.Milliseconds())) // a week of it is trusted
		d.Measurements = append(d.Measurements, m)
	}
	d.Measurements = append(d.Measurements,
		bench.Begin(bench.Crashes, bench.Count, "ends without farewell in the last seven days").Value(float64(crashes)),
		bench.Begin("restarts", bench.Count, "in the last seven days").Value(float64(restarts)))
	return d
}
