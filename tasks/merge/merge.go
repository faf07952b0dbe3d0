// Package merge joins the accepted parts of a job into one result as they come. It is a pure fold: a Tree is told which
// parts were accepted and which merges are done, and says which merges have become possible. Parts are joined in order
// by sixteens, then those results by sixteens, until one is left; because a kind's Merge is associative, the shape of
// the tree never shows in the result. A merge is issued once; replaying the same events gives the same tree, and
// Pending says which of the issued merges are still to be done.
package merge

import (
	"errors"
	"fmt"

	"kith/storage/dag"
)

// FanIn is how many neighbours one step joins at most.
const FanIn = 16

// MaxParts bounds a tree.
const MaxParts = 1 << 20

// Errors of a tree. Match them with errors.Is.
var (
	// ErrRange: no such part or step.
	ErrRange = errors.New("no such part or merge step")
	// ErrConflict: the part or step has another root already.
	ErrConflict = errors.New("already has another root")
	// ErrEarly: the step's inputs are not all there.
	ErrEarly = errors.New("merge step is not possible yet")
)

// Step is one merge: Inputs, 2 to FanIn neighbouring roots in order, become output Index of Level. Level 1 joins parts.
type Step struct {
	Level  int       `cbor:"level" json:"level"`
	Index  int       `cbor:"i" json:"index"`
	Inputs []dag.CID `cbor:"in" json:"inputs"` // not to be changed
}

// Tree is the state of one job's merge. The zero Tree is not useful; it is not safe for concurrent use.
type Tree struct {
	parts  int
	levels [][]group // levels[l] makes the outputs of level l+1
	root   dag.CID
}

// group is the inputs of one output.
type group struct {
	roots []dag.CID // nil before the first and after the output is there
	have  int
	done  bool
}

// New makes the tree for 1 to MaxParts parts.
func New(parts int) (*Tree, error) {
	if parts < 1 || parts > MaxParts {
		return nil, fmt.Errorf("%w: %d parts, want 1 to %d", ErrRange, parts, MaxParts)
	}
	t := &Tree{parts: parts}
	for n := parts; n > 1; {
		n = (n + FanIn - 1) / FanIn
		t.levels = append(t.levels, make([]group, n))
	}
	return t, nil
}

// Parts is the number of parts.
func (t *Tree) Parts() int { return t.parts }

// width is how many outputs level l has; level 0 is the parts.
func (t *Tree) width(l int) int {
	if l == 0 {
		return t.parts
	}
	return len(t.levels[l-1])
}

// Accept records the root of part i and returns the steps that became possible. The same part with the same root again
// changes nothing.
func (t *Tree) Accept(i int, root dag.CID) ([]Step, error) { return t.put(0, i, root) }

// Done records the result of a step and returns the steps that became possible. The same result again changes nothing.
func (t *Tree) Done(level, index int, root dag.CID) ([]Step, error) {
	if level < 1 || level > len(t.levels) || index < 0 || index >= t.width(level) {
		return nil, fmt.Errorf("%w: step %d of level %d", ErrRange, index, level)
	}
	g := &t.levels[level-1][index]
	if !g.done {
		if g.have < t.fan(level-1, index) {
			return nil, fmt.Errorf("%w: step %d of level %d has %d of %d inputs", ErrEarly, index, level, g.have, t.fan(level-1, index))
		}
		if !root.Defined() {
			return nil, fmt.Errorf("%w: step %d of level %d: no root", ErrRange, index, level)
		}
		g.done, g.roots = true, nil
	}
	return t.put(level, index, root)
}

// fan is how many inputs group i of levels[l] has.
func (t *Tree) fan(l, i int) int { return min(FanIn, t.width(l)-i*FanIn) }

// put records the root of output i of level l in the group above it.
func (t *Tree) put(l, i int, root dag.CID) ([]Step, error) {
	if i < 0 || i >= t.width(l) || !root.Defined() {
		return nil, fmt.Errorf("%w: part %d of level %d", ErrRange, i, l)
	}
	if l == len(t.levels) {
		if t.root.Defined() && t.root != root {
			return nil, fmt.Errorf("result: %w", ErrConflict)
		}
		t.root = root
		return nil, nil
	}
	at := i / FanIn
	g, fan := &t.levels[l][at], t.fan(l, at)
	if g.done {
		return nil, nil // joined long ago
	}
	if g.roots == nil {
		g.roots = make([]dag.CID, fan)
	}
	if old := g.roots[i%FanIn]; old.Defined() {
		if old != root {
			return nil, fmt.Errorf("part %d of level %d: %w", i, l, ErrConflict)
		}
		return nil, nil
	}
	g.roots[i%FanIn] = root
	g.have++
	switch {
	case g.have < fan:
		return nil, nil
	case fan == 1: // nothing to join
		g.done, g.roots = true, nil
		return t.put(l+1, at, root)
	}
	return []Step{{Level: l + 1, Index: at, Inputs: g.roots}}, nil
}

// Pending returns the steps that were issued and are not done, lowest level first, in order.
func (t *Tree) Pending() []Step {
	var steps []Step
	for l := range t.levels {
		for i := range t.levels[l] {
			g := &t.levels[l][i]
			if !g.done && g.have > 0 && g.have == t.fan(l, i) {
				steps = append(steps, Step{Level: l + 1, Index: i, Inputs: g.roots})
			}
		}
	}
	return steps
}

// Result returns the root of everything, once it is there.
func (t *Tree) Result() (dag.CID, bool) { return t.root, t.root.Defined() }

// Snapshot is a tree as a value.
type Snapshot struct {
	Parts  int     `cbor:"parts"`
	Levels []Level `cbor:"levels"`
	Root   dag.CID `cbor:"root"`
}

// Level is one level of a snapshot.
type Level struct {
	Done []byte `cbor:"done"` // bit i%8 of byte i/8: output i is there
	Open []Open `cbor:"open"` // outputs with some inputs, in order
}

// Open is one output that is not there yet.
type Open struct {
	Index int       `cbor:"i"`
	Roots []dag.CID `cbor:"in"` // the zero CID where one is missing
}

// Snapshot returns the state. It shares nothing with the tree.
func (t *Tree) Snapshot() Snapshot {
	s := Snapshot{Parts: t.parts, Root: t.root, Levels: make([]Level, len(t.levels))}
	for l := range t.levels {
		s.Levels[l].Done = make([]byte, (len(t.levels[l])+7)/8)
		for i := range t.levels[l] {
			switch g := &t.levels[l][i]; {
			case g.done:
				s.Levels[l].Done[i/8] |= 1 << (i % 8)
			case g.have > 0:
				s.Levels[l].Open = append(s.Levels[l].Open, Open{Index: i, Roots: append([]dag.CID(nil), g.roots...)})
			}
		}
	}
	return s
}

// Restore makes the tree a snapshot was taken of.
func Restore(s Snapshot) (*Tree, error) {
	t, err := New(s.Parts)
	if err != nil {
		return nil, err
	}
	if len(s.Levels) != len(t.levels) {
		return nil, fmt.Errorf("%w: snapshot of %d levels, want %d", ErrRange, len(s.Levels), len(t.levels))
	}
	t.root = s.Root
	for l := range t.levels {
		level := t.levels[l]
		if len(s.Levels[l].Done) != (len(level)+7)/8 {
			return nil, fmt.Errorf("%w: level %d of the snapshot has another width", ErrRange, l)
		}
		for i := range level {
			level[i].done = s.Levels[l].Done[i/8]&(1<<(i%8)) != 0
			if level[i].done {
				level[i].have = t.fan(l, i)
			}
		}
		for _, o := range s.Levels[l].Open {
			if o.Index < 0 || o.Index >= len(level) || level[o.Index].done || level[o.Index].roots != nil || len(o.Roots) != t.fan(l, o.Index) {
				return nil, fmt.Errorf("%w: output %d of level %d of the snapshot", ErrRange, o.Index, l)
			}
			g := &level[o.Index]
			g.roots = append([]dag.CID(nil), o.Roots...)
			for _, r := range g.roots {
				if r.Defined() {
					g.have++
				}
			}
		}
	}
	return t, nil
}
