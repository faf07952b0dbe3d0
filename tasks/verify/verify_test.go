package verify

import (
	"bytes"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"kith/storage/dag"
	"kith/tasks"
)

func root(n byte) dag.CID { return dag.Sum(dag.Raw, dag.SHA256, []byte{n}) }

// rep makes replica n, in a group of its own.
func rep(n byte, s State, out byte) Replica {
	r := Replica{Lease: tasks.LeaseID{n}, Worker: tasks.NodeID{n}, Account: string(rune('a' + n)), Group: string(rune('A' + n)), State: s}
	if s >= Revealed {
		r.Root = root(out)
	}
	return r
}

func same(r Replica, like Replica, what string) Replica {
	switch what {
	case "worker":
		r.Worker = like.Worker
	case "account":
		r.Account = like.Account
	case "group":
		r.Group = like.Group
	}
	return r
}

// with makes a replica hold the work of another's worker too.
func with(r, of Replica) Replica {
	r.Past = append(r.Past, Origin{of.Worker, of.Account, of.Group})
	return r
}

func TestDecide(t *testing.T) {
	two, one, lead := Policy{K: 2, N: 3}, Policy{K: 1, N: 2}, Policy{K: 1, N: 5, Lead: 2}
	var many []Replica
	for i := range byte(MaxTries) {
		many = append(many, rep(i, Lapsed, 0))
	}
	for _, c := range []struct {
		name string
		p    Policy
		in   []Replica
		want Decision
	}{
		{"nothing yet", two, nil, Decision{Action: More, Count: 2}},
		{"one at work", two, []Replica{rep(1, Live, 0)}, Decision{Action: More, Count: 1}},
		{"both at work", two, []Replica{rep(1, Live, 0), rep(2, Live, 0)}, Decision{Action: Wait}},
		{"one committed", two, []Replica{rep(1, Committed, 0), rep(2, Live, 0)}, Decision{Action: Wait}},
		{"one committed, one lapsed", two, []Replica{rep(1, Committed, 0), rep(2, Lapsed, 0)}, Decision{Action: More, Count: 1}},
		{"both committed", two, []Replica{rep(1, Committed, 0), rep(2, Committed, 0)}, Decision{Action: Reveal, Replicas: []int{0, 1}}},
		{"a hedge at work", two, []Replica{rep(1, Committed, 0), rep(2, Live, 0), rep(3, Committed, 0)}, Decision{Action: Wait, Spare: []int{1}}},
		{"one revealed", two, []Replica{rep(1, Revealed, 0), rep(2, Committed, 0)}, Decision{Action: Check, Replicas: []int{0}}},
		{"both revealed", two, []Replica{rep(1, Revealed, 0), rep(2, Revealed, 0)}, Decision{Action: Check, Replicas: []int{0, 1}}},
		{"alone, undisputed", lead, []Replica{rep(1, Checked, 7)}, Decision{Action: Accept, Root: root(7), Winners: []int{0}}},
		{"a lead of one", lead, []Replica{rep(1, Checked, 7), rep(2, Checked, 7), rep(3, Checked, 8)}, Decision{Action: More, Count: 1}},
		{
			"a lead of two", lead,
			[]Replica{rep(1, Checked, 7), rep(2, Checked, 7), rep(3, Checked, 8), rep(4, Checked, 7)},
			Decision{Action: Accept, Root: root(7), Winners: []int{0, 1, 3}, Losers: []int{2}},
		},
		{
			"no execution is left for a lead", lead,
			[]Replica{rep(1, Checked, 7), rep(2, Checked, 7), rep(3, Checked, 8), rep(4, Checked, 8), rep(5, Checked, 7)},
			Decision{Action: Accept, Root: root(7), Winners: []int{0, 1, 4}, Losers: []int{2, 3}},
		},
		{"agreed", two, []Replica{rep(1, Checked, 7), rep(2, Checked, 7)}, Decision{Action: Accept, Root: root(7), Winners: []int{0, 1}}},
		{"one went on from a third's work", two, []Replica{with(rep(1, Checked, 7), rep(3, 0, 0)), rep(2, Checked, 7)}, Decision{Action: Accept, Root: root(7), Winners: []int{0, 1}}},
		{"one holds the other's work", two, []Replica{with(rep(1, Checked, 7), rep(2, 0, 0)), rep(2, Checked, 7)}, Decision{Action: More, Count: 1}},
		{"one holds the work of the other's account", two, []Replica{with(rep(1, Checked, 7), same(rep(3, 0, 0), rep(2, 0, 0), "account")), rep(2, Checked, 7)}, Decision{Action: More, Count: 1}},
		{"both hold the work of one group", two, []Replica{with(rep(1, Checked, 7), rep(3, 0, 0)), with(rep(2, Checked, 7), same(rep(4, 0, 0), rep(3, 0, 0), "group"))}, Decision{Action: More, Count: 1}},
		{"disagreed", two, []Replica{rep(1, Checked, 7), rep(2, Checked, 8)}, Decision{Action: More, Count: 1}},
		{"a third at work", two, []Replica{rep(1, Checked, 7), rep(2, Checked, 8), rep(3, Live, 0)}, Decision{Action: Wait}},
		{"a third committed", two, []Replica{rep(1, Checked, 7), rep(2, Checked, 8), rep(3, Committed, 0)}, Decision{Action: Reveal, Replicas: []int{2}}},
		{"a third decided", two, []Replica{rep(1, Checked, 7), rep(2, Checked, 8), rep(3, Checked, 8)}, Decision{Action: Accept, Root: root(8), Winners: []int{1, 2}, Losers: []int{0}}},
		{"three results", two, []Replica{rep(1, Checked, 7), rep(2, Checked, 8), rep(3, Checked, 9)}, Decision{Action: Reject}},
		{"a forger", two, []Replica{rep(1, Checked, 7), rep(2, Forged, 0)}, Decision{Action: More, Count: 1}},
		{"two forgers", two, []Replica{rep(1, Checked, 7), rep(2, Forged, 0), rep(3, Withheld, 0)}, Decision{Action: Reject}},
		{"two forgers of three", Policy{K: 2, N: 4}, []Replica{rep(1, Forged, 0), rep(2, Withheld, 0)}, Decision{Action: More, Count: 2}},
		{"not enough room", two, []Replica{rep(1, Forged, 0), rep(2, Withheld, 0)}, Decision{Action: Reject}},
		{"lapsed and returned do not count", two, []Replica{rep(1, Lapsed, 0), rep(2, Returned, 0), rep(3, Cancelled, 0), rep(4, Lapsed, 0)}, Decision{Action: More, Count: 2}},
		{"but not without end", two, many, Decision{Action: Reject}},
		{"accepted with one pending", two, []Replica{rep(1, Checked, 7), rep(2, Checked, 7), rep(3, Committed, 0)}, Decision{Action: Accept, Root: root(7), Winners: []int{0, 1}, Spare: []int{2}}},
		{"alone", one, []Replica{rep(1, Checked, 7)}, Decision{Action: Accept, Root: root(7), Winners: []int{0}}},
		{"failed once", one, []Replica{rep(1, Failed, 0)}, Decision{Action: More, Count: 1}},
		{"failed twice", one, []Replica{rep(1, Failed, 0), rep(2, Failed, 0)}, Decision{Action: Reject}},
		{"failed and worked", two, []Replica{rep(1, Failed, 0), rep(2, Checked, 7), rep(3, Checked, 7)}, Decision{Action: Accept, Root: root(7), Winners: []int{1, 2}}},
		{"same account", two, []Replica{rep(1, Checked, 7), same(rep(2, Checked, 7), rep(1, 0, 0), "account")}, Decision{Action: More, Count: 1}},
		{"same group", two, []Replica{rep(1, Checked, 7), same(rep(2, Checked, 7), rep(1, 0, 0), "group")}, Decision{Action: More, Count: 1}},
		{"same worker", two, []Replica{rep(1, Checked, 7), same(rep(2, Checked, 7), rep(1, 0, 0), "worker")}, Decision{Action: More, Count: 1}},
		{"two camps", Policy{K: 2, N: 5}, []Replica{rep(1, Checked, 7), rep(2, Checked, 7), rep(3, Checked, 8), rep(4, Checked, 8)}, Decision{Action: More, Count: 1}},
		{"two camps, the end", Policy{K: 2, N: 4}, []Replica{rep(1, Checked, 7), rep(2, Checked, 7), rep(3, Checked, 8), rep(4, Checked, 8)}, Decision{Action: Reject}},
		{"three against two", Policy{K: 2, N: 5}, []Replica{rep(1, Checked, 7), rep(2, Checked, 7), rep(3, Checked, 8), rep(4, Checked, 8), rep(5, Checked, 8)}, Decision{Action: Accept, Root: root(8), Winners: []int{2, 3, 4}, Losers: []int{0, 1}}},
	} {
		got := Decide(c.p, tasks.Bitwise, c.in, nil)
		if (got.Action == Reject) != (got.Reason.Code != "" && got.Action != Wait) {
			t.Errorf("%s: reason %+v", c.name, got.Reason)
		}
		got.Reason = tasks.Reason{}
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

func TestReasons(t *testing.T) {
	for name, c := range map[string]struct {
		in   []Replica
		want tasks.Code
	}{
		"disagreement": {[]Replica{rep(1, Checked, 7), rep(2, Checked, 8), rep(3, Checked, 9)}, tasks.Disagreement},
		"failures":     {[]Replica{rep(1, Failed, 0), rep(2, Failed, 0)}, tasks.TaskFailed},
		"waiting":      {[]Replica{rep(1, Live, 0), rep(2, Live, 0)}, tasks.WaitingForReply},
	} {
		if got := Decide(Policy{K: 2, N: 3}, tasks.Bitwise, c.in, nil); got.Reason.Code != c.want || got.Reason.Words() == "" {
			t.Errorf("%s: %+v", name, got.Reason)
		}
	}
}

// near says that outputs of roots 10·x+y and 10·x+z agree within a tolerance of 1 in the last digit.
func near(known map[dag.CID]byte) func(a, b dag.CID) Agreement {
	return func(a, b dag.CID) Agreement {
		if bytes.Compare(a[:], b[:]) >= 0 {
			panic("asked the wrong way round")
		}
		x, okX := known[a]
		y, okY := known[b]
		switch {
		case !okX || !okY:
			return Unknown
		case x-y <= 1 || y-x <= 1:
			return Agree
		}
		return Differ
	}
}

func numeric(n byte, out byte) Replica {
	r := rep(n, Checked, out)
	r.Equals = string(rune('k' + n)) // a class of its own
	return r
}

func TestNumeric(t *testing.T) {
	known := map[dag.CID]byte{}
	for i := range byte(100) {
		known[root(i)] = i
	}
	low := func(a ...byte) dag.CID {
		return slices.MinFunc([]dag.CID{root(a[0]), root(a[len(a)-1])}, func(x, y dag.CID) int { return bytes.Compare(x[:], y[:]) })
	}
	two := Policy{K: 2, N: 4}
	d := Decide(two, tasks.Numeric, []Replica{numeric(1, 10), numeric(2, 11)}, near(known))
	if d.Action != Accept || d.Root != low(10, 11) || len(d.Winners) != 2 {
		t.Errorf("near: %+v", d)
	}
	d = Decide(two, tasks.Numeric, []Replica{numeric(1, 10), numeric(2, 12)}, near(known))
	if d.Action != More || d.Count != 1 {
		t.Errorf("far: %+v", d)
	}
	// 10~11 and 11~12, but not 10~12: no clique of three.
	d = Decide(Policy{K: 3, N: 4}, tasks.Numeric, []Replica{numeric(1, 10), numeric(2, 11), numeric(3, 12)}, near(known))
	if d.Action != More {
		t.Errorf("a chain is not a clique: %+v", d)
	}
	// Of two overlapping cliques the one with the smallest root.
	d = Decide(two, tasks.Numeric, []Replica{numeric(1, 10), numeric(2, 11), numeric(3, 12)}, near(known))
	smallest := slices.MinFunc([]dag.CID{root(10), root(11), root(12)}, func(x, y dag.CID) int { return bytes.Compare(x[:], y[:]) })
	if d.Action != Accept || d.Root != smallest || len(d.Winners) != 2 || len(d.Losers) != 1 {
		t.Errorf("overlap: %+v", d)
	}
	// Outputs nobody compared are asked for, once, the smaller first; equal bytes need no comparing.
	d = Decide(two, tasks.Numeric, []Replica{numeric(1, 10), numeric(2, 101), numeric(3, 101)}, near(known))
	if d.Action != Accept {
		t.Errorf("bitwise first: %+v", d)
	}
	d = Decide(Policy{K: 3, N: 4}, tasks.Numeric, []Replica{numeric(1, 10), numeric(2, 101), numeric(3, 101)}, near(known))
	if d.Action != Compare || len(d.Pairs) != 1 || bytes.Compare(d.Pairs[0][0][:], d.Pairs[0][1][:]) >= 0 {
		t.Errorf("unknown: %+v", d)
	}
	// Machines of one equivalence class must give the same bytes.
	alike := numeric(2, 11)
	alike.Equals = numeric(1, 10).Equals
	d = Decide(two, tasks.Numeric, []Replica{numeric(1, 10), alike}, near(known))
	if d.Action != More {
		t.Errorf("one class: %+v", d)
	}
	if d = Decide(two, tasks.Schema, []Replica{numeric(1, 10), alike}, near(known)); d.Action != Accept {
		t.Errorf("by schema: %+v", d)
	}
	none := numeric(1, 10)
	none.Equals = ""
	also := numeric(2, 11)
	also.Equals = ""
	if d = Decide(two, tasks.Numeric, []Replica{none, also}, near(known)); d.Action != Accept {
		t.Errorf("no class: %+v", d)
	}
}

func draw(t *rapid.T) []Replica {
	n := rapid.IntRange(0, 8).Draw(t, "replicas")
	var list []Replica
	for i := range n {
		r := rep(byte(i), State(rapid.IntRange(int(Live), int(Cancelled)).Draw(t, "state")), byte(10+rapid.IntRange(0, 3).Draw(t, "output")))
		if rapid.Bool().Draw(t, "voted") {
			r = rep(byte(i), Checked, byte(10+rapid.IntRange(0, 3).Draw(t, "output")))
		}
		if i > 0 && rapid.IntRange(0, 3).Draw(t, "alike") == 0 {
			r = same(r, list[rapid.IntRange(0, i-1).Draw(t, "whom")], rapid.SampledFrom([]string{"worker", "account", "group"}).Draw(t, "how"))
		}
		if rapid.IntRange(0, 3).Draw(t, "lan") == 0 {
			r.Group = ""
		}
		r.Equals = rapid.SampledFrom([]string{"avx2", "neon", ""}).Draw(t, "class")
		list = append(list, r)
	}
	return list
}

// TestRules checks what must hold for any replicas whatever.
func TestRules(t *testing.T) {
	known := map[dag.CID]byte{}
	for i := range byte(12) {
		known[root(i)] = i
	}
	for i := range byte(3) {
		known[root(10+i)] = 10 + i // output 13 was not compared
	}
	rapid.Check(t, func(t *rapid.T) {
		in := draw(t)
		p := Policy{K: rapid.IntRange(1, 4).Draw(t, "k"), N: rapid.IntRange(1, 6).Draw(t, "n")}
		how := rapid.SampledFrom([]tasks.Comparison{tasks.Bitwise, tasks.Numeric, tasks.Schema}).Draw(t, "comparison")
		d := Decide(p, how, in, near(known))
		k := min(p.K, p.N)

		// The order of replicas does not matter.
		perm := rapid.Permutation(indices(len(in))).Draw(t, "order")
		shuffled := make([]Replica, len(in))
		for i, j := range perm {
			shuffled[i] = in[j]
		}
		e := Decide(p, how, shuffled, near(known))
		for _, list := range []*[]int{&e.Replicas, &e.Winners, &e.Losers, &e.Spare} {
			for i := range *list {
				(*list)[i] = perm[(*list)[i]]
			}
			slices.Sort(*list)
		}
		if !reflect.DeepEqual(d, e) {
			t.Fatalf("another order: %+v and %+v", d, e)
		}

		live := slices.ContainsFunc(in, func(r Replica) bool { return r.State == Live })
		switch d.Action {
		case Reveal:
			if live || len(d.Replicas) == 0 {
				t.Fatal("asked for reveals while a replica is live")
			}
			for _, i := range d.Replicas {
				if in[i].State != Committed {
					t.Fatal("asked for the reveal of what is not committed")
				}
			}
		case Check:
			if len(d.Replicas) == 0 {
				t.Fatal("nothing to check")
			}
		case More:
			spent := 0
			for _, r := range in {
				if r.State.spent() {
					spent++
				}
			}
			if d.Count < 1 || spent+d.Count > p.N {
				t.Fatalf("%d more after %d of %d", d.Count, spent, p.N)
			}
		case Accept:
			if independent(in, d.Winners) < k {
				t.Fatalf("accepted with winners %v", d.Winners)
			}
			found := false
			for _, i := range d.Winners {
				if in[i].State != Checked {
					t.Fatal("an unchecked winner")
				}
				found = found || in[i].Root == d.Root
				for _, j := range d.Winners {
					same := in[i].Root == in[j].Root
					if how == tasks.Bitwise && !same {
						t.Fatal("winners with different outputs")
					}
					if how == tasks.Numeric && !same && in[i].Equals != "" && in[i].Equals == in[j].Equals {
						t.Fatal("winners of one class with different bytes")
					}
					lo, hi := in[i].Root, in[j].Root
					if bytes.Compare(lo[:], hi[:]) > 0 {
						lo, hi = hi, lo
					}
					if !same && near(known)(lo, hi) != Agree {
						t.Fatal("winners that are no clique")
					}
					if bytes.Compare(in[i].Root[:], d.Root[:]) < 0 {
						t.Fatal("not the smallest root")
					}
				}
			}
			if !found || len(d.Winners)+len(d.Losers) != votesIn(in) {
				t.Fatal("the result is nobody's, or votes are missing")
			}
		case Wait:
			if !live {
				t.Fatal("waits for nobody")
			}
		case Reject:
			if d.Reason.Code == "" {
				t.Fatal("rejected without a reason")
			}
		case Compare:
			if how == tasks.Bitwise || len(d.Pairs) == 0 {
				t.Fatal("compares without need")
			}
		}
	})
}

func votesIn(in []Replica) (n int) {
	for _, r := range in {
		if r.State == Checked {
			n++
		}
	}
	return n
}

func indices(n int) []int {
	list := make([]int, n)
	for i := range list {
		list[i] = i
	}
	return list
}

// independent is the size of the largest subset that is pairwise distinct, found the slow way.
func independent(in []Replica, list []int) int {
	most := 0
	for c := range 1 << len(list) {
		size, ok := 0, true
		for a := range list {
			if c&(1<<a) == 0 {
				continue
			}
			size++
			for b := range a {
				if c&(1<<b) != 0 && !Distinct(&in[list[a]], &in[list[b]]) {
					ok = false
				}
			}
		}
		if ok {
			most = max(most, size)
		}
	}
	return most
}

// TestLoneLiar plays whole tasks at k = 2 of 3 with one liar who may do anything, in any order of events. The liar's
// output never wins, and the honest one does whenever two honest workers deliver.
func TestLoneLiar(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const honest, lie = 1, 2
		liar := rapid.IntRange(0, 2).Draw(t, "liar")
		var in []Replica
		for step := 0; ; step++ {
			if step > 100 {
				t.Fatal("no end")
			}
			d := Decide(Policy{K: 2, N: 3}, tasks.Bitwise, in, nil)
			switch d.Action {
			case More:
				for range d.Count {
					in = append(in, rep(byte(len(in)), Live, 0))
				}
			case Wait:
				i := rapid.SampledFrom(d.waiting(in)).Draw(t, "commits")
				in[i].State = Committed
			case Reveal:
				for _, i := range d.Replicas {
					in[i].State, in[i].Root = Revealed, root(honest)
					if i == liar {
						in[i].Root = root(rapid.SampledFrom([]byte{honest, lie}).Draw(t, "claim"))
					}
				}
			case Check:
				for _, i := range d.Replicas {
					in[i].State = Checked
					if i == liar {
						in[i].State = rapid.SampledFrom([]State{Checked, Forged, Withheld}).Draw(t, "delivery")
					}
				}
			case Accept:
				if d.Root != root(honest) {
					t.Fatalf("the liar won: %+v", in)
				}
				return
			default:
				t.Fatalf("two honest workers and no result: %+v", d)
			}
		}
	})
}

func (d Decision) waiting(in []Replica) (list []int) {
	for i := range in {
		if in[i].State == Live {
			list = append(list, i)
		}
	}
	return list
}

func TestOpens(t *testing.T) {
	r := tasks.Reveal{Lease: tasks.LeaseID{1}, Root: root(1), Digest: [32]byte{2}}
	w := tasks.NodeID{3}
	c := tasks.Commit{Lease: r.Lease, Hash: tasks.CommitHash(r.Lease, w, r.Root, r.Digest)}
	if !Opens(c, w, r) {
		t.Fatal("an honest reveal does not open its commit")
	}
	copied := r
	copied.Root = root(2)
	other := c
	other.Lease[0]++
	if Opens(c, tasks.NodeID{4}, r) || Opens(c, w, copied) || Opens(other, w, r) {
		t.Error("a commit opened by something else")
	}
}

func TestWords(t *testing.T) {
	for a := Wait; a <= Reject; a++ {
		if strings.TrimSpace(a.String()) == "" {
			t.Error(a)
		}
	}
}

func BenchmarkDecide(b *testing.B) {
	for name, in := range map[string][]Replica{
		"agreed":    {rep(1, Checked, 7), rep(2, Checked, 7)},
		"committed": {rep(1, Committed, 7), rep(2, Live, 7)},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Decide(Policy{K: 2, N: 3}, tasks.Bitwise, in, nil)
			}
		})
	}
	worst := make([]Replica, MaxN)
	for i := range worst {
		worst[i] = numeric(byte(i), byte(i))
	}
	b.Run("clique16", func(b *testing.B) {
		for b.Loop() {
			Decide(Policy{K: 9, N: 16}, tasks.Numeric, worst, func(a, b dag.CID) Agreement {
				if (a[5]^b[5])&1 == 0 {
					return Agree
				}
				return Differ
			})
		}
	})
}
