package job

import (
	"errors"
	"testing"

	"kith/storage/dag"
	"kith/tasks"

	"pgregory.net/rapid"
)

// FuzzStep lets the fuzzer choose the order of events, which come twice and which never.
func FuzzStep(f *testing.F) { f.Fuzz(rapid.MakeFuzz(anyOrder)) }

func FuzzDecode(f *testing.F) {
	for _, ev := range []Event{
		&Accepted{}, &Placed{Worker: node(1), Place: Place{Group: "g", Account: "a"}}, &Planned{Stages: pipeline(2), Parts: 3}, &Parts{Roots: []dag.CID{root("a")}}, &Granted{Items: []Grant{{}}},
		&Returned{}, &Verdicts{Items: []Decision{{Replicas: []Settled{{}}}}}, &Reopened{}, &Gathered{}, &Merged{}, &Unmerged{}, &Done{}, &Ended{},
		&Sole{Items: []Grant{{}}, OneIn: 4}, &Provisional{Items: []Decision{{Root: root("a"), Replicas: []Settled{{Outcome: tasks.Accepted}}}}}, &Disproved{}, &Cleared{}, &Doubted{To: 3},
		&Left{Root: root("a"), Done: 1, Total: 2}, &Carried{Item: Grant{Lease: tasks.LeaseID{1}}, Root: root("a")}, &Mislaid{Root: root("a")},
	} {
		b, err := Encode(ev)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		ev, err := Decode(b)
		if err != nil {
			if !errors.Is(err, ErrEvent) {
				t.Errorf("%v is not ErrEvent", err)
			}
			return
		}
		for _, how := range []tasks.Replication{tasks.Fixed, tasks.Adaptive} {
			var ignored Actions
			s := New(&Accepted{Job: tasks.Job{Spec: tasks.Spec{Policy: tasks.Policy{Replication: how}}}})
			s.Step(&Planned{Stages: pipeline(2), Parts: 3}, 1, &ignored)
			s.Step(ev, 2, &ignored) // whatever the log holds
			if err := Check(s); err != nil {
				t.Error(err)
			}
		}
	})
}

func FuzzRestore(f *testing.F) {
	s := New(&Accepted{Job: tasks.Job{Spec: tasks.Spec{Policy: tasks.Policy{K: 2, N: 3}}}})
	f.Add(s.Encode())
	var ignored Actions
	s.Step(&Planned{Stages: pipeline(2), Parts: 3}, 1, &ignored)
	ref, _ := s.Pick(node(1), Place{})
	s.Step(&Granted{Worker: node(1), Items: []Grant{{Task: ref, Lease: tasks.LeaseID{1}, Expiry: 5}}}, 1, &ignored)
	f.Add(s.Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := Restore(b)
		if err != nil {
			return
		}
		var a Actions
		s.Resume(1000, &a)
		s.Step(Tick{}, 1<<40, &a)
		s.Pick(node(3), Place{})
		s.Summary()
		s.Explain(1000, 3)
	})
}
