package submit

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"time"

	"kith/storage"
	"kith/storage/dag"
	"kith/tasks"
	"kith/tasks/job"
	"kith/tasks/mailbox"
	"kith/tasks/trust"
)

// append writes an event to the log. then, if not nil, runs in the loop once the event is as safe as job.Durable
// demands of it.
func (d *Driver) append(id tasks.JobID, ev job.Event, then func(error)) {
	b, err := job.Encode(ev)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	d.logged.Add(1)
	rec := append(append(make([]byte, 0, 40+len(b)), id[:]...), timed(b)...)
	if then == nil && !job.Durable(ev) {
		d.o.Log.Append(rec, false, nil)
		return
	}
	d.o.Log.Append(rec, job.Durable(ev), func(seq uint64, err error) {
		d.box.Post(func() {
			if err != nil {
				d.log.Error("Cannot write to the job log", slogErr(err))
			} else {
				d.lastSeq = seq
			}
			if then != nil {
				then(err)
			}
		})
	})
}

// timed puts the time before an encoded event.
func timed(b []byte) []byte {
	now := time.Now().UnixMilli()
	out := make([]byte, 8, 8+len(b))
	for i := range 8 {
		out[i] = byte(now >> (56 - 8*i))
	}
	return append(out, b...)
}

// replay folds one record into the jobs.
func (d *Driver) replay(rec []byte) error {
	if len(rec) < 41 {
		return fmt.Errorf("%w: job log record of %d bytes", storage.ErrCorrupt, len(rec))
	}
	id := tasks.JobID(rec[:32])
	at := int64(0)
	for _, b := range rec[32:40] {
		at = at<<8 | int64(b)
	}
	// The log has checked its bytes: what cannot be read was written by a program that knows more.
	if id == (tasks.JobID{}) && rec[40]>>5 == 5 { // a map
		var l trust.Ledger
		if err := dag.Unmarshal(rec[40:], &l); err != nil {
			return fmt.Errorf("%w: %w", storage.ErrVersion, err)
		}
		return d.readLedger(&l)
	}
	if id == (tasks.JobID{}) {
		var list []trust.Entry
		if err := dag.Unmarshal(rec[40:], &list); err != nil {
			return fmt.Errorf("%w: %w", storage.ErrVersion, err)
		}
		return d.readTrust(list)
	}
	ev, err := job.Decode(rec[40:])
	if err != nil {
		return fmt.Errorf("%w: %w", storage.ErrVersion, err)
	}
	if first, ok := ev.(*job.Accepted); ok {
		if _, twice := d.jobs[id]; !twice {
			d.jobs[id] = &running{id: id, state: job.New(first)}
		}
		return nil
	}
	if j, ok := d.jobs[id]; ok {
		switch v := ev.(type) {
		case *job.Verdicts:
			d.recall(j, v, at)
		case *job.Provisional:
			if v.Round == j.state.Round() {
				d.recall(j, &job.Verdicts{Items: v.Items}, at)
			}
		}
		var ignored job.Actions
		j.state.Step(ev, at, &ignored)
	}
	return nil
}

// recall remembers the receipts of replayed verdicts, in case their workers have not heard of them.
func (d *Driver) recall(j *running, ev *job.Verdicts, at int64) {
	for i := range ev.Items {
		item := &ev.Items[i]
		if item.Task.Stage < 0 || item.Task.Stage >= j.state.Stages() || item.Task.Index < 0 {
			continue
		}
		for k := range item.Replicas {
			line := d.line(j, item, &item.Replicas[k], at)
			if line.Task == (tasks.TaskID{}) {
				continue // its inputs were made for it, and are not known before they are made again
			}
			if d.recalled == maxOld { // the newest are those that may be unheard of
				clear(d.owing)
				d.recalled = 0
			}
			d.recalled++
			o := d.owes(line.Worker)
			if o.old == nil {
				o.old = map[tasks.LeaseID]tasks.Receipt{}
			}
			o.old[line.Lease] = line
		}
	}
}

// recover rebuilds all jobs from the newest snapshot and the log after it, re-opens what the store has lost, and asks
// for everything that was under way.
func (d *Driver) recover(ctx context.Context) error {
	if err := d.read(); err != nil {
		return err
	}
	now := time.Now().UnixMilli()
	for _, j := range sortedJobs(d.jobs) {
		d.adopt(j)
		if j.state.Phase().Over() {
			continue
		}
		for {
			lost, err := d.reopen(ctx, j, now)
			if err != nil {
				return err
			}
			if lost == 0 {
				break
			}
		}
		if j.state.Phase() == job.Planning {
			d.begin(j)
			continue
		}
		j.offerAt = now
		d.due(now)
		d.openPublic(j)
		d.act(j, func(a *job.Actions) { j.state.Resume(now, a) }, now)
	}
	return nil
}

// Recall answers questions about the jobs in the log (Jobs, Pins) until ctx ends and does nothing else: it writes nothing and
// speaks with nobody. It stands in for Serve where only the log matters, and like that may be called once.
func (d *Driver) Recall(ctx context.Context) error {
	d.ctx = ctx
	defer close(d.stopped)
	if err := d.read(); err != nil {
		return fmt.Errorf("recall jobs: %w", err)
	}
	for _, j := range sortedJobs(d.jobs) {
		d.adopt(j)
	}
	return mailbox.Serve(ctx, d.box)
}

// read folds the newest snapshot and the log after it.
func (d *Driver) read() error {
	from := uint64(0)
	seq, r, err := d.o.Log.Snapshot()
	switch {
	case err == nil:
		err = d.readSnapshot(r)
		if closeErr := r.Close(); err == nil {
			err = closeErr
		}
		if err != nil {
			return fmt.Errorf("snapshot: %w", err)
		}
		from = seq + 1
	case !errors.Is(err, storage.ErrNotFound):
		return err
	}
	return d.o.Log.Replay(from, func(seq uint64, rec []byte) error {
		d.lastSeq = seq
		return d.replay(rec)
	})
}

// reopen looks for outputs that were accepted but whose blocks did not survive, and opens their tasks again. It
// returns how many it found.
func (d *Driver) reopen(ctx context.Context, j *running, now int64) (int, error) {
	var lost, gone []job.Event
	var failed error
	names := map[any]bool{}
	j.state.Needed(func(root dag.CID, ev job.Event) {
		name := any("merge")
		if r, ok := ev.(*job.Reopened); ok {
			name = r.Task
		}
		if failed != nil || names[name] {
			return
		}
		ok, err := complete(ctx, d.o.Blobs, root)
		if failed = err; err == nil && !ok {
			lost = append(lost, ev)
			names[name] = true
		}
	})
	j.state.Checkpoints(func(ref job.Ref, root dag.CID) {
		if ok, err := complete(ctx, d.o.Blobs, root); failed == nil && err == nil && !ok {
			gone = append(gone, &job.Mislaid{Task: ref, Root: root})
		}
	})
	for _, ev := range gone {
		d.append(j.id, ev, nil)
		var ignored job.Actions
		j.state.Step(ev, now, &ignored)
	}
	for _, ev := range lost {
		d.log.Warn("An accepted output is no longer in the store; its task is opened again", slogJob(j.id))
		d.append(j.id, ev, nil)
		var ignored job.Actions
		j.state.Step(ev, now, &ignored)
	}
	return len(lost), failed
}

// complete reports whether every block below root is in the store. Leaves are not read.
func complete(ctx context.Context, blobs storage.Blobs, root dag.CID) (bool, error) {
	whole := true
	err := dag.Reach(ctx, blobs, root, func(c dag.CID) (bool, error) {
		has, err := blobs.Has(ctx, c)
		whole = whole && has
		return whole, err
	})
	if errors.Is(err, storage.ErrNotFound) || errors.Is(err, storage.ErrCorrupt) {
		return false, nil
	}
	return whole, err
}

// snapshot writes the jobs down when the log has grown enough. Callbacks of the log come in the order of its records,
// and what needs none was folded when it was appended: so everything up to lastSeq is in the state. Records after it may
// be in it too; folding one twice changes nothing.
func (d *Driver) snapshot() {
	if d.saving || d.logged.Load() < int64(d.o.SnapshotEvery) || d.lastSeq == 0 {
		return
	}
	d.logged.Store(0)
	d.saving = true
	state, seq := d.encode(), d.lastSeq
	d.work.Go(func() {
		err := d.o.Log.WriteSnapshot(seq, func(w io.Writer) error {
			_, err := w.Write(state)
			return err
		})
		d.box.Post(func() {
			d.saving = false
			if err != nil {
				d.log.Error("Cannot write a snapshot of the jobs", slogErr(err))
			}
		})
	})
}

// snapshotVersion is the version of the snapshot's form.
const snapshotVersion = 1

type snapshotFile struct {
	Version int           `cbor:"v"`
	Jobs    [][]byte      `cbor:"jobs"` // job.State each
	Trust   []trust.Entry `cbor:"trust"`
	Ledger  *trust.Ledger `cbor:"ledger,omitempty"`
}

func (d *Driver) encode() []byte {
	f := snapshotFile{Version: snapshotVersion, Trust: d.trust.Snapshot()}
	if l := d.trust.Ledger(); l.Verdicts > 0 {
		f.Ledger = &l
	}
	for _, j := range sortedJobs(d.jobs) {
		f.Jobs = append(f.Jobs, j.state.Encode())
	}
	b, err := dag.Marshal(&f)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return b
}

func (d *Driver) readSnapshot(r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	var f snapshotFile
	if err := dag.Unmarshal(b, &f); err != nil {
		return fmt.Errorf("%w: %w", storage.ErrVersion, err)
	}
	if f.Version != snapshotVersion {
		return fmt.Errorf("%w: version %d, this program knows %d", storage.ErrVersion, f.Version, snapshotVersion)
	}
	if err := d.readTrust(f.Trust); err != nil {
		return err
	}
	if f.Ledger != nil {
		if err := d.readLedger(f.Ledger); err != nil {
			return err
		}
	}
	for _, b := range f.Jobs {
		st, err := job.Restore(b)
		if err != nil {
			return fmt.Errorf("%w: %w", storage.ErrVersion, err)
		}
		d.jobs[st.Job().ID] = &running{id: st.Job().ID, state: st}
	}
	return nil
}

// sortedJobs returns the jobs, the oldest first.
func sortedJobs(m map[tasks.JobID]*running) []*running {
	return slices.SortedFunc(maps.Values(m), func(a, b *running) int {
		return cmp.Or(cmp.Compare(a.state.Job().Created, b.state.Job().Created), bytes.Compare(a.id[:], b.id[:]))
	})
}

func slogErr(err error) slog.Attr      { return slog.Any("error", err) }
func slogJob(id tasks.JobID) slog.Attr { return slog.Any("job", id) }
func ptr[T any](v T) *T                { return &v }
func clipReason(r tasks.Reason) tasks.Reason {
	r.Detail = job.Clip(r.Detail)
	return r
}
