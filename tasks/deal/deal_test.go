package deal

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"kith/tasks"
	"kith/tasks/job"
	"kith/tasks/match"
	"kith/tasks/trust"
)

const now = int64(1_790_000_000_000)

func id(n int) tasks.NodeID { return tasks.NodeID{byte(n), byte(n >> 8), 1} }

// open is a job of one map stage whose tasks may all be given.
func open(n int, p tasks.Policy) *job.State {
	s := job.New(&job.Accepted{Job: tasks.Job{ID: tasks.JobID{1}, Created: now, Spec: tasks.Spec{Policy: p, Sensitivity: tasks.Public}}, Secret: [32]byte{1}})
	var a job.Actions
	s.Step(&job.Planned{Stages: []tasks.Stage{{Mode: tasks.Map, Inputs: []int{tasks.Source}, Steps: []tasks.Step{{Kind: "x"}}}}, Parts: n}, now, &a)
	return s
}

// worker is one of its own group that has room for so many.
func worker(n, room int) *Worker {
	return &Worker{
		Node: match.Node{ID: id(n), RTT: 10}, Place: job.Place{Group: fmt.Sprint("g", n), Account: fmt.Sprint("a", n)}, Slots: 4, Room: room,
	}
}

// known gives a worker a record.
func known(b *trust.Book, n int) {
	for range 20 {
		b.Note(id(n), tasks.Accepted, now)
	}
}

// game deals all that can be dealt and keeps count.
type game struct {
	table  Table
	state  *job.State
	given  map[int]int // leases, by worker
	risen  map[int]int
	leases int
}

func play(state *job.State, b *trust.Book, j Job, most int, workers ...*Worker) *game {
	g := &game{state: state, given: map[int]int{}, risen: map[int]int{}}
	g.table.Risen = func(key int) { g.risen[key]++ }
	j.State, j.Book = state, b
	if j.Open == nil {
		j.Open = func(string) int { return 0 }
	}
	for _, w := range workers {
		j.Slots += w.Slots
		j.Live += w.Held
	}
	g.table.Lay(j, now)
	for i, w := range workers {
		g.table.Seat(i, w)
	}
	for g.leases < most {
		turn, ok := g.table.Next()
		if !ok {
			break
		}
		w := workers[turn.Key]
		var a job.Actions
		if state.Place(w.ID) != w.Place {
			state.Step(&job.Placed{Worker: w.ID, Place: w.Place}, now, &a)
		}
		g.leases++
		grant := job.Grant{Task: turn.Task, Attempt: state.Attempt(turn.Task), Lease: tasks.LeaseID{byte(g.leases), byte(g.leases >> 8), 7}, Expiry: now + 60_000}
		state.Step(&job.Granted{Worker: w.ID, Items: []job.Grant{grant}}, now, &a)
		g.given[turn.Key]++
		g.table.Gave()
	}
	g.table.Clear()
	return g
}

// Nobody gets what it has no room for or is not owed; each replica of a task goes elsewhere; everybody who sat down rises.
func TestDealing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		state := open(rapid.IntRange(1, 60).Draw(t, "tasks"), tasks.Policy{K: 2, N: 4, NodeLimit: rapid.IntRange(2, 12).Draw(t, "limit")})
		b := trust.NewBook()
		anyKnown := false
		var list []*Worker
		for i := range rapid.IntRange(0, 10).Draw(t, "workers") {
			w := worker(i, rapid.IntRange(-1, 9).Draw(t, "room"))
			w.Open = rapid.IntRange(0, 3).Draw(t, "open")
			if rapid.Bool().Draw(t, "same group") {
				w.Place.Group = "crowd"
			}
			if rapid.Bool().Draw(t, "known") {
				known(b, i)
				anyKnown = true
			}
			list = append(list, w)
		}
		g := play(state, b, Job{Known: anyKnown}, rapid.IntRange(0, 200).Draw(t, "most"), list...)
		crowd := 0
		for i, w := range list {
			r := b.Get(w.ID, now)
			if g.given[i] > max(0, w.Room) {
				t.Fatalf("worker %d got %d leases and has room for %d", i, g.given[i], w.Room)
			}
			if anyKnown && !r.Proven() {
				if g.given[i] > 0 && g.given[i]+w.Open > r.Quota() {
					t.Fatalf("stranger %d got %d leases beside %d; its quota is %d", i, g.given[i], w.Open, r.Quota())
				}
				if w.Place.Group == "crowd" {
					crowd += g.given[i]
				}
			}
			if g.risen[i] > 1 || g.given[i] > 0 && g.risen[i] != 1 {
				t.Fatalf("worker %d rose %d times", i, g.risen[i])
			}
		}
		if crowd > trust.FirstQuota {
			t.Fatalf("strangers of one group got %d leases", crowd)
		}
		if state.Workers() > state.NodeLimit() {
			t.Fatalf("%d workers, limit %d", state.Workers(), state.NodeLimit())
		}
		if err := job.Check(state); err != nil {
			t.Fatal(err)
		}
	})
}

func TestBounds(t *testing.T) {
	plain := tasks.Policy{K: 2, N: 4, NodeLimit: 50}
	adaptive := plain
	adaptive.Replication = tasks.Adaptive
	crowd := func(n int) (list []*Worker) {
		for i := range n {
			list = append(list, worker(i+1, 100))
		}
		return list
	}
	for _, c := range []struct {
		name  string
		tasks int
		p     tasks.Policy
		set   func(b *trust.Book, j *Job, list []*Worker)
		want  func(g *game) bool
	}{
		{"newcomers alone are not bound by a quota", 100, plain, func(*trust.Book, *Job, []*Worker) {}, func(g *game) bool { return g.leases > 6*trust.FirstQuota }},
		{"newcomers beside a known one are", 100, plain, func(b *trust.Book, j *Job, _ []*Worker) {
			known(b, 1)
			j.Known = true
		}, func(g *game) bool { return g.given[1] == trust.FirstQuota && g.given[0] > trust.FirstQuota }},
		{"all newcomers together get a tenth of an adaptive job", 100, adaptive, func(b *trust.Book, j *Job, _ []*Worker) {
			known(b, 1)
			j.Known, j.Strange = true, 3
		}, func(g *game) bool { return g.leases-g.given[0] == 7 }},
		{"who has failed more than achieved is bound always", 100, plain, func(b *trust.Book, _ *Job, _ []*Worker) {
			b.Note(id(2), tasks.Outvoted, now)
		}, func(g *game) bool { return g.given[1] < trust.FirstQuota && g.given[0] > trust.FirstQuota }},
		{"a group that holds its quota gets no more", 100, plain, func(b *trust.Book, j *Job, _ []*Worker) {
			known(b, 1)
			j.Known = true
			j.Open = func(group string) int {
				if group == "g2" {
					return trust.FirstQuota
				}
				return 0
			}
		}, func(g *game) bool { return g.given[1] == 0 && g.given[2] == trust.FirstQuota }},
		{"the banned get nothing", 100, plain, func(b *trust.Book, _ *Job, _ []*Worker) {
			for range 10 {
				b.Note(id(3), tasks.Forged, now)
			}
		}, func(g *game) bool { return g.given[2] == 0 && g.given[1] > 0 }},
		{"nor does a bad record get what is sealed", 100, plain, func(b *trust.Book, j *Job, _ []*Worker) {
			j.Sealed = true
			b.Note(id(3), tasks.Outvoted, now)
		}, func(g *game) bool { return g.given[2] == 0 && g.given[1] > 0 }},
		{"the last tasks are shared", 3, plain, func(*trust.Book, *Job, []*Worker) {}, func(g *game) bool { return g.leases == 6 && len(g.given) >= 2 }},
		{"no more workers than the job may use", 100, tasks.Policy{K: 2, N: 4, NodeLimit: 2}, func(*trust.Book, *Job, []*Worker) {}, func(g *game) bool { return g.state.Workers() == 2 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, j, list := trust.NewBook(), Job{}, crowd(6)
			c.set(b, &j, list)
			if g := play(open(c.tasks, c.p), b, j, 1000, list...); !c.want(g) {
				t.Errorf("%d leases: %v", g.leases, g.given)
			}
		})
	}
}

// A result stands alone only in an adaptive job, of who has earned it, while nobody else has the task.
func TestAlone(t *testing.T) {
	p := tasks.Policy{K: 2, N: 4, NodeLimit: 50}
	b := trust.NewBook()
	if _, ok := Alone(open(3, p), b, job.Ref{}, id(1), "x", now); ok {
		t.Error("in a job with fixed replication")
	}
	p.Replication = tasks.Adaptive
	if _, ok := Alone(open(3, p), b, job.Ref{}, id(1), "x", now); ok {
		t.Error("of a newcomer")
	}
}

// A table that is laid again deals like a new one.
func TestLaidAgain(t *testing.T) {
	b := trust.NewBook()
	var table Table
	for range 3 {
		s := open(10, tasks.Policy{K: 1, N: 2, NodeLimit: 9})
		table.Lay(Job{State: s, Book: b, Slots: 4, Open: func(string) int { return 0 }}, now)
		table.Seat(5, worker(1, 2))
		turn, ok := table.Next()
		if !ok || turn.Key != 5 || turn.Task != (job.Ref{}) || turn.Stranger {
			t.Errorf("%+v %v", turn, ok)
		}
		table.Clear()
		if _, ok := table.Next(); ok {
			t.Error("a turn at an empty table")
		}
	}
}
