package work

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"time"

	"kith/tasks"
	"kith/tasks/wire"
)

// A submitter signs a receipt for what it accepts. For what it has had and not signed a claim is kept (wire.Claims): its
// own signed word on the lease, beside what was done. A claim that a receipt follows within claimGrace never reaches the
// disk; a crash loses those of the last claimGrace, which their submitters offer again if they are honest.
const (
	claimGrace = time.Minute
	claimKept  = 90 * 24 * time.Hour
	maxDues    = 2048 // claims of all submitters together; the oldest go
)

// due is one result that its submitter has had, and has not signed for.
type due struct {
	submitter tasks.NodeID
	since     int64
	claim     wire.Claim
	heard     *wire.Spoken // often of several leases
	accepted  bool         // it said so; else it only demanded to see the result
	counted   bool         // against its submitter
	written   bool
}

// claimRecord is claims in the log and its snapshots.
type claimRecord struct {
	Since    int64        `cbor:"at"`
	Heard    wire.Spoken  `cbor:"heard"`
	Accepted bool         `cbor:"ok"`
	Leases   []wire.Claim `cbor:"leases"`
}

// payer is how a submitter signs for what it accepted. It fades: what is long ago counts half, a quarter, …
type payer struct {
	Submitter tasks.NodeID `cbor:"by"`
	Earned    int          `cbor:"earned"` // accepted results of this node whose receipts have come, or had their time
	Signed    int          `cbor:"signed"` // of them with a receipt
	changed   bool
}

// A submitter that accepts results and does not sign for them is served last.
const (
	signedNum, signedDen = 95, 100
	fewEarned            = 20 // results before anything is concluded
	fadeAt               = 10_000
	maxPayers            = 4096
)

// mean reports whether a submitter keeps back receipts: it signed for less than 95 % of what it accepted.
func (p *payer) mean() bool {
	return p != nil && p.Earned >= fewEarned && p.Signed*signedDen < p.Earned*signedNum
}

func (p *payer) count(earned, signed int) {
	p.Earned, p.Signed, p.changed = p.Earned+earned, p.Signed+signed, true
	p.Signed = min(p.Signed, p.Earned)
	if p.Earned > fadeAt {
		p.Earned, p.Signed = p.Earned/2, p.Signed/2
	}
}

// pays returns a submitter's account, making one.
func (d *Driver) pays(submitter tasks.NodeID) *payer {
	p := d.payers[submitter]
	if p == nil {
		if len(d.payers) >= maxPayers {
			for id, old := range d.payers { // one of whom nothing bad is known
				if d.sessions[id] == nil && !old.mean() {
					delete(d.payers, id)
					break
				}
			}
		}
		p = &payer{Submitter: submitter}
		d.payers[submitter] = p
	}
	return p
}

// owe notes what a submitter said of a result that it has, or demands.
func (d *Driver) owe(h *held, heard *wire.Spoken, accepted bool) {
	p := &h.promise
	c := wire.Claim{
		Job: p.Job, Task: p.Task, Attempt: p.Attempt, Epoch: p.Epoch, Expiry: p.Expiry, Kinds: p.Kinds, Root: p.Root, Digest: p.Digest,
		WallMillis: min(p.Wall, wire.MaxLeaseTime.Milliseconds()), CPUMillis: p.CPU,
	}
	if heard == nil || c.Lease(d.self) != h.lease.ID {
		return // from before promises said this much
	}
	old := d.dues[h.lease.ID]
	if old == nil {
		d.dueOrder = append(d.dueOrder, h.lease.ID)
	}
	d.dues[h.lease.ID] = &due{submitter: h.s.peer, since: time.Now().UnixMilli(), claim: c, heard: heard, accepted: accepted}
	if len(d.dueOrder) > 4*maxDues { // most have their receipts by now
		d.dueOrder = slices.DeleteFunc(d.dueOrder, func(l tasks.LeaseID) bool { return d.dues[l] == nil })
	}
	for len(d.dues) > maxDues {
		delete(d.dues, d.dueOrder[0])
		d.dueOrder = d.dueOrder[1:]
	}
	d.sweepSoon()
}

// unowe forgets a claim: there is a receipt, or the result was not accepted.
func (d *Driver) unowe(lease tasks.LeaseID) *due {
	x := d.dues[lease]
	if x == nil {
		return nil
	}
	delete(d.dues, lease)
	if x.written {
		d.append(&record{Paid: []tasks.LeaseID{lease}}, false, nil)
	}
	return x
}

// paid notes the receipts of a batch.
func (d *Driver) paid(s *session, receipts []tasks.Receipt) {
	for i := range receipts {
		x := d.unowe(receipts[i].Lease)
		if receipts[i].Outcome != tasks.Accepted {
			continue
		}
		if x != nil && x.counted {
			s.pays.count(0, 1)
		} else {
			s.pays.count(1, 1)
		}
	}
	d.sweepSoon()
}

// sweepSoon sees to it that sweep runs, in claimGrace at the latest.
func (d *Driver) sweepSoon() {
	if !d.sweeping {
		d.sweeping = true
		time.AfterFunc(claimGrace, func() {
			d.box.Post(func() {
				d.sweeping = false
				if d.ctx.Err() == nil && d.sweep(time.Now().UnixMilli()-claimGrace.Milliseconds()) {
					d.sweepSoon()
				}
			})
		})
	}
}

// sweep writes down what is due since at, counts it against its submitters, and forgets what is too old. It reports
// whether there is more.
func (d *Driver) sweep(at int64) (more bool) {
	kept := d.dueOrder[:0]
	var list []*due
	for _, l := range d.dueOrder {
		x := d.dues[l]
		switch {
		case x == nil:
			continue
		case x.since < at-claimKept.Milliseconds():
			d.unowe(l)
			continue
		case x.since > at:
			more = true
		default:
			if x.accepted && !x.counted {
				x.counted = true
				d.pays(x.submitter).count(1, 0)
			}
			if !x.written {
				x.written = true
				list = append(list, x)
			}
		}
		kept = append(kept, l)
	}
	clear(d.dueOrder[len(kept):])
	d.dueOrder = kept
	for _, r := range together(list) {
		d.append(&record{Claims: &r}, false, nil)
	}
	for _, p := range d.payers {
		if p.changed {
			p.changed = false
			d.append(&record{Payer: p}, false, nil)
		}
	}
	if len(list) > 0 {
		d.log.Info("Submitters have not signed for results they had; the proof is kept", "results", len(list))
	}
	d.changed = true // who is served last may have changed
	return more
}

// together puts what rests on one message into one record, in the order of the messages.
func together(list []*due) (out []claimRecord) {
	at := map[wire.Signature]int{}
	for _, x := range list {
		i, ok := at[x.heard.Head.Sig]
		if !ok {
			i = len(out)
			at[x.heard.Head.Sig] = i
			out = append(out, claimRecord{Since: x.since, Heard: *x.heard, Accepted: x.accepted})
		}
		out[i].Leases = append(out[i].Leases, x.claim)
	}
	return out
}

// remind takes claims from the log or a snapshot.
func (d *Driver) remind(r *claimRecord) {
	for i := range r.Leases {
		l := r.Leases[i].Lease(d.self)
		if d.dues[l] == nil {
			d.dueOrder = append(d.dueOrder, l)
		}
		d.dues[l] = &due{
			submitter: r.Heard.Head.Submitter, since: r.Since, claim: r.Leases[i], heard: &r.Heard, accepted: r.Accepted, counted: true, written: true,
		}
	}
}

// Claims returns what submitters have had of this node and have not signed for, the oldest first: signed, for anybody to
// check. What they may yet sign in time is not among it.
func (d *Driver) Claims(ctx context.Context) ([]wire.Claims, error) {
	list, err := ask(ctx, d, func() (list []*due) {
		before := time.Now().Add(-claimGrace).UnixMilli()
		for _, x := range d.dues {
			if x.since <= before {
				list = append(list, x)
			}
		}
		return list
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(list, func(x, y *due) int {
		return cmp.Or(cmp.Compare(x.since, y.since), bytes.Compare(x.claim.Task[:], y.claim.Task[:]), bytes.Compare(x.claim.Digest[:], y.claim.Digest[:]))
	})
	out := []wire.Claims{}
	for _, r := range together(list) {
		c := wire.Claims{Heard: r.Heard, Leases: r.Leases}
		c.Sign(d.o.Network, d.o.Key)
		out = append(out, c)
	}
	return out, nil
}

// Payer is how a submitter signs for what it accepted of this node.
type Payer struct {
	Submitter tasks.NodeID
	Earned    int
	Signed    int
	Last      bool // it is served after others
}

// Payers returns every submitter of whom something is known.
func (d *Driver) Payers(ctx context.Context) ([]Payer, error) {
	list, err := ask(ctx, d, func() (list []Payer) {
		for _, p := range d.payers {
			list = append(list, Payer{p.Submitter, p.Earned, p.Signed, p.mean()})
		}
		return list
	})
	slices.SortFunc(list, func(x, y Payer) int { return bytes.Compare(x.Submitter[:], y.Submitter[:]) })
	return list, err
}
