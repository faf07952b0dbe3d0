package execute_test

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"kith/storage"
	"kith/storage/dag"
	"kith/tasks"
	"kith/tasks/execute"
	"kith/tasks/sandbox/sandboxtest"
)

// Outputs are compared in the sandbox; one that kills its reader agrees with nothing and stands in nobody's way.
func TestCompare(t *testing.T) {
	b := open(t, func(o *execute.Options) {
		o.Kinds = sandboxtest.Kinds()
		processes(t)(o)
	})
	one, near, far, crash := b.add(t, map[string]string{"n": "1"}), b.add(t, map[string]string{"n": "1.001"}), b.add(t, map[string]string{"n": "2"}), b.add(t, map[string]string{"n": "crash"})
	stage := tasks.Stage{Mode: tasks.Map, Steps: []tasks.Step{{Kind: "test.numbers", Phase: "noop"}}, Comparison: tasks.Numeric}
	pair := func(x, y dag.CID) [2]dag.CID {
		if bytes.Compare(x[:], y[:]) > 0 {
			x, y = y, x
		}
		return [2]dag.CID{x, y}
	}
	for _, c := range []struct {
		name  string
		pairs [][2]dag.CID
		want  []bool
	}{
		{"near and far", [][2]dag.CID{pair(one, near), pair(one, far), pair(near, far)}, []bool{true, false, false}},
		{"one alone", [][2]dag.CID{pair(near, far)}, []bool{false}},
		{"a killer with another", [][2]dag.CID{pair(one, crash)}, []bool{false}},
		{"a killer among others", [][2]dag.CID{pair(one, crash), pair(one, near), pair(crash, near)}, []bool{false, true, false}},
	} {
		got, err := b.Compare(t.Context(), tasks.Job{}, stage, c.pairs)
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v; %v", c.name, got, c.want, err)
		}
	}
	gone := dag.Sum(dag.DagCBOR, dag.SHA256, []byte("gone"))
	if _, err := b.Compare(t.Context(), tasks.Job{}, stage, [][2]dag.CID{pair(one, gone)}); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("an output that is not here: %v", err) // says nothing about it: it is tried again
	}
}
