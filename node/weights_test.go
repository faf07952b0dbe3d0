package node

import (
	"testing"

	"kith/tasks"
)

func TestWeights(t *testing.T) {
	friend, other := tasks.NodeID{1}, tasks.NodeID{2}
	list := []string{"etl.*=2", "etl.dedup=5", friend.String() + "=3", "wasm=7", "broken", "x=0"}
	for _, c := range []struct {
		who  tasks.NodeID
		kind string
		want int
	}{
		{other, "test.noop", 1}, {other, "etl.hash", 2}, {other, "etl.dedup", 5}, {other, "wasm", 7}, {friend, "test.noop", 3}, {friend, "etl.dedup", 15}, {other, "x", 1},
	} {
		if got := weight(list, c.who, c.kind); got != c.want {
			t.Errorf("%s for %s: %d, want %d", c.kind, c.who.Short(), got, c.want)
		}
	}
}
