package submit_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"io"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"kith/storage/dag"
	"kith/storage/memstore"
	"kith/tasks"
	"kith/tasks/execute"
	"kith/tasks/job"
	"kith/tasks/submit"
	"kith/tasks/trust"
	"kith/tasks/wire"
	"kith/tasks/work"
)

func adaptive(n int) tasks.Spec {
	spec := noop(n)
	spec.Policy.Replication = tasks.Adaptive
	return spec
}

// turncoat lies from the moment on it is told to.
type turncoat struct {
	work.Executor
	lies *atomic.Bool
}

func (t turncoat) Run(ctx context.Context, a tasks.Assignment, progress func(done, total int64)) (execute.Output, error) {
	if t.lies.Load() {
		return liar{t.Executor}.Run(ctx, a, progress)
	}
	return t.Executor.Run(ctx, a, progress)
}

// known lets a fleet do so much under comparison that all of it is believed alone afterwards.
func (w *world) known(t *testing.T) {
	t.Helper()
	w.gather(len(w.donors))
	for range 20 { // who gets how many tasks of a job is left to chance
		w.mustFinish(w.run(adaptive(60)))
		got, err := w.submitter.Trust(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		believed := 0
		for _, s := range got.Skills {
			if s.Standing.Sole() {
				believed++
			}
		}
		if believed == len(w.donors) {
			return
		}
	}
	t.Fatal("some of the fleet never earn to be believed alone")
}

// In a fleet that has earned it most tasks are done once, and the result is that of full comparison.
func TestAdaptiveJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.submit()
		for range 4 {
			w.newDonor()
		}
		w.known(t)
		first := w.run(noop(300))
		w.mustFinish(first)
		st := w.run(adaptive(300))
		w.mustFinish(st)
		if st.Result != first.Result {
			t.Errorf("the result is %s, under comparison %s", st.Result, first.Result)
		}
		if st.Leases < 300+300/20 || st.Leases > 300+300/3 {
			t.Errorf("%d leases for 300 tasks", st.Leases)
		}
		t.Logf("%d leases for 300 tasks; compared: %d", st.Leases, first.Leases)
	})
}

// A worker that is believed alone begins to lie. It is found, banned, and all it did is done again: the result is the
// honest one, also if the submitter is cut off in between.
func TestTurncoatIsFoundAndUndone(t *testing.T) {
	for _, crash := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, nil)
			w.submit()
			for range 5 {
				w.newDonor()
			}
			var lies atomic.Bool
			bad := w.newDonor(func(o *work.Options) { o.Executor = turncoat{o.Executor, &lies} })
			w.known(t)
			want := w.run(noop(400))
			w.mustFinish(want)
			lies.Store(true)
			id, err := w.submitter.Submit(t.Context(), adaptive(400))
			if err != nil {
				t.Fatal(err)
			}
			if crash {
				time.Sleep(2 * time.Millisecond)
				w.crashSubmitter()
				w.announce(id)
			}
			st := w.finish(id)
			w.mustFinish(st)
			if st.Result != want.Result {
				t.Errorf("crash %v: the result is %s, want %s", crash, st.Result, want.Result)
			}
			book, err := w.submitter.Trust(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if len(book.Lies) != 1 || book.Lies[0].Node != bad.id {
				t.Errorf("crash %v: called liars: %+v", crash, book.Lies)
			}
			if code := w.toldAs(t, bad); code != tasks.Banned {
				t.Errorf("crash %v: the liar is told %q", crash, code)
			}
			w.crashSubmitter()
			if code := w.toldAs(t, bad); code != tasks.Banned {
				t.Errorf("crash %v: the liar is told %q after a restart", crash, code)
			}
			if err := w.submitter.Appeal(t.Context(), bad.id); err != nil {
				t.Fatal(err)
			}
			if err := w.submitter.Appeal(t.Context(), bad.id); !errors.Is(err, submit.ErrNoCase) {
				t.Errorf("a second appeal: %v", err)
			}
			w.crashSubmitter()
			if code := w.toldAs(t, bad); code == tasks.Banned {
				t.Error("banned again after its appeal and a restart")
			}
		})
	}
}

// toldAs says hello with a donor's key, and returns the reason with which it is sent away, or "".
func (w *world) toldAs(t *testing.T, d *donor) tasks.Code {
	t.Helper()
	d.stop()
	p := w.puppetAt(t, byte(d.n+1), d.addr)
	hello := p.frame(p.hello())
	go func() { _, _ = p.conn.Write(hello) }()
	defer p.conn.Close()
	switch m := hear[wire.Message](p).(type) {
	case *wire.Bye:
		return m.Reason.Code
	default:
		return ""
	}
}

// All that a lease says of itself is the same for an audit as for a first replica, but for what names the task.
func TestAuditLeasesLookAlike(t *testing.T) {
	s := job.New(&job.Accepted{
		Job:    tasks.Job{ID: tasks.JobID{1}, Spec: tasks.Spec{Policy: tasks.Policy{K: 2, N: 16, Replication: tasks.Adaptive}}},
		Secret: [32]byte{3},
	})
	var a job.Actions
	s.Step(&job.Planned{Stages: []tasks.Stage{{Mode: tasks.Map, Inputs: []int{tasks.Source}, Steps: []tasks.Step{{Kind: "x"}}}}, Parts: 2000}, 1, &a)
	sum := 0
	for i := range 2000 {
		sum += s.Handle(job.Ref{Index: i})
	}
	if mean := sum / 2000; mean < 450 || mean > 574 {
		t.Errorf("attempts shown for first replicas have a mean of %d, of numbers that say nothing it is 511", mean)
	}
}

func TestAdaptiveSpecs(t *testing.T) {
	w := newWorld(t, nil)
	w.submit()
	for name, p := range map[string]tasks.Policy{
		"unknown form":    {Replication: "sometimes"},
		"nobody compares": {K: 1, Replication: tasks.Adaptive},
	} {
		spec := noop(1)
		spec.Policy = p
		if _, err := w.submitter.Submit(t.Context(), spec); !errors.Is(err, tasks.ErrSpec) {
			t.Errorf("%s: %v", name, err)
		}
	}
	spec := noop(1)
	spec.Policy.Replication = tasks.Fixed
	id, err := w.submitter.Submit(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	if st, err := w.submitter.Job(t.Context(), id); err != nil || st.Spec.Policy.Replication != "" || st.Spec.Policy.N != 3 {
		t.Errorf("fixed replication is written as %+v, %v", st.Spec.Policy, err)
	}
}

// All newcomers together hold no more than a tenth of an adaptive job while a worker that has proven itself is there.
func TestStrangersShareATenth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.submit(func(o *submit.Options) { o.LAN = false })
		w.newDonor()
		w.mustFinish(w.run(solo(10)))
		spec := sleepy(100, 60_000)
		spec.Policy.Replication = tasks.Adaptive
		if _, err := w.submitter.Submit(t.Context(), spec); err != nil {
			t.Fatal(err)
		}
		total := 0
		for n := range byte(6) {
			total += w.inFlight(t, w.greedy(t, 60+n, netip.AddrFrom4([4]byte{203, 0, n, 1})).id)
		}
		if total != 10 {
			t.Errorf("newcomers hold %d leases of 100 tasks, want 10", total)
		}
	})
}

// inflated claims a thousand times the processor time that its tasks took.
type inflated struct{ work.Executor }

func (e inflated) Run(ctx context.Context, a tasks.Assignment, progress func(done, total int64)) (execute.Output, error) {
	out, err := e.Executor.Run(ctx, a, progress)
	out.CPUMillis = 1000 * (out.CPUMillis + 100)
	return out, err
}

// Who claims far more processor time than others need for the same work gets credit for what is believable.
func TestInflatedClaimsAreCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.submit()
		bad := w.newDonor(func(o *work.Options) { o.Executor = inflated{o.Executor} })
		for range 3 {
			w.newDonor()
		}
		w.gather(4)
		st := w.run(noop(800)) // many more than may be counted before anybody can know what one should cost
		w.mustFinish(st)
		time.Sleep(time.Second) // for the last receipts
		counted, cut := 0, 0
		if err := w.submitter.Receipts(t.Context(), st.ID, func(r *submit.Receipts) {
			for _, line := range r.Batch.Receipts {
				if r.Worker == bad.id && line.Outcome == tasks.Accepted {
					counted++
					if line.CPUMillis < 1000 {
						cut++
					}
				}
			}
		}); err != nil {
			t.Fatal(err)
		}
		if counted < 20 || cut < counted*3/4 {
			t.Errorf("%d of %d inflated claims were cut", cut, counted)
		}
	})
}

// A reputation store that a later version wrote is refused by name; one whose clock was ahead does not keep a record
// from fading.
func TestReputationFromTheFuture(t *testing.T) {
	log := newMemLog(t)
	b, err := dag.Marshal(map[string]any{"v": 2, "jobs": [][]byte{}, "trust": []trust.Entry{}})
	if err != nil {
		t.Fatal(err)
	}
	if err := log.WriteSnapshot(1, func(w io.Writer) error { _, err := w.Write(b); return err }); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, nil)
	d := submit.New(submit.Options{Network: network, Key: ed25519.NewKeyFromSeed(make([]byte, 32)), Kinds: w.kinds, Blobs: memstore.NewBlobs(), Log: log})
	if err := d.Serve(t.Context()); err == nil || !strings.Contains(err.Error(), "version 2, this program knows 1") {
		t.Errorf("a later version: %v", err)
	}

	synctest.Test(t, func(t *testing.T) {
		day := time.Now().UnixMilli() / 86_400_000
		entry := []trust.Entry{{Node: tasks.NodeID{5}, Record: trust.Record{Forged: 3_000_000, Day: day + 10_000}}}
		b, err := dag.Marshal(entry)
		if err != nil {
			t.Fatal(err)
		}
		log := newMemLog(t)
		log.Append(slices.Concat(make([]byte, 40), b), true, nil)
		w := newWorld(t, nil)
		s := w.startSubmitter(log, newMemLog(t), memstore.NewBlobs())
		time.Sleep(60 * 24 * time.Hour)
		got, err := s.Trust(t.Context())
		if err != nil || len(got.Records) != 1 || got.Records[0].Record.Forged > 1_000_000 {
			t.Errorf("after two months: %+v, %v", got.Records, err)
		}
	})
}

// What is not public is not given to a worker with a bad record, and explain says so.
func TestSealedInputsNeedAGoodRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		log := newMemLog(t)
		_, bad := key(60)
		b, err := dag.Marshal([]trust.Entry{{Node: bad, Record: trust.Record{Outvoted: 3_000_000, Accepted: 5_000_000, Day: time.Now().UnixMilli() / 86_400_000}}})
		if err != nil {
			t.Fatal(err)
		}
		log.Append(slices.Concat(make([]byte, 40), b), true, nil)
		w.startSubmitter(log, newMemLog(t), memstore.NewBlobs())
		spec := noop(4)
		spec.Sensitivity = tasks.Approved
		sealed, err := w.submitter.Submit(t.Context(), spec)
		if err != nil {
			t.Fatal(err)
		}
		p := w.greedy(t, 60, netip.Addr{})
		if got := w.inFlight(t, p.id); got != 0 {
			t.Errorf("it has %d leases on input that is not public", got)
		}
		e, err := w.submitter.Explain(t.Context(), sealed)
		if err != nil || e.Refused[tasks.NotTrusted] != 1 {
			t.Errorf("explained as %+v, %v", e.Refused, err)
		}
		w.begin(t, 4)
		if got := w.inFlight(t, p.id); got == 0 {
			t.Error("it gets nothing of a public job either")
		}
	})
}
