package grading

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"kith/bench"
	"kith/bench/disk"
	"kith/bench/gpu"
)

const role = "KITH_GRADING_TEST"

// TestMain makes the test binary its own child: an honest one, or one whose parts misbehave.
func TestMain(m *testing.M) {
	if len(os.Args) < 2 || os.Args[1] != "child" {
		os.Exit(m.Run())
	}
	switch os.Getenv(role) + " " + os.Args[2] {
	case "crash cpu":
		fmt.Fprintln(os.Stderr, "SIGILL: illegal instruction")
		os.Exit(2)
	case "hang memory":
		time.Sleep(time.Hour)
	case "hang cpu", "hang drive", "crash drive", "crash memory":
		os.Exit(1)
	}
	os.Exit(Child(os.Args[2:], os.Stdout, os.Stderr))
}

func options(t *testing.T, what string) Options {
	t.Helper()
	t.Setenv(role, what)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return Options{
		Exe: exe, Args: []string{"child"}, Program: "test", Dir: t.TempDir(),
		Cards: func(context.Context, gpu.Options) []bench.Device {
			return []bench.Device{{Part: bench.GPU, Name: "gpu", Kind: bench.NoCard}}
		},
	}
}

func TestMeasureOnePart(t *testing.T) {
	var steps []Progress
	p, err := Measure(t.Context(), options(t, ""), Request{Parts: []bench.Part{bench.CPU, bench.Thermal}}, func(x Progress) { steps = append(steps, x) })
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Of(bench.CPU)) != 1 || len(p.Of(bench.Thermal)) != 1 || len(p.Of(bench.Memory)) != 0 || p.Hardware == "" {
		t.Fatalf("got %+v", p)
	}
	// A machine so busy that the time for the part was over says so and has no class.
	late := slices.ContainsFunc(p.Of(bench.CPU)[0].Measurements, func(m bench.Measurement) bool { return strings.Contains(m.Ungraded, "were over") })
	if len(p.Kernels) != 64 && !(late && p.Kernels == "") {
		t.Errorf("kernels %q of %+v", p.Kernels, p)
	}
	if len(steps) != 3 || steps[0].Done || steps[2].Part != bench.Thermal || steps[2].Share != 1 {
		t.Errorf("progress %+v", steps)
	}
}

func TestCrashedChildLeavesItsPartUngraded(t *testing.T) {
	p, err := Measure(t.Context(), options(t, "crash"), Request{Parts: []bench.Part{bench.CPU, bench.GPU}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	d := p.Of(bench.CPU)[0]
	m, _ := d.Get(bench.FP64Multi)
	if m.Graded() || m.Value != 0 || !strings.Contains(m.Ungraded, "illegal instruction") {
		t.Errorf("got %+v", m)
	}
	if g := bench.Judge(&p, bench.DefaultWeights()); g.Band != 0 || g.Ungraded == "" {
		t.Errorf("the grade is %+v", g)
	}
}

func TestInterruptedIsAnErrorAndKept(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	stopped := errors.New("the owner stopped everything")
	time.AfterFunc(100*time.Millisecond, func() { cancel(stopped) })
	p, err := Measure(ctx, options(t, "hang"), Request{Parts: []bench.Part{bench.Memory}}, nil)
	if !errors.Is(err, stopped) {
		t.Fatalf("got %v", err)
	}
	if m := p.Of(bench.Memory)[0].Measurements[0]; m.Graded() || !strings.Contains(m.Ungraded, "stopped") {
		t.Errorf("got %+v", m)
	}
}

func TestCheck(t *testing.T) {
	if r, err := (Request{}).Check(); err != nil || r.Mode != bench.Quick || len(r.Parts) != len(bench.Parts()) {
		t.Errorf("got %+v, %v", r, err)
	}
	if _, err := (Request{Mode: "fast"}).Check(); !errors.Is(err, ErrMode) {
		t.Errorf("got %v", err)
	}
	if _, err := (Request{Parts: []bench.Part{"floppy"}}).Check(); !errors.Is(err, ErrPart) || !strings.Contains(err.Error(), "memory") {
		t.Errorf("got %v", err)
	}
}

func TestChildRefusesNonsense(t *testing.T) {
	for _, args := range [][]string{nil, {"cpu"}, {"floppy", "1ms", "1s"}, {"cpu", "x", "1s"}, {"cpu", "1h", "2h"}, {"cpu", "1ms", "0"}} {
		if v, err := part(args); err == nil {
			t.Errorf("%q gave %+v", args, v)
		}
	}
}

func figure(name string, v float64, at int64) bench.Measurement {
	return bench.Measurement{Name: name, Value: v, Unit: bench.FLOPS, At: at, Confidence: 1}
}

func TestKeepAndCompare(t *testing.T) {
	home := t.TempDir()
	measured := func(v float64, at int64, hardware string) bench.Profile {
		return bench.Profile{
			Version: bench.ProfileVersion, Hardware: hardware, At: at, Kernels: "k",
			Devices: []bench.Device{{Part: bench.CPU, Name: "cpu", Measurements: []bench.Measurement{figure(bench.FP64Multi, v, at)}}},
		}
	}
	if now, before, err := Load(home); now != nil || before != nil || err != nil {
		t.Fatalf("an empty folder holds %v, %v, %v", now, before, err)
	}
	if _, before, err := Keep(home, measured(100, 1, "a"), []bench.Part{bench.CPU}); err != nil || before != nil {
		t.Fatal(before, err)
	}
	// Another part alone leaves the first as it was.
	other := bench.Profile{Version: bench.ProfileVersion, Hardware: "a", At: 2, Devices: []bench.Device{{Part: bench.Memory, Name: "memory"}}}
	now, _, err := Keep(home, other, []bench.Part{bench.Memory})
	if err != nil || len(now.Of(bench.CPU)) != 1 || len(now.Of(bench.Memory)) != 1 || now.Kernels != "k" {
		t.Fatalf("got %+v, %v", now, err)
	}
	now, before, err := Keep(home, measured(110, 3, "a"), []bench.Part{bench.CPU})
	if err != nil {
		t.Fatal(err)
	}
	r := NewReport(now, before, bench.DefaultWeights())
	d := now.Of(bench.CPU)[0]
	if percent, ok := r.Change(&d, d.Measurements[0]); !ok || math.Abs(percent-10) > 1e-9 {
		t.Errorf("changed by %v, %v, want 10", percent, ok)
	}
	loaded, old, err := Load(home)
	if err != nil || loaded.At != 3 || old.At != 2 {
		t.Errorf("loaded %+v and %+v, %v", loaded, old, err)
	}
	// Other hardware begins anew.
	if now, before, err = Keep(home, measured(5, 4, "b"), []bench.Part{bench.CPU}); err != nil || before != nil || len(now.Of(bench.Memory)) != 0 {
		t.Errorf("after a change of hardware: %+v, %+v, %v", now, before, err)
	}
}

func TestDamagedProfileIsMeasuredAnew(t *testing.T) {
	for name, data := range map[string]string{
		"no JSON": "{", "another version": `{"version": 99}`, "a negative speed": `{"version": 2, "devices": [{"part": "cpu", "measurements": [{"name": "x", "value": -5}]}]}`,
		"a value without a grade": `{"version": 2, "devices": [{"part": "cpu", "measurements": [{"name": "x", "value": 5, "ungraded": "why"}]}]}`,
	} {
		home := t.TempDir()
		if err := os.MkdirAll(filepath.Join(home, folder), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(home, folder, profileFile), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
		if now, _, err := Load(home); now != nil || !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %+v, %v", name, now, err)
		}
		p := bench.Profile{Version: bench.ProfileVersion}
		if _, _, err := Keep(home, p, nil); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if now, _, err := Load(home); now == nil || err != nil {
			t.Errorf("%s: afterwards %v", name, err)
		}
	}
}

func TestCardKeepsItsFigures(t *testing.T) {
	card := func(ms ...bench.Measurement) bench.Device {
		return bench.Device{Part: bench.GPU, Name: "gpu0", Kind: bench.NVIDIA, Facts: []bench.Fact{{Name: "uuid", Value: "GPU-1"}, {Name: "driver", Value: "1"}}, Measurements: ms}
	}
	good := figure(bench.FP16Matmul, 9e12, 1)
	late := bench.Measurement{Name: bench.FP16Matmul, Ungraded: "the time was over", TookMillis: 3000}
	broken := bench.Measurement{Name: bench.FP16Matmul, Ungraded: "no PyTorch", TookMillis: 20}
	last := &bench.Profile{Devices: []bench.Device{card(good)}}
	if got := keepCards(last, []bench.Device{card(late)})[0]; got.Measurements[0] != good {
		t.Errorf("a card that had no time: %+v", got)
	}
	if got := keepCards(last, []bench.Device{card(broken)})[0]; got.Measurements[0] != broken {
		t.Errorf("a card whose runtime is gone: %+v", got)
	}
}

func TestDue(t *testing.T) {
	now := time.UnixMilli(1_790_000_000_000)
	p := func(age time.Duration, hardware string) *bench.Profile {
		return &bench.Profile{At: now.Add(-age).UnixMilli(), Hardware: hardware}
	}
	for _, tt := range []struct {
		name string
		p    *bench.Profile
		want string
	}{
		{"never", nil, "never"},
		{"fresh", p(time.Hour, "a"), ""},
		{"old", p(31*24*time.Hour, "a"), "last grade"},
		{"other hardware", p(time.Hour, "b"), "hardware"},
		{"the clock was wrong", p(-48*time.Hour, "a"), "future"},
	} {
		got := Due(tt.p, "a", 30*24*time.Hour, now)
		if (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestLife(t *testing.T) {
	home := t.TempDir()
	if d := LastLife(home); d.Measurements[0].Graded() {
		t.Errorf("a node that never ran: %+v", d)
	}
	l, err := OpenLife(home)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err = OpenLife(home); err != nil { // and is killed
		t.Fatal(err)
	}
	if l, err = OpenLife(home); err != nil {
		t.Fatal(err)
	}
	d := l.Device()
	crashes, _ := d.Get(bench.Crashes)
	restarts, _ := d.Get("restarts")
	if crashes.Value != 1 || restarts.Value != 2 {
		t.Errorf("%v crashes and %v restarts, want 1 and 2", crashes.Value, restarts.Value)
	}
	if err := os.WriteFile(filepath.Join(home, folder, uptimeFile), []byte("torn"), 0o600); err != nil {
		t.Fatal(err)
	}
	if l, err = OpenLife(home); err == nil || l == nil {
		t.Fatalf("a damaged log: %v, %v", l, err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestDriveReportIsHeard(t *testing.T) {
	o := options(t, "")
	var heard []disk.Report
	o.Studied = func(r disk.Report) { heard = append(heard, r) }
	p, err := Measure(t.Context(), o, Request{Parts: []bench.Part{bench.Drive}}, nil)
	if err != nil || len(p.Of(bench.Drive)) != 1 {
		t.Fatalf("got %+v, %v", p, err)
	}
	d := p.Of(bench.Drive)[0]
	m, _ := d.Get(bench.SeqRead)
	over := !m.Graded() && strings.Contains(m.Ungraded, "were over") // a machine too busy to measure in time
	if d.Name == "" || m.At <= 0 || len(heard) != 1 && !over {
		t.Errorf("got %+v, heard %+v", d, heard)
	}
}

func FuzzParse(f *testing.F) {
	p := bench.Profile{Version: bench.ProfileVersion, Devices: []bench.Device{{Part: bench.CPU, Measurements: []bench.Measurement{figure(bench.FP64Multi, 5, 1)}}}}
	data, err := json.Marshal(p)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := parse(data)
		if err != nil {
			return
		}
		if g := bench.Judge(p, bench.DefaultWeights()); g.Score < 0 || g.Score > 100 || math.IsNaN(g.Score) || g.Band < 0 || g.Band > 10 {
			t.Errorf("%+v", g)
		}
	})
}
