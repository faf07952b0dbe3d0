package match

import (
	"testing"

	"kith/tasks"
)

func TestLifeOfALease(t *testing.T) {
	for _, c := range []struct {
		name        string
		share, kept int
		want        int64
	}{
		{"says nothing", 0, 1000, 1000},
		{"always there", 1000, 1000, 1000},
		{"half of the time", 500, 1000, 2000},
		{"a quarter", 250, 1000, 4000},
		{"hardly ever", 1, 1000, 4000},
		{"more than always", 2000, 1000, 1000},
		{"below nothing", -5, 1000, 1000},
		{"half of the time, and keeps half of its leases", 500, 500, 1500},
		{"half of the time, and keeps none", 500, 0, 1000},
		{"keeps more than all", 500, 5000, 2000},
	} {
		if got := (Stay{Share: c.share}).Life(1000, c.kept); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

// A task longer than a node usually stays goes to another, wherever that is, and to that node if there is none.
func TestLongTasksGoToThoseWhoStay(t *testing.T) {
	short := Node{ID: tasks.NodeID{1}, Free: 1, Reliable: 1000, Honest: 1000, Stay: Stay{Millis: 60_000}}
	far := Node{ID: tasks.NodeID{2}, Free: 1, Reliable: 1000, Honest: 1000, RTT: 2000, Load: 1000, Relayed: true}
	slow := short
	slow.ID, slow.Pace = tasks.NodeID{3}, 4000
	for _, c := range []struct {
		name  string
		takes int64
		nodes []Node
		want  int
		short int
	}{
		{"nobody knows how long it takes", 0, []Node{short, far}, 0, 0},
		{"a short one", 60_000, []Node{short, far}, 0, 0},
		{"a long one", 60_001, []Node{short, far}, 1, 1},
		{"a long one, and only who leaves", 60_001, []Node{short}, 0, 1},
		{"a short one that is long for a slow node", 20_000, []Node{slow, far}, 1, 1},
		{"busy are all who stay", 60_001, []Node{short, {ID: tasks.NodeID{2}, Honest: 1000}}, 0, 1},
	} {
		got, s := Choose(&Need{Takes: c.takes}, c.nodes)
		if got != c.want || s.Short != c.short {
			t.Errorf("%s: node %d and %d that leave, want %d and %d", c.name, got, s.Short, c.want, c.short)
		}
	}
}
