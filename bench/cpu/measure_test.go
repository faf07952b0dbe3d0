package cpu

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"time"

	"kith/bench"
)

func TestMeasure(t *testing.T) {
	got := Measure(t.Context(), Options{Time: 60 * time.Millisecond})
	seen := map[string]bool{}
	for _, m := range got {
		seen[m.Name] = true
		known := runtime.GOARCH == "amd64" || runtime.GOARCH == "arm64"
		if !m.Graded() && known {
			t.Errorf("%s is ungraded: %s", m.Name, m.Ungraded)
		}
		if m.Graded() && (m.Value <= 0 || m.Method == "" || m.At == 0 || m.Unit == "") {
			t.Errorf("%+v", m)
		}
	}
	for _, s := range bench.Scales() {
		if s.Part == bench.CPU && !seen[s.Name] {
			t.Errorf("the score reads %s, which was not measured", s.Name)
		}
	}
}

func TestOneThread(t *testing.T) {
	d := bench.Device{Measurements: Measure(t.Context(), Options{Threads: 1, Time: 8 * time.Millisecond})}
	for _, name := range []string{bench.FP64Single, bench.FP64Multi, bench.Integer} {
		if m, ok := d.Get(name); !ok || !m.Graded() || m.Value <= 0 {
			t.Errorf("%s: %+v", name, m)
		}
	}
}

func TestMoreThreadsThanProcessors(t *testing.T) {
	f := figure{name: bench.Integer, unit: bench.OPS, threads: 128, work: integers}
	f.round(t.Context(), 30*time.Millisecond)
	if m := f.end(); !m.Graded() || m.Value <= 0 {
		t.Errorf("%+v", m)
	}
}

func TestInterruptedIsUngraded(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("the owner stopped everything"))
	for _, m := range Measure(ctx, Options{Time: time.Hour}) {
		if m.Graded() || m.Value != 0 {
			t.Errorf("%+v, want ungraded", m)
		}
	}
}
