package submit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"kith/tasks"
	"kith/tasks/job"
	"kith/tasks/trust"
)

// adapt is what the driver keeps of an adaptive job.
type adapt struct {
	// order makes what is appended to the log follow what it was made of: a merge of outputs that are taken back must
	// not stand behind the event that takes them back, nor be taken for one of what comes in their place.
	order sync.Mutex
	epoch int // guarded by order: grows when something is taken back
	lost  int // guarded by order: events on the way to the disk that take something back
	done  *job.Done
	over  bool // its end is on the way to the disk: nothing is taken back any more
}

// now names what outputs are built upon at present.
func (a *adapt) now() int {
	a.order.Lock()
	defer a.order.Unlock()
	return a.epoch
}

// unless runs f, which appends what was made in an epoch to the log, unless something was taken back since, or is about
// to be. It reports whether it did.
func (a *adapt) unless(epoch int, f func()) bool {
	a.order.Lock()
	defer a.order.Unlock()
	if a.epoch != epoch || a.lost > 0 {
		return false
	}
	f()
	return true
}

// takeBack begins a new epoch with an event that has reached the disk, and steps it. Own work that was begun before is
// void, and asked for again.
func (d *Driver) takeBack(j *running, ev job.Event, now int64) {
	j.adapt.order.Lock()
	j.adapt.epoch++
	j.adapt.lost--
	j.adapt.order.Unlock()
	round := j.state.Round()
	d.step(j, ev, now)
	if j.state.Round() == round {
		d.act(j, j.state.Renew, now)
	}
}

// later has own work tried again that was dropped.
func (d *Driver) later(j *running, failed job.Event) {
	now := time.Now().UnixMilli()
	d.step(j, failed, now)
	j.retryAt = now + dropRetry.Milliseconds()
	d.due(j.retryAt)
}

const dropRetry = 50 * time.Millisecond

func adaptive(j *running) bool { return j.state.Job().Spec.Policy.Replication == tasks.Adaptive }

func (d *Driver) grantSole(j *running, at *dealt, g job.Grant, oneIn int, now int64) {
	if at.sole != nil && at.sole.OneIn != oneIn {
		d.append(j.id, at.sole, nil)
		at.sole = nil
	}
	if at.sole == nil {
		at.sole = &job.Sole{Worker: at.s.peer.id, OneIn: oneIn}
	}
	at.sole.Items = append(at.sole.Items, g)
	d.step(j, &job.Sole{Worker: at.s.peer.id, Items: []job.Grant{g}, OneIn: oneIn}, now)
}

// rule writes the first verdicts of items down, those of one job and round, and returns how many they are. It runs in
// the store's goroutine.
func (d *Driver) rule(j *running, items []stored, failed error) int {
	ev := &job.Provisional{Round: items[0].decision.Round}
	turns, n := false, 0
	for n < len(items) && items[n].j == j && items[n].decision.Round == ev.Round {
		dec := items[n].decision
		ev.Items = append(ev.Items, *dec)
		ev.Known = append(ev.Known, dec.Known...)
		turns = turns || dec.Turns
		n++
	}
	back := &job.Verdicts{Items: ev.Items}
	if failed != nil {
		d.box.Post(func() { d.notStored(j, back, failed) })
		return n
	}
	j.adapt.order.Lock()
	defer j.adapt.order.Unlock()
	if turns {
		j.adapt.lost++
	}
	d.append(j.id, ev, func(err error) {
		if err != nil {
			if turns {
				j.adapt.order.Lock()
				j.adapt.lost--
				j.adapt.order.Unlock()
			}
			d.notStored(j, back, err)
			return
		}
		d.ruled(j, ev, turns)
	})
	return n
}

// ruled is decided for an adaptive job.
func (d *Driver) ruled(j *running, ev *job.Provisional, turns bool) {
	if j.state.Phase().Over() {
		return
	}
	now := time.Now().UnixMilli()
	j.trouble = nil
	step := d.step
	if turns {
		step = d.takeBack
	}
	if ev.Round != j.state.Round() {
		step(j, ev, now) // void: its tasks are decided anew
		return
	}
	for i := range ev.Items {
		item := &ev.Items[i]
		for k := range item.Replicas {
			r := &item.Replicas[k]
			if r.Lease == (tasks.LeaseID{}) || slices.Contains(ev.Known, r.Lease) {
				// It was told and has its receipt; what both have signed stands. Only what this node thinks of it changes.
				if r.Outcome == tasks.Outvoted {
					d.log.Warn("An audit overturned a worker's result", slogJob(j.id), "task", item.Task.String(), "worker", r.Worker)
					d.note(r.Worker, r.Outcome, now)
				}
				continue
			}
			switch r.Outcome {
			case tasks.Accepted, tasks.Outvoted, tasks.Cancelled:
				d.tellVerdict(r.Worker, tasks.Verdict{Lease: r.Lease, Outcome: r.Outcome, Root: item.Root})
			}
			if r.Outcome == tasks.Accepted || r.Outcome == tasks.Outvoted {
				d.note(r.Worker, r.Outcome, now)
			}
			if r.Outcome == tasks.Outvoted {
				d.log.Warn("A worker's result was not accepted", slogJob(j.id), "task", item.Task.String(), "worker", r.Worker, "outcome", string(r.Outcome))
			}
			d.receipt(j, item, r, now)
		}
	}
	step(j, ev, now)
	for i := range ev.Items {
		d.judge(j, &ev.Items[i], ev.Known, now)
	}
	j.mark(now, j.state.DoneTasks())
	j.retries = 0
}

// judge tells the book of trust who agreed with whom, and acts on what it concludes.
func (d *Driver) judge(j *running, item *job.Decision, known []tasks.LeaseID, now int64) {
	votes := make([]trust.Vote, 0, len(item.Replicas))
	for k := range item.Replicas {
		r := &item.Replicas[k]
		if r.Outcome != tasks.Accepted && r.Outcome != tasks.Outvoted {
			continue
		}
		v := trust.Vote{Node: r.Worker, What: d.what(j, item.Task.Stage, r.Worker), Root: r.Root, Won: r.Outcome == tasks.Accepted, Told: slices.Contains(known, r.Lease)}
		if p := d.peers[r.Worker]; p != nil {
			v.Group = p.group
		}
		votes = append(votes, v)
	}
	lied, cleared := d.trust.Verdict(j.state.TaskID(item.Task), strings.Join(j.plan[item.Task.Stage].kinds, "+"), votes, now)
	if d.noteAt == 0 {
		d.noteAt = now + trustGap.Milliseconds()
		d.due(d.noteAt)
	}
	for _, id := range cleared {
		d.log.Info("A worker is cleared: those who spoke against it lied", "worker", id)
		d.clear(id)
	}
	for _, id := range lied {
		d.expel(id, "contradicted by independent nodes; kith trust shows the tasks")
		d.disprove(id)
	}
}

// clear lets unfinished jobs count a worker's votes again.
func (d *Driver) clear(id tasks.NodeID) {
	now := time.Now().UnixMilli()
	for _, j := range slices.Clone(d.active) {
		if adaptive(j) && j.state.Knows(id) {
			ev := &job.Cleared{Worker: id}
			d.append(j.id, ev, nil)
			d.step(j, ev, now)
		}
	}
}

// disprove takes back what a worker carried in unfinished jobs.
func (d *Driver) disprove(id tasks.NodeID) {
	for _, j := range slices.Clone(d.active) {
		if !adaptive(j) || !j.state.Knows(id) || j.adapt.over {
			continue
		}
		ev := &job.Disproved{Worker: id}
		j.adapt.order.Lock()
		j.adapt.lost++
		d.append(j.id, ev, func(err error) {
			if err != nil {
				d.log.Error("Cannot write down that a worker lied; its job is given up", slogJob(j.id), slogErr(err))
				d.end(j, reasonOf(err, tasks.DiskFull))
				return
			}
			if !j.state.Phase().Over() {
				d.takeBack(j, ev, time.Now().UnixMilli())
			}
			d.hungry = true
		})
		j.adapt.order.Unlock()
	}
}

// doubts looks whether this node's own work may have failed because of a result that nobody has compared: then such
// results are audited, and the work is tried again. It reports whether that is so.
func (d *Driver) doubts(j *running, stage, from, to int, err error) bool {
	var r tasks.Reason
	if !adaptive(j) || j.ctx.Err() != nil || !errors.As(err, &r) || r.Code != tasks.TaskFailed {
		return false
	}
	alone, audited := j.state.Doubtful(stage, from, to)
	if alone+audited == 0 {
		return false
	}
	now := time.Now().UnixMilli()
	if alone > 0 {
		d.log.Info("Work of this node on results that stood alone failed; they are audited", slogJob(j.id), "results", alone, slogErr(err))
		ev := &job.Doubted{Stage: stage, From: from, To: to}
		d.append(j.id, ev, nil)
		d.step(j, ev, now)
	}
	j.retryAt = now + doubtRetry.Milliseconds()
	d.due(j.retryAt)
	return true
}

// doubtRetry is how long after an audit was begun the work that led to it is tried again.
const doubtRetry = time.Second

// Trust returns what this node thinks of workers.
func (d *Driver) Trust(ctx context.Context) (Trust, error) {
	return ask(ctx, d, func() Trust {
		now := time.Now().UnixMilli()
		l := d.trust.Ledger()
		t := Trust{Skills: l.Skills, Lies: d.trust.Lies(now), Cases: slices.Clone(l.Cases), Collusions: d.trust.Collusions(now), Verdicts: l.Verdicts}
		for i := range t.Skills {
			t.Skills[i].Standing = t.Skills[i].Standing.At(now)
		}
		for _, e := range d.trust.Snapshot() {
			t.Records = append(t.Records, trust.Entry{Node: e.Node, Record: e.Record.At(now)})
		}
		return t
	})
}

// Appeal lifts what contradictions hold against a worker; it begins again as a newcomer, whose every result is compared
// with others'. A ban that rests on what the worker signed stays: ErrNoCase.
func (d *Driver) Appeal(ctx context.Context, worker tasks.NodeID) error {
	ok, err := ask(ctx, d, func() bool {
		if !d.trust.Appeal(worker) {
			return false
		}
		now := time.Now().UnixMilli()
		d.doubt(worker, now)
		d.writeTrust(false)
		d.logTrust(&trust.Ledger{Verdicts: 1, Lies: d.trust.Ledger().Lies, Appeals: []tasks.NodeID{worker}}, true)
		d.clear(worker)
		return true
	})
	if err == nil && !ok {
		return fmt.Errorf("%w: %s", ErrNoCase, worker)
	}
	return err
}

// finishLater ends a job once what came with its last verdict has been thought through: a proof may take it back.
func (d *Driver) finishLater(j *running, ev *job.Done) {
	j.adapt.done = ev
	d.box.Post(func() {
		if j.adapt.done != ev || j.state.Phase().Over() {
			return
		}
		j.adapt.over = j.adapt.unless(j.adapt.now(), func() { d.conclude(j, ev) }) // else it is asked for again
		j.adapt.done = nil
	})
}
