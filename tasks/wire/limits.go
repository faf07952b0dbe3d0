package wire

import "time"

// Version is the version of the envelope and of every message in it. Another one is refused with tasks.WrongVersion.
const Version = 1

// SessionVersion is that of sessions in which Delivered, Lease.Travel and Returned.Point are understood. Nodes from before
// have sessions of version 1.
const SessionVersion = 2

// Protocol ids of the streams, by what they are for. A session stream carries leases, heartbeats, commits and verdicts.
const (
	ProtocolSession      = "/kith/session/1"
	ProtocolSession2     = "/kith/session/2" // a session of version SessionVersion
	ProtocolRegister     = "/kith/register/1"
	ProtocolCapabilities = "/kith/capabilities/1"
	ProtocolLease        = "/kith/lease/1"     // the lease half of a session, named in Register.Protocols
	ProtocolHeartbeat    = "/kith/heartbeat/1" // the heartbeat half of a session, named in Register.Protocols
	ProtocolSubmit       = "/kith/submit/1"
	ProtocolFetch        = "/kith/fetch-artifact/1"
	ProtocolDeposit      = "/kith/deposit/1"
	ProtocolSearch       = "/kith/search/1"
	ProtocolInvite       = "/kith/invite/1"
	ProtocolRevoke       = "/kith/revoke/1"
)

// MaxSkew is how far two clocks may differ.
const MaxSkew = 5 * time.Minute

// Limits on time.
const (
	MaxLeaseTime = 24 * time.Hour  // from grant to expiry
	MaxRetry     = 24 * time.Hour  // in a reason
	MaxOfferLife = 5 * time.Minute // from the offer's time to its expiry
	MaxRecord    = 2 * time.Hour   // life of a capability record
	MaxDeposit   = 24 * time.Hour  // for which a depot keeps something
)

// Limits on size, in bytes.
const (
	MaxFrame      = 4 << 20  // one envelope, whatever its type
	MaxOffer      = 1 << 10  // one signed offer
	MaxCapability = 1 << 10  // one signed capability record
	MaxMembership = 4 << 10  // a hub's credential
	MaxInline     = 32 << 10 // blocks of one output carried in its Reveal, together; larger outputs are fetched
	MaxLog        = 16 << 10 // log lines of one returned lease, together
	MaxPoint      = 64 << 20 // files of a checkpoint that travels, together
	MaxParams     = 64 << 10 // parameters of one step
	MaxNetwork    = 64       // a network's name
	MaxName       = 64       // names of kinds, phases, regions, versions
	MaxCode       = 32       // a reason's code
	MaxDetail     = 256      // a reason's detail
	MaxAddress    = 160      // one address
	envelopeRoom  = 256      // an envelope without its body
)

// Limits on numbers of things.
const (
	MaxLeases    = 64      // leases, commits, reveals, verdicts in one message
	MaxBeats     = 256     // leases in one heartbeat, and held leases in a hello
	MaxReceipts  = 256     // receipts in one batch
	MaxSlots     = 256     // tasks a node runs at once
	MaxKinds     = 64      // kinds in a list
	MaxSteps     = 64      // steps of one task
	MaxInputs    = 1 << 14 // input roots of one task
	MaxTokens    = 64      // input roots of one task that a depot can hold
	MaxParts     = 1 << 20 // map parts of one job
	MaxRanges    = 1 << 12 // key ranges of one reduce
	MaxStages    = 1 << 10 // stages of one job
	MaxAttempts  = 1 << 10 // executions of one task
	MaxInBlocks  = 64      // blocks in one Reveal
	MaxLogLines  = 256     // log lines of one returned lease
	MaxAddresses = 4       // dialable addresses in an offer or a record
	MaxSigners   = 16      // signatures on a stop
	MaxAnyBytes  = 1 << 50 // any count of bytes
	MaxMillis    = 1 << 41 // any length of time in milliseconds (about 70 years)
)
