package exchange

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"kith/p2p"
	"kith/storage"
	"kith/storage/dag"
)

// fetch is one FetchDAG. Its fields belong to the goroutine that runs run; sources, Bitswap, the directory and the writer
// talk to it through channels.
type fetch struct {
	x       *Exchange
	r       Request
	result  Result
	total   int64            // bytes of the DAG seen so far, present ones included
	seen    map[dag.CID]bool // every block known to belong to the DAG, and whether it came
	need    int              // of them, those that did not come yet
	todo    []dag.CID        // wanted, not yet asked of anybody or to be asked of another; last in, first out
	tried   map[dag.CID][]*source
	under   map[dag.CID][]*source // wants under way, and with whom; nil is Bitswap
	swapped int                   // wants under way with Bitswap
	session *swapSession          // nil until Bitswap is needed
	sources []*source
	answers chan answer
	writes  chan answer
	wrote   chan written
	waiting int // blocks handed to the writer that it has not reported
	missing dag.CID

	found    chan p2p.ID // by the directory; nobody: the search is over
	looked   time.Time   // when the directory was last asked
	looking  bool
	progress time.Time // when the last block came, or everybody was last asked anew
}

// written is the writer's report of one batch.
type written struct {
	stored []dag.CID
	bytes  int64
	bad    []answer // not stored: the content is not what was asked for
	err    error
}

func newFetch(x *Exchange, r Request) *fetch {
	return &fetch{
		x: x, r: r, seen: map[dag.CID]bool{r.Root: false}, need: 1, todo: []dag.CID{r.Root},
		tried: map[dag.CID][]*source{}, under: map[dag.CID][]*source{}, found: make(chan p2p.ID, providersAsked),
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
	f.progress = time.Now()
	var tick <-chan time.Time // nil unless there are others to ask
	if f.r.Anyone {
		t := time.NewTicker(askAgain)
		defer t.Stop()
		tick = t.C
	}
	for {
		if err := f.dispatch(ctx, &wg); err != nil {
			return err
		}
		if f.need == 0 && f.waiting == 0 {
			return nil
		}
		select {
		case a := <-f.answers:
			got, err := f.take(ctx, a)
			if err != nil {
				return err
			}
			if got {
				f.progress = time.Now()
				patience.Reset(f.r.Patience)
			}
		case w := <-f.wrote:
			if err := f.stored(w); err != nil {
				return err
			}
		case id := <-f.found:
			f.learn(id)
		case now := <-tick:
			f.widen(ctx, &wg, now)
		case <-patience.C:
			return fmt.Errorf("%w: nothing came for %s, among others %s", ErrStalled, f.r.Patience, f.missing)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// dispatch gives wants to sources that have room. What every named source has failed goes to Bitswap, and the directory
// is asked for more sources.
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
			f.under[c] = append(f.under[c], best)
		case any:
			return nil // every source that may have it is full
		case f.r.Anyone && f.x.o.Providers != nil && f.looked.IsZero():
			f.lookUp(ctx, wg)
			continue
		case f.r.Anyone && f.x.bs != nil:
			if slices.Contains(f.under[c], nil) {
				break // it is asked already
			}
			if f.swapped >= wantsBitswap {
				return nil
			}
			if f.session == nil {
				f.session = f.x.bs.session(ctx)
			}
			f.swapped++
			f.x.st.bitswapWants.Add(1)
			f.under[c] = append(f.under[c], nil)
			f.missing = c
			wg.Go(func() { f.session.get(ctx, c, f.answers) })
		case f.looking || len(f.under[c]) > 0:
			if len(f.under[c]) == 0 {
				return nil // somebody may turn up
			}
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

// skipPresent takes blocks off the top of todo that came meanwhile or are in the store already, and puts their links
// there.
func (f *fetch) skipPresent(ctx context.Context) error {
	for len(f.todo) > 0 {
		c := f.todo[len(f.todo)-1]
		if f.seen[c] {
			f.todo = f.todo[:len(f.todo)-1]
			continue
		}
		if len(f.tried[c]) > 0 || len(f.under[c]) > 0 {
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
		f.seen[c] = true
		f.need--
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
			f.seen[links[i]] = false
			f.need++
			f.todo = append(f.todo, links[i])
		}
	}
	return nil
}

// take handles one answer and reports whether it brought a block.
func (f *fetch) take(ctx context.Context, a answer) (bool, error) {
	if i := slices.Index(f.under[a.cid], a.from); i >= 0 {
		if f.under[a.cid] = slices.Delete(f.under[a.cid], i, i+1); len(f.under[a.cid]) == 0 {
			delete(f.under, a.cid)
		}
	}
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
		a.from.slow = false
	}
	if f.seen[a.cid] {
		return true, nil // another was faster
	}
	f.seen[a.cid] = true
	f.need--
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
	if f.seen[a.cid] {
		return
	}
	f.tried[a.cid] = append(f.tried[a.cid], a.from)
	f.todo = append(f.todo, a.cid)
	f.missing = a.cid
}

func (f *fetch) stored(w written) error {
	f.waiting -= len(w.stored) + len(w.bad)
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
		f.seen[a.cid] = false
		f.need++
		f.giveBack(a)
		a.from.dead = true
	}
	if len(w.stored) == 0 {
		return nil
	}
	f.result.Blocks += len(w.stored)
	f.result.Bytes += w.bytes
	f.x.st.fetchedBlocks.Add(uint64(len(w.stored)))
	f.x.st.fetchedBytes.Add(uint64(w.bytes))
	if f.r.Arrived != nil {
		f.r.Arrived(w.stored)
	}
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
	for _, b := range blocks {
		w.stored = append(w.stored, b.CID)
		w.bytes += int64(len(b.Data))
	}
	return w
}
