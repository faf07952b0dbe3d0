package submit_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"kith/storage/dag"
	"kith/tasks"
	"kith/tasks/execute"
	"kith/tasks/submit"
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
		dir := lines(t, w)
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

// memory is a submit.Memory that a test can spoil.
type memory struct {
	mu    sync.Mutex
	data  []byte
	saved int
}

func (m *memory) Load() ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.data, nil
}

func (m *memory) Save(b []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.data = b
	m.saved++
	return nil
}

// What tasks took is known after a restart; a file that cannot be read is begun anew, and nothing else is lost by it.
func TestTaskSizeIsRemembered(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func([]byte) []byte
		known bool
	}{
		{"kept", func(b []byte) []byte { return b }, true},
		{"damaged", func(b []byte) []byte { return b[:len(b)/2] }, false},
		{"of a later version", func(b []byte) []byte { return append([]byte{200}, b[1:]...) }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, corpora())
				m := &memory{}
				remember := func(o *submit.Options) { o.Rates = m }
				s := w.submit(remember)
				for range 2 {
					w.newDonor(func(o *work.Options) { o.Executor = steady{o.Executor} })
				}
				dir := lines(t, w)
				spec := tasks.Spec{Ops: []tasks.Op{{Kind: "etl.hash"}}, Input: dir.Root, Sensitivity: tasks.Public, PartBytes: 8 << 10, Policy: tasks.Policy{K: 1}}
				taught := w.run(spec)
				w.mustFinish(taught)
				time.Sleep(time.Minute)
				synctest.Wait()
				if m.saved == 0 {
					t.Fatal("nothing was kept within a minute")
				}
				spec.PartBytes = 0
				s.stop()
				m.data = c.spoil(m.data)
				w.startSubmitter(s.log, s.book, s.blobs, remember)
				if list, err := w.submitter.Jobs(t.Context()); err != nil || len(list) != 1 || list[0].Result != taught.Result {
					t.Errorf("jobs after the restart: %+v %v", list, err)
				}
				st := w.run(spec)
				w.mustFinish(st)
				if known := st.Spec.PartBytes != 0; known != c.known {
					t.Errorf("parts of %d after the restart, known: %v", st.Spec.PartBytes, known)
				}
				w.submitter.stop()
				w.startSubmitter(s.log, s.book, s.blobs, remember)
				again := w.run(spec)
				if w.mustFinish(again); again.Spec.PartBytes == 0 && c.known {
					t.Error("forgotten at the second restart")
				}
			})
		})
	}
}

// lines is a folder of 32 files of 8 KiB each.
func lines(t *testing.T, w *world) dag.Entry {
	t.Helper()
	files := map[string][]byte{}
	for i := range 32 {
		files[fmt.Sprintf("%03d.txt", i)] = bytes.Repeat(fmt.Appendf(nil, "%07d\n", i), 1<<10)
	}
	dir, err := dag.AddFiles(t.Context(), w.submitter.blobs, files)
	if err != nil {
		t.Fatal(err)
	}
	return dir
}
