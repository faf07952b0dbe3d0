package core

import (
	"math"
	"net/netip"
	"slices"
	"time"

	"kith/simnet/links"
	"kith/simnet/scenario"
	"kith/storage/dag"
	"kith/tasks"
	"kith/tasks/job"
	"kith/tasks/match"
)

var none netip.Addr

// How a host behaves on the network.
const (
	maxSessions = 16   // submitters at once, as a node
	depth       = 2    // leases asked for a slot: one to work at and one to go on with
	silence     = 16e6 // until a submitter misses a host that is reached through a relay, microseconds
	unanswered  = 3e6  // until it doubts one that answers no ping
	heartbeat   = 5e6  // microseconds
	backoff     = 1e6  // before a lost session is dialled again
	refilled    = 60e6 // after `filled`
	dialTrips   = 4    // round trips from an offer to a lease's request: connect 1, identify 1, hello 1, half each way
	flapEvery   = 60 * time.Second
	flapFor     = 8 * time.Second
	awakeFor    = 20 * time.Minute // between two looks at the owner of a laptop
	lookAround  = 600e6            // between two looks of a host around the directory, microseconds
)

// host is one volunteer's machine.
type host struct {
	id     tasks.NodeID
	group  string
	sess   []*session
	queue  []uint32 // leases that wait for a slot
	active []uint32 // leases that run, wait for being sent, or are asleep
	class  uint32
	gen    uint32 // counts its goings
	factor float32
	mile   int32 // microseconds
	region uint8
	relay  uint8 // of one that is reached through a relay alone
	slots  uint8
	busy   uint8
	online bool
	left   bool // for good

	deaf     int64 // to gossip of the side it was parted from, until then
	stay     int64 // how long it will, if that was settled before it came, microseconds
	since    int64 // online, microseconds
	here     int64 // time on the network before
	done     int32
	accepted int32
	wrong    int32 // accepted and wrong
	lies     int32
	soleLies int32 // of them, while believed alone
	alone    int32 // results while believed alone, since it began to lie
	atCatch  int32 // lies, when caught
	soleAt   int32
	firstLie int64
	caughtAt int64
	worth    float32 // seconds of a plain host's time in accepted work
}

// lease is one execution. Its place in World.leases is used again; serial tells the uses apart.
type lease struct {
	job      *running
	sess     *session
	ref      job.Ref
	id       tasks.LeaseID
	host     uint32
	serial   uint32
	state    leaseState
	lie      bool
	oneIn    uint16  // of results like it, one is audited; 0: not alone
	copy     bool    // of a straggler's
	told     bool    // the submitter has its commit
	stranger bool    // its host was bound by a quota
	cost     float32 // seconds of a plain host's time
	began    int64
	ends     int64 // when running; what is left when asleep
	root     dag.CID
	digest   [32]byte
}

type leaseState uint8

const (
	sent leaseState = iota
	waiting
	running_
	asleep
	ready // computed, its commit not heard
)

// keeps reports whether a host that goes will be back with what it was doing.
func (h *host) keeps(w *World) bool {
	switch w.classes[h.class].Actor {
	case scenario.Flapping, scenario.Laptop:
		return !h.left
	}
	return false
}

func (w *World) come(i uint32) {
	h := &w.hosts[i]
	if h.online || h.left {
		return
	}
	h.online, h.since = true, w.now
	w.alive++
	c := &w.classes[h.class]
	switch {
	case c.Actor == scenario.Flapping:
		w.push(moment{at: w.now + int64(float64(flapEvery.Microseconds())*w.rng.ExpFloat64()), what: gone, a: i, b: h.gen})
	case c.Actor == scenario.Laptop:
		w.push(moment{at: w.now + w.untilAwake(i, time.Duration(w.now)*time.Microsecond, true).Microseconds(), what: gone, a: i, b: h.gen})
	case w.sc.Churn.Typical:
		stay := h.stay
		if h.stay = 0; stay == 0 {
			stay = links.Session(w.rng).Microseconds()
		}
		w.push(moment{at: w.now + stay, what: gone, a: i, b: h.gen})
	}
	for _, l := range slices.Clone(h.active) {
		if x := &w.leases[l]; x.state == asleep {
			x.state, x.ends = running_, w.now+x.ends
			w.push(moment{at: x.ends, what: finish, a: l, b: x.serial})
		}
	}
	for _, s := range slices.Clone(h.sess) {
		w.redial(i, s)
	}
}

// redial takes a lost session up again.
func (w *World) redial(i uint32, s *session) {
	h := &w.hosts[i]
	gen := h.gen
	w.after(backoff+2*w.rtt(h, s.sub), func() {
		switch {
		case !h.online || h.gen != gen || s.gone:
		case s.sub.down || !w.touch(h, s.sub):
			w.redial(i, s)
		default:
			s.sub.resume(s)
		}
	})
}

// gone takes a host off the network. keep says that it comes back with what it was doing.
func (w *World) gone(i uint32, keep bool) {
	h := &w.hosts[i]
	h.online = false
	h.gen++
	h.here += w.now - h.since
	w.alive--
	c := &w.classes[h.class]
	if !keep {
		for _, l := range slices.Clone(h.active) {
			w.dropLocal(l)
		}
		for _, l := range slices.Clone(h.queue) {
			w.dropLocal(l)
		}
		h.busy = 0
	} else if c.Actor == scenario.Laptop {
		for _, l := range h.active {
			if x := &w.leases[l]; x.state == running_ {
				x.state, x.ends = asleep, x.ends-w.now
				w.bump(x)
			}
		}
	}
	for _, s := range h.sess {
		w.push(moment{at: w.now + w.unheard(h), what: missed, a: i, b: h.gen})
		s.dead = !keep
	}
	if h.left {
		return
	}
	var back time.Duration
	switch {
	case c.Actor == scenario.Flapping:
		back = time.Duration(float64(flapFor) * w.rng.ExpFloat64())
	case c.Actor == scenario.Laptop:
		back = w.untilAwake(i, time.Duration(w.now)*time.Microsecond, false)
	case w.sc.Churn.Typical:
		back = links.Absence(w.rng)
	default:
		return
	}
	w.push(moment{at: w.now + back.Microseconds(), what: come, a: i})
}

// relayed reports whether a host is reached through a relay alone.
func (w *World) relayed(h *host) bool { return w.classes[h.class].Actor == scenario.Relayed }

// unheard is how long it takes to miss a host, microseconds.
func (w *World) unheard(h *host) int64 {
	if w.relayed(h) {
		return silence
	}
	return unanswered
}

// stay is how a host comes and goes, as it would know of itself.
func (w *World) stay(h *host) match.Stay {
	switch {
	case w.classes[h.class].Actor == scenario.Laptop:
		return match.Stay{Share: int(math.Round(1000 * links.AwakeMean))}
	case w.sc.Churn.Typical:
		return match.Stay{Share: int(1000 * links.Present), Millis: links.SessionMedian().Milliseconds()}
	}
	return match.Stay{}
}

// bump makes what is planned for a lease void.
func (w *World) bump(x *lease) { x.serial++ }

// untilAwake draws how long a laptop stays asleep (or, with open, awake) from a time on.
func (w *World) untilAwake(i uint32, at time.Duration, open bool) time.Duration {
	total := time.Duration(0)
	for range 1000 {
		step := time.Duration(float64(awakeFor) * w.rng.ExpFloat64())
		total += step
		if (w.rng.Float64() < links.Awake(int(w.hosts[i].region), at+total)) != open {
			break
		}
	}
	return total
}

// missed is a submitter's heartbeat running out for the sessions of a host.
func (w *World) missed(i, gen uint32) {
	h := &w.hosts[i]
	for _, s := range slices.Clone(h.sess) {
		if s.lostIn(w, h, gen) {
			s.sub.lost(s)
		}
	}
}

// parted and healed end and begin what crosses the cut.
func (w *World) parted() {
	for i := range w.hosts {
		h := &w.hosts[i]
		for _, s := range slices.Clone(h.sess) {
			if !w.touch(h, s.sub) {
				sess := s
				w.after(w.unheard(h), func() {
					if !w.touch(h, sess.sub) && !sess.gone && !sess.away {
						sess.sub.lost(sess)
						w.redial(uint32(i), sess)
					}
				})
			}
		}
	}
}

// healed mends the links. Lost sessions dial until they reach their submitter. Gossip of one side reaches a host of the
// other only when that has looked around in the directory, as it does every ten minutes or so.
func (w *World) healed() {
	w.was, w.cut = w.cut, [32]bool{}
	for i := range w.hosts {
		w.hosts[i].deaf = w.now + lookAround/2 + w.rng.Int64N(lookAround)
	}
}

// arrive puts a lease into its host's queue.
func (w *World) arrive(li uint32) {
	l := &w.leases[li]
	h := &w.hosts[l.host]
	if !h.online || l.sess.gone || !w.touch(h, l.sess.sub) {
		w.free(li)
		return
	}
	if w.classes[h.class].Actor == scenario.Eclipse {
		h.active = append(h.active, li) // and that is the last anybody hears of it
		l.state = ready
		l.told = true
		return
	}
	l.state = waiting
	h.queue = append(h.queue, li)
	w.work(l.host)
}

// work starts what has a free slot.
func (w *World) work(i uint32) {
	h := &w.hosts[i]
	for h.online && h.busy < h.slots && len(h.queue) > 0 {
		li := h.queue[0]
		h.queue = h.queue[1:]
		l := &w.leases[li]
		h.busy++
		h.active = append(h.active, li)
		l.state, l.began = running_, w.now
		if l.copy && !l.job.spec.Warm {
			w.m.hedges++
		}
		d := float64(l.cost) * float64(h.factor) * 1e6
		if w.classes[h.class].Actor == scenario.Copier {
			d = 1000
		}
		if in := l.job.spec.Input; in > 0 && w.sc.Net.Bandwidth > 0 {
			d += 1e6 * float64(in) / float64(w.sc.Net.Bandwidth)
			w.m.sent("blocks", 1+in>>20, in)
		}
		l.ends = w.now + int64(d)
		w.push(moment{at: l.ends, what: finish, a: li, b: l.serial})
		if at := w.now + int64(w.rng.IntN(heartbeat)); at < l.ends {
			w.push(moment{at: at + w.oneWay(h, l.sess.sub), what: beat, a: li, b: l.serial})
		}
	}
	if len(h.queue) == 0 {
		h.queue = nil
	}
}

// finish ends a computation.
func (w *World) finish(li uint32) {
	l := &w.leases[li]
	h := &w.hosts[l.host]
	h.busy--
	h.done++
	l.state = ready
	w.spend(l, 1)
	if !l.job.spec.Warm {
		w.m.executions++
	}
	w.compute(l, h)
	w.sendCommit(li)
	w.work(l.host)
}

func (w *World) sendCommit(li uint32) {
	l := &w.leases[li]
	h := &w.hosts[l.host]
	if !h.online || l.sess.away || l.told {
		return
	}
	w.m.sent("session", 1, 96)
	w.push(moment{at: w.now + w.oneWay(h, l.sess.sub), what: commit, a: li, b: l.serial})
}

// compute decides what a host says the result is.
func (w *World) compute(l *lease, h *host) {
	c := &w.classes[h.class]
	truth := l.job.truth(l.ref)
	l.root = truth
	awake := c.Actor.Lies() && int(h.accepted) >= c.After
	if awake && l.oneIn > 0 {
		h.alone++
	}
	lies := awake && (c.Lie >= 1 || w.falsifies(l, c))
	if lies {
		l.lie = true
		h.lies++
		if l.oneIn > 0 {
			h.soleLies++
			w.m.unaudited += 1 - 1/float64(l.oneIn)
		}
		if h.firstLie == 0 {
			h.firstLie = w.now
		}
		switch c.Actor {
		case scenario.Constant:
			l.root = sumOf("constant", uint64(h.class), 0, 0)
		case scenario.Colluder, scenario.Sybil:
			l.root = sumOf("colluders", uint64(h.class), uint64(l.ref.Stage)<<32|uint64(l.ref.Index), l.job.number)
		case scenario.Copier:
			l.root = truth // the root it heard of; it has no bytes to salt
		default:
			l.root = sumOf("wrong", w.rng.Uint64(), uint64(l.host), 0)
		}
	}
	if c.Actor.Lies() && !lies {
		w.m.goodwill += float64(l.cost)
	}
	l.digest = digestOf(l.id, l.root)
	if c.Actor == scenario.Copier && lies {
		l.digest[0] ^= 1 // another worker's digest, under another salt
	}
}

// falsifies draws whether a liar that is awake lies at a task. Those who collude have agreed on which tasks, so that one of
// them that audits another confirms the lie.
func (w *World) falsifies(l *lease, c *class) bool {
	if c.Actor == scenario.Colluder || c.Actor == scenario.Sybil {
		return float64(mix(w.sc.Seed^l.job.number^uint64(l.ref.Stage)<<40^uint64(l.ref.Index))>>11)/(1<<53) < c.Lie
	}
	return w.rng.Float64() < c.Lie
}

// digestOf stands for the salted digest of an output: only who has the output and the lease can name it.
func digestOf(id tasks.LeaseID, root dag.CID) (d [32]byte) {
	for i := range d {
		d[i] = id[i] ^ root[4+i%30]
	}
	return d
}

// stopped ends a lease whose cancel has come.
func (w *World) stopped(li uint32) {
	l := &w.leases[li]
	if l.state == running_ {
		w.spend(l, w.share(l))
	}
	host := l.host
	w.dropLocal(li)
	w.free(li)
	w.work(host)
}

// spend notes that a share of a task was computed.
func (w *World) spend(l *lease, share float64) {
	if !l.job.spec.Warm {
		w.m.spent += float64(l.cost) * share
	}
}

// share is how much of a running lease is done.
func (w *World) share(l *lease) float64 {
	if l.ends <= l.began {
		return 1
	}
	return math.Min(1, float64(w.now-l.began)/float64(l.ends-l.began))
}

// dropLocal takes a lease out of its host.
func (w *World) dropLocal(li uint32) {
	l := &w.leases[li]
	h := &w.hosts[l.host]
	if at := slices.Index(h.active, li); at >= 0 {
		h.active[at] = h.active[len(h.active)-1]
		h.active = h.active[:len(h.active)-1]
		if l.state == running_ || l.state == asleep {
			h.busy--
			if l.state == running_ && !h.online {
				w.spend(l, w.share(l))
			}
		}
	} else if at := slices.Index(h.queue, li); at >= 0 {
		h.queue = slices.Delete(h.queue, at, at+1)
	}
	l.state = sent
	w.bump(l)
}

// free gives a lease's place back.
func (w *World) free(li uint32) {
	l := &w.leases[li]
	if l.job == nil {
		return
	}
	if l.state != sent {
		w.dropLocal(li)
	}
	if l.sess != nil {
		l.sess.release(li)
		if l.stranger {
			l.job.strange--
			l.sess.sub.byGroup[l.sess.place.Group]--
		}
	}
	if at, ok := l.job.leases[l.id]; ok && at == li {
		delete(l.job.leases, l.id)
	}
	serial := l.serial + 1
	*l = lease{serial: serial}
	w.unused = append(w.unused, li)
}

func (w *World) newLease() uint32 {
	if n := len(w.unused); n > 0 {
		li := w.unused[n-1]
		w.unused = w.unused[:n-1]
		return li
	}
	w.leases = append(w.leases, lease{})
	return uint32(len(w.leases) - 1)
}

func (h *host) account() string { return match.Account("", h.id, h.group) }
