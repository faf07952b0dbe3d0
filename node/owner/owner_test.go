package owner

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"kith/tasks"
)

func limits() Limits {
	return Limits{
		Donate: true, Slots: 2, Memory: 300 << 20, MemoryPerTask: 200 << 20, Scratch: 300 << 20, ScratchPerTask: 200 << 20,
		TaskSeconds: 60, Quota: 40, KindsOff: []string{"etl.zstd", "lora*"}, DiskStop: 90,
	}
}

func open(t *testing.T, home string, l *Limits, d *Disk) *Owner {
	t.Helper()
	o, err := Open(home, func() Limits { return *l }, func() Disk { return *d })
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func task(kind string, memory int64) tasks.Assignment {
	return tasks.Assignment{Steps: []tasks.Step{{Kind: kind}}, Limits: tasks.Limits{MemoryBytes: memory, ScratchBytes: 1 << 20, WallMillis: 1000}}
}

func TestAdmission(t *testing.T) {
	l, d := limits(), Disk{Free: 50, Total: 100}
	big := task("etl.hash", 1<<20)
	big.Limits.ScratchBytes = 201 << 20
	slow := task("etl.hash", 1<<20)
	slow.Limits.WallMillis = 60_001
	for _, c := range []struct {
		name  string
		do    tasks.Assignment
		state State
		disk  Disk
		want  tasks.Code
	}{
		{"fine", task("etl.hash", 1<<20), Working, d, ""},
		{"no limits named", tasks.Assignment{}, Working, d, ""},
		{"kind off", task("etl.zstd", 1<<20), Working, d, tasks.KindOff},
		{"family off", task("lora.step", 1<<20), Working, d, tasks.KindOff},
		{"memory", task("etl.hash", 201<<20), Working, d, tasks.OverLimits},
		{"scratch", big, Working, d, tasks.OverLimits},
		{"time", slow, Working, d, tasks.OverLimits},
		{"paused", task("etl.hash", 1), Paused, d, tasks.Paused},
		{"killed", task("etl.hash", 1), Killed, d, tasks.Killed},
		{"disk at the limit", task("etl.hash", 1), Working, Disk{Free: 10, Total: 100}, tasks.DiskFull},
		{"disk below it", task("etl.hash", 1), Working, Disk{Free: 11, Total: 100}, ""},
		{"quota", task("etl.hash", 1), Working, Disk{Free: 50, Total: 100, Own: 40}, tasks.DiskFull},
		{"below the quota", task("etl.hash", 1), Working, Disk{Free: 50, Total: 100, Own: 39}, ""},
		{"disk unknown", task("etl.hash", 1), Working, Disk{}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := open(t, t.TempDir(), &l, &c.disk)
			if err := o.Set(c.state); err != nil {
				t.Fatal(err)
			}
			release, refused := o.Admit(c.do, nil)
			if (refused == nil) != (c.want == "") || (refused != nil && refused.Code != c.want) || (release == nil) == (refused == nil) {
				t.Fatalf("refused %v, want %q", refused, c.want)
			}
		})
	}
}

func TestSumsAndRelease(t *testing.T) {
	l, d := limits(), Disk{}
	o := open(t, t.TempDir(), &l, &d)
	first, refused := o.Admit(task("a", 200<<20), nil)
	if refused != nil {
		t.Fatal(refused)
	}
	if _, refused = o.Admit(task("a", 101<<20), nil); refused == nil || refused.Code != tasks.Busy {
		t.Fatalf("memory in sum: %v", refused)
	}
	second, refused := o.Admit(task("a", 100<<20), nil)
	if refused != nil {
		t.Fatal(refused)
	}
	if _, refused = o.Admit(task("a", 1), nil); refused == nil || refused.Code != tasks.Busy {
		t.Fatalf("slots: %v", refused)
	}
	first()
	first() // a second call changes nothing
	second()
	if len(o.admitted) != 0 || o.memory != 0 || o.scratch != 0 {
		t.Fatalf("left over: %d tasks, %d memory, %d scratch", len(o.admitted), o.memory, o.scratch)
	}
	l.Slots = 0 // limits are live
	if _, refused = o.Admit(task("a", 1), nil); refused == nil {
		t.Fatal("a changed limit has no effect")
	}
}

func TestSwitchSurvivesRestart(t *testing.T) {
	home, l, d := t.TempDir(), limits(), Disk{}
	for _, s := range []State{Paused, Killed, Working} {
		if err := open(t, home, &l, &d).Set(s); err != nil {
			t.Fatal(err)
		}
		if got, since := open(t, home, &l, &d).State(); got != s || since == 0 {
			t.Fatalf("after a restart %s since %d, want %s", got, since, s)
		}
	}
	if err := open(t, home, &l, &d).Set("asleep"); !errors.Is(err, ErrState) {
		t.Fatalf("got %v", err)
	}
}

func TestDamagedSwitchMeansPaused(t *testing.T) {
	home, l := t.TempDir(), limits()
	if err := os.WriteFile(filepath.Join(home, FileName), []byte(`{"state":"wor`), 0o600); err != nil {
		t.Fatal(err)
	}
	o, err := Open(home, func() Limits { return l }, func() Disk { return Disk{} })
	if !errors.Is(err, ErrDamaged) || o == nil {
		t.Fatalf("got %v", err)
	}
	if s, _ := o.State(); s != Paused {
		t.Fatalf("state %s", s)
	}
	if err := o.Set(Working); err != nil {
		t.Fatal(err)
	}
	if s, _ := open(t, home, &l, &Disk{}).State(); s != Working {
		t.Fatal("resume does not mend the file")
	}
}

func TestStoppingNeedsNoDisk(t *testing.T) {
	home, l, d := filepath.Join(t.TempDir(), "gone"), limits(), Disk{}
	o := open(t, home, &l, &d)
	if err := o.Set(Killed); err == nil {
		t.Fatal("writing into a missing folder succeeded")
	}
	if s, _ := o.State(); s != Killed {
		t.Fatal("a stop that could not be written did not stop")
	}
	if err := o.Set(Working); err == nil {
		t.Fatal("writing into a missing folder succeeded")
	}
	if s, _ := o.State(); s != Killed {
		t.Fatal("a start that could not be written started")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"state":"paused","since":1}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if r, err := parse(data); err == nil && r.State == "" {
			t.Fatal("no state")
		}
	})
}
