package trust

import (
	"errors"
	"testing"

	"kith/storage/dag"
	"kith/tasks"
)

// FuzzLedger folds whatever bytes hold: a ledger is refused with ErrSnapshot or makes a book that can be asked anything.
func FuzzLedger(f *testing.F) {
	b := NewBook()
	for i := range byte(4) {
		root := dag.Sum(dag.Raw, dag.SHA256, []byte{i % 2})
		b.Verdict(tasks.TaskID{i}, "x/run", []Vote{{Node: tasks.NodeID{i}, Root: root, Won: i%2 == 0}, {Node: tasks.NodeID{9}, Root: dag.Sum(dag.Raw, dag.SHA256, []byte{0}), Won: true}}, now)
	}
	for _, l := range []Ledger{{}, b.Ledger(), {Lies: []Lie{{Node: tasks.NodeID{1}, At: 1, Until: 2}}, Appeals: []tasks.NodeID{{1}}}} {
		data, err := dag.Marshal(&l)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var l Ledger
		if dag.Unmarshal(data, &l) != nil {
			return
		}
		b := NewBook()
		if err := b.Fold(&l); err != nil {
			if !errors.Is(err, ErrSnapshot) {
				t.Errorf("%v is not ErrSnapshot", err)
			}
			return
		}
		root := dag.Sum(dag.Raw, dag.SHA256, nil)
		b.Verdict(tasks.TaskID{}, "x", []Vote{{Node: tasks.NodeID{1}, Root: root, Won: true}, {Node: tasks.NodeID{2}, Root: dag.CID{}}}, now)
		b.Collusions(now)
		b.Lies(now)
		b.Appeal(tasks.NodeID{1})
		if out := b.Ledger(); NewBook().Fold(&out) != nil {
			t.Error("a book does not take its own ledger")
		}
	})
}
