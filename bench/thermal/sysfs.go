package thermal

import (
	"io/fs"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Sensors of processors by the name of their driver, best first.
var processorSensors = []string{"coretemp", "k10temp", "zenpower", "cpu_thermal", "soc_thermal", "apple_soc", "scpi_sensors"}

// parseSystem reads Linux's sensors below root: hwmon, and thermal zones where hwmon has none of a processor.
func parseSystem(root fs.FS) (Reading, error) {
	r := Reading{Throttles: throttles(root), Limit: -1}
	best := len(processorSensors)
	entries, _ := fs.ReadDir(root, "sys/class/hwmon") // none: a virtual machine
	for _, e := range entries {
		dir := path.Join("sys/class/hwmon", e.Name())
		rank := slices.Index(processorSensors, text(root, dir+"/name"))
		if rank < 0 || rank > best {
			continue
		}
		if rank < best {
			best, r.TempC, r.CritC, r.Sensor = rank, 0, 0, ""
		}
		for i := 1; i <= 128; i++ {
			at := dir + "/temp" + strconv.Itoa(i)
			raw := text(root, at+"_input")
			if raw == "" {
				if i > 32 {
					break
				}
				continue
			}
			if t, ok := milli(raw); ok && (r.Sensor == "" || t > r.TempC) {
				r.TempC, r.Sensor = t, processorSensors[rank]
				r.CritC = 0
				for _, name := range []string{"_crit", "_max"} {
					if c, ok := milli(text(root, at+name)); ok && c > 30 {
						r.CritC = c
						break
					}
				}
			}
		}
	}
	if r.Sensor == "" {
		zones(root, &r)
	}
	if r.Sensor == "" && r.Throttles < 0 {
		return r, ErrNoSensor
	}
	return r, nil
}

// zones reads the thermal zones of a processor, or else the hottest of all.
func zones(root fs.FS, r *Reading) {
	entries, _ := fs.ReadDir(root, "sys/class/thermal") // none: a virtual machine
	found := false
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), "thermal_zone") {
			continue
		}
		dir := path.Join("sys/class/thermal", e.Name())
		kind := strings.ToLower(text(root, dir+"/type"))
		t, ok := milli(text(root, dir+"/temp"))
		if !ok {
			continue
		}
		ours := strings.Contains(kind, "cpu") || strings.Contains(kind, "x86_pkg") || strings.Contains(kind, "soc")
		if found && !ours || found == ours && r.Sensor != "" && t <= r.TempC {
			continue
		}
		found = found || ours
		r.TempC, r.Sensor, r.CritC = t, kind, 0
		for i := range 16 {
			trip := dir + "/trip_point_" + strconv.Itoa(i)
			if k := text(root, trip+"_type"); k == "critical" || k == "hot" {
				if c, ok := milli(text(root, trip+"_temp")); ok && c > 30 && (r.CritC == 0 || c < r.CritC) {
					r.CritC = c
				}
			}
		}
	}
}

// throttles sums how often the cores slowed down for heat, −1 if none tells.
func throttles(root fs.FS) int64 {
	const dir = "sys/devices/system/cpu"
	entries, _ := fs.ReadDir(root, dir) // none: a container
	sum, told := int64(0), false
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), "cpu") {
			continue
		}
		for _, name := range []string{"core_throttle_count", "package_throttle_count"} {
			n, err := strconv.ParseInt(text(root, path.Join(dir, e.Name(), "thermal_throttle", name)), 10, 64)
			if err == nil && n >= 0 && n < 1<<40 {
				sum, told = sum+n, true
			}
		}
	}
	if !told {
		return -1
	}
	return sum
}

// milli reads thousandths of a degree. What no processor has is no reading.
func milli(s string) (float64, bool) {
	v, err := strconv.ParseFloat(s, 64)
	v /= 1000
	return v, err == nil && plausible(v)
}

// plausible refuses what broken sensors say: not a number, below freezing far out, or hotter than silicon.
func plausible(c float64) bool { return !math.IsNaN(c) && c > -40 && c < 150 && c != 0 }

func text(root fs.FS, name string) string {
	f, err := root.Open(name)
	if err != nil {
		return ""
	}
	defer f.Close()
	var b [256]byte
	n, _ := f.Read(b[:]) // a sensor that fails to read says nothing
	return strings.TrimSpace(string(b[:n]))
}
