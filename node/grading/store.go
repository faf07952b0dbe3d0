package grading

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"kith/bench"
	"kith/node/atomicfile"
)

// Files below the data folder.
const (
	folder      = "bench"
	profileFile = "profile.json"
	beforeFile  = "before.json"
	uptimeFile  = "uptime.json"
	maxFile     = 4 << 20 // bytes
)

// ErrDamaged: what was measured before cannot be read. It is measured again.
var ErrDamaged = errors.New("the last measurement cannot be read")

// Load reads what was measured last and the time before; nil for what there is not. A damaged file counts as not there
// and is told by ErrDamaged beside whatever could be read.
func Load(home string) (now, before *bench.Profile, err error) {
	now, err = load(filepath.Join(home, folder, profileFile))
	before, err2 := load(filepath.Join(home, folder, beforeFile))
	return now, before, errors.Join(err, err2)
}

func load(path string) (*bench.Profile, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // nothing was measured yet, which is no failure
	}
	if err == nil && info.Size() > maxFile {
		return nil, fmt.Errorf("%w: %s has %d bytes", ErrDamaged, path, info.Size())
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	p, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrDamaged, path, err)
	}
	return p, nil
}

// parse reads a profile and refuses values that no measurement has.
func parse(data []byte) (*bench.Profile, error) {
	var p bench.Profile
	if err := json.Unmarshal(data, &p); err != nil {
		return nil, err
	}
	if p.Version != bench.ProfileVersion {
		return nil, fmt.Errorf("version %d, want %d", p.Version, bench.ProfileVersion)
	}
	for _, d := range p.Devices {
		for _, m := range d.Measurements {
			if m.Value < 0 && m.Unit != bench.Celsius || m.Confidence < 0 || m.Confidence > 1 || !m.Graded() && m.Value != 0 {
				return nil, fmt.Errorf("%s of %s cannot be %v", m.Name, d.Name, m.Value)
			}
		}
	}
	return &p, nil
}

// Keep joins what was just measured with what is known of the other parts, keeps it and returns it with what it stands
// beside: the profile before.
func Keep(home string, measured bench.Profile, parts []bench.Part) (now, before *bench.Profile, err error) {
	last, _, err := Load(home)
	if err != nil && !errors.Is(err, ErrDamaged) {
		return nil, nil, err
	}
	now = &measured
	if last != nil && last.Hardware == measured.Hardware {
		before = last
		joined := *last
		joined.Devices = append([]bench.Device(nil), last.Devices...)
		joined.Replace(parts, keepCards(last, measured.Devices))
		joined.Program, joined.At, joined.TookMillis, joined.Mode, joined.Notes = measured.Program, measured.At, measured.TookMillis, measured.Mode, measured.Notes
		if measured.Kernels != "" {
			joined.Kernels = measured.Kernels
		}
		now = &joined
	}
	dir := filepath.Join(home, folder)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return now, before, fmt.Errorf("keep the measurement: %w", err)
	}
	if before != nil {
		if err := write(filepath.Join(dir, beforeFile), before); err != nil {
			return now, before, err
		}
	}
	return now, before, write(filepath.Join(dir, profileFile), now)
}

// keepCards keeps the older figures of a card, with their date, where a quick measurement had no time for its runtime to
// start: they are of the same card.
func keepCards(last *bench.Profile, devices []bench.Device) []bench.Device {
	for i := range devices {
		d := &devices[i]
		if d.Part != bench.GPU || d.Fact("uuid") == "" {
			continue
		}
		for _, old := range last.Of(bench.GPU) {
			if old.Fact("uuid") != d.Fact("uuid") || old.Fact("driver") != d.Fact("driver") {
				continue
			}
			for k, m := range d.Measurements {
				o, ok := old.Get(m.Name)
				if ok && o.Graded() && !m.Graded() && m.TookMillis >= budgets[bench.Quick][bench.GPU].limit.Milliseconds()-100 {
					d.Measurements[k] = o
				}
			}
			d.Class = bench.CardClass(d)
		}
	}
	return devices
}

func write(path string, p *bench.Profile) error {
	data, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("encode the measurement: %w", err)
	}
	return atomicfile.Write(path, append(data, '\n'), 0o600)
}

// Due says why this machine should be graded anew, or "".
func Due(p *bench.Profile, hardware string, every time.Duration, now time.Time) string {
	switch {
	case p == nil:
		return "it was never graded"
	case p.Hardware != hardware:
		return "its hardware has changed"
	case now.UnixMilli()-p.At > every.Milliseconds():
		return fmt.Sprintf("the last grade is of %s", time.UnixMilli(p.At).Format(time.DateOnly))
	case p.At > now.Add(time.Hour).UnixMilli():
		return "the last grade is from the future: the clock was wrong"
	}
	return ""
}
