package trust

import (
	"bytes"

	"kith/tasks"
)

// graph is who contradicts whom in a book's cases. It is kept as they come and go, so that a new one costs no more than the
// part of the graph that hangs together with it.
type graph struct {
	in      []bool // of the book's cases, in their order: those that are laid out
	voices  map[tasks.NodeID]*voice
	groups  map[string]map[*voice]struct{}
	touched map[*voice]struct{} // since parts was called: what was said of their part may be so no longer
}

// voice is one node in the graph.
type voice struct {
	id      tasks.NodeID
	group   string         // in its newest case; of a node without one, its own
	against map[*voice]int // voices it contradicts, and how often
	cases   int            // results in them
	won     int            // of those, on the side of the verdict
	part    int            // its place in the part that is looked at, plus one; 0: in none yet
	every   bool           // see covers
	none    bool
	lied    bool
}

// layOut returns the graph of the contradictions that still count, and whether it was laid out anew.
func (b *Book) layOut(now int64) (g *graph, anew bool) {
	counts := func(c *Case) bool { return now-c.At < lieMillis }
	if g = b.graph; g != nil {
		for i := range g.in {
			if g.in[i] != counts(&b.cases[i]) {
				g = nil
				break
			}
		}
	}
	if g == nil {
		anew = true
		g = &graph{voices: map[tasks.NodeID]*voice{}, groups: map[string]map[*voice]struct{}{}, touched: map[*voice]struct{}{}}
		b.graph = g
	}
	for i := len(g.in); i < len(b.cases); i++ {
		in := counts(&b.cases[i])
		if g.in = append(g.in, in); in {
			g.add(&b.cases[i])
		}
	}
	return g, anew
}

func (g *graph) touch(id tasks.NodeID) {
	if v := g.voices[id]; v != nil {
		g.touched[v] = struct{}{}
	}
}

// move puts a voice into a group. What the others of a group weigh depends on how many they are.
func (g *graph) move(v *voice, group string) {
	if v.group == group {
		return
	}
	if at := g.groups[v.group]; at != nil {
		if delete(at, v); len(at) == 0 {
			delete(g.groups, v.group)
		}
		for o := range at {
			g.touched[o] = struct{}{}
		}
	}
	if v.group = group; group == "" {
		return
	}
	at := g.groups[group]
	if at == nil {
		at = map[*voice]struct{}{}
		g.groups[group] = at
	}
	at[v] = struct{}{}
	for o := range at {
		g.touched[o] = struct{}{}
	}
}

// add lays out a contradiction that is newer than all others.
func (g *graph) add(c *Case) {
	for i := range c.Sides {
		s := &c.Sides[i]
		v := g.voices[s.Node]
		if v == nil {
			v = &voice{id: s.Node, against: map[*voice]int{}}
			g.voices[s.Node] = v
		}
		group := s.Group
		if group == "" {
			group = string(s.Node[:])
		}
		g.move(v, group)
		g.touched[v] = struct{}{}
		v.cases++
		if s.Won {
			v.won++
		}
	}
	g.pairs(c, func(x, y *voice) {
		x.against[y]++
		y.against[x]++
	})
}

// drop takes the oldest contradiction out. Those who lied in it stay liars: see addCase.
func (g *graph) drop(c *Case) {
	g.pairs(c, func(x, y *voice) {
		x.forget(y)
		y.forget(x)
	})
	for i := range c.Sides {
		s := &c.Sides[i]
		v := g.voices[s.Node]
		v.cases--
		if s.Won {
			v.won--
		}
		g.touched[v] = struct{}{}
		if v.cases == 0 {
			g.move(v, "")
			delete(g.voices, v.id)
			delete(g.touched, v)
		}
	}
}

// pairs visits the voices that contradict each other in a case.
func (g *graph) pairs(c *Case, visit func(x, y *voice)) {
	for i := range c.Sides {
		for j := range c.Sides[:i] {
			if !bytes.Equal(c.Sides[i].Root, c.Sides[j].Root) {
				visit(g.voices[c.Sides[i].Node], g.voices[c.Sides[j].Node])
			}
		}
	}
}

func (v *voice) forget(o *voice) {
	if v.against[o]--; v.against[o] == 0 {
		delete(v.against, o)
	}
}

// parts returns the parts of the graph that something has touched: whoever contradicts one of a part is in it.
func (g *graph) parts() (list [][]*voice) {
	for v := range g.touched {
		if v.part > 0 {
			continue
		}
		var part []*voice
		reach := func(o *voice) {
			if o.part == 0 {
				part = append(part, o)
				o.part = len(part)
			}
		}
		reach(v)
		for i := 0; i < len(part); i++ {
			for o := range part[i].against {
				reach(o)
			}
		}
		list = append(list, part)
	}
	clear(g.touched)
	return list
}

// solve finds which of a part are in every cheapest cover of its contradictions, and which in none. Who is known to have
// lied anyway is left out.
func (g *graph) solve(part []*voice, known func(tasks.NodeID) bool) {
	edges := 0
	for _, v := range part {
		v.lied = known(v.id)
		edges += len(v.against)
	}
	weight, near, all := make([]int, len(part)), make([][]int, len(part)), make([]int, 0, edges)
	for i, v := range part {
		weight[i] = max(1, groupWeight*(surprise+min(v.won, surprise))/(surprise+min(v.cases-v.won, surprise))/len(g.groups[v.group]))
		from := len(all)
		for o := range v.against {
			if !v.lied && !o.lied {
				all = append(all, o.part-1)
			}
		}
		near[i] = all[from:]
	}
	every, none := covers(weight, near)
	for i, v := range part {
		v.every, v.none, v.lied, v.part = every[i], none[i], v.lied || every[i], 0
	}
}
