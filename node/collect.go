package node

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"kith/storage/dag"
	"kith/storage/gc"
	"kith/storage/quota"
	"kith/tasks/submit"
)

// Pace of the collector.
const (
	collectLook  = time.Minute      // between two looks at whether it is time
	collectEvery = time.Hour        // between two collections
	collectTight = 10 * time.Minute // the same while the quota is nearly used up
	tightPercent = 90
)

// markKey is where the store keeps the mark of the last collection: what was put after it stays until the one after
// next, so that every import has a whole interval to become a job.
var markKey = []byte("gc/mark")

// collect deletes now and then, until ctx ends, the blocks that no job needs any more.
func (n *Node) collect(ctx context.Context) error {
	last := time.Now()
	tick := time.NewTicker(collectLook)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		wait := collectEvery
		if used, quota := n.meters.read().DiskUsedBytes, int64(n.settings.Get().Storage.Quota); used > quota/100*tightPercent {
			wait = collectTight
		}
		if time.Since(last) < wait {
			continue
		}
		if _, err := n.Collect(ctx); err != nil && ctx.Err() == nil {
			n.log.Warn("Unneeded blocks were not collected", slog.Any("error", err))
		}
		last = time.Now()
	}
}

// Collect deletes the blocks that no job needs any more, except those that came since the collection before.
func (n *Node) Collect(ctx context.Context) (gc.Report, error) {
	return n.collectWith(ctx, gc.Options{}, n.settings.Get().Storage.KeepResults)
}

// collectWith is Collect with results kept for so many days, or with a report of what would go alone.
func (n *Node) collectWith(ctx context.Context, o gc.Options, keepDays int) (gc.Report, error) {
	l := n.live.Load()
	if l == nil {
		return gc.Report{}, errNotOpen
	}
	// No mark yet: everything there now may be an import under way, so this run only sets one.
	before := uint64(1)
	if b, err := l.stores.kv.Get(ctx, markKey); err == nil {
		if m, err := strconv.ParseUint(string(b), 10, 64); err == nil {
			before = m
		}
	}
	if before = min(before, l.submits.oldestImport()); n.idle {
		before = 0 // nothing can be under way
	}
	o.Before, o.Dir = before, filepath.Join(n.o.Home, scratchDir)
	r, err := gc.Run(ctx, l.stores.blobs, n.pins(ctx, l, keepDays), o)
	if err != nil || o.DryRun {
		return r, err
	}
	if err := l.stores.kv.Set(ctx, markKey, []byte(strconv.FormatUint(r.Mark, 10))); err != nil {
		return r, err
	}
	n.log.Info("Unneeded blocks were collected", slog.Int64("freed", r.Freed), slog.Int64("bytes", r.FreedBytes), slog.Int64("kept", r.Kept),
		slog.Int64("young", r.Young), slog.Duration("took", r.Duration))
	if r.Freed > 0 {
		err = l.stores.badger.Compact(ctx)
	}
	return r, err
}

var errNotOpen = errors.New("the node is not open yet")

// pins yields every root that must stay: what the two sides of the work name, but for results that are too old.
func (n *Node) pins(ctx context.Context, l *live, keepDays int) iter.Seq2[dag.CID, error] {
	return func(yield func(dag.CID, error) bool) {
		expired, err := l.submits.expired(ctx, keepDays)
		if err != nil {
			yield(dag.CID{}, err)
			return
		}
		stop := errors.New("no more")
		visit := func(c dag.CID) error {
			if expired[c] > 0 { // pinned once for each job it is the result of
				expired[c]--
				return nil
			}
			if c.Defined() && !yield(c, nil) {
				return stop
			}
			return nil
		}
		err = l.submits.driver.Pins(ctx, visit)
		if err == nil {
			err = l.works.driver.Pins(ctx, visit)
		}
		if err == nil {
			err = l.depot.Pins(visit)
		}
		if err != nil && !errors.Is(err, stop) {
			yield(dag.CID{}, err)
		}
	}
}

// expired counts, by root, what jobs pin that have ended: their specs, through which their inputs hang, and their results
// once they are older than the owner keeps them, or more than storage.results allows. The log keeps the words of a spec.
func (s *submitting) expired(ctx context.Context, keepDays int) (map[dag.CID]int, error) {
	list, err := s.driver.Jobs(ctx)
	if err != nil {
		return nil, err
	}
	keep := time.Duration(keepDays) * 24 * time.Hour
	tooMuch := map[string]bool{}
	for _, it := range quota.Drop(s.results(list), int64(s.node.settings.Get().Storage.Results)) {
		tooMuch[it.Name] = true
	}
	out := map[dag.CID]int{}
	for i := range list {
		st := &list[i]
		if !st.Phase.Over() {
			continue
		}
		out[st.SpecRoot]++
		if st.Result.Defined() && (tooMuch[st.ID.String()] || time.Since(time.UnixMilli(s.factsOf(st).Finished)) > keep) {
			out[st.Result]++
		}
	}
	return out, nil
}

// results lists the results of finished jobs by job; of one that is gone already the size is 0.
func (s *submitting) results(list []submit.Status) (out []quota.Item) {
	for i := range list {
		st := &list[i]
		if !st.Phase.Over() || !st.Result.Defined() {
			continue
		}
		f := s.factsOf(st)
		it := quota.Item{Name: st.ID.String(), At: time.UnixMilli(f.Finished)}
		if ok, err := s.stores.blobs.Has(context.Background(), st.Result); err == nil && ok {
			it.Bytes = f.ResultBytes
		}
		out = append(out, it)
	}
	return out
}

// resultItems lists the results that are still there.
func (s *submitting) resultItems(ctx context.Context) ([]quota.Item, error) {
	list, err := s.driver.Jobs(ctx)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(s.results(list), func(it quota.Item) bool { return it.Bytes == 0 }), nil
}
