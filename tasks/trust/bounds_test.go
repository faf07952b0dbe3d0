package trust

import (
	"testing"

	"kith/storage/dag"
	"kith/tasks"
)

// The quota doubles with each success up to its most and falls by one with each failure down to one; what was handed back
// or cancelled leaves it.
func TestQuotaDoublesAndFallsByOne(t *testing.T) {
	var r Record
	for i, step := range []struct {
		o    tasks.Outcome
		want int
	}{
		{tasks.Accepted, 8},
		{tasks.Accepted, 16},
		{tasks.Outvoted, 15},
		{tasks.Forged, 14},
		{tasks.Withheld, 13},
		{tasks.Lapsed, 12},
		{tasks.Returned, 12},
		{tasks.Cancelled, 12},
		{tasks.Accepted, 24},
		{tasks.Accepted, 48},
		{tasks.Accepted, 96},
		{tasks.Accepted, 192},
		{tasks.Accepted, MostQuota},
		{tasks.Accepted, MostQuota},
		{tasks.Lapsed, MostQuota - 1},
	} {
		if r = r.Note(step.o, now); r.Quota() != step.want {
			t.Fatalf("step %d, %s: quota %d, want %d", i, step.o, r.Quota(), step.want)
		}
	}
	if r = note(r, tasks.Lapsed, 300); r.Quota() != 1 {
		t.Errorf("after 300 failures: %d", r.Quota())
	}
	if r = r.Note(tasks.Accepted, now); r.Quota() != 2 {
		t.Errorf("one success after them: %d", r.Quota())
	}
}

var good, bad = dag.Sum(dag.Raw, dag.SHA256, []byte("right")), dag.Sum(dag.Raw, dag.SHA256, []byte("wrong"))

// agreeing has two nodes agree so many times in a row.
func agreeing(b *Book, times int, what string, x, y tasks.NodeID) {
	for range times {
		b.Verdict(tasks.TaskID{}, what, []Vote{{Node: x, Root: good, Won: true}, {Node: y, Root: good, Won: true}}, now)
	}
}

// Until a book has seen 20 verdicts nobody is believed alone, whatever it has shown; from then on who has agreed ten times
// in a row, with that kind of work on that class of machine.
func TestBelievedAloneFromTheTenthResultAndTheTwentiethVerdict(t *testing.T) {
	me, you, they, them := tasks.NodeID{1}, tasks.NodeID{2}, tasks.NodeID{3}, tasks.NodeID{4}
	alone := func(b *Book, what string) bool { _, ok := b.Sole(me, what, now); return ok }
	b := NewBook()
	agreeing(b, WarmUp-1, "x/run", me, you)
	if alone(b, "x/run") {
		t.Errorf("believed alone after %d verdicts", WarmUp-1)
	}
	agreeing(b, 1, "y/run", they, them)
	if !alone(b, "x/run") {
		t.Errorf("not believed after %d verdicts", WarmUp)
	}
	if alone(b, "y/run") || alone(b, "x/run@avx2") {
		t.Error("believed alone for work, or on a machine, that it has not shown")
	}

	b = NewBook()
	agreeing(b, 2*WarmUp, "z/run", they, them)
	agreeing(b, SoleAfter-1, "x/run", me, you)
	if alone(b, "x/run") {
		t.Errorf("believed alone after %d results", SoleAfter-1)
	}
	agreeing(b, 1, "x/run", me, you)
	if !alone(b, "x/run") {
		t.Errorf("not believed after %d results", SoleAfter)
	}
	b.Verdict(tasks.TaskID{}, "x/run", []Vote{{Node: me, Root: bad}, {Node: you, Root: good, Won: true}, {Node: they, Root: good, Won: true}}, now)
	if alone(b, "x/run") {
		t.Error("believed alone after it was outvoted")
	}
	agreeing(b, SoleAfter-1, "x/run", me, you)
	if alone(b, "x/run") {
		t.Error("the count did not begin anew")
	}
	if SoleAfter != 10 || WarmUp != 20 {
		t.Errorf("ten results and twenty verdicts became %d and %d", SoleAfter, WarmUp)
	}
}

// However many audits a node has passed, at least one in twenty of its results is audited; fewer only with every audit.
func TestAuditsNeverCease(t *testing.T) {
	s, before := Standing{}, 0
	for range 10_000 {
		if n := s.OneIn(); n > 20 || n < before {
			t.Fatalf("one result in %d is audited, after one in %d", n, before)
		}
		before = s.OneIn()
		s = s.Agree(true, now)
	}
	if before != LastOneIn {
		t.Errorf("at last one in %d is audited, want %d", before, LastOneIn)
	}
}

// One proven lie takes all trust, for every kind of work: the liar is shut out, and then begins as one that has shown
// nothing.
func TestNothingIsLeftAfterAProvenLie(t *testing.T) {
	liar, friend := tasks.NodeID{1}, tasks.NodeID{2}
	b := NewBook()
	agreeing(b, 2*WarmUp, "x/run", liar, friend)
	agreeing(b, SoleAfter, "y/run", liar, friend)
	for i := range byte(accusers) { // each time another node of another group contradicts it
		b.Verdict(tasks.TaskID{i}, "x/run", []Vote{{Node: liar, Root: bad, Told: true}, {Node: tasks.NodeID{10 + i}, Root: good, Won: true}, {Node: tasks.NodeID{20 + i}, Root: good, Won: true}}, now)
	}
	if !b.Banned(liar, now) {
		t.Fatal("not shut out")
	}
	for _, what := range []string{"x/run", "y/run"} {
		if _, ok := b.Sole(liar, what, now); ok || b.Standing(liar, what, now).Agreed != 0 {
			t.Errorf("%s: something of its standing is left: %+v", what, b.Standing(liar, what, now))
		}
	}
	later := now + lieMillis
	if b.Banned(liar, later) {
		t.Error("shut out for ever")
	}
	for i := range SoleAfter {
		if _, ok := b.Sole(liar, "x/run", later); ok {
			t.Fatalf("believed alone after %d results", i)
		}
		b.Verdict(tasks.TaskID{}, "x/run", []Vote{{Node: liar, Root: good, Won: true}, {Node: friend, Root: good, Won: true}}, later)
	}
	if _, ok := b.Sole(liar, "x/run", later); !ok {
		t.Error("it cannot make up for it")
	}
}

// For a day after a lie was proven everybody is audited more, and no longer than the lie is taken for one.
func TestAlertAfterALie(t *testing.T) {
	known, liar := tasks.NodeID{1}, tasks.NodeID{9}
	fresh := func() *Book {
		b := NewBook()
		agreeing(b, WarmUp, "x/run", liar, tasks.NodeID{2})
		b.setSkill(skill{known, "x/run"}, Standing{Agreed: SoleAfter, Passed: LastOneIn, Day: now / dayMillis})
		b.setSkill(skill{tasks.NodeID{3}, "x/run"}, Standing{Agreed: SoleAfter, Day: now / dayMillis})
		return b
	}
	lie := func(b *Book) {
		b.Verdict(tasks.TaskID{7}, "x/run", []Vote{
			{Node: liar, Root: bad},
			{Node: tasks.NodeID{20}, Root: good, Won: true},
			{Node: tasks.NodeID{21}, Root: good, Won: true},
			{Node: tasks.NodeID{22}, Root: good, Won: true},
		}, now)
	}
	for name, c := range map[string]struct {
		do   func(*Book) *Book
		at   int64
		want int
	}{
		"no lie":       {func(b *Book) *Book { return b }, now, LastOneIn},
		"a lie":        {func(b *Book) *Book { lie(b); return b }, now, alertOneIn},
		"a day later":  {func(b *Book) *Book { lie(b); return b }, now + alertMillis, LastOneIn},
		"an appeal":    {func(b *Book) *Book { lie(b); b.Appeal(liar); return b }, now, LastOneIn},
		"read back":    {func(b *Book) *Book { lie(b); return folded(t, b) }, now + alertMillis - 1, alertOneIn},
		"outdated lie": {func(b *Book) *Book { lie(b); return folded(t, b) }, now + alertMillis, LastOneIn},
	} {
		t.Run(name, func(t *testing.T) {
			b := c.do(fresh())
			if n, ok := b.Sole(known, "x/run", c.at); !ok || n != c.want {
				t.Errorf("one result in %d is audited, want %d", n, c.want)
			}
			if n, ok := b.Sole(tasks.NodeID{3}, "x/run", c.at); !ok || n != FirstOneIn {
				t.Errorf("of one newly believed, one in %d, want %d", n, FirstOneIn)
			}
		})
	}
}

// folded is the book that another one writes down.
func folded(t *testing.T, b *Book) *Book {
	t.Helper()
	l, again := b.Ledger(), NewBook()
	if err := again.Fold(&l); err != nil {
		t.Fatal(err)
	}
	return again
}
