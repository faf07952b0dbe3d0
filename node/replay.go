package node

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"time"

	"kith/node/api"
	"kith/storage"
	"kith/storage/dag"
	"kith/tasks"
	"kith/tasks/work"
)

// replayFetch bounds how long inputs that are not here any more are looked for.
const replayFetch = 30 * time.Second

// Replay implements api.Records: it does the task of a receipt again, in this node's own sandbox, and compares.
func (n *Node) Replay(ctx context.Context, prefix string) (api.Replay, error) {
	l := n.live.Load()
	line, err := n.workedFor(ctx, prefix)
	if err != nil {
		return api.Replay{}, err
	}
	out := api.Replay{Receipt: line, Claimed: line.Root}
	do, err := l.works.driver.Made(ctx, line.Lease)
	if errors.Is(err, work.ErrNotKept) {
		return out, api.Refuse(api.CodeNotFound, "replay a newer one", "this node does not know any more how the result of receipt %s was made", line.Lease.Short())
	}
	if err != nil {
		return out, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	release, refused := n.owner.Admit(do, func(r tasks.Reason) { cancel(r) })
	if refused != nil {
		return out, *refused
	}
	if release != nil {
		defer release()
	}
	for _, root := range do.Inputs {
		if held, err := holds(ctx, l.stores.blobs, root); err != nil || held {
			if err != nil {
				return out, err
			}
			continue
		}
		fetch, cancel := context.WithTimeout(ctx, replayFetch)
		err := l.network.FetchInput(fetch, work.Input{Submitter: line.Submitter, Lease: line.Lease, Root: root, Public: do.Public}, func([]dag.CID) {})
		cancel()
		if err != nil {
			return out, api.Refuse(api.CodeNotFound, "ask the submitter for its input", "the input of receipt %s is not here any more, and nobody serves it: %v", line.Lease.Short(), err)
		}
		out.Fetched = true
	}
	_, _ = rand.Read(do.Job[:]) // a runner of its own, which ends with it
	defer l.runners.executor.Release(do.Job)
	result, err := l.runners.executor.Run(ctx, do, nil)
	if err != nil {
		return out, err
	}
	out.Root, out.Same = result.Root, result.Root == line.Root
	out.WallMillis, out.CPUMillis = result.WallMillis, result.CPUMillis
	return out, nil
}

// workedFor finds the accepted receipt of this node's own work whose id begins with prefix.
func (n *Node) workedFor(ctx context.Context, prefix string) (tasks.Receipt, error) {
	var hits []tasks.Receipt
	err := n.live.Load().works.driver.Receipts(ctx, tasks.NodeID{}, func(r *work.Receipts) {
		for _, line := range r.Batch.Receipts {
			if strings.HasPrefix(line.Lease.String(), prefix) && len(hits) < 2 {
				hits = append(hits, line)
			}
		}
	})
	switch {
	case err != nil:
		return tasks.Receipt{}, err
	case len(prefix) < minPrefix || len(hits) == 0:
		return tasks.Receipt{}, api.Refuse(api.CodeNotFound, "kith receipts lists them; only work of this node can be replayed here", "%.60q is no receipt of work this node did", prefix)
	case len(hits) > 1 && hits[0].Lease != hits[1].Lease:
		return tasks.Receipt{}, api.Refuse(api.CodeBadRequest, "give more letters", "several receipts begin with %.60q", prefix)
	case hits[0].Outcome != tasks.Accepted:
		return tasks.Receipt{}, api.Refuse(api.CodeConflict, "replay one that was accepted", "the result of receipt %s was not accepted (%s): there is nothing to compare with", hits[0].Lease.Short(), hits[0].Outcome)
	}
	return hits[0], nil
}

// holds reports whether every block below root is in the store.
func holds(ctx context.Context, blobs storage.Blobs, root dag.CID) (bool, error) {
	whole := true
	err := dag.Reach(ctx, blobs, root, func(c dag.CID) (bool, error) {
		has, err := blobs.Has(ctx, c)
		whole = whole && has
		return whole, err
	})
	if errors.Is(err, storage.ErrNotFound) {
		return false, nil
	}
	return whole, err
}
