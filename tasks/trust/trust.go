// Package trust is what a submitter thinks of the nodes that worked for it: counts of outcomes that fade, a score made
// of them, how many tasks a node may have at once, and bans. It is arithmetic on integers: the same outcomes at the
// same times give the same numbers on every machine. Trust is local; only proof travels (wire.Evidence).
package trust

import (
	"math/bits"

	"kith/tasks"
)

// unit is one fresh outcome in the counts.
const unit = 1_000_000

// Fading: each count halves in HalfLifeDays, in steps at midnight UTC, so that it does not matter how often it is
// looked at.
const (
	HalfLifeDays = 30
	dayMillis    = 24 * 60 * 60 * 1000
	fade         = 4196870107        // 2^(-1/HalfLifeDays) · 2^32
	forgotten    = 45 * HalfLifeDays // days after which the largest count is nothing
	mostCount    = 1 << 42           // of any count, so that no sum overflows
)

// Weights of outcomes in the score, in quarters of an accepted result. A wrong minority result is no proof of a lie; a
// reveal that does not open its commit nearly is. A lease handed back in time does next to no harm.
const (
	weightAccepted = 4
	weightOutvoted = 16
	weightForged   = 64
	weightWithheld = 16
	weightLapsed   = 4
	weightReturned = 1
)

// Quotas: how many tasks a node may have at once. It doubles with each accepted result and falls by one with each
// failure, so that a newcomer risks little of a job and a good node soon has all it can take.
const (
	FirstQuota = 4
	MostQuota  = 256
)

// suspension is as many forged results, faded, as shut a node out until they have faded further.
const suspension = 3*unit - unit/2

// Record is what is remembered of one node, as a value. Counts are in millionths of an outcome. The zero Record is of
// a node never seen.
type Record struct {
	Accepted int64 `cbor:"ok" json:"accepted"`
	Outvoted int64 `cbor:"outvoted" json:"outvoted"`
	Forged   int64 `cbor:"forged" json:"forged"`
	Withheld int64 `cbor:"withheld" json:"withheld"`
	Lapsed   int64 `cbor:"lapsed" json:"lapsed"`
	Returned int64 `cbor:"returned" json:"returned"`
	Spent    int   `cbor:"spent" json:"spent"` // failures taken off the quota, or, below zero, what was added to it
	Day      int64 `cbor:"day" json:"day"`     // of the last outcome, days since 1970
	// Proof is the hash of evidence that the node lied; while it is not zero the node is banned.
	Proof [32]byte `cbor:"proof" json:"proof"`
}

// counts lists the counts, for what is done to all of them.
func (r *Record) counts() [6]*int64 {
	return [6]*int64{&r.Accepted, &r.Outvoted, &r.Forged, &r.Withheld, &r.Lapsed, &r.Returned}
}

// At is the record as it stands at now, in Unix milliseconds: faded by the midnights that have passed. A clock that
// went backwards changes nothing.
func (r Record) At(now int64) Record {
	today := now / dayMillis
	if today <= r.Day {
		return r
	}
	days := today - r.Day
	r.Day = today
	for _, n := range r.counts() {
		if days > forgotten {
			*n = 0
		}
		for d := int64(0); d < days && *n > 0; d++ {
			hi, lo := bits.Mul64(uint64(*n), fade)
			*n = int64(hi<<32 | lo>>32)
		}
	}
	return r
}

// Note is the record after one more outcome at now. A cancelled lease leaves it as it was.
func (r Record) Note(o tasks.Outcome, now int64) Record {
	r = r.At(now)
	quota := r.Quota()
	var n *int64
	switch o {
	case tasks.Accepted:
		n, quota = &r.Accepted, quota*2
	case tasks.Outvoted:
		n, quota = &r.Outvoted, quota-1
	case tasks.Forged:
		n, quota = &r.Forged, quota-1
	case tasks.Withheld:
		n, quota = &r.Withheld, quota-1
	case tasks.Lapsed:
		n, quota = &r.Lapsed, quota-1
	case tasks.Returned:
		n = &r.Returned
	default:
		return r
	}
	*n = min(*n+unit, mostCount)
	r.Spent = FirstQuota - min(max(quota, 1), MostQuota)
	return r
}

// Ban is the record of a node proven to have lied; proof is the hash of the evidence. It does not fade.
func (r Record) Ban(proof [32]byte) Record {
	if r.Proof == ([32]byte{}) {
		r.Proof = proof
	}
	return r
}

// Quota is how many tasks the node may have at once, 1 to MostQuota. A banned node gets none: see Banned.
func (r Record) Quota() int { return min(max(FirstQuota-r.Spent, 1), MostQuota) }

// Banned reports whether the node is shut out: for good by proof, or until its forged results have faded.
func (r Record) Banned() bool { return r.Proof != [32]byte{} || r.Forged >= suspension }

// Score is the share of good work in all work that was due, weighted and with one good and one bad result assumed
// beforehand: 0 to 1000, 500 for a node never seen.
func (r Record) Score() int {
	good, bad := r.weigh()
	return int(1000 * (good + prior) / (good + bad + 2*prior))
}

// Reliability is the share of work that was not bad: 1000 for a node that never failed, one never seen among them, and
// less with every failure. It orders nodes for work: by Score, whoever worked first would be given all work for ever.
func (r Record) Reliability() int {
	good, bad := r.weigh()
	return int(1000 * (good + 2*prior) / (good + bad + 2*prior))
}

// Kept is the share of the leases of this node that it did not let lapse, per mille, once enough is known of it to say;
// until then all of them.
func (r Record) Kept() int {
	due := r.Accepted + r.Outvoted + r.Forged + r.Withheld + r.Lapsed
	if due < 8*unit {
		return 1000
	}
	return int(1000 * (due - r.Lapsed) / due)
}

// Honesty is Reliability of results alone: work that was not finished, or handed back, takes nothing from it. A node
// that lost its power is not trusted the less.
func (r Record) Honesty() int {
	good, bad := r.Accepted*weightAccepted, r.deceit()
	return int(1000 * (good + 2*prior) / (good + bad + 2*prior))
}

const prior = unit * weightAccepted

func (r *Record) weigh() (good, bad int64) {
	return r.Accepted * weightAccepted, r.deceit() + r.Lapsed*weightLapsed + r.Returned*weightReturned
}

// deceit weighs what an honest node never does, however badly it is off.
func (r *Record) deceit() int64 {
	return r.Outvoted*weightOutvoted + r.Forged*weightForged + r.Withheld*weightWithheld
}

// Proven reports whether the node has shown enough good work to be counted as known.
func (r Record) Proven() bool { return r.Accepted >= 8*unit && r.Score() >= 800 && !r.Banned() }
