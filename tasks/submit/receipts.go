package submit

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"kith/storage/dag"
	"kith/tasks"
	"kith/tasks/job"
	"kith/tasks/trust"
	"kith/tasks/wire"
)

// entry is one record of the book: exactly one field is set.
type entry struct {
	Batch    *batchEntry    `cbor:"batch"`
	Ack      *ackEntry      `cbor:"ack"`
	Conflict *wire.Evidence `cbor:"conflict"`
}

type batchEntry struct {
	Worker   tasks.NodeID  `cbor:"worker"`
	At       int64         `cbor:"at"`
	Receipts wire.Receipts `cbor:"receipts"`
}

type ackEntry struct {
	Root [32]byte       `cbor:"root"`
	Sig  wire.Signature `cbor:"sig"`
}

func (d *Driver) book(e *entry) {
	if d.o.Book == nil {
		return
	}
	b, err := dag.Marshal(e)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	d.o.Book.Append(b, false, func(_ uint64, err error) {
		if err != nil {
			d.log.Error("Cannot write a receipt", slogErr(err))
		}
	})
}

// batch is receipts of one worker that are signed together.
type batch struct {
	receipts []tasks.Receipt
	tries    int   // sessions that it was sent in and that lasted long enough for an answer
	sent     int64 // when it was last sent, Unix milliseconds

	mu     sync.Mutex // a session that has ended may still be signing when the next one does
	root   [32]byte
	booked bool
}

// owed is what a worker has coming when it returns: receipts that it has not countersigned, as far as is known.
type owed struct {
	batches []*batch
	loose   []tasks.Receipt
	// waiting holds the leases of the last session that had a commit: some may wait for nothing but their verdict.
	waiting map[tasks.LeaseID]*grant
	// old holds receipts from before this node's last start. Whether the worker knows of them only it can say.
	old map[tasks.LeaseID]tasks.Receipt
}

// Bounds of what is kept for one worker. The oldest receipts beyond them are not offered again; they stay in the book.
const (
	maxBatches = 256
	maxLoose   = 4096
	maxOld     = 1 << 16 // of all workers together
	maxTries   = 3
	// answerMillis is how long a session must have lasted after a batch for its silence to be the worker's.
	answerMillis = 10_000
)

// line is what the account with a worker says of one replica.
func (d *Driver) line(j *running, item *job.Decision, r *job.Settled, now int64) tasks.Receipt {
	d.prepare(j)
	p := &j.plan[item.Task.Stage]
	return tasks.Receipt{
		Job: j.id, Task: j.state.TaskID(item.Task), Lease: r.Lease, Submitter: d.self, Worker: r.Worker, Kinds: p.kinds, Code: p.code,
		Root: item.Root, Outcome: r.Outcome, WallMillis: r.WallMillis, CPUMillis: r.CPUMillis, At: now,
	}
}

// owes returns what a worker has coming, making a place for it.
func (d *Driver) owes(worker tasks.NodeID) *owed {
	o := d.owing[worker]
	if o == nil {
		if len(d.owing) >= 4*d.o.MaxSessions {
			for id := range d.owing {
				if d.sessions[id] == nil {
					delete(d.owing, id)
					break
				}
			}
		}
		o = &owed{}
		d.owing[worker] = o
	}
	return o
}

// receipt adds one line to the account with a worker. One that is away gets it when it returns.
func (d *Driver) receipt(j *running, item *job.Decision, r *job.Settled, now int64) {
	line := d.line(j, item, r, now)
	if r.Outcome == tasks.Accepted {
		if !j.state.WentOn(item.Task, r.Lease) { // else it says nothing of a whole task
			d.took(j, item.Task, r.WallMillis)
		}
		line.CPUMillis = d.believed(&j.plan[item.Task.Stage], r)
	}
	s := d.sessions[r.Worker]
	if s == nil {
		if o := d.owes(r.Worker); len(o.loose) < maxLoose {
			o.loose = append(o.loose, line)
		}
		return
	}
	s.receipt = append(s.receipt, line)
	if len(s.receipt) == wire.MaxReceipts {
		d.flushReceipts(s)
	} else if s.dueAt == 0 {
		s.dueAt = now + receiptWait.Milliseconds()
		d.due(s.dueAt)
	}
}

// keptClaims is how many claims of one stage a new one is compared with.
const keptClaims = 64

// believed is the processor time a worker gets credit for: what it claims, as far as that is no outlier among what others
// claimed for the same stage.
func (d *Driver) believed(p *stagePlan, r *job.Settled) int64 {
	claim := r.CPUMillis
	if top := trust.Ceiling(p.claims); claim > top {
		d.log.Info("A worker claims more processor time than others need", "worker", r.Worker, "claims", claim, "counted", top)
		claim = top
	}
	if len(p.claims) == keptClaims {
		p.claims = append(p.claims[:0], p.claims[1:]...)
	}
	p.claims = append(p.claims, claim)
	return claim
}

// flushReceipts gives a batch to the session's writer, which signs it.
func (d *Driver) flushReceipts(s *session) {
	s.dueAt = 0
	if len(s.receipt) == 0 {
		return
	}
	d.send(s, &batch{receipts: s.receipt})
	s.receipt = nil
	s.wakeWriter()
}

func (d *Driver) send(s *session, b *batch) {
	b.sent = time.Now().UnixMilli()
	s.unsigned = append(s.unsigned, b)
	if n := len(s.unsigned) - maxBatches; n > 0 {
		s.unsigned = append(s.unsigned[:0], s.unsigned[n:]...)
	}
	s.mu.Lock()
	s.out.receipts = append(s.out.receipts, b)
	s.mu.Unlock()
	s.dirty = true
}

// reclaim keeps what a session that ends owes its worker, before the next one is told what it has coming.
func (d *Driver) reclaim(s *session) {
	waiting := s.grants.pending()
	if len(s.unsigned)+len(waiting) == 0 {
		return
	}
	o, now := d.owes(s.peer.id), time.Now().UnixMilli()
	o.waiting = waiting
	for _, b := range s.unsigned {
		if now-b.sent >= answerMillis {
			b.tries++
		}
		if b.tries < maxTries && len(o.batches) < maxBatches {
			o.batches = append(o.batches, b)
		}
	}
	s.unsigned = nil
}

// settleUp sends a worker that is back what it has coming: first the verdicts on leases that it still holds, because it
// cannot have heard them, then the receipts. It returns those leases, and those whose verdict is still to come.
func (d *Driver) settleUp(s *session, held []tasks.LeaseID) (told []tasks.LeaseID) {
	o := d.owing[s.peer.id]
	if o == nil {
		return nil
	}
	delete(d.owing, s.peer.id)
	for _, l := range held {
		if r, ok := o.old[l]; ok {
			o.loose = append(o.loose, r)
		}
	}
	for len(o.loose) > 0 {
		n := min(len(o.loose), wire.MaxReceipts)
		o.batches = append(o.batches, &batch{receipts: o.loose[:n:n]})
		o.loose = o.loose[n:]
	}
	last := make(map[tasks.LeaseID]*tasks.Receipt, len(held)) // a later verdict may have turned an earlier one
	for _, l := range held {
		last[l] = nil
	}
	for _, b := range o.batches {
		for i := range b.receipts {
			r := &b.receipts[i]
			if _, open := last[r.Lease]; open {
				last[r.Lease] = r
			}
		}
		d.send(s, b)
	}
	for _, l := range held {
		r, first := last[l]
		if delete(last, l); !first {
			continue
		}
		if r != nil {
			s.out.verdicts = append(s.out.verdicts, tasks.Verdict{Lease: l, Outcome: r.Outcome, Root: r.Root})
			told = append(told, l)
		} else if g := o.waiting[l]; g != nil && g.awaited(d.jobs, l) {
			s.grants.add(l, g)
			if g.got.Root.Defined() { // whether it heard so is not known
				d.acknowledgeLater(s, g, time.Now().UnixMilli())
			}
			told = append(told, l)
		}
	}
	return told
}

// signBatch makes the message of a batch and keeps it. It runs in the session's writer.
func (d *Driver) signBatch(s *session, b *batch) (*wire.Receipts, error) {
	root, err := wire.ReceiptRoot(b.receipts)
	if err != nil {
		return nil, fmt.Errorf("receipts: %w", err)
	}
	m := &wire.Receipts{Receipts: b.receipts, Root: root, Sig: wire.SignBatch(d.o.Network, d.o.Key, d.self, s.peer.id, root, len(b.receipts))}
	b.mu.Lock()
	again := b.booked
	b.root, b.booked = root, true
	b.mu.Unlock()
	if !again {
		d.book(&entry{Batch: &batchEntry{Worker: s.peer.id, At: time.Now().UnixMilli(), Receipts: *m}})
	}
	return m, nil
}

// acked keeps a countersignature.
func (d *Driver) acked(s *session, m *wire.ReceiptAck) {
	i := slices.IndexFunc(s.unsigned, func(b *batch) bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.booked && b.root == m.Root && len(b.receipts) == m.Count
	})
	if i < 0 {
		d.dropped.Add(1)
		return
	}
	s.unsigned = slices.Delete(s.unsigned, i, i+1)
	d.book(&entry{Ack: &ackEntry{Root: m.Root, Sig: m.Sig}})
}

// readBook calls visit with every record, oldest first.
func (d *Driver) readBook(ctx context.Context, visit func(*entry)) error {
	if d.o.Book == nil {
		return nil
	}
	return d.o.Book.Replay(0, func(seq uint64, rec []byte) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		var e entry
		if err := dag.Unmarshal(rec, &e); err != nil {
			return fmt.Errorf("receipt book, record %d: %w", seq, err)
		}
		visit(&e)
		return nil
	})
}

// Receipts calls visit with every batch that has a receipt of the job, oldest first; the zero job means all. It reads
// the whole book.
func (d *Driver) Receipts(ctx context.Context, id tasks.JobID, visit func(*Receipts)) error {
	acks := map[[32]byte]wire.Signature{}
	if err := d.readBook(ctx, func(e *entry) {
		if e.Ack != nil {
			acks[e.Ack.Root] = e.Ack.Sig
		}
	}); err != nil {
		return err
	}
	return d.readBook(ctx, func(e *entry) {
		if e.Batch == nil {
			return
		}
		of := func(r tasks.Receipt) bool { return r.Job == id }
		if id != (tasks.JobID{}) && !slices.ContainsFunc(e.Batch.Receipts.Receipts, of) {
			return
		}
		out := Receipts{Worker: e.Batch.Worker, At: e.Batch.At, Batch: e.Batch.Receipts}
		out.Ack, out.Countersigned = acks[out.Batch.Root]
		visit(&out)
	})
}

// Evidence returns everything this node can show about a job's workers.
func (d *Driver) Evidence(ctx context.Context, id tasks.JobID) (Evidence, error) {
	st, err := d.Job(ctx, id)
	if err != nil {
		return Evidence{}, err
	}
	out := Evidence{Job: id, Blame: st.Blame}
	if err := d.Receipts(ctx, id, func(r *Receipts) { out.Receipts = append(out.Receipts, *r) }); err != nil {
		return Evidence{}, err
	}
	err = d.readBook(ctx, func(e *entry) {
		if e.Conflict != nil {
			out.Conflicts = append(out.Conflicts, *e.Conflict)
		}
	})
	return out, err
}
