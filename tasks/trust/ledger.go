package trust

import (
	"cmp"
	"fmt"
	"slices"

	"kith/tasks"
)

// Ledger is what a book knows beside its records, or what has changed of that.
type Ledger struct {
	Verdicts int64          `cbor:"verdicts"`
	Skills   []Skill        `cbor:"skills"`
	Cases    []Case         `cbor:"cases"`
	Lies     []Lie          `cbor:"lies"`    // all there are
	Appeals  []tasks.NodeID `cbor:"appeals"` // granted before the rest
}

// Ledger returns everything.
func (b *Book) Ledger() Ledger {
	l := Ledger{Verdicts: b.verdicts, Cases: b.cases, Lies: b.lieList()}
	for k, s := range b.skills {
		l.Skills = append(l.Skills, Skill{k.node, k.what, s})
	}
	l.sort()
	return l
}

// Changes returns what is new since the last call, and whether there is anything.
func (b *Book) Changes() (l Ledger, any bool) {
	if len(b.touched) == 0 && len(b.newCases) == 0 {
		return l, false
	}
	l = Ledger{Verdicts: b.verdicts, Cases: b.newCases, Lies: b.lieList()}
	for k := range b.touched {
		l.Skills = append(l.Skills, Skill{k.node, k.what, b.skills[k]})
	}
	clear(b.touched)
	b.newCases = nil
	l.sort()
	return l, true
}

func (b *Book) lieList() []Lie {
	list := make([]Lie, 0, len(b.lies))
	for _, id := range sorted(b.lies) {
		list = append(list, b.lies[id])
	}
	return list
}

func (l *Ledger) sort() {
	slices.SortFunc(l.Skills, func(x, y Skill) int {
		return cmp.Or(slices.Compare(x.Node[:], y.Node[:]), cmp.Compare(x.What, y.What))
	})
}

// maxName bounds the text of kinds, classes and groups in a ledger.
const maxName = 1024

// Fold adds what Ledger or Changes gave.
func (b *Book) Fold(l *Ledger) error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s", ErrSnapshot, fmt.Sprintf(format, args...))
	}
	if l.Verdicts < 0 || l.Verdicts > mostCount || len(l.Cases) > MaxCases || len(l.Lies) > MaxNodes || len(l.Skills) > 4*MaxNodes {
		return bad("%d verdicts, %d cases, %d lies, %d skills", l.Verdicts, len(l.Cases), len(l.Lies), len(l.Skills))
	}
	for i := range l.Skills {
		if s := &l.Skills[i]; len(s.What) > maxName || !s.Standing.valid() {
			return bad("standing of %s", s.Node)
		}
	}
	for i := range l.Cases {
		c := &l.Cases[i]
		if len(c.Sides) > 64 || len(c.What) > maxName || c.At < 0 {
			return bad("case of %d results", len(c.Sides))
		}
		for j := range c.Sides {
			if s := &c.Sides[j]; len(s.Root) > 64 || len(s.Group) > maxName {
				return bad("result in the case of task %s", c.Task)
			}
		}
	}
	for i := range l.Lies {
		if x := &l.Lies[i]; x.At < 0 || x.Until < x.At || x.Until-x.At > lieMillis || x.Accusers < 0 {
			return bad("lie of %s", x.Node)
		}
	}
	for _, id := range l.Appeals {
		b.Appeal(id)
	}
	b.verdicts = max(b.verdicts, l.Verdicts)
	for i := range l.Skills {
		b.setSkill(skill{l.Skills[i].Node, l.Skills[i].What}, l.Skills[i].Standing)
	}
	for _, c := range l.Cases {
		b.addCase(c)
	}
	b.graph = nil
	clear(b.lies)
	for _, x := range l.Lies {
		b.lies[x.Node] = x
	}
	b.remember()
	clear(b.touched)
	b.newCases = nil
	return nil
}
