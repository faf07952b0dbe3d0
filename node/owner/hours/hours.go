// Package hours reads the hours of the week in which work may run, as people write them: "mon-fri 22:00-07:00",
// "sat+sun 00:00-24:00", and exceptions as "not wed 12:00-13:00". It is pure: time comes as a value, and only what a
// clock on the wall shows counts, so that a change to or from summer time moves nothing.
package hours

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Words say what a window looks like.
const Words = "days and times like mon-fri 22:00-07:00, sat+sun 00:00-24:00, daily 20:00-08:00, or an exception: not wed 12:00-13:00"

// ErrWindow: a text is no window, or windows contradict one another.
var ErrWindow = errors.New("not a window of hours")

const (
	day  = 24 * 60 // minutes
	week = 7 * day
)

// Week is when work may run. The zero value is always.
type Week struct {
	limited bool
	open    [week]bool // by minute, from Monday 0:00
}

var names = []string{"mon", "tue", "wed", "thu", "fri", "sat", "sun"}

// window is one line: the minutes of a week that it covers.
type window struct {
	text    string
	not     bool
	minutes [week]bool
}

// Parse reads windows. Work may run in any of them, but in no exception; without windows it may run always, but in
// the exceptions. Windows that mean nothing are refused: empty ones, ones that others cover whole, exceptions from nothing,
// and a week without an hour left.
func Parse(list []string) (Week, error) {
	var all []window
	positive := false
	for _, text := range list {
		w, err := parse(text)
		if err != nil {
			return Week{}, err
		}
		positive = positive || !w.not
		all = append(all, w)
	}
	var out Week
	if len(all) == 0 {
		return out, nil
	}
	out.limited = true
	for m := range out.open {
		out.open[m] = !positive
	}
	for i := range all {
		if all[i].not {
			continue
		}
		fresh := false
		for m, in := range all[i].minutes {
			fresh = fresh || in && !out.open[m]
			out.open[m] = out.open[m] || in
		}
		if !fresh {
			return Week{}, fmt.Errorf("%w: %q adds nothing to the others", ErrWindow, all[i].text)
		}
	}
	left := false
	for i := range all {
		if !all[i].not {
			continue
		}
		cuts := false
		for m, in := range all[i].minutes {
			cuts = cuts || in && out.open[m]
			out.open[m] = out.open[m] && !in
		}
		if !cuts {
			return Week{}, fmt.Errorf("%w: %q takes away what no other gives", ErrWindow, all[i].text)
		}
	}
	for _, in := range out.open {
		left = left || in
	}
	if !left {
		return Week{}, fmt.Errorf("%w: together they leave no minute of the week", ErrWindow)
	}
	return out, nil
}

// parse reads one window.
func parse(text string) (window, error) {
	w := window{text: text}
	bad := func(why string) (window, error) { return w, fmt.Errorf("%w: %.60q %s", ErrWindow, text, why) }
	f := strings.Fields(strings.ToLower(text))
	if len(f) == 3 && f[0] == "not" {
		w.not, f = true, f[1:]
	}
	if len(f) != 2 {
		return bad("does not consist of days and times")
	}
	days, err := parseDays(f[0])
	if err != "" {
		return bad(err)
	}
	a, b, ok := strings.Cut(f[1], "-")
	from, okA := clock(a)
	to, okB := clock(b)
	if !ok || !okA || !okB || from == day {
		return bad("has no times like 22:00-07:00")
	}
	if from == to {
		return bad("begins and ends at the same time; the whole day is 00:00-24:00")
	}
	if to < from {
		to += day // into the next morning
	}
	for d, in := range days {
		for m := from; in && m < to; m++ {
			w.minutes[(d*day+m)%week] = true
		}
	}
	return w, nil
}

// parseDays reads "mon", "mon-fri", "fri-mon", "sat+sun" or "daily".
func parseDays(s string) (days [7]bool, problem string) {
	if s == "daily" {
		return [7]bool{true, true, true, true, true, true, true}, ""
	}
	for part := range strings.SplitSeq(s, "+") {
		a, b, isRange := strings.Cut(part, "-")
		if !isRange {
			b = a
		}
		first, last := index(a), index(b)
		if first < 0 || last < 0 {
			return days, "names no day; days are mon, tue, wed, thu, fri, sat, sun and daily"
		}
		if isRange && first == last {
			return days, "has a range of days that begins and ends with the same one"
		}
		for d := first; ; d = (d + 1) % 7 {
			if days[d] {
				return days, "names a day twice"
			}
			days[d] = true
			if d == last {
				break
			}
		}
	}
	return days, ""
}

func index(name string) int {
	for i, n := range names {
		if n == name {
			return i
		}
	}
	return -1
}

// clock reads "7:05" or "24:00" in minutes.
func clock(s string) (int, bool) {
	var h, m int
	a, b, ok := strings.Cut(s, ":")
	if !ok || len(b) != 2 || len(a) < 1 || len(a) > 2 || strings.Trim(a+b, "0123456789") != "" {
		return 0, false
	}
	if _, err := fmt.Sscanf(a+" "+b, "%d %d", &h, &m); err != nil {
		return 0, false
	}
	return h*60 + m, m < 60 && (h < 24 || h == 24 && m == 0)
}

// Open reports whether work may run at a time, by the clock of its location.
func (w *Week) Open(t time.Time) bool {
	if !w.limited {
		return true
	}
	d := (int(t.Weekday()) + 6) % 7
	return w.open[d*day+t.Hour()*60+t.Minute()]
}

// Change returns when Open next has another answer, by looking at every minute to come; zero if never.
func (w *Week) Change(t time.Time) time.Time {
	if !w.limited {
		return time.Time{}
	}
	now := w.Open(t)
	at := t.Truncate(time.Minute)
	for range week + day { // a week may be an hour longer than the other
		if at = at.Add(time.Minute); w.Open(at) != now {
			return at
		}
	}
	return time.Time{}
}
