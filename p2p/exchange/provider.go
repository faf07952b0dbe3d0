package exchange

import (
	"bufio"
	"context"
	"errors"
	"slices"
	"time"

	"kith/p2p"
	"kith/storage"
	"kith/storage/dag"
)

// provider asks one peer for blocks on behalf of all fetches, over a few long-lived streams, the lanes: a small fetch
// costs one round trip, and many at once do not open a stream each. Lanes begin when there is work and end when there
// has been none for a while.
type provider struct {
	x  *Exchange
	id p2p.ID

	// Guarded by x.mu:
	queue []want        // not yet asked, by rank, then in order
	lanes int           // running
	wake  chan struct{} // one message for each want that joins the queue, as far as it has room
}

// want is one block that one fetch waits for.
type want struct {
	cid   dag.CID
	ctx   context.Context // of the fetch
	from  *source         // handed back in the answer
	rank  int             // wants that its fetch already had with the provider: small fetches overtake large ones
	reply chan<- answer
}

// answer is what came of one want.
type answer struct {
	cid  dag.CID
	data []byte
	from *source // nil: Bitswap
	err  error   // storage.ErrNotFound: ask another; anything else: this provider is of no use now
}

func (w want) answer(data []byte, err error) {
	select {
	case w.reply <- answer{cid: w.cid, data: data, from: w.from, err: err}:
	case <-w.ctx.Done():
	}
}

// ask queues wants for a peer and sees to it that a lane serves the queue. It does not wait.
func (x *Exchange) ask(id p2p.ID, ws ...want) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.closed {
		return // every fetch is ending
	}
	p := x.providers[id]
	if p == nil && len(ws) == 0 {
		return
	}
	if p == nil {
		p = &provider{x: x, id: id, wake: make(chan struct{}, lanes)}
		x.providers[id] = p
	}
	for _, w := range ws {
		p.enqueueLocked(w)
	}
	if (p.lanes == 0 && len(p.queue) > 0) || (p.lanes < lanes && len(p.queue) > laneShare) {
		p.lanes++
		x.wg.Go(p.lane)
	}
	for range ws {
		select {
		case p.wake <- struct{}{}:
		default:
		}
	}
}

func (p *provider) enqueueLocked(w want) {
	at, _ := slices.BinarySearchFunc(p.queue, w.rank+1, func(q want, rank int) int { return q.rank - rank })
	p.queue = slices.Insert(p.queue, at, w)
}

// next takes the first want whose fetch still waits. Without one, and if the lane may end, it ends the lane.
func (p *provider) next(mayEnd bool) (w want, ok, ended bool) {
	p.x.mu.Lock()
	defer p.x.mu.Unlock()
	for len(p.queue) > 0 {
		w, p.queue = p.queue[0], p.queue[1:]
		if w.ctx.Err() == nil {
			return w, true, false
		}
	}
	if mayEnd {
		p.endLocked()
	}
	return want{}, false, mayEnd
}

func (p *provider) endLocked() {
	p.lanes--
	if p.lanes == 0 && len(p.queue) == 0 {
		delete(p.x.providers, p.id)
	}
}

// fail ends a lane that broke. When it was the last, the wants that nobody else will ask fail with err.
func (p *provider) fail(err error) {
	p.x.mu.Lock()
	var orphans []want
	if p.lanes == 1 {
		orphans, p.queue = p.queue, nil
	}
	p.endLocked()
	p.x.mu.Unlock()
	for _, w := range orphans {
		w.answer(nil, err)
	}
}

// lane is one stream: wants go out as they come, answers come back in order.
func (p *provider) lane() {
	dial, cancel := context.WithTimeout(p.x.ctx, dialTime)
	st, err := p.x.rpc.Open(dial, p.id, blocksProto)
	cancel()
	if err != nil {
		p.x.log.Debug("block provider cannot be used", "peer", p.id, "err", err)
		p.fail(err)
		return
	}
	defer context.AfterFunc(p.x.ctx, func() { _ = st.Reset() })()
	asked := make(chan want, wantsPerLane)
	done := make(chan error, 1)
	p.x.wg.Go(func() { done <- p.read(st, asked) })
	ended, err := p.write(st, asked, done)
	close(asked)
	if ended {
		err = <-done // for what is still on its way
	}
	if err == nil {
		_ = st.Close()
		return
	}
	_ = st.Reset()
	if !ended && !errors.Is(err, errAbandoned) {
		p.fail(err)
	} else if !ended {
		p.x.mu.Lock()
		p.endLocked()
		p.x.mu.Unlock()
	}
	for w := range asked {
		if errors.Is(err, errAbandoned) {
			p.x.ask(p.id, w) // somebody else still waits: over another lane
		} else {
			w.answer(nil, err)
		}
	}
	if errors.Is(err, errAbandoned) {
		p.x.ask(p.id) // for what is in the queue, should this have been the last lane
	}
}

// errAbandoned: the fetch that waits for the block on its way has ended; the rest of the stream would be a waste.
var errAbandoned = errors.New("fetch was given up")

// write sends wants until it has had none for laneIdle and has ended the lane, or until the reader has failed.
func (p *provider) write(st p2p.Stream, asked chan<- want, done <-chan error) (ended bool, err error) {
	idle := time.NewTimer(laneIdle)
	defer idle.Stop()
	mayEnd := false
	for {
		w, ok, ended := p.next(mayEnd)
		if ended {
			return true, nil
		}
		if !ok {
			select {
			case <-p.wake:
			case <-idle.C:
				mayEnd = true
			case err := <-done:
				return false, err
			case <-p.x.ctx.Done():
				return false, p2p.ErrClosed
			}
			continue
		}
		mayEnd = false
		idle.Reset(laneIdle)
		select {
		case asked <- w:
		case err := <-done:
			p.x.mu.Lock()
			p.enqueueLocked(w)
			p.x.mu.Unlock()
			return false, err
		}
		if _, err := st.Write(w.cid[:]); err != nil {
			_ = st.Reset()
			return false, <-done // the reader says what happened
		}
	}
}

// read answers wants in the order they were sent, until asked is closed or the stream breaks.
func (p *provider) read(st p2p.Stream, asked <-chan want) error {
	in := bufio.NewReaderSize(st, 64<<10)
	for w := range asked {
		stop := context.AfterFunc(w.ctx, func() { _ = st.Reset() })
		data, err := readBlock(p.x.ctx, p.x.o.In, st, in, w.cid)
		if !stop() {
			return errAbandoned
		}
		if errors.Is(err, ErrBlock) {
			p.x.st.badBlocks.Add(1)
			p.x.log.Warn("provider sent a bad block", "peer", p.id, "err", err)
		}
		w.answer(data, err)
		if err != nil && !errors.Is(err, storage.ErrNotFound) {
			return err
		}
	}
	return nil
}
