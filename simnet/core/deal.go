package core

import (
	"fmt"
	"slices"

	"kith/simnet/scenario"
	"kith/tasks"
	"kith/tasks/deal"
	"kith/tasks/job"
	"kith/tasks/match"
)

// hungry asks for a round of dealing soon.
func (s *submitter) hungry() {
	if s.dealing || s.down || len(s.idle) == 0 || s.stuck || !s.anyOpen() {
		return
	}
	s.dealing = true
	s.w.push(moment{at: s.w.now + dealGap, what: dealing, a: s.index})
}

func (s *submitter) anyOpen() bool {
	return slices.ContainsFunc(s.jobs, func(j *running) bool { return j.state.HasOpen() })
}

// deal gives work to sessions with room, a table at a time and jobs in turn, as package submit does.
func (s *submitter) deal() {
	s.dealing = false
	if s.down || len(s.jobs) == 0 {
		return
	}
	given, tries := 0, 0
	for most := min(scanned, len(s.idle)); tries < most && s.anyOpen(); {
		n := min(tableSize, len(s.idle), most-tries)
		table := slices.Clone(s.idle[:n])
		s.idle = s.idle[n:]
		tries += n
		for _, x := range table {
			x.idle = false
		}
		for idle := 0; idle < len(s.jobs); {
			s.turn = (s.turn + 1) % len(s.jobs)
			if g := s.dealJob(s.jobs[s.turn], table); g > 0 {
				given += g
				idle = 0
			} else {
				idle++
			}
		}
		for _, x := range table {
			if !x.idle && x.room() > 0 {
				x.idle = true
				s.idle = append(s.idle, x)
			}
		}
	}
	if len(s.idle) == 0 {
		s.idle = nil
	}
	if given == 0 && tries >= len(s.idle) {
		s.stuck = true // until something opens or somebody comes
	}
	s.hungry()
}

// dealJob hands out leases of one job to a table and says how many.
func (s *submitter) dealJob(j *running, table []*session) (given int) {
	if !j.state.HasOpen() {
		return 0
	}
	w, now := s.w, s.w.millis()
	s.table.Lay(deal.Job{
		State: j.state, Book: s.book, Known: s.known, Live: s.live, Slots: s.slots, Strange: j.strange, Open: func(group string) int { return s.byGroup[group] },
	}, now)
	for i, x := range table {
		if x.room() <= 0 || !s.fits(j, x) {
			continue
		}
		h := &w.hosts[x.host]
		s.worker = deal.Worker{
			Node: match.Node{
				ID: x.id, Given: x.given, RTT: x.rtt, Load: 1000 * int(h.busy) / max(1, x.slots), Relayed: w.relayed(h), Stay: w.stay(h),
			},
			Place: x.place, Slots: x.slots, Room: x.room(), Held: x.live, Open: len(x.held),
		}
		s.table.Seat(i, &s.worker)
	}
	for len(s.jobs) == 1 || given < quantum {
		turn, ok := s.table.Next()
		if !ok {
			break
		}
		s.give(j, table[turn.Key], turn.Task, turn.Stranger)
		s.table.Gave()
		given++
	}
	s.table.Clear()
	return given
}

// give grants one lease.
func (s *submitter) give(j *running, x *session, ref job.Ref, stranger bool) {
	w, now := s.w, s.w.millis()
	if j.state.Place(x.id) != x.place {
		s.step(j, &job.Placed{Worker: x.id, Place: x.place})
	}
	life := j.state.Life(x.id, leaseLife+int64(4000*j.spec.Seconds))
	expiry := now + w.stay(&w.hosts[x.host]).Life(life, s.book.Get(x.id, now).Kept())
	attempt := j.state.Attempt(ref)
	id := leaseID(j.number, ref, attempt, x.host, expiry)
	li := w.newLease()
	l := &w.leases[li]
	l.job, l.sess, l.ref, l.id, l.host = j, x, ref, id, x.host
	l.cost = w.cost(j, ref)
	l.copy = j.state.Hedging(ref)
	if l.stranger = stranger; stranger {
		j.strange++
		s.byGroup[x.place.Group]++
	}
	x.held = append(x.held, li)
	x.live++
	s.live++
	x.given++
	j.leases[id] = li
	l.oneIn = s.granted(j, x, job.Grant{Task: ref, Attempt: attempt, Lease: id, Expiry: expiry})
	w.m.leases++
	w.m.sent("session", 1, 900)
	if !j.first {
		j.first = true
		w.m.firstLease = append(w.m.firstLease, float64(w.now-j.begun)/1e6)
	}
	if ref.Stage == 0 && j.started != nil && j.started[ref.Index] == 0 {
		j.started[ref.Index] = w.now
	}
	w.push(moment{at: w.now + w.oneWay(&w.hosts[x.host], s), what: arrive, a: li, b: l.serial})
}

// leaseID names a lease uniquely, for less than tasks.NewLeaseID costs.
func leaseID(number uint64, ref job.Ref, attempt int, host uint32, expiry int64) (id tasks.LeaseID) {
	for k, v := range [...]uint64{number, uint64(ref.Stage)<<56 | uint64(ref.Index)<<16 | uint64(attempt), uint64(host), uint64(expiry)} {
		for b := range 8 {
			id[8*k+b] = byte(v >> (8 * b))
		}
	}
	return id
}

// cost is how many seconds a plain host is at a task: the same for all its replicas.
func (w *World) cost(j *running, ref job.Ref) float32 {
	spread := j.spec.Varies()
	if spread == 0 {
		return float32(j.spec.Seconds)
	}
	return float32(j.spec.Seconds * lognormal(j.number^uint64(ref.Stage)<<40^uint64(ref.Index), spread))
}

// decided is a batch of verdicts on stable storage.
func (s *submitter) decided() {
	if s.down || !s.queued {
		return
	}
	s.queued = false
	list := s.saving
	s.saving = nil
	for from := 0; from < len(list); {
		to := from
		j := list[from].j
		var items []job.Decision
		for to < len(list) && list[to].j == j {
			items = append(items, list[to].d)
			to++
		}
		from = to
		if !j.over {
			s.rule(j, items)
		}
	}
	s.hungry()
}

// note counts an outcome for or against a host.
func (s *submitter) note(j *running, id tasks.NodeID, lease tasks.LeaseID, o tasks.Outcome) {
	w := s.w
	i := w.hostOf(id)
	h := &w.hosts[i]
	c := &w.m.actors[h.class]
	li, known := j.leases[lease]
	switch o {
	case tasks.Accepted:
		c.Accepted++
		h.accepted++
		if known {
			l := &w.leases[li]
			h.worth += l.cost
			if l.lie && w.classes[h.class].Actor != scenario.Copier {
				h.wrong++
			}
		}
	case tasks.Outvoted:
		c.Outvoted++
	case tasks.Forged:
		c.Forged++
	case tasks.Withheld:
		c.Withheld++
	case tasks.Lapsed:
		c.Lapsed++
	case tasks.Returned:
		c.Returned++
	case tasks.Cancelled:
		c.Cancelled++
	}
	if h.caughtAt == 0 && h.lies > 0 && (o == tasks.Outvoted || o == tasks.Forged) {
		w.caught(h)
	}
	if o != tasks.Cancelled {
		before := s.book.Get(id, w.millis()).Banned()
		r := s.book.Note(id, o, w.millis())
		s.known = s.known || r.Proven()
		if r.Banned() && !before {
			c.Banned++
			s.expel(i)
		}
	}
	if known && (o == tasks.Accepted || o == tasks.Outvoted || o == tasks.Forged || o == tasks.Withheld) {
		s.uncount(li)
		w.free(li)
	}
}

// caught notes that a liar was seen to be one.
func (w *World) caught(h *host) {
	h.caughtAt, h.atCatch, h.soleAt = w.now, h.lies, h.soleLies
	w.m.actors[h.class].Caught++
}

// expel ends the session of a banned host; what it holds goes to others.
func (s *submitter) expel(i uint32) {
	x := s.by[i]
	if x == nil {
		return
	}
	s.w.after(1, func() {
		if x.gone {
			return
		}
		for _, j := range slices.Clone(s.jobs) {
			for _, l := range j.state.Leases(x.id) {
				s.step(j, job.Forgotten{Worker: x.id, Lease: l.Lease})
			}
		}
		s.delist(x)
		s.end(x)
		for _, li := range slices.Clone(x.held) {
			s.w.free(li)
		}
		s.w.work(i)
	})
}

// accepted notes what a verdict made the result of a task, and whether it is right.
func (s *submitter) accepted(j *running, d *job.Decision) {
	w := s.w
	root := j.state.Output(d.Task)
	if !root.Defined() {
		return
	}
	was := j.results[d.Task.Stage][d.Task.Index]
	j.results[d.Task.Stage][d.Task.Index] = root
	fmt.Fprintf(w.sum, "%d %d/%d %x %d\n", j.number, d.Task.Stage, d.Task.Index, root[:], w.now)
	if root != was {
		if root != j.truth(d.Task) {
			w.m.wrongEver++
			for k := range d.Replicas {
				if d.Replicas[k].Outcome == tasks.Accepted {
					w.m.actors[w.hosts[w.hostOf(d.Replicas[k].Worker)].class].Wrong++
				}
			}
		}
		if !was.Defined() {
			if !j.spec.Warm {
				w.m.useful += float64(w.cost(j, d.Task))
			}
			if d.Task.Stage == 0 && j.started != nil && j.started[d.Task.Index] != 0 {
				w.m.taskTimes = append(w.m.taskTimes, float64(w.now-j.started[d.Task.Index])/1e6)
			}
		}
	}
	w.m.last = w.now
}
