package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"kith/node/api"
	"kith/node/artifact"
	"kith/node/config"
	"kith/node/drives"
	"kith/node/health"
	"kith/node/identity"
	"kith/node/lock"
	"kith/storage/dag"
	"kith/storage/quota"
	"kith/tasks"
	"kith/tasks/kinds"
	"kith/tasks/submit"
	"kith/tasks/work"
)

// idleReserve is how much of the disk must be free to delete blocks without a node: less than a node needs to start, and as
// much as the store may write anew before it gives the space of what was deleted back.
const idleReserve = 96 << 20

// FreeOffline deletes from a data folder in which no node runs what a running one would delete of these kinds, and what a
// start would wipe: when the disk is full, a node may not start any more. It begins with what needs no room itself. The
// folder is locked meanwhile; lock.ErrTaken: a node runs. What was freed before an error is told with it.
func FreeOffline(ctx context.Context, home string, list []quota.Kind, log *slog.Logger) (out api.Freed, err error) {
	if _, err := os.Stat(home); err != nil {
		return out, fmt.Errorf("the data folder: %w", err)
	}
	held, err := lock.Take(home)
	if err != nil {
		return out, err
	}
	n := &Node{o: Options{Home: home, Logger: log}, log: log, kinds: kinds.All(), closing: closing{log: log}, meters: newMeters(home), idle: true}
	n.closing.add("lock", held.Close)
	defer func() { err = errors.Join(err, n.closing.run()) }()

	out.Before = n.meters.walk()
	if out.Kinds, err = wipeScratch(home); err != nil {
		return out, err
	}
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(a, b quota.Kind) int { return cmp.Compare(needsRoom(a), needsRoom(b)) })
	for _, k := range list {
		if needsRoom(k) > 0 && n.live.Load() == nil {
			stop, err := n.openIdle(ctx)
			if err != nil {
				return out, fmt.Errorf("%s cannot be freed without a node: %w", k, err)
			}
			defer stop()
		}
		f, err := n.FreeSpace(ctx, []quota.Kind{k})
		out.Kinds = append(out.Kinds, f.Kinds...)
		if err != nil {
			return out, fmt.Errorf("free %s: %w", k, err)
		}
	}
	out.After = n.meters.walk()
	return out, nil
}

// needsRoom orders kinds: what lies in the store takes some space to be deleted.
func needsRoom(k quota.Kind) int {
	if k == quota.Logs {
		return 0
	}
	return 1
}

// wipeScratch deletes the files of tasks that ended with the node.
func wipeScratch(home string) ([]api.KindFreed, error) {
	out := []api.KindFreed{}
	dir := filepath.Join(home, scratchDir)
	list, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(list) == 0 {
		return out, nil
	}
	if err != nil {
		return out, fmt.Errorf("list the scratch folder: %w", err)
	}
	f := api.KindFreed{Kind: quota.Scratch, Bytes: usedByKind(home)[quota.Scratch], Things: len(list)}
	for _, e := range list {
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return out, fmt.Errorf("wipe the scratch folder: %w", err)
		}
	}
	return append(out, f), nil
}

// openIdle opens the stores, and both sides of the work for what their logs pin. stop ends those.
func (n *Node) openIdle(ctx context.Context) (stop func(), err error) {
	home := n.o.Home
	if n.settings, err = config.Open(home); err != nil {
		return nil, err
	}
	cfg, err := n.config()
	if err != nil {
		return nil, err
	}
	if n.self, _, err = identity.Open(home); err != nil {
		return nil, err
	}
	n.health = health.NewTracker(n.log)
	if n.drives, err = drives.Open(home, drives.Options{Logger: n.log}); err != nil {
		return nil, err
	}
	n.closing.add("drives", n.drives.Close)
	l := &live{cfg: cfg}
	if l.stores, err = n.openStores(); err != nil {
		return nil, err
	}
	l.depot, err = artifact.NewDepot(ctx, artifact.DepotOptions{
		Network: cfg.Network, Self: n.self.Node(), Blobs: l.stores.blobs, KV: l.stores.kv, Quota: func() int64 { return 0 }, Logger: n.log,
	})
	if err != nil {
		return nil, fmt.Errorf("open the depot: %w", err)
	}
	l.submits = &submitting{
		node: n, stores: l.stores, self: n.self.Node(), facts: map[tasks.JobID]facts{}, imports: map[*api.Import]uint64{},
		driver: submit.New(submit.Options{Network: cfg.Network, Key: n.self.Key(), Kinds: n.kinds, Blobs: l.stores.blobs, Log: l.stores.jobs, Book: l.stores.book, Logger: n.log}),
	}
	l.works = &working{node: n, live: l, network: cfg.Network, driver: work.New(work.Options{
		Network: cfg.Network, Key: n.self.Key(), Kinds: n.kinds, Blobs: l.stores.blobs, Log: l.stores.work, Book: l.stores.earned, Logger: n.log,
	})}
	ctx, cancel := context.WithCancel(ctx)
	var both sync.WaitGroup
	var said [2]error
	both.Go(func() { said[0] = l.submits.driver.Recall(ctx) })
	both.Go(func() { said[1] = l.works.driver.Recall(ctx) })
	stop = func() { cancel(); both.Wait() }
	// A log that cannot be read pins nothing it names: nothing may be deleted then.
	nothing := func(dag.CID) error { return nil }
	if err := errors.Join(l.submits.driver.Pins(ctx, nothing), l.works.driver.Pins(ctx, nothing)); err != nil {
		stop()
		for _, err := range said {
			if !errors.Is(err, context.Canceled) {
				return nil, err
			}
		}
		return nil, err
	}
	n.live.Store(l)
	return stop, nil
}
