package exchange

import (
	"context"
	"slices"
	"sync"
	"time"

	"kith/p2p"
	"kith/p2p/host"
	"kith/storage/dag"
)

// source is one provider of one fetch.
type source struct {
	id      p2p.ID
	pending int  // wants given and not answered
	dead    bool // it failed in another way than not having a block
	slow    bool // it let others have their turn: it has wants and brought nothing for Request.Slow
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

// lookUp asks the directory for sources, aside; they come through found.
func (f *fetch) lookUp(ctx context.Context, wg *sync.WaitGroup) {
	f.looked, f.looking = time.Now(), true
	f.x.st.lookedUp.Add(1)
	root := f.r.Root
	if f.r.Announced.Defined() {
		root = f.r.Announced
	}
	wg.Go(func() {
		dctx, cancel := context.WithTimeout(ctx, dialTime)
		defer cancel()
		n := 0
		tell := func(id p2p.ID) bool {
			select {
			case f.found <- id:
				return true
			case <-ctx.Done():
				return false
			}
		}
		err := f.x.o.Providers.FindProviders(dctx, directoryKey(root), providersAsked, func(id p2p.ID, addrs []string) bool {
			f.x.h.Remember(addrs, host.ShortLived)
			n++
			return tell(id) && n < providersAsked
		})
		if err != nil {
			f.x.log.Debug("no providers found", "root", root.String(), "err", err)
		}
		tell(p2p.ID{})
	})
}

// learn takes a source that the directory names, for what Bitswap has not brought as well.
func (f *fetch) learn(id p2p.ID) {
	if id == (p2p.ID{}) {
		f.looking = false
		return
	}
	before := len(f.sources)
	if f.add(id); len(f.sources) == before {
		return
	}
	for c, with := range f.under {
		if len(with) == 1 && with[0] == nil {
			f.todo = append(f.todo, c)
		}
	}
}

// widen asks others too when nothing has come for a while: for what a slow source was asked, and for what nobody had a
// moment ago. Whoever failed then is asked again.
func (f *fetch) widen(ctx context.Context, wg *sync.WaitGroup, now time.Time) {
	wait := askAgain
	for _, s := range f.sources {
		if s.pending > 0 {
			wait = f.r.Slow
		}
	}
	if now.Sub(f.progress) < wait {
		return
	}
	f.progress = now
	if f.x.o.Providers != nil && !f.looking && now.Sub(f.looked) > lookAgain {
		f.lookUp(ctx, wg)
	}
	for _, s := range f.sources {
		s.dead, s.slow = false, s.pending > 0
	}
	clear(f.tried)
	for c, with := range f.under {
		for _, s := range with {
			if s != nil {
				f.tried[c] = append(f.tried[c], s)
			}
		}
		f.todo = append(f.todo, c)
	}
}

// pick returns the least busy source that has room and has not failed c, and whether any living source may have c.
// While others can be asked, slow ones get nothing more.
func (f *fetch) pick(c dag.CID) (best *source, any bool) {
	for _, s := range f.sources {
		if s.dead || s.slow && f.x.bs != nil || slices.Contains(f.tried[c], s) || slices.Contains(f.under[c], s) {
			continue
		}
		any = true
		if s.pending < wantsPerSource && (best == nil || s.pending < best.pending) {
			best = s
		}
	}
	return best, any
}
