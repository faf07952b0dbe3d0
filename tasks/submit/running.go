package submit

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"kith/storage"
	"kith/storage/dag"
	"kith/tasks"
	"kith/tasks/job"
	"kith/tasks/merge"
)

// running is a job and what the driver keeps beside its state.
type running struct {
	id      tasks.JobID
	state   *job.State
	ctx     context.Context // ends with the job
	cancel  context.CancelFunc
	plan    []stagePlan
	blocks  map[job.Ref][]inline // outputs that came inline and have no verdict yet
	checks  map[checkKey]*fetching
	fetched deliveries
	parcels map[tasks.LeaseID]tasks.Parcel // outputs that lie in depots
	small   map[dag.CID][][]byte           // checkpoints that fit a message, as they came, some of them
	watched chan struct{}                  // closed at the next change
	retryAt int64                          // when failed gathers and merges are tried again
	retries int
	marks   []mark // for the throughput

	offerAt    int64 // when the next offer is due, 0: none
	offerSince int64 // when the first offer went out that was not answered enough
	ring       int
	skipped    int // rings nobody was in
	offers     int
	reached    int
	quest      quest
	refused    map[tasks.Code]int
	trouble    *tasks.Reason // what this node itself lacks at present
	finished   int64         // when it ended, 0 if that was before the last start

	partBytes int64 // of the input, on average; 0: there is none, or that is not known

	adapt adapt // of an adaptive job
}

// stagePlan is what every lease and receipt of a stage says.
type stagePlan struct {
	kinds  []string
	code   [32]byte
	limits tasks.Limits
	life   int64 // of a lease, milliseconds
	needs  tasks.Needs
	floats string  // the kind by which numeric results are compared; "": they are not
	claims []int64 // of processor time by accepted results, the newest last, at most keptClaims
}

type inline struct {
	root   dag.CID
	blocks []storage.Block
}

type mark struct {
	at   int64
	done int
}

// How often failed own work is tried again, at most.
const maxRetries = 8

func (d *Driver) add(ev *job.Accepted) *running {
	j := &running{id: ev.Job.ID, state: job.New(ev)}
	d.adopt(j)
	return j
}

// adopt puts a job on the lists.
func (d *Driver) adopt(j *running) {
	j.parcels = map[tasks.LeaseID]tasks.Parcel{}
	j.blocks, j.checks, j.refused = map[job.Ref][]inline{}, map[checkKey]*fetching{}, map[tasks.Code]int{}
	d.jobs[j.id] = j
	if !j.state.Phase().Over() {
		j.ctx, j.cancel = context.WithCancel(d.ctx)
		d.active = append(d.active, j)
	}
}

// begin plans an accepted job.
func (d *Driver) begin(j *running) {
	now := time.Now().UnixMilli()
	j.offerAt = now
	d.due(now)
	d.openPublic(j)
	d.split(j)
}

// split cuts the input into parts, aside, and lays out the stages.
func (d *Driver) split(j *running) {
	spec := *j.state.Job()
	d.aside(j, func(ctx context.Context) func() {
		parts, err := d.o.Executor.Split(ctx, spec)
		var stages []tasks.Stage
		var each int64
		if in := spec.Spec.Input; err == nil && in.Defined() && len(parts) > 0 {
			total, _ := inputBytes(ctx, d.o.Blobs, in) // it was just read
			each = total / int64(len(parts))
		}
		if err == nil && len(parts) == 0 {
			err = tasks.Because(tasks.TaskFailed, "the input has nothing to work on")
		}
		if err == nil {
			stages, err = tasks.Plan(spec.Spec.Ops, len(parts), d.o.Kinds)
		}
		return func() {
			if err != nil {
				d.end(j, reasonOf(err, tasks.TaskFailed))
				return
			}
			j.partBytes = each
			d.planned(j, stages, parts)
		}
	})
}

func (d *Driver) planned(j *running, stages []tasks.Stage, parts []dag.CID) {
	now := time.Now().UnixMilli()
	if j.state.Stages() == 0 {
		ev := &job.Planned{Stages: stages, Parts: len(parts), Input: parts[0].Defined()}
		d.append(j.id, ev, nil)
		d.step(j, ev, now)
	}
	if !parts[0].Defined() {
		return
	}
	const chunk = 4096
	for from := 0; from < len(parts); from += chunk {
		ev := &job.Parts{From: from, Roots: parts[from:min(from+chunk, len(parts))]}
		d.append(j.id, ev, nil)
		d.step(j, ev, now)
	}
}

// aside runs f outside the loop, with a place for heavy work, and what it returns inside. The job's end cancels it.
func (d *Driver) aside(j *running, f func(context.Context) func()) {
	d.work.Go(func() {
		select {
		case d.cpu <- struct{}{}:
		case <-j.ctx.Done():
			return
		}
		then := f(j.ctx)
		<-d.cpu
		d.box.Post(func() {
			if !j.state.Phase().Over() {
				then()
			}
		})
	})
}

// step folds an event into a job and does what follows from it.
func (d *Driver) step(j *running, ev job.Event, now int64) {
	d.act(j, func(a *job.Actions) { j.state.Step(ev, now, a) }, now)
}

// act runs f and does what it asks for.
func (d *Driver) act(j *running, f func(*job.Actions), now int64) {
	if j.state.Phase().Over() {
		return
	}
	var a job.Actions
	f(&a)
	d.hungry = d.hungry || a.Opened
	for i := range a.Cancel {
		d.tellCancel(&a.Cancel[i])
	}
	for i := range a.Settle {
		d.note(a.Settle[i].Worker, a.Settle[i].Verdict.Outcome, now)
		d.tellVerdict(a.Settle[i].Worker, a.Settle[i].Verdict)
	}
	for i := range a.Reveal {
		d.tellReveal(&a.Reveal[i])
	}
	for i := range a.Check {
		d.check(j, a.Check[i])
	}
	for i := range a.Compare {
		d.compare(j, a.Compare[i])
	}
	for i := range a.Decide {
		d.decide(j, &a.Decide[i])
	}
	for i := range a.Compose {
		d.compose(j, a.Compose[i])
	}
	for i := range a.Gather {
		d.gather(j, a.Gather[i])
	}
	for i := range a.Merge {
		d.merge(j, a.Merge[i])
	}
	if a.Finish != nil && adaptive(j) {
		d.finishLater(j, a.Finish)
	} else if a.Finish != nil {
		d.conclude(j, a.Finish)
	}
	if a.End != nil {
		d.conclude(j, a.End)
	}
	if at, ok := j.state.NextTick(); ok {
		d.due(at)
	}
	if j.watched != nil {
		close(j.watched)
		j.watched = nil
	}
	if j.state.Phase().Over() {
		d.over(j)
	}
}

// watch returns a channel that is closed at the next change of the job.
func (j *running) watch() chan struct{} {
	if j.watched == nil {
		j.watched = make(chan struct{})
	}
	return j.watched
}

// conclude makes the end of a job durable, then true.
func (d *Driver) conclude(j *running, ev job.Event) {
	d.append(j.id, ev, func(err error) {
		if err != nil {
			d.log.Error("Cannot write the end of a job", slogJob(j.id), slogErr(err))
			j.trouble = ptr(reasonOf(err, tasks.DiskFull))
			return
		}
		d.step(j, ev, time.Now().UnixMilli())
	})
}

// end fails a job.
func (d *Driver) end(j *running, r tasks.Reason) {
	d.conclude(j, &job.Ended{Reason: clipReason(r)})
}

// over lets go of what a finished job held.
func (d *Driver) over(j *running) {
	j.cancel()
	j.blocks, j.checks, j.parcels, j.small = nil, nil, nil, nil
	j.offerAt, j.retryAt = 0, 0
	for i, other := range d.active {
		if other == j {
			d.active = append(d.active[:i:i], d.active[i+1:]...)
			break
		}
	}
	d.served.Lock()
	delete(d.publicB, j.id)
	d.served.Unlock()
	for _, s := range d.sessions {
		d.acknowledge(s, j.finished, true) // no verdict will come
		s.grants.forget(j.id)
		delete(s.fit, j)
		delete(s.declined, j)
	}
	d.prunePeers()
	j.finished = time.Now().UnixMilli()
	d.o.Executor.Release(j.id)
	d.log.Info("Job is over", slogJob(j.id), "phase", j.state.Phase().String(), "reason", string(j.state.Reason().Code))
}

// salt is the secret of a lease, from which the digest of its output is made. It is derived, so that it need not be
// kept.
func salt(secret [32]byte, lease tasks.LeaseID) [32]byte {
	var b [len("kith/salt/1") + 64]byte
	n := copy(b[:], "kith/salt/1")
	n += copy(b[n:], secret[:])
	copy(b[n:], lease[:])
	return sha256.Sum256(b[:])
}

// compose makes the inputs of one task: for a reduce the files of its key range, and sealed if the job's data is not
// public.
func (d *Driver) compose(j *running, c job.Compose) {
	reduce := j.state.Stage(c.Task.Stage).Mode == tasks.Reduce
	sealed := j.state.Job().Spec.Sensitivity == tasks.Approved
	secret := j.state.Secret()
	epoch := j.adapt.now()
	d.aside(j, func(ctx context.Context) func() {
		in, err := c.From, error(nil)
		if reduce {
			in, err = d.o.Executor.ReduceInput(ctx, c.Task.Index, c.From)
		}
		ev := job.Composed{Task: c.Task, Inputs: in, ID: tasks.NewTaskID(j.id, c.Task.Stage, c.Task.Index, in)}
		if err == nil && sealed {
			ev.Inputs = make([]dag.CID, len(in))
			for i := range in {
				if ev.Inputs[i], err = d.o.Executor.Seal(ctx, in[i], sealKey(secret, c.Task, i)); err != nil {
					break
				}
			}
		}
		return func() {
			now := time.Now().UnixMilli()
			if j.adapt.now() != epoch {
				return // made of what was taken back since; it is asked for again
			}
			if err != nil {
				d.step(j, job.ComposeFailed{Task: c.Task}, now)
				if from := j.state.Stage(c.Task.Stage).Inputs[0]; reduce && d.doubts(j, from, 0, math.MaxInt, err) {
					return
				}
				d.failedHere(j, err)
				return
			}
			d.step(j, ev, now)
			for _, s := range d.sessions {
				s.grants.renew(j.id, c.Task, j.state.Inputs(c.Task))
			}
		}
	})
}

// sealKey is the key of one sealed input; like a salt it is derived.
func sealKey(secret [32]byte, ref job.Ref, input int) [32]byte {
	b := append([]byte("kith/seal-key/1"), secret[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(ref.Stage))
	b = binary.BigEndian.AppendUint64(b, uint64(ref.Index))
	b = binary.BigEndian.AppendUint64(b, uint64(input))
	return sha256.Sum256(b)
}

func (d *Driver) gather(j *running, g job.GatherStage) {
	spec, stage, parts := *j.state.Job(), j.state.Stage(g.Stage), j.state.Parts()
	epoch := j.adapt.now()
	d.aside(j, func(ctx context.Context) func() {
		out, err := d.o.Executor.Gather(ctx, spec, stage, parts, g.Inputs)
		if err == nil && len(out) != parts {
			err = fmt.Errorf("gather wrote %d parts, want %d", len(out), parts)
		}
		return func() {
			now := time.Now().UnixMilli()
			if !j.adapt.unless(epoch, func() {}) {
				d.later(j, job.GatherFailed{Stage: g.Stage})
				return
			}
			if err != nil {
				d.step(j, job.GatherFailed{Stage: g.Stage}, now)
				if d.doubts(j, stage.Inputs[0], 0, math.MaxInt, err) {
					return
				}
				d.failedHere(j, err)
				return
			}
			const chunk = 4096
			for from := 0; from < len(out); from += chunk {
				ev := &job.Gathered{Stage: g.Stage, From: from, Roots: out[from:min(from+chunk, len(out))]}
				d.append(j.id, ev, nil)
				d.step(j, ev, now)
			}
		}
	})
}

func (d *Driver) merge(j *running, m merge.Step) {
	spec := *j.state.Job()
	last := j.state.Stage(j.state.Stages() - 1)
	step := last.Steps[len(last.Steps)-1]
	epoch := j.adapt.now()
	d.aside(j, func(ctx context.Context) func() {
		root, err := d.o.Executor.Merge(ctx, spec, step, m.Inputs)
		return func() {
			if !j.adapt.unless(epoch, func() {}) {
				d.later(j, job.MergeFailed{Level: m.Level, Index: m.Index})
				return
			}
			if err != nil {
				d.step(j, job.MergeFailed{Level: m.Level, Index: m.Index}, time.Now().UnixMilli())
				width := 1
				for range m.Level { // the lowest merges are on level 1
					width *= merge.FanIn
				}
				if !d.doubts(j, last.Index, m.Index*width, (m.Index+1)*width, err) {
					d.failedHere(j, err)
				}
				return
			}
			ev := &job.Merged{Level: m.Level, Index: m.Index, Root: root}
			if !j.adapt.unless(epoch, func() {
				d.append(j.id, ev, func(err error) {
					now := time.Now().UnixMilli()
					if err != nil {
						d.step(j, job.MergeFailed{Level: m.Level, Index: m.Index}, now)
						d.failedHere(j, err)
						return
					}
					d.step(j, ev, now)
				})
			}) {
				d.later(j, job.MergeFailed{Level: m.Level, Index: m.Index})
			}
		}
	})
}

// failedHere deals with this node's own work having failed: a reason of the task's ends the job; anything else (a full
// disk, a block that is gone) is tried again, later each time, and in the end gives the job up.
func (d *Driver) failedHere(j *running, err error) {
	if j.ctx.Err() != nil {
		return
	}
	d.log.Warn("Work of this node for a job failed", slogJob(j.id), slogErr(err))
	var r tasks.Reason
	if errors.As(err, &r) && r.Code == tasks.TaskFailed {
		d.end(j, r)
		return
	}
	j.trouble = ptr(reasonOf(err, tasks.TaskFailed))
	j.retries++
	if j.retries > maxRetries && !errors.Is(err, storage.ErrFull) {
		d.end(j, *j.trouble)
		return
	}
	j.retryAt = time.Now().UnixMilli() + 1000<<min(j.retries, 6)
	d.due(j.retryAt)
}

func reasonOf(err error, code tasks.Code) tasks.Reason {
	var r tasks.Reason
	if errors.As(err, &r) {
		return r
	}
	if errors.Is(err, storage.ErrFull) {
		code = tasks.DiskFull
	}
	return clipReason(tasks.Because(code, "%v", err))
}
