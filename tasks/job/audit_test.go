package job

import (
	"testing"

	"kith/tasks"
	"kith/tasks/merge"

	"pgregory.net/rapid"
)

// The same for an adaptive job: in whatever order audits, verdicts and proofs come, once the only liar is disproved and
// everybody answers, the result is the one of an undisturbed run.
func TestAnyOrderAdaptive(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		parts := rapid.IntRange(1, 20).Draw(t, "parts")
		workers := rapid.IntRange(4, 6).Draw(t, "workers")
		liar := rapid.IntRange(-1, workers-1).Draw(t, "liar")
		sens := rapid.SampledFrom([]tasks.Sensitivity{tasks.Public, tasks.Approved}).Draw(t, "sensitivity")
		m := newSimOf(t, rapid.IntRange(0, 2).Draw(t, "classes"), tasks.Adaptive, sens, parts, workers, 2, 16, liar)
		proof := rapid.IntRange(0, 200).Draw(t, "proof")
		disprove := func() {
			if liar >= 0 {
				m.step(&Disproved{Worker: node(liar)})
				m.granted[node(liar)] = nil
			}
		}
		for i := range rapid.IntRange(0, 200).Draw(t, "steps") {
			if i == proof {
				disprove()
			}
			if i == proof/2 {
				m.step(&Doubted{Stage: i % 4, To: parts})
			}
			m.play()
			if m.end != nil {
				break
			}
		}
		equal(t, m.s, m.replay(len(m.log)))
		back, err := Restore(m.s.Encode())
		if err != nil {
			t.Fatal(err)
		}
		if err := Check(back); err != nil && m.s.Phase() == Running && back.Phase() == Running {
			t.Fatalf("restored: %v", err)
		}
		equal(t, m.s, back)
		if rapid.Bool().Draw(t, "restart") {
			m.s = back
			m.asked, m.checks, m.compare, m.decide, m.compose, m.gather, m.merge, m.end = nil, nil, nil, nil, nil, nil, nil, nil
			m.do(func(a *Actions) { m.s.Resume(m.now, a) })
		}
		if _, over := m.end.(*Done); over {
			m.end = nil
		}
		disprove()
		m.settle()
		done, ok := m.end.(*Done)
		if !ok {
			switch e := m.end.(*Ended); e.Reason.Code {
			case tasks.TaskFailed, tasks.Disagreement, tasks.TooFewNodes:
				return
			}
			t.Fatalf("job ends with %+v", m.end)
		}
		calm := newSim(t, sens, parts, workers, 1, 1, -1)
		calm.settle()
		if want := calm.end.(*Done).Root; m.bare(done.Root)[0] != want {
			t.Fatalf("result %s, undisturbed %s", done.Root, want)
		}
	})
}

// A proven lie re-opens every result that stood on the liar's word alone, at once, and nobody else's.
func TestLieReopensWhatStoodAlone(t *testing.T) {
	const n = 12
	now := int64(1_000_000)
	s := New(&Accepted{Job: tasks.Job{Spec: tasks.Spec{Policy: tasks.Policy{K: 2, N: 16, Replication: tasks.Adaptive}}}, Secret: [32]byte{1}})
	var a Actions
	s.Step(&Planned{Stages: []tasks.Stage{{Mode: tasks.Map, Inputs: []int{tasks.Source}, Steps: []tasks.Step{{Kind: "x"}}}}, Parts: n}, now, &a)
	does := map[int]int{} // task → who did it alone
	for i := range n {
		w := i % 2
		ref, ok := s.Pick(node(w), Place{})
		if !ok {
			t.Fatal("nothing to do")
		}
		l := tasks.LeaseID{byte(i + 1)}
		s.Step(&Sole{Worker: node(w), Items: []Grant{{Task: ref, Attempt: s.Attempt(ref), Lease: l, Expiry: now + 60_000}}, OneIn: 16}, now, &a)
		r := &tasks.Reveal{Lease: l, Root: root("output " + ref.String())}
		a = Actions{}
		s.Step(Committed{Worker: node(w), Commit: tasks.Commit{Lease: l, Hash: tasks.CommitHash(l, node(w), r.Root, r.Digest)}}, now, &a)
		s.Step(Revealed{Worker: node(w), Reveal: r, Checked: true, Good: true}, now, &a)
		if len(a.Decide) != 1 {
			t.Fatalf("task %s is not decided on one word", ref)
		}
		s.Step(&Provisional{Round: a.Decide[0].Round, Items: a.Decide}, now, &a)
		does[ref.Index] = w
	}
	if s.DoneTasks() != n {
		t.Fatalf("%d of %d tasks are done", s.DoneTasks(), n)
	}
	s.Step(&Disproved{Worker: node(0)}, now, &a)
	if err := Check(s); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		stands := s.Output(Ref{Index: i}).Defined()
		if liar := does[i] == 0; stands == liar {
			t.Errorf("task %d, done by worker %d alone: its result stands: %v", i, does[i], stands)
		}
	}
	if _, ok := s.Pick(node(0), Place{}); ok {
		t.Error("the liar gets more work of this job")
	}
	if _, ok := s.Pick(node(2), Place{}); !ok {
		t.Error("nobody may do the work again")
	}
}

// Before a job ends, the newest result that a worker has alone is audited, also if others of it were: a worker that began
// to lie after its last audit has lied there.
func TestNewestResultIsAuditedAtTheEnd(t *testing.T) {
	const n = 4
	for secret := byte(1); ; secret++ { // until the drawn one of the four is not the last
		now := int64(1_000_000)
		s := New(&Accepted{Job: tasks.Job{Spec: tasks.Spec{Policy: tasks.Policy{K: 2, N: 16, Replication: tasks.Adaptive}}}, Secret: [32]byte{secret}})
		var a Actions
		s.Step(&Planned{Stages: []tasks.Stage{{Mode: tasks.Map, Inputs: []int{tasks.Source}, Steps: []tasks.Step{{Kind: "x"}}}}, Parts: n}, now, &a)
		leases := byte(0)
		var merges []merge.Step
		does := func(w int, ref Ref, alone bool) {
			t.Helper()
			leases++
			g := []Grant{{Task: ref, Attempt: s.Attempt(ref), Lease: tasks.LeaseID{leases}, Expiry: now + 60_000}}
			a = Actions{}
			if alone {
				s.Step(&Sole{Worker: node(w), Items: g, OneIn: n}, now, &a)
			} else {
				s.Step(&Granted{Worker: node(w), Items: g}, now, &a)
			}
			r := &tasks.Reveal{Lease: g[0].Lease, Root: root("output " + ref.String())}
			s.Step(Committed{Worker: node(w), Commit: tasks.Commit{Lease: r.Lease, Hash: tasks.CommitHash(r.Lease, node(w), r.Root, r.Digest)}}, now, &a)
			for _, q := range a.Reveal {
				s.Step(Revealed{Worker: q.Worker, Reveal: r, Checked: true, Good: true}, now, &a)
			}
			for len(a.Decide) > 0 {
				d := a.Decide
				a.Decide = nil
				s.Step(&Provisional{Round: d[0].Round, Items: d}, now, &a)
			}
			merges = append(merges, a.Merge...)
		}
		var last Ref
		for range n {
			ref, ok := s.Pick(node(0), Place{})
			if !ok {
				t.Fatal("nothing to do")
			}
			does(0, ref, true)
			last = ref
		}
		if s.at(last).phase == auditing {
			continue
		}
		for w := 1; w < 9; w++ { // others look at the drawn one
			if ref, ok := s.Pick(node(w), Place{}); ok {
				does(w, ref, false)
			}
		}
		if trials := s.stages[0].trials; trials != 0 {
			t.Fatalf("%d audits go on", trials)
		}
		for _, m := range merges {
			s.Step(&Merged{Level: m.Level, Index: m.Index, Root: root("merged")}, now, &a)
		}
		if a.Finish != nil || s.at(last).phase != auditing {
			t.Fatalf("the job ends without a look at %s", last)
		}
		back, err := Restore(s.Encode())
		if err != nil {
			t.Fatal(err)
		}
		if err := Check(back); err != nil {
			t.Error(err)
		}
		if ref, ok := s.Pick(node(10), Place{}); !ok || ref != last {
			t.Fatalf("audited: %v, %v", ref, ok)
		}
		does(10, last, false)
		if a.Finish == nil {
			t.Error("the job does not end")
		}
		return
	}
}
