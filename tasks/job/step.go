package job

import (
	"kith/storage/dag"
	"kith/tasks"
	"kith/tasks/merge"
)

// The clocks of a replica, in milliseconds.
const (
	// ResumeMillis is how long the leases of a lost session are kept.
	ResumeMillis = 2 * 60 * 1000
	// graceMillis is how long a session that is expected back may stay away before its work is given to others as well.
	graceMillis = 5 * 1000
	// DeliveryMillis is how long a worker may take from being asked for a reveal to its bytes being here, and
	// checkMillis how long more for every MiB.
	DeliveryMillis = 60 * 1000
	mibMillis      = 1000
)

// maxTries bounds how often one task is granted before the job is given up: work that nobody finishes.
func (s *State) maxTries() int { return min(8*s.n()+32, 1000) }

// Step folds one event into the state and adds what is to be done to a. It ignores what does not apply: a commit for a
// lease of somebody else, a verdict that came twice, anything after the end. now is in Unix milliseconds.
func (s *State) Step(ev Event, now int64, a *Actions) {
	if s.phase.Over() {
		return
	}
	switch ev := ev.(type) {
	case *Planned:
		s.planned(ev, a)
	case *Parts:
		s.partsCame(ev, a)
	case *Placed:
		s.placed(ev.Worker, ev.Place)
	case *Granted:
		for i := range ev.Items {
			s.grant(ev.Worker, &ev.Items[i], now)
		}
	case Heartbeat:
		s.beat(&ev, now)
	case Committed:
		s.commit(ev, now, a)
	case Revealed:
		s.reveal(ev, now, a)
	case Checked:
		s.check(&ev, now, a)
	case Compared:
		s.compared(&ev, now, a)
	case *Returned:
		s.giveBack(ev, now, a)
	case Forgotten:
		if ref, t, r := s.find(ev.Worker, ev.Lease); r != nil && r.state < shown {
			s.settle(ref, t, r, lapsed, a)
			s.advance(ref, t, now, a)
		}
	case *Sole:
		for i := range ev.Items {
			s.grantAs(ev.Worker, &ev.Items[i], uint16(min(max(ev.OneIn, 1), wireTries)), now)
		}
	case *Left:
		s.left(ev)
	case *Carried:
		s.carry(ev, now)
	case *Mislaid:
		s.mislaid(ev)
	case *Provisional:
		s.provisional(ev, now, a)
	case *Disproved:
		s.disprove(ev.Worker, now, a)
	case *Doubted:
		s.doubted(ev, a)
	case *Cleared:
		if w, ok := s.byID[ev.Worker]; ok {
			s.workers[w].lied = false
		}
	case *Verdicts:
		for i := range ev.Items {
			s.verdict(&ev.Items[i], a)
		}
	case Undecided:
		if t := s.at(ev.Task); t != nil {
			s.undecide(ev.Task, t, now, a)
		}
	case *Reopened:
		s.reopen(ev.Task, a)
	case Composed:
		s.composed(ev, a)
	case ComposeFailed:
		if t := s.at(ev.Task); t != nil && t.composing {
			t.composing = false
		}
	case *Gathered:
		s.gathered(ev, a)
	case GatherFailed:
		if ev.Stage >= 0 && ev.Stage < len(s.stages) {
			s.stages[ev.Stage].busy = false
		}
	case *Merged:
		s.merged(ev, a)
	case MergeFailed:
		delete(s.merging, spot{ev.Level, ev.Index})
	case *Unmerged:
		s.unmerged(a)
	case SessionUp:
		s.session(ev.Worker, false, false, now, a)
	case SessionDown:
		s.session(ev.Worker, true, ev.Lost, now, a)
	case Tick:
		s.tick(now, a)
	case *Done:
		if ev.Root.Defined() {
			s.phase, s.result = Finished, ev.Root
			s.forget()
		}
	case *Ended:
		s.phase, s.reason = Failed, ev.Reason
		if ev.Cancelled {
			s.phase = Cancelled
		}
		s.cancelAll(a)
		s.forget()
	}
}

// fail asks for the end of the job, once.
func (s *State) fail(r tasks.Reason, a *Actions) {
	if !s.ending {
		s.ending = true
		a.End = &Ended{Reason: r}
	}
}

// forget drops what a job that is over needs no more.
func (s *State) forget() {
	s.leases = map[tasks.LeaseID]Ref{}
	s.fresh, s.partial, s.timers, s.parts, s.tree, s.late, s.uncompared = fifo{}, queue{}, nil, nil, nil, nil, nil
	clear(s.points)
	clear(s.pasts)
	for i := range s.stages {
		st := &s.stages[i]
		st.tasks, st.voters, st.outputs, st.open, st.trials = nil, nil, nil, 0, 0
	}
	for i := range s.workers {
		s.workers[i].live = 0
	}
}

func (s *State) planned(ev *Planned, a *Actions) {
	if s.stages != nil || ev.Parts < 1 || len(ev.Stages) == 0 {
		return
	}
	if ev.Parts > merge.MaxParts {
		s.fail(tasks.Because(tasks.OverLimits, "%d parts, at most %d: make parts larger", ev.Parts, merge.MaxParts), a)
		return
	}
	for i := range ev.Stages {
		if err := checkStage(ev.Stages, i); err != nil {
			s.fail(tasks.Because(tasks.TaskFailed, "%v", err), a)
			return
		}
	}
	s.nparts, s.hasIn = ev.Parts, ev.Input
	if s.hasIn {
		s.parts = make([]dag.CID, ev.Parts)
	}
	s.stages = make([]stage, len(ev.Stages))
	for i := range ev.Stages {
		st := &s.stages[i]
		st.Stage = ev.Stages[i]
		n := st.Count(ev.Parts, ev.Stages)
		if st.Mode == tasks.Gather {
			st.size, st.outputs = ev.Parts, make([]dag.CID, ev.Parts)
			continue
		}
		st.size, st.tasks = n, make([]task, n)
		st.voters = make([]uint32, n*s.k())
	}
	if last := &s.stages[len(s.stages)-1]; last.Mode != tasks.Map {
		s.fail(tasks.Because(tasks.TaskFailed, "the plan does not end in a map"), a)
		return
	}
	tree, err := merge.New(len(s.stages[len(s.stages)-1].tasks))
	if err != nil {
		s.fail(tasks.Because(tasks.OverLimits, "%v", err), a)
		return
	}
	s.tree = tree
	if !s.hasIn {
		s.start(a)
	}
}

func (s *State) partsCame(ev *Parts, a *Actions) {
	if s.phase != Planning || !s.hasIn || ev.From < 0 || ev.From+len(ev.Roots) > len(s.parts) {
		return
	}
	for i, root := range ev.Roots {
		if !s.parts[ev.From+i].Defined() && root.Defined() {
			s.parts[ev.From+i] = root
			s.loaded++
		}
	}
	if s.loaded == len(s.parts) {
		s.start(a)
	}
}

// start opens what needs nothing but the parts.
func (s *State) start(a *Actions) {
	s.phase = Running
	for i := range s.stages {
		s.openStage(i, a)
	}
}

// openStage opens every blocked task of a stage whose inputs are there, and asks for a gather or for compositions.
func (s *State) openStage(i int, a *Actions) {
	st := &s.stages[i]
	switch st.Mode {
	case tasks.Gather:
		before := &s.stages[st.Inputs[0]]
		if st.have == len(st.outputs) || st.busy || !before.complete() {
			return
		}
		st.busy = true
		a.Gather = append(a.Gather, GatherStage{Stage: i, Inputs: before.roots()})
	case tasks.Reduce:
		before := &s.stages[st.Inputs[0]]
		if !before.complete() {
			return
		}
		var roots []dag.CID
		for j := range st.tasks {
			if t := &st.tasks[j]; t.phase != done && t.inputs == nil && !t.composing && roots == nil {
				roots = before.roots()
			}
			s.admit(Ref{Stage: i, Index: j}, roots, a)
		}
	default:
		for j := range st.tasks {
			if t := &st.tasks[j]; t.phase != done && s.ready(st, j) {
				s.admit(Ref{Stage: i, Index: j}, nil, a)
			}
		}
	}
}

// admit opens a task whose inputs exist, or asks for them to be made for it first.
func (s *State) admit(r Ref, from []dag.CID, a *Actions) {
	st, t := &s.stages[r.Stage], s.at(r)
	switch {
	case t.phase == done || t.composing:
	case !s.composes(st) || t.inputs != nil:
		if t.phase == blocked {
			s.open(r, t, a)
		}
	default:
		if st.Mode == tasks.Map {
			from = s.plain(st, r.Index)
		}
		t.composing = true
		a.Compose = append(a.Compose, Compose{Task: r, From: from})
	}
}

// ready reports whether map task j of a stage has all its inputs.
func (s *State) ready(st *stage, j int) bool {
	if s.phase == Planning {
		return false
	}
	for _, from := range st.Inputs {
		if from == tasks.Source {
			continue
		}
		in := &s.stages[from]
		if in.Mode == tasks.Gather {
			if in.have != len(in.outputs) {
				return false
			}
		} else if j >= len(in.tasks) || !in.tasks[j].phase.has() {
			return false
		}
	}
	return true
}

func (s *State) open(r Ref, t *task, a *Actions) {
	t.phase, t.fresh = open, true
	s.stages[r.Stage].open++
	s.fresh.push(r)
	a.Opened = true
}

// complete reports whether every output of a stage is there.
func (st *stage) complete() bool {
	if st.Mode == tasks.Gather {
		return st.have == st.size
	}
	return st.done == st.size && st.trials == 0
}

// roots returns the outputs of a complete stage in order.
func (st *stage) roots() []dag.CID {
	if st.Mode == tasks.Gather {
		return st.outputs
	}
	roots := make([]dag.CID, len(st.tasks))
	for i := range st.tasks {
		roots[i] = st.tasks[i].root
	}
	return roots
}

func (s *State) composed(ev Composed, a *Actions) {
	t := s.at(ev.Task)
	if t == nil || !s.composes(&s.stages[ev.Task.Stage]) || t.phase == done || !t.composing {
		return
	}
	t.composing = false
	t.inputs, t.id = append(make([]dag.CID, 0, len(ev.Inputs)), ev.Inputs...), ev.ID
	if t.phase == blocked {
		s.open(ev.Task, t, a)
		return
	}
	t.seq = 0 // it has replicas from before a restart
	s.requeue(ev.Task, t)
	a.Opened = true
}

func (s *State) gathered(ev *Gathered, a *Actions) {
	if ev.Stage < 0 || ev.Stage >= len(s.stages) || s.stages[ev.Stage].Mode != tasks.Gather {
		return
	}
	st := &s.stages[ev.Stage]
	if ev.From < 0 || ev.From+len(ev.Roots) > len(st.outputs) {
		return
	}
	for i, root := range ev.Roots {
		if !st.outputs[ev.From+i].Defined() && root.Defined() {
			st.outputs[ev.From+i] = root
			st.have++
		}
	}
	if st.complete() {
		st.busy = false
		for i := ev.Stage + 1; i < len(s.stages); i++ {
			s.openStage(i, a)
		}
	}
}

// finishedTask passes an accepted output on to whoever waits for it.
func (s *State) finishedTask(r Ref, a *Actions) {
	last := len(s.stages) - 1
	if r.Stage == last {
		steps, err := s.tree.Accept(r.Index, s.at(r).root)
		s.issue(steps, err, a)
		return
	}
	whole := s.stages[r.Stage].complete()
	for i := r.Stage + 1; i <= last; i++ {
		st := &s.stages[i]
		if st.Mode != tasks.Map {
			if whole && st.Inputs[0] == r.Stage {
				s.openStage(i, a)
			}
			continue
		}
		for _, from := range st.Inputs {
			if from == r.Stage && r.Index < len(st.tasks) {
				if s.ready(st, r.Index) {
					s.admit(Ref{Stage: i, Index: r.Index}, nil, a)
				}
			}
		}
	}
}

// issue asks for merges that became possible, or for the end of the job when there is nothing left to merge.
func (s *State) issue(steps []merge.Step, err error, a *Actions) {
	if err != nil { // a root that contradicts an earlier one is not taken
		return
	}
	for _, m := range steps {
		if at := (spot{m.Level, m.Index}); !s.merging[at] {
			s.merging[at] = true
			a.Merge = append(a.Merge, m)
		}
	}
	if s.adaptive() {
		s.finishing(a)
		return
	}
	if root, ok := s.tree.Result(); ok && !s.ending {
		s.ending = true
		a.Finish = &Done{Root: root}
	}
}

func (s *State) merged(ev *Merged, a *Actions) {
	at := spot{ev.Level, ev.Index}
	if s.tree == nil || !s.merging[at] { // not asked for, or done already
		return
	}
	delete(s.merging, at)
	steps, err := s.tree.Done(ev.Level, ev.Index, ev.Root)
	if err == nil {
		s.merges++
	}
	s.issue(steps, err, a)
}

// unmerged begins the merge tree anew from the accepted outputs.
func (s *State) unmerged(a *Actions) {
	if s.tree == nil {
		return
	}
	s.tree, _ = merge.New(s.tree.Parts())
	s.merges = 0
	clear(s.merging)
	last := &s.stages[len(s.stages)-1]
	for i := range last.tasks {
		if last.tasks[i].phase.has() {
			steps, err := s.tree.Accept(i, last.tasks[i].root)
			s.issue(steps, err, a)
		}
	}
}

// reopen takes an accepted output back whose bytes are gone.
func (s *State) reopen(r Ref, a *Actions) {
	if r.Stage < 0 || r.Stage >= len(s.stages) {
		return
	}
	st := &s.stages[r.Stage]
	if st.Mode == tasks.Gather {
		clear(st.outputs)
		st.have, st.busy = 0, false
		s.block(r)
		s.openStage(r.Stage, a)
		return
	}
	t := s.at(r)
	if t == nil || !t.phase.has() {
		return
	}
	if s.adaptive() { // its replicas may be under way
		for i := range t.reps {
			if rep := &t.reps[i]; rep.state < good {
				s.settle(r, t, rep, cancelled, a)
			}
		}
		if t.phase != done {
			st.trials--
		}
	}
	lastStage := r.Stage == len(s.stages)-1
	*t = task{phase: blocked, tries: t.tries}
	s.unpast(r)
	clear(st.voters[r.Index*s.k() : (r.Index+1)*s.k()])
	st.done--
	if lastStage {
		s.unmerged(a)
	}
	s.block(r)
	s.openStage(r.Stage, a)
}

// block takes tasks that wait for the output of r, and have no replica yet, back to where they wait for it.
func (s *State) block(r Ref) {
	for i := r.Stage + 1; i < len(s.stages); i++ {
		st := &s.stages[i]
		reads := false
		for _, from := range st.Inputs {
			reads = reads || from == r.Stage
		}
		if !reads {
			continue
		}
		for j := range st.tasks {
			all := st.Mode != tasks.Map || s.stages[r.Stage].Mode == tasks.Gather
			if t := &st.tasks[j]; t.phase == open && len(t.reps) == 0 && (all || j == r.Index) {
				*t = task{phase: blocked, tries: t.tries}
				s.unpast(Ref{Stage: i, Index: j})
				st.open--
			}
		}
	}
}
