package wasm_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"kith/storage/dag"
	"kith/storage/memstore"
	"kith/tasks"
	"kith/tasks/execute"
	"kith/tasks/kinds/kindtest"
	"kith/tasks/kinds/wasm"
	"kith/tasks/sandbox"
)

// exits is a module of about size bytes that ends with an exit code.
func exits(code byte, size int) []byte {
	m := empty + section(1, "\x02\x60\x01\x7f\x00\x60\x00\x00") +
		section(2, "\x01\x16wasi_snapshot_preview1\x09proc_exit\x00\x00") + section(3, "\x01\x01") + section(5, "\x01\x00\x01") +
		section(7, "\x02\x06_start\x00\x01\x06memory\x02\x00") + section(10, "\x01\x06\x00\x41"+string([]byte{code})+"\x10\x00\x0b")
	pad := append([]byte("\x03pad"), bytes.Repeat([]byte{'x'}, size)...)
	return append(append([]byte(m), 0), append(binary.AppendUvarint(nil, uint64(len(pad))), pad...)...)
}

// counting counts what an engine is asked for.
type counting struct {
	sandbox.Engine

	mu                sync.Mutex
	prepared, with, n int // preparations, and of all runs those that had something prepared
}

func (e *counting) Open(ctx context.Context, job tasks.JobID, dir string) (sandbox.Runner, error) {
	r, err := e.Engine.Open(ctx, job, dir)
	return &countingRunner{Runner: r, of: e}, err
}

type countingRunner struct {
	sandbox.Runner
	of   *counting
	used bool
}

func (r *countingRunner) Run(ctx context.Context, w sandbox.Work) (sandbox.Result, error) {
	r.of.mu.Lock()
	if w.Op == sandbox.OpPrepare {
		r.of.prepared++
		if r.used {
			panic("prepared in a runner that has run something else")
		}
	} else {
		r.of.n++
		if w.Prepared != "" {
			r.of.with++
		}
	}
	r.used = true
	r.of.mu.Unlock()
	return r.Runner.Run(ctx, w)
}

// took returns the counts since it was last called.
func (e *counting) took() [3]int {
	e.mu.Lock()
	defer e.mu.Unlock()
	c := [3]int{e.prepared, e.n, e.with}
	e.prepared, e.n, e.with = 0, 0, 0
	return c
}

// prepares is a machine whose executor keeps machine code.
type prepares struct {
	*counting
	blobs *memstore.Blobs
	dir   string
	most  int64
	exec  *execute.Executor
	jobs  byte
}

func newPrepares(t *testing.T, most int64) *prepares {
	p := &prepares{counting: &counting{Engine: engine(t)}, blobs: memstore.NewBlobs(), dir: filepath.Join(t.TempDir(), "prepared"), most: most}
	p.restart(t)
	t.Cleanup(func() { p.exec.Close() })
	return p
}

func (p *prepares) restart(t *testing.T) {
	t.Helper()
	if p.exec != nil {
		if err := p.exec.Close(); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	if p.exec, err = execute.New(execute.Options{
		Engine: p.counting, Blobs: p.blobs, Kinds: kindtest.Registry{wasm.New()}, Scratch: filepath.Join(t.TempDir(), "s"), Prepared: p.dir, PreparedBytes: p.most,
	}); err != nil {
		t.Fatal(err)
	}
}

// run runs a module as a task of a new job and returns why it failed.
func (p *prepares) run(t *testing.T, module []byte, keys ...[]byte) string {
	t.Helper()
	p.jobs++
	return p.again(t, module, keys...)
}

// again does so in the same job.
func (p *prepares) again(t *testing.T, module []byte, keys ...[]byte) string {
	t.Helper()
	files := map[string][]byte{wasm.ModuleFile: module}
	for name, f := range kindtest.Corpus(docs...) {
		files[name] = f.Data
	}
	in, err := dag.AddFiles(t.Context(), p.blobs, files)
	if err != nil {
		t.Fatal(err)
	}
	_, err = p.exec.Run(t.Context(), tasks.Assignment{
		Job: tasks.JobID{p.jobs}, Mode: tasks.Map, Parts: 1, Inputs: []dag.CID{in.Root}, Keys: keys,
		Steps: []tasks.Step{{Kind: "wasm", Phase: "run", Params: []byte(`{"module":"x","args":[],"memory":1}`)}},
	}, nil)
	var why tasks.Reason
	if !errors.As(err, &why) {
		t.Fatalf("the task did not fail by itself: %v", err)
	}
	return why.Detail
}

// kept lists what is kept.
func (p *prepares) kept(t *testing.T) (dirs []string) {
	t.Helper()
	list, err := os.ReadDir(p.dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range list {
		dirs = append(dirs, filepath.Join(p.dir, d.Name()))
	}
	return dirs
}

func (p *prepares) want(t *testing.T, what string, want [3]int) {
	t.Helper()
	if got := p.took(); got != want {
		t.Errorf("%s: compiled, tasks, tasks with compiled code: %v, want %v", what, got, want)
	}
}

// TestPrepared: a module is compiled once for all runners and jobs, over restarts, by a runner that does nothing else.
func TestPrepared(t *testing.T) {
	p := newPrepares(t, 0)
	module := exits(7, 128<<10)
	ran := func(what, said string) {
		t.Helper()
		if !strings.Contains(said, "exit code 7") {
			t.Errorf("%s: it says %q", what, said)
		}
	}
	var all sync.WaitGroup
	p.jobs++
	for range 3 { // at once
		all.Go(func() { ran("first", p.again(t, module)) })
	}
	all.Wait()
	p.want(t, "first", [3]int{1, 3, 3})
	ran("same job", p.again(t, module))
	ran("another job", p.run(t, module))
	p.want(t, "later", [3]int{0, 2, 2})
	p.restart(t)
	ran("after a restart", p.run(t, module))
	p.want(t, "after a restart", [3]int{0, 1, 1})

	for name, damage := range map[string]func(dir string) error{
		"a flipped bit": func(dir string) error {
			data, err := os.ReadFile(filepath.Join(dir, "data"))
			if err == nil {
				data[len(data)/2] ^= 4
				err = os.WriteFile(filepath.Join(dir, "data"), data, 0o600)
			}
			return err
		},
		"cut off": func(dir string) error { return os.Truncate(filepath.Join(dir, "data"), 100) },
		"no data": func(dir string) error { return os.Remove(filepath.Join(dir, "data")) },
		"no head": func(dir string) error { return os.Remove(filepath.Join(dir, "head.json")) },
		"a bad one": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "head.json"), []byte(`{"name":"../x"}`), 0o600)
		},
	} {
		dirs := p.kept(t)
		if len(dirs) != 1 {
			t.Fatalf("%s: kept %v", name, dirs)
		}
		if err := damage(dirs[0]); err != nil {
			t.Fatal(err)
		}
		ran(name, p.run(t, module))
		p.want(t, name, [3]int{1, 1, 1})
	}

	ran("sealed", p.run(t, exits(7, 1)))
	p.want(t, "a small module", [3]int{0, 1, 0})
	if said := p.run(t, append([]byte("\x00asm nonsense"), make([]byte, 128<<10)...)); !strings.Contains(said, "cannot be run") {
		t.Errorf("a bad module: it says %q", said)
	}
	p.want(t, "a bad module", [3]int{1, 1, 0})
	if len(p.kept(t)) != 1 {
		t.Errorf("kept %v", p.kept(t))
	}
}

// TestPreparedIsUsed puts the code of another module in the place of a module's own, as no task could.
func TestPreparedIsUsed(t *testing.T) {
	p := newPrepares(t, 0)
	a, b := exits(7, 128<<10), exits(9, 128<<10)
	p.run(t, a)
	ofA := p.kept(t)[0]
	p.run(t, b)
	for _, dir := range p.kept(t) {
		if dir == ofA {
			continue
		}
		data, err := os.ReadFile(filepath.Join(dir, "data"))
		if err != nil {
			t.Fatal(err)
		}
		var mine, theirs map[string]any
		for at, head := range map[string]*map[string]any{ofA: &mine, dir: &theirs} {
			text, err := os.ReadFile(filepath.Join(at, "head.json"))
			if err = errors.Join(err, json.Unmarshal(text, head)); err != nil {
				t.Fatal(err)
			}
		}
		theirs["name"] = mine["name"]
		text, err := json.Marshal(theirs)
		if err = errors.Join(err, os.WriteFile(filepath.Join(ofA, "head.json"), text, 0o600), os.WriteFile(filepath.Join(ofA, "data"), data, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if said := p.run(t, a); !strings.Contains(said, "exit code 9") {
		t.Errorf("what was prepared is not what runs: %q", said)
	}
}

// TestPreparedQuota: what was not used for longest goes first.
func TestPreparedQuota(t *testing.T) {
	p := newPrepares(t, 0)
	p.run(t, exits(1, 128<<10))
	info, err := os.Stat(filepath.Join(p.kept(t)[0], "data"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(p.dir); err != nil {
		t.Fatal(err)
	}
	p.most = 2*info.Size() + info.Size()/2
	p.restart(t)
	p.took()
	for _, step := range []struct {
		code          byte
		compiled, has int
	}{{1, 1, 1}, {2, 1, 2}, {1, 0, 2}, {3, 1, 2}, {1, 0, 2}, {2, 1, 2}, {3, 1, 2}} {
		p.run(t, exits(step.code, 128<<10))
		if got := p.took(); got != [3]int{step.compiled, 1, 1} || len(p.kept(t)) != step.has {
			t.Errorf("module %d: %v, kept %d, want %+v", step.code, got, len(p.kept(t)), step)
		}
	}
	for name, age := range map[string]time.Duration{"half-1": 2 * time.Hour, "half-2": 0} { // of a dead program, and of one that runs
		dir, made := filepath.Join(p.dir, name), time.Now().Add(-age)
		if err := errors.Join(os.Mkdir(dir, 0o700), os.Chtimes(dir, made, made)); err != nil {
			t.Fatal(err)
		}
	}
	p.restart(t)
	if kept := p.kept(t); len(kept) != 3 || filepath.Base(kept[2]) != "half-2" {
		t.Errorf("kept %v", kept)
	}
	if err := os.Remove(filepath.Join(p.dir, "half-2")); err != nil {
		t.Fatal(err)
	}
	p.most = 10
	p.restart(t)
	p.took()
	p.run(t, exits(4, 128<<10))
	p.want(t, "more than is ever kept", [3]int{1, 1, 0})
}

// BenchmarkStart is the first task of a 3.9 MB module in Go in a new runner, without and with what was prepared: from Run to
// its end, after the runner has started.
func BenchmarkStart(b *testing.B) {
	code := module(b, "testdata/probe")
	for _, name := range []string{"compiled", "prepared"} {
		b.Run(name, func(b *testing.B) {
			e := engine(b)
			var run, again []time.Duration
			made := prepare(b, e, code)
			for b.Loop() {
				r, w := confinedIn(b, e, code, `{"module":"x","args":["none"]}`)
				if name == "prepared" {
					w.Prepared = filepath.Join(filepath.Dir(w.OutDir), sandbox.InDir, "prepared")
					if err := os.CopyFS(w.Prepared, os.DirFS(made)); err != nil {
						b.Fatal(err)
					}
				}
				for _, into := range []*[]time.Duration{&run, &again} {
					began := time.Now()
					if _, err := r.Run(b.Context(), w); err != nil {
						b.Fatal(err)
					}
					*into = append(*into, time.Since(began))
				}
				if err := r.Close(); err != nil {
					b.Fatal(err)
				}
			}
			for name, all := range map[string][]time.Duration{"first": run, "second": again} {
				slices.Sort(all)
				b.ReportMetric(float64(all[len(all)/2].Microseconds())/1000, "ms-"+name)
			}
		})
	}
}

// prepare returns a folder with the code of a module.
func prepare(b *testing.B, e sandbox.Engine, code []byte) string {
	r, w := confinedIn(b, e, code, `{"module":"x","args":["none"]}`)
	w.Op, w.Inline = sandbox.OpPrepare, 0
	if _, err := r.Run(b.Context(), w); err != nil {
		b.Fatal(err)
	}
	if err := r.Close(); err != nil {
		b.Fatal(err)
	}
	return w.OutDir
}
