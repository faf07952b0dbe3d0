package trust

import (
	"math/rand/v2"
	"slices"
	"testing"

	"kith/tasks"
)

// cheapest tries every cover by halves and returns which vertices are whole in all the cheapest, and which in none at all.
func cheapest(weight []int, near [][]int) (every, none []bool) {
	n := len(weight)
	best, x := -1, make([]int, n)
	every, none = make([]bool, n), make([]bool, n)
	total := 1
	for range n {
		total *= 3
	}
	for code := range total {
		cost := 0
		for v, c := 0, code; v < n; v, c = v+1, c/3 {
			x[v] = c % 3
			cost += x[v] * weight[v]
		}
		covers := true
		for v := range n {
			for _, o := range near[v] {
				covers = covers && x[v]+x[o] >= 2
			}
		}
		switch {
		case !covers || best >= 0 && cost > best:
		case cost == best:
			for v := range n {
				every[v], none[v] = every[v] && x[v] == 2, none[v] && x[v] == 0
			}
		default:
			best = cost
			for v := range n {
				every[v], none[v] = x[v] == 2, x[v] == 0
			}
		}
	}
	return every, none
}

// Who is in every cheapest cover, and who in none, tried out on small graphs of all kinds.
func TestCovers(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	some := 0
	for range 400 {
		n := 2 + r.IntN(6)
		weight, near := make([]int, n), make([][]int, n)
		for v := range n {
			weight[v] = 1 + r.IntN(3)
			for o := range v {
				if r.IntN(3) == 0 {
					near[v], near[o] = append(near[v], o), append(near[o], v)
				}
			}
		}
		every, none := cheapest(weight, near)
		if all, no := covers(weight, near); !slices.Equal(all, every) || !slices.Equal(no, none) {
			t.Fatalf("weights %v, edges %v: every %v, none %v, want %v and %v", weight, near, all, no, every, none)
		}
		if slices.Contains(every, true) {
			some++
		}
	}
	if some < 100 {
		t.Errorf("only %d graphs say who it must be", some)
	}
}

func TestWhoIsBelieved(t *testing.T) {
	type line struct{ right, wrong []byte } // nodes by number
	for name, c := range map[string]struct {
		group func(n byte) string
		lines []line
		liars []byte
	}{
		"one against three":          {lines: []line{{[]byte{1, 2, 3}, []byte{9}}}, liars: []byte{9}},
		"two against one say little": {lines: []line{{[]byte{1, 2}, []byte{9}}}},
		// Node 5 lies later on; that it was right about node 9 does not help node 9.
		"an accuser who lies": {lines: []line{{[]byte{1, 2, 5}, []byte{9}}, {[]byte{1, 3, 4, 6}, []byte{5}}}, liars: []byte{5, 9}},
		// Node 1 is contradicted by more groups than anybody, and by nobody who is believed.
		"outvoted by colluders": {
			lines: []line{
				{[]byte{1, 2, 3, 4}, []byte{11}},
				{[]byte{1, 4, 5, 6}, []byte{12}},
				{[]byte{1, 6, 7, 8}, []byte{13}},
				{[]byte{1, 2, 5, 7}, []byte{14}},
				{[]byte{1}, []byte{11, 12, 13, 14, 15}},
				{[]byte{3, 6, 8}, []byte{15}},
			},
			liars: []byte{11, 12, 13, 14, 15},
		},
		// A swarm behind one address is more than those it contradicts, and weighs less.
		"a swarm": {
			group: func(n byte) string {
				if n >= 20 {
					return "10.0.0.0/24"
				}
				return ""
			},
			lines: []line{{[]byte{1, 2, 3, 4}, []byte{20, 21, 22, 23, 24, 25, 26, 27}}},
			liars: []byte{20, 21, 22, 23, 24, 25, 26, 27},
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := NewBook()
			for i, l := range c.lines {
				var votes []Vote
				for _, n := range l.right {
					votes = append(votes, Vote{Node: tasks.NodeID{n}, Root: good, Won: true})
				}
				for _, n := range l.wrong {
					votes = append(votes, Vote{Node: tasks.NodeID{n}, Root: bad})
				}
				if c.group != nil {
					for k := range votes {
						votes[k].Group = c.group(votes[k].Node[0])
					}
				}
				b.Verdict(tasks.TaskID{byte(i)}, "etl.hash", votes, now)
			}
			var got []byte
			for _, l := range b.Lies(now) {
				got = append(got, l.Node[0])
			}
			slices.Sort(got)
			if !slices.Equal(got, c.liars) {
				t.Errorf("liars %v, want %v", got, c.liars)
			}
		})
	}
}
