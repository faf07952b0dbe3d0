package tasks

import (
	"errors"
	"fmt"
)

// Errors of the domain. Match them with errors.Is.
var (
	ErrUnknownKind = errors.New("no such kind of work")
	ErrSpec        = errors.New("the job's spec is not valid")
	ErrParams      = errors.New("parameters are not valid")
)

// Code is a machine-readable reason for a refusal or a wait. Every refusal and every wait carries one.
type Code string

// Reason codes. Words and remedies stand in the table below; the wire carries the code and a short detail.
const (
	NoPeers          Code = "no-peers"
	NoAnswer         Code = "no-answer"
	TooFewNodes      Code = "too-few-nodes"
	NoDiverseNode    Code = "no-diverse-node"
	NoTasksLeft      Code = "no-tasks-left"
	Filled           Code = "filled"
	NodeLimitReached Code = "node-limit"
	WrongRegion      Code = "wrong-region"
	UnseenRegion     Code = "unseen-region"
	WeakSandbox      Code = "weak-sandbox"
	WeakDevice       Code = "weak-device"
	WeakGrade        Code = "weak-grade"
	ShortStay        Code = "short-stay"
	NotTrusted       Code = "not-trusted"
	KindOff          Code = "kind-off"
	UnknownKindCode  Code = "unknown-kind"
	OverLimits       Code = "over-limits"
	Paused           Code = "paused"
	Killed           Code = "killed"
	Busy             Code = "busy"
	DiskFull         Code = "disk-full"
	DriveFailing     Code = "drive-failing"
	NoBlockPath      Code = "no-block-path"
	TaskFailed       Code = "task-failed"
	TimeLimit        Code = "time-limit"
	MemoryLimit      Code = "memory-limit"
	OutputLimit      Code = "output-limit"
	ScratchLimit     Code = "scratch-limit"
	Banned           Code = "banned"
	BadMessage       Code = "bad-message"
	WrongNetwork     Code = "wrong-network"
	WrongVersion     Code = "wrong-version"
	ClockSkew        Code = "clock-skew"
	DeadlinePassed   Code = "deadline-passed"
	JobCancelled     Code = "job-cancelled"
	WaitingForStage  Code = "waiting-for-stage"
	WaitingForReply  Code = "waiting-for-reply"
	WaitingForBlocks Code = "waiting-for-blocks"
	Disagreement     Code = "disagreement"
	ShuttingDown     Code = "shutting-down"
	NotMine          Code = "not-mine"
	NoWord           Code = "no-word"
	NoRight          Code = "no-right"
	TokenExpired     Code = "token-expired"
	NotHere          Code = "not-here"
	NoDepot          Code = "no-depot"
	DepotFull        Code = "depot-full"
)

type words struct{ text, remedy string }

var reasons = map[Code]words{
	NoPeers:          {"no other node is connected", "check the bootstrap list (kith peers), or start a second node on this LAN"},
	NoAnswer:         {"nobody has answered the offer yet", "it is repeated to wider regions by itself; see kith peers for who is near"},
	TooFewNodes:      {"fewer eligible nodes than the job needs to agree", "wait for more nodes, or lower --k"},
	NoDiverseNode:    {"the nodes that are free are too close to one another to count as independent", "wait for nodes on other networks, lower --k, or, if all of them are yours, set listen.profile to lan"},
	NoTasksLeft:      {"every task of this job is already taken", "nothing to do; the next job is offered by itself"},
	Filled:           {"the submitter has enough workers for now", "nothing to do; the node asks again by itself"},
	NodeLimitReached: {"the job may not use more nodes", "raise --nodes if you want it to"},
	WrongRegion:      {"the job does not allow this node's region", "nothing to do"},
	UnseenRegion:     {"the job goes only to nodes that its submitter itself sees in an allowed region, and where this one is cannot be seen", "a direct connection from a public address helps; one through a relay, or from an address in no list, shows nothing"},
	WeakSandbox:      {"the job demands a stronger sandbox than this node has", "kith status shows the grade and how to raise it"},
	WeakDevice:       {"the job needs a stronger device", "nothing to do"},
	WeakGrade:        {"the job needs a node with a better grade", "kith bench grades this node again; a job's owner can lower --min-grade"},
	ShortStay:        {"the task takes longer than this node usually stays on, so that others go first", "nothing to do; smaller parts (--part-size or --task-aim) suit such nodes, and its owner can give it longer hours"},
	NotTrusted:       {"the job's input is not public, and goes only to nodes whose results agreed with others' lately", "good work on public jobs makes up for it; kith trust shows the submitter's reasons"},
	KindOff:          {"the owner of this node switched this kind of work off", "switch it on in the settings if you want it"},
	UnknownKindCode:  {"this version of Kith does not know that kind of work", "update Kith"},
	OverLimits:       {"the task asks for more than the owner of this node gives", "raise the limits in the settings, or make parts smaller"},
	Paused:           {"the node is paused", "kith resume"},
	Killed:           {"the kill switch is on", "kith resume, when you want work to run again"},
	Busy:             {"all task slots are taken", "nothing to do"},
	DiskFull:         {"the disk is too full for new work", "free some space, or lower the quota"},
	DriveFailing:     {"the drive of this node is failing", "save what is on it, replace it, and see kith drives"},
	NoBlockPath:      {"there is no way for the task's blocks: the two nodes cannot reach each other directly, and no depot helps", "make one of the two reachable (open its port at the router), or let a node that both reach be a depot: kith config set serve.depot=on there"},
	TaskFailed:       {"the task ended with an error", "see the task's log"},
	TimeLimit:        {"the task ran longer than its time limit", "make parts smaller or raise the limit"},
	MemoryLimit:      {"the task used more memory than its limit", "make parts smaller or raise the limit"},
	OutputLimit:      {"the task wrote more output than it declared", "raise the limit"},
	ScratchLimit:     {"the task used more scratch space than its limit", "raise the limit"},
	Banned:           {"this node was caught returning wrong results", "kith evidence shows the proof"},
	BadMessage:       {"a message was not well formed", "update Kith on both sides"},
	WrongNetwork:     {"the message belongs to another network", "check the network name in the settings"},
	WrongVersion:     {"the other side speaks another version of the protocol", "update the older side"},
	ClockSkew:        {"the clocks of the two nodes differ by more than five minutes", "set the clock"},
	DeadlinePassed:   {"the job's deadline has passed", "submit it again with a later one"},
	JobCancelled:     {"the job was cancelled", "nothing to do"},
	WaitingForStage:  {"an earlier stage is not finished", "nothing to do"},
	WaitingForReply:  {"workers are computing", "nothing to do"},
	WaitingForBlocks: {"input blocks are on their way", "nothing to do"},
	Disagreement:     {"the results so far do not agree; another node must decide", "wait for one more node, or start one"},
	ShuttingDown:     {"the node is shutting down", "nothing to do"},
	NotMine:          {"the lease is not one of ours", "nothing to do"},
	NoWord:           {"the submitter has had results of the node and said nothing of them", "nothing to do; work for it goes on when it acknowledges them. kith receipts lists what can be claimed"},
	NoRight:          {"what was shown gives no right to that", "nothing to do; the submitter gives a new token with the next lease"},
	TokenExpired:     {"the token to fetch it has expired", "nothing to do; the submitter gives a new token with the next lease"},
	NotHere:          {"it does not lie here, or no longer", "nothing to do; another way is tried by itself"},
	NoDepot:          {"this node holds no blocks for others", "its owner may set serve.depot to on"},
	DepotFull:        {"the depot has no room left", "wait, or let its owner raise serve.depotQuota"},
}

// Reason is a refusal or a wait with its cause.
type Reason struct {
	Code        Code   `cbor:"code" json:"code"`
	Detail      string `cbor:"text" json:"detail,omitempty"` // numbers and names; at most 256 bytes on the wire
	RetryMillis int64  `cbor:"retry" json:"retryMillis,omitempty"`
}

// Because makes a reason.
func Because(code Code, format string, args ...any) Reason {
	return Reason{Code: code, Detail: fmt.Sprintf(format, args...)}
}

// Error lets a reason travel as an error.
func (r Reason) Error() string {
	if r.Detail == "" {
		return r.Words()
	}
	return r.Words() + ": " + r.Detail
}

// Words is the reason in a sentence.
func (r Reason) Words() string {
	if w, ok := reasons[r.Code]; ok {
		return w.text
	}
	return string(r.Code)
}

// Remedy says what a person can do.
func (r Reason) Remedy() string { return reasons[r.Code].remedy }
