package job

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"kith/storage/dag"
	"kith/tasks"
	"kith/tasks/merge"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func root(s string) dag.CID { return dag.Sum(dag.Raw, dag.SHA256, []byte(s)) }

func node(n int) (id tasks.NodeID) {
	id[0], id[1] = byte(n), 1
	return id
}

// pipeline is map → reduce → gather → map, as etl.dedup is.
func pipeline(ranges int) []tasks.Stage {
	return []tasks.Stage{
		{Index: 0, Mode: tasks.Map, Inputs: []int{tasks.Source}, Ranges: ranges, Steps: []tasks.Step{{Kind: "x", Phase: "sign"}}},
		{Index: 1, Mode: tasks.Reduce, Inputs: []int{0}, Steps: []tasks.Step{{Kind: "x", Phase: "agree"}}},
		{Index: 2, Mode: tasks.Gather, Inputs: []int{1}, Steps: []tasks.Step{{Kind: "x", Phase: "resolve"}}},
		{Index: 3, Mode: tasks.Map, Inputs: []int{2, 0}, Steps: []tasks.Step{{Kind: "x", Phase: "apply"}}},
	}
}

// sim is a driver in miniature: it keeps what the state asks for, and random events answer it or do not.
type sim struct {
	t       *rapid.T
	s       *State
	checker Checker
	now     int64
	log     []logged
	workers int
	liar    int // this worker's results are wrong; -1: none
	granted map[tasks.NodeID]map[tasks.LeaseID]Ref
	outs    map[tasks.LeaseID]dag.CID // what each lease's worker computes
	asked   []Asked
	checks  []Examine
	compare []CompareTask
	base    map[dag.CID]dag.CID // what results that differ in the last bits have in common
	classes int                 // of machines whose results differ in the last bits; 0: results are compared by their bytes
	decide  []Decision
	compose []Compose
	gather  []GatherStage
	merge   []MergedWant
	merges  map[string]int
	end     Event
	carried int
}

type logged struct {
	at int64
	ev Event
}

// MergedWant is a merge that was asked for.
type MergedWant struct {
	level, index int
	root         dag.CID
}

func (m *sim) step(ev Event) {
	if ev.tag() != notLogged {
		b, err := Encode(ev)
		if err != nil {
			m.t.Fatal(err)
		}
		back, err := Decode(b)
		if err != nil || !reflect.DeepEqual(back, written(ev)) {
			m.t.Fatalf("event %+v is read as %+v, %v", ev, back, err)
		}
		m.log = append(m.log, logged{m.now, back})
	}
	before := m.s.Round()
	m.do(func(a *Actions) {
		if err := m.checker.Step(m.s, ev, m.now, a); err != nil {
			m.t.Fatalf("%T: %v", ev, err)
		}
	})
	if m.s.Round() != before { // a driver lets go of what was made of results that were taken back
		clear(m.merges)
	}
}

// written is an event without what is not written down of it.
func written(ev Event) Event {
	p, ok := ev.(*Provisional)
	if !ok {
		return ev
	}
	out := &Provisional{Round: p.Round, Known: p.Known}
	for _, d := range p.Items {
		d.Round, d.Known, d.Replicas = 0, nil, slices.Clone(d.Replicas)
		for i := range d.Replicas {
			d.Replicas[i].Root = dag.CID{}
		}
		out.Items = append(out.Items, d)
	}
	return out
}

func (m *sim) do(f func(*Actions)) {
	var a Actions
	round := m.s.Round()
	f(&a)
	if m.s.Round() != round {
		m.merge, m.gather, m.compose = nil, nil, nil
	}
	m.asked = append(m.asked, a.Reveal...)
	m.checks = append(m.checks, a.Check...)
	m.compare = append(m.compare, a.Compare...)
	m.decide = append(m.decide, a.Decide...)
	m.compose = append(m.compose, a.Compose...)
	m.gather = append(m.gather, a.Gather...)
	for _, x := range a.Merge {
		all := ""
		for _, in := range x.Inputs {
			all += m.bare(in)[0].String()
		}
		m.merge = append(m.merge, MergedWant{x.Level, x.Index, root(all)})
	}
	if a.Finish != nil {
		m.end = a.Finish
	}
	if a.End != nil {
		m.end = a.End
	}
	for _, c := range a.Cancel {
		delete(m.granted[c.Worker], c.Lease)
	}
	if err := Check(m.s); err != nil {
		m.t.Fatalf("%v", err)
	}
}

func (m *sim) out(ref Ref, w int) dag.CID {
	if w == m.liar {
		return root(fmt.Sprintf("wrong %s", ref))
	}
	right := root(fmt.Sprintf("output %s of %v", ref, m.bare(m.s.Inputs(ref)...)))
	if m.classes == 0 || m.s.Stage(ref.Stage).Comparison == "" {
		return right
	}
	out := root(fmt.Sprint(right, w%m.classes))
	m.base[out] = right
	return out
}

// bare is a list of roots without what the machines they were made on did to them.
func (m *sim) bare(roots ...dag.CID) []dag.CID {
	list := make([]dag.CID, len(roots))
	for i, r := range roots {
		if list[i] = r; m.base[r].Defined() {
			list[i] = m.base[r]
		}
	}
	return list
}

// place is where a worker is: somewhere, on a machine of some class.
func (m *sim) place(w int) Place {
	if m.classes == 0 {
		return Place{}
	}
	return Place{Floats: Floats([]string{"y:other", fmt.Sprint("x:", w%m.classes)})}
}

func (m *sim) comparing(c CompareTask, failed bool) {
	ev := Compared{Task: c.Task, Pairs: c.Pairs, Failed: failed}
	for _, pair := range c.Pairs {
		a, b := m.base[pair[0]], m.base[pair[1]]
		ev.Agree = append(ev.Agree, !failed && a.Defined() && a == b)
	}
	m.step(ev)
}

func (m *sim) grant(w int) bool {
	ref, ok := m.s.Pick(node(w), m.place(w))
	if !ok {
		return false
	}
	if at := m.place(w); m.s.Place(node(w)) != at {
		m.step(&Placed{Worker: node(w), Place: at})
	}
	try := m.s.Attempt(ref)
	l := tasks.NewLeaseID(m.s.job.ID, m.s.TaskID(ref), try, node(w), 1, m.now+60_000)
	g := []Grant{{Task: ref, Attempt: try, Lease: l, Expiry: m.now + 60_000}}
	point, goesOn := m.s.Carry(node(w), m.place(w), ref)
	poisoned := false
	switch {
	case m.s.Alone(ref) && (w+ref.Index)%3 != 0:
		m.step(&Sole{Worker: node(w), Items: g, OneIn: 2 + ref.Index%3})
	case goesOn && ref.Index%5 != 0:
		m.step(&Carried{Worker: node(w), Item: g[0], Root: point.Root})
		poisoned = m.liar >= 0 && slices.Contains(point.Past, node(m.liar))
		m.carried++
	default:
		m.step(&Granted{Worker: node(w), Items: g})
	}
	if m.granted[node(w)] == nil {
		m.granted[node(w)] = map[tasks.LeaseID]Ref{}
	}
	m.granted[node(w)][l] = ref
	if m.outs[l] = m.out(ref, w); poisoned { // it cannot know, and ends with what the liar made of it
		m.outs[l] = m.out(ref, m.liar)
	}
	return true
}

func (m *sim) verdict(d Decision) {
	if m.s.adaptive() {
		m.step(&Provisional{Round: d.Round, Items: []Decision{d}, Known: append(make([]tasks.LeaseID, 0), d.Known...)})
		return
	}
	m.step(&Verdicts{Items: []Decision{d}})
}

// pick draws one element, and whether there is one; it stays where it is.
func pick[T any](m *sim, list []T) (T, bool) {
	var zero T
	if len(list) == 0 {
		return zero, false
	}
	return list[rapid.IntRange(0, len(list)-1).Draw(m.t, "which")], true
}

func (m *sim) leases(w int) []tasks.LeaseID {
	return slices.SortedFunc(maps.Keys(m.granted[node(w)]), func(a, b tasks.LeaseID) int { return slices.Compare(a[:], b[:]) })
}

func (m *sim) commit(w int, l tasks.LeaseID) {
	r := m.outs[l]
	m.step(Committed{Worker: node(w), Commit: tasks.Commit{Lease: l, Hash: tasks.CommitHash(l, node(w), r, [32]byte{1})}})
}

func (m *sim) reveal(q Asked, checked bool) {
	m.step(Revealed{
		Worker: q.Worker, Checked: checked, Good: checked,
		Reveal: &tasks.Reveal{Lease: q.Lease, Root: m.outs[q.Lease], Digest: [32]byte{1}},
	})
}

func (m *sim) check(c Examine) {
	ev := Checked{Task: c.Task, Root: c.Root}
	for _, x := range c.Claims {
		ev.Good = append(ev.Good, x.Lease)
	}
	m.step(ev)
}

func (m *sim) composed(c Compose) {
	m.step(Composed{Task: c.Task, ID: tasks.TaskID{byte(c.Task.Stage), byte(c.Task.Index)}, Inputs: []dag.CID{root(fmt.Sprint("in", c.Task, m.bare(c.From...)))}})
}

func (m *sim) gathered(g GatherStage) {
	roots := make([]dag.CID, m.s.Parts())
	for i := range roots {
		roots[i] = root(fmt.Sprint("gathered", i, m.bare(g.Inputs...)))
	}
	half := len(roots) / 2
	m.step(&Gathered{Stage: g.Stage, From: half, Roots: roots[half:]})
	m.step(&Gathered{Stage: g.Stage, Roots: roots[:half:half]})
}

func (m *sim) merged(w MergedWant) {
	before := m.s.merges
	m.step(&Merged{Level: w.level, Index: w.index, Root: w.root})
	if m.s.merges > before {
		k := fmt.Sprint(w.level, w.index)
		if m.merges[k]++; m.merges[k] > 1 {
			m.t.Fatalf("merge %s was done twice", k)
		}
	}
}

// play does one random thing: sometimes it answers, sometimes twice, sometimes never.
func (m *sim) play() {
	w := rapid.IntRange(0, m.workers-1).Draw(m.t, "worker")
	switch rapid.IntRange(0, 17).Draw(m.t, "what") {
	case 17:
		if c, ok := pick(m, m.compare); ok {
			m.comparing(c, rapid.IntRange(0, 4).Draw(m.t, "fails") == 0)
			m.do(func(a *Actions) { m.s.Retry(m.now, a) })
		}
	case 0, 1, 2:
		m.grant(w)
	case 3, 4, 5:
		if l, ok := pick(m, m.leases(w)); ok {
			m.commit(w, l)
		}
	case 6, 7:
		if q, ok := pick(m, m.asked); ok {
			m.reveal(q, rapid.Bool().Draw(m.t, "inline"))
		}
	case 8:
		if c, ok := pick(m, m.checks); ok {
			m.check(c)
		}
	case 9:
		if d, ok := pick(m, m.decide); ok {
			m.verdict(d)
		}
	case 10:
		if c, ok := pick(m, m.compose); ok {
			m.composed(c)
		}
	case 11:
		if g, ok := pick(m, m.gather); ok {
			m.gathered(g)
		}
	case 12:
		if x, ok := pick(m, m.merge); ok {
			m.merged(x)
		}
	case 13:
		m.now += rapid.Int64Range(0, 70_000).Draw(m.t, "later")
		m.step(Tick{})
	case 14:
		if l, ok := pick(m, m.leases(w)); ok {
			code := tasks.Busy
			if rapid.IntRange(0, 9).Draw(m.t, "fails") == 0 {
				code = tasks.TaskFailed
			}
			m.step(&Returned{Worker: node(w), Lease: l, Reason: tasks.Reason{Code: code}})
			if m.s.WantsLeft(m.granted[node(w)][l], node(w), l) && rapid.Bool().Draw(m.t, "leaves a checkpoint") {
				m.step(&Left{
					Task: m.granted[node(w)][l], Worker: node(w), Lease: l, Root: root(fmt.Sprint("checkpoint", l)), Bytes: 1,
					Done: rapid.Int64Range(0, 9).Draw(m.t, "done"), Total: 10, CPUMillis: 5,
				})
			}
			delete(m.granted[node(w)], l)
		}
	case 15:
		if rapid.Bool().Draw(m.t, "up") {
			m.step(SessionUp{Worker: node(w)})
		} else {
			m.step(SessionDown{Worker: node(w)})
		}
	case 16:
		lost := Mislaid{}
		m.s.Checkpoints(func(ref Ref, root dag.CID) {
			if !lost.Root.Defined() || slices.Compare(root[:], lost.Root[:]) < 0 {
				lost = Mislaid{Task: ref, Root: root}
			}
		})
		if lost.Root.Defined() && rapid.IntRange(0, 3).Draw(m.t, "loses a checkpoint") == 0 {
			m.step(&lost)
		}
		if l, ok := pick(m, m.leases(w)); ok { // a message about somebody else's lease
			m.step(Committed{Worker: node(w + 1), Commit: tasks.Commit{Lease: l}})
			m.step(Revealed{Worker: node(w + 1), Reveal: &tasks.Reveal{Lease: l, Root: root("x")}})
		}
	}
}

// settle lets everybody answer everything until nothing happens any more.
func (m *sim) settle() {
	for round := 0; m.end == nil; round++ {
		if round > 400 {
			m.t.Fatalf("the job does not end: %+v", m.s.Explain(m.now, m.workers))
		}
		before := len(m.log)
		for w := range m.workers {
			m.step(SessionUp{Worker: node(w)})
			for m.grant(w) {
			}
			for _, l := range m.leases(w) {
				m.commit(w, l)
			}
		}
		for _, q := range taken(&m.asked) {
			m.reveal(q, true)
		}
		for _, c := range taken(&m.checks) {
			m.check(c)
		}
		for _, c := range taken(&m.compare) {
			m.comparing(c, false)
		}
		for _, d := range taken(&m.decide) {
			m.verdict(d)
		}
		for _, c := range taken(&m.compose) {
			m.composed(c)
		}
		for _, g := range taken(&m.gather) {
			m.gathered(g)
		}
		for _, x := range taken(&m.merge) {
			m.merged(x)
		}
		if len(m.log) == before {
			m.now += 61_000
			m.step(Tick{})
			if round > 20 {
				m.workers++ // everybody here has had a voice in some task: somebody new comes
			}
		}
	}
}

// taken returns a list and empties it.
func taken[T any](list *[]T) []T {
	all := *list
	*list = nil
	return all
}

func newSim(t *rapid.T, sens tasks.Sensitivity, parts, workers, k, n, liar int) *sim {
	return newSimAs(t, tasks.Fixed, sens, parts, workers, k, n, liar)
}

func newSimAs(t *rapid.T, how tasks.Replication, sens tasks.Sensitivity, parts, workers, k, n, liar int) *sim {
	return newSimOf(t, 0, how, sens, parts, workers, k, n, liar)
}

func newSimOf(t *rapid.T, classes int, how tasks.Replication, sens tasks.Sensitivity, parts, workers, k, n, liar int) *sim {
	m := &sim{t: t, classes: classes, base: map[dag.CID]dag.CID{}, now: 1_000_000, workers: workers, liar: liar, granted: map[tasks.NodeID]map[tasks.LeaseID]Ref{}, merges: map[string]int{}, outs: map[tasks.LeaseID]dag.CID{}}
	first := &Accepted{Job: tasks.Job{ID: tasks.JobID{1}, Spec: tasks.Spec{Policy: tasks.Policy{K: k, N: n, Replication: how}, Sensitivity: sens}}, Secret: [32]byte{2}}
	m.log = append(m.log, logged{m.now, first})
	m.s = New(first)
	stages := pipeline(3)
	for i := range stages {
		if classes > 0 && stages[i].Mode != tasks.Gather {
			stages[i].Comparison = tasks.Numeric
		}
	}
	m.step(&Planned{Stages: stages, Parts: parts, Input: true})
	roots := make([]dag.CID, parts)
	for i := range roots {
		roots[i] = root(fmt.Sprint("part", i))
	}
	m.step(&Parts{Roots: roots})
	return m
}

// equal compares what two states say of a job, as far as the log knows it.
func equal(t *rapid.T, a, b *State) {
	x, y := a.Summary(), b.Summary()
	for _, s := range []*Summary{&x, &y} {
		s.InFlight, s.Leases, s.Partly, s.Moved, s.Carried, s.Spared = 0, 0, 0, nil, 0, 0
		for i := range s.Stages {
			s.Stages[i].Median, s.Stages[i].Open, s.Stages[i].Waiting = 0, 0, false
		}
		s.Workers = nil
	}
	if d := cmp.Diff(x, y); d != "" {
		t.Fatalf("states differ:\n%s", d)
	}
	for i := range a.stages {
		for j := range a.stages[i].tasks {
			if r := (Ref{Stage: i, Index: j}); a.Output(r) != b.Output(r) {
				t.Fatalf("output %s: %s and %s", r, a.Output(r), b.Output(r))
			}
		}
	}
}

func (m *sim) replay(upTo int) *State {
	var ignored Actions
	s := New(m.log[0].ev.(*Accepted))
	for _, l := range m.log[1:upTo] {
		s.Step(l.ev, l.at, &ignored)
	}
	return s
}

// Whatever happens, in whatever order and however often, no invariant breaks, and once everybody answers the job ends
// with the result an undisturbed run has.
func TestAnyOrder(t *testing.T) { rapid.Check(t, anyOrder) }

func anyOrder(t *rapid.T) {
	parts := rapid.IntRange(1, 20).Draw(t, "parts")
	workers := rapid.IntRange(4, 6).Draw(t, "workers")
	k := rapid.IntRange(1, 2).Draw(t, "k")
	liar := -1
	if k == 2 {
		liar = rapid.IntRange(-1, workers-1).Draw(t, "liar")
	}
	sens := rapid.SampledFrom([]tasks.Sensitivity{tasks.Public, tasks.Approved}).Draw(t, "sensitivity")
	m := newSimOf(t, rapid.IntRange(0, 2).Draw(t, "classes"), tasks.Fixed, sens, parts, workers, k, 16, liar)
	for range rapid.IntRange(0, 150).Draw(t, "steps") {
		m.play()
		if m.end != nil {
			break
		}
	}
	equal(t, m.s, m.replay(len(m.log)))
	back, err := Restore(m.s.Encode())
	if err != nil {
		t.Fatal(err)
	}
	if m.s.Phase() == Running {
		if err := Check(back); err != nil && back.Phase() == Running {
			t.Fatalf("restored: %v", err)
		}
	}
	equal(t, m.s, back)
	if rapid.Bool().Draw(t, "restart") {
		m.s, m.checker = back, Checker{}
		m.asked, m.checks, m.compare, m.decide, m.compose, m.gather, m.merge = nil, nil, nil, nil, nil, nil, nil
		m.do(func(a *Actions) { m.s.Resume(m.now, a) })
	}
	m.settle()
	done, ok := m.end.(*Done)
	if !ok {
		switch e := m.end.(*Ended); e.Reason.Code {
		case tasks.TaskFailed, tasks.Disagreement, tasks.TooFewNodes:
			return // enough workers said so, or too many kept nothing of what they promised
		}
		t.Fatalf("job ends with %+v", m.end)
	}
	calm := newSim(t, sens, parts, workers, 1, 1, -1)
	calm.settle()
	if want := calm.end.(*Done).Root; m.bare(done.Root)[0] != want {
		t.Fatalf("result %s, undisturbed %s", done.Root, want)
	}
	m.step(done)
	if m.s.Phase() != Finished || m.s.Result() != done.Root {
		t.Fatalf("job is %s", m.s.Phase())
	}
}

func TestRepeatedEventsChangeNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newSim(t, tasks.Public, rapid.IntRange(1, 20).Draw(t, "parts"), 4, 2, 4, -1)
		for range 60 {
			m.play()
		}
		s := m.replay(len(m.log))
		for _, l := range m.log[1:] {
			var ignored Actions
			s.Step(l.ev, l.at, &ignored)
			if err := Check(s); err != nil {
				t.Fatal(err)
			}
		}
		equal(t, s, m.s)
	})
}

// A job of more parts than a job may have ends at once with the reason, whatever its kind made of its input.
func TestABillionTasks(t *testing.T) {
	for _, parts := range []int{merge.MaxParts + 1, 1_000_000_000} {
		s := New(&Accepted{Job: tasks.Job{Spec: tasks.Spec{Policy: tasks.Policy{K: 2, N: 3}}}})
		var a Actions
		s.Step(&Planned{Stages: []tasks.Stage{{Mode: tasks.Map, Inputs: []int{tasks.Source}, Steps: []tasks.Step{{Kind: "x"}}}}, Parts: parts}, 1, &a)
		if a.End == nil || a.End.Reason.Code != tasks.OverLimits || !strings.Contains(a.End.Reason.Detail, "make parts larger") {
			t.Errorf("%d parts: %+v", parts, a.End)
		}
	}
}
