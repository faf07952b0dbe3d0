package sensors

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"kith/node/owner"
)

// platform is what Linux sensors keep open.
type platform struct {
	bus     systemBus
	screens map[string]*screen // by display
}

// Close lets go of connections.
func (s *Set) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, x := range s.parts.screens {
		x.close()
	}
	s.parts.screens = nil
	return s.parts.bus.close()
}

func (s *Set) path(name string) string { return filepath.Join("/", s.o.Root, name) }

// idle is the time since the last input: of X displays, of the sessions that the login manager knows, of terminals.
func (s *Set) idle(ctx context.Context) owner.Reading {
	list := []owner.Reading{s.idleTerminals()}
	for _, d := range s.displays() {
		list = append(list, s.screen(d).idle())
	}
	return least(append(list, s.idleLogin(ctx))...)
}

// idleTerminals is the time since a key was last read from a terminal: the kernel notes it as the time of access, in
// steps of eight seconds.
func (s *Set) idleTerminals() owner.Reading {
	var names []string
	for _, pattern := range []string{"dev/tty[0-9]*", "dev/pts/[0-9]*"} {
		found, _ := filepath.Glob(s.path(pattern)) // the pattern is good
		names = append(names, found...)
	}
	now := time.Now()
	var newest time.Time
	for _, name := range names {
		if at, ok := accessed(name); ok && at.After(newest) && !at.After(now.Add(time.Minute)) {
			newest = at
		}
	}
	if newest.IsZero() {
		return owner.Unknown("no terminal")
	}
	return owner.Seen(max(0, now.Sub(newest).Seconds()), 1e10, "a terminal was last used at "+newest.Format("15:04:05"))
}

// idleLogin asks the login manager, which hears from graphical sessions.
func (s *Set) idleLogin(ctx context.Context) owner.Reading {
	const login, manager = "org.freedesktop.login1", "org.freedesktop.login1.Manager."
	due, cached := s.due["login"], s.parts.bus.login
	if now := time.Now(); now.Before(due) && due.Sub(now) <= time.Second {
		return aged(cached, s.parts.bus.asked)
	}
	s.due["login"], s.parts.bus.asked = time.Now().Add(time.Second), time.Now()
	r := func() owner.Reading {
		hint, err := s.property(ctx, login, "/org/freedesktop/login1", manager+"IdleHint")
		if err != nil {
			return owner.Unknown("the login manager does not answer")
		}
		// A session that nobody reports on is said to be busy for ever: only an idle one is news.
		if idle, ok := hint.(bool); !ok || !idle {
			return owner.Unknown("the login manager knows of no idle session")
		}
		since, err := s.property(ctx, login, "/org/freedesktop/login1", manager+"IdleSinceHint")
		micros, ok := since.(uint64)
		if err != nil || !ok || micros == 0 {
			return owner.Unknown("the login manager does not say since when")
		}
		return owner.Seen(max(0, time.Since(time.UnixMicro(int64(micros))).Seconds()), 1e10, "idle, says the login manager")
	}()
	s.parts.bus.login = r
	return r
}

// aged is a reading of idle time some time later.
func aged(r owner.Reading, at time.Time) owner.Reading {
	if r.Known {
		r.Value += time.Since(at).Seconds()
	}
	return r
}

// foreign is what others use of the processors.
func (s *Set) foreign(context.Context) owner.Reading {
	b, err := os.ReadFile(s.path("proc/stat"))
	if err != nil {
		return owner.Unknown("processor time is not counted here")
	}
	busy, all, err := parseStat(b)
	if err != nil {
		return owner.Unknown(err.Error())
	}
	return s.load.foreign(busy, all, s.o.Own().Seconds())
}

var errStat = errors.New("/proc/stat does not look as it should")

// parseStat reads the first line of /proc/stat: hundredths of seconds of user, nice, system, idle, iowait, irq, softirq and
// steal. Time that a host took away is nobody's.
func parseStat(b []byte) (busy, all float64, err error) {
	line, _, _ := bytes.Cut(b, []byte{'\n'})
	f := strings.Fields(string(line))
	if len(f) < 8 || f[0] != "cpu" {
		return 0, 0, errStat
	}
	for i, text := range f[1:8] {
		n, err := strconv.ParseUint(text, 10, 62)
		if err != nil {
			return 0, 0, errStat
		}
		all += float64(n) / 100
		if i != 3 && i != 4 {
			busy += float64(n) / 100
		}
	}
	return busy, all, nil
}

// pressure is the share of the last ten seconds in which something waited for a processor.
func (s *Set) pressure(context.Context) owner.Reading {
	b, err := os.ReadFile(s.path("proc/pressure/cpu"))
	if err != nil {
		return owner.Unknown("this kernel does not tell who waits")
	}
	_, rest, ok := bytes.Cut(b, []byte("some avg10="))
	text, _, _ := bytes.Cut(rest, []byte{' '})
	percent, err := strconv.ParseFloat(string(text), 64)
	if !ok || err != nil {
		return owner.Unknown("/proc/pressure/cpu does not look as it should")
	}
	return owner.Seen(percent/100, 1, "")
}

// battery looks at what feeds the computer: while some mains supply is on, nothing else matters.
func (s *Set) battery(context.Context) owner.Reading {
	dirs, _ := filepath.Glob(s.path("sys/class/power_supply/*"))
	batteries, discharging, charge := 0, 0, ""
	for _, dir := range dirs {
		switch kind := s.text(dir, "type"); {
		case kind == "Battery" && s.text(dir, "scope") != "Device": // not that of a mouse
			batteries++
			if s.text(dir, "status") == "Discharging" {
				discharging++
				charge = s.text(dir, "capacity")
			}
		case (kind == "Mains" || kind == "USB") && s.text(dir, "online") == "1":
			return owner.YesNo(false, "on mains power")
		}
	}
	switch {
	case batteries == 0:
		return owner.YesNo(false, "there is no battery")
	case discharging == 0:
		return owner.YesNo(false, "the battery is not in use")
	case charge != "":
		return owner.YesNo(true, "on battery, "+charge+" % left")
	default:
		return owner.YesNo(true, "on battery")
	}
}

func (s *Set) text(dir, name string) string {
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// heat is the hottest sensor that says something a computer can be.
func (s *Set) heat(context.Context) owner.Reading {
	hottest, odd := 0.0, 0
	for _, pattern := range []string{"sys/class/thermal/thermal_zone*/temp", "sys/class/hwmon/hwmon*/temp*_input"} {
		names, _ := filepath.Glob(s.path(pattern))
		for _, name := range names {
			milli, err := strconv.ParseFloat(s.text(filepath.Dir(name), filepath.Base(name)), 64)
			if c := milli / 1000; err != nil || !(c > 0) || c > 150 {
				odd++
			} else {
				hottest = max(hottest, c)
			}
		}
	}
	switch {
	case hottest > 0:
		return owner.Seen(hottest, 150, fmt.Sprintf("%.0f °C", hottest))
	case odd > 0:
		return owner.Unknown("the temperature sensors say nonsense")
	}
	return owner.Unknown("there is no temperature sensor")
}

// running lists the names of the programs that run.
func (s *Set) running(context.Context) (map[string]bool, error) {
	list, err := os.ReadDir(s.path("proc"))
	if err != nil {
		return nil, errors.New("the running programs cannot be listed")
	}
	out := map[string]bool{}
	for _, d := range list {
		if _, err := strconv.Atoi(d.Name()); err != nil {
			continue
		}
		dir := s.path(filepath.Join("proc", d.Name()))
		if name := s.text(dir, "comm"); name != "" {
			out[plainName(name)] = true
		}
		// The kernel cuts names at 15 bytes; the command line has all of it.
		b, err := os.ReadFile(filepath.Join(dir, "cmdline"))
		if first, _, _ := bytes.Cut(b, []byte{0}); err == nil && len(first) > 0 {
			out[plainName(filepath.Base(strings.ReplaceAll(string(first), `\`, "/")))] = true
		}
	}
	return out, nil
}

// metered asks NetworkManager.
func (s *Set) metered(ctx context.Context) owner.Reading {
	const service = "org.freedesktop.NetworkManager"
	v, err := s.property(ctx, service, "/org/freedesktop/NetworkManager", service+".Metered")
	if err != nil {
		return owner.Unknown("there is no NetworkManager to ask")
	}
	n, ok := v.(uint32)
	if !ok || n == 0 || n > 4 {
		return owner.Unknown("NetworkManager does not know")
	}
	// 1 yes, 2 no, 3 guessed yes, 4 guessed no
	return owner.YesNo(n == 1 || n == 3, "says NetworkManager")
}

// fullScreen asks the displays whether the window in front fills them.
func (s *Set) fullScreen(context.Context) owner.Reading {
	out := owner.Unknown("there is no screen that can be asked")
	for _, d := range s.displays() {
		if r := s.screen(d).full(); r.Known && (!out.Known || r.Value > out.Value) {
			out = r
		}
	}
	return out
}
