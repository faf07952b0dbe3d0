package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kith/bench"
	"kith/node/grading"
)

func TestBenchBadInput(t *testing.T) {
	home := t.TempDir()
	for _, tt := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"a part that does not exist", []string{"bench", "floppy"}, exitUsage, "there are gpu, cpu, memory, drive, network, uptime, thermal"},
		{"an empty part", []string{"bench", "cpu,,memory"}, exitUsage, "no such part"},
		{"an unknown flag", []string{"bench", "--fast"}, exitUsage, "unknown flag"},
	} {
		code, out, errs := try(t, home, tt.args...)
		if code != tt.code || !strings.Contains(errs, tt.want) || out != "" {
			t.Errorf("%s: exit %d, %q, %q", tt.name, code, out, errs)
		}
	}
}

func TestBenchShowsWhatIsKnown(t *testing.T) {
	home := t.TempDir()
	code, out, _ := try(t, home, "bench", "--show")
	if code != exitOK || !strings.Contains(out, "ungraded: never measured") {
		t.Fatalf("exit %d, %q", code, out)
	}
	p := bench.Profile{Version: bench.ProfileVersion, Hardware: "x", Notes: []string{"busy\x1b[31m"}}
	for _, part := range []bench.Part{bench.CPU, bench.Memory} {
		d := bench.Device{Part: part, Name: string(part)}
		for _, s := range bench.Scales() {
			if s.Part == part {
				d.Measurements = append(d.Measurements, bench.Begin(s.Name, s.Unit, "test").Value(s.Fifty))
			}
		}
		p.Devices = append(p.Devices, d)
	}
	for at := range 2 { // the second time with something to compare
		p.Devices[0].Measurements[0].Value *= 1.1
		p.Devices[0].Measurements[0].At = int64(at + 1)
		p.At = int64(at + 1)
		if _, _, err := grading.Keep(home, p, []bench.Part{bench.CPU, bench.Memory}); err != nil {
			t.Fatal(err)
		}
		p.Devices = append([]bench.Device(nil), p.Devices...)
		ms := append([]bench.Measurement(nil), p.Devices[0].Measurements...)
		p.Devices[0].Measurements = ms
	}
	code, out, _ = try(t, home, "bench", "--show")
	for _, want := range []string{"score", "class cpu", "+10.0 %", "ungraded: not measured yet", "█", "busy·[31m"} {
		if code != exitOK || !strings.Contains(out, want) {
			t.Errorf("exit %d, no %q in %s", code, want, out)
		}
	}
	code, out, _ = try(t, home, "--json", "bench", "--show")
	var r grading.Report
	if err := json.Unmarshal([]byte(out), &r); code != exitOK || err != nil || r.Grade.Band == 0 || len(r.Scales) == 0 || r.Before == nil {
		t.Errorf("exit %d, %v, %+v", code, err, r.Grade)
	}
	if err := os.WriteFile(filepath.Join(home, "bench", "profile.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, errs := try(t, home, "bench", "--show")
	if code != exitOK || !strings.Contains(out, "never measured") || !strings.Contains(errs, "cannot be read") {
		t.Errorf("a damaged file: exit %d, %q, %q", code, out, errs)
	}
}

func TestBenchPublishesItsFormula(t *testing.T) {
	code, out, _ := try(t, t.TempDir(), "bench", "--scales")
	for _, want := range []string{"score = Σ weight", "fp64.multi", "Threadripper", "penalties"} {
		if code != exitOK || !strings.Contains(out, want) {
			t.Errorf("exit %d, no %q in %s", code, want, out)
		}
	}
	code, out, _ = try(t, t.TempDir(), "bench", "--classes")
	if code != exitOK || !strings.Contains(out, "GTX 1660 Super") || !strings.Contains(out, "etl.dedup") {
		t.Errorf("exit %d, %s", code, out)
	}
}

func TestValuesForPeople(t *testing.T) {
	for _, tt := range []struct {
		v    float64
		u    bench.Unit
		want string
	}{
		{1.27e11, bench.FLOPS, "127 GFLOP/s"},
		{3.98e9, bench.ByteRate, "3.98 GB/s"},
		{39_081, bench.PerSecond, "39.1 k/s"},
		{1.65e-4, bench.Seconds, "165 µs"},
		{0, bench.Seconds, "0 s"},
		{0.5, bench.Ratio, "50.0 %"},
		{-5, bench.Celsius, "-5 °C"},
		{999.9, bench.Hertz, "1 kHz"},
		{3, bench.Count, "3"},
	} {
		if got := valueText(tt.v, tt.u); got != tt.want {
			t.Errorf("%v %s: %q, want %q", tt.v, tt.u, got, tt.want)
		}
	}
	if got := bar(150, 4) + bar(-3, 4) + bar(50, 4); got != "████░░░░██░░" {
		t.Errorf("bars: %q", got)
	}
}

func TestBenchOfARunningNode(t *testing.T) {
	_, n, _ := world(t, 1)
	var r grading.Report
	if err := json.Unmarshal([]byte(must(t, n, "bench", "memory,network", "uptime", "--json")), &r); err != nil {
		t.Fatal(err)
	}
	for _, part := range []bench.Part{bench.Memory, bench.Network, bench.Uptime} {
		list := r.Profile.Of(part)
		if len(list) != 1 || len(list[0].Measurements) == 0 {
			t.Errorf("%s: %+v", part, list)
			continue
		}
		for _, m := range list[0].Measurements {
			if m.Graded() == (m.Ungraded != "") || m.At == 0 {
				t.Errorf("%s: %+v", part, m)
			}
		}
	}
	if r.Grade.Ungraded == "" || r.Grade.Band != 0 {
		t.Errorf("without the processor the grade is %+v", r.Grade)
	}
	// What was measured is kept, and shown again with nothing measured.
	var again grading.Report
	if err := json.Unmarshal([]byte(must(t, n, "bench", "--show", "--json")), &again); err != nil || again.Profile.At != r.Profile.At {
		t.Errorf("shown again: %v, %+v", err, again.Profile)
	}
	if out := must(t, n, "status"); !strings.Contains(out, "ungraded: cpu") {
		t.Errorf("the status does not tell the grade: %s", out)
	}
	must(t, n, "kill")
	exits(t, n, exitRefused, "kith resume", "bench", "memory")
}
