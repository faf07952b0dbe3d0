package job

import (
	"testing"

	"kith/storage/dag"
	"kith/tasks"
)

// plain is a job of n tasks in one map.
func plain(k, most, n int) *State {
	s := New(&Accepted{Job: tasks.Job{Spec: tasks.Spec{Policy: tasks.Policy{K: k, N: most, NodeLimit: 10_000}}}})
	var a Actions
	s.Step(&Planned{Stages: []tasks.Stage{{Mode: tasks.Map, Inputs: []int{tasks.Source}, Steps: []tasks.Step{{Kind: "x"}}}}, Parts: n}, 0, &a)
	return s
}

// give grants the next task to a worker and returns its lease.
func give(t *testing.T, s *State, w int, now int64, life int64) tasks.LeaseID {
	t.Helper()
	ref, ok := s.Pick(node(w), Place{})
	if !ok {
		t.Fatalf("nothing for worker %d", w)
	}
	l := tasks.LeaseID{byte(ref.Index), byte(ref.Index >> 8), byte(w), byte(s.Attempt(ref))}
	var a Actions
	s.Step(&Granted{Worker: node(w), Items: []Grant{{Task: ref, Attempt: s.Attempt(ref), Lease: l, Expiry: now + life}}}, now, &a)
	return l
}

func commitTo(s *State, w int, l tasks.LeaseID, out dag.CID, now int64) (a Actions) {
	s.Step(Committed{node(w), tasks.Commit{Lease: l, Hash: tasks.CommitHash(l, node(w), out, [32]byte{1})}}, now, &a)
	return a
}

// A worker that has committed keeps its word while another is slow: the end of its lease is nothing to it, and nothing is
// held against it.
func TestCommitOutlivesItsLease(t *testing.T) {
	s := plain(2, 3, 1)
	first := give(t, s, 1, 0, 60_000)
	second := give(t, s, 2, 0, 60_000)
	commitTo(s, 1, first, root("out"), 1000)
	var a Actions
	s.Step(Tick{}, 61_000, &a)
	if len(a.Settle) != 1 || a.Settle[0].Verdict != (tasks.Verdict{Lease: second, Outcome: tasks.Lapsed}) {
		t.Fatalf("settled %+v, want the lease that has no commit to lapse and the other to stay", a.Settle)
	}
	third := give(t, s, 3, 62_000, 600_000)
	a = Actions{}
	s.Step(Tick{}, 62_000+ResumeMillis+70_000, &a)
	if len(a.Settle) != 0 || !s.Holds(node(1), first) {
		t.Fatalf("settled %+v", a.Settle)
	}
	if a := commitTo(s, 3, third, root("out"), 300_000); len(a.Reveal) != 2 {
		t.Fatalf("asked %+v, want both to open their commits", a.Reveal)
	}
	if err := Check(s); err != nil {
		t.Error(err)
	}
}

// One that has committed and is gone when its time ends has withheld nothing: it was never asked.
func TestCommitOfTheLostLapses(t *testing.T) {
	s := plain(2, 3, 1)
	first := give(t, s, 1, 0, 600_000)
	commitTo(s, 1, first, root("out"), 1000)
	var a Actions
	s.Step(SessionDown{Worker: node(1)}, 2000, &a)
	s.Step(Tick{}, 2000+ResumeMillis, &a)
	if len(a.Settle) != 1 || a.Settle[0].Verdict.Outcome != tasks.Lapsed {
		t.Errorf("settled %+v, want it to lapse", a.Settle)
	}
}

// Many stragglers at once do not hide one another: what counts as censored is what began as long ago as what is known.
func TestHedgeInALargeFleet(t *testing.T) {
	s := plain(1, 4, 1000)
	now := int64(0)
	for w := 100; w < 500; w++ { // these will never come back
		give(t, s, w, now, 1e9)
	}
	for range 80 {
		l := give(t, s, 1, now, 1e9)
		now += 1000
		commitTo(s, 1, l, root("out"), now)
	}
	var a Actions
	s.Step(Tick{}, now+1000, &a)
	if s.Hedges() != 400 || !a.Opened {
		t.Errorf("%d of 400 stragglers are given to others", s.Hedges())
	}
	if err := Check(s); err != nil {
		t.Error(err)
	}
}

// show opens a worker's commit to out, which was compared with the bytes.
func show(s *State, w int, l tasks.LeaseID, out dag.CID, now int64) (a Actions) {
	s.Step(Revealed{Worker: node(w), Reveal: &tasks.Reveal{Lease: l, Root: out, Digest: [32]byte{1}, WallMillis: 10}, Checked: true, Good: true}, now, &a)
	return a
}

// What a lost worker has is given to somebody else at once, what one has that may be back in a moment only after a while;
// and whoever comes back in time counts all the same.
func TestLostWorkerIsNotWaitedFor(t *testing.T) {
	for _, c := range []struct {
		name      string
		lost      bool
		committed bool
		given     bool
	}{
		{"at work, expected back", false, false, false},
		{"committed, expected back", false, true, false},
		{"at work, lost", true, false, true},
		{"committed, lost", true, true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := plain(2, 4, 1)
			l := give(t, s, 1, 0, 600_000)
			other := give(t, s, 2, 0, 600_000)
			if c.committed {
				commitTo(s, 1, l, root("out"), 500)
			}
			var a Actions
			s.Step(SessionDown{Worker: node(1), Lost: c.lost}, 1000, &a)
			if _, given := s.Pick(node(3), Place{}); given != c.given {
				t.Errorf("another may have it: %v, want %v", given, c.given)
			}
			if err := Check(s); err != nil {
				t.Error(err)
			}
			s.Step(Tick{}, 1000+graceMillis, &a)
			copied := give(t, s, 3, 7000, 600_000)
			s.Step(SessionUp{node(1)}, 8000, &a)
			commitTo(s, 1, l, root("out"), 9000)
			if got := commitTo(s, 2, other, root("out"), 9000); len(got.Reveal) != 2 || len(got.Cancel) != 1 || got.Cancel[0].Lease != copied {
				t.Errorf("asked %v and cancelled %v, want the first two and the copy", got.Reveal, got.Cancel)
			}
		})
	}
}

// A worker that was asked for its reveal and does not answer is not waited for longer than such answers take; if it answers
// after all, before the copy has, its word is taken and the copy is called off.
func TestLateRevealIsHedged(t *testing.T) {
	for _, answers := range []bool{false, true} {
		s := plain(2, 4, 10)
		now := int64(0)
		for range 4 {
			one, two := give(t, s, 1, now, 1e9), give(t, s, 2, now, 1e9)
			commitTo(s, 1, one, root("out"), now+100)
			commitTo(s, 2, two, root("out"), now+100)
			show(s, 1, one, root("out"), now+150)
			if a := show(s, 2, two, root("out"), now+150); len(a.Decide) != 1 {
				t.Fatalf("decided %+v", a)
			} else {
				s.Step(&Verdicts{Items: a.Decide}, now, &a)
			}
			now += 200
		}
		one, two := give(t, s, 1, now, 1e9), give(t, s, 2, now, 1e9)
		commitTo(s, 1, one, root("out"), now+100)
		commitTo(s, 2, two, root("out"), now+100)
		show(s, 1, one, root("out"), now+150)
		var a Actions
		s.Step(Tick{}, now+100+showFloor, &a)
		if s.Hedges() != 0 {
			t.Fatal("hedged too soon")
		}
		s.Step(Tick{}, now+101+showFloor+hedgeFloor, &a)
		if s.Hedges() != 1 || !a.Opened {
			t.Fatalf("%d hedged", s.Hedges())
		}
		now += 3000
		third := give(t, s, 3, now, 1e9)
		if ref, _ := s.Lookup(third); ref.Index != 4 {
			t.Fatalf("the copy is of task %v", ref)
		}
		var end Actions
		if answers {
			if end = show(s, 2, two, root("out"), now+10); len(end.Cancel) != 1 || end.Cancel[0].Lease != third {
				t.Errorf("cancelled %+v, want the copy", end.Cancel)
			}
		} else {
			if a := commitTo(s, 3, third, root("out"), now+100); len(a.Reveal) != 1 || a.Reveal[0].Lease != third {
				t.Fatalf("asked %+v", a.Reveal)
			}
			end = show(s, 3, third, root("out"), now+150)
		}
		if len(end.Decide) != 1 || end.Decide[0].Root != root("out") {
			t.Errorf("answers %v: decided %+v", answers, end)
		}
		s.Step(&Verdicts{Items: end.Decide}, now+200, &end)
		if err := Check(s); err != nil {
			t.Error(err)
		}
	}
}
