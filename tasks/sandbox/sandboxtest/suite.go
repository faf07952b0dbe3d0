// Package sandboxtest is the conformance suite that every sandbox.Engine passes, with the kinds it runs: well-behaved
// ones for what an engine must do, and attackers for what it must withstand.
package sandboxtest

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"kith/tasks"
	"kith/tasks/sandbox"
)

// Limits are generous limits for one test.
func Limits() tasks.Limits {
	return tasks.Limits{
		WallMillis: 60_000, CPUMillis: 60_000, MemoryBytes: 256 << 20, ScratchBytes: 64 << 20,
		OutputBytes: 32 << 20, LogBytes: 4 << 10, Processes: 256,
	}
}

// Do is work of one step of test.kind with inline output.
func Do(phase, arg string, in ...map[string][]byte) sandbox.Work {
	w := sandbox.Work{Op: sandbox.OpRun, Steps: []tasks.Step{Step(phase, arg)}, Inline: 64 << 10, Limits: Limits(), Parts: 1}
	for _, files := range in {
		w.In = append(w.In, sandbox.Files{Inline: files})
	}
	return w
}

// Step is one step of test.kind.
func Step(phase, arg string) tasks.Step {
	return tasks.Step{Kind: "test.kind", Phase: phase, Params: []byte(arg)}
}

// WantReason fails the test unless err is a reason with that code.
func WantReason(t testing.TB, err error, code tasks.Code) tasks.Reason {
	t.Helper()
	var why tasks.Reason
	if !errors.As(err, &why) || why.Code != code {
		t.Fatalf("got %v (%T), want reason %s", err, err, code)
	}
	return why
}

// Run runs the suite against engines made by open. confined says whether the engine withstands the attackers too.
func Run(t *testing.T, open func(t *testing.T) sandbox.Engine, confined bool) {
	e := open(t)
	for _, c := range []struct {
		name string
		test func(*testing.T, sandbox.Engine)
	}{
		{"nothing to do", testNoop},
		{"what a call says", testCall},
		{"steps share memory", testSteps},
		{"steps share files", testStepsOnDisk},
		{"large output goes to the folder", testLarge},
		{"limits of output", testOutputLimits},
		{"names of output", testNames},
		{"failures", testFailures},
		{"log", testLog},
		{"progress", testProgress},
		{"time limit", testTimeLimit},
		{"merge", testMerge},
		{"compare", testCompare},
		{"refused work", testRefused},
		{"cancel", testCancel},
		{"scratch", testScratch},
		{"kill and go on", testKill},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, e) })
	}
	if confined {
		attacks(t, e)
	}
	t.Run("close", func(t *testing.T) { testClose(t, e) })
}

// place is a runner and its folder.
type place struct {
	sandbox.Runner
	dir string
}

func runner(t *testing.T, e sandbox.Engine) place {
	t.Helper()
	p := place{dir: t.TempDir()}
	for _, name := range []string{sandbox.InDir, sandbox.OutDir, sandbox.TmpDir} {
		if err := os.Mkdir(filepath.Join(p.dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	if p.Runner, err = e.Open(t.Context(), tasks.JobID{1}, p.dir); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Close()
		if err := sandbox.Wipe(p.dir); err != nil {
			t.Errorf("what the work left cannot be removed: %v", err)
		}
	})
	return p
}

// files gives work the runner's folders, emptied.
func (p place) files(t *testing.T, w sandbox.Work) sandbox.Work {
	t.Helper()
	w.OutDir, w.Scratch = filepath.Join(p.dir, sandbox.OutDir), filepath.Join(p.dir, sandbox.TmpDir)
	for _, dir := range []string{w.OutDir, w.Scratch} {
		list, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range list {
			if err := os.RemoveAll(filepath.Join(dir, d.Name())); err != nil {
				t.Fatal(err)
			}
		}
	}
	return w
}

func mustRun(t *testing.T, r sandbox.Runner, w sandbox.Work) sandbox.Result {
	t.Helper()
	res, err := r.Run(t.Context(), w)
	if err != nil {
		t.Fatalf("%v; log %q", err, res.Log)
	}
	return res
}

func wantFile(t *testing.T, res sandbox.Result, name, want string) {
	t.Helper()
	got, ok := res.Inline[name]
	if !ok || string(got) != want {
		t.Fatalf("file %q: got %.100q (there: %v), want %.100q", name, got, ok, want)
	}
}

func testNoop(t *testing.T, e sandbox.Engine) {
	r := runner(t, e)
	for range 3 {
		if res := mustRun(t, r, Do("noop", "")); len(res.Inline) != 0 || res.OnDisk {
			t.Fatalf("got %+v", res)
		}
	}
	if !r.Alive() {
		t.Fatal("not alive after good work")
	}
}

func testCall(t *testing.T, e sandbox.Engine) {
	w := Do("call", "")
	w.Stage, w.Index, w.Parts, w.Ranges, w.Seed = 3, 4, 5, 6, [32]byte{0xab, 0xcd}
	wantFile(t, mustRun(t, runner(t, e), w), "n", "call 3 4 5 6 abcd")
}

func testSteps(t *testing.T, e sandbox.Engine) {
	r := runner(t, e)
	w := Do("append", "1", map[string][]byte{"a": []byte("x"), "d/b": []byte("y"), "e": nil})
	w.Steps = append(w.Steps, Step("pass", ""), Step("append", "2"))
	res := mustRun(t, r, w)
	wantFile(t, res, "a", "x12")
	wantFile(t, res, "d/b", "y12")
	wantFile(t, res, "e", "12")
	two := Do("pass", "", map[string][]byte{"a": []byte("0")}, map[string][]byte{"a": []byte("1")})
	res = mustRun(t, r, two)
	wantFile(t, res, "0/a", "0")
	wantFile(t, res, "1/a", "1")
}

func testStepsOnDisk(t *testing.T, e sandbox.Engine) {
	r := runner(t, e)
	in := filepath.Join(r.dir, sandbox.InDir, "0")
	big := bytes.Repeat([]byte("big"), 6<<20) // more than steps hand on in memory
	if err := errors.Join(os.MkdirAll(filepath.Join(in, "d"), 0o700), os.WriteFile(filepath.Join(in, "d/big"), big, 0o600),
		os.WriteFile(filepath.Join(in, "small"), []byte("s"), 0o600)); err != nil {
		t.Fatal(err)
	}
	w := r.files(t, Do("pass", ""))
	w.In = []sandbox.Files{{Dir: in}}
	w.Steps = append(w.Steps, Step("append", "!"), Step("pass", ""))
	res := mustRun(t, r, w)
	if !res.OnDisk {
		t.Fatal("output is not on disk")
	}
	got, err := os.ReadFile(filepath.Join(w.OutDir, "d/big"))
	if err != nil || !bytes.Equal(got, append(big, '!')) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	if got, err := os.ReadFile(filepath.Join(in, "d/big")); err != nil || len(got) != len(big) {
		t.Fatalf("the input was changed: %d bytes, %v", len(got), err)
	}
}

func testLarge(t *testing.T, e sandbox.Engine) {
	r := runner(t, e)
	w := r.files(t, Do("write", "1000000"))
	res := mustRun(t, r, w)
	if !res.OnDisk || res.Inline != nil {
		t.Fatalf("on disk %v, inline %d files", res.OnDisk, len(res.Inline))
	}
	info, err := os.Stat(filepath.Join(w.OutDir, "big"))
	if err != nil || info.Size() != 1000000 {
		t.Fatalf("%v, %v", info, err)
	}
	if b, err := os.ReadFile(filepath.Join(w.OutDir, "dir/small")); err != nil || string(b) != "s" {
		t.Fatalf("%q, %v", b, err)
	}
}

func testOutputLimits(t *testing.T, e sandbox.Engine) {
	r := runner(t, e)
	w := r.files(t, Do("write", "1000000"))
	w.Limits.OutputBytes = 500_000
	_, err := r.Run(t.Context(), w)
	WantReason(t, err, tasks.OutputLimit)

	_, err = r.Run(t.Context(), Do("write", "1000000")) // more than inline, and no folder
	WantReason(t, err, tasks.OutputLimit)

	w = r.files(t, Do("write", "1000000"))
	w.Steps = append(w.Steps, Step("noop", ""))
	w.Limits.ScratchBytes = 500_000
	_, err = r.Run(t.Context(), w)
	WantReason(t, err, tasks.ScratchLimit)

	wantFile(t, mustRun(t, r, Do("name", "still.works")), "still.works", "x")
}

func testNames(t *testing.T, e sandbox.Engine) {
	r := runner(t, e)
	for _, name := range []string{"", ".", "..", "../x", "/etc/passwd", "a//b", "a/../b", "a/", strings.Repeat("n", 5000)} {
		_, err := r.Run(t.Context(), r.files(t, Do("name", name)))
		WantReason(t, err, tasks.TaskFailed)
	}
	_, err := r.Run(t.Context(), Do("twice", ""))
	WantReason(t, err, tasks.TaskFailed)
	wantFile(t, mustRun(t, r, Do("name", "ä ö/😀")), "ä ö/😀", "x")
}

func testFailures(t *testing.T, e sandbox.Engine) {
	r := runner(t, e)
	res, err := r.Run(t.Context(), Do("fail", "no such luck"))
	if why := WantReason(t, err, tasks.TaskFailed); !strings.Contains(why.Detail, "no such luck") {
		t.Fatalf("detail %q", why.Detail)
	}
	if !slices.Contains(res.Log, "about to fail") {
		t.Fatalf("log %q", res.Log)
	}
	res, err = r.Run(t.Context(), Do("panic", "at the disco"))
	if why := WantReason(t, err, tasks.TaskFailed); !strings.Contains(why.Detail, "at the disco") {
		t.Fatalf("detail %q", why.Detail)
	}
	if len(res.Log) == 0 || !r.Alive() {
		t.Fatalf("log %q, alive %v", res.Log, r.Alive())
	}
}

func testLog(t *testing.T, e sandbox.Engine) {
	r := runner(t, e)
	res := mustRun(t, r, Do("log", "hello \x1b[31mred\x00 password=hunter22 \xff"))
	if len(res.Log) != 1 || strings.ContainsAny(res.Log[0], "\x1b\x00") || strings.Contains(res.Log[0], "hunter22") {
		t.Fatalf("log %q", res.Log)
	}
	res = mustRun(t, r, Do("logflood", "20000"))
	size := 0
	for _, line := range res.Log {
		size += len(line)
	}
	if size == 0 || size > 5<<10 || !strings.Contains(res.Log[len(res.Log)-1], "dropped") {
		t.Fatalf("%d bytes of log, last %.80q", size, res.Log[len(res.Log)-1])
	}
}

func testProgress(t *testing.T, e sandbox.Engine) {
	w := Do("progress", "")
	w.Steps = append(w.Steps, Step("progress", ""))
	var mu sync.Mutex
	var last, count int64
	w.Progress = func(done, total int64) {
		mu.Lock()
		defer mu.Unlock()
		if total != 8 || done < last {
			t.Errorf("progress %d of %d after %d", done, total, last)
		}
		last = done
		count++
	}
	mustRun(t, runner(t, e), w)
	if count < 4 {
		t.Fatalf("%d reports of progress", count)
	}
}

func testTimeLimit(t *testing.T, e sandbox.Engine) {
	w := Do("heed", "")
	w.Limits.WallMillis = 100
	_, err := runner(t, e).Run(t.Context(), w)
	WantReason(t, err, tasks.TimeLimit)
}

func testMerge(t *testing.T, e sandbox.Engine) {
	w := Do("whatever", "", map[string][]byte{"n": []byte("a")}, map[string][]byte{"n": []byte("b")}, map[string][]byte{"n": []byte("c")})
	w.Op = sandbox.OpMerge
	wantFile(t, mustRun(t, runner(t, e), w), "n", "abc")
}

func testCompare(t *testing.T, e sandbox.Engine) {
	var in []map[string][]byte
	for _, n := range []string{"1", "1.001", "2", "what", "panic", "1"} {
		in = append(in, map[string][]byte{"n": []byte(n)})
	}
	in = append(in, map[string][]byte{"other": nil})
	w := Do("whatever", "", in...)
	w.Op, w.Steps[0].Kind = sandbox.OpCompare, "test.numbers"
	// (0,1) agree, (0,5) and (1,5) too; what cannot be read agrees with nothing.
	wantFile(t, mustRun(t, runner(t, e), w), sandbox.AgreementFile, "1"+"00"+"000"+"0000"+"11000"+"000000")

	w = Do("whatever", "", in[0], in[1])
	w.Op = sandbox.OpCompare
	_, err := runner(t, e).Run(t.Context(), w)
	WantReason(t, err, tasks.TaskFailed) // its results are compared by their bytes
}

func testRefused(t *testing.T, e sandbox.Engine) {
	r := runner(t, e)
	unknown := Do("noop", "")
	unknown.Steps[0].Kind = "no.such"
	if _, err := r.Run(t.Context(), unknown); !errors.Is(err, tasks.ErrUnknownKind) {
		t.Fatalf("unknown kind: %v", err)
	}
	for _, spoil := range []func(*sandbox.Work){
		func(w *sandbox.Work) { w.Limits.WallMillis = 0 },
		func(w *sandbox.Work) { w.Limits.MemoryBytes = -1 },
		func(w *sandbox.Work) { w.Steps = nil },
		func(w *sandbox.Work) { w.Op = "sing" },
		func(w *sandbox.Work) { w.Inline = 0 },
		func(w *sandbox.Work) { w.Op = sandbox.OpSplit },
	} {
		w := Do("noop", "")
		spoil(&w)
		if _, err := r.Run(t.Context(), w); err == nil {
			t.Fatalf("accepted %+v", w)
		}
	}
	mustRun(t, r, Do("noop", ""))
}

func testCancel(t *testing.T, e sandbox.Engine) {
	r := runner(t, e)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	if _, err := r.Run(ctx, Do("heed", "")); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	if r.Alive() {
		t.Fatal("alive after its work was cancelled")
	}
	if _, err := r.Run(t.Context(), Do("noop", "")); err == nil {
		t.Fatal("a dead runner ran")
	}
}

func testScratch(t *testing.T, e sandbox.Engine) {
	r := runner(t, e)
	w := r.files(t, Do("scratch", "1000"))
	mustRun(t, r, w)
	if _, err := os.Stat(filepath.Join(w.Scratch, "junk")); err != nil {
		t.Fatal(err) // its own to wipe: the caller's
	}
}

func testKill(t *testing.T, e sandbox.Engine) {
	r := runner(t, e)
	failed := make(chan error)
	go func() {
		_, err := r.Run(context.WithoutCancel(t.Context()), Do("heed", ""))
		failed <- err
	}()
	time.Sleep(50 * time.Millisecond)
	e.Kill()
	WantReason(t, <-failed, tasks.Killed)
	if r.Alive() {
		t.Fatal("alive after the kill")
	}
	mustRun(t, runner(t, e), Do("noop", ""))
}

func testClose(t *testing.T, e sandbox.Engine) {
	r := runner(t, e)
	if err := errors.Join(r.Close(), r.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Run(t.Context(), Do("noop", "")); !errors.Is(err, sandbox.ErrClosed) {
		t.Fatalf("run after close: %v", err)
	}
	busy := runner(t, e)
	failed := make(chan error)
	go func() {
		_, err := busy.Run(context.WithoutCancel(t.Context()), Do("heed", ""))
		failed <- err
	}()
	time.Sleep(50 * time.Millisecond)
	if err := errors.Join(e.Close(), e.Close()); err != nil {
		t.Fatal(err)
	}
	if err := <-failed; !errors.Is(err, sandbox.ErrClosed) {
		t.Fatalf("run during close: %v", err)
	}
	if _, err := e.Open(t.Context(), tasks.JobID{}, ""); !errors.Is(err, sandbox.ErrClosed) {
		t.Fatalf("open after close: %v", err)
	}
}
