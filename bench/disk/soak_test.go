package disk

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"kith/storage/governor"
)

const moment = 0.005 // minutes

// soakInRAM is a short test over a file in memory; its notes are real files.
func soakInRAM(t *testing.T, r *ram) SoakOptions {
	return SoakOptions{
		Dir: t.TempDir(), Minutes: moment, Size: 4 << 20, Hard: true,
		Limits: governor.Limits{ReadBytes: math.MaxInt64, WriteBytes: math.MaxInt64, ReadOps: 1 << 30, WriteOps: 1 << 30},
		Open:   func(string, int64) (File, bool, error) { return r, true, nil },
		Space:  func(string) (int64, error) { return 1 << 40, nil },
		Health: func() SMART { return SMART{Verdict: Sound, Counts: map[string]int64{"pending": 0}} },
	}
}

func TestSoak(t *testing.T) {
	var told int
	o := soakInRAM(t, &ram{})
	o.Tell = func(r SoakReport) {
		if told++; r.Left() > r.Wanted || r.Done {
			t.Errorf("%+v", r)
		}
	}
	r, err := Soak(t.Context(), o)
	must(t, err)
	if !r.Done || r.Verdict != "sound" || len(r.Why) > 0 || r.Failed != 0 || r.Reads == 0 || r.Writes == 0 || r.Verified == 0 || r.Syncs == 0 || r.Worked < r.Wanted || told == 0 || r.Drive.ID == "" {
		t.Errorf("%+v", r)
	}
	left, err := os.ReadDir(filepath.Join(o.Dir, SoakDir))
	if err != nil || len(left) != 1 || left[0].Name() != "soak.json" {
		t.Errorf("left behind: %v %v", left, err)
	}
	if last, err := LastSoak(o.Dir); err != nil || last.Verdict != "sound" {
		t.Errorf("%+v %v", last, err)
	}
}

// TestSoakGoesOn: a test that was stopped goes on with what it had, and finds what changed meanwhile.
func TestSoakGoesOn(t *testing.T) {
	mem := &ram{}
	o := soakInRAM(t, mem)
	o.Minutes = 10
	stop := func() SoakReport {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		r, err := Soak(ctx, o)
		if !errors.Is(err, context.DeadlineExceeded) || r.Done || r.Verdict != "" {
			t.Fatalf("%+v %v", r, err)
		}
		return r
	}
	first := stop()
	second := stop()
	if second.Runs != 2 || second.Worked <= first.Worked || second.Verified <= first.Verified || second.Failed != 0 || !second.Began.Equal(first.Began) {
		t.Errorf("%+v\nthen %+v", first, second)
	}
	// A kill: pages were written after the last note of the state.
	state := filepath.Join(o.Dir, SoakDir)
	notes := map[string][]byte{}
	for _, name := range []string{"pages", "soak.json"} {
		data, err := os.ReadFile(filepath.Join(state, name))
		must(t, err)
		notes[name] = data
	}
	stop()
	for name, data := range notes {
		must(t, os.WriteFile(filepath.Join(state, name), data, 0o600))
	}
	if r := stop(); r.Failed != 0 {
		t.Errorf("what was written after the last note counts as damage: %+v", r)
	}
	// The drive loses a bit between two runs.
	mem.data[3<<20+100] ^= 1
	o.Minutes = second.Worked.Minutes() + 4*moment
	r, err := Soak(t.Context(), o)
	must(t, err)
	if r.Verdict == "failed" && !strings.Contains(r.Why[0], "damaged") || r.Verdict == "sound" && mem.data[3<<20+100] == 0 {
		t.Errorf("%+v", r)
	}
	o.Minutes = moment
	if r, err = Soak(t.Context(), o); err != nil || r.Runs != 1 || !r.Done {
		t.Errorf("a finished test begins anew: %+v %v", r, err)
	}
}

func TestSoakFindsWhatIsWrong(t *testing.T) {
	for _, c := range []struct {
		name    string
		ram     *ram
		health  []SMART
		verdict string
		why     string
	}{
		{"a flipped bit", &ram{after: 9, read: func(b []byte, _ int64) error { b[len(b)-1] ^= 1; return nil }}, nil, "failed", "is damaged"},
		{"reads fail", &ram{after: 3, read: func([]byte, int64) error { return syscall.EIO }}, nil, "failed", "input/output error"},
		{"writes fail", &ram{write: func([]byte, int64) error { return syscall.EIO }}, nil, "failed", "input/output error"},
		{"syncs fail", &ram{sync: syscall.EIO}, nil, "failed", "sync"},
		{"it gets hot", &ram{}, []SMART{{Verdict: Sound}, {Verdict: Sound, Hot: "66 °C"}}, "suspect", "66 °C"},
		{"counts rise", &ram{}, []SMART{{Verdict: Sound, Counts: map[string]int64{"pending": 0}}, {Verdict: Warning, Counts: map[string]int64{"pending": 8}}}, "suspect", "pending 0 → 8"},
		{"it dies", &ram{}, []SMART{{Verdict: Sound}, {Verdict: Dying, Why: []string{"SMART status"}}}, "failed", "SMART status"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := soakInRAM(t, c.ram)
			asked := 0
			if c.health != nil {
				o.Health = func() SMART {
					s := c.health[min(asked, len(c.health)-1)]
					asked++
					return s
				}
			}
			var r SoakReport
			for ; o.Minutes <= 100*moment; o.Minutes *= 4 { // a busy machine does little in a moment
				var err error
				asked = 0
				r, err = Soak(t.Context(), o)
				must(t, err)
				if r.Verdict == c.verdict {
					break
				}
			}
			if r.Verdict != c.verdict || !r.Done || !strings.Contains(strings.Join(r.Why, "; "), c.why) || len(r.Errors) > maxSoakErrs {
				t.Errorf("%s because of %q, want %s with %q", r.Verdict, r.Why, c.verdict, c.why)
			}
		})
	}
	// Slower and slower: the medians tell it.
	s := &soak{state: soakState{Report: SoakReport{}}}
	for i := range 100 {
		s.state.Medians = append(s.state.Medians, 1+float64(i)/5)
	}
	if s.judge(); s.state.Report.Verdict != "suspect" || !strings.Contains(s.state.Report.Why[0], "throttles") {
		t.Errorf("%+v", s.state.Report)
	}
}

func TestSoakBadInput(t *testing.T) {
	o := soakInRAM(t, &ram{})
	o.Space = func(string) (int64, error) { return 3 << 20, nil }
	if _, err := Soak(t.Context(), o); !errors.Is(err, ErrNoRoom) {
		t.Errorf("3 MB free: %v", err)
	}
	o = soakInRAM(t, &ram{write: func([]byte, int64) error { return syscall.ENOSPC }})
	if _, err := Soak(t.Context(), o); !errors.Is(err, ErrNoRoom) {
		t.Errorf("it fills up: %v", err)
	}
	o = soakInRAM(t, &ram{})
	o.Dir = "/no/such/folder"
	if _, err := Soak(t.Context(), o); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no folder: %v", err)
	}
	for name, text := range map[string]string{
		"damaged": "{", "another version": `{"version":9}`, "size": `{"version":1,"size":5}`, "huge": `{"version":1,"size":9000000000000000000}`,
		"negative": `{"version":1,"size":4194304,"report":{"worked":-5}}`,
	} {
		o := soakInRAM(t, &ram{})
		dir := filepath.Join(o.Dir, SoakDir)
		must(t, os.MkdirAll(dir, 0o700))
		must(t, os.WriteFile(filepath.Join(dir, "soak.json"), []byte(text), 0o600))
		if r, err := Soak(t.Context(), o); err != nil || !r.Done || r.Runs != 1 {
			t.Errorf("%s: %+v %v", name, r, err)
		}
	}
}

// TestSoakInChild: on a real drive, in a child process, stopped and gone on with; a drive that hangs is given up.
func TestSoakInChild(t *testing.T) {
	p := Prober{Command: as("probe"), Stall: 10 * time.Second}
	o := SoakOptions{Dir: t.TempDir(), Minutes: 1, Size: 4 << 20}
	ctx, cancel := context.WithCancel(t.Context())
	o.Tell = func(SoakReport) { cancel() }
	if _, err := p.Soak(ctx, o); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	r, err := LastSoak(o.Dir)
	must(t, err)
	if r.Done || r.Worked <= 0 || r.Runs != 1 {
		t.Errorf("%+v", r)
	}
	o.Minutes, o.Tell = r.Worked.Minutes()+moment, nil
	r, err = p.Soak(t.Context(), o)
	must(t, err)
	if !r.Done || r.Runs != 2 || r.Failed != 0 {
		t.Errorf("%+v", r)
	}
	p = Prober{Command: as("hang"), Stall: 200 * time.Millisecond}
	if _, err := p.Soak(t.Context(), o); !errors.Is(err, ErrHung) {
		t.Errorf("hangs: %v", err)
	}
}

func FuzzSoakState(f *testing.F) {
	good, err := json.Marshal(soakState{Version: 1, Seed: 5, Size: 4 << 20})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Fuzz(func(t *testing.T, data []byte) {
		st, err := parseSoak(data)
		if err == nil && (st.Size <= 0 || st.Size%chunk != 0 || st.Report.Left() < 0) {
			t.Errorf("%+v", st)
		}
	})
}
