package trust

import (
	"bytes"
	"cmp"
	"maps"
	"slices"

	"kith/tasks"
)

// A lie is proven by who disagrees with whom. Honest nodes never contradict one another, so the nodes that lie cover
// every contradiction: of two results that differ, at least one is of theirs. The smallest explanation is taken to be the
// true one: a liar is who is in every cheapest cover of the graph of contradictions and is contradicted by enough
// independent groups of nodes that are not themselves liars. What a node costs says how much it would surprise: more if
// it carried verdicts, less if it was outvoted; and the nodes of one group cost no more together than a node that is its
// own, so that a swarm behind one address outweighs nobody. The covers are found anew with every new contradiction. A liar
// stays one while some cheapest cover has it, so that nodes outvoted by colluders are cleared when the colluders are
// found, and colluders are not because two explanations come to cost the same. Covers are cheapest part by part, so that only
// the part of the graph that a contradiction belongs to is looked at again (graph).

// Proof of lies.
const (
	// accusers is how many independent groups must contradict a node.
	accusers = 3
	// lasting is how many must still do so later: one of them may have been a liar who spoke the truth that time.
	lasting = 2
	// groupWeight is what the nodes of one group weigh together, at least 1 each.
	groupWeight = 1 << 16
	// surprise bounds what verdicts say of a node: up to twice as much for one that carried them, half for one that was
	// outvoted.
	surprise = 8
	// MaxCases bounds the contradictions kept. What an older one proved stays.
	MaxCases = 1024
	// lieMillis is how long a liar is shut out. Then it is a newcomer.
	lieMillis = HalfLifeDays * dayMillis
)

// Side is one result in a contradiction.
type Side struct {
	Node  tasks.NodeID `cbor:"node" json:"node"`
	Group string       `cbor:"group" json:"group,omitempty"`
	Root  []byte       `cbor:"root" json:"-"`
	Won   bool         `cbor:"won" json:"won"` // at the verdict; it may have been overturned since
}

// Case is one task whose results contradict each other.
type Case struct {
	Task  tasks.TaskID `cbor:"task" json:"task"`
	What  string       `cbor:"what" json:"what"`
	At    int64        `cbor:"at" json:"at"` // Unix milliseconds
	Sides []Side       `cbor:"sides" json:"sides"`
}

// Lie is why and until when a node is shut out.
type Lie struct {
	Node     tasks.NodeID `cbor:"node" json:"node"`
	At       int64        `cbor:"at" json:"at"`
	Until    int64        `cbor:"until" json:"until"`
	Accusers int          `cbor:"by" json:"accusers"` // independent groups that contradict it
	Closed   bool         `cbor:"closed" json:"-"`    // a contradiction it rests on is no longer kept: it stays until Until
}

func (b *Book) addCase(c Case) {
	b.cases = append(b.cases, c)
	b.newCases = append(b.newCases, c)
	if len(b.cases) <= b.room {
		return
	}
	for _, s := range b.cases[0].Sides {
		if l, ok := b.lies[s.Node]; ok {
			l.Closed = true
			b.lies[s.Node] = l
		}
	}
	if g := b.graph; g != nil && len(g.in) > 0 {
		if g.in[0] {
			g.drop(&b.cases[0])
		}
		g.in = append(g.in[:0], g.in[1:]...)
	}
	b.cases = append(b.cases[:0], b.cases[1:]...)
}

// judge finds the liars anew, where something has changed: what is contradicted by nobody that a new contradiction concerns
// stands as it stood.
func (b *Book) judge(now int64) (lied, cleared []tasks.NodeID) {
	g, anew := b.layOut(now)
	for id, l := range b.lies {
		if now >= l.Until {
			delete(b.lies, id)
			g.touch(id)
		}
	}
	var asked []tasks.NodeID // who may be cleared
	if anew {
		asked = sorted(b.lies)
	}
	found := map[tasks.NodeID]int{}
	seen := map[string]struct{}{}
	for _, part := range g.parts() {
		g.solve(part, func(id tasks.NodeID) bool { return b.lies[id].Closed })
		for _, v := range part {
			l, before := b.lies[v.id]
			if before && !l.Closed {
				asked = append(asked, v.id)
			}
			least := accusers
			if before && !v.none {
				least = lasting
			} else if !v.every {
				continue
			}
			clear(seen)
			for o := range v.against {
				if !o.lied {
					seen[o.group] = struct{}{}
				}
			}
			if len(seen) >= least {
				found[v.id] = len(seen)
			}
		}
	}
	for _, id := range sorted(found) {
		l, known := b.lies[id]
		if !known {
			lied = append(lied, id)
			l = Lie{Node: id, At: now, Until: now + lieMillis}
			for k := range b.skills {
				if k.node == id {
					b.setSkill(k, Standing{Day: now / dayMillis})
				}
			}
		}
		l.Accusers = max(l.Accusers, found[id])
		b.lies[id] = l
	}
	for _, id := range asked {
		_, still := found[id]
		if l, known := b.lies[id]; known && !still && !l.Closed {
			cleared = append(cleared, id)
			delete(b.lies, id)
		}
	}
	slices.SortFunc(cleared, func(x, y tasks.NodeID) int { return bytes.Compare(x[:], y[:]) })
	b.remember()
	return lied, cleared
}

// remember notes when the newest lie was proven.
func (b *Book) remember() {
	b.alarm = 0
	for _, l := range b.lies {
		b.alarm = max(b.alarm, l.At)
	}
}

func sorted[V any](m map[tasks.NodeID]V) []tasks.NodeID {
	return slices.SortedFunc(maps.Keys(m), func(x, y tasks.NodeID) int { return bytes.Compare(x[:], y[:]) })
}

// Appeal gives a node another chance: what it is contradicted by counts no more, and it begins as a newcomer, whose
// every result is compared until ten in a row agree. Proof that it signed stays. It reports whether there was anything.
func (b *Book) Appeal(node tasks.NodeID) bool {
	_, any := b.lies[node]
	delete(b.lies, node)
	b.remember()
	b.graph = nil // laid out when it is wanted again
	for i := range b.cases {
		c := &b.cases[i]
		kept := slices.DeleteFunc(slices.Clone(c.Sides), func(s Side) bool { return s.Node == node })
		any = any || len(kept) < len(c.Sides)
		c.Sides = kept
	}
	if r, ok := b.records[node]; ok && r.Forged > 0 {
		any = true
		r.Forged = 0
		b.records[node] = r
	}
	for k := range b.skills {
		if k.node == node {
			b.setSkill(k, Standing{Day: b.skills[k].Day})
		}
	}
	return any
}

// Lies returns who is shut out for lying, the newest first.
func (b *Book) Lies(now int64) (list []Lie) {
	for _, l := range b.lies {
		if now < l.Until {
			list = append(list, l)
		}
	}
	slices.SortFunc(list, func(x, y Lie) int { return cmp.Or(cmp.Compare(y.At, x.At), bytes.Compare(x.Node[:], y.Node[:])) })
	return list
}

// Cases returns the contradictions a node was part of, oldest first.
func (b *Book) Cases(node tasks.NodeID) (list []Case) {
	for _, c := range b.cases {
		if slices.ContainsFunc(c.Sides, func(s Side) bool { return s.Node == node }) {
			list = append(list, c)
		}
	}
	return list
}
