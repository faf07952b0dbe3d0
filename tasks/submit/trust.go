package submit

import (
	"fmt"
	"slices"
	"time"

	"kith/storage"
	"kith/storage/dag"
	"kith/tasks"
	"kith/tasks/job"
	"kith/tasks/trust"
)

// What this node thinks of workers is kept in the job log as whole records under the zero job id: reading one twice
// changes nothing. They are written together, at most once in trustGap, because a record that is lost with it costs
// little; a ban is written at once.
const trustGap = time.Second

// note counts an outcome for or against a worker.
func (d *Driver) note(worker tasks.NodeID, o tasks.Outcome, now int64) {
	if o == tasks.Cancelled {
		return
	}
	before := d.trust.Get(worker, now)
	r := d.trust.Note(worker, o, now)
	d.doubt(worker, now)
	if r.Banned() && !before.Banned() {
		d.expel(worker, "forged results")
	}
}

func (d *Driver) doubt(worker tasks.NodeID, now int64) {
	d.doubted[worker] = struct{}{}
	if d.noteAt == 0 {
		d.noteAt = now + trustGap.Milliseconds()
		d.due(d.noteAt)
	}
}

// ban shuts a worker out for good; proof is the hash of what it signed.
func (d *Driver) ban(worker tasks.NodeID, proof [32]byte, why string) {
	now := time.Now().UnixMilli()
	d.trust.Ban(worker, proof, now)
	d.doubt(worker, now)
	d.expel(worker, why)
}

// expel ends the session of a banned worker. What it holds goes to others at once.
func (d *Driver) expel(worker tasks.NodeID, why string) {
	d.log.Warn("A worker is banned", "worker", worker, "why", why)
	d.writeTrust(true)
	if s := d.sessions[worker]; s != nil {
		s.window = 0
		s.end(tasks.Because(tasks.Banned, "%s", why))
	}
	d.box.Post(func() { // not in the middle of a step
		now := time.Now().UnixMilli()
		for _, j := range slices.Clone(d.active) {
			for _, l := range j.state.Leases(worker) {
				d.step(j, job.Forgotten{Worker: worker, Lease: l.Lease}, now)
			}
		}
		d.hungry = true
	})
}

// writeTrust logs the records that changed.
func (d *Driver) writeTrust(durable bool) {
	d.noteAt = 0
	if l, any := d.trust.Changes(); any {
		d.logTrust(&l, durable)
	}
	if len(d.doubted) == 0 {
		return
	}
	now := time.Now().UnixMilli()
	list := make([]trust.Entry, 0, len(d.doubted))
	for id := range d.doubted {
		list = append(list, trust.Entry{Node: id, Record: d.trust.Get(id, now)})
	}
	clear(d.doubted)
	d.logTrust(list, durable)
}

// logTrust logs entries or a ledger.
func (d *Driver) logTrust(v any, durable bool) {
	b, err := dag.Marshal(v)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	var none tasks.JobID
	d.logged.Add(1)
	d.o.Log.Append(append(none[:], timed(b)...), durable, nil)
}

// readTrust takes records from the log or a snapshot.
func (d *Driver) readTrust(list []trust.Entry) error {
	today := time.Now().UnixMilli() / (24 * time.Hour).Milliseconds()
	for i := range list {
		list[i].Record.Day = min(list[i].Record.Day, today+1) // a clock that was ahead then must not keep it from fading
		if err := d.trust.Set(list[i]); err != nil {
			return fmt.Errorf("%w: %w", storage.ErrVersion, err)
		}
	}
	return nil
}

func (d *Driver) readLedger(l *trust.Ledger) error {
	if err := d.trust.Fold(l); err != nil {
		return fmt.Errorf("%w: %w", storage.ErrVersion, err)
	}
	return nil
}
