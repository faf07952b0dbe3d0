package search

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"kith/p2p"
	"kith/p2p/host"
	"kith/p2p/rpc"
	"kith/tasks"
	"kith/tasks/match"
	"kith/tasks/submit"
	"kith/tasks/wire"
)

// Pace and bounds of a search of ours.
const (
	stepTime    = 8 * time.Second  // for one question, dialling included
	atOnce      = 8                // invitations
	hintsTried  = 20               // nodes of the directory whose records are looked up in one search
	lookups     = 48               // keys that are asked for in one search
	lookTime    = 30 * time.Second // for all of them
	restRefused = 10 * time.Minute // a node that cannot come, or does not answer, is left alone for so long
	maxResting  = 4096
)

// Directory is where nodes can be found by what they are; *dht.DHT is one.
type Directory interface {
	FindProviders(ctx context.Context, key [32]byte, limit int, found func(id p2p.ID, addrs []string) bool) error
	Record(ctx context.Context, id p2p.ID) ([]byte, error)
}

// Options are the parts of a Finder.
type Options struct {
	Network   string
	Self      tasks.NodeID
	Book      *Book
	Host      *host.Host
	RPC       *rpc.Service
	Directory Directory // may be nil: it is not asked
	// Areas are the regions around this node, nearest first, under which the nodes of the directory can be found.
	Areas  []string
	Logger *slog.Logger
}

// Finder searches for this node. It is safe for concurrent use.
type Finder struct {
	o Options

	mu      sync.Mutex
	resting map[tasks.NodeID]time.Time // until when
}

// NewFinder makes a finder.
func NewFinder(o Options) *Finder { return &Finder{o: o, resting: map[tasks.NodeID]time.Time{}} }

// quest is one search.
type quest struct {
	f *Finder
	w submit.Wanted
	q wire.Search // but for the filter

	mu    sync.Mutex
	walk  *match.Walk
	known map[tasks.NodeID]struct{} // need not be named
	addrs map[tasks.NodeID][]string
	s     submit.Searched
	left  int // invitations that may still be sent
}

// Search implements submit.Searcher. The walks and the directory are asked at once; each invites whom it has found.
func (f *Finder) Search(ctx context.Context, w submit.Wanted) submit.Searched {
	start := []tasks.NodeID{}
	for _, p := range f.o.Host.Peers() {
		start = append(start, tasks.NodeID(p.ID))
	}
	s := &quest{
		f: f, w: w, walk: match.NewWalk(f.o.Self, start), known: map[tasks.NodeID]struct{}{f.o.Self: {}}, addrs: map[tasks.NodeID][]string{},
		left: match.MaxInvited, s: submit.Searched{Refused: map[tasks.Code]int{}},
		q: wire.Search{
			Version: wire.Version, Network: f.o.Network, Class: w.Class, Band: w.Band, Sandbox: w.Sandbox, Memory: w.Memory,
			Kinds: w.Kinds, Regions: clip(w.Regions), Excluded: clip(w.Excluded),
		},
	}
	for _, id := range w.Known {
		s.known[id] = struct{}{}
	}
	f.mu.Lock()
	for id, until := range f.resting {
		if time.Now().Before(until) {
			s.known[id] = struct{}{}
		} else {
			delete(f.resting, id)
		}
	}
	f.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { s.invite(ctx, s.walks(ctx)) })
	both.Go(func() { s.invite(ctx, s.look(ctx)) })
	both.Wait()
	s.s.Messages, s.s.Asked = s.walk.Messages(), s.walk.Asked()
	f.o.Logger.Debug("Searched for workers", slog.Any("job", w.Job), slog.Int("asked", s.s.Asked), slog.Int("found", s.s.Found),
		slog.Int("invited", s.s.Invited), slog.Int("coming", s.s.Coming))
	return s.s
}

// clip cuts a list of regions to what a question may carry; the submitter checks each worker itself.
func clip(list []string) []string {
	return append([]string{}, list[:min(len(list), wire.MaxRegions)]...)
}

// walks lets the walkers go, and returns whom they have found. What a node knows of itself counts too: whom this node has
// met and has no session with is found first.
func (s *quest) walks(ctx context.Context) []tasks.NodeID {
	nodes, ways := s.f.o.Book.Answer(&s.q, s.f.o.Self)
	found, _ := s.take(nodes, ways)
	var all sync.WaitGroup
	var mu sync.Mutex
	for i := range match.Walkers {
		all.Go(func() {
			for ctx.Err() == nil {
				s.mu.Lock()
				id, ok := s.walk.Next(i, rand.IntN)
				s.mu.Unlock()
				if !ok {
					return
				}
				news, named, err := s.ask(ctx, id)
				s.mu.Lock()
				if err != nil {
					s.walk.Silent(i)
				} else {
					s.walk.Answered(i, named)
				}
				s.mu.Unlock()
				mu.Lock()
				found = append(found, news...)
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return found
}

// ask asks one node for others.
func (s *quest) ask(ctx context.Context, id tasks.NodeID) (found, named []tasks.NodeID, err error) {
	q := s.q
	q.Salt = uint64(rand.Uint32())
	s.mu.Lock()
	known := make([]tasks.NodeID, 0, len(s.known))
	for k := range s.known {
		known = append(known, k)
	}
	s.mu.Unlock()
	q.Known = wire.Filter(q.Salt, known)
	var reply wire.SearchReply
	if err := s.talk(ctx, id, searchProto, &q, &reply); err != nil {
		return nil, nil, err
	}
	if reply.Reason != nil {
		return nil, nil, *reply.Reason
	}
	found, named = s.take(reply.Nodes, reply.Ways)
	return found, named, nil
}

// talk sends one message to a node and reads its answer.
func (s *quest) talk(ctx context.Context, id tasks.NodeID, proto rpc.Proto, m, reply wire.Single) error {
	ctx, cancel := context.WithTimeout(ctx, stepTime)
	defer cancel()
	s.mu.Lock()
	addrs := s.addrs[id]
	s.mu.Unlock()
	s.f.o.Host.Remember(addrs, host.ShortLived)
	st, err := s.f.o.RPC.Open(ctx, p2p.ID(id), proto)
	if err != nil {
		return err
	}
	defer func() { _ = st.Reset() }()
	stop := context.AfterFunc(ctx, func() { _ = st.Reset() })
	defer stop()
	if err := st.SetDeadline(time.Now().Add(stepTime)); err != nil {
		return err
	}
	if err := wire.WriteSingle(st, m, time.Now().UnixMilli()); err != nil {
		return err
	}
	return wire.ReadSingle(st, reply, time.Now().UnixMilli())
}

// take verifies records and returns the nodes that would do and are news, and all that may be asked next.
func (s *quest) take(nodes, ways [][]byte) (found, named []tasks.NodeID) {
	now := time.Now().UnixMilli()
	for i, list := range [][][]byte{nodes, ways} {
		for _, record := range list {
			c, err := wire.OpenCapability(s.f.o.Network, now, record)
			if err != nil || c.Node == s.f.o.Self || c.Expiry <= now || len(c.Addresses) == 0 {
				continue
			}
			named = append(named, c.Node)
			s.mu.Lock()
			_, old := s.known[c.Node]
			if s.addrs[c.Node] = c.Addresses; i == 0 && !old && s.q.Suits(&c) {
				s.known[c.Node] = struct{}{}
				s.s.Found++
				found = append(found, c.Node)
			}
			s.mu.Unlock()
		}
	}
	return found, named
}

// look asks the directory for nodes of the class, area by area, and returns those whose records verify.
func (s *quest) look(ctx context.Context) []tasks.NodeID {
	if s.f.o.Directory == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	hints := map[p2p.ID]struct{}{}
	asked := 0
	for _, area := range s.areas() {
		for _, bucket := range rand.Perm(wire.Buckets) {
			if asked++; asked > lookups || len(hints) >= hintsTried || ctx.Err() != nil {
				break
			}
			key := wire.ProviderKey(s.f.o.Network, s.w.Class, wire.AnyBand, area, bucket)
			err := s.f.o.Directory.FindProviders(ctx, key, hintsTried, func(id p2p.ID, _ []string) bool {
				s.mu.Lock()
				_, known := s.known[tasks.NodeID(id)]
				s.mu.Unlock()
				if !known {
					hints[id] = struct{}{}
				}
				return len(hints) < hintsTried
			})
			if err != nil && !errors.Is(err, context.DeadlineExceeded) {
				s.f.o.Logger.Debug("The directory names no workers", slog.Any("error", err))
			}
		}
	}
	var records [][]byte
	for id := range hints { // in no order
		if r, err := s.f.o.Directory.Record(ctx, id); err == nil {
			records = append(records, r)
		}
	}
	s.mu.Lock()
	s.s.Hints += len(hints)
	s.mu.Unlock()
	found, _ := s.take(records, nil)
	return found
}

// areas are the keys to ask the directory under: the countries the job is bound to, or what lies around this node.
func (s *quest) areas() []string {
	if len(s.w.Regions) > 0 {
		return s.w.Regions
	}
	return s.f.o.Areas
}

// invite hands the offer to nodes that were found, in random order, until as many come as are missing.
func (s *quest) invite(ctx context.Context, found []tasks.NodeID) {
	rand.Shuffle(len(found), func(i, j int) { found[i], found[j] = found[j], found[i] })
	next := make(chan tasks.NodeID)
	var all sync.WaitGroup
	for range min(atOnce, len(found)) {
		all.Go(func() {
			for id := range next {
				s.inviteOne(ctx, id)
			}
		})
	}
	for _, id := range found {
		if ctx.Err() != nil || !s.may() {
			break
		}
		next <- id
	}
	close(next)
	all.Wait()
}

// may takes one invitation, if there is reason for another.
func (s *quest) may() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.left == 0 || s.s.Coming >= s.w.Missing {
		return false
	}
	s.left--
	return true
}

func (s *quest) inviteOne(ctx context.Context, id tasks.NodeID) {
	var reply wire.InviteReply
	err := s.talk(ctx, id, inviteProto, &wire.Invite{Version: wire.Version, Network: s.f.o.Network, Offer: s.w.Offer}, &reply)
	s.mu.Lock()
	s.s.Invited++
	switch {
	case err == nil && reply.Reason == nil:
		s.s.Coming++
	case err == nil:
		s.s.Refused[reply.Reason.Code]++
	default:
		s.s.Refused[tasks.NoAnswer]++
	}
	s.mu.Unlock()
	if err != nil || reply.Reason != nil {
		s.f.rest(id)
	}
}

// rest leaves a node alone for a while.
func (f *Finder) rest(id tasks.NodeID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.resting) < maxResting {
		f.resting[id] = time.Now().Add(restRefused)
	}
}
