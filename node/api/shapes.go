package api

import (
	"kith/bench"
	"kith/node/grading"
	"kith/storage/dag"
	"kith/tasks"
)

// Reason is why something is refused or waits, with words and a remedy.
type Reason struct {
	Code        tasks.Code `json:"code"`
	Words       string     `json:"words"`
	Detail      string     `json:"detail,omitempty"`
	Remedy      string     `json:"remedy"`
	RetryMillis int64      `json:"retryMillis,omitempty"`
}

// NewReason adds words and remedy to a reason.
func NewReason(r tasks.Reason) Reason {
	return Reason{Code: r.Code, Words: r.Words(), Detail: r.Detail, Remedy: r.Remedy(), RetryMillis: r.RetryMillis}
}

// Status is everything about this node at a glance.
type Status struct {
	Node         tasks.NodeID `json:"node"`
	Peer         string       `json:"peer"` // the same identity as libp2p writes it
	Network      string       `json:"network"`
	Version      string       `json:"version"`
	Platform     string       `json:"platform"` // "linux/amd64"
	Home         string       `json:"home"`     // data folder
	Started      int64        `json:"started"`
	UptimeMillis int64        `json:"uptimeMillis"`
	Ready        bool         `json:"ready"`        // false while the node is still opening its stores
	Addresses    []string     `json:"addresses"`    // multiaddrs others can dial
	Reachability string       `json:"reachability"` // "public", "private", "unknown"
	Region       string       `json:"region"`       // ISO country code or wider area, "" if unknown
	Peers        int          `json:"peers"`
	Sandbox      Sandbox      `json:"sandbox"`
	Owner        Owner        `json:"owner"`
	Grade        Grade        `json:"grade"`
	Work         Work         `json:"work"`
	Meters       Meters       `json:"meters"`
	Depot        *Depot       `json:"depot,omitempty"` // absent: nothing is held for others, and nothing is taken
	Health       []Problem    `json:"health"`          // worst first
}

// Depot is what this node holds for nodes that cannot reach each other directly.
type Depot struct {
	Open       bool  `json:"open"` // takes more at present
	Deposits   int   `json:"deposits"`
	Bytes      int64 `json:"bytes"`
	QuotaBytes int64 `json:"quotaBytes"`
}

// Sandbox says how strongly foreign work is confined here.
type Sandbox struct {
	Engine string             `json:"engine"`
	Grade  tasks.SandboxGrade `json:"grade"`
	Words  string             `json:"words"`
}

// Owner is what the owner allows right now.
type Owner struct {
	State   string   `json:"state"`   // of the switch: "working", "paused", "killed"
	Since   int64    `json:"since"`   // 0: always
	Level   string   `json:"level"`   // what is in effect: "full", "shrunk", "drained", "paused", "killed"
	Words   string   `json:"words"`   // one sentence
	Reasons []Pause  `json:"reasons"` // all that hold, hardest first; empty: full
	Caps    Caps     `json:"caps"`    // in effect, for all tasks together
	Yield   Yield    `json:"yield"`
	Sensors []Sensor `json:"sensors"`
	Goal    Goal     `json:"goal"`
}

// Pause is one reason to give way.
type Pause struct {
	Cause string `json:"cause"` // "owner", "snooze", "activity", "battery", …
	Level string `json:"level"` // how far it alone would have the node give way
	Since int64  `json:"since"`
	Until int64  `json:"until"` // when it ends by itself; 0: not known
	Text  string `json:"text"`
	Ends  string `json:"ends"` // what ends it
}

// Caps are ceilings in effect. 0 is none, but for graphics memory: there is none to have.
type Caps struct {
	Processors    float64 `json:"processors"`
	MemoryBytes   int64   `json:"memoryBytes"`
	PromisedBytes int64   `json:"promisedBytes"` // of it, to tasks that run
	VRAMBytes     int64   `json:"vramBytes"`
	IOPerSecond   int64   `json:"ioPerSecond"`
	DownPerSecond int64   `json:"downPerSecond"`
	UpPerSecond   int64   `json:"upPerSecond"`
	Share         float64 `json:"share"` // of what the owner gives, taken since the promise of Yield was broken; 1: all
}

// Yield is how fast this node gets out of the way of somebody who sits down at the computer.
type Yield struct {
	Count         int64 `json:"count"` // times it did
	P50Millis     int64 `json:"p50Millis"`
	P99Millis     int64 `json:"p99Millis"`
	PromiseMillis int64 `json:"promiseMillis"`
	Histogram     []Bar `json:"histogram"`
}

// Bar is one class of a histogram.
type Bar struct {
	ToMillis int64 `json:"toMillis"` // upper end; 0: none
	Count    int64 `json:"count"`
}

// Sensor is what one sensor says.
type Sensor struct {
	Name  string  `json:"name"`
	Known bool    `json:"known"` // false: Text says why there is no reading
	Value float64 `json:"value"`
	Unit  string  `json:"unit"` // "s", "%", "°C"; "": 1 is yes and 0 no
	Text  string  `json:"text"`
}

// Goal is how far this node is with the hours a week in which its owner wants it ready for work.
type Goal struct {
	Hours float64 `json:"hours"` // wanted in seven days; 0: no goal
	Done  float64 `json:"done"`  // in the last seven days
}

// Notice is an order of the network's stewards.
type Notice struct {
	Action  string `json:"action"` // "stop", "resume", "revoke"
	Reason  string `json:"reason"`
	Job     string `json:"job"`     // of a stop of one job; else ""
	Subject string `json:"subject"` // of a revocation; else ""
	At      int64  `json:"at"`
	Expires int64  `json:"expires"`
}

// PublishNotice hands in a notice with its signatures.
type PublishNotice struct {
	Notice []byte `json:"notice"` // base64 of the signed message
}

// Snooze asks for a pause.
type Snooze struct {
	Millis int64 `json:"millis"` // from now on; 0 ends the snooze
}

// Grade is how good this machine is, as measured.
type Grade struct {
	bench.Grade
	At      int64 `json:"at"`      // when it was measured; 0: never
	Running bool  `json:"running"` // it is being measured right now
}

// BenchLine is one line of the answer to a measurement that asked for application/x-ndjson. Exactly one field is set.
type BenchLine struct {
	Progress *grading.Progress `json:"progress,omitempty"`
	Report   *grading.Report   `json:"report,omitempty"`
	Error    *Failure          `json:"error,omitempty"`
}

// Work is what this node does for others.
type Work struct {
	Slots    int       `json:"slots"`
	Running  []Running `json:"running"`
	Sessions int       `json:"sessions"` // open sessions with submitters
	Done     int64     `json:"done"`     // tasks delivered since the start
	Accepted int64     `json:"accepted"` // of them, agreed with the quorum
	Outvoted int64     `json:"outvoted"`
	Returned int64     `json:"returned"` // handed back, with a reason
	Why      []Reason  `json:"why"`      // why there is no work; empty while there is
}

// Running is one task at work here.
type Running struct {
	Lease     tasks.LeaseID `json:"lease"`
	Job       tasks.JobID   `json:"job"`
	Submitter tasks.NodeID  `json:"submitter"`
	Kinds     []string      `json:"kinds"` // "etl.chunk/chunk"
	State     string        `json:"state"` // "preparing", "running", "delivering"
	Done      int64         `json:"done"`  // bytes of input, or whatever the kind counts
	Total     int64         `json:"total"`
	Since     int64         `json:"since"`
}

// Meters are what this node uses of the machine.
type Meters struct {
	CPUPercent     float64 `json:"cpuPercent"`  // of one core, node and tasks together
	MemoryBytes    int64   `json:"memoryBytes"` // of the node's own process, mapped files left out
	InPerSecond    int64   `json:"inPerSecond"` // network, bytes
	OutPerSecond   int64   `json:"outPerSecond"`
	InTotal        int64   `json:"inTotal"`
	OutTotal       int64   `json:"outTotal"`
	DiskUsedBytes  int64   `json:"diskUsedBytes"` // by the data folder
	DiskQuotaBytes int64   `json:"diskQuotaBytes"`
	DiskFreeBytes  int64   `json:"diskFreeBytes"` // on its disk
	DiskTotalBytes int64   `json:"diskTotalBytes"`
	Cores          int     `json:"cores"`
	MemoryTotal    int64   `json:"memoryTotalBytes"` // that this computer has; 0: unknown
	VRAMTotal      int64   `json:"vramTotalBytes"`   // of all graphics cards; 0: none
}

// Problem is a lasting problem of this node.
type Problem struct {
	Code     string `json:"code"`
	Severity string `json:"severity"` // "low", "medium", "high"
	Title    string `json:"title"`
	Text     string `json:"text"`
	Remedy   string `json:"remedy"`
	Since    int64  `json:"since"`
}

// Peer is one connected node.
type Peer struct {
	Node      tasks.NodeID `json:"node"`
	Peer      string       `json:"peer"`
	Address   string       `json:"address"` // of the best connection
	Direct    bool         `json:"direct"`  // false: through a relay
	Transport string       `json:"transport"`
	Inbound   bool         `json:"inbound"`
	RTTMillis float64      `json:"rttMillis"` // 0: not measured yet
	Region    string       `json:"region"`
	Agent     string       `json:"agent"`
	Since     int64        `json:"since"`
	Roles     []string     `json:"roles"` // "works for us", "we work for it", "bootstrap"
}

// Job is one row of the list of jobs.
type Job struct {
	ID          tasks.JobID       `json:"id"`
	Name        string            `json:"name"`
	Kinds       []string          `json:"kinds"`
	State       string            `json:"state"` // "splitting", "running", "merging", "done", "failed", "cancelled"
	Created     int64             `json:"created"`
	Finished    int64             `json:"finished"` // 0 while it runs
	Sensitivity tasks.Sensitivity `json:"sensitivity"`
	K           int               `json:"k"`
	N           int               `json:"n"`
	Tasks       Tally             `json:"tasks"`
	InputBytes  int64             `json:"inputBytes"`
	InputFiles  int64             `json:"inputFiles"`
	Progress    float64           `json:"progress"`       // 0 to 1
	Rate        int64             `json:"bytesPerSecond"` // of input
	ETAMillis   int64             `json:"etaMillis"`      // left to go; 0: unknown
	Result      dag.CID           `json:"result"`         // "" until done
	ResultBytes int64             `json:"resultBytes"`
	Reason      *Reason           `json:"reason,omitempty"` // why it failed, or what it waits for
}

// Tally counts tasks, of all stages known so far.
type Tally struct {
	Total   int `json:"total"`
	Waiting int `json:"waiting"` // for a node, or for an earlier stage
	Running int `json:"running"` // at least one live lease
	Done    int `json:"done"`    // with a verdict
	Failed  int `json:"failed"`
}

// JobDetail is one job in full.
type JobDetail struct {
	Job
	Submitter tasks.NodeID  `json:"submitter"`
	SpecRoot  dag.CID       `json:"specRoot"`
	Input     dag.CID       `json:"input"`
	PartBytes int64         `json:"partBytes"`
	Policy    tasks.Policy  `json:"policy"`
	Stages    []Stage       `json:"stages"`
	Workers   []Worker      `json:"workers"` // busiest first
	Log       []string      `json:"log"`     // last lines, oldest first
	Totals    Contributions `json:"totals"`
	Moves     Moves         `json:"moves"`
}

// Moves is what of a job went on at another node from where one was ended.
type Moves struct {
	Count        int64  `json:"count"`        // leases
	SparedMillis int64  `json:"sparedMillis"` // processor time that was not spent again, by the word of who had spent it
	Now          []Move `json:"now"`          // of those at work, a few
}

// Move is one task that goes on elsewhere.
type Move struct {
	Stage int            `json:"stage"`
	Index int            `json:"index"`
	Node  tasks.NodeID   `json:"node"`
	From  []tasks.NodeID `json:"from"` // who was ended, the last first
	At    float64        `json:"at"`   // how far it was, 0 to 1; 0: unknown
	Words string         `json:"words"`
}

// Stage is one wave of tasks of a job.
type Stage struct {
	Index int      `json:"index"`
	Mode  string   `json:"mode"`  // "map", "reduce", "gather"
	Steps []string `json:"steps"` // "etl.chunk/chunk"
	Tasks Tally    `json:"tasks"`
}

// Worker is what one node did for a job.
type Worker struct {
	Node tasks.NodeID `json:"node"`
	Contributions
}

// Contributions counts what became of executions.
type Contributions struct {
	Running    int   `json:"running"`
	Accepted   int   `json:"accepted"`
	Outvoted   int   `json:"outvoted"`
	Forged     int   `json:"forged"`
	Withheld   int   `json:"withheld"`
	Lapsed     int   `json:"lapsed"`
	Returned   int   `json:"returned"`
	WallMillis int64 `json:"wallMillis"`
	CPUMillis  int64 `json:"cpuMillis"`
}

// Explanation says what a job waits for.
type Explanation struct {
	Job     tasks.JobID `json:"job"`
	State   string      `json:"state"`
	Summary string      `json:"summary"` // one sentence
	Reasons []Waiting   `json:"reasons"` // most tasks first
}

// Waiting is one cause and the tasks it holds.
type Waiting struct {
	Reason
	Tasks    int      `json:"tasks"`    // how many wait for this
	Examples []string `json:"examples"` // "stage 0 task 17", at most 5
	Nodes    []string `json:"nodes"`    // nodes this is about, short ids, at most 20
}

// Why says why this node gets no work.
type Why struct {
	Idle    bool     `json:"idle"`    // true: there is no work right now
	Summary string   `json:"summary"` // one sentence
	Reasons []Reason `json:"reasons"`
	// Submitters lists those we asked lately, with their answers, newest first.
	Submitters []Answer `json:"submitters"`
}

// Answer is what one submitter last said to this node.
type Answer struct {
	Node   tasks.NodeID `json:"node"`
	At     int64        `json:"at"`
	Reason *Reason      `json:"reason,omitempty"` // absent: it gave work
}

// Submit asks for a job.
type Submit struct {
	Name        string             `json:"name"`        // default: made of path and kinds
	Path        string             `json:"path"`        // absolute path of a file or folder on this machine; "" for kinds without input
	File        string             `json:"file"`        // absolute path of the file that the first kind needs beside its input: wasm's module; "": none
	Ops         []Op               `json:"ops"`         // 1 to 16
	K           int                `json:"k"`           // agreeing results; 0: 2
	N           int                `json:"n"`           // executions a task at most; 0: chosen from k
	Nodes       int                `json:"nodes"`       // distinct nodes at most; 0: 64
	Regions     []string           `json:"regions"`     // allowed; empty: any
	Excluded    []string           `json:"excluded"`    // refused regions
	Strict      bool               `json:"strict"`      // a node counts as being where this one sees it, not where it says
	Deadline    int64              `json:"deadline"`    // 0: none
	Sensitivity tasks.Sensitivity  `json:"sensitivity"` // "": private, which runs on this machine alone
	Replication tasks.Replication  `json:"replication"` // "fixed", "adaptive"; "": fixed
	MinSandbox  tasks.SandboxGrade `json:"minSandbox"`  // 0: what the kind needs
	MinGrade    int                `json:"minGrade"`    // in tenths of the scale; 0: any
	PartBytes   int64              `json:"partBytes"`   // input bytes a task; 0: as such work took before, or 4 MiB
	AimMillis   int64              `json:"aimMillis"`   // what a task should take, about, if PartBytes is 0; 0: 15 s
	Want        int                `json:"want"`        // sessions to ask for; 0: chosen
	Limits      tasks.Limits       `json:"limits"`      // zero fields: the kind's
}

// Op is one step of a pipeline. Params is a JSON object as the kind's schema describes it; absent: all defaults.
type Op struct {
	Kind   string         `json:"kind"`
	Params map[string]any `json:"params"`
}

// SubmitLine is one line of the answer to a submit that asked for application/x-ndjson. Exactly one field is set.
type SubmitLine struct {
	Import *Import    `json:"import,omitempty"`
	Job    *JobDetail `json:"job,omitempty"`
	Error  *Failure   `json:"error,omitempty"`
}

// Import is the reading of one input into the node's store.
type Import struct {
	Path  string `json:"path"`
	Files int64  `json:"files"`
	Bytes int64  `json:"bytes"`
	// TotalBytes is what the folder holds, 0 while that is not known.
	TotalBytes int64 `json:"totalBytes"`
}

// Export asks for a job's result as plain files.
type Export struct {
	Dir string `json:"dir"` // absolute; must not exist, or be empty
}

// Exported says what was written.
type Exported struct {
	Dir   string `json:"dir"`
	Files int64  `json:"files"`
	Bytes int64  `json:"bytes"`
}

// Kind describes one kind of work.
type Kind struct {
	Name    string         `json:"name"`
	Title   string         `json:"title"`
	Version int            `json:"version"`
	Class   string         `json:"class"` // device class needed
	Memory  int64          `json:"memory"`
	Input   bool           `json:"input"` // reads input
	Allowed bool           `json:"allowed"`
	Phases  []string       `json:"phases"`
	Schema  map[string]any `json:"schema"` // JSON Schema of the parameters
}

// Setting is one setting as it stands.
type Setting struct {
	Key     string   `json:"key"`
	Value   string   `json:"value"`   // in effect
	Default string   `json:"default"` // what it is when unset
	Set     bool     `json:"set"`     // false: the default is in effect
	Doc     string   `json:"doc"`
	Type    string   `json:"type"` // "text", "number", "size", "switch", "list", "choice", "ports"
	Choices []string `json:"choices"`
	Range   string   `json:"range"` // in words, "" if anything goes
	Live    bool     `json:"live"`  // false: takes effect at the next start
}

// ConfigChange is what a change of settings did.
type ConfigChange struct {
	Changed  []Setting `json:"changed"`
	Restart  bool      `json:"restart"` // some of it takes effect at the next start
	CanUndo  bool      `json:"canUndo"`
	CanRedo  bool      `json:"canRedo"`
	Settings []Setting `json:"settings"`
}

// Receipt is one line of the two-sided account.
type Receipt struct {
	tasks.Receipt
	Role      string `json:"role"` // "worker" or "submitter": which side this node was
	Batch     string `json:"batch"`
	Countered bool   `json:"countersigned"` // both signatures are there
	// Claim is set if there is no receipt, and what this node can prove of its submitter: that it accepted the result, that
	// it has its bytes, or only that it demanded to see it. At is then when the lease ended.
	Claim string `json:"claim,omitempty"`
}

// What a claim rests on.
const (
	ClaimAccepted  = "accepted"
	ClaimDelivered = "delivered"
	ClaimAsked     = "asked"
)

// Evidence is a proof that a node returned something wrong, or two promises that exclude one another.
type Evidence struct {
	Node  tasks.NodeID `json:"node"`
	Job   tasks.JobID  `json:"job"`
	Lease string       `json:"lease"`
	What  string       `json:"what"` // outcome: "outvoted", "forged", "withheld", …
	Text  string       `json:"text"`
	At    int64        `json:"at"`
	Proof string       `json:"proof"` // base64 of the signed messages, "" if there is no transferable proof
}

// Failure is every refusal of this API.
type Failure struct {
	Error  string `json:"error"`
	Code   string `json:"code"`
	Remedy string `json:"remedy"`
}

// Trust is what this node thinks of one worker, as a submitter. Other nodes may think otherwise.
type Trust struct {
	Node        tasks.NodeID `json:"node"`
	Score       int          `json:"score"`       // share of good work, weighted, 0 to 1000; 500 of one never seen
	Reliability int          `json:"reliability"` // share of work that was not bad, 0 to 1000
	Quota       int          `json:"quota"`       // tasks it may have at once while it is a newcomer
	Standing    string       `json:"standing"`    // "newcomer", "proven", "suspended", "banned"
	Until       int64        `json:"until"`       // of a suspension; 0: for good, or none
	Counts      TrustCounts  `json:"counts"`
	Skills      []Skill      `json:"skills"`
	Words       []string     `json:"words"` // why it stands so, in sentences
	Cases       []TrustCase  `json:"cases"` // contradictions it was part of
	Proof       string       `json:"proof"` // hash of what it signed that bans it for good; "": none
}

// TrustCounts are outcomes, faded: each halves in 30 days.
type TrustCounts struct {
	Accepted float64 `json:"accepted"`
	Outvoted float64 `json:"outvoted"`
	Forged   float64 `json:"forged"`
	Withheld float64 `json:"withheld"`
	Lapsed   float64 `json:"lapsed"`
	Returned float64 `json:"returned"`
}

// Skill is what a node has shown with one kind of work.
type Skill struct {
	What   string `json:"what"`
	Agreed int    `json:"agreed"` // results in a row that independent ones agreed with
	Passed int    `json:"passed"` // audits
	Alone  bool   `json:"alone"`  // one result of it is enough in an adaptive job
	OneIn  int    `json:"oneIn"`  // such results for each audit
}

// TrustCase is one task whose results contradicted each other.
type TrustCase struct {
	Task    tasks.TaskID   `json:"task"`
	What    string         `json:"what"`
	At      int64          `json:"at"`
	Won     bool           `json:"won"` // at the verdict
	With    []tasks.NodeID `json:"with"`
	Against []tasks.NodeID `json:"against"`
}

// Credit is what this node and others owe one another, computed from their receipts. Times are of processors.
type Credit struct {
	Balance int64          `json:"balanceMillis"` // what others owe this node, less what it owes them
	Digest  string         `json:"digest"`        // whoever has the same receipts computes the same
	With    []CreditWith   `json:"with"`          // who owes this node most first
	Void    map[string]int `json:"void"`          // receipts that are worth nothing, by reason
	Asked   int            `json:"asked"`         // results that were demanded of this node, and got no verdict
	// Delivered is how many of those were acknowledged: whoever demanded them has signed that it has the bytes.
	Delivered int `json:"delivered"`
}

// CreditWith is the account with one node.
type CreditWith struct {
	Node     tasks.NodeID `json:"node"`
	Net      int64        `json:"netMillis"` // what it owes this node; below 0: what this node owes it
	Did      int64        `json:"didMillis"` // by this node for it
	Got      int64        `json:"gotMillis"` // by it for this node
	Receipts int          `json:"receipts"`
	Unsigned int64        `json:"unsignedMillis"` // of results that were accepted and not signed for: in no balance
	Claims   int          `json:"claims"`         // how many those are
	// How it signs for what it accepted of this node: of so many results, so many. Last: this node serves it after others.
	Earned int  `json:"earned"`
	Signed int  `json:"signed"`
	Last   bool `json:"last"`
	// How it says that it has results: of so many it has said nothing yet. Rest: it gets no more until then, for having said
	// nothing of too many, Unix milliseconds; 0: it is served.
	Silent int   `json:"silent"`
	Rest   int64 `json:"restUntil"`
}

// Replay is a task of a receipt done again.
type Replay struct {
	Receipt    tasks.Receipt `json:"receipt"`
	Claimed    dag.CID       `json:"claimed"` // root of the result in the receipt
	Root       dag.CID       `json:"root"`    // of the result now
	Same       bool          `json:"same"`
	Fetched    bool          `json:"fetched"` // inputs were not here any more and came over the network
	WallMillis int64         `json:"wallMillis"`
	CPUMillis  int64         `json:"cpuMillis"`
}
