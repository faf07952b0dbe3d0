package sandbox_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"kith/tasks"
	"kith/tasks/sandbox"
	"kith/tasks/sandbox/sandboxtest"
)

// TestWindows shows that runners start, work, keep limits and die, with a restricted token where the system gives one. It
// leaves out what emulations of Windows lack, so that it can run there too.
func TestWindows(t *testing.T) {
	e := process(t, func(o *sandbox.Options) { o.Spares = -1 })
	open := func() (sandbox.Runner, string) {
		t.Helper()
		dir, err := os.MkdirTemp("", "kith-windows-")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := sandbox.Wipe(dir); err != nil {
				t.Error(err)
			}
		})
		for _, name := range []string{sandbox.InDir, sandbox.OutDir, sandbox.TmpDir} {
			if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		r, err := e.Open(t.Context(), tasks.JobID{1}, dir)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.Close() })
		return r, dir
	}
	report, err := e.SelfTest(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("grade %d, held by %s, not held: %q, in %v", report.Grade, report.Layers, report.Broken(), report.Took)
	if report.Grade > tasks.GradeProcess {
		t.Errorf("grade %d is more than anybody has shown here", report.Grade)
	}
	r, dir := open()
	w := sandboxtest.Do("write", "1000000")
	w.OutDir, w.Scratch = filepath.Join(dir, sandbox.OutDir), filepath.Join(dir, sandbox.TmpDir)
	if res, err := r.Run(t.Context(), w); err != nil || !res.OnDisk {
		t.Fatalf("%+v, %v", res, err)
	}
	if info, err := os.Stat(filepath.Join(w.OutDir, "big")); err != nil || info.Size() != 1_000_000 {
		t.Errorf("%v, %v", info, err)
	}
	for _, c := range []struct {
		phase, arg string
		set        func(*tasks.Limits)
		want       tasks.Code
	}{
		{"spin", "", func(l *tasks.Limits) { l.WallMillis = 300 }, tasks.TimeLimit},
		{"spin", "", func(l *tasks.Limits) { l.CPUMillis, l.WallMillis = 300, 3000 }, tasks.TimeLimit},
		{"exit", "3", func(*tasks.Limits) {}, tasks.TaskFailed},
		{"garbage", "\xff\xff\xff\xff\x05", func(*tasks.Limits) {}, tasks.TaskFailed},
	} {
		r, dir := open()
		w := sandboxtest.Do(c.phase, c.arg)
		w.Scratch = filepath.Join(dir, sandbox.TmpDir)
		c.set(&w.Limits)
		_, err := r.Run(t.Context(), w)
		var why tasks.Reason
		if errors.As(err, &why); why.Code != c.want {
			t.Errorf("%s: got %v, want %q", c.phase, err, c.want)
		}
	}
	r, _ = open()
	e.Kill()
	if r.Alive() {
		t.Error("alive after the kill")
	}
}
