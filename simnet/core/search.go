package core

import (
	"slices"

	"kith/simnet/links"
	"kith/simnet/scenario"
	"kith/tasks"
	"kith/tasks/match"
	"kith/tasks/wire"
)

// This file follows the driver's search for workers that offers do not reach: package match walks, hosts answer as
// package node/search does. The directory is not asked here.

// acquaintances is how many others a host has met in the two hours that a record lasts: chosen, a little more than the
// 96 connections that a node keeps at most.
const acquaintances = 128

// stepTime is how long an answer is waited for, microseconds.
const stepTime = 8e6

// quest is a job's search.
type quest struct {
	row   int   // searches since the job last had enough workers
	next  int64 // when another may begin
	going bool
	open  int // walkers on their way
	walk  *match.Walk
	known map[tasks.NodeID]struct{}
	found []uint32
	quiet map[uint32]struct{} // hosts that gossip does not reach, when it began
	left  int                 // workers that are missing
}

// introduce draws who has met whom.
func (w *World) introduce() {
	w.meetings = w.rng.Uint64()
	for _, s := range w.subs {
		for range min(acquaintances, len(w.hosts)) {
			s.met = append(s.met, uint32(w.rng.IntN(len(w.hosts))))
		}
	}
}

// hears reports whether gossip of a submitter reaches a host that is in touch.
func (w *World) hears(h *host, s *submitter) bool {
	return !w.classes[h.class].Quiet && (h.deaf <= w.now || w.was[h.region] == w.was[s.region])
}

// mayFind begins a search if an offer that goes out now is the time for one.
func (s *submitter) mayFind(j *running, missing int) {
	q := &j.quest
	if j.ring < match.SearchRing || q.going || s.w.now < q.next {
		return
	}
	w := s.w
	*q = quest{row: q.row + 1, going: true, open: match.Walkers, known: map[tasks.NodeID]struct{}{}, quiet: map[uint32]struct{}{}, left: missing}
	for _, x := range s.list {
		q.known[x.id] = struct{}{}
	}
	var start []tasks.NodeID
	for _, i := range s.met {
		h := &w.hosts[i]
		if h.online && w.touch(h, s) {
			start = append(start, h.id)
		}
		if _, old := q.known[h.id]; !old && s.suits(j, h) {
			q.known[h.id] = struct{}{}
			q.found = append(q.found, i)
		}
	}
	for i := range w.hosts {
		h := &w.hosts[i]
		if h.online && w.touch(h, s) && !w.hears(h, s) && s.suits(j, h) && !s.has(uint32(i)) && !s.book.Banned(h.id, w.millis()) {
			q.quiet[uint32(i)] = struct{}{}
		}
	}
	q.walk = match.NewWalk(s.id, start)
	for i := range match.Walkers {
		s.stepOn(j, i)
	}
}

// stepOn is one step of a walker.
func (s *submitter) stepOn(j *running, walker int) {
	w, q := s.w, &j.quest
	id, ok := q.walk.Next(walker, w.rng.IntN)
	if !ok || s.down || j.over {
		if q.open--; q.open == 0 {
			s.sought(j)
		}
		return
	}
	i := w.hostOf(id)
	h := &w.hosts[i]
	salt := uint64(w.rng.Uint32())
	filter := wire.Filter(salt, known(q.known))
	w.m.sent("search", 1, int64(120+len(filter)))
	if !h.online || !w.touch(h, s) {
		w.after(stepTime, func() {
			q.walk.Silent(walker)
			s.stepOn(j, walker)
		})
		return
	}
	named := s.names(j, i, salt, filter)
	w.after(3*w.rtt(h, s), func() { // connect, identify, ask
		w.m.sent("search", 1, int64(32+350*len(named)))
		var next []tasks.NodeID
		for _, n := range named {
			id := w.hosts[n].id
			next = append(next, id)
			if _, old := q.known[id]; !old && s.suits(j, &w.hosts[n]) {
				q.known[id] = struct{}{}
				q.found = append(q.found, n)
			}
		}
		q.walk.Answered(walker, next)
		s.stepOn(j, walker)
	})
}

// known lists a set in an order that is always the same.
func known(set map[tasks.NodeID]struct{}) []tasks.NodeID {
	list := make([]tasks.NodeID, 0, len(set))
	for id := range set {
		list = append(list, id)
	}
	slices.SortFunc(list, func(a, b tasks.NodeID) int { return slices.Compare(a[28:], b[28:]) })
	return list
}

// suits reports whether a job may use a host.
func (s *submitter) suits(j *running, h *host) bool {
	return len(j.spec.Regions) == 0 || slices.Contains(j.spec.Regions, links.Regions()[h.region])
}

// names is what a host answers: some of those it has met that would do, whether or not they are there now, and a few that
// would not. Eclipse peers name each other.
func (s *submitter) names(j *running, i uint32, salt uint64, filter []byte) []uint32 {
	w := s.w
	n := len(w.hosts)
	var list, ways []uint32
	h := &w.hosts[i]
	for k := range min(acquaintances, n) {
		other := uint32(mix(w.meetings^uint64(i)<<32^uint64(k)) % uint64(n))
		o := &w.hosts[other]
		switch {
		case other == i, o.left, w.classes[h.class].Actor == scenario.Eclipse && o.class != h.class, wire.Filtered(salt, filter, o.id):
		case s.suits(j, o) && !slices.Contains(list, other):
			list = append(list, other)
		case !s.suits(j, o):
			ways = append(ways, other)
		}
	}
	for _, l := range [][]uint32{list, ways} {
		w.rng.Shuffle(len(l), func(a, b int) { l[a], l[b] = l[b], l[a] })
	}
	return append(list[:min(len(list), wire.MaxFound)], ways[:min(len(ways), wire.MaxWays)]...)
}

// sought ends a search: those it has found are invited, in random order, until as many come as are missing.
func (s *submitter) sought(j *running) {
	w, q := s.w, &j.quest
	q.going = false
	q.next = w.now + match.NextSearch(q.row).Microseconds()
	w.m.longest = max(w.m.longest, q.walk.Messages())
	w.m.unknown += int64(len(q.quiet))
	for _, i := range q.found {
		if _, quiet := q.quiet[i]; quiet {
			w.m.found++
		}
	}
	if s.down || j.over {
		return
	}
	w.rng.Shuffle(len(q.found), func(a, b int) { q.found[a], q.found[b] = q.found[b], q.found[a] })
	for n, i := range q.found {
		h := &w.hosts[i]
		if q.left <= 0 || n == match.MaxInvited {
			break
		}
		w.m.sent("invite", 1, 800)
		if !h.online || !w.touch(h, s) || s.has(i) || len(h.sess) >= maxSessions {
			continue
		}
		q.left--
		w.m.sent("invite", 1, 16)
		gen := h.gen
		w.push(moment{at: w.now + 3*w.rtt(h, s), what: answer, f: func() { s.answered(j, i, gen) }})
	}
	q.walk, q.known, q.found, q.quiet = nil, nil, nil, nil
}
