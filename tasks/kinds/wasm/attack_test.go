package wasm_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"kith/tasks"
	"kith/tasks/kinds/kindtest"
	"kith/tasks/kinds/wasm"
	"kith/tasks/sandbox"
	"kith/tasks/sandbox/sandboxtest"
)

// TestAttacks lets a module try to get out: held by WebAssembly alone, which is all there is on some systems, and inside
// of a runner.
func TestAttacks(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles a large module twice")
	}
	t.Run("alone", func(t *testing.T) { attack(t, sandbox.InProcess(kindtest.Registry{shared})) })
	t.Run("confined", func(t *testing.T) { attack(t, engine(t)) })
}

// attacker is a place where testdata/attacker runs.
type attacker struct {
	sandbox.Runner
	work func(args ...string) sandbox.Work
	data string // the input
}

func newAttacker(t *testing.T, e sandbox.Engine, code, data []byte) attacker {
	t.Helper()
	dir := t.TempDir()
	in, out, tmp := filepath.Join(dir, sandbox.InDir, "0"), filepath.Join(dir, sandbox.OutDir), filepath.Join(dir, sandbox.TmpDir)
	a := attacker{data: filepath.Join(in, "data")}
	if err := errors.Join(os.MkdirAll(in, 0o700), os.Mkdir(out, 0o700), os.Mkdir(tmp, 0o700),
		os.WriteFile(filepath.Join(in, wasm.ModuleFile), code, 0o600), os.WriteFile(a.data, data, 0o600)); err != nil {
		t.Fatal(err)
	}
	var err error
	if a.Runner, err = e.Open(t.Context(), tasks.JobID{1}, dir); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	a.work = func(args ...string) sandbox.Work {
		for _, d := range []string{out, tmp} {
			if err := errors.Join(os.RemoveAll(filepath.Join(d, "said")), os.RemoveAll(filepath.Join(d, "wasm-out")), os.RemoveAll(filepath.Join(d, "wasm-tmp"))); err != nil {
				t.Fatal(err)
			}
		}
		params, err := json.Marshal(wasm.Params{Module: "x", Args: args, Memory: 32})
		if err != nil {
			t.Fatal(err)
		}
		limits := wasm.New().Describe().Limits
		limits.WallMillis = 60_000
		return sandbox.Work{
			Op: sandbox.OpRun, Steps: []tasks.Step{{Kind: "wasm", Phase: "run", Params: params}}, Inline: 64 << 10, Parts: 1,
			In: []sandbox.Files{{Dir: in}}, Limits: limits, OutDir: out, Scratch: tmp,
		}
	}
	return a
}

func attack(t *testing.T, e sandbox.Engine) {
	code := module(t, "testdata/attacker")
	h := sandboxtest.NewHost(t)
	data, err := json.Marshal(struct {
		*sandboxtest.Host
		Now int64
	}{h, time.Now().Unix()})
	if err != nil {
		t.Fatal(err)
	}
	a := newAttacker(t, e, code, data)
	do := func(args ...string) []string {
		t.Helper()
		res, err := a.Run(t.Context(), a.work(args...))
		if err != nil {
			t.Fatalf("%v; log %q", err, res.Log)
		}
		for _, line := range res.Log {
			t.Log(line)
		}
		return strings.FieldsFunc(string(res.Inline["said"]), func(r rune) bool { return r == '\n' })
	}
	names := do("list")
	if len(names) < 40 {
		t.Errorf("%d attempts only", len(names))
	}
	for all := range slices.Chunk(names, 40) {
		for _, name := range do(all...) {
			t.Errorf("it got out: %s", name)
		}
	}
	t.Logf("%d escapes tried", len(names))
	if b, err := os.ReadFile(a.data); err != nil || string(b) != string(data) {
		t.Errorf("the input was changed: %q, %v", b, err)
	}
	h.Unharmed(t, true)
	floods(t, e, code)
	h.Unharmed(t, true)
}

// floods lets the module take all it can get.
func floods(t *testing.T, e sandbox.Engine, code []byte) {
	a := newAttacker(t, e, code, []byte("{}"))
	for _, c := range []struct {
		name string
		set  func(*tasks.Limits)
		want tasks.Code // empty: it is refused at some point, and the module can tell
	}{
		{"memory bomb", nil, tasks.TaskFailed},
		{"goroutine bomb", nil, tasks.TaskFailed},
		{"endless recursion", nil, tasks.TaskFailed},
		{"output larger than declared", func(l *tasks.Limits) { l.OutputBytes = 1 << 20 }, tasks.OutputLimit},
		{"an archive that explodes", func(l *tasks.Limits) { l.OutputBytes = 1 << 20 }, tasks.OutputLimit},
		{"flood of open files", nil, ""},
		{"flood of open inputs", nil, ""},
		{"log flood", func(l *tasks.Limits) { l.LogBytes = 4 << 10 }, ""},
		{"endless sleep", func(l *tasks.Limits) { l.WallMillis = 300 }, tasks.TimeLimit},
		{"busy loop", func(l *tasks.Limits) { l.WallMillis = 300 }, tasks.TimeLimit},
	} {
		t.Run(c.name, func(t *testing.T) {
			if !a.Alive() {
				a = newAttacker(t, e, code, []byte("{}"))
			}
			w := a.work(c.name)
			if c.set != nil {
				c.set(&w.Limits)
			}
			res, err := a.Run(t.Context(), w)
			if c.want != "" {
				sandboxtest.WantReason(t, err, c.want)
				return
			}
			if err != nil || len(res.Inline["said"]) > 0 {
				t.Fatalf("%v; said %q; log %q", err, res.Inline["said"], res.Log)
			}
			size := 0
			for _, line := range res.Log {
				size += len(line)
			}
			if size > 64<<10 {
				t.Errorf("%d bytes of log", size)
			}
			t.Logf("%.200q", res.Log)
		})
	}
}
