// Package kinds is the list of every kind of work this program knows.
package kinds

import (
	"fmt"
	"slices"

	"kith/tasks"
	"kith/tasks/kinds/etl/chunk"
	"kith/tasks/kinds/etl/compress"
	"kith/tasks/kinds/etl/dedup"
	"kith/tasks/kinds/etl/hash"
	"kith/tasks/kinds/etl/jsonl"
	"kith/tasks/kinds/etl/lang"
	"kith/tasks/kinds/etl/vector"
	"kith/tasks/kinds/testkind"
	"kith/tasks/kinds/wasm"
)

// All returns every kind. The registry is a value: it never changes, and is safe for concurrent use.
func All() tasks.Registry {
	list := []tasks.Kind{
		chunk.Kind{},
		compress.Kind{},
		dedup.Kind{},
		hash.Kind{},
		jsonl.Kind{},
		lang.Kind{},
		vector.Kind{},
		wasm.New(),
	}
	list = append(list, testkind.All()...)
	return New(list...)
}

// registry is a tasks.Registry over a fixed list.
type registry struct {
	byName map[string]tasks.Kind
	names  []string
}

// New returns a registry of the given kinds. Of two kinds with the same name the later counts.
func New(kinds ...tasks.Kind) tasks.Registry {
	r := registry{byName: make(map[string]tasks.Kind, len(kinds))}
	for _, k := range kinds {
		name := k.Describe().Name
		if _, ok := r.byName[name]; !ok {
			r.names = append(r.names, name)
		}
		r.byName[name] = k
	}
	slices.Sort(r.names)
	return r
}

// Kind returns the named kind, or tasks.ErrUnknownKind.
func (r registry) Kind(name string) (tasks.Kind, error) {
	k, ok := r.byName[name]
	if !ok {
		return nil, fmt.Errorf("%w: %.80q", tasks.ErrUnknownKind, name)
	}
	return k, nil
}

// Names returns the names of all kinds, sorted. The slice is the caller's.
func (r registry) Names() []string { return slices.Clone(r.names) }
