package job

import (
	"bytes"
	"slices"

	"kith/storage/dag"
	"kith/tasks"
	"kith/tasks/merge"
	"kith/tasks/verify"
)

// Phase is where a job stands.
type Phase uint8

// The phases of a job.
const (
	Planning  Phase = iota // its parts are not all known
	Running                // tasks, gathers and merges
	Finished               // the result is there
	Failed                 // ended without a result; Reason says why
	Cancelled              // ended by its owner
)

func (p Phase) String() string {
	return [...]string{"planning", "running", "done", "failed", "cancelled"}[p]
}

// Over reports whether nothing can happen to the job any more.
func (p Phase) Over() bool { return p >= Finished }

// State is a job at one moment. It is not safe for concurrent use. Make one with New or Restore, change it only with
// Step.
type State struct {
	job        tasks.Job
	secret     [32]byte
	phase      Phase
	reason     tasks.Reason
	result     dag.CID
	stages     []stage
	nparts     int
	hasIn      bool      // the parts have roots
	parts      []dag.CID // of the input, when hasIn
	loaded     int       // parts whose root has come
	tree       *merge.Tree
	merging    map[spot]bool // merges the driver is at
	merges     int           // done, that joined something
	workers    []worker
	places     []Place          // every place a worker has been at; the first is the unknown one
	placeAt    map[Place]uint32 // made when it is first needed
	byID       map[tasks.NodeID]uint32
	used       int                   // workers that have had a lease
	leases     map[tasks.LeaseID]Ref // replicas that may still send something
	fresh      fifo                  // open tasks nobody has had yet
	partial    queue                 // open tasks that want more replicas
	timers     timers
	checked    int64             // when stragglers were last looked for, Unix milliseconds
	ending     bool              // Finish or End was asked for and has not come back
	round      int               // how often accepted work was taken back
	remerge    bool              // the merge tree holds what was
	late       []Ref             // audits that wait for their time
	uncompared []Ref             // tasks whose comparison failed: see Retry
	mixed      int64             // grants so far, plus one, when State.fresh was last mixed
	points     map[Ref][]point   // checkpoints of open tasks, the newest last
	pasts      map[Ref][]lineage // of accepted results that hold the work of more than their workers
	// Counts that only grow, kept over a restart as far as the log knows them.
	granted  int64
	verdicts int64
	carried  int64 // leases that went on from another node's checkpoint
	spared   int64 // processor time that was in those, milliseconds
	// Of this run alone: see pace.go.
	hedged    int64 // stragglers that were given to somebody else as well
	quick     int   // workers that are here and not slow, when last counted
	lastGrant int64
	barred    bool // somebody was passed over as too slow
	lax       bool // slow ones may have what is open
}

// stage is one wave of tasks.
type stage struct {
	tasks.Stage
	size    int      // tasks, or parts of a gather's output
	tasks   []task   // nil once the job is over
	voters  []uint32 // of done task i: the accepted workers [i*k, i*k+k), plus one each; 0 means none
	done    int
	open    int // tasks in open or deciding
	busy    bool
	outputs []dag.CID // of a gather: one root a part
	have    int       // of outputs
	turns   ring      // turnaround of replicas, from grant to commit
	walls   ring      // their running times
	shows   ring      // from the question for a reveal to the answer
	trials  int       // done tasks that are being audited
}

// phase of a task.
type taskPhase uint8

const (
	blocked  taskPhase = iota // inputs do not exist yet
	open                      // replicas are wanted, at work or being compared
	deciding                  // the verdict is on its way to the disk
	done
	auditing // has an output, and replicas are wanted, at work or being compared
	judging  // so, and the verdict is on its way to the disk
)

// task is one task of a stage.
type task struct {
	phase     taskPhase
	fresh     bool // stands in State.fresh
	composing bool
	tries     uint16 // grants so far: the attempt number of the next
	seq       uint32 // valid entry in State.partial, 0: none
	reps      []replica
	inputs    []dag.CID    // once composed, where they must be
	id        tasks.TaskID // then too
	root      dag.CID
	bytes     int64
	known     map[[2]dag.CID]verify.Agreement // of outputs that are not the same bytes
	comparing bool                            // Compare was asked for
	late      int64                           // of an audit: the count of grants from which on it is offered
}

// repState is where a replica stands.
type repState uint8

const (
	granted   repState = iota // at work, as far as is known
	committed                 // has committed
	asked                     // was asked to reveal
	shown                     // revealed, bytes not checked yet
	good                      // digest is of these bytes
	forged                    // the reveal does not open the commit, or the digest is not of these bytes
	withheld                  // did not reveal or deliver in time
	lapsed                    // no commit in time
	returned                  // handed back
	failed                    // handed back because the task itself failed
	cancelled                 // not needed any more
)

// spent reports whether the replica used up one of the policy's executions, and its worker's turn at this task.
func (s repState) spent() bool { return s != granted && s != lapsed && s != returned && s != cancelled }

// replica is one execution of one task by one worker.
type replica struct {
	lease   tasks.LeaseID
	worker  uint32
	place   uint32 // where the worker was when it got the lease: in State.places
	attempt uint16
	state   repState
	code    tasks.Code // of a failed one
	spare   bool       // counts as missing: a straggler, or its session is gone
	began   int64      // when it was first heard to run; 0: not yet
	done    int64      // how far it is,
	total   int64      // of what, by its own word; 0: unknown
	told    bool       // its worker knows the outcome: an audit begins with it
	sole    uint16     // may be accepted alone, and one in so many is audited; 0: it may not
	from    *carried   // what it went on from; nil: from nothing that others did
	at      int64      // granted, Unix milliseconds
	due     int64      // when the clock of this state ends
	until   int64      // when it ends unless the session is lost
	commit  [32]byte
	root    dag.CID
	digest  [32]byte
	bytes   int64
	wall    int64
	cpu     int64
}

// spot is a place in the merge tree.
type spot struct{ level, index int }

// worker is what a job knows of one node.
type worker struct {
	id        tasks.NodeID
	used      bool    // has had a lease
	down      bool    // no session
	place     uint32  // in State.places
	live      int     // replicas in a state that still needs this worker
	cursor    int     // entries of State.partial before it are not for this worker
	held      []timer // replicas it has or had not long ago: see State.mine
	pace      int32   // of its running times, per mille of the median; 0: unknown
	tally     Tally
	lied      bool // proven: no vote of it counts
	spoilt    bool // a result that lost holds work of it: others do not go on with what it leaves
	sole      int  // results accepted alone
	audits    int  // of them looked at again
	length    int  // of the blocks that they are audited by
	block     int  // number of the present block
	left      int  // results until it ends
	at        int  // its audited result, counted from the end
	newest    Ref  // its newest result accepted alone,
	unaudited bool // which is newer than the newest audited one
}

// Tally counts what became of a worker's replicas in one job.
type Tally struct {
	Accepted, Outvoted, Forged, Withheld, Lapsed, Returned, Cancelled int
}

func (t *Tally) add(o tasks.Outcome) {
	switch o {
	case tasks.Accepted:
		t.Accepted++
	case tasks.Outvoted:
		t.Outvoted++
	case tasks.Forged:
		t.Forged++
	case tasks.Withheld:
		t.Withheld++
	case tasks.Lapsed:
		t.Lapsed++
	case tasks.Returned:
		t.Returned++
	case tasks.Cancelled:
		t.Cancelled++
	}
}

// New begins a job.
func New(ev *Accepted) *State {
	s := &State{job: ev.Job, secret: ev.Secret}
	s.init()
	return s
}

func (s *State) init() {
	s.byID = map[tasks.NodeID]uint32{}
	s.places = make([]Place, 1)
	s.leases = map[tasks.LeaseID]Ref{}
	s.merging = map[spot]bool{}
	s.points, s.pasts = map[Ref][]point{}, map[Ref][]lineage{}
}

// Job returns what was asked for.
func (s *State) Job() *tasks.Job { return &s.job }

// Secret returns the root of the job's salts and keys.
func (s *State) Secret() [32]byte { return s.secret }

// Phase returns where the job stands.
func (s *State) Phase() Phase { return s.phase }

// Reason says why a job failed or was cancelled.
func (s *State) Reason() tasks.Reason { return s.reason }

// Result returns the root of the result; undefined until the job is Finished.
func (s *State) Result() dag.CID { return s.result }

// Parts returns the number of parts, 0 before the job is planned.
func (s *State) Parts() int { return s.nparts }

// Stage returns one stage of the plan.
func (s *State) Stage(i int) tasks.Stage { return s.stages[i].Stage }

// Stages returns the number of stages, 0 before the job is planned.
func (s *State) Stages() int { return len(s.stages) }

// Workers returns how many nodes have had a lease of this job.
func (s *State) Workers() int { return s.used }

func (s *State) k() int { return max(1, s.job.Spec.Policy.K) }
func (s *State) n() int { return max(s.k(), s.job.Spec.Policy.N) }

// NodeLimit returns how many nodes the job may use.
func (s *State) NodeLimit() int {
	if n := s.job.Spec.Policy.NodeLimit; n > 0 {
		return n
	}
	return tasks.DefaultNodeLimit
}

// intern returns the number of a worker, making one.
func (s *State) intern(id tasks.NodeID) uint32 {
	if w, ok := s.byID[id]; ok {
		return w
	}
	w := uint32(len(s.workers))
	s.workers = append(s.workers, worker{id: id})
	s.byID[id] = w
	return w
}

// at returns a task, or nil for a name that is not of this job.
func (s *State) at(r Ref) *task {
	if r.Stage < 0 || r.Stage >= len(s.stages) || r.Index < 0 || r.Index >= len(s.stages[r.Stage].tasks) {
		return nil
	}
	return &s.stages[r.Stage].tasks[r.Index]
}

// find returns the replica with this lease if it is this worker's.
func (s *State) find(id tasks.NodeID, lease tasks.LeaseID) (Ref, *task, *replica) {
	ref, ok := s.leases[lease]
	if !ok {
		return Ref{}, nil, nil
	}
	t := s.at(ref)
	for i := range t.reps {
		if r := &t.reps[i]; r.lease == lease {
			if s.workers[r.worker].id != id {
				return Ref{}, nil, nil
			}
			return ref, t, r
		}
	}
	return Ref{}, nil, nil
}

// Holds reports whether the lease is one this worker may still commit or reveal.
func (s *State) Holds(id tasks.NodeID, lease tasks.LeaseID) bool {
	_, _, r := s.find(id, lease)
	return r != nil
}

// Lookup returns the task of a lease that is still worked on, revealed or checked.
func (s *State) Lookup(lease tasks.LeaseID) (Ref, bool) {
	r, ok := s.leases[lease]
	return r, ok
}

// CommitOf returns the hash a worker has committed to under a lease, if it has.
func (s *State) CommitOf(id tasks.NodeID, lease tasks.LeaseID) ([32]byte, bool) {
	_, _, r := s.find(id, lease)
	if r == nil || r.state == granted {
		return [32]byte{}, false
	}
	return r.commit, true
}

// Output returns the accepted root of a task, or an undefined one.
func (s *State) Output(r Ref) dag.CID {
	if t := s.at(r); t != nil && t.phase.has() {
		return t.root
	}
	return dag.CID{}
}

// composes reports whether the inputs of a stage's tasks are made for each task alone.
func (s *State) composes(st *stage) bool {
	return st.Mode == tasks.Reduce || s.job.Spec.Sensitivity == tasks.Approved && (s.hasIn || st.Index > 0)
}

// Inputs returns the input roots of an open task, one for each Call.In of its first step; none for a job without input.
func (s *State) Inputs(r Ref) []dag.CID {
	t := s.at(r)
	if t == nil {
		return nil
	}
	st := &s.stages[r.Stage]
	if s.composes(st) {
		return t.inputs
	}
	return s.plain(st, r.Index)
}

// plain returns the inputs of a map task as they are in the store.
func (s *State) plain(st *stage, index int) []dag.CID {
	in := make([]dag.CID, 0, len(st.Inputs))
	for _, from := range st.Inputs {
		switch {
		case from != tasks.Source && s.stages[from].Mode == tasks.Gather:
			in = append(in, s.stages[from].outputs[index])
		case from != tasks.Source:
			in = append(in, s.stages[from].tasks[index].root)
		case s.hasIn:
			in = append(in, s.parts[index])
		}
	}
	return in
}

// TaskID returns the id of an open task.
func (s *State) TaskID(r Ref) tasks.TaskID {
	if t := s.at(r); t != nil && s.composes(&s.stages[r.Stage]) {
		return t.id
	}
	return tasks.NewTaskID(s.job.ID, r.Stage, r.Index, s.Inputs(r))
}

// Attempt returns the number of a task's next lease.
func (s *State) Attempt(r Ref) int { return int(s.at(r).tries) }

// HasOpen reports whether some task may want a replica; Pick then says whether it is one for a given worker.
func (s *State) HasOpen() bool {
	return s.phase == Running && !s.ending && (!s.fresh.empty() || len(s.partial.items) > 0 || len(s.late) > 0)
}

// Backlog returns about how many leases the job could give out if there were workers enough; never too few.
func (s *State) Backlog() int {
	return (len(s.fresh.items)-s.fresh.head)*s.k() + len(s.partial.items)
}

// Held is one lease a worker has, as far as the job knows.
type Held struct {
	Lease     tasks.LeaseID
	Task      Ref
	Committed bool
	From      dag.CID // the checkpoint of others that it goes on from
}

// Leases returns the leases of a worker that wait for something from it.
func (s *State) Leases(id tasks.NodeID) []Held {
	w, ok := s.byID[id]
	if !ok || s.workers[w].live == 0 {
		return nil
	}
	var list []Held
	for _, e := range s.mine(w) {
		r := s.rep(e)
		h := Held{Lease: r.lease, Task: e.ref, Committed: r.state != granted}
		if r.from != nil {
			h.From = r.from.at
		}
		list = append(list, h)
	}
	slices.SortFunc(list, func(a, b Held) int { return bytes.Compare(a.Lease[:], b.Lease[:]) })
	return slices.CompactFunc(list, func(a, b Held) bool { return a.Lease == b.Lease })
}

// Awaits reports whether the task has all it needs of a lease, and no verdict yet: then nothing waits for its worker, which
// still waits itself.
func (s *State) Awaits(ref Ref, lease tasks.LeaseID) bool {
	t := s.at(ref)
	if t == nil || t.phase == blocked || t.phase == done {
		return false
	}
	return slices.ContainsFunc(t.reps, func(r replica) bool { return r.lease == lease && r.state == good && !r.told })
}

// placed notes where a worker is.
func (s *State) placed(id tasks.NodeID, p Place) {
	s.workers[s.intern(id)].place = s.internPlace(p)
}

func (s *State) internPlace(p Place) uint32 {
	if len(s.placeAt) != len(s.places) {
		s.placeAt = make(map[Place]uint32, len(s.places))
		for i, q := range s.places {
			s.placeAt[q] = uint32(i)
		}
	}
	at, ok := s.placeAt[p]
	if !ok {
		at = uint32(len(s.places))
		s.places = append(s.places, p)
		s.placeAt[p] = at
	}
	return at
}

// Place returns where the job believes a worker to be; the zero Place if it knows nothing.
func (s *State) Place(id tasks.NodeID) Place {
	if w, ok := s.byID[id]; ok {
		return s.places[s.workers[w].place]
	}
	return Place{}
}

// close reports whether a place is near a replica's worker, as it was when it got the lease or as it is now.
func (s *State) close(p *Place, r *replica) bool {
	return near(p, &s.places[r.place]) || near(p, &s.places[s.workers[r.worker].place])
}

// independent reports whether two replicas may count together.
func (s *State) independent(a, b *replica) bool {
	if a.from != nil || b.from != nil {
		return s.disjoint(a, b)
	}
	return a.worker != b.worker && !s.close(&s.places[a.place], b) && !s.close(&s.places[s.workers[a.worker].place], b)
}

// Voice is one replica of a task as it matters for who may have the next.
type Voice struct {
	Worker tasks.NodeID
	Place  Place
	Vote   bool // it is a vote, or may become one
}

// Voices adds to list the replicas of a task that bar somebody from having another: their own workers, and if they are
// votes, whoever is near, and whoever is near one whose work they hold. A worker that moved is there twice.
func (s *State) Voices(ref Ref, list []Voice) []Voice {
	t := s.at(ref)
	for i := range t.reps {
		r := &t.reps[i]
		if r.state.again() {
			continue
		}
		w := &s.workers[r.worker]
		list = append(list, Voice{w.id, s.places[r.place], r.state <= good})
		if w.place != r.place {
			list = append(list, Voice{w.id, s.places[w.place], r.state <= good})
		}
		if r.from == nil || r.state > good {
			continue
		}
		for _, o := range r.from.past {
			w := &s.workers[o.worker]
			list = append(list, Voice{w.id, s.places[o.place], true})
			if w.place != o.place {
				list = append(list, Voice{w.id, s.places[w.place], true})
			}
		}
	}
	return list
}

// Holders adds to list the workers that computed an input of a map task and so hold its blocks.
func (s *State) Holders(ref Ref, list []tasks.NodeID) []tasks.NodeID {
	for _, from := range s.stages[ref.Stage].Inputs {
		if from == tasks.Source || s.stages[ref.Stage].Mode != tasks.Map || s.stages[from].Mode == tasks.Gather {
			continue
		}
		for _, v := range s.stages[from].voters[ref.Index*s.k() : (ref.Index+1)*s.k()] {
			if v != 0 {
				list = append(list, s.workers[v-1].id)
			}
		}
	}
	return list
}

// Knows reports whether a node has had a lease of this job.
func (s *State) Knows(id tasks.NodeID) bool {
	w, ok := s.byID[id]
	return ok && s.workers[w].used
}
