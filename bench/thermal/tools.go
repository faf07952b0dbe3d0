package thermal

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"
)

// parsePmset reads what macOS's pmset -g therm prints: the share of its speed that the system allows the processor, in
// percent. Without a line about it the system has not limited anything.
func parsePmset(out string) (Reading, error) {
	r := Reading{Throttles: -1, Limit: -1}
	for line := range strings.Lines(out) {
		key, value, ok := strings.Cut(line, "=")
		switch {
		case ok && strings.TrimSpace(key) == "CPU_Speed_Limit":
			n, err := strconv.Atoi(strings.TrimSpace(value))
			if err != nil || n < 0 || n > 100 {
				return r, errors.New("pmset told a speed limit that cannot be")
			}
			r.Limit = float64(n) / 100
		case strings.Contains(line, "No performance warning level has been recorded"), strings.Contains(line, "No thermal warning level has been recorded"):
			if r.Limit < 0 {
				r.Limit = 1
			}
		}
	}
	if r.Limit < 0 {
		return r, ErrNoSensor
	}
	return r, nil
}

// zoneInfo is one row of Windows' counters of thermal zones: tenths of kelvin and percent of full speed.
type zoneInfo struct {
	Name                     string
	HighPrecisionTemperature float64
	PercentPassiveLimit      float64
}

// parseZones reads what Windows' PowerShell prints of the counters of thermal zones, as JSON: one object or a list.
func parseZones(out []byte) (Reading, error) {
	r := Reading{Throttles: -1, Limit: -1}
	var list []zoneInfo
	if err := json.Unmarshal(out, &list); err != nil {
		var one zoneInfo
		if json.Unmarshal(out, &one) != nil {
			return r, ErrNoSensor
		}
		list = []zoneInfo{one}
	}
	for _, z := range list {
		c := z.HighPrecisionTemperature/10 - 273.15
		if z.HighPrecisionTemperature <= 0 || !plausible(c) {
			continue
		}
		if r.Sensor == "" || c > r.TempC {
			r.TempC, r.Sensor = c, clip(z.Name)
		}
		if p := z.PercentPassiveLimit; p > 0 && p <= 100 && (r.Limit < 0 || p/100 < r.Limit) {
			r.Limit = p / 100
		}
	}
	if r.Sensor == "" {
		return r, ErrNoSensor
	}
	return r, nil
}

func clip(s string) string {
	const most = 80
	s = strings.ToValidUTF8(s, "?")
	if s == "" {
		return "thermal zone"
	}
	return strings.ToValidUTF8(s[:min(len(s), most)], "")
}
