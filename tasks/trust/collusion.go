package trust

import (
	"bytes"
	"cmp"
	"math"
	"slices"

	"kith/tasks"
)

// Collusion is how often a node gave the same rejected result as nodes of other groups. Two nodes that are wrong
// independently hardly ever give the same wrong bytes; sameByChance allows for a fault they have in common.
type Collusion struct {
	Node   tasks.NodeID   `json:"node"`
	Same   int            `json:"same"`   // rejected results of other groups equal to its own
	Of     int            `json:"of"`     // rejected results of other groups in the same tasks
	With   []tasks.NodeID `json:"with"`   // whose they are
	Chance float64        `json:"chance"` // of at least Same of Of by accident
}

// Collusion scores.
const (
	sameByChance = 0.001
	// Colluding is the chance below which a node counts as colluding.
	Colluding = 0.01
)

// Collusions returns the nodes that gave rejected results, the most suspicious first. A result is rejected if nobody
// gave it who is not a liar, and somebody who is not gave another: liars among themselves may also have spoken the truth.
func (b *Book) Collusions(now int64) []Collusion {
	at := map[tasks.NodeID]*Collusion{}
	for k := range b.cases {
		c := &b.cases[k]
		var rejected []*Side
		someone := false // of those who are no liars
		for i := range c.Sides {
			s := &c.Sides[i]
			honest := false
			for j := range c.Sides {
				o := &c.Sides[j]
				if l, lied := b.lies[o.Node]; bytes.Equal(o.Root, s.Root) && !(lied && now < l.Until) {
					honest = true
				}
			}
			if someone = someone || honest; !honest {
				rejected = append(rejected, s)
			}
		}
		if !someone {
			continue
		}
		for _, s := range rejected {
			x := at[s.Node]
			if x == nil {
				x = &Collusion{Node: s.Node}
				at[s.Node] = x
			}
			for _, o := range rejected {
				if o.Node == s.Node || o.Group != "" && o.Group == s.Group {
					continue
				}
				x.Of++
				if bytes.Equal(o.Root, s.Root) {
					x.Same++
					if !slices.Contains(x.With, o.Node) {
						x.With = append(x.With, o.Node)
					}
				}
			}
		}
	}
	out := make([]Collusion, 0, len(at))
	for _, x := range at {
		x.Chance = tail(x.Of, x.Same, sameByChance)
		slices.SortFunc(x.With, func(a, b tasks.NodeID) int { return bytes.Compare(a[:], b[:]) })
		out = append(out, *x)
	}
	slices.SortFunc(out, func(x, y Collusion) int {
		return cmp.Or(cmp.Compare(x.Chance, y.Chance), bytes.Compare(x.Node[:], y.Node[:]))
	})
	return out
}

// tail is the chance of at least k successes in n trials of probability p.
func tail(n, k int, p float64) float64 {
	sum, term := 0.0, math.Pow(1-p, float64(n))
	for i := range k {
		sum += term
		term *= float64(n-i) / float64(i+1) * p / (1 - p)
	}
	return max(0, 1-sum)
}
