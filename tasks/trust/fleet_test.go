package trust_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"kith/storage/dag"
	"kith/tasks"
	"kith/tasks/job"
	"kith/tasks/trust"
)

const (
	start = int64(20_000) * 24 * 60 * 60 * 1000
	what  = "etl.hash/run"
)

// role is how a simulated node behaves.
type role int

const (
	honest   role = iota
	colluder      // gives the wrong result that its friends give
	random        // gives a wrong result of its own
)

// fleet is a job on nodes with a book of trust, without network or clock: what the submitter's driver does, in little.
type fleet struct {
	t     testing.TB
	rnd   *rand.Rand
	s     *job.State
	book  *trust.Book
	now   int64
	roles []role
	// rate is how often a liar lies once it does; sleep lets it be honest until it is believed alone.
	rate  float64
	sleep bool

	held     map[int]lease
	lied     map[job.Ref]map[role]bool // whether friends lied at a task; friends recognise it
	runs     int                       // executions
	lies     map[int]int               // wrong results a node gave
	solo     map[int]int               // of them while believed alone
	first    map[int]int               // of them before it was caught
	caught   []int
	falsely  int // honest nodes that were ever called liars
	finished bool
	leases   []seen
}

type lease struct {
	ref  job.Ref
	id   tasks.LeaseID
	root dag.CID
	sole bool
}

// seen is what a worker sees of a lease, and whether it was an audit.
type seen struct {
	node, index, handle, order int
	at                         int
	audit                      bool
}

func id(n int) (out tasks.NodeID) {
	out[0], out[1], out[31] = byte(n>>8), byte(n), 1
	return out
}

func place(n int) job.Place { return job.Place{Group: fmt.Sprint("g", n), Account: fmt.Sprint("a", n)} }

func newFleet(t testing.TB, seed uint64, jobTasks, nodes int, share float64, liar role) *fleet {
	f := &fleet{
		t: t, rnd: rand.New(rand.NewPCG(seed, 7)), book: trust.NewBook(), now: start, rate: 1,
		held: map[int]lease{}, lied: map[job.Ref]map[role]bool{}, lies: map[int]int{}, solo: map[int]int{}, first: map[int]int{},
	}
	f.roles = make([]role, nodes)
	for i := range int(share * float64(nodes)) {
		f.roles[i] = liar
	}
	f.rnd.Shuffle(nodes, func(i, j int) { f.roles[i], f.roles[j] = f.roles[j], f.roles[i] })
	f.begin(seed, jobTasks)
	return f
}

// begin starts another job on the same fleet.
func (f *fleet) begin(seed uint64, n int) {
	spec := tasks.Spec{Policy: tasks.Policy{K: 2, N: 16, NodeLimit: 1 << 20, Replication: tasks.Adaptive}}
	f.s = job.New(&job.Accepted{Job: tasks.Job{ID: tasks.JobID{byte(seed)}, Spec: spec}, Secret: [32]byte{byte(seed), byte(seed >> 8)}})
	f.finished = false
	clear(f.held)
	clear(f.lied)
	f.step(&job.Planned{Stages: []tasks.Stage{{Mode: tasks.Map, Inputs: []int{tasks.Source}, Steps: []tasks.Step{{Kind: "etl.hash", Phase: "run"}}}}, Parts: n})
	for i := range f.roles {
		f.step(&job.Placed{Worker: id(i), Place: place(i)})
	}
}

func truth(r job.Ref) dag.CID { return dag.Sum(dag.Raw, dag.SHA256, []byte("right "+r.String())) }

func (f *fleet) step(ev job.Event) {
	var a job.Actions
	f.s.Step(ev, f.now, &a)
	f.act(&a)
}

func (f *fleet) act(a *job.Actions) {
	for _, c := range a.Cancel {
		for n, l := range f.held {
			if l.id == c.Lease {
				delete(f.held, n)
			}
		}
	}
	for _, q := range a.Reveal {
		root := f.revealed(q)
		f.step(job.Revealed{Worker: q.Worker, Checked: true, Good: true, Reveal: &tasks.Reveal{Lease: q.Lease, Root: root}})
	}
	for i := range a.Decide {
		f.rule(a.Decide[i])
	}
	for _, m := range a.Merge {
		f.step(&job.Merged{Level: m.Level, Index: m.Index, Root: dag.Sum(dag.Raw, dag.SHA256, fmt.Append(nil, m.Inputs))})
	}
	if a.Finish != nil {
		f.finished = true
	}
	if a.End != nil {
		f.t.Fatalf("the job ends: %s", a.End.Reason.Error())
	}
}

var roots = map[tasks.LeaseID]dag.CID{}

func (f *fleet) revealed(q job.Asked) dag.CID { return roots[q.Lease] }

func number(n tasks.NodeID) int { return int(n[0])<<8 | int(n[1]) }

// rule does what the driver does with a verdict.
func (f *fleet) rule(d job.Decision) {
	if d.Round != f.s.Round() {
		return
	}
	f.step(&job.Provisional{Round: d.Round, Items: []job.Decision{d}, Known: d.Known})
	var votes []trust.Vote
	for _, r := range d.Replicas {
		if r.Outcome == tasks.Accepted || r.Outcome == tasks.Outvoted {
			votes = append(votes, trust.Vote{
				Node: r.Worker, Group: place(number(r.Worker)).Group, Root: r.Root, Won: r.Outcome == tasks.Accepted,
				Told: slices.Contains(d.Known, r.Lease),
			})
		}
	}
	lied, cleared := f.book.Verdict(f.s.TaskID(d.Task), what, votes, f.now)
	for _, n := range cleared {
		f.step(&job.Cleared{Worker: n})
	}
	for _, n := range lied {
		i := number(n)
		if f.roles[i] == honest {
			f.falsely++
		} else if _, twice := f.first[i]; !twice {
			f.first[i] = f.solo[i]
			f.caught = append(f.caught, f.solo[i])
		}
		delete(f.held, i)
		f.finished = false // the end was asked for before the proof; it is asked for again
		f.step(&job.Disproved{Worker: n})
	}
}

// compute is the result a node gives.
func (f *fleet) compute(n int, ref job.Ref, sole bool) dag.CID {
	r := f.roles[n]
	if r == honest {
		return truth(ref)
	}
	lie := f.rnd.Float64() < f.rate && (!f.sleep || sole)
	if r == colluder {
		if m, known := f.lied[ref]; known {
			lie = m[r]
		} else {
			f.lied[ref] = map[role]bool{r: lie}
		}
	}
	if !lie {
		return truth(ref)
	}
	f.lies[n]++
	if sole {
		f.solo[n]++
	}
	if r == random {
		return dag.Sum(dag.Raw, dag.SHA256, fmt.Append(nil, "wrong", n, ref))
	}
	return dag.Sum(dag.Raw, dag.SHA256, []byte("wrong "+ref.String()))
}

// run lets every node take one task at a time until the job is done.
func (f *fleet) run() {
	order := f.rnd.Perm(len(f.roles))
	for turn := 0; !f.finished; turn++ {
		if turn > 100_000 {
			f.t.Fatalf("the job does not end: %+v", f.s.Explain(f.now, len(f.roles)))
		}
		f.now += 1000
		f.rnd.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		for at, n := range order {
			if _, busy := f.held[n]; busy || f.book.Banned(id(n), f.now) {
				continue
			}
			ref, ok := f.s.Pick(id(n), place(n))
			if !ok {
				continue
			}
			f.grant(n, ref, turn, at)
		}
		for _, n := range order {
			l, ok := f.held[n]
			if !ok {
				continue
			}
			delete(f.held, n)
			f.step(job.Committed{Worker: id(n), Commit: tasks.Commit{Lease: l.id, Hash: tasks.CommitHash(l.id, id(n), l.root, [32]byte{})}})
		}
		f.step(job.Tick{})
	}
	if err := job.Check(f.s); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fleet) grant(n int, ref job.Ref, turn, at int) {
	try := f.s.Attempt(ref)
	l := tasks.NewLeaseID(f.s.Job().ID, f.s.TaskID(ref), try, id(n), 1, f.now+60_000)
	oneIn, sole := f.book.Sole(id(n), what, f.now)
	audit := f.s.Output(ref).Defined()
	f.leases = append(f.leases, seen{node: n, index: ref.Index, handle: f.s.Handle(ref), order: at, at: turn, audit: audit})
	g := []job.Grant{{Task: ref, Attempt: try, Lease: l, Expiry: f.now + 60_000}}
	root := f.compute(n, ref, sole)
	roots[l] = root
	f.held[n] = lease{ref: ref, id: l, root: root, sole: sole}
	f.runs++
	if sole && f.s.Alone(ref) {
		f.step(&job.Sole{Worker: id(n), Items: g, OneIn: oneIn})
	} else {
		f.step(&job.Granted{Worker: id(n), Items: g})
	}
}

// wrong counts the wrong results among those accepted.
func (f *fleet) wrong(n int) (count int) {
	for i := range n {
		if r := (job.Ref{Index: i}); f.s.Output(r) != truth(r) {
			count++
		}
	}
	return count
}

// known makes every node one that is known for long.
func (f *fleet) known() {
	l := trust.Ledger{Verdicts: 1000}
	for i := range f.roles {
		l.Skills = append(l.Skills, trust.Skill{Node: id(i), What: what, Standing: trust.Standing{Agreed: 20, Passed: trust.LastOneIn, Day: start / 86_400_000}})
	}
	if err := f.book.Fold(&l); err != nil {
		f.t.Fatal(err)
	}
}

func median(list []int) float64 {
	slices.Sort(list)
	if n := len(list); n%2 == 0 && n > 0 {
		return float64(list[n/2-1]+list[n/2]) / 2
	} else if n > 0 {
		return float64(list[n/2])
	}
	return 0
}

func size(t testing.TB) (n int, seeds uint64) {
	if testing.Short() {
		return 2000, 1
	}
	return 10_000, 2
}

// Three in ten nodes collude and lie from the first task on, in a fleet nobody knows. They are found, and nothing they
// said stands.
func TestColdFleet(t *testing.T) {
	n, seeds := size(t)
	for seed := range seeds {
		f := newFleet(t, seed, n, 100, 0.3, colluder)
		f.run()
		t.Logf("seed %d: wrong %d of %d, executions +%.1f %%, %d of 30 colluders found, %d honest nodes called liars on the way and cleared",
			seed, f.wrong(n), n, f.extra(n), len(f.caught), f.falsely)
		if f.wrong(n) != 0 {
			t.Errorf("seed %d: %d wrong results accepted", seed, f.wrong(n))
		}
		f.justice(t)
	}
}

// justice checks that those called liars at the end are those who lied.
func (f *fleet) justice(t *testing.T) {
	t.Helper()
	for _, l := range f.book.Lies(f.now) {
		if f.roles[number(l.Node)] == honest {
			t.Errorf("honest node %d is called a liar, by %d groups", number(l.Node), l.Accusers)
		}
	}
}

func (f *fleet) extra(n int) float64 { return 100 * float64(f.runs-n) / float64(n) }

// The same nodes are honest until they are believed alone. At every task they lie at, nothing of it stands; below, no
// more than f·(1−p)·T: the share of lies, times the share of results nobody looks at again, times the results they gave
// alone.
func TestSleepers(t *testing.T) {
	n, seeds := size(t)
	judged, mistaken := 0, 0
	for _, rate := range []float64{1, 0.1, 0.01} {
		for seed := range seeds {
			f := newFleet(t, seed, n, 100, 0.3, colluder)
			f.sleep, f.rate = true, rate
			f.run()
			lies := 0
			for _, x := range f.solo {
				lies += x
			}
			bound := (1 - 1.0/trust.LastOneIn) * float64(lies) // lies = f·T
			t.Logf("rate %v, seed %d: wrong %d, bound %.1f, lies %d, executions +%.1f %%, found %d of 30 after a median of %.1f lies, %d honest nodes called liars on the way",
				rate, seed, f.wrong(n), bound, lies, f.extra(n), len(f.caught), median(f.caught), f.falsely)
			if got := f.wrong(n); rate == 1 && got != 0 || float64(got) > bound {
				t.Errorf("rate %v, seed %d: %d wrong results accepted", rate, seed, got)
			}
			for _, l := range f.book.Lies(f.now) {
				if f.roles[number(l.Node)] == honest {
					mistaken++
				}
			}
			judged += 70
		}
	}
	t.Logf("%d of %d honest nodes are called liars at the end", mistaken, judged)
	if mistaken*100 > judged {
		t.Errorf("%d of %d honest nodes are called liars", mistaken, judged)
	}
}

// In an honest fleet that is known for long, audits cost one execution in sixteen and nothing else does.
func TestKnownFleet(t *testing.T) {
	n, _ := size(t)
	f := newFleet(t, 1, n, 100, 0, colluder)
	f.known()
	f.run()
	t.Logf("executions +%.2f %%", f.extra(n))
	if x := f.extra(n); x < 5 || x > 8 {
		t.Errorf("executions +%.2f %%, want 5 to 8", x)
	}
	if f.wrong(n) != 0 || len(f.book.Lies(f.now)) != 0 {
		t.Error("an honest fleet is suspected")
	}
}

// A node known for long that begins to lie at everything is caught after no more than twelve lies, as the median.
func TestTurncoats(t *testing.T) {
	n, seeds := size(t)
	var caught []int
	for seed := range seeds {
		f := newFleet(t, seed, n, 100, 0.1, random)
		f.known()
		f.run()
		caught = append(caught, f.caught...)
		if len(f.caught) != 10 || f.wrong(n) != 0 {
			t.Errorf("seed %d: %d of 10 caught, %d wrong results accepted", seed, len(f.caught), f.wrong(n))
		}
	}
	if m := median(caught); m > 12 {
		t.Errorf("caught after a median of %.1f lies", m)
	}
	t.Logf("caught after a median of %.1f lies", median(caught))
}

// Who colludes is told from who is merely wrong, as soon as two of them were contradicted at one task.
func TestCollusions(t *testing.T) {
	n, seeds := size(t)
	seeds = max(seeds, 6) // few collude where they can be seen in one fleet
	var hit, flagged, met, there int
	for seed := range seeds {
		f := newFleet(t, seed, n, 100, 0.2, colluder)
		for i, wrong := 0, 0; wrong < 10; i++ {
			if f.roles[i] == honest {
				f.roles[i] = random
				wrong++
			}
		}
		f.sleep, f.rate = true, 0.1
		f.run()
		there += 20
		for _, c := range f.book.Collusions(f.now) {
			guilty := f.roles[number(c.Node)] == colluder
			if guilty && c.Of > 0 {
				met++
			}
			if c.Chance >= trust.Colluding {
				continue
			}
			flagged++
			if guilty {
				hit++
			}
		}
	}
	precision, recall := float64(hit)/float64(max(1, flagged)), float64(hit)/float64(max(1, met))
	t.Logf("precision %.3f, recall %.3f of the %d that were contradicted together, of %d colluders", precision, recall, met, there)
	if hit == 0 || precision < 0.9 || recall < 0.9 {
		t.Errorf("precision %.3f, recall %.3f", precision, recall)
	}
}

// Whitewashing: what one accepted lie costs in honest work. Every identity works honestly until it is believed, then lies
// at a twentieth of its tasks until it is caught; it knows when it is alone, and a task takes one second of processor time.
// One identity tells few lies, so that many fleets are needed to see one stand. (simnet's whitewash scenarios have liars that
// cannot know.)
func TestWhitewashing(t *testing.T) {
	n, _ := size(t)
	for _, c := range []struct {
		identities int
		fleets     uint64
	}{{1, 6}, {10, 2}, {100, 1}} {
		work, accepted, lies := 0, 0, 0
		for seed := range c.fleets {
			f := newFleet(t, seed, n, 200, 0, colluder)
			f.known()
			for i := range c.identities {
				f.roles[i] = random
				f.book.Appeal(id(i)) // a newcomer: it has shown nothing
			}
			f.sleep, f.rate = true, 0.05
			f.run()
			accepted += f.wrong(n)
			for _, l := range f.leases {
				if f.roles[l.node] == random {
					work++
				}
			}
			for _, x := range f.lies {
				work -= x
				lies += x
			}
		}
		if bound := (1 - 1.0/trust.LastOneIn) * float64(lies); float64(accepted) > bound {
			t.Errorf("%d identities: %d lies stand, bound %.0f", c.identities, accepted, bound)
		}
		if accepted == 0 {
			t.Logf("%d identities: %d lies told, none stands; %d honest CPU-seconds were spent", c.identities, lies, work)
			continue
		}
		cost := float64(work) / float64(accepted)
		t.Logf("%d identities: %d lies told, %d stand, %.0f honest CPU-seconds for each", c.identities, lies, accepted, cost)
		if cost < 2*trust.SoleAfter {
			t.Errorf("%d identities: an accepted lie costs %.1f honest CPU-seconds", c.identities, cost)
		}
	}
}
