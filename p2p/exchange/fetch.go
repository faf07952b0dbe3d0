package exchange

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"kith/p2p"
	"kith/p2p/host"
	"kith/storage"
	"kith/storage/dag"
)

// fetch is one FetchDAG. Its fields belong to the goroutine that runs run; sources, Bitswap and the writer talk to it
// through channels.
type fetch struct {
	x       *Exchange
	r       Request
	result  Result
	total   int64 // bytes of the DAG seen so far, present ones included
	seen    map[dag.CID]struct{}
	todo    []dag.CID // wanted, not yet asked of anybody or to be asked of another; last in, first out
	tried   map[dag.CID][]*source
	swapped int          // wants under way with Bitswap
	looked  bool         // the directory was asked
	session *swapSession // nil until Bitswap is needed
	sources []*source
	answers chan answer
	writes  chan answer
	wrote   chan written
	waiting int // blocks handed to the writer that it has not reported
	missing dag.CID
}

// written is the writer's report of one batch.
type written struct {
	blocks int // stored
	bytes  int64
	bad    []answer // not stored: the content is not what was asked for
	err    error
}

func newFetch(x *Exchange, r Request) *fetch {
	return &fetch{
		x: x, r: r, seen: map[dag.CID]struct{}{r.Root: {}}, todo: []dag.CID{r.Root}, tried: map[dag.CID][]*source{},
		answers: make(chan answer, answerQueue), writes: make(chan answer, writeQueue), wrote: make(chan written, writeQueue),
	}
}

func (f *fetch) run(ctx context.Context) error {
	if !f.r.Root.Defined() {
		return fmt.Errorf("%w: no root", ErrBlock)
	}
	if err := f.skipPresent(ctx); err != nil || len(f.todo) == 0 {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { f.write(ctx) })
	for _, id := range f.r.From {
		f.add(id)
	}
	defer close(f.writes)

	patience := time.NewTimer(f.r.Patience)
	defer patience.Stop()
	for {
		if err := f.dispatch(ctx, &wg); err != nil {
			return err
		}
		if f.idle() {
			return nil
		}
		select {
		case a := <-f.answers:
			got, err := f.take(ctx, a)
			if err != nil {
				return err
			}
			if got {
				patience.Reset(f.r.Patience)
			}
		case w := <-f.wrote:
			if err := f.stored(w); err != nil {
				return err
			}
		case <-patience.C:
			return fmt.Errorf("%w: nothing came for %s, among others %s", ErrStalled, f.r.Patience, f.missing)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (f *fetch) idle() bool {
	if len(f.todo) > 0 || f.swapped > 0 || f.waiting > 0 {
		return false
	}
	for _, s := range f.sources {
		if s.pending > 0 {
			return false
		}
	}
	return true
}

// source is one provider of one fetch.
type source struct {
	id      p2p.ID
	pending int  // wants given and not answered
	dead    bool // it failed in another way than not having a block
}

// add makes a source of a peer, once.
func (f *fetch) add(id p2p.ID) {
	for _, s := range f.sources {
		if s.id == id {
			return
		}
	}
	if id != f.x.h.ID() {
		f.sources = append(f.sources, &source{id: id})
		f.result.Sources++
	}
}

// lookUp adds sources that the directory names, once for a fetch.
func (f *fetch) lookUp(ctx context.Context) {
	f.looked = true
	before := len(f.sources)
	ctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	err := f.x.o.Providers.FindProviders(ctx, directoryKey(f.r.Root), providersAsked, func(id p2p.ID, addrs []string) bool {
		f.x.h.Remember(addrs, host.ShortLived)
		f.add(id)
		return len(f.sources) < before+providersAsked
	})
	if err != nil {
		f.x.log.Debug("no providers found", "root", f.r.Root.String(), "err", err)
	}
}

// dispatch gives wants to sources that have room. When every named source has failed a want,
// the directory is asked for others; what they fail too goes to Bitswap.
func (f *fetch) dispatch(ctx context.Context, wg *sync.WaitGroup) error {
	if err := f.skipPresent(ctx); err != nil {
		return err
	}
	for len(f.todo) > 0 {
		c := f.todo[len(f.todo)-1]
		best, any := f.pick(c)
		switch {
		case best != nil:
			f.missing = c
			f.x.ask(best.id, want{cid: c, ctx: ctx, from: best, rank: best.pending, reply: f.answers})
			best.pending++
		case any:
			return nil // every source that may have it is full
		case f.r.Anyone && f.x.o.Providers != nil && !f.looked:
			f.lookUp(ctx)
			continue
		case f.r.Anyone && f.x.bs != nil:
			if f.swapped >= wantsBitswap {
				return nil
			}
			if f.session == nil {
				f.session = f.x.bs.session(ctx)
			}
			f.swapped++
			f.missing = c
			wg.Go(func() { f.session.get(ctx, c, f.answers) })
		default:
			return fmt.Errorf("%w: none of %d providers has %s", ErrStalled, len(f.sources), c)
		}
		f.todo = f.todo[:len(f.todo)-1]
		if err := f.skipPresent(ctx); err != nil {
			return err
		}
	}
	return nil
}

// pick returns the least busy source that has room and has not failed c, and whether any living source may have c.
func (f *fetch) pick(c dag.CID) (best *source, any bool) {
next:
	for _, s := range f.sources {
		if s.dead {
			continue
		}
		for _, t := range f.tried[c] {
			if t == s {
				continue next
			}
		}
		any = true
		if s.pending < wantsPerSource && (best == nil || s.pending < best.pending) {
			best = s
		}
	}
	return best, any
}

// skipPresent takes blocks off the top of todo that are in the store already, and puts their links there.
func (f *fetch) skipPresent(ctx context.Context) error {
	for len(f.todo) > 0 {
		c := f.todo[len(f.todo)-1]
		if _, again := f.tried[c]; again {
			return nil
		}
		size, err := f.x.blobs.Size(ctx, c)
		if errors.Is(err, storage.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		f.todo = f.todo[:len(f.todo)-1]
		f.result.Present++
		if err := f.count(int64(size)); err != nil {
			return err
		}
		if c.Codec() == dag.Raw {
			continue
		}
		data, err := f.x.blobs.Get(ctx, c)
		if err != nil {
			return err
		}
		if err := f.follow(c, data); err != nil {
			return err
		}
	}
	return nil
}

func (f *fetch) count(n int64) error {
	f.total += n
	if f.r.MaxBytes > 0 && f.total > f.r.MaxBytes {
		return fmt.Errorf("%w: the DAG has more than the allowed %d bytes", storage.ErrFull, f.r.MaxBytes)
	}
	return nil
}

// follow puts the links of a block on todo, so that the first link is fetched first.
func (f *fetch) follow(c dag.CID, data []byte) error {
	links, err := dag.Links(c, data)
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrBlock, c, err)
	}
	for i := len(links) - 1; i >= 0; i-- {
		if _, known := f.seen[links[i]]; !known {
			f.seen[links[i]] = struct{}{}
			f.todo = append(f.todo, links[i])
		}
	}
	return nil
}

// take handles one answer and reports whether it brought a block.
func (f *fetch) take(ctx context.Context, a answer) (bool, error) {
	if a.from == nil {
		f.swapped--
		if a.err != nil {
			return false, a.err
		}
		f.x.st.bitswapBlocks.Add(1)
		f.x.st.bitswapBytes.Add(uint64(len(a.data)))
	} else {
		a.from.pending--
		if a.err != nil {
			a.from.dead = a.from.dead || !errors.Is(a.err, storage.ErrNotFound)
			f.giveBack(a)
			return false, nil
		}
	}
	if err := f.count(int64(len(a.data))); err != nil {
		return false, err
	}
	if err := f.follow(a.cid, a.data); err != nil {
		return false, err
	}
	f.waiting++
	for {
		select {
		case f.writes <- a:
			return true, nil
		case w := <-f.wrote: // the writer must not wait for us while we wait for it
			if err := f.stored(w); err != nil {
				return false, err
			}
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
}

// giveBack puts a block that a source failed on todo, for another source.
func (f *fetch) giveBack(a answer) {
	f.tried[a.cid] = append(f.tried[a.cid], a.from)
	f.todo = append(f.todo, a.cid)
	f.missing = a.cid
}

func (f *fetch) stored(w written) error {
	f.waiting -= w.blocks + len(w.bad)
	if w.err != nil {
		return w.err
	}
	for _, a := range w.bad {
		if a.from == nil {
			return fmt.Errorf("%w: %s, by Bitswap", ErrBlock, a.cid)
		}
		f.x.st.badBlocks.Add(1)
		f.x.log.Warn("provider sent a bad block", "peer", a.from.id, "cid", a.cid.String())
		f.total -= int64(len(a.data))
		f.giveBack(a)
		a.from.dead = true
	}
	if w.blocks == 0 {
		return nil
	}
	f.result.Blocks += w.blocks
	f.result.Bytes += w.bytes
	f.x.st.fetchedBlocks.Add(uint64(w.blocks))
	f.x.st.fetchedBytes.Add(uint64(w.bytes))
	if f.r.Progress != nil {
		f.r.Progress(f.result.Blocks, f.result.Bytes)
	}
	return nil
}

// write stores blocks in batches as large as have come while the last was being stored. The store verifies them.
func (f *fetch) write(ctx context.Context) {
	var batch []answer
	for a := range f.writes {
		batch = append(batch[:0], a)
		bytes := len(a.data)
	more:
		for len(batch) < batchBlocks && bytes < batchBytes {
			select {
			case a, ok := <-f.writes:
				if !ok {
					break more
				}
				batch = append(batch, a)
				bytes += len(a.data)
			default:
				break more
			}
		}
		select {
		case f.wrote <- f.store(ctx, batch):
		case <-ctx.Done():
			return
		}
	}
}

func (f *fetch) store(ctx context.Context, batch []answer) (w written) {
	blocks := make([]storage.Block, len(batch))
	for i, a := range batch {
		blocks[i] = storage.Block{CID: a.cid, Data: a.data}
	}
	w.err = f.x.blobs.PutMany(ctx, blocks)
	if errors.Is(w.err, dag.ErrMismatch) { // somebody lied: find out who, and keep the rest
		blocks = blocks[:0]
		for _, a := range batch {
			if dag.Verify(a.cid, a.data) != nil {
				w.bad = append(w.bad, a)
				continue
			}
			blocks = append(blocks, storage.Block{CID: a.cid, Data: a.data})
		}
		w.err = f.x.blobs.PutMany(ctx, blocks)
	}
	w.blocks = len(blocks)
	for _, b := range blocks {
		w.bytes += int64(len(b.Data))
	}
	return w
}
