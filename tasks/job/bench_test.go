package job

import (
	"fmt"
	"testing"

	"kith/storage/dag"
	"kith/tasks"
)

// played is a job of n tasks, k = 2, all but the last hundred decided, with the log that made it.
func played(tb testing.TB, n int) (*State, [][]byte) {
	tb.Helper()
	first := &Accepted{Job: tasks.Job{ID: tasks.JobID{1}, Spec: tasks.Spec{Policy: tasks.Policy{K: 2, N: 3}}}}
	var ignored Actions
	var log [][]byte
	s := New(first)
	put := func(ev Event) {
		b, err := Encode(ev)
		if err != nil {
			tb.Fatal(err)
		}
		log = append(log, b)
		s.Step(ev, 1, &ignored)
		ignored = Actions{}
	}
	b, err := Encode(first)
	if err != nil {
		tb.Fatal(err)
	}
	log = append(log, b)
	put(&Planned{Stages: []tasks.Stage{{Mode: tasks.Map, Inputs: []int{tasks.Source}, Steps: []tasks.Step{{Kind: "x"}}}}, Parts: n})
	const batch = 50
	for from := 0; from+batch <= n-100; from += batch {
		a, b := &Granted{Worker: node(1)}, &Granted{Worker: node(2)}
		v := &Verdicts{}
		for i := from; i < from+batch; i++ {
			ref := Ref{Index: i}
			var l [2]tasks.LeaseID
			l[0][0], l[0][1], l[0][2], l[0][3], l[0][4] = 1, byte(i), byte(i>>8), byte(i>>16), 1
			l[1] = l[0]
			l[1][0] = 2
			a.Items = append(a.Items, Grant{Task: ref, Lease: l[0], Expiry: 1000})
			b.Items = append(b.Items, Grant{Task: ref, Attempt: 1, Lease: l[1], Expiry: 1000})
			var c dag.CID = root("")
			c[10], c[11], c[12] = byte(i), byte(i>>8), byte(i>>16)
			v.Items = append(v.Items, Decision{Task: ref, Root: c, Bytes: 100, Replicas: []Settled{
				{Worker: node(1), Lease: l[0], Outcome: tasks.Accepted}, {Worker: node(2), Lease: l[1], Outcome: tasks.Accepted},
			}})
		}
		put(a)
		put(b)
		put(v)
	}
	return s, log
}

// BenchmarkRestart measures what a restart of a job of a million tasks costs: reading its newest snapshot and the
// 50,000 records that may follow it.
func BenchmarkRestart(b *testing.B) {
	s, log := played(b, 1<<20)
	snap := s.Encode()
	tail := log[max(0, len(log)-50_000):]
	b.Run("snapshot", func(b *testing.B) {
		b.SetBytes(int64(len(snap)))
		for b.Loop() {
			if _, err := Restore(snap); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run(fmt.Sprintf("log of %d records", len(tail)), func(b *testing.B) {
		var ignored Actions
		for b.Loop() {
			for _, rec := range tail {
				ev, err := Decode(rec)
				if err != nil {
					b.Fatal(err)
				}
				s.Step(ev, 1, &ignored)
			}
		}
	})
	b.Run("encode", func(b *testing.B) {
		for b.Loop() {
			s.Encode()
		}
	})
}

// BenchmarkTask measures one task's way through the state, k = 2 of four workers.
func BenchmarkTask(b *testing.B) {
	const n = 1 << 17
	var a Actions
	var s *State
	i := n
	now := int64(1)
	for b.Loop() {
		if i == n {
			s = New(&Accepted{Job: tasks.Job{Spec: tasks.Spec{Policy: tasks.Policy{K: 2, N: 3}}}})
			s.Step(&Planned{Stages: []tasks.Stage{{Mode: tasks.Map, Inputs: []int{tasks.Source}, Steps: []tasks.Step{{Kind: "x"}}}}, Parts: n}, 1, &a)
			i = 0
		}
		var at [2]tasks.LeaseID
		for w := range 2 {
			ref, ok := s.Pick(node(w), Place{})
			if !ok {
				b.Fatal("nothing to do")
			}
			at[w] = tasks.LeaseID{byte(i), byte(i >> 8), byte(i >> 16), byte(w)}
			s.Step(&Granted{Worker: node(w), Items: []Grant{{Task: ref, Attempt: w, Lease: at[w], Expiry: now + 1e6}}}, now, &a)
		}
		r := &tasks.Reveal{Root: root("out")}
		for w := range 2 {
			s.Step(Committed{node(w), tasks.Commit{Lease: at[w], Hash: tasks.CommitHash(at[w], node(w), r.Root, r.Digest)}}, now, &a)
		}
		for w := range 2 {
			r.Lease = at[w]
			s.Step(Revealed{Worker: node(w), Reveal: r, Checked: true, Good: true}, now, &a)
		}
		if len(a.Decide) != 1 {
			b.Fatal("no decision")
		}
		s.Step(&Verdicts{Items: a.Decide}, now, &a)
		a = Actions{}
		i++
		now++
	}
}
