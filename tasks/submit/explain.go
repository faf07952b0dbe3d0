package submit

import (
	"slices"
	"time"

	"kith/tasks"
	"kith/tasks/job"
)

func (d *Driver) status(j *running) Status {
	sum := j.state.Summary()
	st := Status{Summary: sum, Spec: j.state.Job().Spec, SpecRoot: j.state.Job().SpecRoot, Finished: j.finished}
	if n := len(j.marks); n > 1 {
		first, last := j.marks[0], j.marks[n-1]
		if ms := last.at - first.at; ms > 0 {
			st.Throughput = float64(last.done-first.done) * 1000 / float64(ms)
		}
	}
	if st.Throughput > 0 && sum.Phase == job.Running {
		st.ETA = time.Duration(float64(sum.Tasks-sum.Done) / st.Throughput * float64(time.Second))
	}
	for i := range sum.Workers {
		w := &sum.Workers[i]
		for _, b := range []Blame{{w.ID, tasks.Outvoted, w.Outvoted}, {w.ID, tasks.Forged, w.Forged}, {w.ID, tasks.Withheld, w.Withheld}} {
			if b.Count > 0 {
				st.Blame = append(st.Blame, b)
			}
		}
	}
	return st
}

// mark notes progress for the throughput.
func (j *running) mark(now int64, done int) {
	const every, keep = 250, 40
	if n := len(j.marks); n > 0 && now-j.marks[n-1].at < every {
		j.marks[n-1].done = done
		return
	}
	if len(j.marks) == keep {
		j.marks = append(j.marks[:0], j.marks[1:]...)
	}
	j.marks = append(j.marks, mark{now, done})
}

func (d *Driver) explain(j *running) Explanation {
	e := Explanation{
		Job: j.id, Refused: map[tasks.Code]int{}, Offers: j.offers, Ring: j.ring, Reached: j.reached,
		Searches: j.quest.count, Searching: j.quest.going,
	}
	e.Searched.add(&j.quest.sum)
	if j.offerSince > 0 {
		e.NextOffer = j.offerAt
	}
	var usable []*peer
	now := time.Now().UnixMilli()
	apart := 0
	for _, s := range d.sessions {
		switch r := d.unfit(j, s); {
		case r == nil && d.distrusts(j, s, now):
			e.Refused[tasks.NotTrusted]++
		case r == nil:
			usable = append(usable, s.peer)
			if s.stay().Leaves(j.state.Longest(), j.state.Pace(s.peer.id)) {
				e.Refused[tasks.ShortStay]++
			}
		case r.Code == tasks.NoBlockPath:
			apart++
		default:
			e.Refused[r.Code]++
		}
	}
	for code, n := range j.quest.sum.Refused {
		e.Refused[code] += n
	}
	for code, n := range j.refused {
		if code != tasks.NoBlockPath || apart == 0 {
			e.Refused[code] += n
		}
	}
	e.Waits = j.state.Explain(time.Now().UnixMilli(), len(usable))
	if apart > 0 && len(usable) == 0 && !j.state.Phase().Over() {
		explainApart(&e, apart)
	}
	d.explainDiversity(j, usable, &e)
	if j.trouble != nil && !j.state.Phase().Over() {
		e.Waits = append(e.Waits, job.Wait{Reason: *j.trouble})
	}
	return e
}

// explainApart says of tasks that wait for anybody at all that there are workers, and only a way to them is missing.
func explainApart(e *Explanation, workers int) {
	why := tasks.Because(tasks.NoBlockPath, "%d workers can be reached through a relay only, and no depot is known", workers)
	told := false
	for i := range e.Waits {
		if code := e.Waits[i].Reason.Code; code == tasks.NoAnswer || code == tasks.TooFewNodes || code == tasks.Busy {
			e.Waits[i].Reason, told = why, true
		}
	}
	if !told {
		e.Waits = append(e.Waits, job.Wait{Reason: why})
	}
}

// explainDiversity finds out why none of the connected nodes gets a task that wants one more: all had their say, or are
// too close to one that had, or the job may not use more nodes.
func (d *Driver) explainDiversity(j *running, usable []*peer, e *Explanation) {
	full := j.state.Workers() >= j.state.NodeLimit()
	for i := range e.Waits {
		w := &e.Waits[i]
		if w.Reason.Code != tasks.Busy && w.Reason.Code != tasks.Disagreement {
			continue
		}
		fresh, near, over := 0, 0, 0
		for _, p := range usable {
			switch bar := j.state.Bar(p.id, d.placeOf(j, p), w.First); {
			case bar == tasks.TooFewNodes:
			case full && !j.state.Knows(p.id):
				over++
			case bar == tasks.NoDiverseNode:
				near++
			case bar == "":
				fresh++
			}
		}
		switch {
		case fresh > 0 || len(usable) == 0:
		case over > 0:
			w.Reason.Code = tasks.NodeLimitReached
		case near > 0:
			w.Reason.Code = tasks.NoDiverseNode
		case w.Reason.Code == tasks.Busy:
			w.Reason.Code = tasks.TooFewNodes
		}
	}
}

// prunePeers forgets workers without a session whom no unfinished job knows.
func (d *Driver) prunePeers() {
	for id := range d.peers {
		if d.sessions[id] == nil && !slices.ContainsFunc(d.active, func(j *running) bool { return j.state.Knows(id) }) {
			delete(d.peers, id)
		}
	}
}
