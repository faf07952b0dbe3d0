package core

import (
	"slices"

	"kith/tasks"
	"kith/tasks/job"
	"kith/tasks/match"
)

// session is one host at one submitter.
type session struct {
	sub   *submitter
	host  uint32
	id    tasks.NodeID
	place job.Place
	held  []uint32 // leases without a verdict
	live  int      // of them without a commit
	given int64
	rtt   int64 // milliseconds
	slots int
	gen   uint32 // of the host when it was last lost
	away  bool   // lost, may come back
	dead  bool   // the host comes back without what it had
	gone  bool
	idle  bool // in submitter.idle
}

// lostIn reports whether a session was lost when its host went in a generation, and is not back.
func (s *session) lostIn(_ *World, h *host, gen uint32) bool {
	return !s.gone && !s.away && h.gen == gen && !h.online
}

func (s *session) release(li uint32) {
	if at := slices.Index(s.held, li); at >= 0 {
		s.held[at] = s.held[len(s.held)-1]
		s.held = s.held[:len(s.held)-1]
	}
}

// room is how many leases more the host has asked for.
func (s *session) room() int {
	if s.gone || s.away {
		return 0
	}
	return depth*s.slots - s.live
}

func (s *submitter) has(i uint32) bool { _, ok := s.by[i]; return ok }

// answered is a host dialling about an offer.
func (s *submitter) answered(j *running, i, gen uint32) {
	w := s.w
	h := &w.hosts[i]
	if !h.online || h.gen != gen || s.down || !w.touch(h, s) || s.has(i) || j.over {
		return
	}
	j.dials++
	w.m.sent("session", 4, 3000) // connection, identify, hello with capability, welcome
	w.m.dial(float64(j.dials) / float64(max(1, j.want)))
	if s.book.Banned(h.id, w.millis()) {
		return
	}
	if s.usable(j) >= j.want*match.DialsPerWant || j.state.Workers() >= j.state.NodeLimit() && !j.state.Knows(h.id) {
		w.m.filled++
		return
	}
	x := &session{sub: s, host: i, id: h.id, place: job.Place{Group: h.group, Account: h.account()}, rtt: w.rtt(h, s) / 1000, slots: int(h.slots)}
	s.by[i] = x
	h.sess = append(h.sess, x)
	s.enlist(x)
	for _, j := range s.jobs {
		if j.state.Knows(x.id) {
			s.step(j, job.SessionUp{Worker: x.id})
		}
	}
}

func (s *submitter) enlist(x *session) {
	s.list = append(s.list, x)
	s.slots += x.slots
	s.offerWork(x)
}

func (s *submitter) delist(x *session) {
	if at := slices.Index(s.list, x); at >= 0 {
		s.list[at] = s.list[len(s.list)-1]
		s.list = s.list[:len(s.list)-1]
		s.slots -= x.slots
	}
}

// offerWork puts a session with room where the dealer looks.
func (s *submitter) offerWork(x *session) {
	if !x.idle && x.room() > 0 {
		x.idle = true
		s.idle = append(s.idle, x)
	}
	s.stuck = false
	s.hungry()
}

// lost is a session that is not heard any more.
func (s *submitter) lost(x *session) {
	x.away, x.gen = true, s.w.hosts[x.host].gen
	s.delist(x)
	for _, j := range slices.Clone(s.jobs) {
		s.step(j, job.SessionDown{Worker: x.id, Lost: !s.w.relayed(&s.w.hosts[x.host])})
		if j.offerAt != 0 {
			j.offerAt = s.w.now + 1
			s.wake(s.w.now)
		}
	}
	if h := &s.w.hosts[x.host]; h.left {
		s.end(x)
	}
}

// end forgets a session for good.
func (s *submitter) end(x *session) {
	x.gone = true
	delete(s.by, x.host)
	h := &s.w.hosts[x.host]
	h.sess = slices.DeleteFunc(h.sess, func(o *session) bool { return o == x })
}

// resume takes a session up again, with the leases the host still has and the job still wants.
func (s *submitter) resume(x *session) {
	w := s.w
	h := &w.hosts[x.host]
	w.m.sent("session", 4, 3000)
	if s.book.Banned(x.id, w.millis()) {
		s.end(x)
		return
	}
	was := x.away
	x.away = false
	if at := (job.Place{Group: h.group, Account: h.account()}); at != x.place {
		s.moved(x, at)
	}
	if was {
		s.enlist(x)
	}
	kept := map[tasks.LeaseID]bool{}
	if !x.dead {
		for _, li := range slices.Concat(h.active, h.queue) {
			if l := &w.leases[li]; l.sess == x {
				kept[l.id] = true
			}
		}
	}
	x.dead = false
	for _, j := range slices.Clone(s.jobs) {
		for _, held := range j.state.Leases(x.id) {
			if !kept[held.Lease] {
				s.step(j, job.Forgotten{Worker: x.id, Lease: held.Lease})
			}
		}
		s.step(j, job.SessionUp{Worker: x.id})
	}
	for _, li := range slices.Clone(x.held) {
		l := &w.leases[li]
		switch {
		case !kept[l.id] || l.job.over || !l.job.state.Holds(x.id, l.id):
			s.uncount(li)
			w.free(li)
		case l.state == ready:
			l.told = false
			w.sendCommit(li)
		}
	}
	s.offerWork(x)
}

// moved notes that a host comes from elsewhere.
func (s *submitter) moved(x *session, at job.Place) {
	for _, li := range x.held {
		if s.w.leases[li].stranger {
			s.byGroup[x.place.Group]--
			s.byGroup[at.Group]++
		}
	}
	x.place = at
}

// uncount takes a lease off what its session has to do.
func (s *submitter) uncount(li uint32) {
	l := &s.w.leases[li]
	if l.sess == nil || l.told {
		return
	}
	l.told = true
	l.sess.live--
	s.live--
	s.offerWork(l.sess)
}

// heardBeat is the first heartbeat that says that a lease runs.
func (s *submitter) heardBeat(li uint32) {
	l := &s.w.leases[li]
	if !s.down && !l.sess.away && !l.told && s.w.hosts[l.host].online {
		s.w.m.sent("session", 1, 80)
		s.step(l.job, job.Heartbeat{Worker: l.sess.id, Lease: l.id, Running: true})
	}
}

func (s *submitter) heardCommit(li uint32) {
	l := &s.w.leases[li]
	if s.down || l.sess.away {
		return
	}
	s.uncount(li)
	j := l.job
	hash := tasks.CommitHash(l.id, s.w.hosts[l.host].id, l.root, l.digest)
	s.step(j, job.Committed{Worker: s.w.hosts[l.host].id, Commit: tasks.Commit{Lease: l.id, Hash: hash}})
	s.hungry()
}

func (s *submitter) heardReveal(li uint32) {
	l := &s.w.leases[li]
	if s.down || l.sess.away {
		return
	}
	good := l.digest == digestOf(l.id, l.root)
	s.step(l.job, job.Revealed{
		Worker:  s.w.hosts[l.host].id,
		Reveal:  &tasks.Reveal{Lease: l.id, Root: l.root, Digest: l.digest, Bytes: 256, WallMillis: (l.ends - l.began) / 1000},
		Checked: true, Good: good,
	})
	s.hungry()
}

// crash is kill -9: what was not written is gone.
func (s *submitter) crash() {
	s.down = true
	s.saving, s.queued, s.tickAt = nil, false, 0
	for _, x := range slices.Clone(s.list) {
		x.away, x.gen = true, s.w.hosts[x.host].gen
		s.delist(x)
		if s.w.hosts[x.host].online {
			s.w.redial(x.host, x)
		}
	}
}

// restart replays the logs and goes on.
func (s *submitter) restart() {
	s.down, s.idle, s.dealing = false, nil, false
	for _, x := range s.by {
		x.idle = false
	}
	for _, j := range slices.Clone(s.jobs) {
		var ignored job.Actions
		for i, b := range j.log {
			ev, err := job.Decode(b)
			if err != nil {
				s.w.broke(err)
				return
			}
			if first, ok := ev.(*job.Accepted); ok {
				j.state = job.New(first)
				continue
			}
			j.state.Step(ev, j.logTime[i], &ignored)
		}
		s.w.broke(job.Check(j.state))
		j.check = job.Checker{Every: j.check.Every}
		var a job.Actions
		j.state.Resume(s.w.millis(), &a)
		s.act(j, &a)
		j.offerAt = s.w.now + 1
	}
	s.wake(s.w.now)
}
