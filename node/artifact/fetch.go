package artifact

import (
	"context"
	"errors"
	"fmt"
	"time"

	"kith/storage"
	"kith/storage/dag"
	"kith/tasks"
	"kith/tasks/wire"
)

// Server answers fetch requests: of what this node has granted itself, and of what lies in its depot.
type Server struct {
	Network string
	Self    tasks.NodeID
	Blobs   storage.Blobs
	// May reports whether a peer may have a block without a token: it holds a lease of it, or it is public.
	May func(peer tasks.NodeID, c dag.CID) bool
	// Depot may be nil.
	Depot *Depot
}

// HandleFetch serves one request. The error says why it was refused or broken off; the peer has been told.
func (v *Server) HandleFetch(ctx context.Context, s Stream) error {
	var req wire.FetchRequest
	err := read(s, &req)
	if err == nil && req.Network != v.Network {
		err = tasks.Because(tasks.WrongNetwork, "%.64q, this is %.64q", req.Network, v.Network)
	}
	if err == nil {
		err = v.right(s.Remote(), &req)
	}
	if err == nil {
		err = complete(ctx, v.Blobs, req.Root)
	}
	if err != nil {
		_ = write(s, &wire.FetchReply{Version: wire.Version, Reason: refusal(err)})
		return fmt.Errorf("fetch: %w", err)
	}
	if err := write(s, &wire.FetchReply{Version: wire.Version}); err != nil {
		return fmt.Errorf("fetch: %w", err)
	}
	if err := send(ctx, s, v.Blobs, req.Root, req.Have, true); err != nil {
		return fmt.Errorf("fetch of %s: %w", req.Root, err)
	}
	return nil
}

// right says why a peer may not have what it asks for, or nil.
func (v *Server) right(peer tasks.NodeID, req *wire.FetchRequest) error {
	if len(req.Token) == 0 {
		if v.May != nil && v.May(peer, req.Root) {
			return nil
		}
		return tasks.Because(tasks.NoRight, "neither a token nor a lease")
	}
	token, err := wire.OpenFetchToken(v.Network, time.Now().UnixMilli(), peer, req.Root, req.Token)
	switch {
	case err != nil:
		return err
	case token.Lease != req.Lease:
		return tasks.Because(tasks.NoRight, "token for another lease")
	case token.By == v.Self:
		return nil
	case v.Depot == nil:
		return tasks.Because(tasks.NoRight, "token of another node")
	default:
		return v.Depot.lies(token.By, req.Root)
	}
}

// complete reports that a DAG is not all here, before anything of it is promised.
func complete(ctx context.Context, blobs storage.Blobs, root dag.CID) error {
	err := dag.Reach(ctx, blobs, root, func(c dag.CID) (bool, error) {
		ok, err := blobs.Has(ctx, c)
		if err == nil && !ok {
			err = storage.ErrNotFound
		}
		return true, err
	})
	if errors.Is(err, storage.ErrNotFound) {
		return tasks.Because(tasks.NotHere, "")
	}
	return err
}

// Want is a DAG to fetch.
type Want struct {
	Network string
	Root    dag.CID
	Lease   tasks.LeaseID
	Token   []byte
	Most    int64           // bytes of its blocks together, at most; 0: no limit
	Arrived func([]dag.CID) // told of what came, if not nil
}

// Fetch asks the other end of a stream for a DAG and stores it. What is here already does not travel again. A refusal is
// a tasks.Reason; ErrIncomplete and broken streams may be tried again.
func Fetch(ctx context.Context, s Stream, blobs storage.Blobs, w Want) error {
	stop := context.AfterFunc(ctx, func() { _ = s.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	r := newReceiver(blobs, w.Root, w.Most, w.Arrived)
	have, err := whole(ctx, blobs, w.Root)
	if err != nil {
		return err
	}
	if len(have) == 1 && have[0] == w.Root {
		return nil
	}
	for _, c := range have {
		if err := r.skip(c, nil, 0); err != nil {
			return err
		}
	}
	req := wire.FetchRequest{Version: wire.Version, Network: w.Network, Root: w.Root, Lease: w.Lease, Token: w.Token, Have: have}
	if err := write(s, &req); err != nil {
		return ended(ctx, err)
	}
	var reply wire.FetchReply
	if err := read(s, &reply); err != nil {
		return ended(ctx, err)
	}
	if reply.Reason != nil {
		return *reply.Reason
	}
	if err := r.run(ctx, s); err != nil {
		return ended(ctx, fmt.Errorf("fetch %s: %w", w.Root, err))
	}
	return nil
}

// ended prefers the reason why ctx ended.
func ended(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// whole lists the largest parts of a DAG that are here with all that is below them, as many as a request may name.
func whole(ctx context.Context, blobs storage.Blobs, root dag.CID) ([]dag.CID, error) {
	var list []dag.CID
	known := map[dag.CID]bool{}
	var look func(c dag.CID, depth int) (bool, error)
	look = func(c dag.CID, depth int) (bool, error) {
		if all, ok := known[c]; ok {
			return all, nil
		}
		if depth > 64 || len(known) >= maxBlocks {
			return false, nil
		}
		known[c] = false
		var links []dag.CID
		err := blobs.View(ctx, c, func(data []byte) (err error) {
			links, err = dag.Links(c, data)
			return err
		})
		if errors.Is(err, storage.ErrNotFound) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		all := true
		before := len(list)
		var here []dag.CID
		for _, l := range links {
			ok, err := look(l, depth+1)
			if err != nil {
				return false, err
			}
			if ok {
				here = append(here, l)
			}
			all = all && ok
		}
		if known[c] = all; all {
			list = list[:before] // this one stands for them
			return true, nil
		}
		list = append(list, here...)
		return false, nil
	}
	all, err := look(root, 0)
	if all {
		return []dag.CID{root}, err
	}
	return list[:min(len(list), wire.MaxHave)], err
}

// size adds up the blocks below root, each once.
func size(ctx context.Context, blobs storage.Blobs, root dag.CID) (int64, error) {
	var sum int64
	err := dag.Reach(ctx, blobs, root, func(c dag.CID) (bool, error) {
		n, err := blobs.Size(ctx, c)
		sum += int64(n)
		return true, err
	})
	return sum, err
}
