package submit

import (
	"crypto/sha256"
	"slices"
	"time"

	"kith/storage"
	"kith/tasks"
	"kith/tasks/job"
	"kith/tasks/wire"
)

// maxStray is how many messages about leases that are not its own a session may send: some cross a cancel on the way.
const maxStray = 10_000

// jobOf finds the job of a worker's lease; anything else is counted against the session.
func (d *Driver) jobOf(s *session, l tasks.LeaseID) *running {
	if g := s.grants.get(l); g != nil {
		if j := d.jobs[g.job]; j != nil && !j.state.Phase().Over() {
			return j
		}
		return nil
	}
	d.dropped.Add(1)
	if s.stray++; s.stray == maxStray {
		s.end(tasks.Because(tasks.NotMine, "%d messages about leases it does not hold", s.stray))
	}
	return nil
}

func (d *Driver) heartbeat(s *session, m *wire.Heartbeat) {
	s.load = m.Load
	now := time.Now().UnixMilli()
	for i := range m.Leases {
		b := &m.Leases[i]
		if g := s.grants.get(b.Lease); g != nil {
			if j := d.jobs[g.job]; j != nil {
				d.step(j, job.Heartbeat{Worker: s.peer.id, Lease: b.Lease, Running: b.State == wire.Running, Done: b.Done, Total: b.Total}, now)
			}
		}
	}
}

func (d *Driver) commits(s *session, m *wire.Commits) {
	now := time.Now().UnixMilli()
	for _, c := range m.Commits {
		j := d.jobOf(s, c.Lease)
		if j == nil {
			continue
		}
		if was, ok := j.state.CommitOf(s.peer.id, c.Lease); ok && was != c.Hash {
			d.log.Warn("A worker committed twice, differently", "worker", s.peer.id, "lease", c.Lease)
			d.ban(s.peer.id, sha256.Sum256(slices.Concat([]byte("kith/two-commits/1"), c.Lease[:], was[:], c.Hash[:])), "two commits for one lease")
			continue
		}
		s.grants.commit(c.Lease)
		d.step(j, job.Committed{Worker: s.peer.id, Commit: c}, now)
	}
	d.hungry = true
}

func (d *Driver) reveals(s *session, list []revealed) {
	now := time.Now().UnixMilli()
	for i := range list {
		r := &list[i]
		j := d.jobOf(s, r.Lease)
		if j == nil {
			continue
		}
		ref, ok := j.state.Lookup(r.Lease)
		if ok && r.Parcel != nil {
			j.parcels[r.Lease] = *r.Parcel
		}
		if ok && r.good {
			have := j.blocks[ref]
			if !slices.ContainsFunc(have, func(b inline) bool { return b.root == r.Root }) {
				j.blocks[ref] = append(have, inline{r.Root, r.blocks})
			}
		}
		d.step(j, job.Revealed{Worker: s.peer.id, Reveal: r.Reveal, Checked: r.checked, Good: r.good}, now)
		if ok && r.good {
			d.have(j, ref, s.peer.id, wire.Delivery{Lease: r.Lease, Root: r.Root, Digest: r.Digest}, now)
		}
	}
	d.hungry = true
}

func (d *Driver) returned(s *session, m *wire.Returned) {
	if j := d.jobOf(s, m.Lease); j != nil {
		d.handedBack(j, s, m, nil)
	}
}

// handedBack ends a lease that its worker could not finish. left is the checkpoint that came with it, in the store already;
// nil: there is none.
func (d *Driver) handedBack(j *running, s *session, m *wire.Returned, left *job.Left) {
	d.log.Debug("A worker returned a task", "worker", s.peer.id, "lease", m.Lease, "reason", string(m.Reason.Code))
	if m.Reason.Code == tasks.ShuttingDown {
		s.window = 0
	}
	reason := m.Reason
	if len(m.Log) > 0 {
		reason.Detail = job.Clip(reason.Detail + ": " + m.Log[len(m.Log)-1])
	}
	ev := &job.Returned{Worker: s.peer.id, Lease: m.Lease, Reason: reason}
	j.refused[m.Reason.Code]++
	d.append(j.id, ev, nil)
	d.step(j, ev, time.Now().UnixMilli())
	if left != nil {
		d.keepPoint(j, left)
	}
	s.grants.remove(m.Lease)
	d.decline(j, s, &m.Reason)
	d.hungry = true
}

// decline notes that a worker could not take a task for a reason that will hold for a while: it is not given the same again
// and again meanwhile, until the task counts as one that nobody finishes.
func (d *Driver) decline(j *running, s *session, why *tasks.Reason) {
	switch why.Code {
	case tasks.OverLimits, tasks.KindOff, tasks.UnknownKindCode, tasks.WeakSandbox, tasks.DiskFull, tasks.DriveFailing, tasks.NoWord:
	default:
		return
	}
	until := time.Now().Add(declinedFor).UnixMilli()
	if why.RetryMillis > 0 {
		until = min(until, time.Now().UnixMilli()+why.RetryMillis)
	}
	if s.declined == nil {
		s.declined = map[*running]int64{}
	}
	s.declined[j] = until
	d.lookAgain(until)
}

// lookAgain has the driver look for something to give at a time.
func (d *Driver) lookAgain(at int64) {
	if d.againAt == 0 || at < d.againAt {
		d.againAt = at
		d.due(at)
	}
}

// tellCancel, tellReveal and tellVerdict put a word into a worker's outbox, if it is connected.
func (d *Driver) tellCancel(c *job.Asked) {
	if s := d.sessions[c.Worker]; s != nil {
		s.mu.Lock()
		s.out.leases = slices.DeleteFunc(s.out.leases, func(l tasks.Lease) bool { return l.ID == c.Lease })
		s.out.cancel = append(s.out.cancel, *c)
		s.mu.Unlock()
		s.dirty = true
	}
}

func (d *Driver) tellReveal(c *job.Asked) {
	if s := d.sessions[c.Worker]; s != nil {
		s.mu.Lock()
		s.out.reveal = append(s.out.reveal, c.Lease)
		s.mu.Unlock()
		s.dirty = true
	}
}

func (d *Driver) tellVerdict(worker tasks.NodeID, v tasks.Verdict) {
	if s := d.sessions[worker]; s != nil {
		if g := s.grants.get(v.Lease); g != nil {
			g.told = true
		}
		s.grants.remove(v.Lease)
		d.hungry = true
		s.mu.Lock()
		s.out.verdicts = append(s.out.verdicts, v)
		s.mu.Unlock()
		s.dirty = true
	}
}

// stored is a decision on its way to the disk.
type stored struct {
	j        *running
	decision *job.Decision
	blocks   []storage.Block
}

// decide hands a decision to the store's goroutine.
func (d *Driver) decide(j *running, dec *job.Decision) {
	st := stored{j: j, decision: dec}
	for _, b := range j.blocks[dec.Task] {
		if b.root == dec.Root {
			st.blocks = b.blocks
		}
	}
	delete(j.blocks, dec.Task)
	d.storing.Post(st)
}

// maxBatch bounds the decisions in one record of the log.
const maxBatch = 512

// store writes accepted outputs to the store and then their verdicts to the log, as many at a time as have come.
func (d *Driver) store() {
	for {
		select {
		case <-d.ctx.Done():
			return
		case <-d.storing.Wake:
		}
		for items := d.storing.Take(); len(items) > 0; {
			n := min(len(items), maxBatch)
			d.storeSome(items[:n])
			items = items[n:]
		}
	}
}

func (d *Driver) storeSome(items []stored) {
	var blocks []storage.Block
	for i := range items {
		blocks = append(blocks, items[i].blocks...)
	}
	var err error
	if len(blocks) > 0 {
		err = d.o.Blobs.PutMany(d.ctx, blocks)
	}
	for from := 0; from < len(items); {
		j := items[from].j
		if adaptive(j) {
			from += d.rule(j, items[from:], err)
			continue
		}
		ev := &job.Verdicts{}
		to := from
		for to < len(items) && items[to].j == j {
			ev.Items = append(ev.Items, *items[to].decision)
			to++
		}
		from = to
		if err != nil {
			d.box.Post(func() { d.notStored(j, ev, err) })
			continue
		}
		d.append(j.id, ev, func(err error) {
			if err != nil {
				d.notStored(j, ev, err)
				return
			}
			d.decided(j, ev)
		})
	}
}

// notStored takes verdicts back that the disk did not take; they are tried again a little later.
func (d *Driver) notStored(j *running, ev *job.Verdicts, err error) {
	if d.ctx.Err() != nil {
		return
	}
	d.log.Error("Cannot store accepted results; trying again", slogJob(j.id), slogErr(err))
	j.trouble = ptr(reasonOf(err, tasks.DiskFull))
	time.AfterFunc(5*time.Second, func() {
		d.box.Post(func() {
			for i := range ev.Items {
				d.step(j, job.Undecided{Task: ev.Items[i].Task}, time.Now().UnixMilli())
			}
		})
	})
}

// decided releases what waited for verdicts to be on stable storage.
func (d *Driver) decided(j *running, ev *job.Verdicts) {
	if j.state.Phase().Over() {
		return
	}
	now := time.Now().UnixMilli()
	j.trouble = nil
	for i := range ev.Items {
		item := &ev.Items[i]
		for k := range item.Replicas {
			r := &item.Replicas[k]
			switch r.Outcome {
			case tasks.Accepted, tasks.Outvoted, tasks.Cancelled:
				d.tellVerdict(r.Worker, tasks.Verdict{Lease: r.Lease, Outcome: r.Outcome, Root: item.Root})
			}
			if r.Outcome != tasks.Accepted && r.Outcome != tasks.Cancelled && r.Outcome != tasks.Returned {
				d.log.Warn("A worker's result was not accepted", slogJob(j.id), "task", item.Task.String(), "worker", r.Worker, "outcome", string(r.Outcome))
			}
			if r.Outcome == tasks.Accepted || r.Outcome == tasks.Outvoted { // the others were noted when they happened
				d.note(r.Worker, r.Outcome, now)
			}
			d.receipt(j, item, r, now)
		}
	}
	d.step(j, ev, now)
	j.mark(now, j.state.DoneTasks())
	j.retries = 0
}

// proof keeps evidence of a worker that contradicted itself.
func (d *Driver) proof(e wire.Evidence) {
	if len(d.proofs) < maxProofs {
		d.proofs = append(d.proofs, e)
		d.book(&entry{Conflict: &e})
	}
	d.log.Warn("A worker contradicted itself and was cut off", "worker", e.Culprit())
	if e.Verify() == nil {
		d.ban(e.Culprit(), e.Sum(), "two signed messages that contradict one another")
	}
}

const maxProofs = 1024
