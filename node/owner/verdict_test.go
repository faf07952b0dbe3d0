package owner

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"kith/tasks"
)

func causes(v Verdict) []Cause {
	var out []Cause
	for _, w := range v.Why {
		out = append(out, w.Cause)
	}
	return out
}

// TestAPauseEndsOnlyByItself moves every other reason while one holds: the owner's own word ends by the owner alone.
func TestAPauseEndsOnlyByItself(t *testing.T) {
	l, d := limits(), Disk{}
	l.Rules = Rules{Active: Shrunk, IdleAfter: time.Minute, Battery: true, FullScreen: true}
	o := open(t, t.TempDir(), &l, &d)
	if err := o.Set(Paused); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	for i := range 200 {
		now = now.Add(time.Minute)
		on := float64(i / 3 % 2)
		v := o.Observe(now, Readings{Battery: known(on), FullScreen: known(1 - on), Idle: known(100 * on)})
		if !slices.Contains(causes(v), ByOwner) || v.Level != Halted {
			t.Fatalf("after %d minutes: %v, %s", i, causes(v), v.Text())
		}
	}
	if err := o.Snooze(time.Hour); err != nil {
		t.Fatal(err)
	}
	if err := o.Snooze(0); err != nil {
		t.Fatal(err)
	}
	if v := o.Verdict(); !slices.Contains(causes(v), ByOwner) {
		t.Fatalf("the end of a snooze ended the owner's pause: %v", causes(v))
	}
	if err := o.Set(Working); err != nil {
		t.Fatal(err)
	}
	if v := o.Verdict(); slices.Contains(causes(v), ByOwner) || v.Level != Halted {
		t.Fatalf("the owner's word ended a pause that is not his: %v", causes(v))
	}
}

func TestSnooze(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		home, l, d := t.TempDir(), limits(), Disk{}
		o := open(t, home, &l, &d)
		for _, bad := range []time.Duration{-time.Second, time.Millisecond, 31 * 24 * time.Hour} {
			if err := o.Snooze(bad); !errors.Is(err, ErrSnooze) {
				t.Errorf("%v: %v", bad, err)
			}
		}
		if err := o.Snooze(30 * time.Minute); err != nil {
			t.Fatal(err)
		}
		if _, refused := o.Admit(task("a", 1), nil); refused == nil || refused.Code != tasks.Paused {
			t.Fatalf("snoozing and working: %v", refused)
		}
		time.Sleep(10 * time.Minute)
		o = open(t, home, &l, &d) // a restart
		v := o.Verdict()
		if v.Level != Halted || len(v.Why) != 1 || v.Why[0].Cause != BySnooze || time.Until(v.Why[0].Until).Round(time.Second) != 20*time.Minute ||
			!strings.Contains(v.Text(), "in 20 min") {
			t.Fatalf("after a restart: %s, until %v", v.Text(), v.Why)
		}
		time.Sleep(20 * time.Minute)
		if v := o.Verdict(); v.Level != Full {
			t.Fatalf("after its time: %s", v.Text())
		}
		if release, refused := o.Admit(task("a", 1), nil); refused != nil {
			t.Fatal(refused)
		} else {
			release()
		}
		if v := open(t, home, &l, &d).Verdict(); v.Level != Full {
			t.Fatalf("after its time and a restart: %s", v.Text())
		}
		if err := errors.Join(o.Snooze(time.Hour), o.Set(Working)); err != nil {
			t.Fatal(err)
		}
		if v := o.Verdict(); v.Level != Full {
			t.Fatalf("resume does not end a snooze: %s", v.Text())
		}
	})
}

// TestSnoozeAndTheClock sets the clock between two runs: a snooze is never longer than it was meant.
func TestSnoozeAndTheClock(t *testing.T) {
	now := time.Now().UnixMilli()
	hour := time.Hour.Milliseconds()
	for name, c := range map[string]struct {
		since, until int64
		least, most  time.Duration
	}{
		"as it was":              {now - hour/2, now + hour/2, 29 * time.Minute, 30 * time.Minute},
		"the clock went back":    {now + 100*hour, now + 101*hour, 59 * time.Minute, time.Hour},
		"the clock went forward": {now - 100*hour, now - 99*hour, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := snooze{Since: c.since, Until: c.until}
			if left := s.left(time.Now()); left < c.least || left > c.most {
				t.Errorf("%v left", left)
			}
		})
	}
	for name, text := range map[string]string{
		"longer than any":  `{"state":"working","since":0,"snooze":{"since":0,"until":99999999999999}}`,
		"backwards":        `{"state":"working","since":0,"snooze":{"since":5,"until":4}}`,
		"before all times": `{"state":"working","since":0,"snooze":{"since":-5,"until":4}}`,
	} {
		t.Run(name, func(t *testing.T) {
			home, l := t.TempDir(), limits()
			if err := os.WriteFile(filepath.Join(home, FileName), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			o, err := Open(home, func() Limits { return l }, func() Disk { return Disk{} })
			if !errors.Is(err, ErrDamaged) {
				t.Fatalf("got %v", err)
			}
			if s, _ := o.State(); s != Paused {
				t.Fatalf("state %s", s)
			}
		})
	}
}

func TestInUseShrinksTheCaps(t *testing.T) {
	l, d := limits(), Disk{}
	l.Slots, l.Processors = 8, 4
	l.Caps = Caps{CPU: 1, Cores: 4, Up: 1 << 20}
	l.InUse = Caps{CPU: 0.25, Memory: 150 << 20, IO: 1 << 20, Up: 2 << 20}
	l.Rules = Rules{Active: Shrunk, IdleAfter: time.Minute}
	o := open(t, t.TempDir(), &l, &d)
	now := time.Now()
	if v := o.Observe(now, Readings{Idle: known(3600)}); v.Level != Full || v.Processors != 4 || v.Caps.Memory != 300<<20 || v.Caps.IO != 0 {
		t.Fatalf("idle: %+v", v)
	}
	var handedBack []tasks.Reason
	for range 3 {
		if _, refused := o.Admit(task("a", 100<<20), func(r tasks.Reason) { handedBack = append(handedBack, r) }); refused != nil {
			t.Fatal(refused)
		}
	}
	v := o.Observe(now, Readings{Idle: known(0)})
	if v.Level != Shrunk || v.Processors != 1 || v.Caps.Memory != 150<<20 || v.Caps.IO != 1<<20 || v.Caps.Up != 1<<20 {
		t.Fatalf("in use: %+v", v)
	}
	if len(handedBack) != 2 || handedBack[0].Code != tasks.OverLimits {
		t.Fatalf("300 MiB of tasks under a cap of 150: %v were handed back", handedBack)
	}
	o.Observe(now, Readings{Idle: known(0)})
	if len(handedBack) != 2 {
		t.Fatal("a task was told to stop twice")
	}
	l.Caps.VRAM = 0
	vram := task("a", 1)
	vram.Limits.VRAMBytes = 1
	if r := o.Fits(vram); r == nil || r.Code != tasks.OverLimits {
		t.Fatalf("graphics memory where there is none: %v", r)
	}
	l.Caps.VRAM = 1 << 30
	if r := o.Fits(vram); r != nil {
		t.Fatal(r)
	}
}

// TestLongPauseHandsBack lets tasks stand still for a while, and then hands them back with the reason.
func TestLongPauseHandsBack(t *testing.T) {
	l, d := limits(), Disk{}
	l.HandBack = time.Minute
	l.Rules = Rules{Battery: true}
	o := open(t, t.TempDir(), &l, &d)
	var got []tasks.Reason
	release, refused := o.Admit(task("a", 1), func(r tasks.Reason) { got = append(got, r) })
	if refused != nil {
		t.Fatal(refused)
	}
	defer release()
	now := time.Now()
	for i, want := range []int{0, 0, 1, 1} {
		o.Observe(now.Add(time.Duration(i)*30*time.Second), Readings{Battery: known(1)})
		if len(got) != want {
			t.Fatalf("after %d s %d were handed back, want %d", 30*i, len(got), want)
		}
	}
	if got[0].Code != tasks.Paused || !strings.Contains(got[0].Detail, "battery") {
		t.Errorf("%+v", got[0])
	}
}

func TestOthersCanStopButNotStart(t *testing.T) {
	home, l, d := t.TempDir(), limits(), Disk{}
	o := open(t, home, &l, &d)
	if err := o.Kill(ByNotice, "stopped by 2 stewards: bad kind"); err != nil {
		t.Fatal(err)
	}
	o = open(t, home, &l, &d)
	v := o.Verdict()
	if v.Level != Ended || v.Why[0].Cause != ByNotice || !strings.Contains(v.Text(), "bad kind") {
		t.Fatalf("after a restart: %s", v.Text())
	}
	if _, refused := o.Admit(task("a", 1), nil); refused == nil || refused.Code != tasks.Killed {
		t.Fatalf("%v", refused)
	}
	if err := o.Set(Killed); err != nil { // the owner makes it his own
		t.Fatal(err)
	}
	if v := o.Verdict(); v.Why[0].Cause != ByKill {
		t.Fatalf("%s", v.Text())
	}
	o.Hold(Why{Cause: ByStale, Level: Halted, Text: "no word from the stewards", Ends: "with their next word"})
	if err := o.Set(Working); err != nil {
		t.Fatal(err)
	}
	if v := o.Verdict(); v.Level != Halted || v.Why[0].Cause != ByStale {
		t.Fatalf("%s", v.Text())
	}
	o.Drop(ByStale)
	if v := o.Verdict(); v.Level != Full {
		t.Fatalf("%s", v.Text())
	}
}

func TestComfort(t *testing.T) {
	var c Comfort
	if c.Quantile(0.99) != 0 || c.Scale(Caps{CPU: 0.5}, 4) != (Caps{CPU: 0.5}) {
		t.Error("nothing measured, and yet something lowered")
	}
	for range 99 {
		c = c.Yielded(80 * time.Millisecond)
	}
	if c.Share != 1 || c.Quantile(0.99) != 80*time.Millisecond {
		t.Fatalf("%+v", c)
	}
	c = c.Yielded(400 * time.Millisecond)
	if c.Share != lower || c.Quantile(0.99) != 80*time.Millisecond || c.Quantile(1) != 400*time.Millisecond {
		t.Fatalf("share %v, p99 %v", c.Share, c.Quantile(0.99))
	}
	if p := c.Scale(Caps{Cores: 2}, 4).Processors(4); p < 1.59 || p > 1.61 {
		t.Errorf("80 %% of two processors are %v", p)
	}
	for range 100 {
		c = c.Yielded(time.Hour)
	}
	if c.Share != lowest || len(c.Recent) != remembered || c.Yields() != 200 {
		t.Fatalf("share %v, %d remembered of %d", c.Share, len(c.Recent), c.Yields())
	}
	for range 1000 {
		c = c.Yielded(-time.Second) // a clock that goes back
	}
	if c.Share != 1 {
		t.Fatalf("trust does not come back: %v", c.Share)
	}
}

func TestWithin(t *testing.T) {
	a, b := Caps{CPU: 0.5, Cores: 0, Memory: 10, IO: 5}, Caps{CPU: 0.9, Cores: 3, Memory: 4, IO: 0, Up: 7}
	want := Caps{CPU: 0.5, Cores: 3, Memory: 4, IO: 5, Up: 7}
	if a.Within(b) != want || b.Within(a) != want {
		t.Errorf("%+v", a.Within(b))
	}
}

// TestComfortIsKept: what was measured before counts after a restart too.
func TestComfortIsKept(t *testing.T) {
	home := t.TempDir()
	l, d := limits(), Disk{}
	o := open(t, home, &l, &d)
	for range 150 {
		if err := o.Yielded(80 * time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
	if err := o.Yielded(time.Second); err != nil {
		t.Fatal(err)
	}
	before := o.Verdict().Comfort
	if after := open(t, home, &l, &d).Verdict().Comfort; !reflect.DeepEqual(after, before) || after.Yields() != 151 || after.Share >= 1 || after.Quantile(1) != time.Second {
		t.Errorf("after a restart %+v, before %+v", after, before)
	}
	path := filepath.Join(home, ComfortFile)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"empty": "", "cut off": string(good[:len(good)/2]), "more than all": strings.Replace(string(good), `"share":0.8`, `"share":8`, 1),
		"other classes": `{"share":1,"good":0,"recentMicros":[],"counts":[1,2]}`, "less than nothing": strings.Replace(string(good), "80000", "-1", 1),
	} {
		if text == string(good) {
			t.Fatalf("%s: the file holds no such thing: %s", name, good)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		o := open(t, home, &l, &d)
		if c := o.Verdict().Comfort; c.Yields() != 0 || c.Share != 0 {
			t.Errorf("%s: %+v", name, c)
		}
		if err := o.Yielded(time.Millisecond); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParseComfort(f *testing.F) {
	f.Add([]byte(`{"share":0.8,"good":3,"recentMicros":[80000],"counts":[0,0,1,0,0,0,0,0,0,0,0,0]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := parseComfort(data)
		if err != nil {
			return
		}
		for range 20 {
			c = c.Yielded(time.Minute)
		}
		if c.Share < lowest || c.Share > 1 || len(c.Recent) > remembered || c.Yields() < 20 || c.Quantile(0.99) < 0 {
			t.Fatalf("%+v", c)
		}
	})
}
