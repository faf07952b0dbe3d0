// Package verify turns the replicas of one task into a verdict. It is pure: the same replicas, in any order, give the
// same decision.
//
// A replica is one execution of the task by one worker. It commits to its result before anybody may see another's:
// Decide asks for reveals only when no replica is live any more (each has committed, or is out) and enough have
// committed to agree at all. A revealed replica counts once its digest has been checked on the bytes of the output;
// agreement needs K checked replicas that are distinct in worker, account and group. A replica that went on from another
// node's checkpoint holds that node's work, and counts as the work of both.
package verify

import (
	"bytes"
	"cmp"
	"math/bits"
	"slices"

	"kith/storage/dag"
	"kith/tasks"
)

// State is where a replica stands.
type State byte

// The states of a replica. The first four follow one another; every other one is an end.
const (
	Live      State = iota // leased; nothing heard but heartbeats
	Committed              // bound to a result that nobody has seen
	Revealed               // the reveal opens the commit; the digest is not checked yet
	Checked                // the digest is that of the bytes: a vote
	Forged                 // the reveal does not open the commit, or the digest is not of the bytes
	Withheld               // committed, but did not reveal or deliver in time
	Failed                 // the task itself ended with an error there
	Lapsed                 // no commit before expiry
	Returned               // handed back for a reason of the worker's own
	Cancelled              // no longer wanted
)

// Pending reports whether a replica may still become a vote.
func (s State) Pending() bool { return s < Checked }

// spent reports whether a replica counts against Policy.N: a result was due or delivered. Those that lapsed or came
// back cost nothing but time and are bounded by MaxTries.
func (s State) spent() bool { return s != Lapsed && s != Returned && s != Cancelled }

// Replica is one execution of a task.
type Replica struct {
	Lease   tasks.LeaseID
	Worker  tasks.NodeID
	Account string // empty: the worker is its own account
	Group   string // network origin; empty: none is known, and none is demanded
	Equals  string // equivalence class of its floats; within one, numeric results must be the same bytes; "": unknown
	State   State
	Root    dag.CID  // from Revealed on
	Past    []Origin // whose work it holds beside its worker's: it went on from their checkpoints
}

// Origin is one node whose work a replica holds.
type Origin struct {
	Worker  tasks.NodeID
	Account string // as in Replica
	Group   string
}

// Policy is what a verdict needs.
type Policy struct {
	K int // agreeing replicas
	N int // executions at most
	// Lead is by how many independent replicas the winners must outnumber the largest party against them, if there is
	// one. It is waived when no execution is left. 0: K are enough.
	Lead int
}

// Limits of a policy and of one task's history.
const (
	MaxN     = 16 // executions of one task: cliques are searched by brute force
	MaxTries = 32 // replicas of one task that lapsed or came back
)

// Agreement is what a comparator says of two outputs.
type Agreement byte

// The answers of a comparator.
const (
	Unknown Agreement = iota // not compared yet
	Agree
	Differ
)

// Action is what to do next.
type Action byte

// The actions of a decision.
const (
	Wait    Action = iota // replicas are at work
	Reveal                // ask Replicas to open their commits
	Check                 // fetch one copy of each root of Replicas and check every digest on it
	Compare               // compare the outputs of Pairs
	More                  // lease the task Count more times
	Accept                // Root is the result
	Reject                // the task fails with Reason
)

func (a Action) String() string {
	return [...]string{"wait", "reveal", "check", "compare", "more", "accept", "reject"}[a]
}

// Decision says what to do next. Numbers of replicas are indices into the slice given to Decide, ascending.
type Decision struct {
	Action   Action
	Replicas []int        // for Reveal and Check
	Pairs    [][2]dag.CID // for Compare
	Count    int          // for More
	Root     dag.CID      // for Accept
	Winners  []int        // for Accept: replicas that agree
	Losers   []int        // for Accept: checked replicas that do not
	// Spare names live replicas that are not needed: K others have committed. Mark them Cancelled and decide again, or
	// wait for them. With Accept it names every replica still pending.
	Spare  []int
	Reason tasks.Reason // for Reject and Wait
}

// Opens reports whether a reveal opens a commit of worker.
func Opens(c tasks.Commit, worker tasks.NodeID, r tasks.Reveal) bool {
	return c.Lease == r.Lease && c.Hash == tasks.CommitHash(r.Lease, worker, r.Root, r.Digest)
}

// Distinct reports whether two replicas count as independent: no node whose work the one holds may be, or be near, a node
// whose work the other holds.
func Distinct(a, b *Replica) bool {
	for i := range 1 + len(a.Past) {
		for j := range 1 + len(b.Past) {
			if !apart(a.origin(i), b.origin(j)) {
				return false
			}
		}
	}
	return true
}

// origin is the i-th node whose work a replica holds: its worker, then its past.
func (r *Replica) origin(i int) Origin {
	if i == 0 {
		return Origin{r.Worker, r.Account, r.Group}
	}
	return r.Past[i-1]
}

func apart(a, b Origin) bool {
	return a.Worker != b.Worker && (a.Account == "" || a.Account != b.Account) && (a.Group == "" || a.Group != b.Group)
}

// Decide says what to do with a task whose replicas stand as given. agree tells what is known of two different outputs,
// the smaller CID first; it may be nil for tasks.Bitwise.
func Decide(p Policy, how tasks.Comparison, replicas []Replica, agree func(a, b dag.CID) Agreement) Decision {
	p.N = min(max(p.N, 1), MaxN)
	p.K = min(max(p.K, 1), p.N)
	t := tally(replicas)

	if d, ok := t.accept(p, sameRoot); ok {
		return d
	}
	best := t.best(sameRoot)
	if how != tasks.Bitwise && agree != nil {
		near := func(a, b *Replica) bool { // called with b before a in the order of roots
			return a.Root == b.Root || mayDiffer(how, a, b) && agree(b.Root, a.Root) == Agree
		}
		if pairs := t.unknown(how, agree); len(pairs) > 0 {
			return Decision{Action: Compare, Pairs: pairs}
		}
		if d, ok := t.accept(p, near); ok {
			return d
		}
		best = t.best(near)
	}

	if t.independent(t.failed) >= max(p.K, min(2, p.N)) {
		return Decision{Action: Reject, Reason: tasks.Because(tasks.TaskFailed, "it failed on %d nodes", len(t.failed)), Spare: t.pending()}
	}
	hopeful := len(t.live) + len(t.committed) + len(t.revealed)
	missing := p.K - best - hopeful
	if hopeful == 0 {
		missing = max(missing, 1) // two camps of K each: one more must decide
	}
	if missing > 0 {
		return t.more(p, missing)
	}
	switch {
	case len(t.revealed) > 0:
		return Decision{Action: Check, Replicas: t.revealed}
	case len(t.live) > 0 && best+len(t.committed) >= p.K:
		return Decision{Action: Wait, Spare: t.live, Reason: tasks.Because(tasks.WaitingForReply, "%d committed, %d at work", len(t.committed), len(t.live))}
	case len(t.live) > 0:
		return Decision{Action: Wait, Reason: tasks.Because(tasks.WaitingForReply, "%d committed, %d at work", len(t.committed), len(t.live))}
	default:
		return Decision{Action: Reveal, Replicas: t.committed}
	}
}

// Hopeful returns the checked replicas, ascending, that agree, if outputs that have not been compared yet (see Decide)
// turn out to: of such sets the one with the most independent members.
func Hopeful(how tasks.Comparison, replicas []Replica, agree func(a, b dag.CID) Agreement) (list []int) {
	t := tally(replicas)
	apart := t.edges(Distinct)
	best, most := set(0), 0
	cliques(t.edges(func(a, b *Replica) bool { // called with b before a in the order of roots
		return a.Root == b.Root || how != tasks.Bitwise && mayDiffer(how, a, b) && agree(b.Root, a.Root) != Differ
	}), func(c set) {
		if n := largest(apart, c); n > most || n == most && earlier(c, best) < 0 {
			best, most = c, n
		}
	})
	for n, i := range t.checked {
		if best&(1<<n) != 0 {
			list = append(list, i)
		}
	}
	slices.Sort(list)
	return list
}

// mayDiffer reports whether different bytes of two replicas may yet agree. Machines of one equivalence class compute the
// same bytes, so there different ones are a lie or a fault.
func mayDiffer(how tasks.Comparison, a, b *Replica) bool {
	return how == tasks.Schema || a.Equals == "" || a.Equals != b.Equals
}

func sameRoot(a, b *Replica) bool { return a.Root == b.Root }

// votes is the replicas of one task by where they stand. The lists hold indices: ascending, but checked in the order of
// roots and leases, so that nothing depends on the order of the replicas.
type votes struct {
	all                                        []Replica
	live, committed, revealed, checked, failed []int
	spent, tried                               int
}

func tally(replicas []Replica) *votes {
	t := &votes{all: replicas}
	for i := range replicas {
		switch s := replicas[i].State; s {
		case Live:
			t.live = append(t.live, i)
		case Committed:
			t.committed = append(t.committed, i)
		case Revealed:
			t.revealed = append(t.revealed, i)
		case Checked:
			t.checked = append(t.checked, i)
		case Failed:
			t.failed = append(t.failed, i)
		}
		if replicas[i].State.spent() {
			t.spent++
		} else {
			t.tried++
		}
	}
	slices.SortFunc(t.checked, func(i, j int) int {
		a, b := &replicas[i], &replicas[j]
		return cmp.Or(bytes.Compare(a.Root[:], b.Root[:]), bytes.Compare(a.Lease[:], b.Lease[:]))
	})
	t.checked = t.checked[:min(len(t.checked), MaxN)]
	return t
}

func (t *votes) pending() []int {
	var list []int
	for i := range t.all {
		if t.all[i].State.Pending() {
			list = append(list, i)
		}
	}
	return list
}

// more asks for further executions, or gives up.
func (t *votes) more(p Policy, missing int) Decision {
	switch room := p.N - t.spent; {
	case missing > room:
		if len(t.failed) > 0 && len(t.checked) == 0 {
			return Decision{Action: Reject, Reason: tasks.Because(tasks.TaskFailed, "it failed on %d of %d nodes", len(t.failed), t.spent), Spare: t.pending()}
		}
		return Decision{Action: Reject, Reason: tasks.Because(tasks.Disagreement, "no %d of %d results agree, and at most %d executions are allowed", p.K, t.spent, p.N), Spare: t.pending()}
	case t.tried >= MaxTries:
		return Decision{Action: Reject, Reason: tasks.Because(tasks.NoAnswer, "%d workers gave the task back or fell silent", t.tried), Spare: t.pending()}
	}
	return Decision{Action: More, Count: missing}
}

// unknown lists the pairs of outputs whose agreement is needed and not known, smaller root first, each once.
func (t *votes) unknown(how tasks.Comparison, agree func(a, b dag.CID) Agreement) [][2]dag.CID {
	var pairs [][2]dag.CID
	seen := map[[2]dag.CID]bool{}
	for n, i := range t.checked {
		for _, j := range t.checked[:n] {
			a, b := &t.all[i], &t.all[j]
			if a.Root == b.Root || !mayDiffer(how, a, b) {
				continue
			}
			pair := [2]dag.CID{b.Root, a.Root} // checked is sorted: the smaller first
			if !seen[pair] && agree(pair[0], pair[1]) == Unknown {
				seen[pair] = true
				pairs = append(pairs, pair)
			}
		}
	}
	return pairs
}

// set is a set of positions in votes.checked.
type set = uint32

// accept looks for a clique of agreeing replicas with at least K independent ones among them. The one with the most
// independent members wins, of several that overlap the one with the smallest root; two that share nobody are a
// disagreement. The result is the smallest root in the clique.
func (t *votes) accept(p Policy, agree func(a, b *Replica) bool) (Decision, bool) {
	if len(t.checked) < p.K {
		return Decision{}, false
	}
	apart := t.edges(Distinct)
	var top []set // the maximal cliques with the most independent members
	most := p.K
	cliques(t.edges(agree), func(c set) {
		switch v := largest(apart, c); {
		case v > most:
			most, top = v, append(top[:0], c)
		case v == most:
			top = append(top, c)
		}
	})
	if len(top) == 0 {
		return Decision{}, false
	}
	won := slices.MinFunc(top, earlier)
	for _, c := range top {
		if c&won == 0 {
			return Decision{}, false // as many say something else
		}
	}
	if p.Lead > 1 && p.N > t.spent && most-t.against(agree, apart, won) < p.Lead {
		return Decision{}, false
	}
	d := Decision{Action: Accept, Root: t.all[t.checked[bits.TrailingZeros32(won)]].Root, Spare: t.pending()}
	for n, i := range t.checked {
		if won&(1<<n) != 0 {
			d.Winners = append(d.Winners, i)
		} else {
			d.Losers = append(d.Losers, i)
		}
	}
	slices.Sort(d.Winners)
	slices.Sort(d.Losers)
	return d, true
}

// against is the most independent replicas that agree on something else than the winners; -MaxN if nobody does.
func (t *votes) against(agree func(a, b *Replica) bool, apart []set, won set) int {
	most := 0
	cliques(t.edges(agree), func(c set) {
		if c&won == 0 {
			most = max(most, largest(apart, c))
		}
	})
	if most == 0 {
		return -MaxN // undisputed
	}
	return most
}

// earlier orders sets by their first members: votes.checked is sorted by root, so the first set has the smallest root.
func earlier(a, b set) int { return cmp.Compare(bits.Reverse32(b), bits.Reverse32(a)) }

// best is the most independent replicas that agree so far.
func (t *votes) best(agree func(a, b *Replica) bool) int {
	apart := t.edges(Distinct)
	most := 0
	cliques(t.edges(agree), func(c set) { most = max(most, largest(apart, c)) })
	return most
}

// independent is how many of the replicas in list are pairwise distinct, at most.
func (t *votes) independent(list []int) int {
	if len(list) > MaxN {
		list = list[:MaxN]
	}
	u := votes{all: t.all, checked: list}
	return largest(u.edges(Distinct), 1<<len(list)-1)
}

// edges is a graph over votes.checked: which replicas are related.
func (t *votes) edges(related func(a, b *Replica) bool) []set {
	g := make([]set, len(t.checked))
	for n, i := range t.checked {
		for m, j := range t.checked[:n] {
			if related(&t.all[i], &t.all[j]) {
				g[n] |= 1 << m
				g[m] |= 1 << n
			}
		}
	}
	return g
}

// cliques calls yield with every maximal clique of g (Bron and Kerbosch 1973, with Tomita's pivot).
func cliques(g []set, yield func(set)) {
	var grow func(in, may, not set)
	grow = func(in, may, not set) {
		if may|not == 0 {
			if in != 0 {
				yield(in)
			}
			return
		}
		pivot, most := 0, -1
		for rest := may | not; rest != 0; rest &= rest - 1 {
			v := bits.TrailingZeros32(rest)
			if d := bits.OnesCount32(g[v] & may); d > most {
				pivot, most = v, d
			}
		}
		for rest := may &^ g[pivot]; rest != 0; rest &= rest - 1 {
			v := bits.TrailingZeros32(rest)
			grow(in|1<<v, may&g[v], not&g[v])
			may &^= 1 << v
			not |= 1 << v
		}
	}
	grow(0, 1<<len(g)-1, 0)
}

// largest is the size of the largest clique of g within c.
func largest(g []set, c set) int {
	most := 0
	var grow func(size int, may set)
	grow = func(size int, may set) {
		most = max(most, size)
		for ; may != 0 && size+bits.OnesCount32(may) > most; may &= may - 1 {
			v := bits.TrailingZeros32(may)
			grow(size+1, may&g[v]&^(1<<(v+1)-1))
		}
	}
	grow(0, c)
	return most
}
