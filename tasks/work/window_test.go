package work_test

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"kith/storage/dag"
	"kith/tasks"
	"kith/tasks/wire"
	"kith/tasks/work"
)

// ear is what a worker has said in one stream.
type ear struct {
	mu       sync.Mutex
	commits  []tasks.Commit
	reveals  []tasks.Reveal
	returned []*wire.Returned
	slots    int // last asked for
}

// listen takes in whatever the worker says, until the stream ends.
func (b *boss) listen() *ear {
	e := &ear{slots: -1}
	go func() {
		for {
			f, err := wire.ReadFrame(b.conn, nil)
			if err != nil {
				return
			}
			m, err := b.wire.Open(f, time.Now().UnixMilli())
			if err != nil {
				b.t.Error(err)
				return
			}
			e.mu.Lock()
			switch m := m.(type) {
			case *wire.Commits:
				e.commits = append(e.commits, m.Commits...)
			case *wire.Reveals:
				e.reveals = append(e.reveals, m.Reveals...)
			case *wire.Returned:
				e.returned = append(e.returned, m)
			case *wire.Ask:
				e.slots = m.Slots
			}
			e.mu.Unlock()
		}
	}()
	return e
}

// now is what was said until nothing moves any more.
func (e *ear) now() ear {
	synctest.Wait()
	e.mu.Lock()
	defer e.mu.Unlock()
	return ear{commits: slices.Clone(e.commits), reveals: slices.Clone(e.reveals), returned: slices.Clone(e.returned), slots: e.slots}
}

// demand gives n tasks from number from on, and demands to see the results.
func (b *boss) demand(e *ear, from, n int) {
	b.t.Helper()
	for i := range n {
		l := b.lease(from+i, nil)
		before := len(e.now().commits)
		b.say(&wire.Leases{Leases: []tasks.Lease{l}})
		if len(e.now().commits) == before {
			return // it does not take it
		}
		b.say(&wire.RevealRequest{Leases: []tasks.LeaseID{l.ID}})
	}
}

// acknowledge says that the bytes of results are here.
func (b *boss) acknowledge(list ...tasks.Reveal) {
	b.t.Helper()
	m := &wire.Delivered{Time: time.Now().UnixMilli()}
	for i := range list {
		m.Results = append(m.Results, wire.Delivery{Lease: list[i].Lease, Root: list[i].Root, Digest: list[i].Digest})
	}
	b.say(m)
	synctest.Wait()
}

func (b *boss) judge(o tasks.Outcome, list ...tasks.Reveal) {
	b.t.Helper()
	for i := range list {
		b.say(&wire.Verdicts{Verdicts: []tasks.Verdict{{Lease: list[i].Lease, Outcome: o, Root: list[i].Root}}})
	}
	synctest.Wait()
}

func (r *rig) payer() work.Payer {
	r.t.Helper()
	synctest.Wait()
	list, err := r.Payers(r.t.Context())
	if err != nil || len(list) != 1 {
		r.t.Fatalf("%+v, %v", list, err)
	}
	return list[0]
}

// A submitter is shown a window of results without a word on any; each word opens it by one more, and what was held back
// is shown then.
func TestSilentSubmitterIsShownNoMore(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		b := r.session()
		e := b.listen()
		b.demand(e, 0, 20)
		shown := e.now().reveals
		if len(shown) != 4 {
			t.Fatalf("%d results are shown, want 4", len(shown))
		}
		if p := r.payer(); p.Silent != 4 || p.Window != 4 || p.Rest != 0 {
			t.Errorf("%+v", p)
		}
		b.acknowledge(shown[0])
		if got := len(e.now().reveals); got != 4+2 { // one place is free, and the window is one larger
			t.Errorf("%d results are shown, want 6", got)
		}
		b.acknowledge(shown[0]) // again: it is one word all the same
		if got := len(e.now().reveals); got != 6 {
			t.Errorf("%d results are shown, want 6", got)
		}
		b.judge(tasks.Accepted, shown...) // the first has had its word
		if got := len(e.now().reveals); got != 6+6 {
			t.Errorf("%d results are shown, want 12", got)
		}
		if p := r.payer(); p.Silent != 8 || p.Window != 8 {
			t.Errorf("%+v", p)
		}
		b.acknowledge(e.now().reveals[4:]...)
		if got := len(e.now().reveals); got != 20 {
			t.Errorf("%d results are shown, want all", got)
		}
	})
}

// One that has said nothing for long gets no work until it says something.
func TestSilentSubmitterGetsNoWork(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		b := r.session()
		e := b.listen()
		b.demand(e, 0, 3)
		time.Sleep(time.Minute)
		got := e.now()
		if len(got.reveals) != 3 || got.slots != 0 {
			t.Fatalf("%d are shown, %d slots are asked for", len(got.reveals), got.slots)
		}
		if st := r.status(); st.Sessions[0].Why == nil || st.Sessions[0].Why.Code != tasks.NoWord {
			t.Errorf("the owner is told %+v", st.Sessions[0].Why)
		}
		l := b.lease(9, nil)
		b.say(&wire.Leases{Leases: []tasks.Lease{l}})
		if got := e.now(); len(got.returned) != 1 || got.returned[0].Lease != l.ID || got.returned[0].Reason.Code != tasks.NoWord || got.returned[0].Reason.Remedy() == "" {
			t.Fatalf("returned %+v", got.returned)
		}
		b.acknowledge(got.reveals...)
		if got := e.now(); got.slots == 0 {
			t.Error("no work is asked for after the words came")
		}
		b.demand(e, 20, 3)
		if got := e.now(); len(got.reveals) != 6 {
			t.Errorf("%d are shown, want 6", len(got.reveals))
		}
		if st := r.status(); st.Sessions[0].Why != nil {
			t.Errorf("the owner is told %v", st.Sessions[0].Why)
		}
	})
}

// Leases that wait for a slot go back when it turns out that their submitter keeps silent.
func TestWaitingLeasesOfSilentSubmitterGoBack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, func(o *work.Options) { o.Turn = func(tasks.NodeID) work.Turn { return work.Turn{} } })
		b := r.session()
		e := b.listen()
		b.demand(e, 0, 3)
		for i := range 6 { // two run, four wait
			b.say(&wire.Leases{Leases: []tasks.Lease{b.lease(10+i, func(l *tasks.Lease) {
				l.Do.Steps[0] = tasks.Step{Kind: "test.sleep", Phase: "run", Params: []byte(`{"tasks":1,"millis":300000}`)}
			})}})
		}
		time.Sleep(30 * time.Second)
		if got := e.now(); len(got.returned) != 4 {
			t.Errorf("%d leases went back, want the 4 that had not begun", len(got.returned))
		}
	})
}

// Whoever takes results, ends the session and comes again gains less than twice a newcomer's window, and then nothing for
// an hour.
func TestWhatSilenceGains(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		gained, n := 0, 0
		for range 30 {
			for wait := 0; len(r.dials) == 0 && wait < 60; wait++ {
				r.offer()
				time.Sleep(time.Second)
			}
			if len(r.dials) == 0 {
				break
			}
			b, _ := r.greet()
			b.welcome(false)
			e := b.listen()
			b.demand(e, n, 10)
			n += 10
			gained += len(e.now().reveals)
			b.say(&wire.Bye{Reason: tasks.Reason{Code: tasks.NoTasksLeft}})
			time.Sleep(5 * time.Second)
		}
		if gained != 4+2+1 {
			t.Errorf("it gained %d results, want 7", gained)
		}
		p := r.payer()
		if p.Window != 0 || p.Rest == 0 {
			t.Errorf("%+v", p)
		}
		if st := r.status(); !slices.ContainsFunc(st.NoWork, func(w work.NoWork) bool { return w.Reason.Code == tasks.NoWord && w.Reason.RetryMillis > 0 }) {
			t.Errorf("reasons: %+v", st.NoWork)
		}
		r.stop()
		r.start()
		if p := r.payer(); p.Window != 0 || p.Rest == 0 {
			t.Errorf("after a restart: %+v", p)
		}
		time.Sleep(time.Hour)
		b := r.session()
		e := b.listen()
		b.demand(e, n, 10)
		if got := e.now().reveals; len(got) != 1 {
			t.Errorf("%d are shown after the hour, want 1", len(got))
		}
	})
}

// What is called off, or judged otherwise than by its worth, after it was shown, gains nothing either.
func TestCallingOffIsNoWord(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(b *boss, list []tasks.Reveal)
		want int // shown of ten more, at once
	}{
		{"cancelled", func(b *boss, list []tasks.Reveal) {
			b.say(&wire.Cancel{Leases: []tasks.LeaseID{list[0].Lease, list[1].Lease, list[2].Lease, list[3].Lease}, Reason: tasks.Reason{Code: tasks.JobCancelled}})
		}, 0},
		{"not needed", func(b *boss, list []tasks.Reveal) { b.judge(tasks.Cancelled, list...) }, 0},
		{"called withheld", func(b *boss, list []tasks.Reveal) { b.judge(tasks.Withheld, list...) }, 0},
		{"called forged", func(b *boss, list []tasks.Reveal) { b.judge(tasks.Forged, list...) }, 0},
		{"outvoted", func(b *boss, list []tasks.Reveal) { b.judge(tasks.Outvoted, list...) }, 4},
		{"acknowledged, then cancelled", func(b *boss, list []tasks.Reveal) {
			b.acknowledge(list...)
			b.judge(tasks.Cancelled, list...)
		}, 8},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				b := newRig(t).session()
				e := b.listen()
				b.demand(e, 0, 4)
				c.end(b, e.now().reveals)
				b.demand(e, 50, 10)
				if got := len(e.now().reveals) - 4; got != c.want {
					t.Errorf("%d more are shown, want %d", got, c.want)
				}
			})
		})
	}
}

// A submitter from before acknowledgements is not asked for any: it may have whatever a worker may hold for it.
func TestOldSubmitterIsNotHeldBack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		r.old.Store(true)
		b := r.session()
		e := b.listen()
		b.demand(e, 0, 40)
		time.Sleep(2 * time.Minute)
		got := e.now()
		if len(got.reveals) != 40 || got.slots == 0 {
			t.Errorf("%d results are shown, %d slots asked for", len(got.reveals), got.slots)
		}
		if st := r.status(); len(st.NoWork) != 0 {
			t.Errorf("%+v", st.NoWork)
		}
	})
}

// A connection that breaks takes nothing from a submitter that has all its leases when it is back.
func TestBrokenConnectionIsNoSilence(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		b := r.session()
		e := b.listen()
		b.demand(e, 0, 3)
		shown := e.now().reveals
		b.conn.Close()
		time.Sleep(9 * time.Second)
		b, hello := r.greet()
		if len(hello.Held) != 3 {
			t.Fatalf("held %v", hello.Held)
		}
		b.welcome(true, hello.Held...)
		b.listen()
		time.Sleep(9 * time.Second) // its clock began anew
		if p := r.payer(); p.Window != 4 || p.Silent != 3 {
			t.Errorf("%+v", p)
		}
		b.acknowledge(shown...)
		if p := r.payer(); p.Window != 7 || p.Silent != 0 {
			t.Errorf("%+v", p)
		}
	})
}

// An acknowledgement is a claim on the very bytes, and no other message makes it more or less.
func TestAcknowledgedResultsAreClaimed(t *testing.T) {
	words := func(r *rig) (list []wire.Word) {
		t.Helper()
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		claims, err := r.Claims(r.t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for i := range claims {
			word, err := claims[i].Verify(network)
			if err != nil {
				t.Error(err)
			}
			list = append(list, slices.Repeat([]wire.Word{word}, len(claims[i].Leases))...)
		}
		return list
	}
	for _, c := range []struct {
		name string
		say  func(b *boss, r tasks.Reveal)
		want []wire.Word
	}{
		{"acknowledged", func(b *boss, r tasks.Reveal) { b.acknowledge(r) }, []wire.Word{wire.Got}},
		{"acknowledged twice", func(b *boss, r tasks.Reveal) { b.acknowledge(r); b.acknowledge(r) }, []wire.Word{wire.Got}},
		{"acknowledged, then demanded again", func(b *boss, r tasks.Reveal) {
			b.acknowledge(r)
			b.say(&wire.RevealRequest{Leases: []tasks.LeaseID{r.Lease}})
		}, []wire.Word{wire.Got}},
		{"acknowledged, then accepted", func(b *boss, r tasks.Reveal) { b.acknowledge(r); b.judge(tasks.Accepted, r) }, []wire.Word{wire.Approved}},
		{"acknowledged, then outvoted", func(b *boss, r tasks.Reveal) { b.acknowledge(r); b.judge(tasks.Outvoted, r) }, nil},
		{"acknowledged, then denied", func(b *boss, r tasks.Reveal) { b.acknowledge(r); b.judge(tasks.Withheld, r) }, []wire.Word{wire.Got}},
		{"acknowledged, then called forged", func(b *boss, r tasks.Reveal) { b.acknowledge(r); b.judge(tasks.Forged, r) }, []wire.Word{wire.Got}},
		{"only demanded, then denied", func(b *boss, r tasks.Reveal) { b.judge(tasks.Withheld, r) }, nil},
		{"another result", func(b *boss, r tasks.Reveal) { r.Root = dag.Sum(dag.Raw, dag.SHA256, nil); b.acknowledge(r) }, []wire.Word{wire.Asked}},
		{"other bytes", func(b *boss, r tasks.Reveal) { r.Digest[0]++; b.acknowledge(r) }, []wire.Word{wire.Asked}},
		{"a lease that was never given", func(b *boss, r tasks.Reveal) { r.Lease[0]++; b.acknowledge(r) }, []wire.Word{wire.Asked}},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := newRig(t)
				b := r.session()
				res := b.done(1, false)
				go func() { // whatever else it says
					for {
						if _, err := wire.ReadFrame(b.conn, nil); err != nil {
							return
						}
					}
				}()
				c.say(b, res)
				if got := words(r); !slices.Equal(got, c.want) {
					t.Errorf("claims by words %v, want %v", got, c.want)
				}
			})
		})
	}
}

// What is held back is not claimed, and a worker that was started anew shows no more than it did before.
func TestHeldBackOverARestart(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		b := r.session()
		b.life = 10 * time.Hour
		e := b.listen()
		b.demand(e, 0, 20)
		shown := map[tasks.LeaseID]bool{}
		for _, x := range e.now().reveals {
			shown[x.Lease] = true
		}
		for _, when := range []string{"at first", "after a restart", "after another"} {
			time.Sleep(2 * time.Minute)
			synctest.Wait()
			claims := r.words()
			for l := range claims {
				if !shown[l] {
					t.Errorf("%s: a result is claimed that was held back", when)
				}
			}
			if len(claims) != 4 || r.payer().Silent != 4 {
				t.Errorf("%s: %d claims, %d results without a word", when, len(claims), r.payer().Silent)
			}
			r.stop()
			b.conn.Close()
			for len(r.dials) > 0 {
				<-r.dials
			}
			r.start()
			next, hello := r.greet()
			if len(hello.Held) != 20 {
				t.Fatalf("%s: holds %d", when, len(hello.Held))
			}
			b = next.welcome(true, hello.Held...)
			e = b.listen()
			if got := e.now(); len(got.commits) != 20 {
				t.Fatalf("%s: committed to %d", when, len(got.commits))
			}
			b.say(&wire.RevealRequest{Leases: hello.Held})
			for _, x := range e.now().reveals {
				if !shown[x.Lease] {
					t.Errorf("%s: shows one more result", when)
				}
			}
		}
	})
}
