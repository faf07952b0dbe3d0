package work_test

import (
	"context"
	"fmt"
	"io"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"kith/storage"
	"kith/storage/dag"
	"kith/tasks"
	"kith/tasks/kinds/testkind"
	"kith/tasks/wire"
	"kith/tasks/work"
)

func TestCommitThenRevealOnlyWhenAsked(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newRig(t).session()
		l := b.lease(1, nil)
		b.say(&wire.Leases{Leases: []tasks.Lease{l}})
		c := hear[*wire.Commits](b).Commits[0]
		if b.MayServe(b.id, dag.CID{}) {
			t.Error("serves a block of nothing")
		}
		b.say(&wire.RevealRequest{Leases: []tasks.LeaseID{{5}, l.ID}}) // one is not ours: passed over
		r := hear[*wire.Reveals](b).Reveals
		if len(r) != 1 || tasks.CommitHash(l.ID, b.me, r[0].Root, r[0].Digest) != c.Hash {
			t.Fatalf("reveals %+v do not open the commit", r)
		}
		b.say(&wire.Verdicts{Verdicts: []tasks.Verdict{{Lease: l.ID, Outcome: tasks.Accepted, Root: r[0].Root}, {Lease: tasks.LeaseID{5}, Outcome: tasks.Lapsed}}})
		synctest.Wait()
		if st := b.status(); st.Done != 1 || st.Sessions[0].Pending != 0 {
			t.Errorf("status %+v", st)
		}
	})
}

func TestLeasesThatCannotBeTaken(t *testing.T) {
	big := testkind.MaxTasks + 1
	for _, c := range []struct {
		name   string
		change func(*tasks.Lease)
		set    func(*work.Options)
		code   tasks.Code
	}{
		{"unknown kind", func(l *tasks.Lease) { l.Do.Steps[0].Kind = "test.unheard" }, nil, tasks.UnknownKindCode},
		{"a sandbox that does not hold", nil, func(o *work.Options) {
			grade := tasks.GradeA // as long as it takes to answer the offer
			o.Sandbox = func() tasks.SandboxGrade { defer func() { grade = tasks.GradeNone }(); return grade }
		}, tasks.WeakSandbox},
		{"a kind that needs a stronger sandbox", nil, func(o *work.Options) {
			o.Kinds = demanding{o.Kinds, tasks.GradeA}
			o.Sandbox = func() tasks.SandboxGrade { return tasks.GradeB }
		}, tasks.WeakSandbox},
		{"kind switched off", nil, func(o *work.Options) { o.Allowed = func(string) bool { return false } }, tasks.KindOff},
		{"another epoch", func(l *tasks.Lease) { l.Epoch = 6 }, nil, tasks.BadMessage},
		{"bad parameters", func(l *tasks.Lease) { l.Do.Steps[0].Params = fmt.Appendf(nil, `{"tasks":%d}`, big) }, nil, tasks.TaskFailed},
		{"not admitted", nil, func(o *work.Options) {
			o.Admit = func(tasks.Assignment, func(tasks.Reason)) (func(), *tasks.Reason) {
				return nil, &tasks.Reason{Code: tasks.OverLimits}
			}
		}, tasks.OverLimits},
		{"a task that fails", func(l *tasks.Lease) { l.Do.Steps[0].Kind = "test.fail" }, nil, tasks.TaskFailed},
		{"an input that never comes", func(l *tasks.Lease) { l.Do.Inputs = []dag.CID{dag.Sum(dag.Raw, dag.SHA256, nil)} }, nil, tasks.NoBlockPath},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				set := c.set
				if set == nil {
					set = func(*work.Options) {}
				}
				r := newRig(t, set)
				r.fetch = func(ctx context.Context, _ work.Input, _ func([]dag.CID)) error { <-ctx.Done(); return ctx.Err() }
				b := r.offerAnyway()
				began := time.Now()
				b.say(&wire.Leases{Leases: []tasks.Lease{b.lease(1, c.change)}})
				if m := hear[*wire.Returned](b); m.Reason.Code != c.code {
					t.Errorf("returned with %+v, want %s", m.Reason, c.code)
				}
				if took := time.Since(began); took > 11*time.Second {
					t.Errorf("it took %v", took)
				}
				if c.code != tasks.TaskFailed && len(r.status().NoWork) == 0 {
					t.Error("the reason is not counted")
				}
			})
		})
	}
}

// offerAnyway connects even a worker whose owner allows no kind.
func (r *rig) offerAnyway() *boss {
	r.t.Helper()
	now := time.Now().UnixMilli()
	r.HandleOffer(wire.Offer{Submitter: r.id, Want: 4, Class: tasks.CPU, Time: now, Expiry: now + 30_000}, 0)
	b, _ := r.greet()
	return b.welcome(false)
}

func TestSlowInputIsNotLost(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		r.fetch = func(ctx context.Context, _ work.Input, arrived func([]dag.CID)) error {
			for range 10 { // a minute and more, but never ten seconds without a byte
				time.Sleep(8 * time.Second)
				arrived(make([]dag.CID, 1))
			}
			return ctx.Err()
		}
		b := r.session()
		input, err := dag.AddFiles(t.Context(), r.blobs, map[string][]byte{"x": []byte("y")})
		if err != nil {
			t.Fatal(err)
		}
		b.say(&wire.Leases{Leases: []tasks.Lease{b.lease(1, func(l *tasks.Lease) { l.Do.Inputs = []dag.CID{input.Root} })}})
		beat := hear[*wire.Heartbeat](b)
		if len(beat.Leases) != 1 || beat.Leases[0].State != wire.Preparing {
			t.Errorf("heartbeat %+v", beat.Leases)
		}
		hear[*wire.Commits](b)
	})
}

func TestTooManyLeases(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newRig(t).session()
		go func() {
			for from := 0; from < 320; from += wire.MaxLeases {
				var m wire.Leases
				for i := range wire.MaxLeases {
					m.Leases = append(m.Leases, b.lease(from+i, func(l *tasks.Lease) {
						l.Do.Steps[0].Params = []byte(`{"tasks":1,"millis":60000}`)
					}))
				}
				b.say(&m)
			}
		}()
		for n := range 320 - wire.MaxBeats {
			if m := hear[*wire.Returned](b); m.Reason.Code != tasks.Busy {
				t.Fatalf("return %d: %+v", n, m.Reason)
			}
		}
	})
}

func TestCancelStopsARun(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newRig(t).session()
		l := b.lease(1, func(l *tasks.Lease) { l.Do.Steps[0].Params = []byte(`{"tasks":1,"millis":600000}`) })
		b.say(&wire.Leases{Leases: []tasks.Lease{l}})
		synctest.Wait()
		if n := len(b.status().Running); n != 1 {
			t.Fatalf("%d running", n)
		}
		b.say(&wire.Cancel{Leases: []tasks.LeaseID{l.ID}, Reason: tasks.Reason{Code: tasks.JobCancelled}})
		synctest.Wait()
		if n := len(b.status().Running); n != 0 {
			t.Errorf("%d running", n)
		}
		b.say(&wire.Leases{Leases: []tasks.Lease{b.lease(2, nil)}}) // the slot is free again
		hear[*wire.Commits](b)
	})
}

func TestSubmitterThatMisbehaves(t *testing.T) {
	for _, c := range []struct {
		name string
		play func(b *boss)
	}{
		{"garbage for a welcome", func(b *boss) { _, _ = b.conn.Write([]byte{0, 0, 0, 3, 1, 2, 3}) }},
		{"no welcome", func(b *boss) {}},
		{"leases for a welcome", func(b *boss) {
			f, err := b.wire.Seal(&wire.NoWork{Reason: tasks.Reason{Code: tasks.Filled}}, time.Now().UnixMilli())
			if err == nil {
				_, _ = b.conn.Write(f)
			}
		}},
		{"garbage later", func(b *boss) { b.welcome(false); _, _ = b.conn.Write([]byte{0xff, 0xff, 0xff, 0xff, 1}) }},
		{"a message again", func(b *boss) {
			b.welcome(false)
			f := b.frame(&wire.NoWork{Reason: tasks.Reason{Code: tasks.Filled}})
			_, _ = b.conn.Write(f)
			_, _ = b.conn.Write(f)
		}},
		{"a flood", func(b *boss) {
			b.welcome(false)
			for {
				if _, err := b.conn.Write(b.frame(&wire.NoWork{Reason: tasks.Reason{Code: tasks.Filled}})); err != nil {
					return
				}
			}
		}},
		{"a goodbye", func(b *boss) {
			b.welcome(false)
			b.say(&wire.Bye{Reason: tasks.Reason{Code: tasks.Filled, RetryMillis: 1000}})
		}},
		{"vanishing", func(b *boss) { b.conn.Close() }},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := newRig(t)
				r.offer()
				b, _ := r.greet()
				go c.play(b)
				_, _ = io.Copy(io.Discard, b.conn) // until the worker hangs up
				r.refuse.Store(true)
				time.Sleep(10 * time.Minute)
				if st := r.status(); len(st.Sessions) != 0 {
					t.Errorf("a session of nothing is kept: %+v", st.Sessions)
				}
				if n := r.tried.Load(); n > 10 {
					t.Errorf("dialled %d times", n)
				}
				r.refuse.Store(false)
				nb := r.session() // and the next offer is answered
				nb.say(&wire.Leases{Leases: []tasks.Lease{nb.lease(1, nil)}})
				hear[*wire.Commits](nb)
			})
		})
	}
}

// What was promised before a power cut is promised again in the same words, and can be shown.
func TestPromisesOutliveARestart(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		b := r.session()
		small, large := b.lease(1, nil), b.lease(2, func(l *tasks.Lease) { l.Do.Steps[0].Params = []byte(`{"tasks":1,"bytes":200000}`) })
		b.say(&wire.Leases{Leases: []tasks.Lease{small, large}})
		first := map[tasks.LeaseID]tasks.Commit{}
		for len(first) < 2 {
			for _, c := range hear[*wire.Commits](b).Commits {
				first[c.Lease] = c
			}
		}
		r.stop()
		b.conn.Close()
		r.start()
		b, hello := r.greet()
		if hello.Resume != (wire.Token{9}) || len(hello.Held) != 2 {
			t.Fatalf("hello %+v", hello)
		}
		b.welcome(true, small.ID, large.ID)
		for n := 0; n < 2; {
			for _, c := range hear[*wire.Commits](b).Commits {
				if first[c.Lease] != c {
					t.Errorf("commit %+v, before %+v", c, first[c.Lease])
				}
				n++
			}
		}
		b.say(&wire.RevealRequest{Leases: []tasks.LeaseID{small.ID, large.ID}})
		var shown []tasks.Reveal
		for len(shown) < 2 {
			shown = append(shown, hear[*wire.Reveals](b).Reveals...)
		}
		for _, v := range shown {
			if tasks.CommitHash(v.Lease, r.me, v.Root, v.Digest) != first[v.Lease].Hash {
				t.Errorf("the reveal of %s does not open its commit", v.Lease.Short())
			}
			if v.Lease == large.ID && (len(v.Blocks) != 0 || !r.MayServe(r.id, v.Root) || r.MayServe(tasks.NodeID{3}, v.Root)) {
				t.Error("the large output is not served to its submitter alone")
			}
		}
		b.say(&wire.Verdicts{Verdicts: []tasks.Verdict{{Lease: large.ID, Outcome: tasks.Outvoted}}})
		synctest.Wait()
		if r.MayServe(r.id, shown[0].Root) && r.MayServe(r.id, shown[1].Root) {
			t.Error("an output is served after its verdict")
		}
	})
}

// Leases that the submitter no longer counts are dropped; a promise nobody asks about is kept only so long.
func TestPromisesEnd(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		b := r.session()
		b.say(&wire.Leases{Leases: []tasks.Lease{b.lease(1, nil), b.lease(2, nil)}})
		go func() { _, _ = io.Copy(io.Discard, b.conn) }()
		synctest.Wait()
		if n := b.status().Sessions[0].Pending; n != 2 {
			t.Fatalf("%d pending", n)
		}
		b.conn.Close()
		b, hello := r.greet()
		b.welcome(true, hello.Held[0])
		go func() { _, _ = io.Copy(io.Discard, b.conn) }()
		synctest.Wait()
		if n := b.status().Sessions[0].Pending; n != 1 {
			t.Fatalf("%d pending", n)
		}
		time.Sleep(time.Hour)
		if n := b.status().Sessions[0].Pending; n != 0 {
			t.Errorf("%d pending after an hour", n)
		}
	})
}

func TestFullDiskGivesTheLeaseBack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		b := r.session()
		synctest.Wait()
		r.log.mu.Lock()
		r.log.fail = storage.ErrFull
		r.log.mu.Unlock()
		b.say(&wire.Leases{Leases: []tasks.Lease{b.lease(1, nil)}})
		if m := hear[*wire.Returned](b); m.Reason.Code != tasks.DiskFull {
			t.Errorf("returned with %+v", m.Reason)
		}
	})
}

func TestReceiptsAreSignedOnlyIfTrue(t *testing.T) {
	bubble(t, func(t *testing.T) {
		book := newLog(t)
		r := newRig(t, func(o *work.Options) { o.Book = book })
		b := r.session()
		l := b.lease(1, nil)
		b.say(&wire.Leases{Leases: []tasks.Lease{l}})
		hear[*wire.Commits](b)
		b.say(&wire.RevealRequest{Leases: []tasks.LeaseID{l.ID}})
		root := hear[*wire.Reveals](b).Reveals[0].Root
		b.say(&wire.Verdicts{Verdicts: []tasks.Verdict{{Lease: l.ID, Outcome: tasks.Accepted, Root: root}}})
		batch := func(lease tasks.LeaseID, o tasks.Outcome) *wire.Receipts {
			m := &wire.Receipts{Receipts: []tasks.Receipt{{Lease: lease, Submitter: b.id, Worker: b.me, Outcome: o, Root: root, At: time.Now().UnixMilli()}}}
			sum, err := wire.ReceiptRoot(m.Receipts)
			if err != nil {
				t.Fatal(err)
			}
			m.Root, m.Sig = sum, wire.SignBatch(network, b.key, b.id, b.me, sum, 1)
			return m
		}
		b.say(batch(l.ID, tasks.Outvoted))
		b.say(batch(tasks.LeaseID{8}, tasks.Accepted))
		good := batch(l.ID, tasks.Accepted)
		for range 2 { // it did not hear the answer: it gets the same, and the book no second line
			b.say(good)
			if ack := hear[*wire.ReceiptAck](b); ack.Root != good.Root {
				t.Error("something that is not true was signed")
			}
		}
		lines := func() (n int) {
			if err := r.Receipts(t.Context(), r.id, func(*work.Receipts) { n++ }); err != nil {
				t.Fatal(err)
			}
			return n
		}
		if n := lines(); n != 1 {
			t.Errorf("%d batches in the book", n)
		}
		// After a restart too it knows what was said of its result.
		other := b.lease(2, nil)
		b.say(&wire.Leases{Leases: []tasks.Lease{other}})
		hear[*wire.Commits](b)
		b.say(&wire.Verdicts{Verdicts: []tasks.Verdict{{Lease: other.ID, Outcome: tasks.Accepted, Root: root}}})
		synctest.Wait()
		r.stop()
		b.conn.Close()
		r.start(func(o *work.Options) { o.Book = book })
		b = r.session()
		b.say(batch(other.ID, tasks.Outvoted))
		late := batch(other.ID, tasks.Accepted)
		b.say(late)
		b.say(good)
		for _, want := range []*wire.Receipts{late, good} {
			if ack := hear[*wire.ReceiptAck](b); ack.Root != want.Root {
				t.Error("something else was signed after a restart")
			}
		}
		if n := lines(); n != 2 {
			t.Errorf("%d batches in the book", n)
		}
	})
}

// A lease that is said again is not worked on again: while it is at work, after its verdict, when it was given back, and
// after a restart.
func TestReplayedLeases(t *testing.T) {
	bubble(t, func(t *testing.T) {
		book := newLog(t)
		with := func(o *work.Options) { o.Book = book }
		r := newRig(t, with)
		b := r.session()
		e := b.listen()
		lease, broken := b.lease(1, nil), b.lease(2, func(l *tasks.Lease) { l.Do.Steps[0].Kind = "test.fail" })
		replay := func(when string, commits, returned int) {
			t.Helper()
			synctest.Wait()
			before := r.Dropped()
			b.say(&wire.Leases{Leases: []tasks.Lease{lease, broken}})
			got := e.now()
			if len(got.commits) != commits || len(got.returned) != returned || r.Dropped() != before+2 {
				t.Errorf("%s: %d commits, %d given back, %d passed over", when, len(got.commits), len(got.returned), r.Dropped()-before)
			}
		}
		b.say(&wire.Leases{Leases: []tasks.Lease{lease, broken}})
		synctest.Wait()
		replay("at work", 1, 1)
		b.say(&wire.RevealRequest{Leases: []tasks.LeaseID{lease.ID}})
		replay("shown", 1, 1)
		shown := e.now().reveals[0]
		b.judge(tasks.Accepted, shown)
		replay("judged", 1, 1)
		r.stop()
		b.conn.Close()
		r.start(with)
		b = r.session()
		e = b.listen()
		b.say(&wire.Leases{Leases: []tasks.Lease{lease}})
		if got := e.now(); len(got.commits)+len(got.returned) != 0 {
			t.Errorf("after a restart: %d commits, %d given back", len(got.commits), len(got.returned))
		}
	})
}

func TestWhyNoWork(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, func(o *work.Options) { o.MaxSubmitters = 1 })
		now := time.Now().UnixMilli()
		r.HandleOffer(wire.Offer{Submitter: r.id, Kinds: []string{"test.unheard"}, Want: 1, Time: now, Expiry: now + 1000}, 0)
		if err := r.Pause(t.Context(), tasks.Reason{Code: tasks.Paused}); err != nil {
			t.Fatal(err)
		}
		r.offer()
		if err := r.Resume(t.Context()); err != nil {
			t.Fatal(err)
		}
		b := r.session()
		b.say(&wire.NoWork{Reason: tasks.Reason{Code: tasks.NoTasksLeft}})
		r.HandleOffer(wire.Offer{Submitter: tasks.NodeID{4}, Want: 1, Time: now, Expiry: now + 1000}, 0)
		got := map[tasks.Code]int{}
		for _, n := range r.status().NoWork {
			got[n.Reason.Code] = n.Count
		}
		for _, code := range []tasks.Code{tasks.UnknownKindCode, tasks.Paused, tasks.NoTasksLeft, tasks.Busy} {
			if got[code] != 1 {
				t.Errorf("%s: %d times", code, got[code])
			}
		}
	})
}

// The owner may change his mind about how many tasks run at once while they run.
func TestAllowMoreAndFewerTasks(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, func(o *work.Options) { o.Slots = 1 })
		b := r.session()
		for n := range 6 {
			b.say(&wire.Leases{Leases: []tasks.Lease{b.lease(n, func(l *tasks.Lease) {
				l.Do.Steps = []tasks.Step{{Kind: "test.sleep", Phase: "run", Params: []byte(`{"millis":60000}`)}}
			})}})
		}
		running := func() int {
			time.Sleep(time.Second)
			return len(r.status().Running)
		}
		if n := running(); n != 1 {
			t.Fatalf("%d tasks at once, want 1", n)
		}
		if err := r.Allow(t.Context(), 4); err != nil {
			t.Fatal(err)
		}
		if n := running(); n != 4 || r.status().Slots != 4 {
			t.Fatalf("%d tasks at once, want 4", n)
		}
		if err := r.Allow(t.Context(), 2); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if n := running(); n != 2 {
			t.Fatalf("%d tasks at once, want 2", n)
		}
	})
}

// An idle session costs next to nothing on the wire.
func TestIdleSessionIsSilent(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newRig(t).session()
		n := make(chan int64, 1)
		go func() { c, _ := io.Copy(io.Discard, b.conn); n <- c }()
		time.Sleep(24 * time.Hour)
		b.conn.Close()
		if c := <-n; c > 10_000 {
			t.Errorf("%d bytes in an idle day", c)
		}
	})
}

// What an unfinished lease builds on, and nothing else, is named to whoever collects garbage; a job's runners are let
// go a while after its last lease.
func TestPinsAndRelease(t *testing.T) {
	bubble(t, func(t *testing.T) {
		released := make(chan tasks.JobID, 10)
		r := newRig(t, func(o *work.Options) { o.Executor = releases{o.Executor, released} })
		b := r.session()
		input, err := dag.AddFiles(t.Context(), r.blobs, map[string][]byte{"x": []byte("y")})
		if err != nil {
			t.Fatal(err)
		}
		r.fetch = func(context.Context, work.Input, func([]dag.CID)) error { return nil }
		l := b.lease(1, func(l *tasks.Lease) {
			l.Do.Inputs = []dag.CID{input.Root}
			l.Do.Steps[0].Params = []byte(`{"tasks":1,"bytes":200000}`)
		})
		b.say(&wire.Leases{Leases: []tasks.Lease{l}})
		hear[*wire.Commits](b)
		b.say(&wire.RevealRequest{Leases: []tasks.LeaseID{l.ID}})
		root := hear[*wire.Reveals](b).Reveals[0].Root
		pins := func() (list []dag.CID) {
			if err := r.Pins(t.Context(), func(c dag.CID) error { list = append(list, c); return nil }); err != nil {
				t.Fatal(err)
			}
			return list
		}
		if got := pins(); !slices.Contains(got, root) || !slices.Contains(got, input.Root) {
			t.Errorf("pins %v", got)
		}
		b.say(&wire.Verdicts{Verdicts: []tasks.Verdict{{Lease: l.ID, Outcome: tasks.Accepted, Root: root}}})
		synctest.Wait()
		if got := pins(); len(got) != 0 {
			t.Errorf("pins %v after the verdict", got)
		}
		time.Sleep(time.Minute)
		if id := <-released; id != l.Do.Job {
			t.Errorf("released %s", id)
		}
	})
}

type releases struct {
	work.Executor
	c chan tasks.JobID
}

func (r releases) Release(id tasks.JobID) { r.c <- id }

// demanding are kinds that need a sandbox of some grade.
type demanding struct {
	tasks.Registry
	grade tasks.SandboxGrade
}

func (d demanding) Kind(name string) (tasks.Kind, error) {
	k, err := d.Registry.Kind(name)
	return demandingKind{k, d.grade}, err
}

type demandingKind struct {
	tasks.Kind
	grade tasks.SandboxGrade
}

func (k demandingKind) Describe() tasks.Description {
	d := k.Kind.Describe()
	d.Needs.Sandbox = k.grade
	return d
}
