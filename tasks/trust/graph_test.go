package trust

import (
	"bytes"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"

	"kith/storage/dag"
	"kith/tasks"
	"pgregory.net/rapid"
)

// plain judges as the comment in lies.go says it, over everything and every time anew.
type plain struct {
	cases []Case
	lies  map[tasks.NodeID]Lie
	room  int
}

func (p *plain) verdict(c Case, now int64) (lied, cleared []tasks.NodeID) {
	if p.cases = append(p.cases, c); len(p.cases) > p.room {
		for _, s := range p.cases[0].Sides {
			if l, ok := p.lies[s.Node]; ok {
				l.Closed = true
				p.lies[s.Node] = l
			}
		}
		p.cases = p.cases[1:]
	}
	return p.judge(now)
}

func (p *plain) judge(now int64) (lied, cleared []tasks.NodeID) {
	maps.DeleteFunc(p.lies, func(_ tasks.NodeID, l Lie) bool { return now >= l.Until })
	group, won, lost, against := map[tasks.NodeID]string{}, map[tasks.NodeID]int{}, map[tasks.NodeID]int{}, map[tasks.NodeID]map[tasks.NodeID]bool{}
	for _, c := range p.cases {
		if now-c.At >= lieMillis {
			continue
		}
		for i, s := range c.Sides {
			if group[s.Node] = s.Group; s.Group == "" {
				group[s.Node] = string(s.Node[:])
			}
			if against[s.Node] == nil {
				against[s.Node] = map[tasks.NodeID]bool{}
			}
			if s.Won {
				won[s.Node]++
			} else {
				lost[s.Node]++
			}
			for _, o := range c.Sides[:i] {
				if !bytes.Equal(s.Root, o.Root) {
					against[s.Node][o.Node], against[o.Node][s.Node] = true, true
				}
			}
		}
	}
	all := sorted(against)
	members := map[string]int{}
	for _, id := range all {
		members[group[id]]++
	}
	weight, near := make([]int, len(all)), make([][]int, len(all))
	for i, id := range all {
		weight[i] = max(1, groupWeight*(surprise+min(won[id], surprise))/(surprise+min(lost[id], surprise))/members[group[id]])
		for j, o := range all {
			if against[id][o] && !p.lies[id].Closed && !p.lies[o].Closed {
				near[i] = append(near[i], j)
			}
		}
	}
	every, none := covers(weight, near)
	liar := map[tasks.NodeID]bool{}
	for i, id := range all {
		liar[id] = p.lies[id].Closed || every[i]
	}
	found := map[tasks.NodeID]int{}
	for i, id := range all {
		groups := map[string]bool{}
		for o := range against[id] {
			if !liar[o] {
				groups[group[o]] = true
			}
		}
		_, before := p.lies[id]
		if every[i] && len(groups) >= accusers || before && !none[i] && len(groups) >= lasting {
			found[id] = len(groups)
		}
	}
	for _, id := range sorted(found) {
		l, known := p.lies[id]
		if !known {
			lied = append(lied, id)
			l = Lie{Node: id, At: now, Until: now + lieMillis}
		}
		l.Accusers = max(l.Accusers, found[id])
		p.lies[id] = l
	}
	for _, id := range sorted(p.lies) {
		if _, still := found[id]; !still && !p.lies[id].Closed {
			cleared = append(cleared, id)
			delete(p.lies, id)
		}
	}
	return lied, cleared
}

// Whatever comes, a book that looks only where something has changed judges as one that looks at everything: contradictions
// new, forgotten and out of date, nodes that change their group, appeals, a clock that is set, a restart.
func TestJudgesAsAWhole(t *testing.T) {
	judged, freed := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		b := NewBook()
		b.room = rapid.IntRange(1, 14).Draw(t, "room")
		p := &plain{lies: map[tasks.NodeID]Lie{}, room: b.room}
		at := now
		nodes := rapid.IntRange(4, 30).Draw(t, "nodes")
		for i := range rapid.IntRange(1, 50).Draw(t, "length") {
			switch rapid.IntRange(0, 24).Draw(t, "what") {
			case 0:
				at += lieMillis / int64(rapid.IntRange(1, 4).Draw(t, "later"))
			case 1:
				at -= dayMillis
			case 2:
				id := tasks.NodeID{byte(rapid.IntRange(0, nodes).Draw(t, "appeals"))}
				b.Appeal(id)
				delete(p.lies, id)
				for k := range p.cases {
					p.cases[k].Sides = slices.DeleteFunc(slices.Clone(p.cases[k].Sides), func(s Side) bool { return s.Node == id })
				}
			case 3:
				l := b.Ledger()
				b = NewBook()
				b.room = p.room
				if err := b.Fold(&l); err != nil {
					t.Fatal(err)
				}
			}
			var votes []Vote
			c := Case{Task: tasks.TaskID{byte(i)}, What: "x", At: at}
			for k := range rapid.IntRange(2, 7).Draw(t, "results") {
				n := byte(rapid.IntRange(0, nodes).Draw(t, "node"))
				v := Vote{Node: tasks.NodeID{n}, Root: good, Won: true}
				if lies := n%4 == 0; k == 0 || lies && rapid.Bool().Draw(t, "lies") {
					v.Root, v.Won = dag.Sum(dag.Raw, dag.SHA256, []byte{byte(rapid.IntRange(0, 1).Draw(t, "says"))}), false
				}
				switch rapid.IntRange(0, 9).Draw(t, "group") {
				case 0:
					v.Group = "elsewhere"
				case 1, 2, 3, 4:
					v.Group = fmt.Sprint("g", n%3)
				}
				votes = append(votes, v)
				c.Sides = append(c.Sides, Side{Node: v.Node, Group: v.Group, Root: v.Root[:], Won: v.Won})
			}
			lied, cleared := b.Verdict(c.Task, c.What, votes, at)
			var lied2, cleared2 []tasks.NodeID
			if slices.ContainsFunc(votes, func(v Vote) bool { return v.Won }) {
				lied2, cleared2 = p.verdict(c, at)
			}
			if !slices.Equal(lied, lied2) || !slices.Equal(cleared, cleared2) || !reflect.DeepEqual(b.lies, p.lies) {
				t.Fatalf("step %d: lied %v, cleared %v, lies %v\nwant lied %v, cleared %v, lies %v", i, lied, cleared, b.lies, lied2, cleared2, p.lies)
			}
			judged, freed = judged+len(lied), freed+len(cleared)
		}
	})
	t.Logf("%d lies were proven and %d taken back", judged, freed)
	if judged < 20 || freed == 0 {
		t.Errorf("only %d lies were proven and %d taken back", judged, freed)
	}
}
