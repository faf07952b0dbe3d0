package exchange

import (
	"context"
	"errors"
	"fmt"

	"github.com/ipfs/boxo/bitswap"
	"github.com/ipfs/boxo/bitswap/client"
	bsnetwork "github.com/ipfs/boxo/bitswap/network"
	"github.com/ipfs/boxo/bitswap/network/bsnet"
	bsexchange "github.com/ipfs/boxo/exchange"
	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"kith/p2p/internal/lp"
	"kith/storage"
	"kith/storage/dag"
)

// bitswapVersion is the only one Kith speaks: it knows HAVE and DONT_HAVE.
const bitswapVersion = protocol.ID("/ipfs/bitswap/1.2.0")

// swap is Bitswap over the store.
type swap struct {
	x      *Exchange
	net    bsnetwork.BitSwapNetwork
	bs     *bitswap.Bitswap
	cancel context.CancelFunc
}

func newSwap(x *Exchange) *swap {
	ctx, cancel := context.WithCancel(context.Background())
	net := bsnet.NewFromIpfsHost(x.h.Libp2p(),
		bsnet.Prefix(protocol.ID("/kith/"+x.h.Network())), bsnet.SupportedProtocols([]protocol.ID{bitswapVersion}))
	return &swap{x: x, net: net, cancel: cancel, bs: bitswap.New(ctx, net, nil, blockstore{x.blobs, x.o.Out},
		bitswap.WithPeerBlockRequestFilter(func(p peer.ID, c cid.Cid) bool {
			id, err := lp.ID(p)
			if err != nil {
				return false
			}
			k, err := dag.CIDFromBytes(c.Bytes())
			return err == nil && x.mayServe(id, k)
		}),
		bitswap.EngineBlockstoreWorkerCount(bitswapReaders),
		bitswap.EngineTaskWorkerCount(bitswapSenders),
		bitswap.TaskWorkerCount(bitswapSenders),
		bitswap.MaxOutstandingBytesPerPeer(bitswapInFlight),
		bitswap.MaxQueuedWantlistEntriesPerPeer(bitswapQueued),
		bitswap.MaxCidSize(dag.Size),
		bitswap.WithTargetMessageSize(bitswapMsgTarget),
		bitswap.WithClientOption(client.WithDefaultProviderQueryManager(false)),
		bitswap.WithClientOption(client.WithoutDuplicatedBlockStats()),
	)}
}

func (s *swap) close() {
	_ = s.bs.Close()
	s.net.Stop()
	s.cancel()
}

// swapSession is one fetch's use of Bitswap: it learns who has what.
type swapSession struct {
	x *Exchange
	f bsexchange.Fetcher
}

// session returns a session that ends with ctx.
func (s *swap) session(ctx context.Context) *swapSession {
	return &swapSession{x: s.x, f: s.bs.NewSession(ctx)}
}

// get asks connected peers for one block and answers once: with the block, or with an error when ctx ends.
func (s *swapSession) get(ctx context.Context, c dag.CID, answers chan<- answer) {
	a := answer{cid: c}
	a.data, a.err = s.block(ctx, c)
	select {
	case answers <- a:
	case <-ctx.Done():
	}
}

func (s *swapSession) block(ctx context.Context, c dag.CID) ([]byte, error) {
	k, err := cid.Cast(c[:])
	if err != nil {
		return nil, err
	}
	b, err := s.f.GetBlock(ctx, k)
	if err != nil {
		return nil, fmt.Errorf("bitswap: %w", err)
	}
	if n := len(b.RawData()); n > dag.MaxBlock {
		s.x.st.badBlocks.Add(1)
		return nil, fmt.Errorf("%w: %d bytes for %s", ErrBlock, n, c)
	}
	// What has come cannot be held back any more, but the next can.
	return b.RawData(), inSlices(ctx, s.x.o.In, len(b.RawData()))
}

// inSlices waits for a whole block.
func inSlices(ctx context.Context, p Pace, n int) error {
	for ; n > 0; n -= writeSlice {
		if err := p.Wait(ctx, min(n, writeSlice)); err != nil {
			return err
		}
	}
	return nil
}

// blockstore shows storage.Blobs as boxo wants it. Bitswap reads through it, at the pace of what may be sent; nothing
// writes through it.
type blockstore struct {
	blobs storage.Blobs
	out   Pace
}

var errReadOnly = errors.New("BUG: Bitswap writes to the block store")

func key(k cid.Cid) (dag.CID, error) {
	c, err := dag.CIDFromBytes(k.Bytes())
	if err != nil {
		return c, ipld.ErrNotFound{Cid: k} // what Kith does not accept it does not have
	}
	return c, nil
}

func translate(k cid.Cid, err error) error {
	if errors.Is(err, storage.ErrNotFound) {
		return ipld.ErrNotFound{Cid: k}
	}
	return err
}

func (b blockstore) Has(ctx context.Context, k cid.Cid) (bool, error) {
	c, err := key(k)
	if err != nil {
		return false, nil
	}
	return b.blobs.Has(ctx, c)
}

func (b blockstore) Get(ctx context.Context, k cid.Cid) (blocks.Block, error) {
	c, err := key(k)
	if err != nil {
		return nil, err
	}
	data, err := b.blobs.Get(ctx, c)
	if err != nil {
		return nil, translate(k, err)
	}
	if err := inSlices(ctx, b.out, len(data)); err != nil {
		return nil, err
	}
	return blocks.NewBlockWithCid(data, k)
}

func (b blockstore) GetSize(ctx context.Context, k cid.Cid) (int, error) {
	c, err := key(k)
	if err != nil {
		return 0, err
	}
	n, err := b.blobs.Size(ctx, c)
	return n, translate(k, err)
}

func (b blockstore) DeleteBlock(context.Context, cid.Cid) error          { return errReadOnly }
func (b blockstore) Put(context.Context, blocks.Block) error             { return errReadOnly }
func (b blockstore) PutMany(context.Context, []blocks.Block) error       { return errReadOnly }
func (b blockstore) AllKeysChan(context.Context) (<-chan cid.Cid, error) { return nil, errReadOnly }
