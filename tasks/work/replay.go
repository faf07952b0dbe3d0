package work

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"kith/storage/dag"
	"kith/tasks"
)

// ErrNotKept: this node does not know any more what it was asked to do under a lease.
var ErrNotKept = errors.New("what was asked for under this receipt is not kept")

// made is a record of the book beside its receipts: what was asked for, so that it can be done again. What the tasks of
// a stage share stands once.
type made struct {
	Stages []tasks.Assignment `cbor:"stages"` // without what is a task's own
	Tasks  []madeTask         `cbor:"made"`
}

type madeTask struct {
	_      struct{} `cbor:",toarray"`
	Lease  tasks.LeaseID
	Stage  int // in made.Stages
	Task   tasks.TaskID
	Index  int
	Inputs []dag.CID
	Keys   [][]byte
}

// bookMade writes down how the accepted results of a batch were made.
func (d *Driver) bookMade(s *session, receipts []tasks.Receipt) {
	var rec made
	for i := range receipts {
		do := s.made[receipts[i].Lease]
		if do == nil {
			continue
		}
		delete(s.made, receipts[i].Lease)
		at := slices.IndexFunc(rec.Stages, func(a tasks.Assignment) bool { return a.Job == do.Job && a.Stage == do.Stage })
		if at < 0 {
			at = len(rec.Stages)
			shared := *do
			shared.Task, shared.Index, shared.Inputs, shared.Keys = tasks.TaskID{}, 0, nil, nil
			rec.Stages = append(rec.Stages, shared)
		}
		rec.Tasks = append(rec.Tasks, madeTask{Lease: receipts[i].Lease, Stage: at, Task: do.Task, Index: do.Index, Inputs: do.Inputs, Keys: do.Keys})
	}
	if len(rec.Tasks) == 0 {
		return
	}
	b, err := dag.Marshal(&rec)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	d.o.Book.Append(b, false, func(_ uint64, err error) {
		if err != nil {
			d.log.Error("Cannot write down how results were made", "error", err)
		}
	})
}

// readBook reads one record of the book: receipts or how results were made.
func readBook(b []byte) (*Receipts, *made, error) {
	var r Receipts
	err := dag.Unmarshal(b, &r)
	if err == nil {
		return &r, nil, nil
	}
	var m made
	if dag.Unmarshal(b, &m) != nil {
		return nil, nil, err
	}
	for i := range m.Tasks {
		if n := m.Tasks[i].Stage; n < 0 || n >= len(m.Stages) {
			return nil, nil, fmt.Errorf("%w: task of stage %d", dag.ErrEncoding, n)
		}
	}
	return nil, &m, nil
}

// Made returns what was asked for under a lease that has a receipt, so that anybody who holds the inputs can do it
// again; ErrNotKept if that is not known. It reads the whole book.
func (d *Driver) Made(ctx context.Context, lease tasks.LeaseID) (do tasks.Assignment, err error) {
	if d.o.Book == nil {
		return do, ErrNotKept
	}
	found := false
	err = d.o.Book.Replay(0, func(seq uint64, b []byte) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		_, m, err := readBook(b)
		if err != nil {
			return fmt.Errorf("receipt book, record %d: %w", seq, err)
		}
		if m == nil || found {
			return nil
		}
		for i := range m.Tasks {
			if t := &m.Tasks[i]; t.Lease == lease {
				do, found = m.Stages[t.Stage], true
				do.Task, do.Index, do.Inputs, do.Keys = t.Task, t.Index, t.Inputs, t.Keys
			}
		}
		return nil
	})
	if err == nil && !found {
		err = ErrNotKept
	}
	return do, err
}
