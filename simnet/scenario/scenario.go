// Package scenario describes a fleet and what happens to it, as a value and as a text that a person writes in ten lines,
// and says whether the outcome lies within the bands that the scenario itself names.
//
// A scenario is one directive a line; # begins a comment. Sizes of groups are shares of the nodes. Times are written
// 90s, 15m, 2h or 1d.
//
//	title  a third of the volunteers lies together
//	nodes  300
//	hosts  honest   70%
//	hosts  colluder 30%
//	job    tasks=2000 seconds=20 k=2 n=8
//	expect wrong = 0
//
// What scatters with chance is played with several seeds, and its mean is judged:
//
//	seeds  20
//	expect mean wrong.bound <= 75
package scenario

import "time"

// Rung is how much of a node is real.
type Rung string

// The rungs.
const (
	Core Rung = "core" // the pure core and agents: bit-identical for a seed, a hundred thousand nodes
	Mock Rung = "mock" // whole nodes over streams in memory: a thousand
	QUIC Rung = "quic" // whole nodes over simulated QUIC, with loss, bandwidth and partitions: dozens
)

// Scenario is a fleet, what it is asked to do, what befalls it, and what must come of it.
type Scenario struct {
	Name    string // of the file
	Title   string
	Rung    Rung
	Nodes   int
	Seed    uint64   // of the first run
	Seeds   int      // runs, each with the next seed; what it expects of the mean is judged on no fewer
	Hosts   []Hosts  // shares are of Nodes and make 1 together
	Regions []Region // shares make 1 together
	Churn   Churn
	Net     Net
	Jobs    []Job
	Acts    []Act
	Limit   time.Duration // of simulated time
	Expect  []Band
}

// Actor is how a host behaves.
type Actor string

// The actors.
const (
	Honest    Actor = "honest"
	Slow      Actor = "slow"      // 4 times the time
	Straggler Actor = "straggler" // 20 times the time, unless factor= says otherwise
	Flapping  Actor = "flapping"  // loses its connection every minute or so
	Random    Actor = "random"    // every result is noise
	Constant  Actor = "constant"  // always the same result
	Plausible Actor = "plausible" // wrong results that look right, each its own
	Colluder  Actor = "colluder"  // wrong results, the same from every member
	Sybil     Actor = "sybil"     // colluders that share few network addresses
	Copier    Actor = "copier"    // does nothing and repeats what others found
	Eclipse   Actor = "eclipse"   // answers every offer and never delivers
	Spammer   Actor = "spammer"   // floods offers and messages
	Relayed   Actor = "relayed"   // reachable through a relay alone
	Laptop    Actor = "laptop"    // sleeps when its owner does not use it
)

// Honest reports whether the actor means well: whatever it lacks, it neither lies nor only takes up others' time.
func (a Actor) Honest() bool { return !a.Lies() && a != Eclipse && a != Spammer }

// Hosts is a share of the fleet that behaves alike.
type Hosts struct {
	Actor  Actor
	Share  float64
	Lie    float64       // share of results a liar falsifies; 1 unless given
	After  int           // accepted results before a liar begins to lie
	Factor float64       // times as long as a plain host takes; 0: the actor's
	Slots  int           // tasks at once; 0: 1 to 8, as measured hosts have
	Region string        // all in this region; empty: anywhere
	Groups int           // network addresses they share; 0: each its own
	Join   time.Duration // when they come
	Over   time.Duration // they come spread over this long
	Quiet  bool          // gossip does not reach them: they hear no offers
	Floats string        // equivalence class of their machines; empty: none is known
	Off    int           // units in the last place by which their numbers are off
}

// Lies reports whether the actor gives wrong results.
func (a Actor) Lies() bool {
	switch a {
	case Random, Constant, Plausible, Colluder, Sybil, Copier:
		return true
	}
	return false
}

// Region is a place with a share of the hosts.
type Region struct {
	Code  string
	Share float64
}

// Churn is how hosts come and go.
type Churn struct {
	Hourly  float64 // share of the fleet that leaves in an hour, replaced at the same pace; 0: none
	Typical bool    // sessions and absences drawn from published distributions: see package links
}

// Net is what the links are like, beside the latencies between regions.
type Net struct {
	Loss      float64       // of packets
	Bandwidth int64         // bytes a second of a home's line; 0: not modelled
	RTT       time.Duration // between any two hosts, in place of the table; 0: the table
	NAT       float64       // share of hosts that only dial out
}

// Job is one request, or several alike.
type Job struct {
	Submitter int // 1, 2, …
	At        time.Duration
	Every     time.Duration // between the repeats
	Repeat    int           // at least 1
	Tasks     int
	Seconds   float64 // one task takes a plain host
	Spread    float64 // of the log of a task's time; negative: the usual (Varies)
	Input     int64   // bytes a task reads
	K, N      int
	Adaptive  bool // replicas by trust
	Regions   []string
	Nodes     int // limit of nodes; 0: the default
	Want      int // sessions; 0: the default
	Deadline  time.Duration
	Reduce    bool // map, reduce, gather, map; else one map
	Numbers   bool // results are vectors, which are compared by their numbers
	Warm      bool // lets the fleet become known; what it costs is not measured
}

// Verb is what an act does.
type Verb string

// The verbs.
const (
	Partition Verb = "partition" // Args: regions that lose touch with the others
	Heal      Verb = "heal"
	Crash     Verb = "crash"   // Count: submitter
	Restart   Verb = "restart" // Count: submitter
	Leave     Verb = "leave"   // Share of the hosts go for good
	Storm     Verb = "storm"   // Count: offers a second of a spammer, for Span
	Hub       Verb = "hub"     // submitter 1, which is also a relay, is gone for Span
)

// Act is something that happens to the fleet.
type Act struct {
	At    time.Duration
	Verb  Verb
	Args  []string
	Share float64
	Count int
	Span  time.Duration
}

// Band is what a measure must be for the scenario to pass.
type Band struct {
	Measure string
	Op      string // =, <, <=, >, >=
	Value   float64
	Text    string // the value as written
	Mean    bool   // it is the mean of all seeds that must be so; else every run
	Line    int
}

// Holds reports whether a value lies within the band.
func (b *Band) Holds(v float64) bool {
	switch b.Op {
	case "=":
		return v == b.Value
	case "<":
		return v < b.Value
	case "<=":
		return v <= b.Value
	case ">":
		return v > b.Value
	default:
		return v >= b.Value
	}
}
