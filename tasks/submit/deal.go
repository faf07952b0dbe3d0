package submit

import (
	"bytes"
	"math"
	"slices"
	"time"

	"kith/tasks"
	"kith/tasks/deal"
	"kith/tasks/job"
	"kith/tasks/match"
)

// quantum is how many leases one of several jobs hands out before the next one has its turn.
const quantum = 16

// dealt is a worker at the table, with the leases of one job it was given this turn.
type dealt struct {
	s       *session
	granted *job.Granted
	sole    *job.Sole // those whose result may stand alone
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

// deal hands out leases of one job as package deal says, and reports whether it could.
func (d *Driver) deal(j *running, now int64) bool {
	if !j.state.HasOpen() {
		return false
	}
	d.prepare(j)
	d.lay(j, now)
	given, most := 0, quantum
	if len(d.active) == 1 {
		most = math.MaxInt
	}
	for given < most {
		turn, ok := d.table.Next()
		if !ok || !d.give(j, turn, now) {
			break
		}
		d.table.Gave()
		given++
	}
	d.table.Clear()
	return given > 0
}

// lay lays the table for a job. What a worker was given is logged when it rises.
func (d *Driver) lay(j *running, now int64) {
	w := deal.Job{State: j.state, Book: d.trust, Sealed: j.sealed()}
	clear(d.strange)
	for id, s := range d.sessions {
		proven := d.trust.Get(id, now).Proven()
		if s.window > 0 && d.fits(j, s) {
			w.Known = w.Known || proven
			w.Live += s.grants.held
			w.Slots += s.slots()
		}
		if !proven {
			if adaptive(j) {
				w.Strange += s.grants.of(j.id)
			}
			d.strange[s.peer.group] += len(s.grants.m)
		}
	}
	w.Open = func(group string) int { return d.strange[group] }
	t := &d.table
	t.Risen = func(key int) {
		if ev := d.seats[key].granted; ev != nil {
			d.append(j.id, ev, nil)
		}
		if ev := d.seats[key].sole; ev != nil {
			d.append(j.id, ev, nil)
		}
		d.seats[key] = dealt{}
	}
	t.Lay(w, now)
	d.seats = d.seats[:0]
	for _, s := range d.roomy {
		if s.room() <= 0 || !d.fits(j, s) {
			continue
		}
		d.seats = append(d.seats, dealt{s: s})
		t.Seat(len(d.seats)-1, &deal.Worker{
			Node:  match.Node{ID: s.peer.id, Given: s.given, RTT: s.rtt, Load: s.load, Relayed: s.relayed, Band: s.cap.Band, Stay: s.stay()},
			Place: d.placeOf(j, s.peer), Slots: s.slots(), Room: s.room(), Held: s.grants.held, Open: len(s.grants.m),
		})
	}
}

// give grants a task to a worker at the table.
func (d *Driver) give(j *running, turn deal.Turn, now int64) bool {
	at, ref := &d.seats[turn.Key], turn.Task
	s := at.s
	if j.state.Place(s.peer.id) != d.placeOf(j, s.peer) {
		d.place(j, s.peer, now)
	}
	lease, err := d.lease(j, s, ref, now)
	if err != nil {
		d.end(j, reasonOf(err, tasks.OverLimits))
		return false
	}
	g := job.Grant{Task: ref, Attempt: j.state.Attempt(ref), Lease: lease.ID, Expiry: lease.Expiry}
	oneIn, alone := deal.Alone(j.state, d.trust, ref, s.peer.id, d.what(j, ref.Stage, s.peer.id), now)
	point, foreign := d.travel(j, s, ref, &lease, alone)
	switch {
	case foreign:
		ev := &job.Carried{Worker: s.peer.id, Item: g, Root: point}
		d.append(j.id, ev, nil)
		d.step(j, ev, now)
	case alone:
		d.grantSole(j, at, g, oneIn, now)
	default:
		if at.granted == nil {
			at.granted = &job.Granted{Worker: s.peer.id}
		}
		at.granted.Items = append(at.granted.Items, g)
		d.step(j, &job.Granted{Worker: s.peer.id, Items: []job.Grant{g}}, now)
	}
	if s.grants.held == 0 {
		s.heard = now // its silence begins to count
	}
	s.grants.add(lease.ID, &grant{job: j.id, ref: ref, salt: lease.Salt, inputs: lease.Do.Inputs, public: isPublic(j.state.Job().Spec.Sensitivity), point: point})
	s.given++
	d.hand(j, s, lease)
	return true
}

// distrusts reports whether a worker's record keeps it from a job whose inputs are not public.
func (d *Driver) distrusts(j *running, s *session, now int64) bool {
	return deal.Distrusts(j.sealed(), d.trust.Get(s.peer.id, now))
}

// stay is how a worker comes and goes, as it says.
func (s *session) stay() match.Stay {
	return match.Stay{Share: s.cap.Share, Millis: s.cap.Stays}
}

// sealed reports whether a job's inputs are not public.
func (j *running) sealed() bool { return !isPublic(j.state.Job().Spec.Sensitivity) }

// place tells a job where a worker is, before its next lease.
func (d *Driver) place(j *running, p *peer, now int64) {
	ev := &job.Placed{Worker: p.id, Place: d.placeOf(j, p)}
	d.append(j.id, ev, nil)
	d.step(j, ev, now)
}
