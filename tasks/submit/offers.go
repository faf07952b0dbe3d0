package submit

import (
	"context"
	"crypto/rand"
	"time"

	"kith/tasks/match"
	"kith/tasks/wire"
)

// offerLife is how long an offer may be answered.
const offerLife = 30 * time.Second

// want returns how many sessions a job asks for.
func want(j *running) int {
	p := &j.state.Job().Spec.Policy
	if p.SessionsWant > 0 {
		return min(p.SessionsWant, wire.MaxSlots)
	}
	const usual = 16
	return min(max(p.N, usual), j.state.NodeLimit())
}

// usable counts the sessions a job may use.
func (d *Driver) usable(j *running) (n int) {
	for _, s := range d.sessions {
		if d.fits(j, s) {
			n++
		}
	}
	return n
}

// surplus reports whether a job has more than enough workers to turn another away.
func (d *Driver) surplus(j *running, s *session) bool {
	if d.usable(j) >= want(j)*match.DialsPerWant {
		return true
	}
	return j.state.Workers() >= j.state.NodeLimit() && !j.state.Knows(s.peer.id)
}

// offer publishes an offer of a job when one is due: while it has fewer sessions than it wants and work to give. The
// ring widens with every one that is not answered enough; the gaps are those of match.Ring.
func (d *Driver) offer(j *running, now int64) {
	if j.offerAt == 0 || j.offerAt > now || j.state.Phase().Over() {
		return
	}
	missing := want(j) - d.usable(j)
	if missing <= 0 {
		j.offerSince, j.skipped, j.quest.row = 0, 0, 0
		j.offerAt = now + match.LongestGap.Milliseconds()
		d.due(j.offerAt)
		return
	}
	if j.offerSince == 0 {
		j.offerSince = now
	}
	ring, next := match.Ring(time.Duration(now-j.offerSince) * time.Millisecond)
	ring = min(ring+j.skipped, match.LastRing)
	j.ring = ring
	j.offerAt = j.offerSince + next.Milliseconds()
	d.due(j.offerAt)
	spec := &j.state.Job().Spec
	o := wire.Offer{
		Job: j.id, Want: missing, Ring: min(ring, wire.MaxRing), Class: spec.Policy.DeviceClass, Sandbox: spec.Policy.MinSandbox,
		Time: now, Expiry: now + offerLife.Milliseconds(),
	}
	rand.Read(o.Nonce[:])
	for i := range spec.Ops {
		o.Kinds = append(o.Kinds, spec.Ops[i].Kind)
	}
	d.prepare(j)
	for i := range j.plan {
		o.Memory = max(o.Memory, j.plan[i].needs.Memory)
		o.Sandbox = max(o.Sandbox, j.plan[i].needs.Sandbox)
	}
	if d.o.Region != nil {
		o.Region = d.o.Region()
	}
	if d.o.Addresses != nil {
		o.Addresses = d.o.Addresses()
		o.Addresses = o.Addresses[:min(len(o.Addresses), wire.MaxAddresses)]
	}
	j.offers++
	search := d.mayFind(j, ring, now)
	d.work.Go(func() {
		b, err := wire.SignOffer(d.o.Network, d.o.Key, o)
		for err != nil && len(o.Addresses) > 0 { // over 1 KB: with fewer addresses
			o.Addresses = o.Addresses[:len(o.Addresses)-1]
			b, err = wire.SignOffer(d.o.Network, d.o.Key, o)
		}
		reached := 0
		if err == nil {
			ctx, cancel := context.WithTimeout(d.ctx, handshake)
			defer cancel()
			reached, err = d.o.Offers.Publish(ctx, o.Class, o.Ring, b)
		}
		if err != nil && d.ctx.Err() == nil {
			d.log.Warn("Cannot publish an offer", slogJob(j.id), slogErr(err))
		}
		d.box.Post(func() {
			if search && b != nil {
				d.find(j, &o, b, time.Now().UnixMilli())
			}
			j.reached = reached
			if err == nil && reached == 0 && j.skipped < match.Rings && j.offerAt != 0 { // nobody is there: no need to wait for answers
				j.skipped++
				j.offerAt = time.Now().UnixMilli()
				d.due(j.offerAt)
			}
		})
	})
}
