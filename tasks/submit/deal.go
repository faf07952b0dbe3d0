package submit

import (
	"bytes"
	"math"
	"slices"
	"time"

	"kith/tasks"
	"kith/tasks/job"
	"kith/tasks/match"
	"kith/tasks/trust"
)

// quantum is how many leases one of several jobs hands out before the next one has its turn.
const quantum = 16

// table is where leases are dealt: the workers that may have one of a job now. Its slices are kept for the next turn.
type table struct {
	nodes   []match.Node // what match.Choose looks at
	seats   []seat       // beside nodes
	left    map[string]int
	strange int // leases that workers without a record may have beside those they hold, all together
	voices  []job.Voice
	tried   []match.Place
	holders []tasks.NodeID
}

// seat is one worker at the table, with the leases it was given this turn.
type seat struct {
	s       *session
	granted *job.Granted
	sole    *job.Sole // those whose result may stand alone
	group   string    // a newcomer's, while quotas bind
}

// grant gives work to the sessions that have room, jobs in turn.
func (d *Driver) grant() {
	if !d.hungry || len(d.active) == 0 {
		return
	}
	d.hungry = false
	d.roomy = d.roomy[:0]
	for _, s := range d.sessions {
		if s.room() > 0 {
			d.roomy = append(d.roomy, s)
		}
	}
	slices.SortFunc(d.roomy, func(a, b *session) int { return bytes.Compare(a.peer.id[:], b.peer.id[:]) })
	now := time.Now().UnixMilli()
	for idle := 0; idle < len(d.active) && len(d.roomy) > 0; {
		d.turn = (d.turn + 1) % len(d.active)
		if d.deal(d.active[d.turn], now) {
			idle = 0
		} else {
			idle++
		}
		d.roomy = slices.DeleteFunc(d.roomy, func(s *session) bool { return s.room() <= 0 })
	}
}

// deal hands out leases of one job, each to the worker that match.Choose finds cheapest, and reports whether it could.
// Which task comes next is the job's word: one that lacks a replica before one that nobody has begun.
func (d *Driver) deal(j *running, now int64) bool {
	if !j.state.HasOpen() {
		return false
	}
	d.prepare(j)
	t := &d.table
	d.seat(j, now)
	full := d.full(j)
	given, most := 0, quantum
	if len(d.active) == 1 {
		most = math.MaxInt
	}
	for ask := 0; len(t.nodes) > 0 && given < most && full == d.full(j); {
		ask %= len(t.nodes)
		s := t.seats[ask].s
		ref, ok := j.state.Pick(s.peer.id, d.placeOf(j, s.peer))
		if !ok {
			d.rise(j, ask)
			continue
		}
		i, _ := match.Choose(d.need(j, ref), t.nodes)
		if i < 0 {
			i = ask
		}
		if !d.give(j, i, ref, now) {
			break
		}
		given++
		ask++
	}
	for len(t.nodes) > 0 {
		d.rise(j, len(t.nodes)-1)
	}
	return given > 0
}

// full reports whether a job may use no more nodes than it knows.
func (d *Driver) full(j *running) bool { return j.state.Workers() >= j.state.NodeLimit() }

// seat lays the table for a job. How many leases a worker without a record may hold is bounded, all of one group
// together, so that strangers risk little of a job. The bound holds only while a worker that has proven itself is there
// for the job: a fleet of newcomers has nobody to wait for, and agreement protects the job then. Who has failed more
// than it achieved is bounded always.
func (d *Driver) seat(j *running, now int64) {
	t := &d.table
	clear(t.left)
	t.strange = math.MaxInt
	full, known := d.full(j), false
	left, slots := j.state.Backlog(), 0
	for id, s := range d.sessions {
		if s.window > 0 && d.fits(j, s) {
			known = known || d.trust.Get(id, now).Proven()
			left += s.grants.held
			slots += s.slots()
		}
	}
	for _, s := range d.roomy {
		if s.room() <= 0 || !d.fits(j, s) || full && !j.state.Knows(s.peer.id) || d.distrusts(j, s, now) {
			continue
		}
		p, r := s.peer, d.trust.Get(s.peer.id, now)
		share := j.state.Ahead(p.id, s.slots(), left, slots) // so that nobody hoards the last tasks of a job
		n := match.Node{
			ID: p.id, Group: p.group, Account: p.account, Free: min(s.room(), share-s.grants.held), Running: s.grants.held, Given: s.given, RTT: s.rtt,
			Load: s.load, Relayed: s.relayed, Reliable: r.Reliability(), Honest: r.Honesty(), Band: s.cap.Band, Proven: r.Proven(),
		}
		group := ""
		if quota := r.Quota(); !r.Proven() && (known || quota < trust.FirstQuota) {
			n.Quota, n.Running = quota, len(s.grants.m)
			if group = p.group; group != "" {
				t.left[group] = max(t.left[group], quota)
			}
		}
		t.nodes = append(t.nodes, n)
		t.seats = append(t.seats, seat{s: s, group: group})
	}
	for _, s := range d.sessions {
		if _, bound := t.left[s.peer.group]; bound && !d.trust.Get(s.peer.id, now).Proven() {
			t.left[s.peer.group] -= len(s.grants.m)
		}
	}
	if known && adaptive(j) {
		t.strange = max(trust.FirstQuota, j.state.Size()/strangersShare)
		for id, s := range d.sessions {
			if !d.trust.Get(id, now).Proven() {
				t.strange -= s.grants.of(j.id)
			}
		}
	}
	for i := len(t.nodes) - 1; i >= 0; i-- {
		if d.sated(i) {
			d.rise(j, i)
		}
	}
}

// strangersShare is the part of an adaptive job's tasks that all workers without a record may have at once, while one
// with a record is there: a tenth.
const strangersShare = 10

// sated reports whether a worker at the table can have no more.
func (d *Driver) sated(i int) bool {
	n, group := &d.table.nodes[i], d.table.seats[i].group
	return n.Free <= 0 || n.Quota > 0 && n.Running >= n.Quota || group != "" && d.table.left[group] <= 0 || n.Quota > 0 && d.table.strange <= 0
}

// rise takes a worker off the table and logs what it was given.
func (d *Driver) rise(j *running, i int) {
	t := &d.table
	if ev := t.seats[i].granted; ev != nil {
		d.append(j.id, ev, nil)
	}
	if ev := t.seats[i].sole; ev != nil {
		d.append(j.id, ev, nil)
	}
	last := len(t.nodes) - 1
	t.nodes[i], t.seats[i] = t.nodes[last], t.seats[last]
	t.seats[last] = seat{}
	t.nodes, t.seats = t.nodes[:last], t.seats[:last]
}

// need is what a task demands of a worker beyond what its job does.
func (d *Driver) need(j *running, ref job.Ref) *match.Need {
	t := &d.table
	t.voices = j.state.Voices(ref, t.voices[:0])
	t.tried = t.tried[:0]
	for i := range t.voices {
		v := &t.voices[i]
		t.tried = append(t.tried, match.Place{Node: v.Worker, Group: v.Place.Group, Account: v.Place.Account, Vote: v.Vote})
	}
	t.holders = j.state.Holders(ref, t.holders[:0])
	return &match.Need{Tried: t.tried, Holders: t.holders, Sealed: j.sealed()}
}

// give grants a task to a worker at the table.
func (d *Driver) give(j *running, i int, ref job.Ref, now int64) bool {
	t := &d.table
	s := t.seats[i].s
	if j.state.Place(s.peer.id) != d.placeOf(j, s.peer) {
		d.place(j, s.peer, now)
	}
	lease, err := d.lease(j, s, ref, now)
	if err != nil {
		d.end(j, reasonOf(err, tasks.OverLimits))
		return false
	}
	g := job.Grant{Task: ref, Attempt: j.state.Attempt(ref), Lease: lease.ID, Expiry: lease.Expiry}
	if oneIn, ok := d.alone(j, s, ref, now); ok {
		d.grantSole(j, &t.seats[i], g, oneIn, now)
	} else {
		if t.seats[i].granted == nil {
			t.seats[i].granted = &job.Granted{Worker: s.peer.id}
		}
		ev := t.seats[i].granted
		ev.Items = append(ev.Items, g)
		d.step(j, &job.Granted{Worker: s.peer.id, Items: []job.Grant{g}}, now)
	}
	if s.grants.held == 0 {
		s.heard = now // its silence begins to count
	}
	s.grants.add(lease.ID, &grant{job: j.id, ref: ref, salt: lease.Salt, inputs: lease.Do.Inputs, public: isPublic(j.state.Job().Spec.Sensitivity)})
	s.given++
	d.hand(j, s, lease)
	n := &t.nodes[i]
	n.Free--
	n.Running++
	n.Given++
	if n.Quota > 0 {
		t.strange--
	}
	if group := t.seats[i].group; group != "" {
		t.left[group]--
	}
	for i := len(t.nodes) - 1; i >= 0; i-- {
		if d.sated(i) {
			d.rise(j, i)
		}
	}
	return true
}

// distrusts reports whether a worker's record keeps it from a job whose inputs are not public.
func (d *Driver) distrusts(j *running, s *session, now int64) bool {
	code, no := match.Refuse(&match.Need{Sealed: j.sealed()}, &match.Node{Honest: d.trust.Get(s.peer.id, now).Honesty(), Free: 1})
	return no && code == tasks.NotTrusted
}

// sealed reports whether a job's inputs are not public.
func (j *running) sealed() bool { return !isPublic(j.state.Job().Spec.Sensitivity) }

// place tells a job where a worker is, before its next lease.
func (d *Driver) place(j *running, p *peer, now int64) {
	ev := &job.Placed{Worker: p.id, Place: d.placeOf(j, p)}
	d.append(j.id, ev, nil)
	d.step(j, ev, now)
}
