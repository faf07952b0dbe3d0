package disk

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"kith/bench"
	"kith/storage/governor"
)

const mib = 1 << 20

// studied is a report of a sound solid-state drive.
func studied() Report {
	rates := func(depths []int, bytes float64, size int) (out []Rate) {
		for _, d := range depths {
			b := bytes * min(1, float64(d)/8)
			out = append(out, Rate{Depth: d, Bytes: b, Requests: b / float64(size), Confidence: 0.9})
		}
		return out
	}
	return Report{
		Drive: Drive{ID: "1234", Name: "sda", Kind: SSD, Spinning: "no", Model: "Some SSD"}, SMART: SMART{Verdict: Sound, Celsius: 35},
		Speed: Result{
			At: time.Unix(1000, 0), Took: time.Second, Method: "direct IO, verified", Direct: true, Syncs: 100, SyncMedian: time.Millisecond, SyncSlow: 3 * time.Millisecond,
			SeqRead: rates([]int{1, 8}, 500*mib, 1<<20), SeqWrite: rates([]int{1, 8}, 400*mib, 1<<20),
			RandRead: rates([]int{1, 32}, 200*mib, 4<<10), RandWrite: rates([]int{1, 32}, 100*mib, 4<<10),
		},
	}
}

func TestDevice(t *testing.T) {
	r := studied()
	d := r.Device()
	for name, want := range map[string]float64{bench.SeqRead: 500 * mib, bench.SeqWrite: 400 * mib, bench.RandRead: 51200, bench.RandWrite: 25600, bench.Fsync: 0.001, "read.random.depth1": 6400} {
		if m, ok := d.Get(name); !ok || !m.Graded() || m.Value < want*0.999 || m.Value > want*1.001 || m.Method == "" || m.At == 0 {
			t.Errorf("%s: %+v, want %v", name, m, want)
		}
	}
	if d.Part != bench.Drive || d.Kind != "ssd" || len(d.Flags) > 0 || d.Fact("grade") != "good" || d.Fact("health") != "ok" {
		t.Errorf("%+v", d)
	}
	for _, c := range []struct {
		name   string
		change func(*Report)
		flag   bench.Flag
		grade  governor.Grade
	}{
		{"failing", func(r *Report) { r.SMART = SMART{Verdict: Dying, Why: []string{"SMART status"}} }, bench.FlagSMARTFail, governor.Failing},
		{"warning", func(r *Report) { r.SMART = SMART{Verdict: Warning, Why: []string{"3 pending sectors"}} }, bench.FlagSMARTWarn, governor.Fragile},
		{"hot", func(r *Report) { r.SMART.Hot = "84 °C" }, bench.FlagThrottling, governor.Fragile},
		{"cliff", func(r *Report) { r.Speed.Cliff = 0.2 }, bench.FlagThrottling, governor.Fragile},
		{"known make", func(r *Report) { r.Make = &Make{Words: "suffers"} }, bench.FlagFragile, governor.Fragile},
		{"lost data", func(r *Report) { r.Speed.Wrong, r.Failed = []string{"page 5 is damaged"}, "lost data" }, bench.FlagIOErrors, governor.Failing},
		{"read-only", func(r *Report) { r.Drive.ReadOnly, r.Speed, r.Failed = true, Result{}, ErrReadOnly.Error() }, bench.FlagReadOnly, governor.Ungraded},
	} {
		r := studied()
		c.change(&r)
		d := r.Device()
		if g, _ := governor.Rate(r.Governed()); !d.Has(c.flag) || g != c.grade || d.Fact("grade") != string(c.grade) {
			t.Errorf("%s: %v, %s, want %s and %s", c.name, d.Flags, g, c.flag, c.grade)
		}
	}
	noted := studied()
	noted.Make = &Make{Words: "see its firmware", Note: true}
	if g, _ := governor.Rate(noted.Governed()); g != governor.Good {
		t.Errorf("a mere note makes it %s", g)
	}
	none := studied()
	none.Speed, none.Failed = Result{}, "no permission"
	d = none.Device()
	for _, name := range []string{bench.SeqRead, bench.SeqWrite, bench.RandRead, bench.RandWrite, bench.Fsync} {
		if m, ok := d.Get(name); !ok || m.Graded() || m.Ungraded != "no permission" || m.Value != 0 {
			t.Errorf("%s: %+v", name, m)
		}
	}
}

// TestStudyHere studies the drive of this folder, in a child process.
func TestStudyHere(t *testing.T) {
	dir := t.TempDir()
	r := Study(t.Context(), Prober{Command: as("probe")}, dir, bench.Quick, nil)
	if r.Failed != "" && !strings.Contains(r.Failed, ErrNoRoom.Error()) {
		t.Errorf("failed: %s", r.Failed)
	}
	g, why := governor.Rate(r.Governed())
	t.Logf("%s: %s %q", r.Drive.Title(), g, why)
	r = Study(t.Context(), Prober{Command: as("probe")}, dir+"/none", bench.Quick, nil)
	if r.Failed == "" || r.Drive.ID == "" {
		t.Errorf("no such folder: %+v", r)
	}
	if _, err := os.Stat(dir + "/none"); !errors.Is(err, os.ErrNotExist) {
		t.Error("measuring made a folder")
	}
}
