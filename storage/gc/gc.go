// Package gc deletes the blocks that no pinned DAG reaches. It never holds all keys in memory: what it marks is sorted
// in a buffer of fixed size and spilled to files, and compared with the store's own sorted listing in one pass.
//
// A block that is put while a collection runs is never deleted, nor one put shortly before whose DAG is not pinned yet:
// the store keeps marks. Options.Before says what is young: a mark taken before the oldest import that is still under
// way began, or, for whoever collects at long intervals, the mark that the run before returned, so that a DAG has one
// whole interval to be pinned in.
package gc

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"time"

	"kith/storage"
	"kith/storage/dag"
)

// Store is what Run needs of a store of blocks; those of badgerstore and memstore have it.
type Store interface {
	dag.Getter
	Size(ctx context.Context, c dag.CID) (int, error)
	// All yields every CID once, in byte order.
	All(ctx context.Context) iter.Seq2[dag.CID, error]
	// Mark returns a mark that stands between the puts before and those after the call. Marks grow.
	Mark() uint64
	// DeleteBefore deletes those of the blocks that were not put, or put again, since the mark.
	DeleteBefore(ctx context.Context, mark uint64, cids []dag.CID) (blocks int, bytes int64, err error)
}

// Options of a run. The zero value is good for a store that nobody writes to.
type Options struct {
	// Before is a mark: blocks put after it stay. 0: a mark taken when the run begins.
	Before uint64
	// Memory bounds what the run holds, in bytes; default 16 MiB, at least 64 KiB.
	Memory int
	// Dir is where files are spilled to; default the system's folder for temporary files. They are gone afterwards.
	Dir string
	// DryRun reports and deletes nothing.
	DryRun bool
	// Incomplete lets the run delete although blocks of pinned DAGs are missing or damaged, so that it is unknown what
	// they reach.
	Incomplete bool
	// Progress is called now and then with the blocks marked and compared so far.
	Progress func(marked, compared int64)
}

// Report tells what a run did, or would do.
type Report struct {
	Kept       int64 // blocks that pins reach
	Young      int64 // unreached, but put after Options.Before
	Freed      int64 // blocks deleted; in a dry run blocks that would be, the young ones included
	FreedBytes int64
	// Missing counts the blocks that pinned DAGs need and the store does not have, or whose links it cannot read;
	// Examples names the first 20.
	Missing  int64
	Examples []dag.CID
	// Mark was taken when the run began: pass it as Options.Before to the next one.
	Mark     uint64
	Duration time.Duration
}

// ErrIncomplete: pinned DAGs have missing or damaged blocks, so nothing was deleted. Fetch or unpin them, or set
// Options.Incomplete.
var ErrIncomplete = errors.New("pinned data is incomplete: nothing deleted")

const (
	defaultMemory = 16 << 20
	minMemory     = 64 << 10
	sweepBatch    = 1000
	maxExamples   = 20
	maxDepth      = 256 // levels of a pinned DAG; package dag reads none deeper than 64
)

// Run marks everything that roots reach and deletes the rest. roots is gone through once; its error ends the run.
func Run(ctx context.Context, s Store, roots iter.Seq2[dag.CID, error], o Options) (Report, error) {
	begin := time.Now()
	if o.Memory == 0 {
		o.Memory = defaultMemory
	}
	if o.Progress == nil {
		o.Progress = func(int64, int64) {}
	}
	r := &run{store: s, o: o, spill: spill{dir: o.Dir, limit: max(o.Memory, minMemory) / dag.Size / 2, files: map[*os.File]bool{}}}
	defer r.spill.close()
	r.report.Mark = s.Mark()
	if r.o.Before == 0 {
		r.o.Before = r.report.Mark
	}
	err := r.mark(ctx, roots)
	if err == nil && r.report.Missing > 0 && !o.Incomplete && !o.DryRun {
		err = fmt.Errorf("%w: %d blocks, the first %s", ErrIncomplete, r.report.Missing, r.report.Examples[0])
	}
	if err == nil {
		err = r.sweep(ctx)
	}
	r.report.Duration = time.Since(begin)
	if err != nil {
		err = fmt.Errorf("garbage collection: %w", err)
	}
	return r.report, err
}

type run struct {
	store  Store
	o      Options
	report Report
	spill  spill
	levels []sorted // what is marked: disjoint sets, one for each distance from the roots
}

// mark goes outwards from the roots, one distance at a time: the links of all nodes of one distance, sorted, less what
// is marked already, are the next.
func (r *run) mark(ctx context.Context, roots iter.Seq2[dag.CID, error]) error {
	next := r.spill.sorter()
	for c, err := range roots {
		if err != nil {
			return err
		}
		if err := next.add(c); err != nil {
			return err
		}
	}
	for {
		found, err := next.finish()
		if err != nil {
			return err
		}
		fresh, err := r.spill.subtract(found, r.levels)
		if err != nil {
			return err
		}
		if fresh.count == 0 {
			return nil
		}
		if len(r.levels) == maxDepth {
			return fmt.Errorf("%w: a pinned DAG is over %d levels deep", dag.ErrMalformed, maxDepth)
		}
		r.levels = append(r.levels, fresh)
		r.report.Kept += fresh.count
		r.o.Progress(r.report.Kept, 0)
		if next, err = r.links(ctx, fresh); err != nil {
			return err
		}
	}
}

// links sorts what the nodes of a set link to.
func (r *run) links(ctx context.Context, nodes sorted) (*sorter, error) {
	next := r.spill.sorter()
	for c, err := range nodes.all() {
		if err != nil {
			return nil, err
		}
		if c.Codec() == dag.Raw {
			continue
		}
		if err := context.Cause(ctx); err != nil {
			return nil, err
		}
		data, err := r.store.Get(ctx, c)
		var links []dag.CID
		if err == nil {
			links, err = dag.Links(c, data)
		}
		switch {
		case err == nil:
		case errors.Is(err, storage.ErrNotFound), errors.Is(err, storage.ErrCorrupt):
			r.missing(c)
		case errors.Is(err, dag.ErrEncoding): // reaches nothing that Kith could follow
		default:
			return nil, err
		}
		for _, l := range links {
			if err := next.add(l); err != nil {
				return nil, err
			}
		}
	}
	return next, nil
}

func (r *run) missing(c dag.CID) {
	r.report.Missing++
	if len(r.report.Examples) < maxExamples {
		r.report.Examples = append(r.report.Examples, c)
	}
}

// sweep goes through the store's keys and the marks side by side.
func (r *run) sweep(ctx context.Context) error {
	next, stop := iter.Pull2(union(r.levels))
	defer stop()
	m, err, more := next()
	// pass goes on to the first mark that is not before c; those it passes by are not in the store.
	pass := func(c dag.CID) error {
		for more && err == nil && less(m, c) {
			if m.Codec() == dag.Raw { // nodes were counted when they could not be read
				r.missing(m)
			}
			m, err, more = next()
		}
		return err
	}
	var batch []dag.CID
	var compared, reached int64
	for c, failed := range r.store.All(ctx) {
		if failed != nil {
			return failed
		}
		if err := pass(c); err != nil {
			return err
		}
		if more && m == c {
			reached++
			m, err, more = next()
		} else if batch = append(batch, c); len(batch) == sweepBatch {
			if err := r.delete(ctx, batch); err != nil {
				return err
			}
			batch = batch[:0]
		}
		if compared++; compared%100_000 == 0 {
			r.o.Progress(r.report.Kept, compared)
		}
	}
	if err := pass(last); err != nil {
		return err
	}
	r.report.Kept = reached
	return r.delete(ctx, batch)
}

// last is after every CID.
var last = dag.CID{0xff}

func (r *run) delete(ctx context.Context, batch []dag.CID) error {
	if len(batch) == 0 {
		return nil
	}
	if !r.o.DryRun {
		n, bytes, err := r.store.DeleteBefore(ctx, r.o.Before, batch)
		r.report.Freed += int64(n)
		r.report.FreedBytes += bytes
		r.report.Young += int64(len(batch) - n)
		return err
	}
	for _, c := range batch {
		size, err := r.store.Size(ctx, c)
		if errors.Is(err, storage.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		r.report.Freed++
		r.report.FreedBytes += int64(size)
	}
	return nil
}
