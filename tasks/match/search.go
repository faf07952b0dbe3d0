package match

import (
	"time"

	"kith/tasks"
)

// Searching for nodes that offers do not reach.
const (
	Walkers        = 3  // of one search
	WalkSteps      = 7  // nodes that each of them gets answers from
	SearchMessages = 60 // questions and answers of one search, together

	SearchRing = 2                // an offer in this ring, not answered enough, is the time for a search
	SearchGap  = time.Minute      // after the first search of a job; it doubles
	SearchRest = 16 * time.Minute // to this
	MaxInvited = 64               // nodes that one search invites: at most as many as sessions are missing
)

// NextSearch is how long after a job's n-th search (from 1) the next may begin.
func NextSearch(n int) time.Duration {
	gap := SearchGap
	for ; n > 1 && gap < SearchRest; n-- {
		gap *= 2
	}
	return min(gap, SearchRest)
}

// Walk is one search: walkers that go from node to node, each asking the next one for nodes it has met and moving on to
// any of those. No node is asked twice. It is driven by whoever asks; chance comes from outside.
type Walk struct {
	walkers  [Walkers]walker
	met      map[tasks.NodeID]struct{} // asked, or being asked
	messages int
	open     int // questions without an answer
}

type walker struct {
	steps int
	ways  []tasks.NodeID // where it could go; the last answer's come last
	last  int            // of them
}

// NewWalk makes a search that begins among some nodes; self is never asked.
func NewWalk(self tasks.NodeID, start []tasks.NodeID) *Walk {
	w := &Walk{met: map[tasks.NodeID]struct{}{self: {}}}
	for i := range w.walkers {
		w.walkers[i].ways = append(w.walkers[i].ways, start...)
		w.walkers[i].last = len(start)
	}
	return w
}

// Next is whom a walker asks next; false: its walk is over. random returns a number in [0,n). Answered or Silent follows
// before the walker's next Next.
func (w *Walk) Next(walker int, random func(n int) int) (tasks.NodeID, bool) {
	x := &w.walkers[walker]
	for x.steps < WalkSteps && len(x.ways) > 0 && w.messages+w.open+2 <= SearchMessages {
		n := x.last // of the last answer while there are any, else of those before
		if n == 0 {
			n = len(x.ways)
		}
		at := len(x.ways) - n + random(n)
		id := x.ways[at]
		x.ways[at] = x.ways[len(x.ways)-1]
		x.ways = x.ways[:len(x.ways)-1]
		x.last = max(0, x.last-1)
		if _, twice := w.met[id]; twice {
			continue
		}
		w.met[id] = struct{}{}
		w.messages++
		w.open++
		return id, true
	}
	return tasks.NodeID{}, false
}

// Answered tells a walker which nodes the one it asked has named.
func (w *Walk) Answered(walker int, named []tasks.NodeID) {
	x := &w.walkers[walker]
	w.messages++
	w.open--
	x.steps++
	x.ways = append(x.ways, named...)
	x.last = len(named)
}

// Silent tells a walker that whom it asked does not answer: it goes another way.
func (w *Walk) Silent(int) { w.open-- }

// Messages is how many questions and answers there were.
func (w *Walk) Messages() int { return w.messages }

// Asked is how many nodes were asked.
func (w *Walk) Asked() int { return len(w.met) - 1 }
