package sandbox_test

import (
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"kith/tasks"
	"kith/tasks/sandbox"
	"kith/tasks/sandbox/sandboxtest"
)

func TestMain(m *testing.M) {
	if os.Getenv("KITH_SANDBOX_PARENT") != "" {
		beParent()
		return
	}
	sandboxtest.Main(m)
}

func options(t testing.TB) sandbox.Options {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return sandbox.Options{Exe: exe, Env: sandboxtest.RunnerEnv(), Kinds: sandboxtest.Kinds(), Entries: sandboxtest.Entries}
}

func process(t testing.TB, set func(*sandbox.Options)) *sandbox.Process {
	t.Helper()
	o := options(t)
	set(&o)
	e, err := sandbox.NewProcess(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

func TestProcess(t *testing.T) {
	t.Parallel()
	sandboxtest.Run(t, func(t *testing.T) sandbox.Engine { return process(t, func(*sandbox.Options) {}) }, true)
}

func TestProcessPlain(t *testing.T) {
	t.Parallel()
	sandboxtest.Run(t, func(t *testing.T) sandbox.Engine {
		return process(t, func(o *sandbox.Options) { o.Without, o.Spares = sandbox.LayerNamespaces, -1 })
	}, true)
}

// TestProcessOpen is what holds without confinement: limits, and the end of all processes.
func TestProcessOpen(t *testing.T) {
	t.Parallel()
	for name, without := range map[string]sandbox.Layers{
		"namespaces alone": strays | sandbox.LayerPrivileges,
		"nothing":          strays | sandbox.LayerPrivileges | sandbox.LayerNamespaces | sandbox.LayerCaps,
	} {
		t.Run(name, func(t *testing.T) {
			if name != "nothing" && testing.Short() {
				t.Skip("takes some seconds")
			}
			sandboxtest.Run(t, func(t *testing.T) sandbox.Engine {
				return process(t, func(o *sandbox.Options) { o.Without, o.Spares = without, -1 })
			}, true)
		})
	}
}

// TestProcessLayers shows that one wall holds where another is missing.
func TestProcessLayers(t *testing.T) {
	t.Parallel()
	for name, without := range map[string]sandbox.Layers{
		"no system call filter": sandbox.LayerSyscalls,
		"own root alone":        sandbox.LayerSyscalls | sandbox.LayerLandlock,
		"landlock alone":        sandbox.LayerSyscalls | sandbox.LayerNamespaces,
		"filter alone":          sandbox.LayerLandlock | sandbox.LayerRoot,
	} {
		t.Run(name, func(t *testing.T) {
			e := process(t, func(o *sandbox.Options) { o.Without, o.Spares = without, -1 })
			sandboxtest.Escapes(t, e)
		})
	}
}

func TestInProcess(t *testing.T) {
	t.Parallel()
	sandboxtest.Run(t, func(t *testing.T) sandbox.Engine { return sandbox.InProcess(sandboxtest.Kinds()) }, false)
}

// TestInProcessInABubble shows that simulations may use the engine: its limits are in the bubble's time.
func TestInProcessInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := sandbox.InProcess(sandboxtest.Kinds())
		r, err := e.Open(t.Context(), tasks.JobID{}, "")
		if err != nil {
			t.Fatal(err)
		}
		w := sandboxtest.Do("heed", "")
		w.Limits.WallMillis = time.Hour.Milliseconds()
		res, err := r.Run(t.Context(), w)
		sandboxtest.WantReason(t, err, tasks.TimeLimit)
		if res.WallMillis != w.Limits.WallMillis {
			t.Fatalf("stopped after %d ms", res.WallMillis)
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestSpares(t *testing.T) {
	e := process(t, func(o *sandbox.Options) { o.Spares = 2 })
	e.Warm()
	// Whoever opens finds a runner, whether the spares are ready or not, and each job gets its own.
	for i := range 6 {
		r, err := e.Open(t.Context(), tasks.JobID{byte(i)}, "")
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		res, err := r.Run(t.Context(), sandboxtest.Do("count", ""))
		if err != nil || string(res.Inline["n"]) != "1" {
			t.Fatalf("runner %d: %q, %v", i, res.Inline["n"], err)
		}
	}
}

func TestNoSuchProgram(t *testing.T) {
	for name, o := range map[string]sandbox.Options{
		"missing":         {Exe: "/no/such/program"},
		"not a runner":    {Exe: os.Args[0], Args: []string{"-test.run=NoTestHasThisName"}},
		"ends at once":    {Exe: os.Args[0], Args: []string{"-no-such-flag"}},
		"without spares":  {Exe: "/no/such/program", Spares: -1},
		"a plain process": {Exe: "/no/such/program", Without: sandbox.LayerNamespaces},
	} {
		t.Run(name, func(t *testing.T) {
			e := process(t, func(p *sandbox.Options) { o.Kinds = p.Kinds; *p = o })
			if r, err := e.Open(t.Context(), tasks.JobID{1}, ""); err == nil {
				r.Close()
				t.Fatal("opened a runner")
			}
			e.Kill()
		})
	}
}

func TestSelfTest(t *testing.T) {
	for _, c := range []struct {
		name    string
		without sandbox.Layers
		want    tasks.SandboxGrade
	}{
		{"all layers", 0, tasks.GradeA},
		{"no exact caps", sandbox.LayerCaps, tasks.GradeB},
		{"exact caps, no namespaces", sandbox.LayerNamespaces, tasks.GradeA},
		{"no namespaces", sandbox.LayerNamespaces | sandbox.LayerCaps, tasks.GradeB},
		{"no filter", sandbox.LayerSyscalls, tasks.GradeProcess},
		{"nothing", strays | sandbox.LayerPrivileges | sandbox.LayerNamespaces | sandbox.LayerCaps, tasks.GradeProcess},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := process(t, func(o *sandbox.Options) { o.Without, o.Spares = c.without, -1 })
			r, err := e.SelfTest(t.Context(), t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			want := c.want
			if e.Layers()&(sandbox.LayerRoot|sandbox.LayerLandlock) == 0 || e.Layers()&sandbox.LayerSyscalls == 0 {
				want = tasks.GradeProcess // this system has no more to give
			} else if e.Layers()&sandbox.LayerCaps == 0 {
				want = min(want, tasks.GradeB)
			}
			if r.Grade != want || e.Grade() != want {
				t.Errorf("grade %d, engine says %d, want %d; held by %s; broken: %q", r.Grade, e.Grade(), want, r.Layers, r.Broken())
			}
			if want > tasks.GradeProcess && len(r.Broken()) > 0 {
				t.Errorf("broken: %q", r.Broken())
			}
			if exact := e.Layers()&sandbox.LayerCaps != 0; exact && r.Overshoot.Memory != 0 || !exact && r.Overshoot.Memory <= 0 {
				t.Errorf("the memory limit was passed by %d bytes; held by %s", r.Overshoot.Memory, r.Layers)
			}
			if no := r.Layers&sandbox.LayerNamespaces == 0; runtime.GOOS == "linux" && strings.Contains(r.Promise(), "refuses it namespaces") != no {
				t.Errorf("without namespaces: %v; it says %q", no, r.Promise())
			}
			if wants := runtime.GOOS == "linux" && (want < tasks.GradeA || r.Layers&sandbox.LayerNamespaces == 0); (r.Remedy() != "") != wants {
				t.Errorf("grade %d, missing %q, remedy %q", want, r.Missing, r.Remedy())
			}
			t.Logf("%d attacks in %v, held by %s; passed by %+v; %s; missing: %s; remedy: %s", len(r.Findings), r.Took, r.Layers, r.Overshoot, r.Promise(), r.Missing, r.Remedy())
		})
	}
}
