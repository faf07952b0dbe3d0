// Package artifact passes whole DAGs from one node to another by right of a token or a lease, where blocks cannot be
// asked for one by one: the fetch-artifact protocol, served by submitters and depots, and the deposit protocol, by which
// a depot comes to hold something. A depot is a reachable node whose owner agreed to hold the blocks of others for some
// hours. It cannot read what is sealed, serves it only to who shows a token of the depositor, and lets go of it in time.
package artifact

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"kith/storage"
	"kith/storage/dag"
	"kith/tasks"
	"kith/tasks/wire"
)

// Stream is one conversation with an authenticated peer.
type Stream interface {
	io.ReadWriter
	SetDeadline(time.Time) error
	Remote() tasks.NodeID
}

// Bounds of one conversation.
const (
	talkTime   = 10 * time.Second  // for one message
	blockTime  = 150 * time.Second // for one block, either way: 1 MiB at 8 KiB/s and some waiting
	lastWord   = time.Second       // for the reason of a depot that takes no more
	batchBytes = 4 << 20           // blocks are stored about so many bytes at a time
	maxBlocks  = 1 << 20           // blocks of one DAG
)

// ErrIncomplete: the peer ended before everything was there. What came is in the store, and need not come again.
var ErrIncomplete = errors.New("the peer did not send the whole DAG")

// refusal is what a peer is told about an error of its own.
func refusal(err error) *tasks.Reason {
	var we *wire.Error
	var r tasks.Reason
	switch {
	case errors.As(err, &r):
	case errors.Is(err, wire.ErrExpired):
		r = tasks.Reason{Code: tasks.TokenExpired}
	case errors.Is(err, wire.ErrVersion), errors.Is(err, wire.ErrNetwork), errors.Is(err, wire.ErrTime), errors.Is(err, wire.ErrEncoding):
		errors.As(err, &we)
		r = we.Reason()
	case errors.As(err, &we):
		r = tasks.Reason{Code: tasks.NoRight, Detail: we.Reason().Detail}
	case errors.Is(err, storage.ErrFull):
		r = tasks.Reason{Code: tasks.DiskFull}
	default:
		r = tasks.Reason{Code: tasks.BadMessage}
	}
	return &r
}

// send writes the blocks below root depth first, each once, then the end. skip names blocks that are not sent; below
// says whether what is below them is not sent either.
func send(ctx context.Context, s Stream, blobs dag.Getter, root dag.CID, skip []dag.CID, below bool) error {
	seen, left := map[dag.CID]struct{}{}, map[dag.CID]struct{}{}
	for _, c := range skip {
		left[c] = struct{}{}
	}
	err := dag.Walk(ctx, blobs, root, func(c dag.CID, data []byte) (bool, error) {
		if _, twice := seen[c]; twice {
			return false, nil
		}
		seen[c] = struct{}{}
		if _, there := left[c]; there {
			return !below, nil
		}
		if err := s.SetDeadline(time.Now().Add(blockTime)); err != nil {
			return false, err
		}
		return true, wire.WriteBlock(s, c, data)
	})
	if err == nil {
		err = wire.EndBlocks(s)
	}
	return err
}

// receiver takes the blocks of one DAG in the order in which send writes them. It stores nothing that does not belong to
// the DAG.
type receiver struct {
	blobs   storage.Blobs
	most    int64 // bytes of all blocks, at most
	arrived func([]dag.CID)

	want  map[dag.CID]bool // blocks of the DAG, and whether each is here
	need  int              // of them, those that are not
	bytes int64
	batch []storage.Block
	size  int
}

func newReceiver(blobs storage.Blobs, root dag.CID, most int64, arrived func([]dag.CID)) *receiver {
	return &receiver{blobs: blobs, most: most, arrived: arrived, want: map[dag.CID]bool{root: false}, need: 1}
}

// skip notes that a block will not come because it is here, alone or with all that is below it.
func (r *receiver) skip(c dag.CID, links []dag.CID, size int) error {
	if here, known := r.want[c]; !known || !here {
		if !known {
			r.need++
		}
		r.want[c] = true
		r.need--
	}
	r.bytes += int64(size)
	return r.expect(links)
}

func (r *receiver) expect(links []dag.CID) error {
	for _, l := range links {
		if _, known := r.want[l]; !known {
			if len(r.want) >= maxBlocks {
				return fmt.Errorf("%w: more than %d blocks", storage.ErrFull, maxBlocks)
			}
			r.want[l] = false
			r.need++
		}
	}
	return nil
}

// run reads until the end of the blocks.
func (r *receiver) run(ctx context.Context, s Stream) error {
	for {
		if err := s.SetDeadline(time.Now().Add(blockTime)); err != nil {
			return err
		}
		c, data, err := wire.ReadBlock(s)
		if errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			break
		}
		if err == nil {
			err = r.take(c, data)
		}
		if err == nil && r.size >= batchBytes {
			err = r.flush(ctx)
		}
		if err != nil {
			return errors.Join(err, r.flush(context.WithoutCancel(ctx))) // the rest need not come again
		}
	}
	if err := r.flush(ctx); err != nil {
		return err
	}
	if r.need > 0 {
		return fmt.Errorf("%w: %d blocks are missing", ErrIncomplete, r.need)
	}
	return nil
}

func (r *receiver) take(c dag.CID, data []byte) error {
	if here, known := r.want[c]; !known || here {
		return tasks.Because(tasks.BadMessage, "block %s was not to be sent", c)
	}
	if r.bytes += int64(len(data)); r.most > 0 && r.bytes > r.most {
		return fmt.Errorf("%w: more than the allowed %d bytes", storage.ErrFull, r.most)
	}
	links, err := dag.Links(c, data)
	if err != nil {
		return tasks.Because(tasks.BadMessage, "%v", err)
	}
	r.want[c] = true
	r.need--
	r.batch, r.size = append(r.batch, storage.Block{CID: c, Data: data}), r.size+len(data)
	return r.expect(links)
}

func (r *receiver) flush(ctx context.Context) error {
	if len(r.batch) == 0 {
		return nil
	}
	if err := r.blobs.PutMany(ctx, r.batch); err != nil {
		return err
	}
	if r.arrived != nil {
		list := make([]dag.CID, len(r.batch))
		for i := range r.batch {
			list[i] = r.batch[i].CID
		}
		r.arrived(list)
	}
	r.batch, r.size = nil, 0
	return nil
}

// write sends one message.
func write(s Stream, m wire.Single) error {
	if err := s.SetDeadline(time.Now().Add(talkTime)); err != nil {
		return err
	}
	return wire.WriteSingle(s, m, time.Now().UnixMilli())
}

// read hears one message.
func read(s Stream, m wire.Single) error {
	if err := s.SetDeadline(time.Now().Add(talkTime)); err != nil {
		return err
	}
	return wire.ReadSingle(s, m, time.Now().UnixMilli())
}
