// Package quota says what a node's data folder holds, by kind of data, and what has to go when a kind has more than it
// may. It computes and touches nothing.
package quota

import (
	"cmp"
	"path"
	"slices"
	"strings"
	"time"
)

// Kind is what data is for.
type Kind string

// The kinds, in the order in which people see them.
const (
	Blocks  Kind = "blocks"  // inputs and outputs of jobs, own and foreign
	Results Kind = "results" // of own finished jobs; they lie among the blocks
	Logs    Kind = "logs"    // what the node must not forget, and what it writes about itself
	Scratch Kind = "scratch" // files of running tasks, and their programs as they were compiled for this machine
	Models  Kind = "models"  // fetched models
	Other   Kind = "other"   // settings, keys, lists of peers
)

// Kinds lists them.
func Kinds() []Kind { return []Kind{Blocks, Results, Logs, Scratch, Models, Other} }

// Of tells the kind of a file by its path below the data folder, slash-separated. Results are blocks to it.
func Of(name string) Kind {
	top, _, _ := strings.Cut(path.Clean(name), "/")
	switch Kind(top) {
	case Blocks, Scratch, Models:
		return Kind(top)
	case "log":
		return Logs
	case "code":
		return Scratch
	}
	return Other
}

// Use is how much a kind has, and how much it may have.
type Use struct {
	Kind  Kind
	Bytes int64
	Most  int64 // 0: no limit of its own
}

// Over reports whether it has more than it may.
func (u Use) Over() bool { return u.Most > 0 && u.Bytes > u.Most }

// Item is one thing that can go by itself.
type Item struct {
	Name  string
	Bytes int64
	At    time.Time // last used, or made
}

// Drop says which items have to go so that the rest fits into most bytes: the oldest first, and of the same age the
// largest. 0: no limit.
func Drop(items []Item, most int64) []Item {
	var sum int64
	for _, it := range items {
		sum += max(it.Bytes, 0)
	}
	if most <= 0 || sum <= most {
		return nil
	}
	items = slices.Clone(items)
	slices.SortFunc(items, func(a, b Item) int {
		return cmp.Or(a.At.Compare(b.At), cmp.Compare(b.Bytes, a.Bytes), cmp.Compare(a.Name, b.Name))
	})
	n := 0
	for ; n < len(items) && sum > most; n++ {
		sum -= max(items[n].Bytes, 0)
	}
	return items[:n]
}
