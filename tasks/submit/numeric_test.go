package submit_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"testing"
	"testing/synctest"

	"kith/storage"
	"kith/storage/dag"
	"kith/tasks"
	"kith/tasks/execute"
	"kith/tasks/kinds"
	"kith/tasks/kinds/etl/vector"
	"kith/tasks/kinds/testkind"
	"kith/tasks/submit"
	"kith/tasks/work"
)

// rounding is a machine whose floats are off by some units in the last place.
type rounding struct {
	work.Executor
	off uint32
}

func (r rounding) Run(ctx context.Context, a tasks.Assignment, progress func(done, total int64)) (execute.Output, error) {
	out, err := r.Executor.Run(ctx, a, progress)
	if err != nil || r.off == 0 {
		return out, err
	}
	return execute.Rewritten(ctx, out, func(files map[string][]byte) {
		data := files[vector.VectorFile]
		for i := 0; i+4 <= len(data); i += 4 {
			if v := binary.LittleEndian.Uint32(data[i:]); v != 0 {
				binary.LittleEndian.PutUint32(data[i:], v+r.off)
			}
		}
	})
}

// machines makes donor n one of class classes[n] that is off by off[n].
func machines(classes string, off ...uint32) func(*donor) {
	return func(d *donor) {
		d.equals = []string{"other.kind:z"}
		if class := classes[d.n : d.n+1]; class != "-" {
			d.equals = append(d.equals, "etl.vector:"+class)
		}
		d.exec = rounding{d.exec, off[d.n]}
	}
}

// twoClasses is a world in which every third machine is of another equivalence class.
func twoClasses(d *donor) {
	machines("aba", 0, 1, 0)(d)
}

// vectors runs a job that compares by numbers over some texts.
func vectors(t *testing.T, w *world, p tasks.Policy) tasks.JobID {
	t.Helper()
	files := map[string][]byte{}
	for i := range 6 {
		files[fmt.Sprintf("%02d.txt", i)] = fmt.Appendf(nil, "text number %d is about numbers and about texts\n", i)
	}
	dir, err := dag.AddFiles(t.Context(), w.submitter.blobs, files)
	if err != nil {
		t.Fatal(err)
	}
	spec := tasks.Spec{
		Ops:   []tasks.Op{{Kind: "etl.vector", Params: []byte(`{"dimensions":32}`)}},
		Input: dir.Root, Sensitivity: tasks.Public, PartBytes: 100, Policy: p,
	}
	id, err := w.submitter.Submit(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// Two donors of one equivalence class and one of another, whose numbers differ in the last bit, agree three of three; the
// output of each task is one of theirs. A fourth, that is off by more, is outvoted and named. So is one whose last bit
// differs from that of its own class: there the bytes must be the same.
func TestNumbersAgreeBetweenClasses(t *testing.T) {
	for _, c := range []struct {
		name    string
		classes string
		off     []uint32
		k       int
		blamed  int // the donor that is outvoted; -1: none
	}{
		{"two classes", "aab", []uint32{0, 0, 1}, 3, -1},
		{"three classes", "abc", []uint32{0, 1, 2}, 3, -1},
		{"no class is known", "---", []uint32{0, 1, 2}, 3, -1},
		{"one is far off", "aabb", []uint32{0, 0, 1, 1 << 21}, 3, 3},
		{"one is off within its class", "aaab", []uint32{0, 0, 1, 1}, 3, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, kinds.All())
				w.machine = machines(c.classes, c.off...)
				w.submit()
				for range c.off {
					w.newDonor()
				}
				w.gather(len(c.off)) // nine leases for at most eight slots: everybody gets one
				id := vectors(t, w, tasks.Policy{K: c.k, N: 2 * c.k})
				st := w.finish(id)
				w.mustFinish(st)
				w.readable(st.Result)
				synctest.Wait()
				for n, d := range w.donors {
					got := w.blame(t, id, d.id)
					switch {
					case n != c.blamed && len(got) != 0:
						t.Errorf("donor %d is blamed for %v", n, got)
					case n == c.blamed && (len(got) != 1 || got[0] != tasks.Outvoted):
						t.Errorf("the one that is off is blamed for %v", got)
					}
				}
			})
		})
	}
}

// anything is a kind whose results agree if each of them is a number: every donor may give another.
type anything struct{ tasks.Kind }

func (k anything) Describe() tasks.Description {
	d := k.Kind.Describe()
	d.Name, d.Comparison = "test.any", tasks.Schema
	return d
}

func (anything) Run(_ context.Context, c *tasks.Call) error {
	f, err := c.Out.Create("out")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "%d\n", c.Index)
	return errors.Join(err, f.Close())
}

func (anything) Validate(_ context.Context, _ *tasks.Call, output fs.FS) error {
	b, err := fs.ReadFile(output, "out")
	if err != nil {
		return err
	}
	var n int
	if _, err := fmt.Sscanf(string(b), "%d\n", &n); err != nil {
		return err
	}
	if n == 666 {
		panic("a reader that does not bear everything")
	}
	return nil
}

// saying is a donor that answers what it likes.
type saying struct {
	work.Executor
	what string
}

func (s saying) Run(ctx context.Context, a tasks.Assignment, progress func(done, total int64)) (execute.Output, error) {
	out, err := s.Executor.Run(ctx, a, progress)
	if err != nil || s.what == "" {
		return out, err
	}
	return execute.Rewritten(ctx, out, func(files map[string][]byte) { files["out"] = []byte(s.what) })
}

// Results that differ altogether agree if the schema of the kind allows each of them; one it does not allow is outvoted,
// even if reading it breaks the reader.
func TestSchemaResults(t *testing.T) {
	for _, bad := range []string{"nothing\n", "666\n"} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, kinds.New(append(testkind.All(), anything{testkind.All()[0]})...))
			w.submit()
			says := []string{bad, "", "7\n"}
			for _, what := range says {
				w.newDonor(func(o *work.Options) { o.Executor = saying{o.Executor, what} })
			}
			w.gather(len(says))
			id, err := w.submitter.Submit(t.Context(), tasks.Spec{
				Ops: []tasks.Op{{Kind: "test.any", Params: []byte(`{"tasks":40}`)}}, Sensitivity: tasks.Public, Policy: tasks.Policy{K: 2, N: 4},
			})
			if err != nil {
				t.Fatal(err)
			}
			w.mustFinish(w.finish(id))
			synctest.Wait()
			for n, d := range w.donors {
				if got := w.blame(t, id, d.id); n > 0 && len(got) != 0 || n == 0 && (len(got) == 0 || got[0] != tasks.Outvoted) {
					t.Errorf("%q: donor %d is blamed for %v", bad, n, got)
				}
			}
		})
	}
}

// unable is an executor that cannot compare the first few times.
type unable struct {
	submit.Executor
	mu    sync.Mutex
	fails int
}

func (u *unable) Compare(ctx context.Context, j tasks.Job, stage tasks.Stage, pairs [][2]dag.CID) ([]bool, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.fails > 0 {
		u.fails--
		return nil, storage.ErrFull
	}
	return u.Executor.Compare(ctx, j, stage, pairs)
}

// This node itself may be unable to compare for a while: the job waits, says why, and goes on.
func TestComparisonIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, kinds.All())
		w.machine = twoClasses
		var u *unable
		w.submit(func(o *submit.Options) {
			u = &unable{Executor: o.Executor, fails: 3}
			o.Executor = u
		})
		for range 3 {
			w.newDonor()
		}
		id := vectors(t, w, tasks.Policy{K: 3, N: 4})
		w.announce(id)
		st := w.finish(id)
		w.mustFinish(st)
		u.mu.Lock()
		defer u.mu.Unlock()
		if u.fails != 0 {
			t.Errorf("%d comparisons were not tried", u.fails)
		}
	})
}

// A worker earns trust for the machine it has: by kind and equivalence class.
func TestTrustIsPerClass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, kinds.All())
		w.machine = twoClasses
		w.submit()
		for range 3 {
			w.newDonor()
		}
		w.gather(3)
		w.mustFinish(w.finish(vectors(t, w, tasks.Policy{K: 3, N: 4, Replication: tasks.Adaptive})))
		synctest.Wait()
		all, err := w.submitter.Trust(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		got := map[tasks.NodeID]string{}
		for _, s := range all.Skills {
			if s.Standing.Agreed > 0 {
				got[s.Node] = s.What
			}
		}
		for n, class := range []string{"a", "b", "a"} {
			if want := "etl.vector/run@" + class; got[w.donors[n].id] != want {
				t.Errorf("donor %d is trusted for %q, want %q", n, got[w.donors[n].id], want)
			}
		}
		if len(all.Cases) != 0 {
			t.Errorf("results that agree are held against each other: %+v", all.Cases)
		}
	})
}
