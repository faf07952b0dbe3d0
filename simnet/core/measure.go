package core

import (
	"fmt"
	"math"
	"slices"

	"kith/simnet/report"
	"kith/simnet/scenario"
	"kith/tasks/job"
	"kith/tasks/trust"
)

// meter is what a run is judged by.
type meter struct {
	actors     []report.Actor
	traffic    map[string]*report.Traffic
	order      []string
	firstLease []float64
	taskTimes  []float64
	spent      float64 // plain host seconds computed
	useful     float64 // of them, once for each accepted task
	executions int64
	hedges     int64 // copies of stragglers that began to run
	leases     int64
	wrongEver  int64
	goodwill   float64 // plain host seconds that liars were honest for
	unaudited  float64 // lies told alone, each times the chance that no audit is drawn for it
	dials      float64
	unknown    int64 // hosts that gossip did not reach at the beginning of a search, over all searches
	found      int64 // of them, those that the search found
	longest    int   // messages of one search
	filled     int64
	cleared    int64
	last       int64 // verdict, microseconds
	broken     []string
	remarks    []string
	heap       uint64

	gap    int64 // between samples, microseconds
	curves []report.Curve
	jobs   struct{ done, failed int }
	wrong  int64
	// tasks of jobs that are over, those of them that are done, and of those the ones of jobs that do not only warm up
	tasks    int64
	done     int64
	measured int64
}

func (m *meter) init() {
	m.traffic = map[string]*report.Traffic{}
	m.gap = 1e6
	for _, c := range [][2]string{
		{"tasks with a result", "%"}, {"hosts on the network", ""}, {"leases at work", ""}, {"wrong results accepted", ""}, {"liars caught", "%"}, {"computing time wasted", "%"},
	} {
		m.curves = append(m.curves, report.Curve{Name: c[0], Unit: c[1]})
	}
}

func (m *meter) sent(protocol string, messages, bytes int64) {
	t := m.traffic[protocol]
	if t == nil {
		t = &report.Traffic{Protocol: protocol}
		m.traffic[protocol] = t
		m.order = append(m.order, protocol)
	}
	t.Messages += messages
	t.Bytes += bytes
}

func (m *meter) dial(perWant float64) { m.dials = max(m.dials, perWant) }

// concluded looks at what a job's owner was handed.
func (m *meter) concluded(j *running) {
	if j.state.Phase() == job.Finished {
		m.jobs.done++
	} else {
		m.jobs.failed++
		m.remarks = append(m.remarks, fmt.Sprintf("a job of %d tasks ended without a result: %v", j.spec.Tasks, j.state.Reason()))
	}
	m.judge(j)
}

// judge counts the tasks of a job, done and wrong.
func (m *meter) judge(j *running) {
	for st, list := range j.results {
		for i, root := range list {
			m.tasks++
			if !root.Defined() {
				continue
			}
			m.done++
			if !j.spec.Warm {
				m.measured++
			}
			if root != j.truth(job.Ref{Stage: st, Index: i}) {
				m.wrong++
			}
		}
	}
}

// sample adds a point to every curve. When there are many, every other one goes and the gap doubles.
func (w *World) sample() {
	m := &w.m
	t := float64(w.now) / 1e6
	var tasksAll, done, wrong int64
	for _, s := range w.subs {
		for _, j := range s.jobs {
			done += int64(j.state.DoneTasks())
			for _, list := range j.results {
				tasksAll += int64(len(list))
			}
		}
	}
	tasksAll, done, wrong = tasksAll+m.tasks, done+m.done, m.wrongEver
	liars, caught := 0, 0
	for i := range m.actors {
		if scenario.Actor(m.actors[i].Name).Lies() {
			liars += m.actors[i].Hosts
			caught += m.actors[i].Caught
		}
	}
	for i, v := range []float64{
		percent(float64(done), float64(tasksAll)), float64(w.alive), float64(len(w.leases) - len(w.unused)), float64(wrong),
		percent(float64(caught), float64(liars)), w.waste(),
	} {
		m.curves[i].Points = append(m.curves[i].Points, [2]float64{t, v})
	}
	if len(m.curves[0].Points) > 400 {
		for i := range m.curves {
			p := m.curves[i].Points
			for k := 0; 2*k < len(p); k++ {
				p[k] = p[2*k]
			}
			m.curves[i].Points = p[:(len(p)+1)/2]
		}
		m.gap *= 2
	}
	w.push(moment{at: w.now + m.gap, what: sample})
}

func percent(part, whole float64) float64 {
	if whole <= 0 {
		return 0
	}
	return 100 * max(part, 0) / whole
}

// report works out the numbers.
func (w *World) report() *report.Report {
	m := &w.m
	w.sample()
	late := 0
	for _, s := range w.subs {
		for _, j := range s.jobs {
			late++
			m.judge(j)
			w.broke(job.Check(j.state))
		}
	}
	late += w.open - late
	v := map[string]float64{
		"done": percent(float64(m.done), float64(m.tasks)), "jobs.done": float64(m.jobs.done), "jobs.failed": float64(m.jobs.failed), "jobs.late": float64(max(late, 0)),
		"wrong": float64(m.wrong), "wrong.ever": float64(m.wrongEver), "broken": float64(len(m.broken)), "dials": m.dials,
	}
	if m.done > 0 {
		v["makespan"] = float64(m.last) / 1e6
		slots := 0
		for i := range w.hosts {
			slots += int(w.hosts[i].slots)
		}
		if slots > 0 && m.useful > 0 {
			v["stretch"] = v["makespan"] / (m.useful * float64(w.sc.Jobs[0].K) / float64(slots))
		}
		v["extra"] = 100 * (float64(m.executions)/float64(max(1, m.measured)) - 1)
		v["hedges"] = percent(float64(m.hedges), float64(m.executions))
		v["waste"] = w.waste()
	}
	if len(m.firstLease) > 0 {
		v["lease.p50"], v["lease.p99"] = report.Quantile(m.firstLease, .5), report.Quantile(m.firstLease, .99)
	}
	if len(m.taskTimes) > 0 {
		v["task.p95"] = report.Quantile(m.taskTimes, .95)
	}
	if m.unknown > 0 {
		v["found"] = percent(float64(m.found), float64(m.unknown))
	}
	if m.longest > 0 {
		v["search.messages"] = float64(m.longest)
	}
	v["outvoted"] = 0
	for i := range m.actors {
		v["outvoted"] += float64(m.actors[i].Outvoted)
	}
	w.people(v)
	r := &report.Report{Values: v, Actors: m.actors, Curves: m.curves, Notes: slices.Concat([]string{}, m.broken, m.remarks[:min(len(m.remarks), 20)]), Digest: w.digest()}
	for _, p := range m.order {
		r.Traffic = append(r.Traffic, *m.traffic[p])
	}
	return r
}

// waste is the share of computing time that no accepted result came of.
func (w *World) waste() float64 {
	return percent(w.m.spent-w.m.useful*float64(w.needed()), w.m.spent)
}

// needed is how many executions of a task are not waste.
func (w *World) needed() int {
	if w.sc.Jobs[0].Adaptive {
		return 1
	}
	return w.sc.Jobs[0].K
}

// people works out what is measured of hosts.
func (w *World) people(v map[string]float64) {
	var detect, trusted, times, fair []float64
	lied, suspected := 0, 0
	for i := range w.hosts {
		h := &w.hosts[i]
		act := w.classes[h.class].Actor
		if h.lies > 0 {
			lied++
			if h.caughtAt > 0 {
				detect = append(detect, float64(h.atCatch))
				trusted = append(trusted, float64(h.soleAt))
				times = append(times, float64(h.caughtAt-h.firstLie)/1e6)
			}
		}
		if act.Honest() {
			for _, s := range w.subs {
				if s.book.Banned(h.id, w.millis()) {
					suspected++
				}
			}
		}
		here := h.here
		if h.online {
			here += w.now - h.since
		}
		if act == scenario.Honest && here > 0 && h.done > 0 {
			fair = append(fair, float64(h.worth)*float64(h.factor)/(float64(h.slots)*float64(here)/1e6))
		}
	}
	bound := 0.0
	for i := range w.hosts {
		h := &w.hosts[i]
		bound += w.classes[h.class].Lie * (1 - 1/float64(trust.LastOneIn)) * float64(h.alone)
	}
	if bound > 0 {
		v["wrong.bound"] = 100 * float64(w.m.wrong) / bound
	}
	if w.m.unaudited > 0 {
		v["wrong.told"] = 100 * float64(w.m.wrong) / w.m.unaudited
	}
	w.colluders(v)
	if lied > 0 {
		v["lie.work"] = w.m.goodwill
		if w.m.wrong > 0 {
			v["lie.cost"] = w.m.goodwill / float64(w.m.wrong)
		}
	}
	v["suspected"] = float64(suspected)
	v["fairness"] = report.Jain(fair)
	if lied > 0 {
		v["caught"] = percent(float64(len(detect)), float64(lied))
		v["detect"], v["detect.trusted"], v["detect.time"] = report.Quantile(detect, .5), report.Quantile(trusted, .5), report.Quantile(times, .5)
	}
}

// colluders works out how well the books tell who colludes.
func (w *World) colluders(v map[string]float64) {
	held, right, together, lied := 0.0, 0.0, 0.0, 0.0
	for _, s := range w.subs {
		for _, c := range s.book.Collusions(w.millis()) {
			act := w.classes[w.hosts[w.hostOf(c.Node)].class].Actor
			guilty := act == scenario.Colluder || act == scenario.Sybil
			if guilty && c.Of > 0 {
				together++
			}
			if c.Chance < trust.Colluding {
				held++
				if guilty {
					right++
				}
			}
		}
	}
	for i := range w.hosts {
		if act := w.classes[w.hosts[i].class].Actor; w.hosts[i].lies > 0 && (act == scenario.Colluder || act == scenario.Sybil) {
			lied += float64(len(w.subs))
		}
	}
	if held > 0 {
		v["collusion.precision"] = percent(right, held)
	}
	if together > 0 {
		v["collusion.recall"] = percent(right, together)
	}
	if lied > 0 {
		v["collusion.found"] = percent(right, lied)
	}
}

// lognormal is a number with median 1, drawn by what it belongs to.
func lognormal(key uint64, sigma float64) float64 {
	a, b := mix(key), mix(key^0x9e3779b97f4a7c15)
	u := (float64(a>>11) + 0.5) / (1 << 53)
	n := math.Sqrt(-2*math.Log(u)) * math.Cos(2*math.Pi*float64(b>>11)/(1<<53))
	return math.Exp(sigma * n)
}

// mix spreads the bits of a number (splitmix64).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
