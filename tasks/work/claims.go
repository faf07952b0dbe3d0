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
// own signed word on the lease, beside what was done. The word is in the log before anything else is done about it, so
// that a claim outlives this process however it ends; what was done stands there already, in the promise. Before
// claimGrace is over a claim is not shown to anybody: the receipt may be on its way.
const (
	claimGrace = time.Minute
	claimKept  = 90 * 24 * time.Hour
	maxDues    = 2048 // claims of all submitters together; the oldest go
)

// said is a message of a submitter that says something of results, in memory and in the log.
type said struct {
	At    int64       `cbor:"at"` // when it came
	Heard wire.Spoken `cbor:"heard"`
}

// wordRecord is such a message in the log.
type wordRecord struct {
	At    int64           `cbor:"at"`
	Heard wire.Spoken     `cbor:"heard"`
	Of    []tasks.LeaseID `cbor:"of,omitempty"` // leases it counts for; none: all that it names
}

// due is one result that its submitter has had, and has not signed for.
type due struct {
	*said // often of several leases
	claim wire.Claim
	swept bool // its claimGrace is over, and it counts against its submitter if that accepted it
}

func (x *due) submitter() tasks.NodeID { return x.Heard.Head.Submitter }
func (x *due) word() wire.Word         { return x.Heard.Head.Type.Word() }

// claimRecord is claims in a snapshot, and in logs from before every word was written down.
type claimRecord struct {
	Since    int64        `cbor:"at"`
	Heard    wire.Spoken  `cbor:"heard"`
	Accepted bool         `cbor:"ok"`
	Leases   []wire.Claim `cbor:"leases"`
	Fresh    bool         `cbor:"fresh,omitempty"` // not swept
}

// payer is how a submitter signs for what it accepted. It fades: what is long ago counts half, a quarter, …
type payer struct {
	Submitter tasks.NodeID `cbor:"by"`
	Earned    int          `cbor:"earned"` // accepted results of this node whose receipts have come, or had their time
	Signed    int          `cbor:"signed"` // of them with a receipt
	// How it says that it has results: see window.go.
	Window int   `cbor:"window,omitempty"` // results it may have without a word; 0: as at first
	Rest   int64 `cbor:"rest,omitempty"`   // until then none, Unix milliseconds
	Swept  int64 `cbor:"swept,omitempty"`  // what it accepted by then is counted
	// Of this run alone.
	lost    int // results it was shown, on which no word can come any more
	changed bool
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
				if d.sessions[id] == nil && !old.wary() {
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

// claim is what can be said of a result beside its submitter's word.
func (p *promise) claim() wire.Claim {
	return wire.Claim{
		Job: p.Job, Task: p.Task, Attempt: p.Attempt, Epoch: p.Epoch, Expiry: p.Expiry, Kinds: p.Kinds, Root: p.Root, Digest: p.Digest,
		WallMillis: min(p.Wall, wire.MaxLeaseTime.Milliseconds()), CPUMillis: p.CPU,
	}
}

// writeDown logs a message of a submitter if it says something of a result of this node, before that is acted upon. What a
// submitter demanded is written down as far as it is shown: see writeShown.
func (s *session) writeDown(m wire.Message, word *said) {
	about := func(l tasks.LeaseID) bool {
		h := s.m[l]
		return h != nil && h.state == committed
	}
	says := false
	switch m := m.(type) {
	case *wire.Delivered:
		says = slices.ContainsFunc(m.Results, func(r wire.Delivery) bool { return about(r.Lease) })
	case *wire.Verdicts:
		says = slices.ContainsFunc(m.Verdicts, func(v tasks.Verdict) bool { return v.Outcome == tasks.Accepted && about(v.Lease) })
	}
	if says {
		s.d.append(&record{Said: &wordRecord{At: word.At, Heard: word.Heard}}, false, nil)
	}
}

// writeShown logs what has just been shown, one record for each message that demanded it; all says that it is all of what
// one message names.
func (s *session) writeShown(all bool) {
	for list := s.shown; len(list) > 0; {
		r := &wordRecord{At: list[0].asked.At, Heard: list[0].asked.Heard}
		n := 0
		for n < len(list) && list[n].asked == list[0].asked {
			n++
		}
		if !all {
			for _, h := range list[:n] {
				r.Of = append(r.Of, h.lease.ID)
			}
		}
		s.d.append(&record{Said: r}, false, nil)
		list = list[n:]
	}
	clear(s.shown)
	s.shown = s.shown[:0]
}

// owe notes what a submitter said of a result that it has, or demands.
func (d *Driver) owe(h *held, m *said) {
	if m == nil {
		return
	}
	d.claimOn(&h.promise, m)
	d.sweepSoon()
}

// claimOn keeps a claim on a promise, unless there is one already that says as much.
func (d *Driver) claimOn(p *promise, m *said) {
	x := &due{said: m, claim: p.claim()}
	if x.claim.Lease(d.self) != p.Lease {
		return // from before promises said this much
	}
	if old := d.dues[p.Lease]; old == nil || old.word() < x.word() {
		d.addDue(p.Lease, x)
	}
}

// addDue takes a claim in, and of too many the oldest out.
func (d *Driver) addDue(l tasks.LeaseID, x *due) {
	if d.dues[l] == nil {
		d.dueOrder = append(d.dueOrder, l)
	}
	d.dues[l] = x
	if len(d.dueOrder) > 4*maxDues { // most have their receipts by now
		d.dueOrder = slices.DeleteFunc(d.dueOrder, func(l tasks.LeaseID) bool { return d.dues[l] == nil })
	}
	for len(d.dues) > maxDues {
		delete(d.dues, d.dueOrder[0])
		d.dueOrder = d.dueOrder[1:]
	}
}

// disown forgets the claim on a result that was not accepted. It stays if the submitter contradicts itself: it had
// acknowledged the very bytes that it now says it did not get, or that are not those committed to.
func (d *Driver) disown(v *tasks.Verdict) {
	if x := d.dues[v.Lease]; x != nil && (x.word() != wire.Got || v.Outcome != tasks.Withheld && v.Outcome != tasks.Forged) {
		delete(d.dues, v.Lease)
	}
}

// paid notes the receipts of a batch.
func (d *Driver) paid(receipts []tasks.Receipt, by *payer) {
	var list []tasks.LeaseID
	for i := range receipts {
		if d.dues[receipts[i].Lease] != nil {
			list = append(list, receipts[i].Lease)
		} else if receipts[i].Outcome == tasks.Accepted {
			by.count(1, 1)
		}
	}
	if len(list) > 0 {
		d.append(&record{Paid: list}, false, nil)
		d.receive(list)
	}
	d.sweepSoon()
}

// receive ends claims, because there are receipts.
func (d *Driver) receive(leases []tasks.LeaseID) {
	for _, l := range leases {
		x := d.dues[l]
		if x == nil {
			continue
		}
		delete(d.dues, l)
		switch {
		case x.word() != wire.Approved: // it ended otherwise
		case x.swept:
			d.pays(x.submitter()).count(0, 1)
		default:
			d.pays(x.submitter()).count(1, 1)
		}
	}
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

// sweep counts what is due since at against its submitters, and forgets what is too old. It reports whether there is more.
func (d *Driver) sweep(at int64) (more bool) {
	kept, unsigned := d.dueOrder[:0], 0
	for _, l := range d.dueOrder {
		x := d.dues[l]
		switch {
		case x == nil:
			continue
		case x.At < at-claimKept.Milliseconds():
			delete(d.dues, l)
			continue
		case x.At > at:
			more = true
		case !x.swept:
			x.swept = true
			unsigned++
			if x.word() == wire.Approved {
				p := d.pays(x.submitter())
				p.count(1, 0)
				p.Swept = max(p.Swept, at)
			}
		}
		kept = append(kept, l)
	}
	clear(d.dueOrder[len(kept):])
	d.dueOrder = kept
	for _, p := range d.payers {
		if p.changed {
			p.changed = false
			d.append(&record{Payer: p}, false, nil)
		}
	}
	if unsigned > 0 {
		d.log.Info("Submitters have not signed for results they had; the proof is kept", "results", unsigned)
	}
	d.changed = true // who is served last may have changed
	return more
}

// together puts what rests on one message into one record, in the order of the messages.
func together(list []*due) (out []claimRecord) {
	at := map[wire.Signature]int{}
	for _, x := range list {
		i, ok := at[x.Heard.Head.Sig]
		if !ok {
			i = len(out)
			at[x.Heard.Head.Sig] = i
			out = append(out, claimRecord{Since: x.At, Heard: x.Heard, Accepted: x.word() == wire.Approved, Fresh: !x.swept})
		}
		out[i].Leases = append(out[i].Leases, x.claim)
	}
	return out
}

// remind takes claims from a snapshot, or from a log as it was.
func (d *Driver) remind(r *claimRecord) {
	m := &said{At: r.Since, Heard: r.Heard}
	for i := range r.Leases {
		d.addDue(r.Leases[i].Lease(d.self), &due{said: m, claim: r.Leases[i], swept: !r.Fresh})
	}
}

// counted takes a submitter's account from the log, which says what of its claims it counts.
func (d *Driver) counted(p *payer) {
	d.payers[p.Submitter] = p
	for _, x := range d.dues {
		if x.At <= p.Swept && x.submitter() == p.Submitter {
			x.swept = true
		}
	}
}

// Claims returns what submitters have had of this node and have not signed for, the oldest first: signed, for anybody to
// check. What they may yet sign in time is not among it.
func (d *Driver) Claims(ctx context.Context) ([]wire.Claims, error) {
	list, err := ask(ctx, d, func() (list []*due) {
		before := time.Now().Add(-claimGrace).UnixMilli()
		for _, x := range d.dues {
			if x.At <= before {
				list = append(list, x)
			}
		}
		return list
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(list, func(x, y *due) int {
		return cmp.Or(cmp.Compare(x.At, y.At), bytes.Compare(x.claim.Task[:], y.claim.Task[:]), bytes.Compare(x.claim.Digest[:], y.claim.Digest[:]))
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
	Last      bool  // it is served after others
	Silent    int   // results it has at present and said nothing of
	Window    int   // so many it may have; beyond that it gets no more
	Rest      int64 // until when it gets nothing, for having said nothing; 0: it is served
}

// Payers returns every submitter of whom something is known.
func (d *Driver) Payers(ctx context.Context) ([]Payer, error) {
	list, err := ask(ctx, d, func() (list []Payer) {
		now := time.Now().UnixMilli()
		for _, p := range d.payers {
			v := Payer{Submitter: p.Submitter, Earned: p.Earned, Signed: p.Signed, Last: p.mean(), Silent: p.lost, Window: p.window(now)}
			if p.Rest > now {
				v.Rest = p.Rest
			}
			if s := d.sessions[p.Submitter]; s != nil {
				v.Silent += s.silent
			}
			list = append(list, v)
		}
		return list
	})
	slices.SortFunc(list, func(x, y Payer) int { return bytes.Compare(x.Submitter[:], y.Submitter[:]) })
	return list, err
}
