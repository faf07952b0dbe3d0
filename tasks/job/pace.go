package job

import (
	"slices"

	"kith/tasks"
)

// How long things take. A replica has three clocks: until it runs (waiting and fetching), while it runs, and for its
// delivery; what is known of the first two is kept by stage, and how fast each worker is beside it. Nothing of this is
// logged: after a restart it is measured anew.

const (
	// hedgeFloor is the shortest time, in milliseconds, after which a replica can count as a straggler: below it, a
	// second copy costs more than waiting.
	hedgeFloor = 250
	// showFloor is the same for the answer to the question for a reveal, and showTimes how much longer than the median it
	// may take: an answer costs its worker nothing, so one that is late tells more than a long computation.
	showFloor = 1500
	showTimes = 4
	// typical is the pace of a worker that takes the median, slow that of one worth avoiding, in per mille.
	typical = 1000
	slow    = 2000
	// certain is how many durations a stage must know before paces are taken from them.
	certain = 4
)

// ring keeps the newest durations of a stage, in milliseconds, and when they began.
type ring struct {
	items  [64]int64
	starts [64]int64
	n      int
	sorted []int64 // items in order
	when   int     // n of that copy
}

func (r *ring) add(start, took int64) {
	i := r.n % len(r.items)
	r.items[i], r.starts[i] = took, start
	r.n++
}

func (r *ring) len() int { return min(r.n, len(r.items)) }

// oldest is when the first of what is kept began.
func (r *ring) oldest() int64 {
	if r.n == 0 {
		return 0
	}
	return slices.Min(r.starts[:r.len()])
}

// each is the time from one end to the next, in microseconds; 0 if too little is known.
func (r *ring) each() int64 {
	n := r.len()
	if n < certain {
		return 0
	}
	first, last := r.starts[0]+r.items[0], r.starts[0]+r.items[0]
	for i := 1; i < n; i++ {
		first, last = min(first, r.starts[i]+r.items[i]), max(last, r.starts[i]+r.items[i])
	}
	return 1000 * (last - first) / int64(n-1)
}

// median returns the median when censored more, all longer than the plain median, are still running.
func (r *ring) median(censored int) int64 {
	if r.n == 0 {
		return 0
	}
	if r.sorted == nil || r.n-r.when > min(r.n, len(r.items))/8 { // the newest few hardly move it
		r.sorted, r.when = append(r.sorted[:0], r.items[:r.len()]...), r.n
		slices.Sort(r.sorted)
	}
	return r.sorted[min((len(r.sorted)+censored)/2, len(r.sorted)-1)]
}

// ran notes how long a worker ran a task of a stage.
func (s *State) ran(ref Ref, r *replica, took int64) {
	if r.from != nil {
		return // it ran only the rest
	}
	st := &s.stages[ref.Stage]
	took = max(took, 1)
	if st.walls.len() >= certain {
		s.pace(r.worker, s.measure(st, took), true)
	}
	st.walls.add(r.at, took)
}

// measure is a duration in per mille of the median. What is over in no time says nothing of who did it.
func (s *State) measure(st *stage, took int64) int64 {
	m := st.walls.median(0)
	if max(m, took) < hedgeFloor {
		return typical
	}
	return min(1000*took/max(m, 1), 1000*1000)
}

// pace notes how fast a worker was; at least that slow, if it had not finished.
func (s *State) pace(w uint32, now int64, finished bool) {
	x := &s.workers[w]
	switch {
	case x.pace == 0:
		x.pace = int32(max(now, 1))
	case finished:
		x.pace = int32(max((int64(x.pace)+now)/2, 1))
	default:
		x.pace = max(x.pace, int32(now))
	}
}

// Pace returns how long a worker takes, in per mille of what is usual here; 1000 if that is not known.
func (s *State) Pace(id tasks.NodeID) int {
	if w, ok := s.byID[id]; ok && s.workers[w].pace > 0 {
		return int(s.workers[w].pace)
	}
	return typical
}

// Ahead returns how many leases a worker of so many slots should have at once when left leases, at work or not, are
// shared by all workers' slots: enough to go on with while there is plenty, and no more than it can run of the last ones
// or if it is slow, because what waits at one worker could run at another.
func (s *State) Ahead(id tasks.NodeID, slots, left, all int) int {
	if left <= all && s.long() || s.Pace(id) > slow {
		return slots
	}
	return max(2*slots, (left*slots+all-1)/max(all, 1))
}

// long reports whether running a task is known to take so long that waiting for a slot costs more than another way.
func (s *State) long() bool {
	for i := range s.stages {
		if st := &s.stages[i]; st.open > 0 && st.walls.median(0) >= hedgeFloor {
			return true
		}
	}
	return false
}

// Takes returns how long a task of a stage usually runs, in milliseconds; 0 if that is not known.
func (s *State) Takes(stage int) int64 {
	if w := &s.stages[stage].walls; w.len() >= certain {
		return w.median(0)
	}
	return 0
}

// Longest is Takes of the stage with tasks to do whose tasks take longest.
func (s *State) Longest() (millis int64) {
	for i := range s.stages {
		if s.stages[i].open > 0 {
			millis = max(millis, s.Takes(i))
		}
	}
	return millis
}

// Life returns how long a worker's lease should live that lives so many milliseconds for a usual one.
func (s *State) Life(id tasks.NodeID, millis int64) int64 {
	return min(millis*int64(max(s.Pace(id), typical))/typical, 16*millis)
}

// gaveUp notes what a replica shows of its worker that ends before it has committed.
func (s *State) gaveUp(ref Ref, r *replica, now int64) {
	st := &s.stages[ref.Stage]
	if r.began == 0 || s.workers[r.worker].down || st.walls.len() < certain {
		return
	}
	if p := s.measure(st, now-r.began); p > slow {
		s.pace(r.worker, 2*p, false) // by then it had as much before it as behind it, for all that is known
	}
}

// tooSlow reports whether a worker is known to be so slow that others, who are there, finish all that is open sooner than
// it would finish one task.
func (s *State) tooSlow(w uint32, ref Ref) bool {
	x, st := &s.workers[w], &s.stages[ref.Stage]
	if x.pace <= slow || s.lax || s.quick <= s.k() {
		return false
	}
	m, each := st.walls.median(0), st.turns.each()
	if m < hedgeFloor || each == 0 {
		return false
	}
	mine := m * int64(x.pace) / typical
	rest := int64(s.Backlog()) * each / 1000
	if mine <= rest+m {
		return false
	}
	s.barred = true
	return true
}

// unsure reports whether a copy of a straggler should not go to this worker: it is slow too, or nobody knows.
func (s *State) unsure(w uint32, t *task) bool {
	if s.lax || s.quick <= s.k() {
		return false
	}
	for i := range t.reps {
		if s.lags(&t.reps[i]) {
			if p := s.workers[w].pace; p == 0 || p > slow {
				s.barred = true
				return true
			}
		}
	}
	return false
}

// relax counts those who can be relied upon, and lets the others have what nobody has taken for a while, until the next
// look.
func (s *State) relax(now int64, a *Actions) {
	s.quick = 0
	for i := range s.workers {
		if x := &s.workers[i]; x.pace > 0 && x.pace <= slow && !x.down {
			s.quick++
		}
	}
	s.lax = false
	if !s.barred || !s.HasOpen() {
		return
	}
	longest := int64(hedgeFloor)
	for i := range s.stages {
		if s.stages[i].open > 0 {
			longest = max(longest, s.stages[i].walls.median(0))
		}
	}
	if now-s.lastGrant < longest {
		return
	}
	s.lax, s.barred = true, false
	for i := range s.workers {
		s.workers[i].cursor = 0
	}
	a.Opened = true
}

// nextLook is when stragglers are looked for next. A look costs time in the number of leases at work.
func (s *State) nextLook() (at int64, ok bool) {
	for i := range s.stages {
		if st := &s.stages[i]; st.open > 0 && st.turns.len() > 0 {
			gap := max(hedgeFloor, st.turns.median(0)/2)
			if !ok || s.checked+gap < at {
				at, ok = s.checked+gap, true
			}
		}
	}
	return at, ok
}

// The clocks by which stragglers are told.
const (
	waits   = iota // until it runs
	runs           // while it runs
	showing        // since it was asked for its reveal
	clocks
)

// clockOf returns by which clock a replica may be a straggler, and since when that runs.
func clockOf(r *replica) (which int, since int64) {
	switch {
	case r.state == asked:
		return showing, r.until - DeliveryMillis
	case r.began > 0:
		return runs, r.began
	}
	return waits, r.at
}

// hedge marks stragglers, so that their tasks want one more replica: those that run for more than twice the median of
// their stage, or have waited to run for more than twice the median turnaround, or were asked for their reveal and do not
// answer. Replicas that are at it, and older than the median, count as censored among those that began as long ago. While
// there is new work for everybody, a worker has the time that is usual for itself; when there is none, one known to be
// slow is not waited for.
func (s *State) hedge(now int64, a *Actions) {
	s.checked = now
	type look struct {
		oldest, median [clocks]int64
		limit          [clocks]int64
		censored       [clocks]int
		known          bool
	}
	looks := make([]look, len(s.stages))
	any := false
	for i := range s.stages {
		st := &s.stages[i]
		if st.open == 0 || st.turns.len() == 0 {
			continue
		}
		any = true
		l := &looks[i]
		l.known = true
		l.oldest = [clocks]int64{st.turns.oldest(), st.walls.oldest(), st.shows.oldest()}
		l.median = [clocks]int64{st.turns.median(0), st.walls.median(0), st.shows.median(0)}
	}
	if !any {
		return
	}
	mayLag := func(r *replica) bool { return r != nil && (r.state == granted || r.state == asked) }
	for _, e := range s.timers {
		l := &looks[e.ref.Stage]
		if !l.known {
			continue
		}
		if r := s.rep(e); mayLag(r) {
			which, since := clockOf(r)
			if now-since > l.median[which] && r.at >= l.oldest[which] {
				l.censored[which]++
			}
		}
	}
	for i := range looks {
		l, st := &looks[i], &s.stages[i]
		if !l.known {
			continue
		}
		l.limit[waits] = max(hedgeFloor, 2*st.turns.median(l.censored[waits]))
		l.limit[runs] = l.limit[waits]
		if st.walls.len() > 0 {
			l.limit[runs] = max(hedgeFloor, 2*st.walls.median(l.censored[runs]))
		}
		l.limit[showing] = DeliveryMillis
		if st.shows.len() >= certain {
			l.limit[showing] = max(showFloor, showTimes*st.shows.median(l.censored[showing]))
		}
	}
	busy := !s.fresh.empty()
	var late []timer
	for _, e := range s.timers {
		l := &looks[e.ref.Stage]
		r := s.rep(e)
		if !l.known || !mayLag(r) || r.spare {
			continue
		}
		which, since := clockOf(r)
		limit := l.limit[which]
		switch p := int64(s.workers[r.worker].pace); {
		case which == showing:
		case busy && p > typical:
			limit = limit * p / typical
		case !busy && p > slow: // whoever begins now is done sooner
			limit = hedgeFloor
		}
		if now-since > limit {
			late = append(late, e)
		}
	}
	for _, e := range late {
		r := s.rep(e)
		if r.spare {
			continue // it has two timers
		}
		r.spare = true
		s.hedged++
		t := s.at(e.ref)
		if r.state == asked { // what the others have shown is looked at meanwhile
			s.advance(e.ref, t, now, a)
			continue
		}
		s.requeue(e.ref, t)
		a.Opened = a.Opened || t.seq != 0
	}
}

// lags reports whether a replica counts as a straggler: another of its task is a copy of it.
func (s *State) lags(r *replica) bool {
	return (r.state == granted || r.state == asked) && r.spare && !s.workers[r.worker].down
}

// Hedging reports whether a replica of the task counts as a straggler, so that another is a copy of it.
func (s *State) Hedging(ref Ref) bool {
	if t := s.at(ref); t != nil {
		for i := range t.reps {
			if s.lags(&t.reps[i]) {
				return true
			}
		}
	}
	return false
}

// Hedges returns how many stragglers were given to somebody else as well, since the last restart.
func (s *State) Hedges() int64 { return s.hedged }
