package work

import (
	"testing"

	"kith/storage/dag"
	"kith/tasks"
)

// FuzzBook reads whatever a record of the receipt book holds.
func FuzzBook(f *testing.F) {
	for _, v := range []any{&Receipts{At: 1}, &made{Stages: []tasks.Assignment{{Stage: 1}}, Tasks: []madeTask{{Index: 3}}}, &made{Tasks: []madeTask{{Stage: 7}}}} {
		b, err := dag.Marshal(v)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, m, err := readBook(b)
		if err == nil && (r == nil) == (m == nil) {
			t.Fatal("a record is neither or both")
		}
		if m != nil {
			for i := range m.Tasks {
				_ = m.Stages[m.Tasks[i].Stage]
			}
		}
	})
}
