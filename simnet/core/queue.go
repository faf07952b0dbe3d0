package core

// what a moment of the simulation is about.
type what uint8

const (
	call    what = iota // f
	come                // host a comes
	gone                // host a goes, if it is still in its generation b
	missed              // submitter notices that session of host a is silent; b: generation
	answer              // host a dials about offer f
	dealing             // submitter a deals
	tick                // submitter a's clocks
	arrive              // lease a, serial b, is at its host
	beat                // and heard to run
	finish              // and computed
	commit              // and its commit at the submitter
	reveal              // and its output too
	stop                // a cancel of lease a is at its host
	decided             // verdicts of submitter a are on disk
	sample              // a point of the curves
)

// moment is one thing that happens.
type moment struct {
	at   int64 // microseconds
	seq  uint64
	what what
	a, b uint32
	f    func()
}

// queue is a heap of four children, earliest first; of equal times the one that was pushed first.
type queue struct {
	items []moment
	seq   uint64
}

func before(x, y *moment) bool { return x.at < y.at || x.at == y.at && x.seq < y.seq }

func (q *queue) push(m moment) {
	q.seq++
	m.seq = q.seq
	q.items = append(q.items, m)
	h := q.items
	for i := len(h) - 1; i > 0; {
		up := (i - 1) / 4
		if !before(&h[i], &h[up]) {
			return
		}
		h[i], h[up] = h[up], h[i]
		i = up
	}
}

func (q *queue) pop() moment {
	h := q.items
	top := h[0]
	last := len(h) - 1
	h[0] = h[last]
	h[last] = moment{}
	h = h[:last]
	q.items = h
	for i := 0; ; {
		least := i
		for c := 4*i + 1; c <= 4*i+4 && c < last; c++ {
			if before(&h[c], &h[least]) {
				least = c
			}
		}
		if least == i {
			return top
		}
		h[i], h[least] = h[least], h[i]
		i = least
	}
}
