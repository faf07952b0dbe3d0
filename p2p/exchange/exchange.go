// Package exchange moves content-addressed blocks between nodes. A DAG is fetched from named providers over
// long-lived, pipelined streams (package rpc), which is fast and needs no discovery; blocks that no named provider delivers are
// asked of every connected peer through Bitswap, when the caller allows it. What arrives is verified and stored, so a
// fetch that is cut off goes on where it stopped. Both servers give a block only to those whom MayServe allows.
package exchange

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"kith/p2p"
	"kith/p2p/host"
	"kith/p2p/rpc"
	"kith/storage"
	"kith/storage/dag"
)

// Errors of this package. Match them with errors.Is.
var (
	// ErrStalled: nobody delivered a block for the whole patience; the wrapped text names one block that is missing.
	ErrStalled = errors.New("no peer delivers the missing blocks")
	// ErrBlock: a peer sent something that Kith does not accept as a block: wrong bytes, too large, unknown codec.
	ErrBlock = errors.New("bad block from peer")
)

// Providers is the directory in which public DAGs are announced; dht.DHT is one.
type Providers interface {
	Provide(ctx context.Context, key [32]byte) error
	// FindProviders calls found for up to limit providers as they turn up, until found returns false or ctx ends.
	FindProviders(ctx context.Context, key [32]byte, limit int, found func(id p2p.ID, addrs []string) bool) error
}

// Options configure an Exchange.
type Options struct {
	// MayServe says whether a peer may have a block of this node. nil refuses everybody. It is called for every block
	// from several goroutines and must be quick.
	MayServe func(peer p2p.ID, c dag.CID) bool
	// Providers may be nil: then nothing is announced or looked up.
	Providers Providers
	// NoBitswap leaves Bitswap out; blocks then come from named providers alone.
	NoBitswap bool
	// In and Out pace what is received and what is sent, all fetches and all peers together. nil: as fast as it goes.
	In, Out Pace
}

// Pace holds a flow back.
type Pace interface {
	// Wait returns when n more bytes may flow, n at most 64 KiB, or with an error when ctx ends. It is called from many
	// goroutines, which get their turn in the order in which they came.
	Wait(ctx context.Context, n int) error
}

// free is the pace of who has none.
type free struct{}

func (free) Wait(context.Context, int) error { return nil }

// Defaults, in one table.
const (
	lanes            = 2                      // streams to one provider, for all fetches together
	laneShare        = 2                      // wants that wait before another lane is opened
	laneIdle         = 30 * time.Second       // a lane without wants for so long is closed
	wantsPerLane     = 16                     // wants under way on one lane, so at most 16 MiB
	wantsPerSource   = 32                     // wants of one fetch given to one provider
	wantsBitswap     = 64                     // wants under way with Bitswap
	batchBlocks      = 64                     // blocks written to the store at once, at most
	batchBytes       = 8 << 20                // and about so many bytes
	answerQueue      = 8                      // received blocks waiting for the fetch; then the sources wait
	writeQueue       = 8                      // blocks waiting for the store; then the fetch waits
	readSlice        = 64 << 10               // a provider must deliver so many bytes of a block per sourceStall
	writeSlice       = 64 << 10               // bytes sent at a time; the pace is asked for each
	sourceStall      = 15 * time.Second       // a provider that sends nothing for so long is given up
	slowSource       = 3 * time.Second        // a fetch that may ask anyone asks others when nothing has come for so long
	askAgain         = 500 * time.Millisecond // the same while nobody is known to have what is missing
	lookAgain        = 20 * time.Second       // between two questions of one fetch to the directory
	defaultPatience  = 60 * time.Second       // a fetch without any new block for so long has failed
	providersAsked   = 8                      // providers taken from the directory for one fetch
	serveIdle        = 2 * time.Minute        // a fetching peer that asks nothing for so long is let go
	serveBlockTime   = 60 * time.Second       // for a peer to take one block; slower ones are cut off
	streamsPerPeer   = 4                      // fetch streams served to one peer at once
	streamsTotal     = 256                    // and to all peers
	dialTime         = 10 * time.Second       // to reach one provider
	bitswapQueued    = 512                    // wants of one peer that the Bitswap server remembers; the rest are dropped
	bitswapReaders   = 8                      // block reads at once for Bitswap peers
	bitswapSenders   = 4                      // messages sent at once by the Bitswap server
	bitswapInFlight  = 4 << 20                // bytes the Bitswap server has under way to one peer
	bitswapMsgTarget = 256 << 10              // bytes the Bitswap server packs into one message if it can
)

// Exchange serves and fetches blocks for one host and one store. All methods are safe for concurrent use. New starts
// Bitswap's own goroutines; Close ends them.
type Exchange struct {
	h     *host.Host
	rpc   *rpc.Service
	blobs storage.Blobs
	o     Options
	log   *slog.Logger
	bs    *swap // nil without Bitswap

	closeOnce sync.Once
	ctx       context.Context
	cancel    context.CancelFunc
	wg        sync.WaitGroup // lanes

	mu        sync.Mutex
	closed    bool
	providers map[p2p.ID]*provider // peers that are asked for blocks now

	st counters
}

type counters struct {
	servedBlocks, servedBytes, refused     atomic.Uint64
	fetchedBlocks, fetchedBytes, badBlocks atomic.Uint64
	bitswapBlocks, bitswapBytes            atomic.Uint64
	bitswapWants, announced, lookedUp      atomic.Uint64
}

// Stats counts what happened since the start.
type Stats struct {
	ServedBlocks  uint64 `json:"servedBlocks"`  // given over streams
	ServedBytes   uint64 `json:"servedBytes"`   // given over streams
	Refused       uint64 `json:"refused"`       // wants that MayServe refused, either way
	FetchedBlocks uint64 `json:"fetchedBlocks"` // received and stored, either way
	FetchedBytes  uint64 `json:"fetchedBytes"`
	BadBlocks     uint64 `json:"badBlocks"`     // received and thrown away
	BitswapBlocks uint64 `json:"bitswapBlocks"` // the part of FetchedBlocks that came by Bitswap
	BitswapBytes  uint64 `json:"bitswapBytes"`
	BitswapWants  uint64 `json:"bitswapWants"` // blocks that every connected peer was asked for
	Announced     uint64 `json:"announced"`    // DAGs announced in the directory
	LookedUp      uint64 `json:"lookedUp"`     // DAGs looked up there
}

// New starts serving the blocks of blobs on h, over streams of s and, unless told not to, Bitswap.
func New(h *host.Host, s *rpc.Service, blobs storage.Blobs, o Options) (*Exchange, error) {
	if o.MayServe == nil {
		o.MayServe = func(p2p.ID, dag.CID) bool { return false }
	}
	if o.In == nil {
		o.In = free{}
	}
	if o.Out == nil {
		o.Out = free{}
	}
	x := &Exchange{h: h, rpc: s, blobs: blobs, o: o, log: h.Logger(), providers: map[p2p.ID]*provider{}}
	x.ctx, x.cancel = context.WithCancel(context.Background())
	if err := s.Handle(blocksProto, x.serve); err != nil {
		x.cancel()
		return nil, err
	}
	if !o.NoBitswap {
		x.bs = newSwap(x)
	}
	return x, nil
}

// Stats returns the counts.
func (x *Exchange) Stats() Stats {
	return Stats{
		ServedBlocks: x.st.servedBlocks.Load(), ServedBytes: x.st.servedBytes.Load(), Refused: x.st.refused.Load(),
		FetchedBlocks: x.st.fetchedBlocks.Load(), FetchedBytes: x.st.fetchedBytes.Load(), BadBlocks: x.st.badBlocks.Load(),
		BitswapBlocks: x.st.bitswapBlocks.Load(), BitswapBytes: x.st.bitswapBytes.Load(), BitswapWants: x.st.bitswapWants.Load(),
		Announced: x.st.announced.Load(), LookedUp: x.st.lookedUp.Load(),
	}
}

// mayServe asks the owner's policy and counts refusals.
func (x *Exchange) mayServe(id p2p.ID, c dag.CID) bool {
	if x.o.MayServe(id, c) {
		return true
	}
	x.st.refused.Add(1)
	return false
}

// Provide announces the DAG under root as held by this node, in the directory of public DAGs. Never call it for a DAG
// that not everybody may have.
func (x *Exchange) Provide(ctx context.Context, root dag.CID) error {
	if x.o.Providers == nil {
		return nil
	}
	x.st.announced.Add(1)
	if err := x.o.Providers.Provide(ctx, directoryKey(root)); err != nil {
		return fmt.Errorf("announce %s: %w", root, err)
	}
	return nil
}

// directoryKey is the digest of a CID: a DAG is found under it whatever its codec.
func directoryKey(c dag.CID) [32]byte { return [32]byte(c[4:]) }

// Close ends fetches and Bitswap. Streams that are being served end with the rpc service.
func (x *Exchange) Close() error {
	x.closeOnce.Do(func() {
		x.mu.Lock()
		x.closed = true
		x.mu.Unlock()
		x.cancel()
		x.wg.Wait()
		if x.bs != nil {
			x.bs.close()
		}
	})
	return nil
}

// Request says what to fetch and from whom.
type Request struct {
	Root dag.CID
	// From are peers that have the DAG. Those that cannot be reached within dialTime are left out.
	From []p2p.ID
	// Anyone allows asking the directory of providers and, through Bitswap, every connected peer, for what From does not
	// deliver soon. That tells them which blocks this node wants: leave it false for a DAG that is not public.
	Anyone bool
	// Announced is the root under which the directory knows holders of the DAG, when Root is only a part of it; zero: Root.
	Announced dag.CID
	// Slow is how long named providers may bring nothing before others are asked too, if Anyone allows it; default 3 s.
	Slow time.Duration
	// Patience is how long no new block may arrive before the fetch fails with ErrStalled; default 60 s.
	Patience time.Duration
	// Progress, if set, is called from one goroutine after each batch is stored, with counts of this fetch alone,
	// blocks that were already there not counted.
	Progress func(blocks int, bytes int64)
	// Arrived, if set, is called before Progress with the blocks of the batch.
	Arrived func([]dag.CID)
	// MaxBytes fails the fetch with storage.ErrFull when the DAG turns out larger, counting blocks already there; 0: no
	// limit.
	MaxBytes int64
}

// Result says what a fetch did.
type Result struct {
	Blocks  int   // received and stored
	Bytes   int64 // received and stored
	Present int   // blocks that were already there
	Sources int   // providers asked directly
}

// FetchDAG returns when every block under the root is in the store. Blocks that are there already are not fetched again:
// a fetch that failed goes on where it stopped. Errors: ErrStalled, ErrBlock (the root itself is no DAG), storage errors,
// ctx's.
func (x *Exchange) FetchDAG(ctx context.Context, r Request) (Result, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(x.ctx, cancel)
	defer stop()
	r.Patience, r.Slow = cmp.Or(r.Patience, defaultPatience), cmp.Or(r.Slow, slowSource)
	f := newFetch(x, r)
	err := f.run(ctx)
	if err != nil && x.ctx.Err() != nil {
		err = p2p.ErrClosed
	}
	if err != nil {
		return f.result, fmt.Errorf("fetch %s: %w", r.Root, err)
	}
	return f.result, nil
}
