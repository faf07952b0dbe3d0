package job

import (
	"fmt"
	"testing"

	"kith/tasks"
)

// A node is kept away from its neighbours' votes, but not from what a neighbour failed to deliver.
func TestDiversityCountsVotesOnly(t *testing.T) {
	var a Actions
	s := New(&Accepted{Job: tasks.Job{Spec: tasks.Spec{Policy: tasks.Policy{K: 2, N: 3}}}})
	s.Step(&Planned{Stages: []tasks.Stage{{Mode: tasks.Map, Inputs: []int{tasks.Source}, Steps: []tasks.Step{{Kind: "x"}}}}, Parts: 1}, 1, &a)
	here := Place{Group: "203.0.113.0/24"}
	ref, _ := s.Pick(node(1), here)
	s.Step(&Placed{Worker: node(1), Place: here}, 1, &a)
	s.Step(&Granted{Worker: node(1), Items: []Grant{{Task: ref, Lease: tasks.LeaseID{1}, Expiry: 100}}}, 1, &a)
	if _, ok := s.Pick(node(2), here); ok {
		t.Error("a neighbour of a voter may vote")
	}
	s.Step(Committed{Worker: node(1), Commit: tasks.Commit{Lease: tasks.LeaseID{1}}}, 2, &a)
	s.Step(&Returned{Worker: node(1), Lease: tasks.LeaseID{1}}, 3, &a) // withheld
	if _, ok := s.Pick(node(2), here); !ok {
		t.Error("a neighbour of one that withheld its result may not vote")
	}
	if _, ok := s.Pick(node(1), Place{}); ok {
		t.Error("who withheld its result gets the task again")
	}
}

// Whose votes count is looked at again at the verdict: by where everybody was when the lease was given, and by where
// everybody is now, and as well after a restart, before anybody has come back.
func TestVerdictNeedsIndependentVotes(t *testing.T) {
	place := func(n int) Place { return Place{Group: fmt.Sprint("group ", n), Account: fmt.Sprint("account ", n)} }
	shared := place(3)
	shared.Account = place(1).Account
	for _, c := range []struct {
		name    string
		a, b    Place
		moved   Place // of the second worker, after both have their leases
		restart bool
		want    bool
	}{
		{"apart", place(1), place(2), Place{}, false, true},
		{"nothing known of either", Place{}, Place{}, Place{}, false, true},
		{"one group", place(1), Place{Group: place(1).Group, Account: "else"}, Place{}, false, false},
		{"one account", place(1), shared, Place{}, false, false},
		{"moved together", place(1), place(2), place(1), false, false},
		{"moved apart", place(1), place(1), place(2), false, false},
		{"apart, after a restart", place(1), place(2), Place{}, true, true},
		{"one group, after a restart", place(1), Place{Group: place(1).Group}, Place{}, true, false},
		{"moved apart, after a restart", place(1), place(1), place(2), true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var a Actions
			s := New(&Accepted{Job: tasks.Job{Spec: tasks.Spec{Policy: tasks.Policy{K: 2, N: 3}}}})
			s.Step(&Planned{Stages: []tasks.Stage{{Mode: tasks.Map, Inputs: []int{tasks.Source}, Steps: []tasks.Step{{Kind: "x"}}}}, Parts: 1}, 1, &a)
			for i, p := range []Place{c.a, c.b} {
				if p != (Place{}) {
					s.Step(&Placed{Worker: node(i), Place: p}, 1, &a)
				}
				s.Step(&Granted{Worker: node(i), Items: []Grant{{Attempt: i, Lease: tasks.LeaseID{byte(i + 1)}, Expiry: 100}}}, 1, &a)
			}
			if c.moved != (Place{}) {
				s.Step(&Placed{Worker: node(1), Place: c.moved}, 1, &a)
			}
			if c.restart {
				back, err := Restore(s.Encode())
				if err != nil {
					t.Fatal(err)
				}
				s = back
				s.Resume(1, &a)
			}
			vote := func(i int) {
				l := tasks.LeaseID{byte(i + 1)}
				r := &tasks.Reveal{Lease: l, Root: root("same")}
				s.Step(Committed{Worker: node(i), Commit: tasks.Commit{Lease: l, Hash: tasks.CommitHash(l, node(i), r.Root, r.Digest)}}, 2, &a)
			}
			vote(0)
			vote(1)
			for _, q := range a.Reveal {
				s.Step(Revealed{Worker: q.Worker, Reveal: &tasks.Reveal{Lease: q.Lease, Root: root("same")}, Checked: true, Good: true}, 3, &a)
			}
			if got := len(a.Decide) == 1; got != c.want {
				t.Fatalf("a verdict: %v, want %v", got, c.want)
			}
			if err := Check(s); err != nil {
				t.Fatal(err)
			}
			if c.want {
				return
			}
			// A third, who is independent of both, decides.
			s.Step(&Placed{Worker: node(9), Place: place(9)}, 4, &a)
			ref, ok := s.Pick(node(9), place(9))
			if !ok {
				t.Fatal("nobody else may vote")
			}
			l := tasks.LeaseID{9}
			a.Reveal = nil
			s.Step(&Granted{Worker: node(9), Items: []Grant{{Task: ref, Attempt: 2, Lease: l, Expiry: 100}}}, 4, &a)
			r := &tasks.Reveal{Lease: l, Root: root("same")}
			s.Step(Committed{Worker: node(9), Commit: tasks.Commit{Lease: l, Hash: tasks.CommitHash(l, node(9), r.Root, r.Digest)}}, 5, &a)
			s.Step(Revealed{Worker: node(9), Reveal: r, Checked: true, Good: true}, 6, &a)
			if len(a.Decide) != 1 {
				t.Fatal("no verdict with a third")
			}
			d := a.Decide[0]
			if len(d.Replicas) != 3 || d.Replicas[0].Worker != node(9) && d.Replicas[1].Worker != node(9) {
				t.Errorf("the independent voter is not among the first: %+v", d.Replicas)
			}
		})
	}
}
