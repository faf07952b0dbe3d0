package work

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"kith/storage"
	"kith/storage/dag"
	"kith/tasks"
	"kith/tasks/wire"
)

// record is one record of the log: one field is set, or Settled and Told.
type record struct {
	Promise *promise        `cbor:"promise"` // on stable storage before its commit is sent
	Settled *tasks.LeaseID  `cbor:"settled"` // the promise counts no more
	Told    *told           `cbor:"told"`    // with Settled, if that was by a verdict
	Session *standing       `cbor:"session"`
	Said    *wordRecord     `cbor:"said,omitempty"` // of promises that are not settled yet
	Claims  *claimRecord    `cbor:"claims,omitempty"`
	Paid    []tasks.LeaseID `cbor:"paid,omitempty"` // claims that count no more
	Payer   *payer          `cbor:"payer,omitempty"`

	Checkpoint *checkpoint `cbor:"point,omitempty"`
	Done       *[32]byte   `cbor:"done,omitempty"` // the task's checkpoint counts no more
}

// told is what a submitter said of a settled promise: a receipt that comes after a restart is signed if it says the same.
type told struct {
	Submitter tasks.NodeID  `cbor:"by"`
	Outcome   tasks.Outcome `cbor:"outcome"`
}

// standing is what is needed to go on with a submitter after a restart.
type standing struct {
	Submitter tasks.NodeID `cbor:"to"`
	Addresses []string     `cbor:"addr"`
	Token     wire.Token   `cbor:"token"`
	Epoch     uint64       `cbor:"epoch"`
}

// snapshotFile is everything that still counts.
type snapshotFile struct {
	Version  int           `cbor:"v"`
	Sessions []standing    `cbor:"sessions"`
	Promises []promise     `cbor:"promises"`
	Claims   []claimRecord `cbor:"claims,omitempty"`
	Payers   []payer       `cbor:"payers,omitempty"`

	Checkpoints []checkpoint `cbor:"points,omitempty"`
}

const snapshotVersion = 1

func (d *Driver) append(r *record, durable bool, done func(uint64, error)) {
	b, err := dag.Marshal(r)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	d.logged++
	d.o.Log.Append(b, durable, done)
}

// keep puts a promise on stable storage; kept follows in the loop.
func (d *Driver) keep(h *held) {
	d.append(&record{Promise: &h.promise}, true, func(seq uint64, err error) {
		d.box.Post(func() {
			if err == nil {
				d.lastSeq = seq
			}
			d.kept(h, err)
		})
	})
}

// settle notes that a promise counts no more.
func (d *Driver) settle(h *held) {
	r := record{Settled: &h.promise.Lease}
	if o, ok := h.s.verdicts[h.promise.Lease]; ok {
		r.Told = &told{Submitter: h.s.peer, Outcome: o}
	}
	d.append(&r, false, nil)
}

func (d *Driver) keepSession(s *session) {
	d.append(&record{Session: s.standing()}, false, nil)
}

func (s *session) standing() *standing {
	return &standing{Submitter: s.peer, Addresses: s.addrs, Token: s.token, Epoch: s.epoch}
}

// recover finds the promises of before the last stop, and the sessions they were made in.
func (d *Driver) recover() error {
	promises, sessions := map[tasks.LeaseID]*promise{}, map[tasks.NodeID]*standing{}
	from := uint64(0)
	seq, r, err := d.o.Log.Snapshot()
	switch {
	case err == nil:
		b, err := io.ReadAll(r)
		if cerr := r.Close(); err == nil {
			err = cerr
		}
		var f snapshotFile
		if err == nil {
			err = dag.Unmarshal(b, &f)
		}
		if err == nil && f.Version != snapshotVersion {
			err = fmt.Errorf("version %d, this program knows %d", f.Version, snapshotVersion)
		}
		if err != nil {
			return fmt.Errorf("snapshot: %w", err)
		}
		for i := range f.Promises {
			promises[f.Promises[i].Lease] = &f.Promises[i]
		}
		for i := range f.Sessions {
			sessions[f.Sessions[i].Submitter] = &f.Sessions[i]
		}
		for i := range f.Claims {
			d.remind(&f.Claims[i])
		}
		for i := range f.Payers {
			d.payers[f.Payers[i].Submitter] = &f.Payers[i]
		}
		d.points.list = f.Checkpoints
		from = seq + 1
	case !errors.Is(err, storage.ErrNotFound):
		return err
	}
	if err := d.o.Log.Replay(from, func(seq uint64, b []byte) error {
		var r record
		if err := dag.Unmarshal(b, &r); err != nil {
			return fmt.Errorf("%w: work log, record %d: %w", storage.ErrCorrupt, seq, err)
		}
		switch {
		case r.Promise != nil:
			promises[r.Promise.Lease] = r.Promise
		case r.Settled != nil:
			delete(promises, *r.Settled)
			if r.Told != nil {
				if v := (tasks.Verdict{Lease: *r.Settled, Outcome: r.Told.Outcome}); v.Outcome != tasks.Accepted {
					d.disown(&v)
				}
				d.heard[r.Told.Submitter] = append(d.heard[r.Told.Submitter], tasks.Verdict{Lease: *r.Settled, Outcome: r.Told.Outcome})
			}
		case r.Session != nil:
			sessions[r.Session.Submitter] = r.Session
		case r.Said != nil:
			leases, m := r.Said.Of, &said{At: r.Said.At, Heard: r.Said.Heard}
			if len(leases) == 0 {
				leases, _ = m.Heard.Says()
			}
			for _, l := range leases {
				if p := promises[l]; p != nil {
					d.claimOn(p, m)
				}
			}
		case r.Claims != nil:
			d.remind(r.Claims)
		case r.Payer != nil:
			d.counted(r.Payer)
		case r.Checkpoint != nil:
			d.points.put(*r.Checkpoint)
		case r.Done != nil:
			d.points.remove(*r.Done)
		}
		d.receive(r.Paid)
		return nil
	}); err != nil {
		return err
	}
	for by, list := range d.heard {
		d.heard[by] = list[max(0, len(list)-recalled):]
	}
	now := time.Now().UnixMilli()
	d.points.bound(now)
	for l, p := range promises {
		st := sessions[p.Submitter]
		if st == nil || p.Expiry+promiseKept.Milliseconds() < now {
			continue
		}
		s := d.sessions[p.Submitter]
		if s == nil {
			s = newSession(d, st.Submitter, st.Addresses)
			s.token, s.epoch = st.Token, st.Epoch
			d.enlist(s)
		}
		d.uses(p.Job)
		s.m[l] = &held{
			s: s, lease: tasks.Lease{ID: l, Worker: d.self, Expiry: p.Expiry, Epoch: p.Epoch, Attempt: p.Attempt, Do: tasks.Assignment{Job: p.Job, Task: p.Task}}, state: committed,
			since: now, promise: *p,
		}
		if x := d.dues[l]; x != nil { // it was shown
			s.m[l].shownAt, s.m[l].answered = now, x.word() != wire.Asked
			if x.word() == wire.Asked {
				s.silent++
			}
		}
	}
	return nil
}

// snapshot writes down what still counts when the log has grown enough. Callbacks of the log come in the order of its
// records, so everything up to lastSeq is in the state.
func (d *Driver) snapshot() {
	if d.saving || d.logged < d.o.SnapshotEvery || d.lastSeq == 0 {
		return
	}
	d.logged, d.saving = 0, true
	f := snapshotFile{Version: snapshotVersion}
	for _, s := range d.order {
		if s.token != (wire.Token{}) {
			f.Sessions = append(f.Sessions, *s.standing())
		}
		for _, h := range s.leases() {
			if h.state == keeping || h.state == committed {
				f.Promises = append(f.Promises, h.promise)
			}
		}
	}
	list := make([]*due, 0, len(d.dues))
	for _, l := range d.dueOrder {
		if x := d.dues[l]; x != nil {
			list = append(list, x)
		}
	}
	f.Claims = together(list)
	for _, p := range d.payers {
		f.Payers = append(f.Payers, *p)
	}
	f.Checkpoints = d.points.list
	b, err := dag.Marshal(&f)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	seq := d.lastSeq
	d.work.Go(func() {
		err := d.o.Log.WriteSnapshot(seq, func(w io.Writer) error {
			_, err := w.Write(b)
			return err
		})
		d.box.Post(func() {
			d.saving = false
			if err != nil {
				d.log.Error("Cannot write a snapshot of the promises", "error", err)
			}
		})
	})
}

// countersign checks a batch of receipts against the verdicts this node has heard, and signs and keeps it.
func (d *Driver) countersign(s *session, m *wire.Receipts) {
	if ack := s.signed[m.Root]; ack != nil { // the submitter has not heard it
		s.mu.Lock()
		s.out.acks = append(s.out.acks, ack)
		s.mu.Unlock()
		s.send()
		return
	}
	if !s.owes(m.Receipts) {
		d.dropped.Add(1)
		d.log.Warn("Receipts that do not match what was done are not signed", "submitter", s.peer, "receipts", len(m.Receipts))
		return
	}
	ack := &wire.ReceiptAck{
		Root: m.Root, Count: len(m.Receipts),
		Sig: wire.SignBatch(d.o.Network, d.o.Key, s.peer, d.self, m.Root, len(m.Receipts)),
	}
	s.recount(ack)
	d.paid(m.Receipts, s.pays)
	if d.o.Book != nil {
		b, err := dag.Marshal(&Receipts{Submitter: s.peer, At: time.Now().UnixMilli(), Batch: *m, Ack: ack.Sig})
		if err != nil {
			panic("BUG: " + err.Error())
		}
		d.o.Book.Append(b, false, func(_ uint64, err error) {
			if err != nil {
				d.log.Error("Cannot write a receipt", "error", err)
			}
		})
		d.bookMade(s, m.Receipts)
	}
	s.mu.Lock()
	s.out.acks = append(s.out.acks, ack)
	s.mu.Unlock()
	s.send()
}

// Receipts calls visit with every batch of a submitter, oldest first; the zero id means all. It reads the whole book.
func (d *Driver) Receipts(ctx context.Context, submitter tasks.NodeID, visit func(*Receipts)) error {
	if d.o.Book == nil {
		return nil
	}
	seen := map[wire.Hash]struct{}{} // an answer lost on the way is given again, after a restart with a second record
	return d.o.Book.Replay(0, func(seq uint64, b []byte) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		r, _, err := readBook(b)
		if err != nil {
			return fmt.Errorf("receipt book, record %d: %w", seq, err)
		}
		if r == nil {
			return nil
		}
		if _, twice := seen[r.Batch.Root]; !twice && (submitter == (tasks.NodeID{}) || submitter == r.Submitter) {
			seen[r.Batch.Root] = struct{}{}
			visit(r)
		}
		return nil
	})
}
