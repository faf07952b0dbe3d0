package job

import (
	"fmt"
	"slices"
	"testing"

	"kith/storage/dag"
	"kith/tasks"
)

// traveller is a job of one task whose replicas leave checkpoints and go on from them.
type traveller struct {
	t *testing.T
	s *State
	a Actions
	n byte // leases so far
}

func travels(t *testing.T, p tasks.Policy) *traveller {
	x := &traveller{t: t, s: New(&Accepted{Job: tasks.Job{Spec: tasks.Spec{Policy: p}}})}
	x.step(&Planned{Stages: []tasks.Stage{{Mode: tasks.Map, Inputs: []int{tasks.Source}, Steps: []tasks.Step{{Kind: "x"}}}}, Parts: 1})
	return x
}

func (x *traveller) step(ev Event) {
	x.t.Helper()
	c := Checker{Every: 1}
	if err := c.Step(x.s, ev, 10, &x.a); err != nil {
		x.t.Fatal(err)
	}
}

// home is where a worker is: each alone, but those from 100 on beside the worker of a hundred less.
func home(w int) Place { return Place{Group: fmt.Sprint("group ", w%100)} }

// lease gives a worker the task, from where it may go on if goOn says so, and returns the lease.
func (x *traveller) lease(w int, goOn bool) tasks.LeaseID {
	x.t.Helper()
	x.step(&Placed{Worker: node(w), Place: home(w)})
	ref, ok := x.s.Pick(node(w), home(w))
	if !ok {
		x.t.Fatalf("worker %d gets nothing", w)
	}
	x.n++
	g := Grant{Task: ref, Attempt: x.s.Attempt(ref), Lease: tasks.LeaseID{x.n}, Expiry: 1e6}
	point, ok := x.s.Carry(node(w), home(w), ref)
	if ok != goOn {
		x.t.Fatalf("worker %d may go on from %+v: %v", w, point, ok)
	}
	if ok {
		x.step(&Carried{Worker: node(w), Item: g, Root: point.Root})
	} else {
		x.step(&Granted{Worker: node(w), Items: []Grant{g}})
	}
	return g.Lease
}

// leave hands a lease back with a checkpoint, and reports whether it is wanted.
func (x *traveller) leave(w int, l tasks.LeaseID, done int64) bool {
	x.t.Helper()
	x.step(&Returned{Worker: node(w), Lease: l, Reason: tasks.Reason{Code: tasks.Paused}})
	if !x.s.WantsLeft(Ref{}, node(w), l) {
		return false
	}
	x.step(&Left{Worker: node(w), Lease: l, Root: root(fmt.Sprint("checkpoint ", l)), Bytes: 1, Done: done, Total: 10, CPUMillis: 100})
	return true
}

// vote commits to a result and opens it when asked to.
func (x *traveller) vote(w int, l tasks.LeaseID, result dag.CID) {
	x.t.Helper()
	r := &tasks.Reveal{Lease: l, Root: result}
	x.step(Committed{Worker: node(w), Commit: tasks.Commit{Lease: l, Hash: tasks.CommitHash(l, node(w), r.Root, r.Digest)}})
}

func (x *traveller) open(results map[int]dag.CID) {
	x.t.Helper()
	asked := x.a.Reveal
	x.a.Reveal = nil
	for _, q := range asked {
		x.step(Revealed{Worker: q.Worker, Reveal: &tasks.Reveal{Lease: q.Lease, Root: results[int(q.Worker[0])]}, Checked: true, Good: true})
	}
}

// What a liar leaves poisons whoever goes on from it; but nobody near the liar can then make it a quorum. The one who was
// deceived is not blamed, and of neither anything is gone on from again.
func TestPoisonedCheckpointMakesNoQuorum(t *testing.T) {
	for _, again := range []bool{false, true} {
		t.Run(fmt.Sprint("restart ", again), func(t *testing.T) {
			x := travels(t, tasks.Policy{K: 2, N: 4})
			const liar, deceived, colluder, honest, third = 1, 2, 101, 3, 4
			wrong, right := root("wrong"), root("right")
			x.step(&Placed{Worker: node(honest), Place: home(honest)}) // there is somebody for a quorum
			bad := x.lease(liar, false)
			if !x.leave(liar, bad, 5) {
				t.Fatal("a checkpoint is not wanted")
			}
			first := x.lease(deceived, true)
			if again {
				back, err := Restore(x.s.Encode())
				if err != nil {
					t.Fatal(err)
				}
				x.s = back
				x.s.Resume(10, &x.a)
				x.step(SessionUp{Worker: node(deceived)})
			}
			for _, w := range []int{liar, colluder} {
				x.step(&Placed{Worker: node(w), Place: home(w)})
				if _, ok := x.s.Pick(node(w), home(w)); ok {
					t.Errorf("worker %d may vote beside one that holds its work, or its neighbour's", w)
				}
				if bar := x.s.Bar(node(w), home(w), Ref{}); bar != tasks.NoDiverseNode {
					t.Errorf("worker %d: %q", w, bar)
				}
			}
			voices := x.s.Voices(Ref{}, nil)
			if !slices.ContainsFunc(voices, func(v Voice) bool { return v.Worker == node(liar) && v.Vote && v.Place == home(liar) }) {
				t.Errorf("the liar has no voice in %+v", voices)
			}
			// They were given it before, or moved since: their votes do not count together all the same.
			x.n++
			sneaked := tasks.LeaseID{x.n}
			x.step(&Granted{Worker: node(colluder), Items: []Grant{{Attempt: x.s.Attempt(Ref{}), Lease: sneaked, Expiry: 1e6}}})
			x.vote(deceived, first, wrong)
			x.vote(colluder, sneaked, wrong)
			x.open(map[int]dag.CID{deceived: wrong, colluder: wrong})
			if len(x.a.Decide) != 0 {
				t.Fatalf("a lie is accepted: %+v", x.a.Decide)
			}
			for _, w := range []int{honest, third} {
				l := x.lease(w, false)
				x.vote(w, l, right)
				x.open(map[int]dag.CID{w: right})
			}
			if len(x.a.Decide) != 1 || x.a.Decide[0].Root != right {
				t.Fatalf("decided: %+v", x.a.Decide)
			}
			for _, r := range x.a.Decide[0].Replicas {
				want := tasks.Accepted
				switch r.Worker {
				case node(deceived):
					want = tasks.Cancelled
				case node(colluder):
					want = tasks.Outvoted
				}
				if r.Outcome != want {
					t.Errorf("%x: %s, want %s", r.Worker[0], r.Outcome, want)
				}
			}
			x.step(&Verdicts{Items: x.a.Decide})
			for _, w := range x.s.Summary().Workers {
				if w.ID == node(deceived) && w.Outvoted != 0 {
					t.Error("the deceived is blamed")
				}
			}
			for _, w := range []int{liar, deceived} {
				if !x.s.workers[x.s.byID[node(w)]].spoilt {
					t.Errorf("what worker %d leaves is gone on from again", w)
				}
			}
			n := 0
			if x.s.Checkpoints(func(Ref, dag.CID) { n++ }); n != 0 {
				t.Errorf("%d checkpoints are kept of a task that is done", n)
			}
		})
	}
}

// A result that went on from an honest node's checkpoint counts as any other, once, for its last worker.
func TestCarriedResultIsAccepted(t *testing.T) {
	x := travels(t, tasks.Policy{K: 2, N: 3})
	l := x.lease(1, false)
	other := x.lease(2, false)
	x.step(Heartbeat{Worker: node(1), Lease: l, Running: true, Done: 6, Total: 10})
	if got := x.s.Summary().Partly; got != 0.3 {
		t.Errorf("%v tasks are done, want 0.3", got)
	}
	x.leave(1, l, 6)
	if got := x.s.Summary().Partly; got != 0.3 {
		t.Errorf("handed back: %v tasks are done, want 0.3", got)
	}
	on := x.lease(3, true)
	sum := x.s.Summary()
	if sum.Partly != 0.3 || sum.Carried != 1 || sum.Spared != 100 || len(sum.Moved) != 1 || sum.Moved[0].Done != 6 || sum.Moved[0].Total != 10 ||
		sum.Moved[0].Worker != node(3) || !slices.Equal(sum.Moved[0].From, []tasks.NodeID{node(1)}) {
		t.Errorf("moved: %+v", sum)
	}
	x.vote(2, other, root("a"))
	x.vote(3, on, root("a"))
	x.open(map[int]dag.CID{2: root("a"), 3: root("a")})
	if len(x.a.Decide) != 1 {
		t.Fatal("not accepted")
	}
	x.step(&Verdicts{Items: x.a.Decide})
	if x.s.Output(Ref{}) != root("a") {
		t.Error("no output")
	}
	for _, w := range x.s.Summary().Workers {
		if want := map[tasks.NodeID]int{node(2): 1, node(3): 1}[w.ID]; w.Accepted != want {
			t.Errorf("%x is credited with %d results", w.ID[0], w.Accepted)
		}
	}
}

func TestWhoMayGoOnFromACheckpoint(t *testing.T) {
	for _, c := range []struct {
		name string
		p    tasks.Policy
		do   func(x *traveller)
		from int // worker of whose checkpoint it is, else 0
	}{
		{"another node, if one is enough", tasks.Policy{K: 1, N: 3}, func(x *traveller) { x.leave(1, x.lease(1, false), 5) }, 1},
		{"nobody, if those who are here could not agree then", tasks.Policy{K: 2, N: 3}, func(x *traveller) { x.leave(1, x.lease(1, false), 5) }, 0},
		{"another node beside a vote", tasks.Policy{K: 2, N: 3}, func(x *traveller) {
			x.lease(2, false)
			x.leave(1, x.lease(1, false), 5)
		}, 1},
		{"not beside its neighbour's vote", tasks.Policy{K: 2, N: 3}, func(x *traveller) {
			l := x.lease(1, false)
			x.leave(1, l, 5)
			x.lease(101, false)
		}, 0},
		{"from the one that is furthest", tasks.Policy{K: 1, N: 3}, func(x *traveller) {
			x.leave(1, x.lease(1, false), 7)
			x.n++ // as if it had been given at once
			x.step(&Granted{Worker: node(2), Items: []Grant{{Attempt: 1, Lease: tasks.LeaseID{x.n}, Expiry: 1e6}}})
			x.leave(2, tasks.LeaseID{x.n}, 3)
		}, 1},
		{"not from a liar's", tasks.Policy{K: 2, N: 6, Replication: tasks.Adaptive}, func(x *traveller) {
			x.lease(2, false)
			x.leave(1, x.lease(1, false), 5)
			x.step(&Disproved{Worker: node(1)})
		}, 0},
		{"not from what is gone", tasks.Policy{K: 1, N: 3}, func(x *traveller) {
			l := x.lease(1, false)
			x.leave(1, l, 5)
			x.step(&Mislaid{Root: root(fmt.Sprint("checkpoint ", l))})
		}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := travels(t, c.p)
			c.do(x)
			got, ok := x.s.Carry(node(9), home(9), Ref{})
			if ok != (c.from > 0) || ok && got.Past[0] != node(c.from) {
				t.Errorf("%v %+v, want that of %d", ok, got, c.from)
			}
		})
	}
}

// Who goes on with its own work holds nobody else's, however often it was ended; and no work goes through too many hands.
func TestPastGrowsByOthersOnly(t *testing.T) {
	x := travels(t, tasks.Policy{K: 1, N: 3})
	x.leave(1, x.lease(1, false), 1)
	l := x.lease(1, true)
	if r := x.s.stages[0].tasks[0].reps[1]; r.from != nil || x.s.Summary().Carried != 0 {
		t.Errorf("its own work is another's: %+v", r.from)
	}
	x.leave(1, l, 2)
	for w := 2; w <= maxPast; w++ {
		l := x.lease(w, true)
		if !x.leave(w, l, int64(w)) {
			t.Fatalf("the work of %d is not wanted", w)
		}
	}
	for _, p := range x.s.points[Ref{}] {
		if len(p.by) > maxPast {
			t.Errorf("a checkpoint holds the work of %d", len(p.by))
		}
	}
	if n := len(x.s.points[Ref{}]); n > maxPoints {
		t.Errorf("%d checkpoints are kept", n)
	}
	got, ok := x.s.Carry(node(50), home(50), Ref{})
	if !ok || len(got.Past) >= maxPast {
		t.Errorf("goes on from the work of %d: %v", len(got.Past), ok)
	}
}

// A proof against one whose work an accepted result holds takes that result back, though its own worker never lied.
func TestProofReachesWhatHoldsALiarsWork(t *testing.T) {
	x := travels(t, tasks.Policy{K: 2, N: 16, Replication: tasks.Adaptive})
	l := x.lease(1, false)
	other := x.lease(2, false)
	x.leave(1, l, 5)
	on := x.lease(3, true)
	x.vote(2, other, root("a"))
	x.vote(3, on, root("a"))
	x.open(map[int]dag.CID{2: root("a"), 3: root("a")})
	if len(x.a.Decide) != 1 {
		t.Fatal("not accepted")
	}
	d := x.a.Decide[0]
	x.step(&Provisional{Round: d.Round, Items: []Decision{d}, Known: d.Known})
	task := &x.s.stages[0].tasks[0]
	if task.phase != done || len(x.s.pasts[Ref{}]) != 1 {
		t.Fatalf("phase %d, pasts %v", task.phase, x.s.pasts)
	}
	back, err := Restore(x.s.Encode())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []*State{x.s, back} {
		s.Step(&Disproved{Worker: node(1)}, 20, &x.a)
		if err := Check(s); err != nil {
			t.Fatal(err)
		}
		task := &s.stages[0].tasks[0]
		if task.phase != auditing || len(task.reps) != 1 || s.workers[task.reps[0].worker].id != node(2) {
			t.Errorf("phase %d, votes %+v", task.phase, task.reps)
		}
		if _, ok := s.Carry(node(9), home(9), Ref{}); ok {
			t.Error("an audit goes on from a checkpoint")
		}
	}
}
