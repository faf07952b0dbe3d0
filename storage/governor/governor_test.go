package governor

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestRate(t *testing.T) {
	nvme := Drive{Solid: true, NVMe: true, ReadBytes: 3000 * mib, WriteBytes: 1500 * mib, ReadOps: 200_000, WriteOps: 100_000, SyncMillis: 1}
	for _, c := range []struct {
		name string
		d    Drive
		want Grade
		why  string
	}{
		{"nothing known", Drive{}, Ungraded, "not measured"},
		{"nvme", nvme, Fast, "3000 MiB/s"},
		{"sata ssd", Drive{Solid: true, ReadBytes: 520 * mib, WriteBytes: 450 * mib, ReadOps: 60_000, WriteOps: 40_000}, Good, "520"},
		{"fast at streaming, slow at random", Drive{ReadBytes: 260 * mib, WriteBytes: 250 * mib, ReadOps: 120, WriteOps: 200}, Plain, "120 random"},
		{"hard disk", Drive{ReadBytes: 150 * mib, WriteBytes: 140 * mib, ReadOps: 90, WriteOps: 150}, Plain, "150"},
		{"external hard disk, fast enough", Drive{External: true, ReadBytes: 150 * mib, WriteBytes: 140 * mib}, Fragile, "external hard disk"},
		{"external ssd", Drive{External: true, Solid: true, ReadBytes: 900 * mib, WriteBytes: 800 * mib, ReadOps: 50_000}, Good, "900"},
		{"slow stick", Drive{External: true, Solid: true, ReadBytes: 30 * mib, WriteBytes: 4 * mib}, Fragile, "reads only 30"},
		{"slow sync", Drive{Solid: true, ReadBytes: 500 * mib, WriteBytes: 300 * mib, SyncMillis: 900}, Fragile, "900 ms"},
		{"steep cliff", Drive{Solid: true, ReadBytes: 500 * mib, WriteBytes: 400 * mib, Cliff: 0.1}, Fragile, "10 %"},
		{"known make", Drive{Solid: true, ReadBytes: 500 * mib, WriteBytes: 400 * mib, Fragile: "this make"}, Fragile, "this make"},
		{"hot", Drive{NVMe: true, Solid: true, ReadBytes: 3000 * mib, WriteBytes: 900 * mib, Hot: "84 °C"}, Fragile, "84 °C"},
		{"worn", Drive{Solid: true, ReadBytes: 500 * mib, WriteBytes: 400 * mib, Worn: "3 sectors wait"}, Fragile, "3 sectors"},
		{"failing beats all", Drive{NVMe: true, ReadBytes: 3000 * mib, WriteBytes: 900 * mib, Failing: "SMART"}, Failing, "SMART"},
		{"no numbers", Drive{ReadBytes: math.NaN(), WriteBytes: math.Inf(1)}, Ungraded, "not measured"},
		{"negative", Drive{ReadBytes: -5, WriteBytes: -1, SyncMillis: -3, Cliff: -1}, Ungraded, "not measured"},
	} {
		t.Run(c.name, func(t *testing.T) {
			g, why := Rate(c.d)
			if g != c.want || !strings.Contains(strings.Join(why, "; "), c.why) {
				t.Fatalf("%s %q, want %s with %q", g, why, c.want, c.why)
			}
			for _, got := range []Limits{For(g, c.d), For(g, c.d).lowered(maxLevel)} {
				if got.ReadBytes < minBytes || got.WriteBytes < minBytes || got.ReadOps < minOps || got.WriteOps < minOps || got.Queue < 1 || got.Files < 1 || got.Burst < minBytes || got.Jobs < 0 {
					t.Errorf("limits below the floor: %+v", got)
				}
			}
		})
	}
}

func TestForUsesWhatWasMeasured(t *testing.T) {
	slow := For(Fragile, Drive{ReadBytes: 30 * mib, WriteBytes: 10 * mib, ReadOps: 100, WriteOps: 50})
	if slow.ReadBytes != 15*mib || slow.WriteBytes != 3*mib || slow.ReadOps != 50 || slow.WriteOps != 15 {
		t.Errorf("a share of what was measured: %+v", slow)
	}
	cliff := For(Good, Drive{ReadBytes: 500 * mib, WriteBytes: 400 * mib, Cliff: 0.5})
	if want := int64(400 * mib * 0.5 * 0.7); cliff.WriteBytes > want+1 || cliff.WriteBytes < want-1 {
		t.Errorf("writes %d, want %d: what it keeps up", cliff.WriteBytes, want)
	}
	if For(Failing, Drive{}).Jobs != 0 || For(Failing, Drive{}).lowered(3).Jobs != 0 {
		t.Error("a failing drive takes jobs")
	}
}

func TestTableIsOrdered(t *testing.T) {
	rows := Table()
	if rows[0].Grade != Fast || rows[len(rows)-1].Grade != Failing {
		t.Fatalf("order: %v", rows)
	}
	sound := slices.DeleteFunc(rows, func(r Row) bool { return r.Grade == Ungraded })
	for i := 1; i < len(sound); i++ {
		a, b := sound[i-1].Limits, sound[i].Limits
		if b.ReadBytes >= a.ReadBytes || b.WriteBytes >= a.WriteBytes || b.ReadOps >= a.ReadOps || b.Queue >= a.Queue || b.Jobs >= a.Jobs || b.SyncEvery < a.SyncEvery {
			t.Errorf("%s is not stricter than %s", sound[i].Grade, sound[i-1].Grade)
		}
	}
}

var start = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

func graded(t *testing.T) State {
	s, out := Regrade(State{}, start, Drive{Solid: true, ReadBytes: 520 * mib, WriteBytes: 450 * mib, ReadOps: 60_000, WriteOps: 40_000})
	if len(out) != 1 || out[0].Cause != Regraded || s.Grade != Good {
		t.Fatalf("%+v %+v", s, out)
	}
	return s
}

// TestDecide: every cause lowers, says so once, and quiet brings everything back.
func TestDecide(t *testing.T) {
	for cause, e := range effects {
		t.Run(string(cause), func(t *testing.T) {
			base := graded(t)
			s, out := Decide(base, start, []Signal{{cause, "what happened", start}, {cause, "again", start.Add(time.Millisecond)}})
			if len(out) != 1 || out[0].Cause != cause || out[0].Text != "what happened" || s.Level != e.levels || !s.Flagged() {
				t.Fatalf("%+v, level %d", out, s.Level)
			}
			if got := s.Limits(); got.WriteBytes >= base.Limits().WriteBytes || got.SyncEvery <= base.Limits().SyncEvery || out[0].After != got || out[0].Before != base.Limits() {
				t.Errorf("limits %+v", got)
			}
			now, ups := start, 0
			for s.Level > 0 && ups < 50 {
				now = now.Add(e.calm / 2)
				var up []Decision
				if s, up = Decide(s, now, nil); len(up) > 0 {
					ups++
					if up[0].Cause != Calm || !strings.Contains(up[0].Text, "what happened") {
						t.Errorf("%+v", up)
					}
				}
			}
			if ups != e.levels || s.Limits() != base.Limits() || s.Flagged() {
				t.Errorf("%d steps up, level %d", ups, s.Level)
			}
		})
	}
}

func TestDecideKeepsComing(t *testing.T) {
	s := graded(t)
	now := start
	for range 40 {
		now = now.Add(10 * time.Minute)
		var out []Decision
		before := s.Level
		s, out = Decide(s, now, []Signal{{IOError, "sector 5", now}})
		if s.Level < before || len(out) != 1 {
			t.Fatalf("level %d after %d, %d decisions", s.Level, before, len(out))
		}
	}
	if s.Level != maxLevel {
		t.Errorf("level %d", s.Level)
	}
	// It has to be quiet from the last error on.
	if s, out := Decide(s, now.Add(effects[IOError].calm-time.Second), nil); len(out) != 0 || s.Level != maxLevel {
		t.Error("came back too early")
	}
	if s, out := Decide(s, now.Add(effects[IOError].calm), nil); len(out) != 1 || s.Level != maxLevel-1 {
		t.Error("did not come back")
	}
	for _, cause := range []Cause{SoakPassed, Owner} {
		if s, out := Decide(s, now, []Signal{{cause, "sound", now}}); len(out) != 1 || s.Level != 0 || s.Flagged() {
			t.Errorf("%s: level %d", cause, s.Level)
		}
	}
}

func TestDecideStrangeInput(t *testing.T) {
	s := graded(t)
	if got, out := Decide(s, start, []Signal{{"no-such-cause", "", start}, {Calm, "", start}}); len(out) != 0 || got.Level != 0 {
		t.Errorf("unknown causes: %+v", out)
	}
	got, out := Decide(s, start, []Signal{{IOError, "from the future", start.Add(1000 * time.Hour)}})
	if len(out) != 1 || got.Up != start.Add(effects[IOError].calm) {
		t.Errorf("a signal of the future: %v", got.Up)
	}
	// The clock is set back by years: the levels come back all the same.
	back := start.AddDate(-3, 0, 0)
	got, _ = Decide(got, back, nil)
	if got, _ = Decide(got, back.Add(effects[IOError].calm), nil); got.Level != 1 {
		t.Errorf("level %d after the clock was set back", got.Level)
	}
	if got, _ := Decide(State{}, start, []Signal{{Unclean, "", time.Time{}}}); got.Limits() != rowOf(Ungraded).Limits.lowered(1) {
		t.Errorf("nothing known: %+v", got)
	}
}

func TestRegrade(t *testing.T) {
	s, _ := Decide(graded(t), start, []Signal{{LinkReset, "reset", start}})
	// Two measurements that differ a little are no news.
	s, out := Regrade(s, start, Drive{Solid: true, ReadBytes: 530 * mib, WriteBytes: 440 * mib, ReadOps: 59_000, WriteOps: 41_000})
	if len(out) != 0 || s.Level != 1 {
		t.Fatalf("%+v", out)
	}
	s, out = Regrade(s, start, Drive{Solid: true, ReadBytes: 530 * mib, WriteBytes: 440 * mib, Failing: "SMART status: failed"})
	if len(out) != 1 || s.Grade != Failing || s.Level != 1 || s.Limits().Jobs != 0 || !strings.Contains(out[0].Text, "SMART") {
		t.Fatalf("%+v", out)
	}
}

func TestCaps(t *testing.T) {
	c := CapFor(8, 16, Limits{ReadBytes: 5, WriteBytes: 4, ReadOps: 3, WriteOps: 2})
	if got, want := c.IOMax(), "8:16 rbps=5 wbps=4 riops=3 wiops=2"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got, want := CapFor(8, 0, Limits{}).IOMax(), "8:0 rbps=max wbps=max riops=max wiops=max"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := c.BlkIO(); got["blkio.throttle.write_bps_device"] != "8:16 4" || len(got) != 4 {
		t.Errorf("%v", got)
	}
}
