package config

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Switch is a setting that is on, off, or (zero) left at its default.
type Switch string

// The two positions of a switch.
const (
	On  Switch = "on"
	Off Switch = "off"
)

// Bool reports whether a filled switch is on.
func (s Switch) Bool() bool { return s == On }

// Ports says which port to take: "4717" that one and no other, "4717-4747" the first free one, "any" whatever the
// system gives.
type Ports string

const portsWords = "one port (4717), a range whose first free port is taken (4717-4747), or any; ports are 1 to 65535"

// Range returns the first and last port to try; 0, 0 means any.
func (p Ports) Range() (first, last int, err error) {
	if p == "any" || p == "0" {
		return 0, 0, nil
	}
	a, b, isRange := strings.Cut(string(p), "-")
	if !isRange {
		b = a
	}
	first, errA := strconv.Atoi(a)
	last, errB := strconv.Atoi(b)
	if errA != nil || errB != nil || first < 1 || last < first || last > math.MaxUint16 {
		return 0, 0, fmt.Errorf("%.40q is not a plan for ports: want %s", string(p), portsWords)
	}
	return first, last, nil
}

func (p Ports) overlaps(q Ports) bool {
	a, b, errP := p.Range()
	c, d, errQ := q.Range()
	return errP == nil && errQ == nil && a > 0 && c > 0 && a <= d && c <= b
}

// Size is a number of bytes, written "512MiB", "20GiB" or "1000000".
type Size int64

var units = []struct {
	name  string
	bytes float64
}{
	{"TiB", 1 << 40},
	{"GiB", 1 << 30},
	{"MiB", 1 << 20},
	{"KiB", 1 << 10},
	{"TB", 1e12},
	{"GB", 1e9},
	{"MB", 1e6},
	{"kB", 1e3},
	{"KB", 1e3},
	{"T", 1 << 40},
	{"G", 1 << 30},
	{"M", 1 << 20},
	{"K", 1 << 10},
	{"k", 1 << 10},
	{"B", 1},
}

// ParseSize reads "512MiB", "1.5G", "20GB" (powers of ten) or a plain number of bytes.
func ParseSize(s string) (Size, error) {
	number, factor := strings.TrimSpace(s), 1.0
	for _, u := range units {
		if rest, ok := strings.CutSuffix(number, u.name); ok {
			number, factor = strings.TrimSpace(rest), u.bytes
			break
		}
	}
	if n, err := strconv.ParseInt(number, 10, 64); err == nil && factor == 1 && n >= 0 {
		return Size(n), nil
	}
	x, err := strconv.ParseFloat(number, 64)
	if err != nil || !(x >= 0) || x*factor >= math.MaxInt64 || strings.ContainsAny(number, "xXpP_nN") {
		return 0, fmt.Errorf("%.40q is not a size: want a number of bytes, or one with a unit like 512MiB or 20GiB", s)
	}
	return Size(math.Round(x * factor)), nil
}

// String writes the size with the largest unit that keeps it whole.
func (s Size) String() string {
	for _, u := range units[:4] {
		if n := int64(u.bytes); s != 0 && int64(s)%n == 0 {
			return strconv.FormatInt(int64(s)/n, 10) + u.name
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

// MarshalJSON writes the text form.
func (s Size) MarshalJSON() ([]byte, error) { return json.Marshal(s.String()) }

// UnmarshalJSON reads the text form or a plain number.
func (s *Size) UnmarshalJSON(b []byte) error {
	text := string(b)
	if strings.HasPrefix(text, `"`) {
		if err := json.Unmarshal(b, &text); err != nil {
			return err
		}
	}
	v, err := ParseSize(text)
	if err != nil {
		return err
	}
	*s = v
	return nil
}

// Rate is a number of bytes a second, written "10MB/s", "512KiB" or "unlimited".
type Rate int64

// Unlimited is no ceiling on a rate.
const Unlimited Rate = math.MaxInt64

// ParseRate reads a size, with or without "/s" after it, or "unlimited".
func ParseRate(s string) (Rate, error) {
	s = strings.TrimSpace(s)
	if s == "unlimited" {
		return Unlimited, nil
	}
	n, err := ParseSize(strings.TrimSuffix(s, "/s"))
	if err != nil {
		return 0, fmt.Errorf("%.40q is not a rate: want a size each second like 10MB/s, or unlimited", s)
	}
	return Rate(n), nil
}

// String writes what ParseRate reads.
func (r Rate) String() string {
	switch r {
	case Unlimited:
		return "unlimited"
	case 0:
		return "0"
	}
	return Size(r).String() + "/s"
}

// Bytes is the ceiling in bytes a second, 0 if there is none.
func (r Rate) Bytes() int64 {
	if r == Unlimited {
		return 0
	}
	return int64(r)
}

// MarshalJSON writes the text form.
func (r Rate) MarshalJSON() ([]byte, error) { return json.Marshal(r.String()) }

// UnmarshalJSON reads the text form or a plain number.
func (r *Rate) UnmarshalJSON(b []byte) error { return unmarshalText(b, r, ParseRate) }

// Span is a length of time, written "90s", "5m", "1h30m" or "never".
type Span time.Duration

// Never is a span that does not end.
const Never Span = math.MaxInt64

// ParseSpan reads a length of time.
func ParseSpan(s string) (Span, error) {
	s = strings.TrimSpace(s)
	if s == "never" {
		return Never, nil
	}
	d, err := time.ParseDuration(strings.ReplaceAll(s, " ", ""))
	if err != nil || d < 0 {
		return 0, fmt.Errorf("%.40q is not a length of time: want one like 90s, 5m or 1h30m", s)
	}
	return Span(d), nil
}

// String writes what ParseSpan reads.
func (s Span) String() string {
	switch s {
	case Never:
		return "never"
	case 0:
		return "0"
	}
	text := time.Duration(s).String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// MarshalJSON writes the text form.
func (s Span) MarshalJSON() ([]byte, error) { return json.Marshal(s.String()) }

// UnmarshalJSON reads the text form.
func (s *Span) UnmarshalJSON(b []byte) error { return unmarshalText(b, s, ParseSpan) }

func unmarshalText[T any](b []byte, into *T, parse func(string) (T, error)) error {
	text := string(b)
	if strings.HasPrefix(text, `"`) {
		if err := json.Unmarshal(b, &text); err != nil {
			return err
		}
	}
	v, err := parse(text)
	if err != nil {
		return err
	}
	*into = v
	return nil
}
