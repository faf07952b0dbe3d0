//go:build !linux && !windows

package sensors

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"kith/node/owner"
)

// platform remembers what programs of the system said: asking them takes a moment.
type platform struct {
	input owner.Reading
	asked time.Time
}

// Close has nothing to let go of.
func (s *Set) Close() error { return nil }

// idle asks the registry of devices when the last input came, at most once a second.
func (s *Set) idle(ctx context.Context) owner.Reading {
	if p := &s.parts; time.Since(p.asked) >= time.Second {
		p.asked = time.Now()
		p.input = func() owner.Reading {
			out, err := s.o.Run(ctx, "ioreg", "-c", "IOHIDSystem", "-d", "4")
			if err != nil {
				return owner.Unknown("the system does not say")
			}
			return idleOf(out)
		}()
	} else if p.input.Known {
		r := p.input
		r.Value += time.Since(p.asked).Seconds()
		return r
	}
	return s.parts.input
}

// idleOf reads the line "HIDIdleTime" = nanoseconds.
func idleOf(out []byte) owner.Reading {
	_, rest, ok := bytes.Cut(out, []byte(`"HIDIdleTime" = `))
	line, _, _ := bytes.Cut(rest, []byte{'\n'})
	nanos, err := strconv.ParseFloat(strings.TrimSpace(string(line)), 64)
	if !ok || err != nil {
		return owner.Unknown("the system does not say")
	}
	return owner.Seen(nanos/1e9, 1e10, "says the system")
}

func (s *Set) battery(ctx context.Context) owner.Reading {
	out, err := s.o.Run(ctx, "pmset", "-g", "batt")
	switch text := string(out); {
	case err != nil:
		return owner.Unknown("the system does not say")
	case strings.Contains(text, "'Battery Power'"):
		return owner.YesNo(true, "on battery")
	case strings.Contains(text, "'AC Power'"):
		return owner.YesNo(false, "on mains power")
	}
	return owner.Unknown("the system does not know")
}

func (s *Set) running(ctx context.Context) (map[string]bool, error) {
	out, err := s.o.Run(ctx, "ps", "-axo", "comm=")
	if err != nil {
		return nil, errors.New("the running programs cannot be listed")
	}
	names := map[string]bool{}
	for line := range strings.Lines(string(out)) {
		names[plainName(filepath.Base(strings.TrimSpace(line)))] = true
	}
	return names, nil
}

func (s *Set) fullScreen(context.Context) owner.Reading {
	return owner.Unknown("this system does not tell programs what fills the screen")
}

func (s *Set) metered(context.Context) owner.Reading {
	return owner.Unknown("this system does not tell what the network costs")
}

func (s *Set) heat(context.Context) owner.Reading {
	return owner.Unknown("this system shows no temperature to programs without rights")
}

func (s *Set) foreign(context.Context) owner.Reading {
	return owner.Unknown("processor time of others is not counted here")
}

func (s *Set) pressure(context.Context) owner.Reading {
	return owner.Unknown("this system does not tell who waits")
}
