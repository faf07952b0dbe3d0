package submit

import (
	"context"
	"slices"
	"strings"
	"time"

	"kith/storage"
	"kith/storage/dag"
	"kith/tasks"
	"kith/tasks/job"
)

// placeOf is where a worker is, as far as it matters for a job: the equivalence classes of its floats with it, for the
// kinds whose results the job compares by their numbers.
func (d *Driver) placeOf(j *running, p *peer) job.Place {
	d.prepare(j)
	at := job.Place{Group: p.origin, Account: p.account}
	var classes []string
	for _, e := range p.equals {
		kind, _, _ := strings.Cut(e, ":")
		if slices.ContainsFunc(j.plan, func(s stagePlan) bool { return s.floats != "" && s.floats == kind }) {
			classes = append(classes, e)
		}
	}
	at.Floats = job.Floats(classes)
	return at
}

// what names the work of a stage as trust is earned by it: its kinds, and, if its results are compared by their numbers,
// the equivalence class of the worker.
func (d *Driver) what(j *running, stage int, worker tasks.NodeID) string {
	d.prepare(j)
	p := &j.plan[stage]
	name := strings.Join(p.kinds, "+")
	if p.floats == "" {
		return name
	}
	return name + "@" + job.ClassOf(j.state.Place(worker).Floats, p.floats)
}

// compare finds which outputs of a task agree: in the sandbox, since nobody has vouched for them yet. What came inline is
// put into the store for it; what loses goes with the next collection.
func (d *Driver) compare(j *running, c job.CompareTask) {
	spec, stage := *j.state.Job(), j.state.Stage(c.Task.Stage)
	var blocks []storage.Block
	for _, b := range j.blocks[c.Task] {
		if slices.ContainsFunc(c.Pairs, func(p [2]dag.CID) bool { return p[0] == b.root || p[1] == b.root }) {
			blocks = append(blocks, b.blocks...)
		}
	}
	d.aside(j, func(ctx context.Context) func() {
		ev := job.Compared{Task: c.Task, Pairs: c.Pairs, Agree: make([]bool, len(c.Pairs))}
		var err error
		if len(blocks) > 0 {
			err = d.o.Blobs.PutMany(ctx, blocks)
		}
		if err == nil {
			ev.Agree, err = d.o.Executor.Compare(ctx, spec, stage, c.Pairs)
		}
		return func() {
			now := time.Now().UnixMilli()
			if err != nil {
				ev.Agree, ev.Failed = make([]bool, len(c.Pairs)), true
				d.step(j, ev, now)
				d.failedHere(j, err)
				return
			}
			d.step(j, ev, now)
			d.hungry = true
		}
	})
}
