package local_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"kith/storage/dag"
	"kith/storage/memstore"
	"kith/tasks"
	"kith/tasks/execute"
	"kith/tasks/kinds"
	"kith/tasks/kinds/kindtest"
	"kith/tasks/local"
	"kith/tasks/sandbox"
)

func TestMain(m *testing.M) {
	if os.Getenv("KITH_LOCAL_TEST") == "runner" {
		os.Exit(sandbox.Main(kinds.All()))
	}
	os.Exit(m.Run())
}

type place struct {
	blobs *memstore.Blobs
	o     local.Options
}

func here(t testing.TB, confined bool) place {
	t.Helper()
	p := place{blobs: memstore.NewBlobs()}
	engine := sandbox.InProcess(kinds.All())
	if confined {
		exe, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		engine, err = sandbox.NewProcess(sandbox.Options{Exe: exe, Env: []string{"KITH_LOCAL_TEST=runner"}, Kinds: kinds.All()})
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { engine.Close() })
	e, err := execute.New(execute.Options{Engine: engine, Blobs: p.blobs, Kinds: kinds.All(), Scratch: filepath.Join(t.TempDir(), "s")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	p.o = local.Options{Blobs: p.blobs, Executor: e, Kinds: kinds.All()}
	return p
}

func job(t testing.TB, input dag.CID, part int64, ops ...tasks.Op) tasks.Job {
	t.Helper()
	for i := range ops {
		k, err := kinds.All().Kind(ops[i].Kind)
		if err != nil {
			t.Fatal(err)
		}
		if ops[i].Params, err = k.Check(ops[i].Params); err != nil {
			t.Fatal(err)
		}
	}
	spec := tasks.Spec{Version: tasks.SpecVersion, Ops: ops, Input: input, PartBytes: part, Seed: [32]byte{5}}
	return tasks.Job{ID: tasks.JobID{byte(part), byte(part >> 8), byte(part >> 16), byte(part >> 24), 1}, Spec: spec}
}

func TestNoInput(t *testing.T) {
	var roots []dag.CID
	for _, parallel := range []int{1, 3} {
		p := here(t, parallel > 1)
		p.o.Parallel = parallel
		var last local.Progress
		res, err := local.Run(t.Context(), p.o, job(t, dag.CID{}, 0, tasks.Op{Kind: "test.noop", Params: []byte(`{"tasks":40}`)}), func(at local.Progress) { last = at })
		if err != nil {
			t.Fatal(err)
		}
		if res.Parts != 40 || len(res.Stats) != 2 || res.Stats[1].Tasks != 4 || last.Done != 4 || last.Stage != 1 {
			t.Fatalf("%+v, last progress %+v", res, last)
		}
		f, err := dag.Lookup(t.Context(), p.blobs, res.Root, "out")
		if err != nil || f.Size != 40*24 {
			t.Fatalf("%+v, %v", f, err)
		}
		roots = append(roots, res.Root)
	}
	if roots[0] != roots[1] {
		t.Fatal("the result depends on how many tasks run at once")
	}
}

func TestFailureEndsTheJob(t *testing.T) {
	p := here(t, false)
	if _, err := local.Run(t.Context(), p.o, job(t, dag.CID{}, 0, tasks.Op{Kind: "test.fail", Params: []byte(`{"tasks":40}`)}), nil); err == nil {
		t.Fatal("no error")
	}
}

// sources puts one folder of the standard library's sources, a few hundred files, into the store.
func sources(t testing.TB, p place) dag.CID {
	t.Helper()
	dir := filepath.Join(kindtest.GoSource(t), "net")
	tree, err := dag.AddTree(t.Context(), p.blobs, dir, dag.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return tree.Root
}

// TestSplitDoesNotShow is what every comparison of a local with a distributed run stands on: the same bytes come out at
// any part size and with any number of tasks at once.
func TestSplitDoesNotShow(t *testing.T) {
	pipeline := []tasks.Op{{Kind: "etl.chunk"}, {Kind: "etl.dedup"}, {Kind: "etl.lang"}, {Kind: "etl.zstd"}}
	var want dag.CID
	for i, part := range []int64{256 << 10, 1 << 20, 8 << 20} {
		parallel := 1 << i
		t.Run(fmt.Sprintf("%d KiB at %d", part>>10, parallel), func(t *testing.T) {
			p := here(t, i != 1)
			p.o.Parallel = parallel
			res, err := local.Run(t.Context(), p.o, job(t, sources(t, p), part, pipeline...), nil)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%d parts: %+v", res.Parts, res.Stats)
			if i == 0 {
				want = res.Root
			}
			if res.Root != want || !want.Defined() {
				t.Fatalf("got %s, want %s", res.Root, want)
			}
		})
	}
}

func BenchmarkNoop(b *testing.B) {
	p := here(b, true)
	j := job(b, dag.CID{}, 0, tasks.Op{Kind: "test.noop", Params: fmt.Appendf(nil, `{"tasks":%d}`, b.N)})
	if _, err := local.Run(b.Context(), p.o, j, nil); err != nil {
		b.Fatal(err)
	}
}
