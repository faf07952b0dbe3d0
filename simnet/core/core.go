// Package core simulates a fleet on the pure core: job.Step, match, trust and verify are the real ones, hosts and the
// network between them are agents in one loop over a queue of moments. Nothing reads a clock or draws from anywhere but
// the seed, so that a scenario and a seed give the same run, verdict for verdict, on every machine.
//
// A submitter here follows the order of package submit's driver: offers with rings, sessions, leases dealt to whom
// match.Choose finds cheapest, commits, reveals, verdicts after they are on disk. It looks at no more than tableSize
// sessions with room at a time, which for as few as a node has makes no difference.
package core

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"math"
	"math/rand/v2"
	"runtime"
	"strconv"
	"time"

	"kith/simnet/links"
	"kith/simnet/report"
	"kith/simnet/scenario"
	"kith/tasks"
	"kith/tasks/match"
)

// epoch is when every simulation begins, Unix milliseconds: midnight UTC.
const epoch = 19_700 * 86_400_000

// World is one simulated fleet. It is not safe for concurrent use.
type World struct {
	sc    *scenario.Scenario
	rng   *rand.Rand
	now   int64 // microseconds since the start
	queue queue
	hosts []host
	alive int // hosts on the network
	// classes are sc.Hosts with what is the same for all of them.
	classes []class
	subs    []*submitter
	leases  []lease
	unused  []uint32
	cut     [32]bool // regions out of touch with the others
	was     [32]bool // and those that were, until the last heal
	open    int      // jobs not over, or to come
	// meetings is what who has met whom is drawn from.
	meetings uint64
	m        meter
	sum      hash.Hash // over verdicts
	events   int64
}

type class struct {
	scenario.Hosts
	factor float64
	groups []string
}

// New makes the world of a scenario. It does nothing before Run.
func New(sc *scenario.Scenario) *World {
	w := &World{sc: sc, rng: rand.New(rand.NewPCG(sc.Seed, 0x6b697468)), sum: sha256.New()}
	w.m.init()
	for _, h := range sc.Hosts {
		c := class{Hosts: h, factor: h.Factor}
		if c.factor == 0 {
			c.factor = map[scenario.Actor]float64{scenario.Slow: 4, scenario.Straggler: 20}[h.Actor]
		}
		if c.factor == 0 {
			c.factor = 1
		}
		for range h.Groups {
			c.groups = append(c.groups, w.group())
		}
		w.classes = append(w.classes, c)
		w.m.actors = append(w.m.actors, report.Actor{Name: string(h.Actor)})
	}
	for i := range sc.Submitters() {
		w.subs = append(w.subs, newSubmitter(w, i))
	}
	w.populate()
	w.introduce()
	for i := range sc.Jobs {
		j := &sc.Jobs[i]
		for n := range j.Repeat {
			w.open++
			w.at(j.At+time.Duration(n)*j.Every, func() { w.subs[j.Submitter-1].submit(j) })
		}
	}
	for i := range sc.Acts {
		a := &sc.Acts[i]
		w.at(a.At, func() { w.act(a) })
	}
	if h := sc.Churn.Hourly; h > 0 && !sc.Churn.Typical {
		w.scheduleChurn()
	}
	w.push(moment{at: 0, what: sample})
	return w
}

func (w *World) group() string {
	n := w.rng.Uint32()
	return "11." + strconv.Itoa(int(n>>16&255)) + "." + strconv.Itoa(int(n>>8&255)) + ".0/24#" + strconv.Itoa(int(n&0xffff))
}

// populate makes the hosts, each class in turn, and lets them come.
func (w *World) populate() {
	total := 0
	for i := range w.classes {
		c := &w.classes[i]
		n := int(math.Round(c.Share * float64(w.sc.Nodes)))
		if i == len(w.classes)-1 {
			n = w.sc.Nodes - total
		}
		total += n
		w.m.actors[i].Hosts = n
		for k := range n {
			at := c.Join
			if c.Over > 0 {
				at += time.Duration(float64(c.Over) * float64(k) / float64(n))
			}
			w.settle(uint32(i), at)
		}
	}
}

// settle makes a host of a class that comes at a time.
func (w *World) settle(cl uint32, at time.Duration) uint32 {
	c := &w.classes[cl]
	i := uint32(len(w.hosts))
	h := host{class: cl, slots: uint8(min(c.Slots, 255))}
	for k := range 28 {
		h.id[k] = byte(w.rng.Uint32())
	}
	h.id[28], h.id[29], h.id[30], h.id[31] = byte(i>>24), byte(i>>16), byte(i>>8), byte(i)
	if h.slots == 0 {
		h.slots = uint8(1 << w.rng.IntN(4)) // 1, 2, 4 or 8 cores given
	}
	h.region = uint8(w.region(c.Region))
	h.mile = int32(4000 + w.rng.IntN(int(links.LastMile/time.Microsecond)-4000))
	h.factor = float32(c.factor * math.Exp(0.15*w.rng.NormFloat64()))
	switch {
	case c.Actor == scenario.Relayed:
		w.moor(&h, 0)
	case len(c.groups) > 0:
		h.group = c.groups[int(i)%len(c.groups)]
	default:
		h.group = w.group()
	}
	w.hosts = append(w.hosts, h)
	first := at
	switch {
	case c.Actor == scenario.Laptop:
		first += w.untilAwake(i, at, false)
	case w.sc.Churn.Typical && at == 0: // who is there was there before, and who is not was not
		if w.rng.Float64() < links.Present {
			w.hosts[i].stay = max(1, links.SessionLeft(w.rng).Microseconds())
		} else {
			first += links.AbsenceLeft(w.rng)
		}
	}
	w.push(moment{at: first.Microseconds(), what: come, a: i})
	return i
}

func (w *World) region(code string) int {
	if code != "" {
		return links.Index(code)
	}
	x := w.rng.Float64()
	for _, r := range w.sc.Regions {
		if x -= r.Share; x < 0 {
			return links.Index(r.Code)
		}
	}
	return links.Index(w.sc.Regions[len(w.sc.Regions)-1].Code)
}

func (w *World) push(m moment) { w.queue.push(m) }

func (w *World) at(t time.Duration, f func()) { w.push(moment{at: t.Microseconds(), what: call, f: f}) }

func (w *World) after(micros int64, f func()) { w.push(moment{at: w.now + micros, what: call, f: f}) }

// millis is the time as the core wants it.
func (w *World) millis() int64 { return epoch + w.now/1000 }

// Run plays the scenario until all jobs are over, its limit, or the end of ctx.
func (w *World) Run(ctx context.Context) (*report.Report, error) {
	began := time.Now() // for the report alone
	limit := w.sc.Limit.Microseconds()
	for len(w.queue.items) > 0 && w.open > 0 && len(w.m.broken) == 0 {
		m := w.queue.pop()
		if m.at > limit {
			break
		}
		w.now = m.at
		w.dispatch(&m)
		if w.events++; w.events&0xffff == 0 {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			w.m.weigh()
		}
	}
	w.m.weigh()
	r := w.report()
	r.Values["wall"] = time.Since(began).Seconds()
	r.Values["heap"] = float64(w.m.heap) / (1 << 20)
	r.Judge(w.sc)
	return r, nil
}

func (w *World) dispatch(m *moment) {
	switch m.what {
	case call:
		m.f()
	case come:
		w.come(m.a)
	case gone:
		if h := &w.hosts[m.a]; h.online && h.gen == m.b {
			w.gone(m.a, h.keeps(w))
		}
	case missed:
		w.missed(m.a, m.b)
	case answer:
		m.f()
	case dealing:
		w.subs[m.a].deal()
	case tick:
		w.subs[m.a].tick()
	case decided:
		w.subs[m.a].decided()
	case sample:
		w.sample()
	default:
		l := &w.leases[m.a]
		if l.serial != m.b || l.job == nil {
			return
		}
		switch m.what {
		case arrive:
			w.arrive(m.a)
		case beat:
			l.sess.sub.heardBeat(m.a)
		case finish:
			w.finish(m.a)
		case commit:
			l.sess.sub.heardCommit(m.a)
		case reveal:
			l.sess.sub.heardReveal(m.a)
		case stop:
			w.stopped(m.a)
		}
	}
}

// act does what the scenario says happens now.
func (w *World) act(a *scenario.Act) {
	switch a.Verb {
	case scenario.Partition:
		for _, r := range a.Args {
			w.cut[links.Index(r)] = true
		}
		w.parted()
	case scenario.Heal:
		w.healed()
	case scenario.Crash:
		w.subs[a.Count-1].crash()
	case scenario.Restart:
		w.subs[a.Count-1].restart()
	case scenario.Leave:
		for i := range w.hosts {
			if w.rng.Float64() < a.Share {
				w.hosts[i].left = true
				if w.hosts[i].online {
					w.gone(uint32(i), false)
				}
			}
		}
	case scenario.Storm:
		w.storm(a.Count, a.Span)
	case scenario.Hub:
		w.hub(a.Span)
	}
}

// relays is how many nodes carry those that can be reached in no other way. The first is the hub.
const relays = 8

// moor gives a host one of the relays from a number on.
func (w *World) moor(h *host, from int) {
	h.relay = uint8(from + w.rng.IntN(relays-from))
	h.group = match.Group(match.WAN, none, true, "relay-"+strconv.Itoa(int(h.relay)))
}

// hub takes the hub away for a time: its own jobs wait, and who was reached through it finds another relay within a
// minute and comes back with what it was doing.
func (w *World) hub(span time.Duration) {
	w.subs[0].crash()
	w.after(span.Microseconds(), w.subs[0].restart)
	for i := range w.hosts {
		h := &w.hosts[i]
		if w.classes[h.class].Actor != scenario.Relayed || h.relay != 0 {
			continue
		}
		w.moor(h, 1)
		if h.online {
			w.gone(uint32(i), true)
			w.push(moment{at: w.now + 20e6 + w.rng.Int64N(40e6), what: come, a: uint32(i)})
		}
	}
}

// scheduleChurn lets a host go for good after an exponential time, and another of its class come in its place.
func (w *World) scheduleChurn() {
	rate := w.sc.Churn.Hourly * float64(w.sc.Nodes) / 3600e6 // a microsecond
	w.after(int64(w.rng.ExpFloat64()/rate), func() {
		for range 64 {
			i := uint32(w.rng.IntN(len(w.hosts)))
			h := &w.hosts[i]
			if h.online && !h.left {
				h.left = true
				cl := h.class
				w.gone(i, false)
				w.settle(cl, time.Duration(w.now+1e6)*time.Microsecond)
				break
			}
		}
		w.scheduleChurn()
	})
}

// storm is a spammer that publishes offers of a job it never gives work of.
func (w *World) storm(perSecond int, span time.Duration) {
	end := w.now + span.Microseconds()
	seen := 0
	var one func()
	one = func() {
		// A node admits so many offers of one submitter while it remembers them; the rest go no further than the
		// spammer's neighbours.
		const admitted, neighbours, size = 1 << 10, 6, 900
		reach := neighbours
		if seen < admitted {
			reach = w.alive
		}
		seen++
		w.m.sent("offers", int64(reach), int64(reach)*size)
		if w.now < end {
			w.after(1e6/int64(perSecond), one)
		}
	}
	one()
}

// oneWay is how long a message takes between a host and a submitter, in microseconds; jitter is up to 5 %.
func (w *World) oneWay(h *host, s *submitter) int64 {
	rtt := w.rtt(h, s)
	d := rtt/2 + int64(w.rng.Uint64N(uint64(rtt/40+1)))
	for p := w.sc.Net.Loss; p > 0 && w.rng.Float64() < p; {
		d += rtt + 25_000 // probe time-out of QUIC
	}
	return d
}

func (w *World) rtt(h *host, s *submitter) int64 {
	if r := w.sc.Net.RTT; r > 0 {
		return r.Microseconds()
	}
	d := links.RTT(int(h.region), s.region).Microseconds() + int64(h.mile)
	if w.classes[h.class].Actor == scenario.Relayed {
		d = d*3/2 + 20_000
	}
	return d
}

// touch reports whether a host and a submitter can reach one another.
func (w *World) touch(h *host, s *submitter) bool { return w.cut[h.region] == w.cut[s.region] }

// hostOf finds the host of a node id, which ends in its number.
func (w *World) hostOf(id tasks.NodeID) uint32 {
	return uint32(id[28])<<24 | uint32(id[29])<<16 | uint32(id[30])<<8 | uint32(id[31])
}

func (w *World) broke(err error) {
	if err != nil {
		w.m.broken = append(w.m.broken, fmt.Sprintf("at %s: %v", time.Duration(w.now)*time.Microsecond, err))
	}
}

func (w *World) digest() string { return hex.EncodeToString(w.sum.Sum(nil)[:16]) }

// weigh notes the memory in use.
func (m *meter) weigh() {
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	m.heap = max(m.heap, s.HeapInuse+s.StackInuse)
}
