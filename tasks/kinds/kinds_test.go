package kinds_test

import (
	"errors"
	"slices"
	"testing"

	"kith/tasks"
	"kith/tasks/kinds"
)

func TestAll(t *testing.T) {
	all := kinds.All()
	names := all.Names()
	if !slices.IsSorted(names) || len(slices.Compact(slices.Clone(names))) != len(names) {
		t.Errorf("names are not sorted or not unique: %q", names)
	}
	for _, want := range []string{"etl.chunk", "etl.dedup", "etl.hash", "etl.jsonl", "etl.lang", "etl.vector", "etl.zstd", "test.noop", "wasm"} {
		if !slices.Contains(names, want) {
			t.Errorf("%s is missing", want)
		}
	}
	for _, name := range names {
		k, err := all.Kind(name)
		if err != nil {
			t.Fatal(err)
		}
		if got := k.Describe().Name; got != name {
			t.Errorf("%s calls itself %s", name, got)
		}
		if _, err := tasks.Plan([]tasks.Op{{Kind: name}, {Kind: name}}, 8, all); err != nil {
			t.Errorf("%s cannot be chained: %v", name, err)
		}
	}
	if _, err := all.Kind("no.such"); !errors.Is(err, tasks.ErrUnknownKind) {
		t.Errorf("got %v", err)
	}
}
