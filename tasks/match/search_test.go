package match

import (
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"

	"kith/tasks"
)

// A search asks nobody twice, never itself, and stays within its messages whoever answers what.
func TestWalk(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seed := rapid.Uint64().Draw(t, "seed")
		r := rand.New(rand.NewPCG(seed, 1))
		nodes := rapid.IntRange(0, 200).Draw(t, "nodes")
		quiet := rapid.Float64Range(0, 1).Draw(t, "quiet")
		some := func(n int) (list []tasks.NodeID) {
			for range n {
				if nodes > 0 {
					i := r.IntN(nodes)
					list = append(list, tasks.NodeID{byte(i), byte(i >> 8)})
				}
			}
			return list
		}
		self := tasks.NodeID{1}
		w := NewWalk(self, some(r.IntN(5)))
		asked := map[tasks.NodeID]bool{self: true}
		steps, questions, answers := [Walkers]int{}, 0, 0
		waiting := map[int]bool{}
		for over := 0; over < Walkers || len(waiting) > 0; {
			i := r.IntN(Walkers)
			if waiting[i] {
				delete(waiting, i)
				if r.Float64() < quiet {
					w.Silent(i)
				} else {
					answers++
					steps[i]++
					w.Answered(i, some(r.IntN(20)))
				}
				over = 0
				continue
			}
			id, ok := w.Next(i, r.IntN)
			if !ok {
				over++
				continue
			}
			if asked[id] {
				t.Fatal("asked twice, or itself")
			}
			asked[id], waiting[i] = true, true
			questions++
		}
		if w.Messages() != questions+answers || w.Messages() > SearchMessages || w.Asked() != questions {
			t.Fatalf("%d questions, %d answers, it says %d messages to %d nodes", questions, answers, w.Messages(), w.Asked())
		}
		for _, n := range steps {
			if n > WalkSteps {
				t.Fatalf("%d steps", n)
			}
		}
	})
}

// A walker moves on to where the last answer leads, and goes back only when that leads nowhere.
func TestWalkMovesOn(t *testing.T) {
	id := func(n byte) tasks.NodeID { return tasks.NodeID{n} }
	first := func(int) int { return 0 }
	w := NewWalk(id(0), []tasks.NodeID{id(1), id(2)})
	if got, ok := w.Next(0, first); !ok || got != id(1) {
		t.Fatal(got)
	}
	w.Answered(0, []tasks.NodeID{id(1), id(3)})
	if got, ok := w.Next(0, first); !ok || got != id(3) {
		t.Fatalf("%v, want on to 3", got)
	}
	w.Silent(0)
	if got, ok := w.Next(0, first); !ok || got != id(2) {
		t.Fatalf("%v, want back to 2", got)
	}
	w.Answered(0, nil)
	if got, ok := w.Next(0, first); ok {
		t.Fatalf("%v, want an end", got)
	}
}

func TestNextSearch(t *testing.T) {
	for n, want := range map[int]time.Duration{0: time.Minute, 1: time.Minute, 2: 2 * time.Minute, 4: 8 * time.Minute, 5: SearchRest, 1000: SearchRest} {
		if got := NextSearch(n); got != want {
			t.Errorf("after search %d: %v, want %v", n, got, want)
		}
	}
}
