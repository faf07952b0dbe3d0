// Package credit makes a balance of receipts. It is pure: whoever has the same receipts computes the same numbers, and
// needs to trust nobody for it.
//
// Credit is a transfer: what a worker gains by an accepted result, its submitter owes. It is counted in milliseconds of
// processor time. A transfer between two nodes is worth something only to them (and to members of a hub through the
// hub's own transfers): anybody can sign receipts to friends, and so such receipts buy nothing from others.
package credit

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"kith/tasks"
	"kith/tasks/wire"
)

// ErrNetwork: the receipts are of different networks.
var ErrNetwork = errors.New("receipts of different networks cannot be added up")

// Transfer is what two nodes did for one another. Worker is the one that did more; of equals the smaller id.
type Transfer struct {
	Worker    tasks.NodeID `json:"worker"`
	Submitter tasks.NodeID `json:"submitter"`
	Net       int64        `json:"netMillis"`     // what Submitter owes Worker, milliseconds of processor time
	Gained    int64        `json:"gainedMillis"`  // by Worker's work for Submitter
	Spent     int64        `json:"spentMillis"`   // by Submitter's work for Worker
	Claimed   int64        `json:"claimedMillis"` // of both, under receipts that only the debtor has signed
	Receipts  int          `json:"receipts"`      // that count
	// Unsigned is what both claim for results that the debtor accepted and signed no receipt for. Nobody but the claimant
	// has said how long they took, so it is in no other number.
	Unsigned int64 `json:"unsignedMillis"`
	Claims   int   `json:"claims"` // such results
}

// Void is why receipts are worth nothing.
type Void string

// The reasons.
const (
	Forged   Void = "forged"   // signature, root or sides are wrong
	Doubled  Void = "doubled"  // the lease has counted already
	Self     Void = "self"     // a node that works for itself
	Unearned Void = "unearned" // the result was not accepted
)

// Statement is the sum of receipts.
type Statement struct {
	Network   string       `json:"network"`
	Transfers []Transfer   `json:"transfers"` // by worker, then submitter
	Void      map[Void]int `json:"void"`      // receipts that are worth nothing
	Faults    []string     `json:"faults"`    // the first forged batches, in words
	Asked     int          `json:"asked"`     // claimed results that a submitter demanded to see and gave no verdict on
	Delivered int          `json:"delivered"` // of them, those whose bytes it has acknowledged
	Digest    wire.Hash    `json:"digest"`    // of Network and Transfers: two people compare it instead of all numbers
}

const maxFaults = 16

// pair is two nodes, the smaller id first.
type pair struct{ a, b tasks.NodeID }

// sum is what a and b of a pair did for one another.
type sum struct {
	byA, byB, claimed, unsigned int64
	receipts, claims            int
}

// Compute adds up all receipts of the bundles. A batch that is in several counts once. The order of bundles, batches and
// receipts does not matter.
func Compute(bundles ...*wire.Bundle) (*Statement, error) {
	s := &Statement{Void: map[Void]int{}, Transfers: []Transfer{}, Faults: []string{}}
	var all []*wire.Batch
	both := map[*wire.Batch]bool{}
	for i, b := range bundles {
		if i > 0 && b.Network != s.Network {
			return nil, fmt.Errorf("%w: %.64q and %.64q", ErrNetwork, s.Network, b.Network)
		}
		s.Network = b.Network
		for j := range b.Batches {
			batch := &b.Batches[j]
			countered, err := batch.Verify(b.Network)
			if err != nil {
				s.Void[Forged] += max(1, len(batch.Receipts))
				if len(s.Faults) < maxFaults {
					s.Faults = append(s.Faults, fmt.Sprintf("batch of %d receipts from %s to %s: %v", len(batch.Receipts), batch.Submitter.Short(), batch.Worker.Short(), err))
				}
				continue
			}
			both[batch] = countered
			all = append(all, batch)
		}
	}
	slices.Sort(s.Faults)
	// Countersigned batches first, then by root: which of two receipts for one lease counts must not depend on order.
	slices.SortFunc(all, func(x, y *wire.Batch) int {
		return cmp.Or(rank(both[y])-rank(both[x]), bytes.Compare(x.Root[:], y.Root[:]))
	})
	seenBatch, seenLease := map[wire.Hash]bool{}, map[tasks.LeaseID]bool{}
	sums := map[pair]*sum{}
	for _, b := range all {
		if seenBatch[b.Root] {
			continue // the same batch, from the other side
		}
		seenBatch[b.Root] = true
		for i := range b.Receipts {
			r := &b.Receipts[i]
			switch {
			case r.Submitter == r.Worker:
				s.Void[Self]++
			case r.Outcome != tasks.Accepted || r.CPUMillis < 0:
				s.Void[Unearned]++
			case seenLease[r.Lease]:
				s.Void[Doubled]++
			default:
				seenLease[r.Lease] = true
				add(sums, r, both[b])
			}
		}
	}
	s.claims(bundles, seenLease, sums)
	s.net(sums)
	return s, nil
}

// claims adds what is claimed without a receipt.
func (s *Statement) claims(bundles []*wire.Bundle, paid map[tasks.LeaseID]bool, sums map[pair]*sum) {
	type claim struct {
		heard wire.Hash
		word  wire.Word
		of    *wire.Claims
		i     int
	}
	var all []claim
	for _, b := range bundles {
		for j := range b.Claims {
			c := &b.Claims[j]
			word, err := c.Verify(b.Network)
			if err != nil {
				s.Void[Forged] += max(1, len(c.Leases))
				if len(s.Faults) < maxFaults {
					s.Faults = append(s.Faults, fmt.Sprintf("%d claims of %s on %s: %v", len(c.Leases), c.Worker().Short(), c.Submitter().Short(), err))
				}
				continue
			}
			for i := range c.Leases {
				all = append(all, claim{c.Heard.Head.Sum(b.Network), word, c, i})
			}
		}
	}
	slices.Sort(s.Faults)
	// Which of two claims for one lease counts must not depend on their order: the one that proves more, then the smaller.
	slices.SortStableFunc(all, func(x, y claim) int {
		a, b := &x.of.Leases[x.i], &y.of.Leases[y.i]
		return cmp.Or(int(y.word-x.word), cmp.Compare(a.CPUMillis, b.CPUMillis), bytes.Compare(x.heard[:], y.heard[:]))
	})
	seen := map[tasks.LeaseID]wire.Hash{}
	for _, c := range all {
		x, worker := &c.of.Leases[c.i], c.of.Worker()
		l := x.Lease(worker)
		before, twice := seen[l]
		switch {
		case worker == c.of.Submitter():
			s.Void[Self]++
		case paid[l]: // it has its receipt by now
		case twice && before == c.heard: // the same, from another file
		case twice:
			s.Void[Doubled]++
		default:
			seen[l] = c.heard
			if c.word < wire.Approved {
				s.Asked++
				if c.word == wire.Got {
					s.Delivered++
				}
				continue
			}
			sum := between(sums, worker, c.of.Submitter())
			sum.unsigned += x.CPUMillis
			sum.claims++
		}
	}
}

// between is the sum of two nodes, made if there is none.
func between(sums map[pair]*sum, a, b tasks.NodeID) *sum {
	p := pair{a, b}
	if bytes.Compare(p.a[:], p.b[:]) > 0 {
		p = pair{p.b, p.a}
	}
	x := sums[p]
	if x == nil {
		x = &sum{}
		sums[p] = x
	}
	return x
}

func rank(b bool) int {
	if b {
		return 1
	}
	return 0
}

func add(sums map[pair]*sum, r *tasks.Receipt, countered bool) {
	x := between(sums, r.Worker, r.Submitter)
	if bytes.Compare(r.Worker[:], r.Submitter[:]) < 0 {
		x.byA += r.CPUMillis
	} else {
		x.byB += r.CPUMillis
	}
	if !countered {
		x.claimed += r.CPUMillis
	}
	x.receipts++
}

// net makes the transfers and their digest.
func (s *Statement) net(sums map[pair]*sum) {
	for p, x := range sums {
		t := Transfer{Worker: p.a, Submitter: p.b, Gained: x.byA, Spent: x.byB, Claimed: x.claimed, Receipts: x.receipts, Unsigned: x.unsigned, Claims: x.claims}
		if x.byB > x.byA {
			t.Worker, t.Submitter, t.Gained, t.Spent = p.b, p.a, x.byB, x.byA
		}
		t.Net = t.Gained - t.Spent
		s.Transfers = append(s.Transfers, t)
	}
	slices.SortFunc(s.Transfers, func(x, y Transfer) int {
		return cmp.Or(bytes.Compare(x.Worker[:], y.Worker[:]), bytes.Compare(x.Submitter[:], y.Submitter[:]))
	})
	b := append([]byte("kith/credit/1\x00"), s.Network...)
	b = append(b, 0)
	for i := range s.Transfers {
		t := &s.Transfers[i]
		b = append(append(b, t.Worker[:]...), t.Submitter[:]...)
		for _, n := range []int64{t.Net, t.Gained, t.Spent, t.Claimed, int64(t.Receipts)} {
			b = binary.BigEndian.AppendUint64(b, uint64(n))
		}
		if t.Claims > 0 {
			b = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(b, uint64(t.Unsigned)), uint64(t.Claims))
		}
	}
	s.Digest = sha256.Sum256(b)
}

// Balance is what others owe a node, less what it owes them, in milliseconds of processor time.
func (s *Statement) Balance(node tasks.NodeID) (net int64) {
	for i := range s.Transfers {
		switch node {
		case s.Transfers[i].Worker:
			net += s.Transfers[i].Net
		case s.Transfers[i].Submitter:
			net -= s.Transfers[i].Net
		}
	}
	return net
}

// Worth is what a node's credit buys from a viewer: what the viewer itself owes it, and through the viewer's hubs what
// those owe it. What strangers signed to one another is worth nothing. It is never less than 0.
func (s *Statement) Worth(node, viewer tasks.NodeID, hubs ...tasks.NodeID) (worth int64) {
	for i := range s.Transfers {
		t := &s.Transfers[i]
		if t.Worker == node && (t.Submitter == viewer || slices.Contains(hubs, t.Submitter)) {
			worth += t.Net
		}
	}
	return worth
}
