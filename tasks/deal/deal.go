// Package deal decides who gets which lease of a job next: which workers may sit at the table, how many leases those
// without a record may have, which task the next lease is for (a first replica, another one, a copy of a slow one, an
// audit: the job's word), who gets it, and whether its result may stand alone. The driver and the simulations deal by it.
// It is pure: it takes values and time.
package deal

import (
	"math"

	"kith/tasks"
	"kith/tasks/job"
	"kith/tasks/match"
	"kith/tasks/trust"
)

// strangersShare is the part of an adaptive job's tasks that all workers without a record may have at once, while one
// with a record is there: a tenth.
const strangersShare = 10

// Job is a job whose leases are dealt, and what is at work beside them.
type Job struct {
	State  *job.State
	Book   *trust.Book
	Sealed bool // its inputs are not public
	Known  bool // a worker that has proven itself is there for the job
	Live   int  // leases without a commit at the workers that the job may use
	Slots  int  // of those workers, together
	// Strange is how many leases of the job workers without a record hold, and Open how many of any job those of one
	// network origin do.
	Strange int
	Open    func(group string) int
}

// Worker is one that has a session and may be used by the job. Of Node, what the table works out itself is ignored:
// Group, Account, Free, Running, Quota, Pace, and what trust says.
type Worker struct {
	match.Node
	Place job.Place
	Slots int // tasks it runs at once
	Room  int // leases it would take beside those it has
	Held  int // leases without a commit
	Open  int // leases without a verdict
}

// Table is where leases of one job are dealt. The zero value is ready for Lay; it may be laid again and again, and keeps
// its memory.
type Table struct {
	job     Job
	now     int64
	full    bool
	swept   bool
	work    int // leases to give and at work
	ask     int // whose turn it is
	chosen  int
	nodes   []match.Node // what match.Choose looks at
	seats   []seat       // beside nodes
	left    map[string]int
	strange int // leases that workers without a record may have beside those they hold, all together
	voices  []job.Voice
	tried   []match.Place
	holders []tasks.NodeID

	// Risen, if set, is told the key of every worker that leaves the table.
	Risen func(key int)
}

// seat is one worker at the table.
type seat struct {
	key   int
	place job.Place
	group string // a newcomer's, while quotas bind
}

// Turn is one lease to give.
type Turn struct {
	Key      int // of the worker
	Task     job.Ref
	Stranger bool // the worker has no record and is bound by a quota
}

// Full reports whether a job may use no more workers than it knows.
func Full(s *job.State) bool { return s.Workers() >= s.NodeLimit() }

// Distrusts reports whether a worker's record keeps it from a job whose inputs are not public.
func Distrusts(sealed bool, r trust.Record) bool {
	if !sealed {
		return false
	}
	code, no := match.Refuse(&match.Need{Sealed: sealed}, &match.Node{Honest: r.Honesty(), Free: 1})
	return no && code == tasks.NotTrusted
}

// Alone reports whether a worker's result of a task may be accepted alone, and how seldom it is audited. what names the
// kind of work.
func Alone(s *job.State, b *trust.Book, ref job.Ref, worker tasks.NodeID, what string, now int64) (oneIn int, ok bool) {
	if !adaptive(s) || !s.Alone(ref) {
		return 0, false
	}
	return b.Sole(worker, what, now)
}

func adaptive(s *job.State) bool { return s.Job().Spec.Policy.Replication == tasks.Adaptive }

// Lay clears the table for a job.
func (t *Table) Lay(j Job, now int64) {
	t.nodes, t.seats = t.nodes[:0], t.seats[:0]
	t.job, t.now, t.full, t.swept, t.ask = j, now, Full(j.State), false, 0
	t.work = j.State.Backlog() + j.Live
	if t.left == nil {
		t.left = map[string]int{}
	}
	clear(t.left)
	t.strange = math.MaxInt
	if j.Known && adaptive(j.State) {
		t.strange = max(trust.FirstQuota, j.State.Size()/strangersShare) - j.Strange
	}
}

// Seat gives a worker a place at the table, if it may have a lease. key is what turns name it by. How many leases a worker
// without a record may hold is bounded, all of one group together, so that strangers risk little of a job. The bound holds
// only while a worker that has proven itself is there for the job: a fleet of newcomers has nobody to wait for, and
// agreement protects the job then. Who has failed more than it achieved is bounded always.
func (t *Table) Seat(key int, w *Worker) {
	j := &t.job
	if w.Room <= 0 || t.full && !j.State.Knows(w.ID) {
		return
	}
	r := j.Book.Get(w.ID, t.now)
	if r.Banned() || Distrusts(j.Sealed, r) {
		return
	}
	share := j.State.Ahead(w.ID, w.Slots, t.work, max(1, j.Slots)) // so that nobody hoards the last tasks of a job
	n := w.Node
	n.Group, n.Account, n.Free, n.Running = w.Place.Group, w.Place.Account, min(w.Room, share-w.Held), w.Held
	n.Pace = j.State.Pace(w.ID)
	n.Reliable, n.Honest, n.Proven, n.Quota = r.Reliability(), r.Honesty(), r.Proven(), 0
	group := ""
	if quota := r.Quota(); !r.Proven() && (j.Known || quota < trust.FirstQuota) {
		n.Quota, n.Running = quota, w.Open
		if group = w.Place.Group; group != "" {
			t.left[group] = max(t.left[group], quota)
		}
	}
	t.nodes = append(t.nodes, n)
	t.seats = append(t.seats, seat{key: key, place: w.Place, group: group})
}

// Next returns the lease to give now; false: the table is empty, or the job has come to use as many workers as it may, so
// that others may sit there. Whoever gives it calls Gave; else the table is cleared. Which task comes next is the job's
// word: one that lacks a replica before one that nobody has begun.
func (t *Table) Next() (Turn, bool) {
	if !t.swept {
		t.swept = true
		for group := range t.left {
			t.left[group] -= t.job.Open(group)
		}
		t.sweep()
	}
	for len(t.nodes) > 0 && t.full == Full(t.job.State) {
		t.ask %= len(t.nodes)
		ref, ok := t.job.State.Pick(t.nodes[t.ask].ID, t.seats[t.ask].place)
		if !ok {
			t.rise(t.ask)
			continue
		}
		t.chosen = t.ask
		if i, _ := match.Choose(t.need(ref), t.nodes); i >= 0 {
			t.chosen = i
		}
		return Turn{Key: t.seats[t.chosen].key, Task: ref, Stranger: t.nodes[t.chosen].Quota > 0}, true
	}
	return Turn{}, false
}

// Gave notes that the lease of the last turn was given.
func (t *Table) Gave() {
	n := &t.nodes[t.chosen]
	n.Free--
	n.Running++
	n.Given++
	others := false // whether others may be sated by it too
	if n.Quota > 0 {
		t.strange--
		others = t.strange <= 0
	}
	if group := t.seats[t.chosen].group; group != "" {
		t.left[group]--
		others = others || t.left[group] <= 0
	}
	t.ask++
	if others {
		t.sweep()
	} else if t.sated(t.chosen) {
		t.rise(t.chosen)
	}
}

// Clear has everybody rise.
func (t *Table) Clear() {
	for len(t.nodes) > 0 {
		t.rise(len(t.nodes) - 1)
	}
	t.job = Job{}
}

// sweep has those rise that can have no more.
func (t *Table) sweep() {
	for i := len(t.nodes) - 1; i >= 0; i-- {
		if t.sated(i) {
			t.rise(i)
		}
	}
}

func (t *Table) sated(i int) bool {
	n, group := &t.nodes[i], t.seats[i].group
	return n.Free <= 0 || n.Quota > 0 && (n.Running >= n.Quota || t.strange <= 0) || group != "" && t.left[group] <= 0
}

func (t *Table) rise(i int) {
	key := t.seats[i].key
	last := len(t.nodes) - 1
	t.nodes[i], t.seats[i] = t.nodes[last], t.seats[last]
	t.nodes, t.seats = t.nodes[:last], t.seats[:last]
	if t.Risen != nil {
		t.Risen(key)
	}
}

// need is what a task demands of a worker beyond what its job does.
func (t *Table) need(ref job.Ref) *match.Need {
	s := t.job.State
	t.voices = s.Voices(ref, t.voices[:0])
	t.tried = t.tried[:0]
	for i := range t.voices {
		v := &t.voices[i]
		t.tried = append(t.tried, match.Place{Node: v.Worker, Group: v.Place.Group, Account: v.Place.Account, Vote: v.Vote})
	}
	t.holders = s.Holders(ref, t.holders[:0])
	return &match.Need{Tried: t.tried, Holders: t.holders, Sealed: t.job.Sealed, Takes: s.Takes(ref.Stage)}
}
