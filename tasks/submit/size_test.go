package submit_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"kith/storage/dag"
	"kith/tasks"
	"kith/tasks/execute"
	"kith/tasks/work"
)

// steady says that every task took a second.
type steady struct{ work.Executor }

func (e steady) Run(ctx context.Context, a tasks.Assignment, progress func(done, total int64)) (execute.Output, error) {
	out, err := e.Executor.Run(ctx, a, progress)
	out.WallMillis = 1000
	return out, err
}

// Once enough tasks of a kind of work are done, the parts of the next job are as large as what a task should take allows;
// the result is what it was.
func TestTaskSizeFollowsWhatTasksTook(t *testing.T) {
	if testing.Short() {
		t.Skip("short: it computes some 50 MiB")
	}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, corpora())
		w.submit()
		for range 2 {
			w.newDonor(func(o *work.Options) { o.Executor = steady{o.Executor} })
		}
		files := map[string][]byte{}
		for i := range 192 { // 64 KiB each, 12 MiB together
			files[fmt.Sprintf("%03d.txt", i)] = bytes.Repeat(fmt.Appendf(nil, "%07d\n", i), 8<<10)
		}
		dir, err := dag.AddFiles(t.Context(), w.submitter.blobs, files)
		if err != nil {
			t.Fatal(err)
		}
		spec := func(part, aim int64) tasks.Spec {
			return tasks.Spec{
				Ops: []tasks.Op{{Kind: "etl.hash"}}, Input: dir.Root, Sensitivity: tasks.Public, PartBytes: part,
				Policy: tasks.Policy{K: 1, AimMillis: aim},
			}
		}
		first := w.run(spec(0, 0))
		w.mustFinish(first)
		if first.Spec.PartBytes != 0 || first.Tasks != 3 {
			t.Errorf("nothing is known yet: parts of %d, %d tasks", first.Spec.PartBytes, first.Tasks)
		}
		before := w.run(spec(512<<10, 0))
		w.mustFinish(before)
		// Most tasks of 512 KiB took a second each; and sixteen slots, at least, want two parts each.
		for _, c := range []struct {
			name           string
			aim, low, high int64
		}{
			{"as it should take", 600, 300 << 10, 310 << 10},
			{"as many as there are slots", 15_000, 12 << 20 / 32, 12 << 20 / 32},
			{"no smaller than is worth it", 1, 256 << 10, 256 << 10},
		} {
			after := w.run(spec(0, c.aim))
			w.mustFinish(after)
			if p := after.Spec.PartBytes; p < c.low || p > c.high {
				t.Errorf("%s: parts of %d, want %d to %d", c.name, p, c.low, c.high)
			}
			if after.Result != before.Result {
				t.Errorf("%s: another split, another result", c.name)
			}
		}
	})
}

// Whoever asks for the same job again gets the same job, whatever was learned meanwhile.
func TestTheSameJobKeepsItsSize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, corpora())
		w.submit()
		for range 2 {
			w.newDonor(func(o *work.Options) { o.Executor = steady{o.Executor} })
		}
		files := map[string][]byte{}
		for i := range 32 {
			files[fmt.Sprintf("%03d.txt", i)] = bytes.Repeat(fmt.Appendf(nil, "%07d\n", i), 1<<10)
		}
		dir, err := dag.AddFiles(t.Context(), w.submitter.blobs, files)
		if err != nil {
			t.Fatal(err)
		}
		spec := tasks.Spec{Ops: []tasks.Op{{Kind: "etl.hash"}}, Input: dir.Root, Sensitivity: tasks.Public, Nonce: tasks.Nonce{7}, Policy: tasks.Policy{K: 1}}
		st := w.run(spec)
		w.mustFinish(st)
		teach := spec
		teach.Nonce, teach.PartBytes = tasks.Nonce{9}, 8<<10
		w.mustFinish(w.run(teach))
		again, err := w.submitter.Submit(t.Context(), spec)
		if err != nil || again != st.ID {
			t.Errorf("%s, then %s: %v", st.ID, again, err)
		}
		spec.Nonce = tasks.Nonce{8}
		other := w.run(spec)
		if w.mustFinish(other); other.Spec.PartBytes == 0 {
			t.Error("nothing was learned")
		}
		for _, aim := range []int64{-1, (7 * time.Hour).Milliseconds()} {
			spec.Policy.AimMillis = aim
			if _, err := w.submitter.Submit(t.Context(), spec); !errors.Is(err, tasks.ErrSpec) {
				t.Errorf("a task of %d ms: %v", aim, err)
			}
		}
	})
}
