package trust

import (
	"errors"
	"reflect"
	"testing"

	"kith/storage/dag"
	"kith/tasks"
	"pgregory.net/rapid"
)

// drawn is a book with a random history.
func drawn(t *rapid.T) *Book {
	b := NewBook()
	for i := range rapid.IntRange(0, 40).Draw(t, "verdicts") {
		var votes []Vote
		for n := range rapid.IntRange(1, 6).Draw(t, "votes") {
			v := Vote{Node: tasks.NodeID{byte(rapid.IntRange(0, 9).Draw(t, "node")), byte(n)}, Root: dag.Sum(dag.Raw, dag.SHA256, []byte{0}), Won: true}
			if rapid.IntRange(0, 3).Draw(t, "lies") == 0 {
				v.Root, v.Won = dag.Sum(dag.Raw, dag.SHA256, []byte{1}), false
			}
			votes = append(votes, v)
		}
		b.Verdict(tasks.TaskID{byte(i)}, "x/run", votes, now+int64(i))
	}
	return b
}

// What a book writes down makes the same book, whether all at once or as it changes.
func TestLedger(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := drawn(t)
		whole, parts := NewBook(), NewBook()
		l := b.Ledger()
		bytes, err := dag.Marshal(&l)
		if err != nil {
			t.Fatal(err)
		}
		var back Ledger
		if err := dag.Unmarshal(bytes, &back); err != nil {
			t.Fatal(err)
		}
		if err := whole.Fold(&back); err != nil {
			t.Fatal(err)
		}
		if change, any := b.Changes(); any {
			if err := parts.Fold(&change); err != nil {
				t.Fatal(err)
			}
		}
		for _, o := range []*Book{whole, parts} {
			if got := o.Ledger(); len(b.cases)+len(b.skills) > 0 && !reflect.DeepEqual(got, l) {
				t.Fatalf("folded\n%+v, want\n%+v", got, l)
			}
		}
		if _, any := b.Changes(); any {
			t.Fatal("changes told twice")
		}
	})
}

func TestLedgerRefuses(t *testing.T) {
	for name, l := range map[string]Ledger{
		"negative":        {Verdicts: -1},
		"too many cases":  {Cases: make([]Case, MaxCases+1)},
		"standing":        {Skills: []Skill{{Standing: Standing{Agreed: mostAgreed + 1}}}},
		"audits":          {Skills: []Skill{{Standing: Standing{Passed: -1}}}},
		"name":            {Skills: []Skill{{What: string(make([]byte, maxName+1))}}},
		"sides":           {Cases: []Case{{Sides: make([]Side, 65)}}},
		"root":            {Cases: []Case{{Sides: []Side{{Root: make([]byte, 65)}}}}},
		"lie for ever":    {Lies: []Lie{{At: 1, Until: 2 + lieMillis}}},
		"lie before time": {Lies: []Lie{{At: 5, Until: 4}}},
	} {
		if err := NewBook().Fold(&l); !errors.Is(err, ErrSnapshot) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A liar is shut out, and comes back as a newcomer: after its time, or at once if somebody grants its appeal.
func TestLieAndAppeal(t *testing.T) {
	wrong, right := dag.Sum(dag.Raw, dag.SHA256, []byte("wrong")), dag.Sum(dag.Raw, dag.SHA256, []byte("right"))
	liar := tasks.NodeID{1}
	caught := func() *Book {
		b := NewBook()
		for i := range WarmUp {
			b.Verdict(tasks.TaskID{}, "x", []Vote{{Node: liar, Root: right, Won: true}, {Node: tasks.NodeID{2}, Root: right, Won: true}}, now+int64(i))
		}
		if _, ok := b.Sole(liar, "x", now); !ok {
			t.Fatal("not believed after agreeing so often")
		}
		if _, ok := b.Sole(liar, "y", now); ok {
			t.Fatal("believed in what it has not shown")
		}
		lied, _ := b.Verdict(tasks.TaskID{7}, "x", []Vote{
			{Node: liar, Root: wrong, Told: true},
			{Node: tasks.NodeID{2}, Root: right, Won: true},
			{Node: tasks.NodeID{3}, Root: right, Won: true},
			{Node: tasks.NodeID{4}, Root: right, Won: true},
		}, now)
		if len(lied) != 1 || lied[0] != liar || !b.Banned(liar, now) || b.Standing(liar, "x", now) != (Standing{Day: now / dayMillis}) {
			t.Fatalf("lied %v, standing %+v", lied, b.Standing(liar, "x", now))
		}
		return b
	}
	b := caught()
	if c := b.Cases(liar); len(c) != 1 || c[0].Task != (tasks.TaskID{7}) || len(c[0].Sides) != 4 {
		t.Errorf("cases %+v", c)
	}
	if l := b.Lies(now); len(l) != 1 || l[0].Accusers != 3 {
		t.Errorf("lies %+v", l)
	}
	if b.Banned(liar, now+lieMillis) || b.Get(liar, now).Proof != [32]byte{} {
		t.Error("shut out for good without proof that it signed")
	}
	if !b.Appeal(liar) || b.Banned(liar, now) || b.Appeal(liar) {
		t.Error("appeal")
	}
	if _, ok := b.Sole(liar, "x", now); ok {
		t.Error("believed alone after an appeal")
	}
	if _, cleared := b.Verdict(tasks.TaskID{8}, "x", []Vote{{Node: tasks.NodeID{5}, Root: wrong}, {Node: tasks.NodeID{2}, Root: right, Won: true}}, now); len(cleared) != 0 || b.Banned(liar, now) {
		t.Error("old contradictions count after an appeal")
	}
}

// Whoever speaks against many and is contradicted by few is not the liar, and is cleared when the others are found.
func TestOutvotedByColluders(t *testing.T) {
	wrong, right := dag.Sum(dag.Raw, dag.SHA256, []byte("wrong")), dag.Sum(dag.Raw, dag.SHA256, []byte("right"))
	b := NewBook()
	colluders := []tasks.NodeID{{1}, {2}, {3}}
	victim := tasks.NodeID{9}
	votes := []Vote{{Node: victim, Root: right}}
	for _, c := range colluders {
		votes = append(votes, Vote{Node: c, Root: wrong, Won: true})
	}
	if lied, _ := b.Verdict(tasks.TaskID{1}, "x", votes, now); len(lied) != 1 || lied[0] != victim {
		t.Fatalf("the submitter cannot know better yet: %v", lied)
	}
	var lied, cleared []tasks.NodeID
	for i, c := range colluders {
		votes := []Vote{{Node: c, Root: wrong}}
		for n := range 4 {
			votes = append(votes, Vote{Node: tasks.NodeID{20 + byte(4*i+n)}, Root: right, Won: true})
		}
		l, x := b.Verdict(tasks.TaskID{byte(2 + i)}, "x", votes, now)
		lied, cleared = append(lied, l...), append(cleared, x...)
	}
	if len(lied) != 3 || len(cleared) != 1 || cleared[0] != victim || b.Banned(victim, now) {
		t.Errorf("lied %v, cleared %v", lied, cleared)
	}
}

// Standings fade without work: after two months a node has to begin again.
func TestStandingFades(t *testing.T) {
	s := Standing{}
	for range 50 {
		s = s.Agree(true, now)
	}
	if s.Agreed != mostAgreed || s.OneIn() != LastOneIn || !s.Sole() {
		t.Errorf("%+v", s)
	}
	if l := s.At(now + HalfLifeDays*dayMillis); !l.Sole() || l.OneIn() != LastOneIn {
		t.Errorf("after a month %+v", l)
	}
	if l := s.At(now + 2*HalfLifeDays*dayMillis); l.Sole() {
		t.Errorf("after two months %+v", l)
	}
	if l := s.At(now + 1000*HalfLifeDays*dayMillis); l.Agreed != 0 || l.Passed != 0 {
		t.Errorf("after years %+v", l)
	}
	if (Standing{}).OneIn() != FirstOneIn {
		t.Error("first block")
	}
}

// More contradictions than are kept do not set a liar free.
func TestCasesAreBounded(t *testing.T) {
	wrong, right := dag.Sum(dag.Raw, dag.SHA256, []byte("wrong")), dag.Sum(dag.Raw, dag.SHA256, []byte("right"))
	b := NewBook()
	put := func(i int, liar tasks.NodeID) {
		votes := []Vote{{Node: liar, Root: wrong}}
		for n := range 3 {
			votes = append(votes, Vote{Node: tasks.NodeID{200, byte((3*i + n) / 250), byte((3*i + n) % 250)}, Root: right, Won: true})
		}
		b.Verdict(tasks.TaskID{byte(i), byte(i >> 8)}, "x", votes, now)
	}
	for i := range MaxCases + 10 {
		put(i, tasks.NodeID{byte(i % 20)})
	}
	if len(b.cases) != MaxCases || len(b.Lies(now)) != 20 {
		t.Errorf("%d cases, %d liars", len(b.cases), len(b.Lies(now)))
	}
}
