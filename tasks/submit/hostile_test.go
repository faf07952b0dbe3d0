package submit_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"kith/storage/dag"
	"kith/tasks"
	"kith/tasks/job"
	"kith/tasks/submit"
	"kith/tasks/wire"
)

func TestBadBeginnings(t *testing.T) {
	length := func(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }
	for _, c := range []struct {
		name string
		say  func(p *puppet)
		code tasks.Code // of the bye, if the worker can be told
	}{
		{"garbage", func(p *puppet) { _, _ = p.conn.Write(append(length(40), bytes.Repeat([]byte{0xff}, 40)...)) }, ""},
		{"a frame without an end", func(p *puppet) { _, _ = p.conn.Write(length(1 << 31)) }, ""},
		{"silence", func(p *puppet) {}, ""},
		{"half a hello", func(p *puppet) { f := p.frame(p.hello()); _, _ = p.conn.Write(f[:len(f)/2]) }, ""},
		{"not a hello", func(p *puppet) {
			var s [64]byte
			_, _ = p.conn.Write(append(length(64), s[:]...))
		}, ""},
		{"another network", func(p *puppet) {
			k, _ := key(p.n)
			p.wire = wire.NewSession("other", k, p.w.submitter.id, wire.NewSessionID(), wire.Worker)
			h := p.hello()
			h.Network = "other"
			_, _ = p.conn.Write(p.frame(h))
		}, ""}, // what it is told is signed for this network
		{"a clock ten minutes ahead", func(p *puppet) {
			h := p.hello()
			h.Time += 600_000
			f, err := p.wire.Seal(h, h.Time)
			if err != nil {
				p.t.Fatal(err)
			}
			_, _ = p.conn.Write(f)
		}, tasks.ClockSkew},
		{"somebody else's capability", func(p *puppet) {
			h := p.hello()
			h.Capability = (&puppet{t: p.t, n: p.n + 1}).capability()
			_, _ = p.conn.Write(p.frame(h))
		}, tasks.BadMessage},
		{"no capability", func(p *puppet) {
			h := p.hello()
			h.Capability = nil
			_, _ = p.conn.Write(p.frame(h))
		}, tasks.BadMessage},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				p := w.puppet(t, 50)
				began := time.Now()
				go c.say(p)
				var code tasks.Code
				if f, err := wire.ReadFrame(p.conn, nil); err == nil {
					if m, err := p.wire.Open(f, time.Now().UnixMilli()); err == nil {
						if bye, ok := m.(*wire.Bye); ok {
							code = bye.Reason.Code
						}
					}
				}
				if err := p.fate(); err == nil {
					t.Error("the session ended without an error")
				}
				if c.code != "" && c.code != code {
					t.Errorf("told %q, want %q", code, c.code)
				}
				if took := time.Since(began); took > time.Minute {
					t.Errorf("it took %v", took)
				}
				if list, _ := w.submitter.Sessions(t.Context()); len(list) != 0 {
					t.Errorf("%d sessions left", len(list))
				}
			})
		})
	}
}

func TestTooManySessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.submit(func(o *submit.Options) { o.MaxSessions = 2 })
		for n := range byte(2) {
			p := w.puppet(t, 60+n)
			p.send(p.hello())
			hear[*wire.Welcome](p)
			p.deaf()
		}
		p := w.puppet(t, 62)
		hello := p.frame(p.hello())
		go func() { _, _ = p.conn.Write(hello) }() // the refusal may come before all of it is read
		if bye := hear[*wire.Bye](p); bye.Reason.Code != tasks.Filled || bye.Reason.RetryMillis == 0 {
			t.Errorf("told %+v", bye.Reason)
		}
	})
}

// A worker that reads nothing any more, though it goes on saying that it lives, holds neither the job up nor messages for it in
// memory: its session ends with the first write that takes too long.
func TestWorkerThatReadsNothingIsLetGo(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		id := w.begin(t, 20)
		p := w.puppet(t, 50).join()
		stop := make(chan struct{})
		defer close(stop)
		go func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(5 * time.Second):
				}
				beat := &wire.Heartbeat{Time: time.Now().UnixMilli()}
				for i := range p.leases {
					beat.Leases = append(beat.Leases, wire.Beat{Lease: p.leases[i].ID, State: wire.Running})
				}
				if _, err := p.conn.Write(p.frame(beat)); err != nil {
					return
				}
			}
		}()
		for range 2 {
			w.newDonor()
		}
		w.announce(id)
		w.mustFinish(w.finish(id))
		if err := p.fate(); err == nil {
			t.Error("its session ended well")
		}
		list, err := w.submitter.Sessions(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range list {
			if s.Worker == p.id {
				t.Errorf("it is still there: %+v", s)
			}
		}
	})
}

func TestFloodIsCutOff(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		p := w.puppet(t, 50)
		p.send(p.hello())
		p.deaf()
		for {
			if _, err := p.conn.Write(p.frame(&wire.Ask{Slots: 1})); err != nil {
				break // time stands still in the bubble, so only the burst passes
			}
		}
		if err := p.fate(); err == nil {
			t.Error("the flood was taken")
		}
	})
}

func TestReplayedMessageEndsTheSession(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		p := w.puppet(t, 50)
		p.send(p.hello())
		p.deaf()
		f := p.frame(&wire.Ask{Slots: 1})
		for range 2 {
			_, _ = p.conn.Write(f)
		}
		if err := p.fate(); !errors.Is(err, wire.ErrReplay) {
			t.Errorf("ended with %v", err)
		}
	})
}

func TestEquivocationIsKept(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		id := w.begin(t, 1)
		p := w.puppet(t, 50).join()
		k, _ := key(50)
		twin := wire.RestoreSession(network, k, w.submitter.id, p.wire.State())
		p.deaf()
		p.send(&wire.Ask{Slots: 1})
		f, err := twin.Seal(&wire.Ask{Slots: 2}, time.Now().UnixMilli())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = p.conn.Write(f)
		if err := p.fate(); !errors.Is(err, wire.ErrConflict) {
			t.Errorf("ended with %v", err)
		}
		synctest.Wait()
		e, err := w.submitter.Evidence(t.Context(), id)
		if err != nil || len(e.Conflicts) != 1 {
			t.Fatalf("evidence %+v, %v", e, err)
		}
		if c := e.Conflicts[0]; c.Verify() != nil || c.Culprit() != p.id {
			t.Errorf("the evidence proves nothing: %v", c.Verify())
		}
	})
}

// Every kind of bad result: whoever brings it is named, and the job ends well with the others.
func TestBadResults(t *testing.T) {
	for _, c := range []struct {
		name string
		play func(p *puppet, l *tasks.Lease)
		want tasks.Outcome // in the blame; "": none
	}{
		{"another root than committed to", func(p *puppet, l *tasks.Lease) {
			r := p.result(l)
			c := p.commit(&r)
			c.Hash[0]++
			p.send(&wire.Commits{Commits: []tasks.Commit{c}})
			hear[*wire.RevealRequest](p)
			p.send(&wire.Reveals{Reveals: []tasks.Reveal{r}})
		}, tasks.Forged},
		{"the right root without the bytes", func(p *puppet, l *tasks.Lease) {
			r := p.result(l)
			r.Digest[5]++ // a copier knows the root but not H(salt ‖ output)
			p.send(&wire.Commits{Commits: []tasks.Commit{p.commit(&r)}})
			hear[*wire.RevealRequest](p)
			p.send(&wire.Reveals{Reveals: []tasks.Reveal{r}})
		}, tasks.Forged},
		{"blocks that are not the root's", func(p *puppet, l *tasks.Lease) {
			r := p.result(l)
			r.Blocks[0] = append(bytes.Clone(r.Blocks[0]), 0)
			p.send(&wire.Commits{Commits: []tasks.Commit{p.commit(&r)}})
			hear[*wire.RevealRequest](p)
			p.send(&wire.Reveals{Reveals: []tasks.Reveal{r}})
		}, tasks.Forged},
		{"a block too many", func(p *puppet, l *tasks.Lease) {
			r := p.result(l)
			r.Blocks = append(r.Blocks, []byte("more"))
			p.send(&wire.Commits{Commits: []tasks.Commit{p.commit(&r)}})
			hear[*wire.RevealRequest](p)
			p.send(&wire.Reveals{Reveals: []tasks.Reveal{r}})
		}, tasks.Forged},
		{"a large output that cannot be fetched", func(p *puppet, l *tasks.Lease) {
			r := p.result(l)
			r.Root, r.Blocks = dag.Sum(dag.Raw, dag.SHA256, []byte("nowhere")), nil
			p.send(&wire.Commits{Commits: []tasks.Commit{p.commit(&r)}})
			hear[*wire.RevealRequest](p)
			p.send(&wire.Reveals{Reveals: []tasks.Reveal{r}})
		}, tasks.Withheld},
		{"silence after the question", func(p *puppet, l *tasks.Lease) {
			r := p.result(l)
			p.send(&wire.Commits{Commits: []tasks.Commit{p.commit(&r)}})
			hear[*wire.RevealRequest](p)
		}, tasks.Withheld},
		{"going back on a commit", func(p *puppet, l *tasks.Lease) {
			r := p.result(l)
			p.send(&wire.Commits{Commits: []tasks.Commit{p.commit(&r)}})
			hear[*wire.RevealRequest](p)
			p.send(&wire.Returned{Lease: l.ID, Reason: tasks.Reason{Code: tasks.Busy}})
		}, tasks.Withheld},
		{"two commits", func(p *puppet, l *tasks.Lease) {
			r := p.result(l)
			c := p.commit(&r)
			p.send(&wire.Commits{Commits: []tasks.Commit{c}})
			c.Hash[0]++
			p.send(&wire.Commits{Commits: []tasks.Commit{c}})
		}, ""},
		{"a reveal nobody asked for", func(p *puppet, l *tasks.Lease) {
			r := p.result(l)
			p.send(&wire.Reveals{Reveals: []tasks.Reveal{r}})
		}, ""},
		{"commits for leases of others", func(p *puppet, l *tasks.Lease) {
			for n := range byte(200) {
				p.send(&wire.Commits{Commits: []tasks.Commit{{Lease: tasks.LeaseID{n, 1}}}})
			}
		}, ""},
		{"vanishing with a lease", func(p *puppet, l *tasks.Lease) { p.conn.Close() }, ""},
		{"falling silent with a lease", func(p *puppet, l *tasks.Lease) {}, ""},
		{"giving the lease back", func(p *puppet, l *tasks.Lease) {
			p.send(&wire.Returned{Lease: l.ID, Reason: tasks.Reason{Code: tasks.Busy}, Log: []string{"no"}})
		}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				id := w.begin(t, 1)
				p := w.puppet(t, 50).join()
				lease := p.leases[0]
				w.newDonor()
				w.announce(id)
				go func() {
					c.play(p, &lease)
					p.deaf()
				}()
				synctest.Wait()
				time.Sleep(time.Second)
				w.newDonor()
				w.announce(id)
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				var last submit.Status
				for st, err := range w.submitter.Follow(ctx, id) {
					if err != nil {
						e, _ := w.submitter.Explain(t.Context(), id)
						t.Fatalf("%v; %+v", err, e)
					}
					last = st
				}
				if last.Phase != job.Finished {
					t.Fatalf("job is %s: %v", last.Phase, last.Reason)
				}
				got := w.blame(t, id, p.id)
				if c.want == "" && len(got) != 0 || c.want != "" && (len(got) != 1 || got[0] != c.want) {
					t.Errorf("blamed for %v, want %q", got, c.want)
				}
			})
		})
	}
}

// A worker that keeps its commit open and its session closed loses nothing within the time sessions are kept for, and
// its task goes to somebody else after it.
// A worker that answers for tasks it was never given, again and again, is told so and cut off; nobody else notices.
func TestStrangeLeasesEndTheSession(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		id := w.begin(t, 1)
		p := w.puppet(t, 50).join()
		before := w.submitter.Dropped()
		go func() {
			for n := range 10_000/wire.MaxLeases + 1 {
				m := &wire.Commits{}
				for i := range wire.MaxLeases {
					m.Commits = append(m.Commits, tasks.Commit{Lease: tasks.LeaseID{1, byte(n), byte(i)}})
				}
				f, err := p.wire.Seal(m, time.Now().UnixMilli())
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := p.conn.Write(f); err != nil {
					return // cut off
				}
			}
		}()
		if m := hear[*wire.Bye](p); m.Reason.Code != tasks.NotMine {
			t.Errorf("told %+v", m.Reason)
		}
		synctest.Wait()
		if n := w.submitter.Dropped() - before; n < 10_000 {
			t.Errorf("cut off after %d", n)
		}
		w.newDonor()
		w.newDonor()
		w.announce(id)
		w.mustFinish(w.finish(id))
	})
}

// Results for a job that was called off, or is over, change nothing: they are passed over, nobody is blamed, nothing is
// signed, and the worker does the next job.
func TestResultsForACancelledJob(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		id := w.begin(t, 2)
		p := w.puppet(t, 50).join()
		for len(p.leases) < 2 {
			hear[*wire.Leases](p)
		}
		early, late := p.result(&p.leases[0]), p.result(&p.leases[1])
		p.send(&wire.Commits{Commits: []tasks.Commit{p.commit(&early)}})
		synctest.Wait()
		cancelled := make(chan error, 1)
		go func() { cancelled <- w.submitter.Cancel(t.Context(), id) }()
		for n := 0; n < 2; {
			n += len(hear[*wire.Cancel](p).Leases)
		}
		if err := <-cancelled; err != nil {
			t.Fatal(err)
		}
		before := w.submitter.Dropped()
		p.send(&wire.Commits{Commits: []tasks.Commit{p.commit(&late)}})
		p.send(&wire.Reveals{Reveals: []tasks.Reveal{early, late}})
		p.send(&wire.Returned{Lease: late.Lease, Reason: tasks.Reason{Code: tasks.TaskFailed}})
		p.send(&wire.Heartbeat{Leases: []wire.Beat{{Lease: late.Lease, State: wire.Delivering}}, Time: time.Now().UnixMilli()})
		synctest.Wait()
		if n := w.submitter.Dropped() - before; n != 4 {
			t.Errorf("%d results were passed over, want 4", n)
		}
		st, err := w.submitter.Job(t.Context(), id)
		if err != nil || st.Phase != job.Cancelled || len(st.Blame) != 0 {
			t.Errorf("%s, blamed %v, %v", st.Phase, st.Blame, err)
		}
		time.Sleep(time.Minute)
		if err := w.submitter.Receipts(t.Context(), id, func(r *submit.Receipts) {
			for i := range r.Batch.Receipts {
				if r.Batch.Receipts[i].Outcome == tasks.Accepted {
					t.Errorf("signed for %+v", r.Batch.Receipts[i])
				}
			}
		}); err != nil {
			t.Fatal(err)
		}
		p.leases = nil
		w.begin(t, 1)
		p.send(&wire.Ask{Slots: 4})
		for len(p.leases) == 0 {
			hear[*wire.Leases](p)
		}
	})
}

func TestLostSessionIsKeptTwoMinutes(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		id, err := w.submitter.Submit(t.Context(), tasks.Spec{Ops: noop(1).Ops, Sensitivity: tasks.Public, Policy: tasks.Policy{K: 1, N: 1}})
		if err != nil {
			t.Fatal(err)
		}
		p := w.puppet(t, 50)
		p.send(p.hello())
		welcome := hear[*wire.Welcome](p)
		hear[*wire.Leases](p)
		p.conn.Close()
		time.Sleep(100 * time.Second)
		again := w.puppet(t, 50)
		h := again.hello()
		h.Resume, h.Held = welcome.Token, []tasks.LeaseID{p.leases[0].ID}
		again.send(h)
		if m := hear[*wire.Welcome](again); !m.Resumed || len(m.Kept) != 1 || m.Epoch != welcome.Epoch {
			t.Fatalf("welcomed with %+v", m)
		}
		again.conn.Close()
		time.Sleep(130 * time.Second)
		again = w.puppet(t, 50)
		h = again.hello()
		h.Resume, h.Held = welcome.Token, []tasks.LeaseID{p.leases[0].ID}
		again.send(h)
		if m := hear[*wire.Welcome](again); !m.Resumed || len(m.Kept) != 0 {
			t.Fatalf("welcomed with %+v", m)
		}
		r := again.result(&hear[*wire.Leases](again).Leases[0]) // it is granted anew
		again.send(&wire.Commits{Commits: []tasks.Commit{again.commit(&r)}})
		hear[*wire.RevealRequest](again)
		again.send(&wire.Reveals{Reveals: []tasks.Reveal{r}})
		if v := hear[*wire.Verdicts](again); v.Verdicts[0].Outcome != tasks.Accepted {
			t.Errorf("verdict %+v", v.Verdicts[0])
		}
		again.deaf()
		w.mustFinish(w.finish(id))
	})
}

// A forged token is a new session: what the worker held does not count.
func TestForgedTokenResumesNothing(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.begin(t, 1)
		p := w.puppet(t, 50).join()
		p.conn.Close()
		synctest.Wait()
		again := w.puppet(t, 50)
		h := again.hello()
		h.Resume, h.Held = wire.Token{1, 2, 3}, []tasks.LeaseID{p.leases[0].ID}
		again.send(h)
		if m := hear[*wire.Welcome](again); m.Resumed || len(m.Kept) != 0 {
			t.Errorf("welcomed with %+v", m)
		}
	})
}

// The rings of an offer widen while nobody answers, and a deadline ends the wait.
func TestOffersWidenUntilTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		ring := &rings{}
		w.submit(func(o *submit.Options) { o.Offers = ring })
		spec := noop(1)
		spec.Policy.Deadline = time.Now().Add(5 * time.Minute).UnixMilli()
		id, err := w.submitter.Submit(t.Context(), spec)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(4 * time.Minute)
		e, err := w.submitter.Explain(t.Context(), id)
		if err != nil || len(e.Waits) == 0 || e.Waits[0].Reason.Code != tasks.NoAnswer {
			t.Errorf("explanation %+v, %v", e, err)
		}
		time.Sleep(2 * time.Minute)
		st, err := w.submitter.Job(t.Context(), id)
		if err != nil || st.Phase != job.Failed || st.Reason.Code != tasks.DeadlinePassed {
			t.Errorf("job is %s: %v, %v", st.Phase, st.Reason, err)
		}
		n := len(ring.heard)
		if n < 4 || n > 12 || ring.heard[0] != 0 || ring.heard[n-1] < 4 {
			t.Errorf("rings of the offers: %v", ring.heard)
		}
		time.Sleep(10 * time.Minute)
		if len(ring.heard) != n {
			t.Error("offers of a job that is over")
		}
	})
}

type rings struct{ heard []int }

func (r *rings) Publish(_ context.Context, _ tasks.DeviceClass, ring int, _ []byte) (int, error) {
	r.heard = append(r.heard, ring)
	return 0, nil
}

// Blocks are served to holders of a lease on them, and of a public job to everybody.
func TestMayServe(t *testing.T) {
	for _, s := range []tasks.Sensitivity{tasks.Public, tasks.Approved} {
		t.Run(string(s), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, corpora())
				w.submit()
				file, err := dag.AddFiles(t.Context(), w.submitter.blobs, map[string][]byte{"a.txt": bytes.Repeat([]byte("some text\n"), 50)})
				if err != nil {
					t.Fatal(err)
				}
				if _, err := w.submitter.Submit(t.Context(), tasks.Spec{Ops: []tasks.Op{{Kind: "etl.chunk"}}, Input: file.Root, Sensitivity: s}); err != nil {
					t.Fatal(err)
				}
				_, stranger := key(77)
				synctest.Wait()
				if got := w.submitter.MayServe(stranger, file.Root); got != (s == tasks.Public) {
					t.Errorf("the data of a job that nobody was leased yet, for a stranger: %v", got)
				}
				announced, err := w.submitter.PublicInputs(t.Context())
				if err != nil || (len(announced) == 1) != (s == tasks.Public) {
					t.Errorf("announced: %v, %v", announced, err)
				}
				p := w.puppet(t, 50).join()
				var under []dag.CID
				if err := dag.Walk(t.Context(), w.submitter.blobs, p.leases[0].Do.Inputs[0], func(c dag.CID, b []byte) (bool, error) {
					under = append(under, c)
					if s == tasks.Approved && bytes.Contains(b, []byte("some text")) {
						t.Error("the input leaves in the clear")
					}
					return true, nil
				}); err != nil {
					t.Fatal(err)
				}
				for _, c := range under {
					if !w.submitter.MayServe(p.id, c) {
						t.Errorf("block %s is refused to the holder of its lease", c)
					}
					if got := w.submitter.MayServe(stranger, c); got != (s == tasks.Public) {
						t.Errorf("block %s for a stranger: %v", c, got)
					}
				}
				if w.submitter.MayServe(p.id, dag.Sum(dag.Raw, dag.SHA256, []byte("other"))) {
					t.Error("a block of no job is served")
				}
				p.conn.Close()
				synctest.Wait()
				if s == tasks.Approved && w.submitter.MayServe(p.id, under[0]) {
					t.Error("a block is served to a worker whose session is over")
				}
			})
		})
	}
}

// A session that was idle for long is not silent the moment it gets work.
func TestIdleWorkerIsNotSilent(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		p := w.puppet(t, 50)
		p.send(p.hello())
		hear[*wire.Welcome](p)
		time.Sleep(time.Hour)
		w.begin(t, 1)
		hear[*wire.Leases](p)
		time.Sleep(10 * time.Second)
		if list, _ := w.submitter.Sessions(t.Context()); len(list) != 1 {
			t.Error("the session was ended")
		}
	})
}
