// Package match decides which node gets which task, and whether and when a node answers an offer. It is pure and
// allocates nothing on the way: Choose is called for every lease.
//
// A choice is a chain of filters, each of which refuses a node with a reason, and a sum of costs, each an estimate in
// milliseconds of what giving the task to that node would add. The cheapest node that nobody refuses gets the task; if
// there is none, Summary says how many nodes fell at which filter, and Why tells the one that matters.
package match

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"

	"kith/tasks"
)

// Node is a session with a worker, as a value.
type Node struct {
	ID       tasks.NodeID
	Group    string // Group(…); empty: none, on a local network
	Account  string // Account(…)
	Region   string // by its own word
	Seen     string // in which the submitter sees it; "": it cannot tell
	Class    tasks.DeviceClass
	Band     int // grade in tenths of the scale, 1 to 10; 0: ungraded
	Sandbox  tasks.SandboxGrade
	Memory   int64    // bytes given to tasks, all together
	Kinds    []string // kinds its owner allows; empty: all
	Free     int      // tasks it asked for and has not got
	Running  int      // tasks it has
	Given    int64    // tasks it was given so far; of equal nodes the one with fewer goes first
	Quota    int      // tasks it may have at once (trust); 0: no bound
	Banned   bool
	RTT      int64 // milliseconds
	Load     int   // of the machine, per mille
	Relayed  bool
	Reliable int // accepted results, per mille of those due (trust)
	Honest   int // results that were not bad, per mille (trust)
	Proven   bool
	Pace     int // how long it takes, per mille of what is usual; 0: not known
	Stay     Stay
}

// Place is where a replica of a task was leased before.
type Place struct {
	Node    tasks.NodeID
	Group   string
	Account string
	// Vote is true while the replica may be, or has become, a vote: another must then differ in account and group.
	// Else only the node itself is passed over: it had its try.
	Vote bool
}

// Need is what one task demands.
type Need struct {
	Policy  *tasks.Policy
	Class   tasks.DeviceClass  // the stronger of kind and policy
	Sandbox tasks.SandboxGrade // the stronger of kind and policy
	Memory  int64              // bytes
	// Sealed says that the inputs are not public: they go only to nodes of good record, and of those rather to proven ones.
	Sealed  bool
	Kinds   []string       // of every step
	Tried   []Place        // its replicas so far
	Holders []tasks.NodeID // nodes that hold its inputs already
	Takes   int64          // how long it usually runs, milliseconds; 0: not known
	// Full says that the job has used as many nodes as it may; only Known nodes get more of it.
	Full  bool
	Known []tasks.NodeID // sorted (slices.SortFunc by bytes); read only if Full
}

// filter refuses a node with a code, or passes it with "".
type filter func(*Need, *Node) tasks.Code

// filters stand in the order in which a refusal is the less telling: a node that is only busy came closest.
var filters = [...]filter{banned, record, kinds, class, grade, sandbox, region, memory, nodeLimit, tried, diverse, quota, busy}

// Filters is how many filters there are.
const Filters = len(filters)

func banned(_ *Need, n *Node) tasks.Code {
	if n.Banned {
		return tasks.Banned
	}
	return ""
}

// leastHonest is the share of work that was not bad, per mille, below which a node gets nothing that is not public: one
// that was outvoted or withheld a result lately, and has not made up for it.
const leastHonest = 800

func record(need *Need, n *Node) tasks.Code {
	if need.Sealed && n.Honest < leastHonest {
		return tasks.NotTrusted
	}
	return ""
}

func grade(need *Need, n *Node) tasks.Code {
	if need.Policy != nil && n.Band < need.Policy.MinGrade {
		return tasks.WeakGrade
	}
	return ""
}

func kinds(need *Need, n *Node) tasks.Code {
	if len(n.Kinds) == 0 {
		return ""
	}
	for _, k := range need.Kinds {
		if !slices.Contains(n.Kinds, k) {
			return tasks.KindOff
		}
	}
	return ""
}

func class(need *Need, n *Node) tasks.Code {
	if n.Class.Rank() < need.Class.Rank() {
		return tasks.WeakDevice
	}
	return ""
}

func sandbox(need *Need, n *Node) tasks.Code {
	if n.Sandbox < need.Sandbox {
		return tasks.WeakSandbox
	}
	return ""
}

func region(need *Need, n *Node) tasks.Code {
	if need.Policy == nil {
		return ""
	}
	at := n.Region
	if need.Policy.Strict {
		if at = n.Seen; at == "" {
			return tasks.UnseenRegion
		}
	}
	if len(need.Policy.Regions) > 0 && !slices.Contains(need.Policy.Regions, at) || slices.Contains(need.Policy.Excluded, at) {
		return tasks.WrongRegion
	}
	return ""
}

func memory(need *Need, n *Node) tasks.Code {
	if need.Memory > n.Memory {
		return tasks.OverLimits
	}
	return ""
}

func nodeLimit(need *Need, n *Node) tasks.Code {
	if !need.Full {
		return ""
	}
	if _, ok := slices.BinarySearchFunc(need.Known, n.ID, func(a, b tasks.NodeID) int { return bytes.Compare(a[:], b[:]) }); !ok {
		return tasks.NodeLimitReached
	}
	return ""
}

func tried(need *Need, n *Node) tasks.Code {
	for i := range need.Tried {
		if need.Tried[i].Node == n.ID {
			return tasks.TooFewNodes
		}
	}
	return ""
}

func diverse(need *Need, n *Node) tasks.Code {
	for i := range need.Tried {
		p := &need.Tried[i]
		if p.Vote && (p.Group != "" && p.Group == n.Group || p.Account != "" && p.Account == n.Account) {
			return tasks.NoDiverseNode
		}
	}
	return ""
}

func quota(_ *Need, n *Node) tasks.Code {
	if n.Quota > 0 && n.Running >= n.Quota {
		return tasks.Filled
	}
	return ""
}

func busy(_ *Need, n *Node) tasks.Code {
	if n.Free <= 0 {
		return tasks.Busy
	}
	return ""
}

// Costs in milliseconds. They are guesses of what each thing adds to the time until a result, on the scale of a small
// task; only their order matters.
const (
	costRunning = 20      // each task the node has already, so that work spreads
	costLoad    = 100     // at full load of the machine
	costRelay   = 200     // blocks through a relay
	costFetch   = 60      // the inputs are not there
	costDoubt   = 400     // for a node none of whose results were accepted
	costSlow    = 15      // each tenth of the scale that the node's grade is below the best; ungraded counts as the middle
	costStrange = 150     // inputs that are not public, to a node that has not proven itself
	costLeaves  = 1 << 40 // a task longer than the node usually stays: only if there is nobody else
)

// cost estimates in milliseconds what giving the task to n adds.
func cost(need *Need, n *Node) int64 {
	c := 2*n.RTT + int64(n.Running)*costRunning + int64(n.Load)*costLoad/1000 + int64(1000-n.Reliable)*costDoubt/1000
	if n.Relayed {
		c += costRelay
	}
	if n.Band > 0 {
		c += int64(10-min(n.Band, 10)) * costSlow
	} else {
		c += 5 * costSlow
	}
	if need.Sealed && !n.Proven {
		c += costStrange
	}
	if n.Stay.Leaves(need.Takes, n.Pace) {
		c += costLeaves
	}
	if !slices.Contains(need.Holders, n.ID) {
		c += costFetch
	}
	return c
}

// Summary counts the nodes refused by each filter. The zero Summary is of no nodes.
type Summary struct {
	Nodes int
	Short int // of those that nothing refused, who usually stay shorter than the task takes (tasks.ShortStay)
	Fell  [Filters]struct {
		Code  tasks.Code
		Count int
	}
}

// Why is the reason nobody was chosen: of the filters that refused, the last, because those it refused had passed all
// others.
func (s *Summary) Why() tasks.Reason {
	if s.Nodes == 0 {
		return tasks.Because(tasks.NoPeers, "no worker has a session with this node")
	}
	var parts []string
	code := tasks.NoPeers
	for _, f := range s.Fell {
		if f.Count > 0 {
			code = f.Code
			parts = append(parts, fmt.Sprintf("%d %s", f.Count, f.Code))
		}
	}
	return tasks.Because(code, "of %d nodes: %s", s.Nodes, strings.Join(parts, ", "))
}

// Choose returns the index of the best node for the task, or -1, and how many nodes each filter refused. Equal nodes
// are told apart by what they were given and by id, so that the order of nodes does not matter. It does not allocate.
func Choose(need *Need, nodes []Node) (int, Summary) {
	best, least := -1, int64(0)
	s := Summary{Nodes: len(nodes)}
next:
	for i := range nodes {
		n := &nodes[i]
		for f := range filters {
			if code := filters[f](need, n); code != "" {
				s.Fell[f].Code = code
				s.Fell[f].Count++
				continue next
			}
		}
		c := cost(need, n)
		if c >= costLeaves {
			s.Short++
		}
		if best < 0 || c < least || c == least && before(n, &nodes[best]) {
			best, least = i, c
		}
	}
	return best, s
}

// before puts nodes of equal cost in order.
func before(a, b *Node) bool {
	return cmp.Or(cmp.Compare(a.Given, b.Given), bytes.Compare(a.ID[:], b.ID[:])) < 0
}

// Refuse is the reason this one node does not get the task, or false if it may.
func Refuse(need *Need, n *Node) (tasks.Code, bool) {
	for _, f := range filters {
		if code := f(need, n); code != "" {
			return code, true
		}
	}
	return "", false
}
