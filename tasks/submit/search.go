package submit

import (
	"context"
	"time"

	"kith/tasks"
	"kith/tasks/match"
	"kith/tasks/wire"
)

// questTime is how long one search may take.
const questTime = time.Minute

// quest is a job's search for workers that its offers do not reach.
type quest struct {
	count int   // searches so far
	row   int   // of them, since the job last had enough workers
	next  int64 // when another may begin
	going bool
	sum   Searched
}

// mayFind reports whether an offer that goes out in a ring now is the time for a search: the ring has widened, and still
// too few came.
func (d *Driver) mayFind(j *running, ring int, now int64) bool {
	return d.o.Searcher != nil && ring >= match.SearchRing && !j.quest.going && now >= j.quest.next
}

// find searches for the workers that a job lacks, with the offer that has just been published.
func (d *Driver) find(j *running, o *wire.Offer, signed []byte, now int64) {
	if j.state.Phase().Over() || !d.mayFind(j, match.SearchRing, now) {
		return
	}
	p := &j.state.Job().Spec.Policy
	w := Wanted{
		Job: j.id, Offer: signed, Missing: o.Want, Class: o.Class, Band: p.MinGrade, Sandbox: o.Sandbox, Memory: o.Memory, Kinds: o.Kinds,
		Regions: p.Regions, Excluded: p.Excluded,
	}
	for id := range d.sessions {
		w.Known = append(w.Known, id)
	}
	q := &j.quest
	q.going = true
	q.count++
	q.row++
	ctx, cancel := context.WithTimeout(j.ctx, questTime)
	d.work.Go(func() {
		defer cancel()
		s := d.o.Searcher.Search(ctx, w)
		d.box.Post(func() {
			q.going = false
			q.next = time.Now().Add(match.NextSearch(q.row)).UnixMilli()
			q.sum.add(&s)
			d.log.Info("Searched for workers that offers do not reach", slogJob(j.id), "asked", s.Asked, "found", s.Found, "invited", s.Invited, "coming", s.Coming)
		})
	})
}

// add joins what came of another search.
func (s *Searched) add(o *Searched) {
	s.Asked += o.Asked
	s.Messages += o.Messages
	s.Hints += o.Hints
	s.Found += o.Found
	s.Invited += o.Invited
	s.Coming += o.Coming
	for code, n := range o.Refused {
		if s.Refused == nil {
			s.Refused = map[tasks.Code]int{}
		}
		s.Refused[code] += n
	}
}
