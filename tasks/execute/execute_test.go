package execute_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"kith/storage"
	"kith/storage/dag"
	"kith/storage/governor"
	"kith/storage/memstore"
	"kith/tasks"
	"kith/tasks/execute"
	"kith/tasks/kinds"
	"kith/tasks/kinds/etl/corpus"
	"kith/tasks/kinds/testkind"
	"kith/tasks/sandbox"
	"kith/tasks/sandbox/sandboxtest"
)

func TestMain(m *testing.M) { sandboxtest.Main(m) }

type bench struct {
	*execute.Executor
	blobs   storage.Blobs
	engine  sandbox.Engine
	scratch string
}

// corpusKind is test.kind as if it worked on corpora.
type corpusKind struct{ tasks.Kind }

func (k corpusKind) Describe() tasks.Description {
	d := k.Kind.Describe()
	d.Needs.Input = true
	return d
}

func registry(t testing.TB) tasks.Registry {
	t.Helper()
	k, err := sandboxtest.Kinds().Kind("test.kind")
	if err != nil {
		t.Fatal(err)
	}
	return kinds.New(append(testkind.All(), corpusKind{k})...)
}

func open(t testing.TB, set func(*execute.Options)) bench {
	t.Helper()
	o := execute.Options{Blobs: memstore.NewBlobs(), Kinds: registry(t), Scratch: filepath.Join(t.TempDir(), "scratch")}
	o.Engine = sandbox.InProcess(o.Kinds)
	if set != nil {
		set(&o)
	}
	t.Cleanup(func() { o.Engine.Close() })
	e, err := execute.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
		if left, _ := os.ReadDir(o.Scratch); len(left) > 0 {
			t.Errorf("left in the scratch folder: %v", left)
		}
	})
	return bench{e, o.Blobs, o.Engine, o.Scratch}
}

// processes has runners that know the kinds of sandboxtest alone.
func processes(t testing.TB) func(o *execute.Options) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return func(o *execute.Options) {
		o.Engine, err = sandbox.NewProcess(sandbox.Options{Exe: exe, Env: sandboxtest.RunnerEnv(), Kinds: o.Kinds})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func (b bench) add(t testing.TB, files map[string]string) dag.CID {
	t.Helper()
	content := map[string][]byte{}
	for name, s := range files {
		content[name] = []byte(s)
	}
	e, err := dag.AddFiles(t.Context(), b.blobs, content)
	if err != nil {
		t.Fatal(err)
	}
	return e.Root
}

func (b bench) files(t testing.TB, root dag.CID) map[string]string {
	t.Helper()
	files := map[string]string{}
	for f, err := range dag.Files(t.Context(), b.blobs, root) {
		if err != nil {
			t.Fatal(err)
		}
		files[f.Name] = b.read(t, f.Root)
	}
	return files
}

func (b bench) read(t testing.TB, root dag.CID) string {
	t.Helper()
	r, err := dag.Open(t.Context(), b.blobs, root)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func assign(phase, arg string, inputs ...dag.CID) tasks.Assignment {
	return tasks.Assignment{
		Job: tasks.JobID{1}, Mode: tasks.Map, Parts: 3, Inputs: inputs,
		Steps: []tasks.Step{sandboxtest.Step(phase, arg)}, Limits: sandboxtest.Limits(),
	}
}

func TestSmallOutputIsHandedOver(t *testing.T) {
	for name, set := range map[string]func(*execute.Options){"in process": nil, "process": processes(t)} {
		t.Run(name, func(t *testing.T) {
			b := open(t, set)
			in := b.add(t, map[string]string{"a": "1", "d/b": "2"})
			out, err := b.Run(t.Context(), assign("append", "!", in), nil)
			if err != nil {
				t.Fatal(err)
			}
			want := b.add(t, map[string]string{"a": "1!", "d/b": "2!"})
			if out.Root != want || out.Bytes != 4 {
				t.Fatalf("root %s of %d bytes, want %s", out.Root, out.Bytes, want)
			}
			if len(out.Blocks) != 4 || !slices.ContainsFunc(out.Blocks, func(x storage.Block) bool { return x.CID == want }) {
				t.Fatalf("%d blocks", len(out.Blocks))
			}
			salts := [][32]byte{{1}, {2}}
			inline, err := b.Digest(t.Context(), salts, out.Root, out.Blocks)
			if err != nil {
				t.Fatal(err)
			}
			stored, err := b.Digest(t.Context(), salts, want, nil)
			if err != nil || !slices.Equal(inline, stored) || inline[0] == inline[1] {
				t.Fatalf("%x, %x, %v", inline, stored, err)
			}
			if inline[0] != digest(salts[0], "a", "1!", "d/b", "2!") {
				t.Fatal("the digest is not what it is documented to be")
			}
		})
	}
}

// digest is the definition, written a second time.
func digest(salt [32]byte, pairs ...string) [32]byte {
	b := append([]byte("kith/digest/1"), salt[:]...)
	for _, s := range pairs {
		b = append(binary.BigEndian.AppendUint64(b, uint64(len(s))), s...)
	}
	return sha256.Sum256(b)
}

func TestLargeOutputIsStored(t *testing.T) {
	for name, set := range map[string]func(*execute.Options){"in process": nil, "process": processes(t)} {
		t.Run(name, func(t *testing.T) {
			b := open(t, set)
			for _, size := range []int{100 << 10, 3 << 20} { // inline, but too large for a message; on disk
				out, err := b.Run(t.Context(), assign("write", fmt.Sprint(size)), nil)
				if err != nil {
					t.Fatal(err)
				}
				want := map[string]string{"big": strings.Repeat("z", size), "dir/small": "s"}
				if out.Blocks != nil || out.Root != b.add(t, want) || out.Bytes != int64(size)+1 {
					t.Fatalf("%d blocks, root %s, %d bytes", len(out.Blocks), out.Root, out.Bytes)
				}
				// The next task finds nothing of it.
				out, err = b.Run(t.Context(), assign("scratch", "10"), nil)
				if err != nil || out.Bytes != 0 {
					t.Fatalf("%d bytes, %v", out.Bytes, err)
				}
			}
		})
	}
}

func TestLargeInput(t *testing.T) {
	b := open(t, processes(t))
	big := strings.Repeat("0123456789abcdef", 200_000)
	large := b.add(t, map[string]string{"big": big, "d/e/small": "x"})
	small := b.add(t, map[string]string{"n": "y"})
	out, err := b.Run(t.Context(), assign("pass", "", large, small), nil)
	if err != nil {
		t.Fatal(err)
	}
	if want := b.add(t, map[string]string{"0/big": big, "0/d/e/small": "x", "1/n": "y"}); out.Root != want {
		t.Fatalf("got %s, want %s", out.Root, want)
	}
}

func TestHostileInput(t *testing.T) {
	b := open(t, func(o *execute.Options) { o.MaxInput = 1000 })
	ctx := t.Context()
	f, err := dag.AddFile(ctx, b.blobs, strings.NewReader("x"), dag.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for name, e := range map[string]dag.Entry{
		"not UTF-8":  {Name: "a\xff", Root: f.Root, Size: 1},
		"too large":  {Name: "a", Root: b.bigFile(t, 1001), Size: 1001},
		"wrong size": {Name: "a", Root: f.Root, Size: 2},
		"missing":    {Name: "a", Root: dag.Sum(dag.Raw, dag.SHA256, []byte("gone")), Size: 4},
	} {
		dir, err := dag.NewDirectory(ctx, b.blobs, []dag.Entry{e})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.Run(ctx, assign("pass", "", dir), nil); !errors.Is(err, execute.ErrInput) && !errors.Is(err, dag.ErrMalformed) && !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
		if name != "not UTF-8" {
			if _, err := b.Digest(ctx, [][32]byte{{}}, dir, nil); err == nil {
				t.Errorf("%s: has a digest", name)
			}
		}
	}
}

func (b bench) bigFile(t *testing.T, n int) dag.CID {
	t.Helper()
	f, err := dag.AddFile(t.Context(), b.blobs, bytes.NewReader(make([]byte, n)), dag.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return f.Root
}

func TestDigestOfBlocksIsStrict(t *testing.T) {
	b := open(t, nil)
	out, err := b.Run(t.Context(), assign("name", "file"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.blobs.PutMany(t.Context(), out.Blocks); err != nil {
		t.Fatal(err)
	}
	salts := [][32]byte{{7}}
	if _, err := b.Digest(t.Context(), salts, out.Root, out.Blocks[:1]); !errors.Is(err, storage.ErrNotFound) {
		t.Fatalf("missing block: %v", err)
	}
	forged := slices.Clone(out.Blocks)
	forged[0].Data = []byte("y")
	if _, err := b.Digest(t.Context(), salts, out.Root, forged); !errors.Is(err, dag.ErrMismatch) {
		t.Fatalf("forged block: %v", err)
	}
}

func TestFailureKeepsTheLog(t *testing.T) {
	b := open(t, processes(t))
	out, err := b.Run(t.Context(), assign("fail", "oh no"), nil)
	sandboxtest.WantReason(t, err, tasks.TaskFailed)
	if !slices.Contains(out.Log, "about to fail") {
		t.Fatalf("log %q", out.Log)
	}
	a := assign("spin", "")
	a.Limits.WallMillis = 100
	_, err = b.Run(t.Context(), a, nil)
	sandboxtest.WantReason(t, err, tasks.TimeLimit)
	if _, err := b.Run(t.Context(), assign("noop", ""), nil); err != nil {
		t.Fatal(err)
	}
}

func TestScratchIsWipedAtStart(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"runner-7/out/junk", sandbox.ProbePrefix + "9/secret", "mine"} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	e, err := execute.New(execute.Options{
		Engine: sandbox.InProcess(registry(t)), Blobs: memstore.NewBlobs(), Kinds: registry(t), Scratch: dir,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 || left[0].Name() != "mine" {
		t.Fatalf("%v, %v", left, err)
	}
}

func TestRunnersStayWithTheirJob(t *testing.T) {
	b := open(t, processes(t))
	count := func(job tasks.JobID) string { return b.count(t, job) }
	one, two := tasks.JobID{1}, tasks.JobID{2}
	got := []string{count(one), count(one), count(two), count(one), count(two)}
	b.Release(one)
	got = append(got, count(one), count(two))
	if want := []string{"1", "2", "1", "3", "2", "1", "3"}; !slices.Equal(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
}

// count returns how much work the runner that the job gets has done.
func (b bench) count(t *testing.T, job tasks.JobID) string {
	t.Helper()
	a := assign("count", "")
	a.Job = job
	out, err := b.Run(t.Context(), a, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, block := range out.Blocks {
		if block.CID.Codec() == dag.Raw {
			return string(block.Data)
		}
	}
	t.Fatal("no file")
	return ""
}

func TestIdleRunnersAreFew(t *testing.T) {
	set := processes(t)
	b := open(t, func(o *execute.Options) {
		set(o)
		o.MaxIdle = 2
	})
	for i, want := range []string{"1", "2", "1", "1", "2"} { // job 0 gives way to job 2
		job := []byte{0, 0, 1, 2, 1}[i]
		if got := b.count(t, tasks.JobID{job}); got != want {
			t.Fatalf("job %d: %s pieces of work, want %s", job, got, want)
		}
	}
	if got := b.count(t, tasks.JobID{0}); got != "1" {
		t.Fatalf("the runner that had to go has done %s pieces of work", got)
	}
}

func TestReleaseWhileRunning(t *testing.T) {
	b := open(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, err := b.Run(ctx, assign("heed", ""), nil)
		done <- err
	}()
	b.Release(tasks.JobID{1})
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

func job(op tasks.Op, input dag.CID, part int64) tasks.Job {
	return tasks.Job{ID: tasks.JobID{9}, Spec: tasks.Spec{Ops: []tasks.Op{op}, Input: input, PartBytes: part}}
}

func TestSplit(t *testing.T) {
	b := open(t, processes(t))
	tree := map[string]string{"a": "aaaa", "b-x": "b", "b/c": "cc", "empty": "", "z": strings.Repeat("z", 50), "ä/😀 x": "u"}
	input := b.add(t, tree)
	for part, want := range map[int64]int{1: 6, 8: 3, 100: 1} {
		parts, err := b.Split(t.Context(), job(tasks.Op{Kind: "test.kind"}, input, part))
		if err != nil {
			t.Fatal(err)
		}
		if len(parts) != want {
			t.Errorf("part size %d: %d parts, want %d", part, len(parts), want)
		}
		var paths []string
		for _, p := range parts {
			files := b.files(t, p)
			x := corpus.NewIndexReader(strings.NewReader(files[corpus.IndexFile]))
			for {
				rec, err := x.Next()
				if err == io.EOF {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				paths = append(paths, rec.Path)
				if got := files[corpus.DataFile][rec.Off : rec.Off+rec.Len]; got != tree[rec.Path] {
					t.Errorf("%q holds %q, want %q", rec.Path, got, tree[rec.Path])
				}
			}
		}
		if !slices.IsSorted(paths) || len(paths) != len(tree) {
			t.Errorf("part size %d: %q", part, paths)
		}
	}
	parts, err := b.Split(t.Context(), job(tasks.Op{Kind: "test.kind"}, b.add(t, nil), 0))
	if err != nil || len(parts) != 1 {
		t.Fatalf("empty input: %v, %v", parts, err)
	}
	parts, err = b.Split(t.Context(), job(tasks.Op{Kind: "test.noop", Params: []byte(`{"tasks":7}`)}, dag.CID{}, 0))
	if err != nil || len(parts) != 7 || parts[0].Defined() {
		t.Fatalf("no input: %v, %v", parts, err)
	}
	for _, params := range []string{`{"tasks":0}`, `{"tasks":1e9}`, `{`} {
		if _, err := b.Split(t.Context(), job(tasks.Op{Kind: "test.noop", Params: []byte(params)}, dag.CID{}, 0)); !errors.Is(err, tasks.ErrParams) {
			t.Errorf("%s: %v", params, err)
		}
	}
	if _, err := b.Split(t.Context(), job(tasks.Op{Kind: "test.kind"}, dag.CID{}, 0)); !errors.Is(err, tasks.ErrSpec) {
		t.Errorf("input wanted: %v", err)
	}
}

func TestGatherMergeReduce(t *testing.T) {
	b := open(t, nil)
	ctx := t.Context()
	j := job(tasks.Op{Kind: "test.kind"}, dag.CID{}, 0)
	x, y := b.add(t, map[string]string{"n": "x"}), b.add(t, map[string]string{"n": "y"})

	roots, err := b.Gather(ctx, j, tasks.Stage{Mode: tasks.Gather, Steps: []tasks.Step{sandboxtest.Step("gather", "2")}}, 3, []dag.CID{x, y})
	if err != nil {
		t.Fatal(err)
	}
	xy, none := b.add(t, map[string]string{"n": "xy"}), b.add(t, nil)
	if !slices.Equal(roots, []dag.CID{xy, none, xy}) {
		t.Fatalf("gathered %v", roots)
	}
	if _, err := b.Gather(ctx, j, tasks.Stage{Steps: []tasks.Step{sandboxtest.Step("name", "000007/x")}}, 3, nil); err == nil {
		t.Fatal("a folder for no part was accepted")
	}

	root, err := b.Merge(ctx, j, sandboxtest.Step("any", ""), []dag.CID{x, y, x})
	if err != nil || root != b.add(t, map[string]string{"n": "xyx"}) {
		t.Fatalf("merged %v, %v", root, err)
	}
	if root, err := b.Merge(ctx, j, sandboxtest.Step("any", ""), []dag.CID{y}); err != nil || root != y {
		t.Fatalf("merged one: %v, %v", root, err)
	}

	p, q := b.add(t, map[string]string{"r/0000": "a", "r/0001": "b", "rest": "c"}), b.add(t, map[string]string{"r/0000": "d"})
	in, err := b.ReduceInput(ctx, 1, []dag.CID{p, q})
	if err != nil || !slices.Equal(in, []dag.CID{b.add(t, map[string]string{"r/0001": "b"}), none}) {
		t.Fatalf("reduce input %v, %v", in, err)
	}
}

func BenchmarkNoop(b *testing.B) {
	e := open(b, processes(b))
	a := assign("name", "out")
	for b.Loop() {
		if _, err := e.Run(b.Context(), a, nil); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkNoopParallel(b *testing.B) {
	e := open(b, processes(b))
	b.SetParallelism(1)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := e.Run(b.Context(), assign("name", "out"), nil); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// TestDisk: the files of a task pass the limits of their drive, and a wait for it says why when it ends.
func TestDisk(t *testing.T) {
	disk := governor.NewDevice("scratch disk", governor.Limits{Files: 1}, nil)
	b := open(t, func(o *execute.Options) { processes(t)(o); o.Disk = disk })
	big := strings.Repeat("0123456789", 300_000)
	root := b.add(t, map[string]string{"big": big})
	if _, err := b.Run(t.Context(), assign("pass", "", root), nil); err != nil {
		t.Fatal(err)
	}
	s := disk.Stats()
	if n := int64(len(big)); s.WrittenBytes != n || s.ReadBytes != n {
		t.Errorf("%d bytes written and %d read for an input and an output of %d", s.WrittenBytes, s.ReadBytes, n)
	}
	done, err := disk.File(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = b.Run(ctx, assign("pass", "", root), nil)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "file limit of scratch disk") {
		t.Errorf("a held file: %v", err)
	}
}
