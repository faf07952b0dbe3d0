package job

import (
	"encoding/binary"
	"errors"
	"fmt"

	"kith/storage/dag"
	"kith/tasks"
	"kith/tasks/merge"
	"kith/tasks/verify"
)

// ErrSnapshot: the bytes are not a job's snapshot.
var ErrSnapshot = errors.New("not a snapshot of a job")

// snapshot is a State on disk. What exists once a task is packed into byte strings; the few tasks that are under way
// are listed.
type snapshot struct {
	Job      tasks.Job       `cbor:"job"`
	Secret   [32]byte        `cbor:"secret"`
	Phase    Phase           `cbor:"phase"`
	Reason   tasks.Reason    `cbor:"reason"`
	Result   dag.CID         `cbor:"result"`
	Parts    int             `cbor:"parts"`
	HasIn    bool            `cbor:"in"`
	Inputs   []byte          `cbor:"roots"`
	Stages   []snapStage     `cbor:"stages"`
	Workers  []snapWorker    `cbor:"workers"`
	Tree     *merge.Snapshot `cbor:"tree"`
	Merges   int             `cbor:"merges"`
	Granted  int64           `cbor:"granted"`
	Verdicts int64           `cbor:"verdicts"`
	Round    int             `cbor:"round,omitempty"`
	Carried  int64           `cbor:"carried,omitempty"`
	Spared   int64           `cbor:"spared,omitempty"`
	Points   []snapPoint     `cbor:"points,omitempty"`
	Pasts    []snapPast      `cbor:"pasts,omitempty"`
}

type snapStage struct {
	Stage   tasks.Stage `cbor:"stage"`
	Size    int         `cbor:"size"`
	Done    int         `cbor:"done"`
	Roots   []byte      `cbor:"roots"`  // of done tasks; zeros for the others
	Bytes   []byte      `cbor:"bytes"`  // varint each
	Voters  []byte      `cbor:"voters"` // k big-endian u32 each
	Outputs []byte      `cbor:"out"`
	Open    []snapTask  `cbor:"open"` // with a history
}

type snapTask struct {
	Index int       `cbor:"i"`
	Tries int       `cbor:"tries"`
	Reps  []snapRep `cbor:"reps"`
	Late  int64     `cbor:"late,omitempty"`
	Audit bool      `cbor:"audit,omitempty"` // its output is provisional
}

type snapRep struct {
	Lease   tasks.LeaseID `cbor:"lease"`
	Place   Place         `cbor:"place"`
	Worker  int           `cbor:"worker"`
	Attempt int           `cbor:"try"`
	State   int           `cbor:"state"`
	Code    tasks.Code    `cbor:"code"`
	At      int64         `cbor:"at"`
	Due     int64         `cbor:"due"`
	Sole    int           `cbor:"sole,omitempty"`
	Told    bool          `cbor:"told,omitempty"`
	From    *snapFrom     `cbor:"from,omitempty"`
}

type snapWorker struct {
	ID     tasks.NodeID `cbor:"id"`
	Used   bool         `cbor:"used"`
	Place  Place        `cbor:"place"`
	Tally  [7]int       `cbor:"tally"`
	Trust  *snapTrust   `cbor:"trust,omitempty"`
	Spoilt bool         `cbor:"spoilt,omitempty"`
}

// snapTrust is what an adaptive job keeps of a worker: State.workers has the fields.
type snapTrust struct {
	_                                       struct{} `cbor:",toarray"`
	Lied                                    bool
	Sole, Audits, Length, Block, Left, Next int
	Newest                                  Ref
	Unaudited                               bool
}

func packRoots(n int, root func(int) dag.CID) []byte {
	b := make([]byte, 0, n*dag.Size)
	for i := range n {
		c := root(i)
		b = append(b, c[:]...)
	}
	return b
}

func unpackRoots(b []byte, n int) ([]dag.CID, error) {
	if len(b) != n*dag.Size {
		return nil, fmt.Errorf("%w: %d bytes of roots, want %d", ErrSnapshot, len(b), n*dag.Size)
	}
	roots := make([]dag.CID, n)
	for i := range roots {
		part := b[i*dag.Size : (i+1)*dag.Size]
		if [dag.Size]byte(part) == (dag.CID{}) {
			continue
		}
		c, err := dag.CIDFromBytes(part)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrSnapshot, err)
		}
		roots[i] = c
	}
	return roots, nil
}

// Encode writes the state down. What is not in the log either (commits, reveals, who is connected) is left out:
// replicas that had committed are written as granted, because their workers will commit again.
func (s *State) Encode() []byte {
	out := snapshot{
		Job: s.job, Secret: s.secret, Phase: s.phase, Reason: s.reason, Result: s.result, Parts: s.nparts, HasIn: s.hasIn,
		Merges: s.merges, Granted: s.granted, Verdicts: s.verdicts, Round: s.round,
		Carried: s.carried, Spared: s.spared,
	}
	out.Points, out.Pasts = s.encodePoints(), s.encodePasts()
	if s.hasIn {
		out.Inputs = packRoots(len(s.parts), func(i int) dag.CID { return s.parts[i] })
	}
	if s.tree != nil && !s.phase.Over() {
		t := s.tree.Snapshot()
		out.Tree = &t
	}
	for i := range s.workers {
		w := &s.workers[i]
		t := &w.tally
		v := snapWorker{ID: w.id, Used: w.used, Spoilt: w.spoilt, Place: s.places[w.place], Tally: [7]int{t.Accepted, t.Outvoted, t.Forged, t.Withheld, t.Lapsed, t.Returned, t.Cancelled}}
		if s.adaptive() {
			v.Trust = &snapTrust{Lied: w.lied, Sole: w.sole, Audits: w.audits, Length: w.length, Block: w.block, Left: w.left, Next: w.at, Newest: w.newest, Unaudited: w.unaudited}
		}
		out.Workers = append(out.Workers, v)
	}
	for i := range s.stages {
		st := &s.stages[i]
		v := snapStage{
			Stage: st.Stage, Size: st.size, Done: st.done,
			Roots:   packRoots(len(st.tasks), func(j int) dag.CID { return st.tasks[j].root }),
			Outputs: packRoots(len(st.outputs), func(j int) dag.CID { return st.outputs[j] }),
		}
		if st.Mode == tasks.Gather && st.complete() {
			v.Done = st.size
		}
		for j := range st.tasks {
			t := &st.tasks[j]
			v.Bytes = binary.AppendVarint(v.Bytes, t.bytes)
			if t.phase != done && (t.tries > 0 || t.phase.has()) {
				v.Open = append(v.Open, s.encodeTask(j, t))
			}
		}
		for _, w := range st.voters {
			v.Voters = binary.BigEndian.AppendUint32(v.Voters, w)
		}
		out.Stages = append(out.Stages, v)
	}
	b, err := dag.Marshal(&out)
	if err != nil {
		panic("BUG: a job does not encode: " + err.Error())
	}
	return b
}

func (s *State) encodeTask(index int, t *task) snapTask {
	v := snapTask{Index: index, Tries: int(t.tries), Late: t.late, Audit: t.phase.has()}
	for i := range t.reps {
		r := &t.reps[i]
		to := r.state
		if to <= good && !(r.told && r.root == t.root) {
			to = granted
		}
		v.Reps = append(v.Reps, snapRep{r.lease, s.places[r.place], int(r.worker), int(r.attempt), int(to), r.code, r.at, r.until, int(r.sole), r.told, s.encodeFrom(r.from)})
	}
	return v
}

// Restore reads what Encode wrote. Call Resume, after folding what the log has since, to go on.
func Restore(b []byte) (*State, error) {
	var in snapshot
	if err := dag.Unmarshal(b, &in); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSnapshot, err)
	}
	s := &State{
		job: in.Job, secret: in.Secret, phase: in.Phase, reason: in.Reason, result: in.Result, nparts: in.Parts, hasIn: in.HasIn,
		merges: in.Merges, granted: in.Granted, verdicts: in.Verdicts, round: in.Round, carried: in.Carried, spared: in.Spared,
	}
	s.init()
	bad := func(what string) error { return fmt.Errorf("%w: %s", ErrSnapshot, what) }
	if in.Phase > Cancelled || in.Parts < 0 || in.Parts > merge.MaxParts {
		return nil, bad("phase or number of parts")
	}
	for i := range in.Workers {
		w := &in.Workers[i]
		if s.intern(w.ID) != uint32(i) {
			return nil, bad("a worker is there twice")
		}
		s.workers[i].tally = Tally{w.Tally[0], w.Tally[1], w.Tally[2], w.Tally[3], w.Tally[4], w.Tally[5], w.Tally[6]}
		s.workers[i].used, s.workers[i].place, s.workers[i].spoilt = w.Used, s.internPlace(w.Place), w.Spoilt
		if w.Used {
			s.used++
		}
		if t := w.Trust; t != nil {
			if t.Sole < 0 || t.Audits < 0 || t.Length < 0 || t.Block < 0 || t.Left < 0 || t.Next < 0 {
				return nil, bad("what is kept of a worker")
			}
			x := &s.workers[i]
			x.lied, x.sole, x.audits, x.length, x.block, x.left, x.at = t.Lied, t.Sole, t.Audits, t.Length, t.Block, t.Left, t.Next
			x.newest, x.unaudited = t.Newest, t.Unaudited
		}
	}
	if s.hasIn && !s.phase.Over() {
		roots, err := unpackRoots(in.Inputs, in.Parts)
		if err != nil {
			return nil, err
		}
		s.parts = roots
		for _, c := range roots {
			if c.Defined() {
				s.loaded++
			}
		}
	}
	if in.Tree != nil {
		tree, err := merge.Restore(*in.Tree)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrSnapshot, err)
		}
		s.tree = tree
		for _, m := range tree.Pending() {
			s.merging[spot{m.Level, m.Index}] = true
		}
	}
	all := make([]tasks.Stage, len(in.Stages))
	for i := range in.Stages {
		all[i] = in.Stages[i].Stage
		if err := checkStage(all, i); err != nil {
			return nil, err
		}
	}
	s.stages = make([]stage, len(in.Stages))
	for i := range in.Stages {
		if err := s.restoreStage(i, &in.Stages[i], all); err != nil {
			return nil, err
		}
	}
	if !s.phase.Over() && len(s.stages) > 0 && (s.tree == nil || s.tree.Parts() != len(s.stages[len(s.stages)-1].tasks)) {
		return nil, bad("merge tree of another width")
	}
	for i := range s.workers {
		x := &s.workers[i]
		if x.unaudited = x.unaudited && !s.phase.Over(); x.unaudited && (s.at(x.newest) == nil || len(s.stages[x.newest.Stage].voters) < (x.newest.Index+1)*s.k()) {
			return nil, bad("a result that stands alone")
		}
	}
	if s.phase == Running {
		var ignored Actions
		for i := range s.stages {
			s.openStage(i, &ignored)
		}
		for i := range in.Stages {
			if err := s.restoreOpen(i, in.Stages[i].Open); err != nil {
				return nil, err
			}
		}
		if err := s.restorePoints(in.Points, in.Pasts); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// checkStage makes sure that a stage names only stages before it, and that a reduce or gather has one input.
func checkStage(all []tasks.Stage, i int) error {
	st := &all[i]
	ok := st.Index == i && len(st.Inputs) > 0 && (st.Mode == tasks.Map || st.Mode == tasks.Reduce || st.Mode == tasks.Gather) && st.Ranges >= 0 && st.Ranges <= merge.MaxParts
	for _, from := range st.Inputs {
		ok = ok && from >= tasks.Source && from < i && (from != tasks.Source || st.Mode == tasks.Map)
	}
	if ok && st.Mode == tasks.Reduce {
		ok = len(st.Inputs) == 1 && all[st.Inputs[0]].Mode == tasks.Map && all[st.Inputs[0]].Ranges > 0
	}
	if ok && st.Mode == tasks.Gather {
		ok = len(st.Inputs) == 1 && all[st.Inputs[0]].Mode != tasks.Gather
	}
	if ok && st.Mode == tasks.Map {
		for _, from := range st.Inputs {
			ok = ok && (from == tasks.Source || all[from].Mode != tasks.Reduce)
		}
	}
	if !ok {
		return fmt.Errorf("%w: stage %d reads what it cannot", tasks.ErrPlan, i)
	}
	return nil
}

func (s *State) restoreStage(i int, in *snapStage, all []tasks.Stage) error {
	st := &s.stages[i]
	st.Stage = in.Stage
	if s.phase.Over() {
		if in.Size < 0 || in.Size > merge.MaxParts || in.Done < 0 || in.Done > in.Size {
			return fmt.Errorf("%w: size of stage %d", ErrSnapshot, i)
		}
		st.size, st.done = in.Size, in.Done
		if st.Mode == tasks.Gather && in.Done > 0 {
			st.have = st.size
		}
		return nil
	}
	var err error
	if st.Mode == tasks.Gather {
		st.size = s.nparts
		if st.outputs, err = unpackRoots(in.Outputs, s.nparts); err != nil {
			return err
		}
		for _, c := range st.outputs {
			if c.Defined() {
				st.have++
			}
		}
		return nil
	}
	n := st.Count(s.nparts, all)
	if n < 0 || n > merge.MaxParts {
		return fmt.Errorf("%w: size of stage %d", ErrSnapshot, i)
	}
	st.size = n
	roots, err := unpackRoots(in.Roots, n)
	if err != nil {
		return err
	}
	if len(in.Voters) != 4*n*s.k() {
		return fmt.Errorf("%w: voters of stage %d", ErrSnapshot, i)
	}
	st.tasks, st.voters = make([]task, n), make([]uint32, n*s.k())
	for j := range st.voters {
		if st.voters[j] = binary.BigEndian.Uint32(in.Voters[4*j:]); int(st.voters[j]) > len(s.workers) {
			return fmt.Errorf("%w: voters of stage %d", ErrSnapshot, i)
		}
	}
	rest := in.Bytes
	for j := range st.tasks {
		v, size := binary.Varint(rest)
		if size <= 0 {
			return fmt.Errorf("%w: sizes of stage %d", ErrSnapshot, i)
		}
		rest = rest[size:]
		if roots[j].Defined() {
			st.tasks[j] = task{phase: done, root: roots[j], bytes: v}
			st.done++
		}
	}
	return nil
}

func (s *State) restoreOpen(i int, list []snapTask) error {
	for _, v := range list {
		ref := Ref{Stage: i, Index: v.Index}
		t := s.at(ref)
		if t == nil || v.Tries < 0 || v.Tries > wireTries {
			return fmt.Errorf("%w: open task %s", ErrSnapshot, ref)
		}
		t.tries = uint16(v.Tries)
		if v.Audit && (!s.adaptive() || t.phase != done || len(v.Reps) == 0) || v.Late < 0 {
			return fmt.Errorf("%w: audited task %s", ErrSnapshot, ref)
		}
		if len(v.Reps) == 0 || t.phase == done && !v.Audit {
			continue
		}
		if v.Audit {
			t.phase, t.late = auditing, v.Late
			s.stages[i].trials++
			if t.late > 0 {
				s.late = append(s.late, ref)
			}
		}
		if t.phase == blocked { // a reduce task in progress; its inputs are composed again before the next grant
			t.phase = open
			s.stages[i].open++
		}
		t.fresh = false
		for _, r := range v.Reps {
			if r.Worker < 0 || r.Worker >= len(s.workers) || r.State < 0 || r.State > int(cancelled) || r.Attempt < 0 || r.Attempt > restingAttempt+verify.MaxN || r.Sole < 0 || r.Sole > wireTries {
				return fmt.Errorf("%w: replica of task %s", ErrSnapshot, ref)
			}
			t.reps = append(t.reps, replica{
				lease: r.Lease, worker: uint32(r.Worker), place: s.internPlace(r.Place), attempt: uint16(r.Attempt), state: repState(r.State),
				code: r.Code, at: r.At, due: r.Due, until: r.Due, sole: uint16(r.Sole), told: r.Told,
			})
			from, err := s.restoreFrom(r.From, uint32(r.Worker))
			if err != nil {
				return err
			}
			t.reps[len(t.reps)-1].from = from
			if repState(r.State) <= good && repState(r.State) != granted {
				last := &t.reps[len(t.reps)-1]
				if !v.Audit || repState(r.State) != good {
					return fmt.Errorf("%w: replica of task %s", ErrSnapshot, ref)
				}
				last.root, last.bytes = t.root, t.bytes
			}
			if repState(r.State) == granted {
				s.leases[r.Lease] = ref
				s.workers[r.Worker].live++
				s.timers.push(timer{r.Due, ref, uint16(r.Attempt)})
				s.hold(uint32(r.Worker), timer{r.Due, ref, uint16(r.Attempt)})
			}
		}
		s.requeue(ref, t)
	}
	return nil
}

const wireTries = 1 << 10
