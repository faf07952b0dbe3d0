package thermal

import (
	"context"
	"errors"
	"math"
	"testing"
	"testing/fstest"
	"time"

	"kith/bench"
)

func files(m map[string]string) fstest.MapFS {
	root := fstest.MapFS{}
	for name, value := range m {
		root[name] = &fstest.MapFile{Data: []byte(value + "\n")}
	}
	return root
}

const hwmon = "sys/class/hwmon/hwmon0"

func TestSensors(t *testing.T) {
	tests := []struct {
		name string
		root fstest.MapFS
		want Reading
		err  error
	}{
		{"desktop", files(map[string]string{
			hwmon + "/name": "k10temp", hwmon + "/temp1_input": "61500", hwmon + "/temp1_crit": "95000", hwmon + "/temp3_input": "58000",
			"sys/class/hwmon/hwmon1/name": "nvme", "sys/class/hwmon/hwmon1/temp1_input": "90000",
		}), Reading{TempC: 61.5, CritC: 95, Sensor: "k10temp", Throttles: -1, Limit: -1}, nil},
		{"Intel, with counts", files(map[string]string{
			hwmon + "/name": "coretemp", hwmon + "/temp1_input": "50000", hwmon + "/temp2_input": "70000", hwmon + "/temp2_max": "100000",
			"sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count": "3", "sys/devices/system/cpu/cpu1/thermal_throttle/core_throttle_count": "4",
		}), Reading{TempC: 70, CritC: 100, Sensor: "coretemp", Throttles: 7, Limit: -1}, nil},
		{"board computer", files(map[string]string{
			"sys/class/thermal/thermal_zone0/type": "gpu-thermal", "sys/class/thermal/thermal_zone0/temp": "80000",
			"sys/class/thermal/thermal_zone1/type": "cpu-thermal", "sys/class/thermal/thermal_zone1/temp": "48000",
			"sys/class/thermal/thermal_zone1/trip_point_0_type": "critical", "sys/class/thermal/thermal_zone1/trip_point_0_temp": "110000",
		}), Reading{TempC: 48, CritC: 110, Sensor: "cpu-thermal", Throttles: -1, Limit: -1}, nil},
		{"virtual machine", fstest.MapFS{"sys/class/thermal/cooling_device0/type": {Data: []byte("Processor")}}, Reading{Throttles: -1, Limit: -1}, ErrNoSensor},
		{"container without /sys", fstest.MapFS{}, Reading{Throttles: -1, Limit: -1}, ErrNoSensor},
		{"broken sensors", files(map[string]string{
			hwmon + "/name": "k10temp", hwmon + "/temp1_input": "-273150", hwmon + "/temp2_input": "NaN", hwmon + "/temp3_input": "2147483647", hwmon + "/temp4_input": "0",
		}), Reading{Throttles: -1, Limit: -1}, ErrNoSensor},
	}
	for _, tt := range tests {
		got, err := parseSystem(tt.root)
		if got != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("%s: %+v, %v, want %+v, %v", tt.name, got, err, tt.want, tt.err)
		}
	}
}

func TestTools(t *testing.T) {
	r, err := parsePmset("Note: No thermal warning level has been recorded\nNote: No performance warning level has been recorded\n\tCPU_Scheduler_Limit = 100\n\tCPU_Available_CPUs = 8\n\tCPU_Speed_Limit = 62\n")
	if err != nil || r.Limit != 0.62 {
		t.Errorf("pmset: %+v, %v", r, err)
	}
	if r, err := parsePmset("Note: No thermal warning level has been recorded\n"); err != nil || r.Limit != 1 {
		t.Errorf("a cool Mac: %+v, %v", r, err)
	}
	if _, err := parsePmset("CPU_Speed_Limit = -5\n"); err == nil {
		t.Error("a speed limit of −5 % was believed")
	}
	r, err = parseZones([]byte(`[{"Name":"\\_TZ.TZ00","HighPrecisionTemperature":3282,"PercentPassiveLimit":80},{"Name":"\\_TZ.TZ01","HighPrecisionTemperature":0,"PercentPassiveLimit":100}]`))
	if err != nil || math.Abs(r.TempC-55.05) > 1e-9 || r.Limit != 0.8 {
		t.Errorf("Windows: %+v, %v", r, err)
	}
	if _, err := parseZones(nil); !errors.Is(err, ErrNoSensor) {
		t.Errorf("Windows without counters: %v", err)
	}
}

// story reads one state after the other and stays with the last.
func story(list ...Reading) Reader {
	i := 0
	return func(context.Context) (Reading, error) {
		r := list[min(i, len(list)-1)]
		i++
		if r.Sensor == "" && r.Throttles < 0 && r.Limit < 0 {
			return r, ErrNoSensor
		}
		return r, nil
	}
}

func TestWatch(t *testing.T) {
	hz := func(v float64) bench.Measurement { return bench.Begin("clock", bench.Hertz, "").Value(v) }
	none := bench.Begin("clock", bench.Hertz, "").Fail(errors.New("none"))
	at := func(c float64, n int64) Reading {
		return Reading{TempC: c, CritC: 95, Sensor: "k10temp", Throttles: n, Limit: -1}
	}
	tests := []struct {
		name         string
		read         Reader
		single, load bench.Measurement
		risk         float64
		graded       bool
		throttling   bool
	}{
		{"cool", story(at(40, 0), at(60, 0)), hz(5e9), hz(4e9), 0, true, false},
		{"little room", story(at(40, 0), at(89, 0)), hz(5e9), hz(4e9), 0.6, true, true},
		{"it slowed down", story(at(40, 1), at(60, 1), at(60, 9)), hz(5e9), hz(4e9), 1, true, true},
		{"no sensor, steady clock", story(Reading{Throttles: -1, Limit: -1}), hz(3e9), hz(3e9), 0, true, false},
		{"no sensor, the clock fell", story(Reading{Throttles: -1, Limit: -1}), hz(4e9), hz(1e9), 1, true, true},
		{"nothing is known", story(Reading{Throttles: -1, Limit: -1}), none, none, 0, false, false},
	}
	for _, tt := range tests {
		w := Start(t.Context(), tt.read, time.Millisecond)
		for {
			w.mu.Lock()
			n := w.n
			w.mu.Unlock()
			if n > 0 || w.err != nil {
				break
			}
			time.Sleep(time.Millisecond)
		}
		d := w.Stop(t.Context(), tt.single, tt.load, 0)
		m, _ := d.Get(bench.ThrottleRisk)
		if math.Abs(m.Value-tt.risk) > 1e-9 || m.Graded() != tt.graded || d.Has(bench.FlagThrottling) != tt.throttling {
			t.Errorf("%s: %+v flags %v, want risk %v graded %v", tt.name, m, d.Flags, tt.risk, tt.graded)
		}
		if m, _ := d.Get("temperature.load"); m.Graded() != (w.err == nil) {
			t.Errorf("%s: %+v", tt.name, m)
		}
	}
}

func FuzzSensors(f *testing.F) {
	f.Add("k10temp", "61500", "95000", "cpu", "3")
	f.Fuzz(func(t *testing.T, name, input, crit, zone, count string) {
		r, err := parseSystem(files(map[string]string{
			hwmon + "/name": name, hwmon + "/temp1_input": input, hwmon + "/temp1_crit": crit, "sys/class/thermal/thermal_zone0/type": zone,
			"sys/class/thermal/thermal_zone0/temp": input, "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count": count,
		}))
		if err == nil && r.Sensor != "" && !plausible(r.TempC) || math.IsNaN(r.CritC) || r.Throttles < -1 {
			t.Errorf("%+v", r)
		}
	})
}

func FuzzTools(f *testing.F) {
	f.Add("CPU_Speed_Limit = 62\n", []byte(`{"Name":"x","HighPrecisionTemperature":3000,"PercentPassiveLimit":50}`))
	f.Fuzz(func(t *testing.T, pmset string, zones []byte) {
		if r, err := parsePmset(pmset); err == nil && (r.Limit < 0 || r.Limit > 1) {
			t.Errorf("%+v", r)
		}
		if r, err := parseZones(zones); err == nil && (!plausible(r.TempC) || r.Limit > 1) {
			t.Errorf("%+v", r)
		}
	})
}
