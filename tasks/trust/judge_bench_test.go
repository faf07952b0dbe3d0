package trust

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"kith/tasks"
)

// contradictions makes tasks with so many results each, of nodes three in ten of which may lie.
func contradictions(rnd *rand.Rand, nodes, results int) func() (tasks.TaskID, []Vote) {
	n := 0
	return func() (id tasks.TaskID, votes []Vote) {
		n++
		id[0], id[1], id[2] = byte(n), byte(n>>8), byte(n>>16)
		for {
			votes = votes[:0]
			right := 0
			for len(votes) < results {
				i := rnd.IntN(nodes)
				v := Vote{Node: tasks.NodeID{1, byte(i), byte(i >> 8)}, Group: fmt.Sprint("g", i%(nodes*9/10)), Root: good}
				if i%10 < 3 && rnd.IntN(3) == 0 {
					v.Root = bad
				} else {
					right++
				}
				votes = append(votes, v)
			}
			if right > 0 && right < results {
				for i := range votes {
					votes[i].Won = (votes[i].Root == good) == (2*right >= results)
				}
				return id, votes
			}
		}
	}
}

// What one more contradiction costs a book that is full of them.
func BenchmarkJudge(b *testing.B) {
	for _, c := range []struct{ nodes, results int }{{300, 4}, {2000, 4}, {20_000, 4}, {300, 16}, {20_000, 16}} {
		b.Run(fmt.Sprintf("nodes=%d/results=%d", c.nodes, c.results), func(b *testing.B) {
			book := NewBook()
			next := contradictions(rand.New(rand.NewPCG(1, 2)), c.nodes, c.results)
			for range MaxCases - 1 {
				id, votes := next()
				sides := make([]Side, len(votes))
				for i, v := range votes {
					sides[i] = Side{Node: v.Node, Group: v.Group, Root: v.Root[:], Won: v.Won}
				}
				book.addCase(Case{Task: id, What: "x", At: now, Sides: sides})
			}
			id, votes := next()
			book.Verdict(id, "x", votes, now)
			for b.Loop() {
				id, votes := next()
				book.Verdict(id, "x", votes, now)
			}
			b.ReportMetric(float64(len(book.lies)), "liars")
		})
	}
}
