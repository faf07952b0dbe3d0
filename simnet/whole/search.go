package whole

import (
	"context"
	"fmt"

	"kith/node/search"
	"kith/p2p"
	"kith/simnet/links"
	"kith/tasks"
	"kith/tasks/submit"
	"kith/tasks/wire"
)

// areas are the regions around a node, nearest first: the names of its topics, and of its keys in the directory.
func (n *node) areas() []string {
	return []string{"region-" + links.Regions()[n.region], fmt.Sprint("continent-", links.Continent(n.region)), "world"}
}

// openSearch makes what a node searches with.
func (n *node) openSearch() {
	n.book = search.NewBook(network)
	n.finder = search.NewFinder(search.Options{
		Network: network, Self: n.id, Book: n.book, Host: n.host, RPC: n.rpc, Directory: n.dht, Areas: n.areas(), Logger: n.w.log,
	})
}

// answers serves what others search with.
func (n *node) answers() *search.Server {
	return &search.Server{Network: network, Book: n.book, Hear: func(ctx context.Context, o wire.Offer) *tasks.Reason {
		n.invited.Store(true)
		if n.works == nil || n.gone {
			return &tasks.Reason{Code: tasks.ShuttingDown}
		}
		return n.works.Invite(ctx, o, n.rtt(o.Submitter))
	}}
}

// seeker searches for one submitter and notes what it costs.
type seeker struct{ *node }

// Search implements submit.Searcher.
func (s seeker) Search(ctx context.Context, w submit.Wanted) submit.Searched {
	got := s.finder.Search(ctx, w)
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	s.w.longest = max(s.w.longest, got.Messages)
	return got
}

// quiet reports whether gossip does not reach some hosts, so that searching matters.
func (w *world) quiet() bool {
	for _, h := range w.sc.Hosts {
		if h.Quiet {
			return true
		}
	}
	return false
}

// introduce tells connected nodes of one another, as registrations do, and puts every other volunteer that gossip does not
// reach into the directory.
func (w *world) introduce(ctx context.Context) error {
	if !w.quiet() {
		return nil
	}
	records := map[p2p.ID][]byte{}
	for _, n := range w.all {
		records[p2p.ID(n.id)] = n.capability(1)
	}
	for _, n := range w.all {
		for _, p := range n.host.Peers() {
			if err := n.book.Learn(records[p.ID]); err != nil {
				return err
			}
		}
	}
	for i, n := range w.nodes {
		if !n.hosts.Quiet || i%2 == 0 {
			continue
		}
		if err := n.dht.PutRecord(ctx, records[p2p.ID(n.id)]); err != nil {
			return err
		}
		if err := n.dht.Provide(ctx, wire.ProviderKey(network, tasks.CPU, wire.AnyBand, "world", wire.Bucket(n.id))); err != nil {
			return err
		}
	}
	return nil
}

// sought is the share of the hosts out of gossip's reach that were found, in per cent.
func (w *world) sought() (share float64, messages int, any bool) {
	found, all := 0, 0
	for _, n := range w.nodes {
		if n.hosts.Quiet {
			all++
			if n.invited.Load() {
				found++
			}
		}
	}
	if all == 0 {
		return 0, 0, false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return 100 * float64(found) / float64(all), w.longest, true
}
