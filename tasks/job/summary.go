package job

import (
	"kith/storage/dag"
	"kith/tasks"
	"kith/tasks/merge"
)

// Summary is a job in numbers.
type Summary struct {
	ID       tasks.JobID
	Name     string
	Phase    Phase
	Reason   tasks.Reason // of a failed or cancelled job
	Created  int64        // Unix milliseconds
	Result   dag.CID
	Stages   []StageSummary
	Tasks    int     // of all stages
	Done     int     // tasks with a verdict
	Merges   int     // of the merge tree
	Merged   int     // merges that are done
	Leases   int64   // given so far
	InFlight int     // replicas at work, committed or being delivered
	Partly   float64 // how much is done of tasks without a verdict, in tasks, as far as it is known
	Carried  int64   // leases that went on from where another node was ended
	Spared   int64   // processor time that was not spent again for that, milliseconds, by the word of who had spent it
	Moved    []Moved // those at work now, at most a few
	Workers  []WorkerSummary
}

// StageSummary is one stage in numbers.
type StageSummary struct {
	Mode    tasks.Mode
	Steps   []string // kind/phase
	Tasks   int
	Done    int
	Open    int   // granted, or waiting for a worker
	Median  int64 // turnaround of one replica, milliseconds; 0: unknown
	Waiting bool  // for an earlier stage
}

// WorkerSummary is one node's part in a job.
type WorkerSummary struct {
	ID        tasks.NodeID
	Connected bool
	InFlight  int
	Tally
}

// Summary describes the job. It costs time in the number of stages and workers, not of tasks.
func (s *State) Summary() Summary {
	out := Summary{
		ID: s.job.ID, Name: s.job.Spec.Name, Phase: s.phase, Reason: s.reason, Created: s.job.Created, Result: s.result,
		Tasks: s.allTasks(), Done: s.DoneTasks(), Merges: s.mergesTotal(), Merged: s.merges, Leases: s.granted, InFlight: len(s.leases),
		Carried: s.carried, Spared: s.spared,
	}
	if s.phase == Running {
		out.Partly, out.Moved = s.partly(), s.Moved()
	}
	for i := range s.stages {
		st := &s.stages[i]
		v := StageSummary{Mode: st.Mode, Tasks: st.size, Done: st.done, Open: st.open, Median: st.turns.median(0)}
		if st.Mode == tasks.Gather {
			v.Tasks = 1
			if st.complete() {
				v.Done = 1
			}
		}
		v.Waiting = v.Done == 0 && v.Open == 0
		for _, step := range st.Steps {
			v.Steps = append(v.Steps, step.Kind+"/"+step.Phase)
		}
		out.Stages = append(out.Stages, v)
	}
	for i := range s.workers {
		w := &s.workers[i]
		out.Workers = append(out.Workers, WorkerSummary{ID: w.id, Connected: !w.down, InFlight: w.live, Tally: w.tally})
	}
	return out
}

// Wait is one thing a job waits for.
type Wait struct {
	Reason tasks.Reason
	Stage  int
	Tasks  int // how many tasks wait for this
	First  Ref // one of them
}

// Explain says what everything that is not done waits for. connected is the number of nodes with an open session that
// this job may use.
func (s *State) Explain(now int64, connected int) []Wait {
	if s.phase.Over() {
		if s.phase == Finished {
			return nil
		}
		return []Wait{{Reason: s.reason}}
	}
	if s.phase == Planning {
		return []Wait{{Reason: tasks.Because(tasks.WaitingForStage, "the input is being split")}}
	}
	var out []Wait
	for i := range s.stages {
		st := &s.stages[i]
		if st.complete() {
			continue
		}
		if st.Mode == tasks.Gather {
			if s.stages[st.Inputs[0]].complete() {
				out = append(out, Wait{Reason: tasks.Because(tasks.WaitingForReply, "this node gathers stage %d", st.Inputs[0]), Stage: i, Tasks: 1, First: Ref{Stage: i}})
			}
			continue
		}
		if n := len(st.tasks) - st.done - st.open; n > 0 {
			out = append(out, Wait{Reason: tasks.Because(tasks.WaitingForStage, "%d of %d tasks of stage %d have no input yet", n, len(st.tasks), i), Stage: i, Tasks: n, First: s.firstBlocked(i)})
		}
		if st.open > 0 {
			out = append(out, s.explainOpen(i, now, connected)...)
		}
	}
	if len(out) == 0 {
		out = append(out, Wait{Reason: tasks.Because(tasks.WaitingForReply, "this node merges: %d of %d", s.merges, s.mergesTotal()), Stage: len(s.stages) - 1})
	}
	return out
}

// firstBlocked is the first task of a stage that has no input yet.
func (s *State) firstBlocked(i int) Ref {
	for at := range s.stages[i].tasks {
		if s.stages[i].tasks[at].phase == blocked {
			return Ref{Stage: i, Index: at}
		}
	}
	return Ref{Stage: i}
}

// explainOpen looks at the open tasks of a stage that are not simply being computed: those in the queue and in flight.
func (s *State) explainOpen(i int, now int64, connected int) []Wait {
	var disagree, short, running, away Wait
	add := func(w *Wait, r Ref) {
		if w.Tasks == 0 {
			w.First = r
		}
		w.Tasks++
		w.Stage = i
	}
	kinds := map[dag.CID]bool{}
	for _, e := range s.partial.items {
		t := s.at(e.ref)
		if e.ref.Stage != i || t.seq != e.seq || t.phase != open {
			continue
		}
		clear(kinds)
		for j := range t.reps {
			if t.reps[j].state == good {
				kinds[t.reps[j].root] = true
			}
		}
		if len(kinds) > 1 {
			add(&disagree, e.ref)
		} else {
			add(&short, e.ref)
		}
	}
	seen := map[Ref]bool{}
	for _, e := range s.timers {
		if r := s.rep(e); e.ref.Stage == i && r != nil && r.state < good && !seen[e.ref] {
			seen[e.ref] = true
			if s.workers[r.worker].down {
				add(&away, e.ref)
			} else {
				add(&running, e.ref)
			}
		}
	}
	fresh := Wait{Stage: i, Tasks: max(0, s.stages[i].open-short.Tasks-disagree.Tasks-running.Tasks-away.Tasks)}
	for _, r := range s.fresh.items[s.fresh.head:] {
		if t := s.at(r); r.Stage == i && t.phase == open && t.fresh {
			fresh.First = r
			break
		}
	}
	var out []Wait
	put := func(w Wait, code tasks.Code, format string, args ...any) {
		if w.Tasks > 0 {
			w.Reason = tasks.Because(code, format, args...)
			out = append(out, w)
		}
	}
	put(disagree, tasks.Disagreement, "%s; one more of %d nodes must decide, connected: %d", count(disagree.Tasks, "task"), s.n(), connected)
	code := tasks.Busy
	if connected < s.k() {
		code = tasks.TooFewNodes
	}
	if connected == 0 {
		code = tasks.NoAnswer
	}
	put(short, code, "%s still need another node; %d must agree, connected: %d", count(short.Tasks, "task"), s.k(), connected)
	put(fresh, code, "%s not begun; connected nodes: %d, each task needs %d", count(fresh.Tasks, "task"), connected, s.k())
	put(away, tasks.WaitingForReply, "%s at nodes whose session is lost; given to others as well", count(away.Tasks, "task"))
	put(running, tasks.WaitingForReply, "%s at work", count(running.Tasks, "task"))
	return out
}

// mergesTotal is how many merges make the result.
func (s *State) mergesTotal() (total int) {
	if len(s.stages) == 0 {
		return 0
	}
	for n := s.stages[len(s.stages)-1].size; n > 1; n = (n + merge.FanIn - 1) / merge.FanIn {
		total += (n + merge.FanIn - 1) / merge.FanIn
		if n%merge.FanIn == 1 {
			total-- // a lone last one moves up as it is
		}
	}
	return total
}
