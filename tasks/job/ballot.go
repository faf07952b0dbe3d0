package job

import "math/bits"

// most votes one task can have: every one is an execution that the policy counts.
const maxVotes = 64

// ballot is a task's good replicas, by their place in the task, and the largest set of them (of bits) that agree
// and are independent of one another.
type ballot struct {
	at   [maxVotes]uint16
	n    int
	best uint64
}

func (b *ballot) votes() int { return bits.OnesCount64(b.best) }

// counts reports whether replica i is in the set.
func (b *ballot) counts(i int) bool {
	for v := range b.n {
		if int(b.at[v]) == i {
			return b.best&(1<<v) != 0
		}
	}
	return false
}

// count counts the votes for the root that has most.
func (s *State) count(t *task) (b ballot) {
	for i := range t.reps {
		if t.reps[i].state == good && b.n < maxVotes {
			b.at[b.n] = uint16(i)
			b.n++
		}
	}
	var seen uint64
	for v := range b.n {
		if seen&(1<<v) != 0 {
			continue
		}
		var same uint64
		for o := v; o < b.n; o++ {
			if t.reps[b.at[o]].root == t.reps[b.at[v]].root {
				same |= 1 << o
			}
		}
		seen |= same
		if set := s.apart(t, &b, same, 0); bits.OnesCount64(set) > b.votes() {
			b.best = set
		}
	}
	return b
}

// countOf is the ballot of some good replicas that agree.
func (s *State) countOf(t *task, agreed []int) (b ballot) {
	for _, i := range agreed[:min(len(agreed), maxVotes)] {
		b.at[b.n] = uint16(i)
		b.n++
	}
	b.best = s.apart(t, &b, 1<<b.n-1, 0)
	return b
}

// apart returns have and as many of rest as are independent of one another. None of rest clashes with have.
func (s *State) apart(t *task, b *ballot, rest, have uint64) uint64 {
	if rest == 0 {
		return have
	}
	v := bits.TrailingZeros64(rest)
	rest &^= 1 << v
	free := rest
	for left := rest; left != 0; left &= left - 1 {
		if o := bits.TrailingZeros64(left); !s.independent(&t.reps[b.at[v]], &t.reps[b.at[o]]) {
			free &^= 1 << o
		}
	}
	with := s.apart(t, b, free, have|1<<v)
	if free == rest {
		return with
	}
	if without := s.apart(t, b, rest, have); bits.OnesCount64(without) > bits.OnesCount64(with) {
		return without
	}
	return with
}
