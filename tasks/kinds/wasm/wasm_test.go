package wasm_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"kith/tasks"
	"kith/tasks/kinds/etl/corpus"
	"kith/tasks/kinds/kindtest"
	"kith/tasks/kinds/wasm"
	"kith/tasks/sandbox"
)

const runnerEnv = "KITH_WASM_TEST"

// modules is where TestMain has the modules of the tests built.
var modules string

func TestMain(m *testing.M) {
	if os.Getenv(runnerEnv) != "" {
		os.Exit(sandbox.Main(kindtest.Registry{wasm.New()}))
	}
	dir, err := os.MkdirTemp("", "kith-wasm-")
	if err != nil {
		panic(err)
	}
	modules = dir
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// module builds the program in a folder of this package, once.
func module(t testing.TB, folder string) []byte {
	t.Helper()
	name := filepath.Join(modules, filepath.Base(folder)+".wasm")
	code, err := os.ReadFile(name)
	if err == nil {
		return code
	}
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s", "-o", name, "./"+folder)
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("no go command that builds for wasip1: %v\n%s", err, out)
	}
	if code, err = os.ReadFile(name); err != nil {
		t.Fatal(err)
	}
	return code
}

var docs = []kindtest.Doc{
	{Path: "a.txt", Data: "mail me: ann@example.org\nTODO: more\n"},
	{Path: "b/c.go", Data: "// FIXME at 10.1.2.3\nok\n"},
	{Path: "d"},
	{Path: "e\"<&\xff", Data: "TODO \xff end"},
	{Path: "f", At: 12, Data: "nothing\n"},
}

func parts(code []byte, lists ...[]kindtest.Doc) (in []fs.FS) {
	for _, docs := range lists {
		part := kindtest.Corpus(docs...)
		part[wasm.ModuleFile] = &fstest.MapFile{Data: code}
		in = append(in, part)
	}
	return in
}

// shared keeps what it compiled from one test to the next.
var shared = wasm.New()

func run(t testing.TB, code []byte, params string, lists ...[]kindtest.Doc) (fstest.MapFS, error) {
	t.Helper()
	k := shared
	canonical, err := k.Check([]byte(params))
	if err != nil {
		t.Fatal(err)
	}
	return kindtest.Job{
		Kinds: kindtest.Registry{k}, Ops: []tasks.Op{{Kind: "wasm", Params: canonical}}, Parts: parts(code, lists...), Scratch: t.TempDir(),
		Log: t.Logf,
	}.Run(t.Context())
}

// anySplit runs a module over every way to cut docs that tells, and returns the one result.
func anySplit(t *testing.T, code []byte, params string) fstest.MapFS {
	t.Helper()
	want, err := run(t, code, params, docs)
	if err != nil {
		t.Fatal(err)
	}
	for _, lists := range [][][]kindtest.Doc{{docs[:1], docs[1:]}, {docs[:2], nil, docs[2:4], docs[4:]}} {
		got, err := run(t, code, params, lists...)
		if err != nil {
			t.Fatal(err)
		}
		if diff := kindtest.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	return want
}

func TestGrep(t *testing.T) {
	got := anySplit(t, module(t, "examples/grep"), `{"module":"grep.wasm","args":["TODO|FIXME"]}`)
	want := `{"path":"a.txt","at":0,"line":2,"text":"TODO: more"}
{"path":"b/c.go","at":0,"line":1,"text":"// FIXME at 10.1.2.3"}
`
	if s := string(got["matches.jsonl"].Data); !strings.HasPrefix(s, want) || strings.Count(s, "\n") != 3 {
		t.Errorf("got\n%s", s)
	}
}

func TestRedact(t *testing.T) {
	got := anySplit(t, module(t, "examples/redact"), `{"module":"redact.wasm"}`)
	list, err := kindtest.Docs(got) // which is to say that it is a corpus
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != len(docs) || list[0].Data != "mail me: [email]\nTODO: more\n" || list[1].Data != "// FIXME at [ip]\nok\n" || list[3] != docs[3] || list[4] != docs[4] {
		t.Errorf("got %v", list)
	}
}

func TestSeen(t *testing.T) {
	code := module(t, "testdata/probe")
	got, err := run(t, code, `{"module":"x","memory":32,"args":["see","ä b"]}`, docs)
	if err != nil {
		t.Fatal(err)
	}
	s := string(got["seen"].Data)
	if !strings.Contains(s, "year 2000, slept an hour: true") || !strings.Contains(s, `args ["module" "see" "ä b"]`) || !strings.Contains(s, "env []") {
		t.Errorf("got\n%s", s)
	}
	if strings.Contains(s, "refused false") || strings.Count(s, "refused true") != 9 {
		t.Errorf("not all was refused:\n%s", s)
	}
	if string(got["a/b/c"].Data) != "deep\n" || len(got) != 2 {
		t.Errorf("files %v", got)
	}
	again, err := run(t, code, `{"module":"x","memory":32,"args":["see","ä b"]}`, docs)
	if err != nil {
		t.Fatal(err)
	}
	if diff := kindtest.Diff(got, again); diff != "" {
		t.Error("the same call gave something else: ", diff)
	}
	two, err := run(t, code, `{"module":"x","memory":32,"args":["see","ä b"]}`, docs, nil)
	if err != nil {
		t.Fatal(err)
	}
	if a, b, _ := strings.Cut(string(two["seen"].Data), "env"); !strings.HasPrefix(s, a) || strings.Contains(b, a[:20]) {
		t.Error("two parts have the same random bytes")
	}
}

// empty is the smallest module; section appends to it.
const empty = "\x00asm\x01\x00\x00\x00"

func section(id byte, body string) string { return string([]byte{id, byte(len(body))}) + body }

func TestBadModules(t *testing.T) {
	k := wasm.New()
	const noFunction = "\x01\x60\x00\x00" // one type: no parameters, no results
	foreign := empty + section(1, noFunction) + section(2, "\x01\x03env\x03foo\x00\x00") + section(3, "\x01\x00") +
		section(7, "\x01\x06_start\x00\x01") + section(10, "\x01\x02\x00\x0b")
	unknown := strings.Replace(foreign, "\x03env\x03foo", "\x16wasi_snapshot_preview1\x03foo", 1)
	unknown = strings.Replace(unknown, "\x02\x0b\x01\x16", "\x02\x1e\x01\x16", 1)
	start := empty + section(1, noFunction) + section(3, "\x01\x00")
	for _, c := range []struct {
		name, code, want string
	}{
		{"empty file", "", "not WebAssembly"},
		{"a text", "#!/bin/sh\nexit 0\n", "not WebAssembly"},
		{"an ELF program", "\x7fELF\x02\x01\x01", "not WebAssembly"},
		{"the text form", "(module)", "not WebAssembly"},
		{"cut off", empty[:6], "cannot be run"},
		{"garbage after the head", empty + "\xff\xff\xff\xff", "cannot be run"},
		{"exports nothing", empty, "_start"},
		{"starts with something that is no function", empty + section(5, "\x01\x00\x01") + section(7, "\x01\x06_start\x02\x00"), "_start"},
		{"imports what is not given", foreign, `"env"."foo"`},
		{"imports what WASI has not", unknown, `"foo"`},
		{"wants too much memory", start + section(5, "\x01\x00\x80\x80\x02") + section(7, "\x01\x06_start\x00\x00") + section(10, "\x01\x02\x00\x0b"), "cannot be run"},
		{"unreachable", start + section(7, "\x01\x06_start\x00\x00") + section(10, "\x01\x03\x00\x00\x0b"), "unreachable"},
		{"calls itself for ever", start + section(7, "\x01\x06_start\x00\x00") + section(10, "\x01\x04\x00\x10\x00\x0b"), "stack overflow"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := k.Run(t.Context(), &tasks.Call{
				Params: []byte(`{"module":"x"}`), In: parts([]byte(c.code), docs), Scratch: t.TempDir(), Out: kindtest.NewOutput(),
			})
			if err == nil || !strings.Contains(err.Error(), c.want) || !errors.Is(err, wasm.ErrModule) && !errors.Is(err, wasm.ErrExit) {
				t.Errorf("got %v, want one that says %q", err, c.want)
			}
		})
	}
	err := k.Run(t.Context(), &tasks.Call{Params: []byte(`{"module":"x"}`), In: []fs.FS{kindtest.Corpus(docs...)}, Scratch: t.TempDir(), Out: kindtest.NewOutput()})
	if !errors.Is(err, wasm.ErrModule) {
		t.Errorf("no module: %v", err)
	}
}

func TestMisbehaviour(t *testing.T) {
	code := module(t, "testdata/probe")
	for how, want := range map[string]string{
		"exit": "exit code 7: out of luck", "panic": "exit code 2", "memory": "exit code 2", "half": "only one", "link": "exit code 1",
	} {
		t.Run(how, func(t *testing.T) {
			_, err := run(t, code, fmt.Sprintf(`{"module":"x","memory":32,"args":[%q]}`, how), docs)
			if !errors.Is(err, wasm.ErrExit) || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want %q", err, want)
			}
		})
	}
	t.Run("nothing written", func(t *testing.T) {
		if got, err := run(t, code, `{"module":"x","memory":32,"args":["none"]}`, docs); err != nil || len(got) != 0 {
			t.Errorf("got %v, %v", got, err)
		}
	})
	t.Run("deadline", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		err := shared.Run(ctx, &tasks.Call{
			Params: []byte(`{"module":"x","memory":32,"args":["spin"]}`), In: parts(code, docs), Scratch: t.TempDir(), Out: kindtest.NewOutput(),
		})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}

func TestCheck(t *testing.T) {
	k := wasm.New()
	for _, bad := range []string{
		`{"module":"/etc/passwd"}`, `{"module":"../x"}`, `{"module":"."}`, `{"memory":0}`, `{"memory":-1}`, `{"memory":4097}`, `{"x":1}`,
		`{"args":["a\u0000b"]}`, `{"args":["` + strings.Repeat("x", 5000) + `"]}`, `{"args":[` + strings.Repeat(`"",`, 64) + `""]}`,
	} {
		if _, err := k.Check([]byte(bad)); !errors.Is(err, tasks.ErrParams) {
			t.Errorf("%.60s: got %v", bad, err)
		}
	}
	if _, _, err := k.Carries(nil); !errors.Is(err, tasks.ErrParams) {
		t.Errorf("without a module: %v", err)
	}
	if name, path, err := k.Carries([]byte(`{"module":"tools/x.wasm"}`)); err != nil || name != wasm.ModuleFile || path != "tools/x.wasm" {
		t.Errorf("%q, %q, %v", name, path, err)
	}
}

func TestMerge(t *testing.T) {
	k := wasm.New()
	merge := func(in ...fs.FS) fstest.MapFS {
		out := kindtest.NewOutput()
		if err := k.Merge(t.Context(), &tasks.Call{In: in, Out: out}); err != nil {
			t.Fatal(err)
		}
		return out.FS()
	}
	one := kindtest.Corpus(docs[:2]...)
	one["log/x"] = &fstest.MapFile{Data: []byte("1")}
	two := fstest.MapFS{"log/x": {Data: []byte("2")}, "only": {Data: []byte("two")}}
	three := kindtest.Corpus(docs[2:]...)
	all := merge(one, two, three)
	if string(all["log/x"].Data) != "12" || string(all["only"].Data) != "two" || all[corpus.DataFile] == nil {
		t.Errorf("got %v", all)
	}
	for _, got := range []fstest.MapFS{merge(merge(one, two), three), merge(one, merge(two, three))} {
		if diff := kindtest.Diff(all, got); diff != "" {
			t.Error(diff)
		}
	}
	if diff := kindtest.Diff(one, merge(one)); diff != "" {
		t.Error(diff)
	}
}

// TestConfined runs a module where it will run: in a runner with all its walls.
func TestConfined(t *testing.T) {
	code := module(t, "testdata/probe")
	do := func(how string) []byte { return []byte(`{"module":"x","memory":32,"args":["` + how + `"]}`) }
	r, w := confined(t, code, string(do("see")))
	for range 2 {
		res, err := r.Run(t.Context(), w)
		if err != nil {
			t.Fatal(err)
		}
		if s := string(res.Inline["seen"]); strings.Contains(s, "refused false") || strings.Count(s, "refused true") != 9 {
			t.Errorf("got\n%s", s)
		}
	}
	wall := w.Limits.WallMillis
	for _, c := range []struct {
		how  string
		wall int64
		want tasks.Code
	}{{"memory", wall, tasks.TaskFailed}, {"spin", 2000, tasks.TimeLimit}} { // only the second costs the runner its life
		w.Steps[0].Params, w.Limits.WallMillis = do(c.how), c.wall
		_, err := r.Run(t.Context(), w)
		var why tasks.Reason
		if !errors.As(err, &why) || why.Code != c.want {
			t.Errorf("%s: got %v", c.how, err)
		}
	}
}

// engine runs modules in runners with all their walls.
func engine(t testing.TB) sandbox.Engine {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	e, err := sandbox.NewProcess(sandbox.Options{Exe: exe, Env: []string{runnerEnv + "=1"}, Kinds: kindtest.Registry{wasm.New()}, Spares: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

func confined(t testing.TB, code []byte, params string) (sandbox.Runner, sandbox.Work) {
	t.Helper()
	return confinedIn(t, engine(t), code, params)
}

// confinedIn opens a runner of an engine, and returns work with a module for it.
func confinedIn(t testing.TB, e sandbox.Engine, code []byte, params string) (sandbox.Runner, sandbox.Work) {
	t.Helper()
	dir := t.TempDir()
	in := filepath.Join(dir, sandbox.InDir, "0")
	if err := errors.Join(os.MkdirAll(in, 0o700), os.Mkdir(filepath.Join(dir, sandbox.OutDir), 0o700), os.Mkdir(filepath.Join(dir, sandbox.TmpDir), 0o700),
		os.CopyFS(in, parts(code, docs)[0])); err != nil {
		t.Fatal(err)
	}
	r, err := e.Open(t.Context(), tasks.JobID{1}, dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r, sandbox.Work{
		Op: sandbox.OpRun, Steps: []tasks.Step{{Kind: "wasm", Phase: "run", Params: []byte(params)}}, Inline: 64 << 10, Parts: 1,
		In: []sandbox.Files{{Dir: in}}, Limits: wasm.New().Describe().Limits, OutDir: filepath.Join(dir, sandbox.OutDir), Scratch: filepath.Join(dir, sandbox.TmpDir),
	}
}

// BenchmarkTask is one task in a warm, confined runner, whose module is compiled.
func BenchmarkTask(b *testing.B) {
	for name, code := range map[string][]byte{
		"tiny": []byte(empty + section(1, "\x01\x60\x00\x00") + section(3, "\x01\x00") + section(7, "\x01\x06_start\x00\x00") + section(10, "\x01\x02\x00\x0b")),
		"go":   module(b, "testdata/probe"),
	} {
		b.Run(name, func(b *testing.B) {
			r, w := confined(b, code, `{"module":"x","args":["none"]}`)
			began := time.Now()
			if _, err := r.Run(b.Context(), w); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(time.Since(began).Milliseconds()), "ms-first")
			for b.Loop() {
				if _, err := r.Run(b.Context(), w); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// What a module has read of its input is its progress; the module itself is none of it.
func TestProgressIsWhatWasRead(t *testing.T) {
	code := module(t, "examples/grep")
	k := shared
	params, err := k.Check([]byte(`{"module":"grep.wasm","args":["TODO"]}`))
	if err != nil {
		t.Fatal(err)
	}
	in := parts(code, docs)
	want := int64(0)
	for _, name := range []string{"data", "index.jsonl"} {
		info, err := fs.Stat(in[0], name)
		if err != nil {
			t.Fatal(err)
		}
		want += info.Size()
	}
	var last, all int64
	c := &tasks.Call{Phase: "run", Params: params, In: in, Scratch: t.TempDir(), Parts: 1, Out: kindtest.NewOutput(), Progress: func(done, total int64) {
		if done < last || done > total {
			t.Errorf("%d of %d after %d", done, total, last)
		}
		last, all = done, total
	}}
	if err := k.Run(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if last != want || all != want {
		t.Errorf("in the end %d of %d, want %d", last, all, want)
	}
}

// The example grep goes on from its checkpoint: what was found before stands first, what came after the last checkpoint is
// found again, and the result is the same.
func TestGrepGoesOn(t *testing.T) {
	code := module(t, "examples/grep")
	k := shared
	params, err := k.Check([]byte(`{"module":"grep.wasm","args":["TODO|FIXME"],"checkpoint":true}`))
	if err != nil {
		t.Fatal(err)
	}
	if !k.Checkpoints(params) || k.Checkpoints([]byte(`{"module":"m"}`)) {
		t.Error("the parameter is not heard")
	}
	grep := func(progress, lines string) string {
		t.Helper()
		c := &tasks.Call{Phase: "run", Params: params, In: parts(code, docs), Scratch: t.TempDir(), Parts: 1, Log: t.Logf}
		dir := filepath.Join(c.Scratch, tasks.CheckpointDir)
		if progress != "" {
			if err := errors.Join(os.Mkdir(dir, 0o700), os.WriteFile(filepath.Join(dir, "progress.json"), []byte(progress), 0o600),
				os.WriteFile(filepath.Join(dir, "matches.jsonl"), []byte(lines), 0o600)); err != nil {
				t.Fatal(err)
			}
		}
		out := kindtest.NewOutput()
		c.Out = out
		if err := k.Run(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(dir); err != nil {
			t.Errorf("no checkpoint: %v", err)
		}
		return string(out.FS()["matches.jsonl"].Data)
	}
	whole, err := run(t, code, `{"module":"grep.wasm","args":["TODO|FIXME"]}`, docs)
	if err != nil {
		t.Fatal(err)
	}
	want := string(whole["matches.jsonl"].Data)
	if got := grep("", ""); got != want {
		t.Errorf("with a checkpoint it finds\n%s", got)
	}
	first, rest, _ := strings.Cut(want, "\n")
	found := strings.ReplaceAll(first, "TODO", "DONE") + "\n" // as it will not be found again
	for name, lines := range map[string]string{"whole": found, "a line begun after it": found + `{"path":"b/`} {
		if got := grep(fmt.Sprintf(`{"records":1,"bytes":%d}`, len(found)), lines); got != found+rest {
			t.Errorf("%s: got\n%s", name, got)
		}
	}
}
