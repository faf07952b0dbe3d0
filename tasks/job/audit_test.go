package job

import (
	"testing"

	"kith/tasks"

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
