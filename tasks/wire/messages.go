package wire

import (
	"kith/storage/dag"
	"kith/tasks"
)

// Type names a message inside a session.
type Type string

// The messages of a session. Each belongs to one direction, except bye.
const (
	TypeHello      Type = "hello"      // worker → submitter
	TypeAsk        Type = "ask"        // worker → submitter
	TypeHeartbeat  Type = "heartbeat"  // worker → submitter
	TypeCommits    Type = "commits"    // worker → submitter
	TypeReveals    Type = "reveals"    // worker → submitter
	TypeReturned   Type = "returned"   // worker → submitter
	TypeReceiptAck Type = "receiptack" // worker → submitter
	TypeWelcome    Type = "welcome"    // submitter → worker
	TypeLeases     Type = "leases"     // submitter → worker
	TypeReveal     Type = "reveal"     // submitter → worker
	TypeDelivered  Type = "delivered"  // submitter → worker
	TypeVerdicts   Type = "verdicts"   // submitter → worker
	TypeCancel     Type = "cancel"     // submitter → worker
	TypeReceipts   Type = "receipts"   // submitter → worker
	TypeNoWork     Type = "nowork"     // submitter → worker
	TypeBye        Type = "bye"        // both
)

// Message is the body of an envelope.
type Message interface {
	Type() Type
	// Validate checks every bound. now is in Unix milliseconds. Its error is an *Error.
	Validate(now int64) error
}

// Token is a secret between two ends of a session, by which a later session is recognised as its continuation. The
// zero token means none.
type Token [32]byte

// Hello is a worker's first message.
type Hello struct {
	Network    string          `cbor:"net"`
	Capability []byte          `cbor:"cap"`    // a signed capability record of the worker (OpenCapability)
	Membership []byte          `cbor:"member"` // a hub's credential; empty: none
	Resume     Token           `cbor:"resume"` // of the welcome of the session this one continues; zero: a new one
	Held       []tasks.LeaseID `cbor:"held"`   // leases of that session the worker still holds
	Ask        Ask             `cbor:"ask"`
	Time       int64           `cbor:"time"`
}

// Ask says how much more work a worker takes: Slots more leases than it holds now. It replaces the ask before it.
type Ask struct {
	Slots int         `cbor:"slots"`
	Kinds []string    `cbor:"kinds"` // kinds the owner allows; empty: those of the capability record
	Job   tasks.JobID `cbor:"job"`   // the job whose offer is answered; zero: any
	Load  int         `cbor:"load"`  // how busy the machine is, per mille
}

// NoKind stands in Ask.Kinds of a worker whose owner allows no kind at all.
const NoKind = "none"

// LeaseState is where a worker stands with a lease.
type LeaseState string

// The states of a held lease.
const (
	Preparing  LeaseState = "preparing"  // fetching inputs
	Running    LeaseState = "running"    // in the sandbox
	Delivering LeaseState = "delivering" // committed; not yet revealed and delivered
)

// Beat is the state of one lease in a heartbeat. Done and Total are in bytes of input.
type Beat struct {
	Lease tasks.LeaseID `cbor:"id"`
	State LeaseState    `cbor:"state"`
	Done  int64         `cbor:"done"`
	Total int64         `cbor:"total"`
}

// Heartbeat tells of every lease the worker holds: a lease that is not in it is not being worked on.
type Heartbeat struct {
	Leases []Beat `cbor:"leases"`
	Load   int    `cbor:"load"` // per mille
	Time   int64  `cbor:"time"`
}

// Commits binds the worker to results without showing them.
type Commits struct {
	Commits []tasks.Commit `cbor:"commits"`
}

// Reveals opens commits, when asked to.
type Reveals struct {
	Reveals []tasks.Reveal `cbor:"reveals"`
}

// Returned hands a lease back.
type Returned struct {
	Lease  tasks.LeaseID `cbor:"lease"`
	Reason tasks.Reason  `cbor:"reason"`
	Log    []string      `cbor:"log"` // last lines, capped and redacted
	// Point is where others can go on; only if the lease's Travel allows one.
	Point *tasks.Point `cbor:"point,omitempty"`
}

// ReceiptAck countersigns a batch of receipts.
type ReceiptAck struct {
	Root  [32]byte  `cbor:"root"`
	Count int       `cbor:"count"`
	Sig   Signature `cbor:"sig"` // by the worker (SignBatch)
}

// Bye ends a session in good order.
type Bye struct {
	Reason tasks.Reason `cbor:"reason"`
}

// Welcome is a submitter's first message.
type Welcome struct {
	Session SessionID       `cbor:"id"`     // the session just begun: the id in the hello
	Epoch   uint64          `cbor:"epoch"`  // of the leases granted in it; unchanged when a session was resumed
	Token   Token           `cbor:"token"`  // for Hello.Resume of the session after a broken stream
	Resumed bool            `cbor:"again"`  // Hello.Resume was recognised
	Kept    []tasks.LeaseID `cbor:"kept"`   // of Hello.Held, those that still count
	Reason  *tasks.Reason   `cbor:"reason"` // why there is no work at present; nil: leases follow
	Time    int64           `cbor:"time"`
}

// Leases grants work.
type Leases struct {
	Leases []tasks.Lease `cbor:"leases"`
}

// RevealRequest asks a worker to open its commits: every live replica has committed or lapsed.
type RevealRequest struct {
	Leases []tasks.LeaseID `cbor:"leases"`
}

// Delivered acknowledges results whose verdicts take a while: the submitter has all their bytes, and they are what the
// worker had committed to. What has its verdict is not acknowledged beside. It is sent only in sessions of
// version SessionVersion.
type Delivered struct {
	Results []Delivery `cbor:"results"`
	Time    int64      `cbor:"time"`
}

// Delivery is one result of Delivered.
type Delivery struct {
	Lease  tasks.LeaseID `cbor:"lease" json:"lease"`
	Root   dag.CID       `cbor:"root" json:"root"`
	Digest Hash          `cbor:"digest" json:"digest"` // as in the reveal
}

// Verdicts tells what became of leases.
type Verdicts struct {
	Verdicts []tasks.Verdict `cbor:"verdicts"`
}

// Cancel ends leases whose result is no longer needed.
type Cancel struct {
	Leases []tasks.LeaseID `cbor:"leases"`
	Reason tasks.Reason    `cbor:"reason"`
}

// Receipts is a batch of receipts signed by the submitter, for the worker to check and countersign.
type Receipts struct {
	Receipts []tasks.Receipt `cbor:"receipts"`
	Root     [32]byte        `cbor:"root"` // ReceiptRoot of Receipts
	Sig      Signature       `cbor:"sig"`  // by the submitter (SignBatch)
}

// NoWork answers an ask that cannot be served now; Reason.RetryMillis says when to ask again.
type NoWork struct {
	Reason tasks.Reason `cbor:"reason"`
}

// Type implements Message.
func (*Hello) Type() Type         { return TypeHello }
func (*Ask) Type() Type           { return TypeAsk }
func (*Heartbeat) Type() Type     { return TypeHeartbeat }
func (*Commits) Type() Type       { return TypeCommits }
func (*Reveals) Type() Type       { return TypeReveals }
func (*Returned) Type() Type      { return TypeReturned }
func (*ReceiptAck) Type() Type    { return TypeReceiptAck }
func (*Bye) Type() Type           { return TypeBye }
func (*Welcome) Type() Type       { return TypeWelcome }
func (*Leases) Type() Type        { return TypeLeases }
func (*RevealRequest) Type() Type { return TypeReveal }
func (*Delivered) Type() Type     { return TypeDelivered }
func (*Verdicts) Type() Type      { return TypeVerdicts }
func (*Cancel) Type() Type        { return TypeCancel }
func (*Receipts) Type() Type      { return TypeReceipts }
func (*NoWork) Type() Type        { return TypeNoWork }

// spec says who may send a message and how large its body may be.
type spec struct {
	from Role // 0: both
	size int  // bytes of body
	make func() Message
}

var specs = map[Type]spec{
	TypeHello:      {Worker, 32 << 10, func() Message { return new(Hello) }},
	TypeAsk:        {Worker, 8 << 10, func() Message { return new(Ask) }},
	TypeHeartbeat:  {Worker, 32 << 10, func() Message { return new(Heartbeat) }},
	TypeCommits:    {Worker, 8 << 10, func() Message { return new(Commits) }},
	TypeReveals:    {Worker, MaxFrame - envelopeRoom, func() Message { return new(Reveals) }},
	TypeReturned:   {Worker, 32<<10 + MaxInline, func() Message { return new(Returned) }},
	TypeReceiptAck: {Worker, 256, func() Message { return new(ReceiptAck) }},
	TypeWelcome:    {Submitter, 16 << 10, func() Message { return new(Welcome) }},
	TypeLeases:     {Submitter, MaxFrame - envelopeRoom, func() Message { return new(Leases) }},
	TypeReveal:     {Submitter, 4 << 10, func() Message { return new(RevealRequest) }},
	TypeDelivered:  {Submitter, 16 << 10, func() Message { return new(Delivered) }},
	TypeVerdicts:   {Submitter, 16 << 10, func() Message { return new(Verdicts) }},
	TypeCancel:     {Submitter, 4 << 10, func() Message { return new(Cancel) }},
	TypeReceipts:   {Submitter, MaxFrame - envelopeRoom, func() Message { return new(Receipts) }},
	TypeNoWork:     {Submitter, 1 << 10, func() Message { return new(NoWork) }},
	TypeBye:        {0, 1 << 10, func() Message { return new(Bye) }},
}
