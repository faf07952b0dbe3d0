package node

import (
	"strings"
	"testing"

	"kith/storage/dag"
	"kith/tasks"
	"kith/tasks/submit"
	"kith/tasks/trust"
)

// What is thought of a worker is said with its reasons, and the most suspicious come first.
func TestTrustIsExplained(t *testing.T) {
	const now = int64(20_000) * 86_400_000
	right, wrong := dag.Sum(dag.Raw, dag.SHA256, []byte("right")), dag.Sum(dag.Raw, dag.SHA256, []byte("wrong"))
	b := trust.NewBook()
	good, liar, forger := tasks.NodeID{1}, tasks.NodeID{2}, tasks.NodeID{3}
	for i := range trust.WarmUp {
		b.Note(good, tasks.Accepted, now)
		b.Verdict(tasks.TaskID{byte(i)}, "etl.hash/hash", []trust.Vote{{Node: good, Root: right, Won: true}, {Node: tasks.NodeID{9, byte(i)}, Root: right, Won: true}}, now)
	}
	b.Verdict(tasks.TaskID{99}, "etl.hash/hash", []trust.Vote{
		{Node: liar, Root: wrong}, {Node: good, Root: right, Won: true}, {Node: tasks.NodeID{9, 1}, Root: right, Won: true}, {Node: tasks.NodeID{9, 2}, Root: right, Won: true},
	}, now)
	b.Ban(forger, [32]byte{7}, now)
	l := b.Ledger()
	list := judged(&submit.Trust{Records: b.Snapshot(), Skills: l.Skills, Lies: b.Lies(now), Cases: l.Cases, Collusions: b.Collusions(now), Verdicts: l.Verdicts}, now)
	if list[0].Node != forger || list[0].Standing != "banned" || list[0].Proof == "" {
		t.Errorf("first %+v", list[0])
	}
	bad := list[1]
	if bad.Node != liar || bad.Standing != "suspended" || bad.Until == 0 || len(bad.Cases) != 1 || len(bad.Cases[0].Against) != 3 || bad.Cases[0].Won {
		t.Errorf("second %+v", bad)
	}
	if words := strings.Join(bad.Words, "; "); !strings.Contains(words, "3 independent groups") || !strings.Contains(words, "kith trust appeal") {
		t.Errorf("it is said of a liar: %s", words)
	}
	last := list[len(list)-1]
	if words := strings.Join(last.Words, "; "); last.Node != good || last.Standing != "proven" || !strings.Contains(words, "believed alone") || !last.Skills[0].Alone {
		t.Errorf("last %+v", last)
	}
}
