package submit_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"kith/storage"
	"kith/storage/dag"
	"kith/storage/memstore"
	"kith/tasks"
	"kith/tasks/execute"
	"kith/tasks/job"
	"kith/tasks/kinds"
	"kith/tasks/local"
	"kith/tasks/submit"
	"kith/tasks/work"
)

// sleepy is a job whose tasks take a while.
func sleepy(n, millis int) tasks.Spec {
	return tasks.Spec{Ops: []tasks.Op{{Kind: "test.noop", Params: fmt.Appendf(nil, `{"tasks":%d,"millis":%d}`, n, millis)}}, Sensitivity: tasks.Public}
}

// blocks returns the files of a result as one map from CID to nothing: two results with the same root are the same.
func (w *world) readable(root dag.CID) {
	w.t.Helper()
	if err := dag.Walk(w.ctx, w.submitter.blobs, root, func(dag.CID, []byte) (bool, error) { return true, nil }); err != nil {
		w.t.Fatalf("the result is not whole: %v", err)
	}
}

func (w *world) wait(what string, ok func() bool) {
	w.t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); {
		if time.Now().After(end) {
			w.t.Fatalf("waited too long for %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func TestJobGoesThroughTwoWorkers(t *testing.T) {
	w := newWorld(t, nil)
	w.submit()
	w.newDonor()
	w.newDonor()
	st := w.run(noop(40))
	w.mustFinish(st)
	if st.Done != 40 || st.Merged != st.Merges || st.Merges != 4 {
		t.Fatalf("%d tasks done, %d of %d merges", st.Done, st.Merged, st.Merges)
	}
	w.readable(st.Result)
	for _, d := range w.donors {
		d := d
		w.wait("accepted tasks", func() bool { s, _ := d.Status(t.Context()); return s.Done == 40 })
		w.wait("countersigned receipts", func() bool {
			n, signed := 0, true
			if err := w.submitter.Receipts(t.Context(), st.ID, func(r *submit.Receipts) {
				n += len(r.Batch.Receipts)
				signed = signed && r.Countersigned
			}); err != nil {
				t.Fatal(err)
			}
			return n == 80 && signed
		})
		n := 0
		if err := d.Receipts(t.Context(), w.submitter.id, func(r *work.Receipts) { n += len(r.Batch.Receipts) }); err != nil || n != 40 {
			t.Errorf("donor has %d receipts: %v", n, err)
		}
	}
}

// A second job of the same shape has the same result, through other workers and with another number of replicas.
func TestResultDoesNotDependOnWorkers(t *testing.T) {
	w := newWorld(t, nil)
	w.submit()
	for range 4 {
		w.newDonor()
	}
	spec := noop(20)
	a := w.run(spec)
	spec.Policy = tasks.Policy{K: 3, N: 4}
	b := w.run(spec)
	w.mustFinish(a)
	w.mustFinish(b)
	if a.Result != b.Result {
		t.Errorf("results %s and %s", a.Result, b.Result)
	}
}

func TestLargeOutputsAreFetched(t *testing.T) {
	w := newWorld(t, nil)
	w.submit()
	w.newDonor()
	w.newDonor()
	st := w.run(tasks.Spec{Ops: []tasks.Op{{Kind: "test.noop", Params: []byte(`{"tasks":3,"bytes":3000000}`)}}, Sensitivity: tasks.Public})
	w.mustFinish(st)
	w.readable(st.Result)
}

// liar is an executor whose outputs are wrong.
type liar struct{ work.Executor }

func (l liar) Run(ctx context.Context, a tasks.Assignment, progress func(done, total int64)) (execute.Output, error) {
	out, err := l.Executor.Run(ctx, a, progress)
	wrong := []byte("wrong")
	out.Root = dag.Sum(dag.Raw, dag.SHA256, wrong)
	blobs := memstore.NewBlobs()
	e, derr := dag.AddFiles(ctx, blobs, map[string][]byte{"wrong": fmt.Appendf(nil, "%d", a.Index)})
	if derr != nil {
		return out, derr
	}
	out.Root, out.Blocks = e.Root, nil
	return out, errors.Join(err, dag.Walk(ctx, blobs, e.Root, func(c dag.CID, b []byte) (bool, error) {
		out.Blocks = append(out.Blocks, storage.Block{CID: c, Data: b})
		return true, nil
	}))
}

func TestLiarIsOutvotedAndNamed(t *testing.T) {
	w := newWorld(t, nil)
	w.submit()
	bad := w.newDonor(func(o *work.Options) { o.Executor = liar{o.Executor} })
	w.newDonor()
	w.newDonor()
	w.gather(3)
	st := w.run(sleepy(30, 1))
	w.mustFinish(st)
	w.readable(st.Result)
	if len(st.Blame) != 1 || st.Blame[0].Worker != bad.id || st.Blame[0].Outcome != tasks.Outvoted {
		t.Errorf("blame: %+v", st.Blame)
	}
}

// gather waits until n donors have a session.
func (w *world) gather(n int) {
	w.t.Helper()
	id, err := w.submitter.Submit(w.ctx, noop(1))
	if err != nil {
		w.t.Fatal(err)
	}
	w.wait("donors", func() bool { list, _ := w.submitter.Sessions(w.ctx); return len(list) == n })
	w.finish(id)
}

func TestDisagreementWaitsForThirdNode(t *testing.T) {
	w := newWorld(t, nil)
	w.submit()
	w.newDonor(func(o *work.Options) { o.Executor = liar{o.Executor} })
	w.newDonor()
	id, err := w.submitter.Submit(t.Context(), noop(1))
	if err != nil {
		t.Fatal(err)
	}
	w.wait("an explanation", func() bool {
		e, err := w.submitter.Explain(t.Context(), id)
		return err == nil && len(e.Waits) == 1 && e.Waits[0].Reason.Code == tasks.Disagreement
	})
	w.newDonor()
	w.announce(id)
	w.mustFinish(w.finish(id))
}

// announce repeats an offer at once, as the submitter would in a while.
func (w *world) announce(id tasks.JobID) {
	w.t.Helper()
	for _, d := range w.donors {
		d.HandleOffer(w.offer(id), 0)
	}
}

func TestTooFewNodes(t *testing.T) {
	w := newWorld(t, nil)
	w.submit()
	w.newDonor()
	id, err := w.submitter.Submit(t.Context(), noop(3))
	if err != nil {
		t.Fatal(err)
	}
	w.wait("an explanation", func() bool {
		e, err := w.submitter.Explain(t.Context(), id)
		return err == nil && len(e.Waits) > 0 && e.Waits[0].Reason.Code == tasks.TooFewNodes && e.Waits[0].Tasks == 3
	})
	if err := w.submitter.Cancel(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if st := w.finish(id); st.Phase != job.Cancelled {
		t.Errorf("job is %s", st.Phase)
	}
}

func TestPrivateDataStays(t *testing.T) {
	w := newWorld(t, nil)
	w.submit()
	for _, s := range []tasks.Sensitivity{"", tasks.Private} {
		spec := noop(1)
		spec.Sensitivity = s
		if _, err := w.submitter.Submit(t.Context(), spec); !errors.Is(err, submit.ErrPrivate) {
			t.Errorf("%q: %v", s, err)
		}
	}
}

// The donors' power fails in the middle, one of them for good.
func TestDonorsCrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.submit()
		for range 3 {
			w.newDonor()
		}
		id, err := w.submitter.Submit(t.Context(), sleepy(60, 10))
		if err != nil {
			t.Fatal(err)
		}
		w.wait("progress", func() bool { st, _ := w.submitter.Job(t.Context(), id); return st.Done > 10 })
		w.donors[0].crash(false)
		w.donors[1].crash(true)
		w.announce(id)
		st := w.finish(id)
		w.mustFinish(st)
		w.readable(st.Result)
	})
}

// crash ends a donor without a goodbye. What was not synced is lost.
func (d *donor) crash(back bool) {
	d.disconnect(true)
	old := d.log.(*memLog)
	d.log = old.crash(d.w.t)
	d.stop()
	if back {
		d.cut = false
		d.start()
	}
}

// The submitter's power fails in the middle, again and again; the result is what it would have been.
func TestSubmitterCrash(t *testing.T) {
	for _, every := range []int{50_000, 20} { // records between snapshots
		t.Run(fmt.Sprint(every), func(t *testing.T) {
			w := newWorld(t, nil)
			s := w.submit(func(o *submit.Options) { o.SnapshotEvery = every })
			for range 3 {
				w.newDonor()
			}
			want := w.run(noop(50)).Result
			id, err := s.Submit(t.Context(), noop(50))
			if err != nil {
				t.Fatal(err)
			}
			for i := range 4 {
				w.wait("progress", func() bool { st, _ := w.submitter.Job(t.Context(), id); return st.Done > 10*i })
				s = w.crashSubmitter(func(o *submit.Options) { o.SnapshotEvery = every })
				w.announce(id)
			}
			st := w.finish(id)
			w.mustFinish(st)
			if st.Result != want {
				t.Errorf("result %s, want %s", st.Result, want)
			}
			s.noneMergedTwice(t)
		})
	}
}

func (w *world) crashSubmitter(set ...func(*submit.Options)) *submitter {
	s := w.submitter
	log, book := s.log.crash(w.t), s.book.crash(w.t)
	for _, d := range w.donors {
		d.disconnect(true)
	}
	s.stop()
	n := w.startSubmitter(log, book, s.blobs, set...)
	for _, d := range w.donors {
		d.mu.Lock()
		d.cut = false
		d.mu.Unlock()
	}
	return n
}

// noneMergedTwice looks through the log for a place of the merge tree that was made true twice.
func (s *submitter) noneMergedTwice(t *testing.T) {
	t.Helper()
	seen := map[string]int{}
	if err := s.log.Replay(0, func(seq uint64, rec []byte) error {
		if [32]byte(rec[:32]) == [32]byte{} {
			return nil // not about a job
		}
		ev, err := job.Decode(rec[40:])
		if err != nil {
			return err
		}
		if m, ok := ev.(*job.Merged); ok {
			seen[fmt.Sprint(rec[:32], m.Level, m.Index)]++
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for k, n := range seen {
		if n > 1 {
			t.Errorf("merged %d times: %s", n, k)
		}
	}
}

// Accepted outputs whose blocks did not survive are computed again.
func TestLostBlocksAreMadeAgain(t *testing.T) {
	w := newWorld(t, nil)
	s := w.submit()
	w.newDonor()
	d := w.newDonor()
	id, err := s.Submit(t.Context(), sleepy(20, 5))
	if err != nil {
		t.Fatal(err)
	}
	w.wait("progress", func() bool { st, _ := s.Job(t.Context(), id); return st.Done > 5 })
	d.disconnect(true)
	var kept []dag.CID
	for c := range s.blobs.All(t.Context()) {
		kept = append(kept, c)
	}
	st, _ := s.Job(t.Context(), id)
	for _, c := range kept {
		if c != st.SpecRoot {
			if err := s.blobs.Delete(t.Context(), c); err != nil {
				t.Fatal(err)
			}
		}
	}
	w.crashSubmitter()
	w.announce(id)
	st = w.finish(id)
	w.mustFinish(st)
	w.readable(st.Result)
}

// A donor's connection breaks while it works; what it did counts when it is back.
func TestSessionResumes(t *testing.T) {
	w := newWorld(t, nil)
	w.submit()
	var runs atomic.Int64
	count := func(o *work.Options) { o.Executor = counter{o.Executor, &runs} }
	w.newDonor(count)
	w.newDonor(count)
	id, err := w.submitter.Submit(t.Context(), sleepy(8, 50))
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		time.Sleep(30 * time.Millisecond)
		w.donors[0].disconnect(false)
		w.donors[0].HandleOffer(w.offer(id), 0) // ends the wait before the next attempt
	}
	w.mustFinish(w.finish(id))
	if n := runs.Load(); n != 16 {
		t.Errorf("%d executions for 8 tasks at k = 2", n)
	}
}

type counter struct {
	work.Executor
	n *atomic.Int64
}

func (c counter) Run(ctx context.Context, a tasks.Assignment, progress func(done, total int64)) (execute.Output, error) {
	c.n.Add(1)
	return c.Executor.Run(ctx, a, progress)
}

func TestFailingTaskFailsTheJob(t *testing.T) {
	w := newWorld(t, nil)
	w.submit()
	for range 3 {
		w.newDonor()
	}
	st := w.run(tasks.Spec{Ops: []tasks.Op{{Kind: "test.fail", Params: []byte(`{"tasks":3}`)}}, Sensitivity: tasks.Public})
	if st.Phase != job.Failed || st.Reason.Code != tasks.TaskFailed {
		t.Errorf("job is %s: %v", st.Phase, st.Reason)
	}
}

func TestPauseKillResume(t *testing.T) {
	w := newWorld(t, nil)
	w.submit()
	d := w.newDonor()
	id, err := w.submitter.Submit(t.Context(), tasks.Spec{
		Ops:         []tasks.Op{{Kind: "test.noop", Params: []byte(`{"tasks":4,"millis":60000}`)}},
		Sensitivity: tasks.Public, Policy: tasks.Policy{K: 1, N: 2},
	})
	if err != nil {
		t.Fatal(err)
	}
	running := func() int { st, _ := d.Status(t.Context()); return len(st.Running) }
	w.wait("runs", func() bool { return running() == 2 })
	if err := d.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.wait("the end of all runs", func() bool { return running() == 0 })
	w.wait("all leases to be back", func() bool { st, _ := w.submitter.Job(t.Context(), id); return st.InFlight == 0 })
	if err := d.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.wait("runs", func() bool { return running() == 2 })
	if err := d.Pause(t.Context(), tasks.Reason{Code: tasks.Paused}); err != nil {
		t.Fatal(err)
	}
	w.wait("only what runs to be left", func() bool { st, _ := w.submitter.Job(t.Context(), id); return st.InFlight == 2 })
	e, err := w.submitter.Explain(t.Context(), id)
	if err != nil || e.Refused[tasks.Paused] == 0 || e.Refused[tasks.Killed] == 0 {
		t.Errorf("explanation %+v, %v", e, err)
	}
}

// The whole pipeline, with map, reduce and gather stages, gives what this machine alone gives, though a donor and the
// submitter lose their power on the way.
func TestPipelineIsWhatOneMachineGives(t *testing.T) {
	w := newWorld(t, kinds.All())
	w.submit()
	for range 3 {
		w.newDonor()
	}
	dir := t.TempDir()
	for i := range 60 {
		text := bytes.Repeat(fmt.Appendf(nil, "This is sentence number %d of a document about nothing much at all.\n", i%40), 30)
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("doc%02d.txt", i)), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	tree, err := dag.AddTree(t.Context(), w.submitter.blobs, dir, dag.Options{})
	if err != nil {
		t.Fatal(err)
	}
	spec := tasks.Spec{Network: network, Version: tasks.SpecVersion, Input: tree.Root, PartBytes: 4 << 10, Sensitivity: tasks.Public, Ops: []tasks.Op{
		{Kind: "etl.chunk"}, {Kind: "etl.dedup"}, {Kind: "etl.lang"}, {Kind: "etl.zstd"},
	}}
	for i := range spec.Ops {
		k, err := w.kinds.Kind(spec.Ops[i].Kind)
		if err != nil {
			t.Fatal(err)
		}
		if spec.Ops[i].Params, err = k.Check(nil); err != nil {
			t.Fatal(err)
		}
	}
	want, err := local.Run(t.Context(), local.Options{Blobs: w.submitter.blobs, Executor: w.submitter.exec, Kinds: w.kinds}, tasks.Job{Spec: spec}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []tasks.Sensitivity{tasks.Public, tasks.Approved} {
		spec.Sensitivity = s
		id, err := w.submitter.Submit(t.Context(), spec)
		if err != nil {
			t.Fatal(err)
		}
		past := func(n int) func() bool {
			return func() bool { st, _ := w.submitter.Job(t.Context(), id); return st.Done > n }
		}
		w.wait("progress", past(10))
		w.donors[0].crash(true)
		w.wait("progress", past(20))
		w.crashSubmitter()
		w.announce(id)
		w.wait("progress", past(want.Parts+2))
		w.crashSubmitter()
		w.announce(id)
		st := w.finish(id)
		w.mustFinish(st)
		if st.Result != want.Root {
			t.Errorf("%s: result %s, alone %s", s, st.Result, want.Root)
		}
		w.submitter.noneMergedTwice(t)
	}
}

func TestNodeLimit(t *testing.T) {
	w := newWorld(t, nil)
	w.submit()
	for range 4 {
		w.newDonor()
	}
	w.gather(4)
	spec := sleepy(20, 2)
	spec.Policy = tasks.Policy{K: 2, N: 3, NodeLimit: 2}
	st := w.run(spec)
	w.mustFinish(st)
	used := 0
	for _, x := range st.Workers {
		if x.Accepted > 0 {
			used++
		}
	}
	if used != 2 {
		t.Errorf("%d nodes did the work: %+v", used, st.Workers)
	}
}

// Two nodes behind one address do not vouch for one another.
func TestNeighboursAreNotIndependent(t *testing.T) {
	w := newWorld(t, nil)
	w.submit(func(o *submit.Options) { o.LAN = false })
	for range 2 {
		w.newDonor()
	}
	near, far := netip.MustParseAddr("203.0.113.5"), netip.MustParseAddr("198.51.100.7")
	w.donors[0].addr, w.donors[1].addr = near, near.Next()
	id, err := w.submitter.Submit(t.Context(), noop(3))
	if err != nil {
		t.Fatal(err)
	}
	w.wait("an explanation", func() bool {
		e, err := w.submitter.Explain(t.Context(), id)
		return err == nil && len(e.Waits) > 0 && e.Waits[0].Reason.Code == tasks.NoDiverseNode
	})
	w.newDonor().addr = far
	w.announce(id)
	w.mustFinish(w.finish(id))
}

// stalled is an executor that never finishes.
type stalled struct{ work.Executor }

func (stalled) Run(ctx context.Context, _ tasks.Assignment, _ func(done, total int64)) (execute.Output, error) {
	<-ctx.Done()
	return execute.Output{}, context.Cause(ctx)
}

// A donor that is alive but gets nothing done does not hold the job up: its tasks are given to others as well.
func TestStragglersAreHedged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.submit()
		w.newDonor(func(o *work.Options) { o.Executor = stalled{o.Executor} })
		w.newDonor()
		w.newDonor()
		w.gather(3)
		began := time.Now()
		st := w.run(sleepy(40, 20))
		w.mustFinish(st)
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

func TestLimitsOfASpec(t *testing.T) {
	w := newWorld(t, nil)
	w.submit(func(o *submit.Options) { o.MaxJobs = 2 })
	for _, c := range []struct {
		name   string
		change func(*tasks.Spec)
		want   error
	}{
		{"unknown kind", func(s *tasks.Spec) { s.Ops[0].Kind = "test.unheard" }, tasks.ErrUnknownKind},
		{"bad parameters", func(s *tasks.Spec) { s.Ops[0].Params = []byte(`{"tasks":0}`) }, tasks.ErrSpec},
		{"no ops", func(s *tasks.Spec) { s.Ops = nil }, tasks.ErrSpec},
		{"too many ops", func(s *tasks.Spec) { s.Ops = make([]tasks.Op, tasks.MaxOps+1) }, tasks.ErrSpec},
		{"k too large", func(s *tasks.Spec) { s.Policy.K = 9 }, tasks.ErrSpec},
		{"n below k", func(s *tasks.Spec) { s.Policy = tasks.Policy{K: 3, N: 2} }, tasks.ErrSpec},
		{"n too large", func(s *tasks.Spec) { s.Policy.N = 17 }, tasks.ErrSpec},
		{"node limit below k", func(s *tasks.Spec) { s.Policy = tasks.Policy{K: 3, N: 3, NodeLimit: 2} }, tasks.ErrSpec},
		{"past deadline", func(s *tasks.Spec) { s.Policy.Deadline = 1 }, tasks.ErrSpec},
		{"a billion tasks", func(s *tasks.Spec) { s.Ops[0].Params = []byte(`{"tasks":1000000000}`) }, tasks.ErrSpec},
		{"no region is left", func(s *tasks.Spec) { s.Policy.Regions, s.Policy.Excluded = []string{"DE", "FR"}, []string{"FR", "DE"} }, tasks.ErrSpec},
		{"long name", func(s *tasks.Spec) { s.Name = strings.Repeat("x", 201) }, tasks.ErrSpec},
		{"another network", func(s *tasks.Spec) { s.Network = "other" }, tasks.ErrSpec},
		{"another version", func(s *tasks.Spec) { s.Version = 2 }, tasks.ErrSpec},
		{"unknown sensitivity", func(s *tasks.Spec) { s.Sensitivity = "secret" }, tasks.ErrSpec},
		{"no input", func(s *tasks.Spec) { s.Ops[0].Kind = "etl.chunk" }, tasks.ErrSpec},
	} {
		spec := noop(1)
		c.change(&spec)
		if _, err := w.submitter.Submit(t.Context(), spec); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	for range 2 {
		if _, err := w.submitter.Submit(t.Context(), noop(1)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.submitter.Submit(t.Context(), noop(1)); !errors.Is(err, submit.ErrBusy) {
		t.Errorf("a job too many: %v", err)
	}
	if _, err := w.submitter.Job(t.Context(), tasks.JobID{1}); !errors.Is(err, submit.ErrNoJob) {
		t.Errorf("a job that does not exist: %v", err)
	}
}
