package core

import (
	"fmt"
	"slices"
	"time"

	"kith/simnet/links"
	"kith/simnet/scenario"
	"kith/storage/dag"
	"kith/tasks"
	"kith/tasks/deal"
	"kith/tasks/job"
	"kith/tasks/match"
	"kith/tasks/merge"
	"kith/tasks/trust"
)

// The pace of a submitter, as its driver has it.
const (
	syncMicros  = 5_000  // group commit
	mergeMicros = 20_000 // one merge, composition or gather
	dealGap     = 10_000 // between two rounds of dealing
	tableSize   = 64     // sessions with room looked at together
	scanned     = 512    // sessions offered work in one round
	quantum     = 16     // leases of one of several jobs, before the next has its turn
	leaseLife   = int64(4 * time.Minute / time.Millisecond)
)

// running is one job at its submitter.
type running struct {
	sub     *submitter
	spec    *scenario.Job
	number  uint64
	state   *job.State
	check   job.Checker
	leases  map[tasks.LeaseID]uint32
	log     [][]byte // what a crash leaves
	logTime []int64
	begun   int64 // microseconds
	first   bool  // has had a lease
	started []int64
	results [][]dag.CID // accepted so far, by stage
	offerAt int64
	since   int64
	ring    int
	skipped int // rings nobody was in
	dials   int // in this ring
	want    int
	lies    int // proofs on their way to the disk
	strange int // leases of strangers
	quest   quest
	over    bool
}

// submitter is one node's submitting side.
type submitter struct {
	w       *World
	index   uint32
	id      tasks.NodeID
	region  int
	book    *trust.Book
	jobs    []*running // not over
	all     []*running
	by      map[uint32]*session
	list    []*session
	idle    []*session
	turn    int
	slots   int // of all sessions
	live    int // leases without a commit
	dealing bool
	tickAt  int64
	saving  []decision
	queued  bool
	down    bool
	table   deal.Table
	worker  deal.Worker    // about to be seated
	stuck   bool           // nobody at hand may do what is open
	known   bool           // somebody here has proven itself
	met     []uint32       // hosts it knew before
	byGroup map[string]int // leases of strangers, by network origin
}

type decision struct {
	j *running
	d job.Decision
}

func newSubmitter(w *World, i int) *submitter {
	s := &submitter{w: w, index: uint32(i), book: trust.NewBook(), by: map[uint32]*session{}, byGroup: map[string]int{}}
	for k := range s.id {
		s.id[k] = byte(w.rng.Uint32())
	}
	s.region = w.region("")
	return s
}

func sumOf(what string, a, b, c uint64) dag.CID {
	var buf [64]byte
	n := copy(buf[:], what)
	for _, v := range [...]uint64{a, b, c} {
		for k := range 8 {
			buf[n] = byte(v >> (8 * k))
			n++
		}
	}
	return dag.Sum(dag.Raw, dag.SHA256, buf[:n])
}

// truth is the right result of a task.
func (j *running) truth(r job.Ref) dag.CID {
	return sumOf("right", j.number, uint64(r.Stage), uint64(r.Index))
}

// submit accepts a job.
func (s *submitter) submit(spec *scenario.Job) {
	w := s.w
	if s.down {
		s.w.after(1e6, func() { s.submit(spec) })
		return
	}
	number := w.rng.Uint64()
	j := &running{sub: s, spec: spec, number: number, leases: map[tasks.LeaseID]uint32{}, begun: w.now}
	if spec.Tasks <= 20_000 {
		j.check.Every = 5000
	}
	first := &job.Accepted{Job: tasks.Job{Submitter: s.id, Created: w.millis(), Spec: tasks.Spec{Policy: w.policy(j), Sensitivity: tasks.Public}}}
	for k := range first.Job.ID {
		first.Job.ID[k] = byte(w.rng.Uint32())
		first.Secret[k] = byte(w.rng.Uint32())
	}
	j.state = job.New(first)
	j.write(first)
	s.jobs, s.all = append(s.jobs, j), append(s.all, j)
	j.want = spec.Want
	if j.want == 0 {
		j.want = min(max(spec.N, 16), j.state.NodeLimit())
	}
	s.step(j, &job.Planned{Stages: stages(spec), Parts: spec.Tasks})
	s.plant(j)
	j.offerAt = w.now + 1
	s.wake(w.now + 1)
}

// stages lays a job out: one map, or map, reduce, gather, map.
func stages(spec *scenario.Job) []tasks.Stage {
	step := []tasks.Step{{Kind: "sim"}}
	if !spec.Reduce {
		return []tasks.Stage{{Mode: tasks.Map, Inputs: []int{tasks.Source}, Steps: step}}
	}
	return []tasks.Stage{
		{Index: 0, Mode: tasks.Map, Inputs: []int{tasks.Source}, Ranges: min(max(1, spec.Tasks/4), 64), Steps: step},
		{Index: 1, Mode: tasks.Reduce, Inputs: []int{0}, Steps: step},
		{Index: 2, Mode: tasks.Gather, Inputs: []int{1}, Steps: step},
		{Index: 3, Mode: tasks.Map, Inputs: []int{2, 0}, Steps: step},
	}
}

// plant makes room for what is measured of a planned job.
func (s *submitter) plant(j *running) {
	j.results = make([][]dag.CID, j.state.Stages())
	for i := range j.results {
		st := j.state.Stage(i)
		if st.Mode == tasks.Gather {
			continue
		}
		all := make([]tasks.Stage, j.state.Stages())
		for k := range all {
			all[k] = j.state.Stage(k)
		}
		j.results[i] = make([]dag.CID, st.Count(j.state.Parts(), all))
	}
	if n := len(j.results[0]); n <= 1<<17 {
		j.started = make([]int64, n)
	}
}

// write logs an event that is logged, for scenarios in which submitters crash.
func (j *running) write(ev job.Event) {
	if !j.sub.w.crashes() {
		return
	}
	b, err := job.Encode(ev)
	if err != nil {
		return // not a logged one
	}
	j.log, j.logTime = append(j.log, b), append(j.logTime, j.sub.w.millis())
}

func (w *World) crashes() bool {
	return slices.ContainsFunc(w.sc.Acts, func(a scenario.Act) bool { return a.Verb == scenario.Crash || a.Verb == scenario.Hub })
}

// step folds an event and does what follows.
func (s *submitter) step(j *running, ev job.Event) {
	if j.over {
		return
	}
	j.write(ev)
	var a job.Actions
	s.w.broke(j.check.Step(j.state, ev, s.w.millis(), &a))
	s.act(j, &a)
}

func (s *submitter) act(j *running, a *job.Actions) {
	w := s.w
	if a.Opened {
		s.stuck = false
		s.hungry()
	}
	for i := range a.Cancel {
		c := &a.Cancel[i]
		w.m.sent("session", 1, 64)
		if li, ok := j.leases[c.Lease]; ok {
			l := &w.leases[li]
			w.push(moment{at: w.now + w.oneWay(&w.hosts[l.host], s), what: stop, a: li, b: l.serial})
			s.uncount(li)
		}
	}
	for i := range a.Settle {
		o := &a.Settle[i]
		if o.Verdict.Outcome == tasks.Lapsed {
			if li, ok := j.leases[o.Verdict.Lease]; ok {
				l := &w.leases[li]
				w.push(moment{at: w.now + w.oneWay(&w.hosts[l.host], s), what: stop, a: li, b: l.serial})
				s.uncount(li)
			}
		}
		s.note(j, o.Worker, o.Verdict.Lease, o.Verdict.Outcome)
	}
	for i := range a.Reveal {
		w.m.sent("session", 2, 64+420)
		if li, ok := j.leases[a.Reveal[i].Lease]; ok {
			l := &w.leases[li]
			h := &w.hosts[l.host]
			w.push(moment{at: w.now + w.oneWay(h, s) + w.oneWay(h, s), what: reveal, a: li, b: l.serial})
		}
	}
	for i := range a.Decide {
		s.saving = append(s.saving, decision{j, a.Decide[i]})
		if !s.queued {
			s.queued = true
			w.push(moment{at: w.now + syncMicros, what: decided, a: s.index})
		}
	}
	round := j.state.Round()
	soon := func(ev func() job.Event) { // what it is made of may be taken back meanwhile: then it is asked for again
		w.after(mergeMicros, func() {
			if j.state.Round() == round {
				s.later(j, ev())
			}
		})
	}
	for i := range a.Compose {
		c := a.Compose[i]
		soon(func() job.Event {
			in := []dag.CID{sumOf("composed", j.number, uint64(c.Task.Stage), uint64(c.Task.Index))}
			return job.Composed{Task: c.Task, ID: tasks.NewTaskID(j.state.Job().ID, c.Task.Stage, c.Task.Index, in), Inputs: in}
		})
	}
	for i := range a.Gather {
		g := a.Gather[i]
		soon(func() job.Event {
			roots := make([]dag.CID, j.state.Parts())
			for k := range roots {
				roots[k] = sumOf("gathered", j.number, uint64(g.Stage), uint64(k))
			}
			return &job.Gathered{Stage: g.Stage, Roots: roots}
		})
	}
	for i := range a.Merge {
		m := a.Merge[i]
		soon(func() job.Event { return &job.Merged{Level: m.Level, Index: m.Index, Root: mergeOf(&m)} })
	}
	if a.Finish != nil {
		s.conclude(j, a.Finish)
	}
	if a.End != nil {
		s.conclude(j, a.End)
	}
	if at, ok := j.state.NextTick(); ok {
		s.wake((at - epoch) * 1000)
	}
	if j.state.Phase().Over() && !j.over {
		s.over(j)
	}
}

// later steps what the submitter itself has worked at, unless it crashed meanwhile.
func (s *submitter) later(j *running, ev job.Event) {
	if !s.down {
		s.step(j, ev)
	}
}

func mergeOf(m *merge.Step) dag.CID {
	b := make([]byte, 0, len(m.Inputs)*dag.Size)
	for i := range m.Inputs {
		b = append(b, m.Inputs[i][:]...)
	}
	return dag.Sum(dag.Raw, dag.SHA256, b)
}

// wake asks for a look at the clocks at a time.
func (s *submitter) wake(at int64) {
	at = max(at, s.w.now+1)
	if s.tickAt == 0 || at < s.tickAt {
		s.tickAt = at
		s.w.push(moment{at: at, what: tick, a: s.index})
	}
}

// tick runs clocks and offers that are due.
func (s *submitter) tick() {
	if s.down || s.tickAt == 0 || s.w.now < s.tickAt {
		return
	}
	s.tickAt = 0
	for _, j := range slices.Clone(s.jobs) {
		if at, ok := j.state.NextTick(); ok && at <= s.w.millis() {
			s.step(j, job.Tick{})
		}
		if j.over {
			continue
		}
		s.offer(j)
		if at, ok := j.state.NextTick(); ok {
			s.wake((at - epoch) * 1000)
		}
		if j.offerAt > 0 {
			s.wake(j.offerAt)
		}
	}
}

// usable counts the sessions a job may use.
func (s *submitter) usable(j *running) (n int) {
	if len(j.spec.Regions) == 0 {
		return len(s.list)
	}
	for _, x := range s.list {
		if s.fits(j, x) {
			n++
		}
	}
	return n
}

func (s *submitter) fits(j *running, x *session) bool { return s.suits(j, &s.w.hosts[x.host]) }

// offer publishes an offer when one is due, in the ring that match.Ring says.
func (s *submitter) offer(j *running) {
	w := s.w
	if j.offerAt == 0 || j.offerAt > w.now {
		return
	}
	missing := j.want - s.usable(j)
	if missing <= 0 {
		j.since, j.skipped, j.quest.row = 0, 0, 0
		j.offerAt = w.now + match.LongestGap.Microseconds()
		return
	}
	if j.since == 0 {
		j.since = w.now
	}
	ring, next := match.Ring(time.Duration(w.now-j.since) * time.Microsecond)
	ring = min(ring+j.skipped, match.LastRing)
	if ring != j.ring || j.dials == 0 {
		j.ring = ring
	}
	j.dials = 0
	j.offerAt = j.since + next.Microseconds()
	var audience []uint32
	for i := range w.hosts {
		h := &w.hosts[i]
		if h.online && w.touch(h, s) && w.hears(h, s) && links.Ring(s.region, int(h.region)) <= ring && !s.has(uint32(i)) {
			audience = append(audience, uint32(i))
		}
	}
	if len(audience) == 0 && j.skipped < match.Rings {
		j.skipped++
		j.offerAt = w.now + 1
	}
	s.mayFind(j, missing)
	const size = 700
	w.m.sent("offers", int64(len(audience)), int64(len(audience))*size)
	for _, i := range audience {
		h := &w.hosts[i]
		act := w.classes[h.class].Actor
		greedy := act == scenario.Eclipse || act == scenario.Spammer
		if len(h.sess) >= maxSessions || !greedy && !match.Answers(missing, len(audience), w.rng.Float64()) {
			continue
		}
		rtt := time.Duration(w.rtt(h, s)) * time.Microsecond
		load := 1000 * int(h.busy) / max(1, int(h.slots))
		delay := match.AnswerDelay(rtt, load, w.rng.Float64(), greedy) + rtt/2 + dialTrips*rtt
		gen := h.gen
		w.push(moment{at: w.now + delay.Microseconds(), what: answer, f: func() { s.answered(j, i, gen) }})
	}
}

// over lets go of a job.
func (s *submitter) over(j *running) {
	j.over = true
	s.w.open--
	s.jobs = slices.DeleteFunc(s.jobs, func(o *running) bool { return o == j })
	s.w.m.concluded(j)
	fmt.Fprintf(s.w.sum, "over %d %s %s\n", j.number, j.state.Phase(), j.state.Result())
	for _, x := range slices.Clone(s.list) {
		for _, li := range slices.Clone(x.held) {
			if l := &s.w.leases[li]; l.job == j {
				s.uncount(li)
				host := l.host
				s.w.free(li)
				s.w.work(host)
			}
		}
	}
	j.leases = nil
}
