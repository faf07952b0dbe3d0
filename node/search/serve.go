package search

import (
	"context"
	"errors"
	"sync"
	"time"

	"kith/p2p"
	"kith/p2p/rpc"
	"kith/tasks"
	"kith/tasks/wire"
)

// The streams of a search. They carry a few kilobytes, so a relay will do.
var (
	searchProto = rpc.Proto{Name: "search", Version: 1, Limits: rpc.Limits{PerPeer: 1, Total: 16, Relayed: true}}
	inviteProto = rpc.Proto{Name: "invite", Version: 1, Limits: rpc.Limits{PerPeer: 2, Total: 32, Relayed: true}}
)

// Pace and bounds of what others may ask.
const (
	talkTime    = 10 * time.Second // for one question and its answer
	searchEvery = 20 * time.Second // one node may ask once in so long, and a few times at once
	searchBurst = 3
	inviteEvery = 5 * time.Second // and invite
	inviteBurst = 8
	maxAskers   = 4096 // nodes whose questions are counted; beyond them all must wait
)

// Server answers the questions of others.
type Server struct {
	Network string
	Book    *Book
	// Hear considers an offer that was handed to this node alone, and says why it cannot come, or nil.
	Hear func(ctx context.Context, o wire.Offer) *tasks.Reason

	searches, invites rates
}

// Serve begins to answer.
func (s *Server) Serve(r *rpc.Service) error {
	return errors.Join(r.Handle(searchProto, s.search), r.Handle(inviteProto, s.invite))
}

// search names nodes this one has met.
func (s *Server) search(_ context.Context, st p2p.Stream) {
	if st.SetDeadline(time.Now().Add(talkTime)) != nil {
		return
	}
	var q wire.Search
	reply := wire.SearchReply{Version: wire.Version}
	err := wire.ReadSingle(st, &q, time.Now().UnixMilli())
	switch {
	case err != nil:
		reply.Reason = told(wire.ReasonOf(err))
	case q.Network != s.Network:
		reply.Reason = &tasks.Reason{Code: tasks.WrongNetwork}
	case !s.searches.take(st.Remote(), searchEvery, searchBurst):
		reply.Reason = &tasks.Reason{Code: tasks.Busy, RetryMillis: searchEvery.Milliseconds()}
	default:
		reply.Nodes, reply.Ways = s.Book.Answer(&q, tasks.NodeID(st.Remote()))
	}
	if wire.WriteSingle(st, &reply, time.Now().UnixMilli()) == nil {
		_ = st.Close()
	}
}

// invite considers an offer of the node that hands it over.
func (s *Server) invite(ctx context.Context, st p2p.Stream) {
	if st.SetDeadline(time.Now().Add(talkTime)) != nil {
		return
	}
	var m wire.Invite
	var o wire.Offer
	now := time.Now().UnixMilli()
	reply := wire.InviteReply{Version: wire.Version}
	err := wire.ReadSingle(st, &m, now)
	if err == nil {
		o, err = wire.OpenOffer(s.Network, now, m.Offer)
	}
	switch {
	case err != nil:
		reply.Reason = told(wire.ReasonOf(err))
	case m.Network != s.Network:
		reply.Reason = &tasks.Reason{Code: tasks.WrongNetwork}
	case o.Submitter != tasks.NodeID(st.Remote()):
		reply.Reason = told(tasks.Because(tasks.BadMessage, "the offer is of another node"))
	case !s.invites.take(st.Remote(), inviteEvery, inviteBurst):
		reply.Reason = &tasks.Reason{Code: tasks.Busy, RetryMillis: inviteEvery.Milliseconds()}
	default:
		reply.Reason = s.Hear(ctx, o)
	}
	if wire.WriteSingle(st, &reply, time.Now().UnixMilli()) == nil {
		_ = st.Close()
	}
}

func told(r tasks.Reason) *tasks.Reason { return &r }

// rates bounds how often each peer may do something. The zero value is ready.
type rates struct {
	mu sync.Mutex
	m  map[p2p.ID]rate
}

type rate struct {
	left float64
	at   time.Time
}

// take reports whether a peer may do it now: once in every, and burst times at once.
func (r *rates) take(id p2p.ID, every time.Duration, burst float64) bool {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	x, known := r.m[id]
	if !known {
		if r.m == nil {
			r.m = map[p2p.ID]rate{}
		}
		if len(r.m) >= maxAskers {
			for other, y := range r.m {
				if now.Sub(y.at) > time.Duration(burst)*every { // as good as new
					delete(r.m, other)
				}
			}
		}
		if len(r.m) >= maxAskers {
			return false
		}
		x = rate{burst, now}
	}
	x.left = min(burst, x.left+float64(now.Sub(x.at))/float64(every))
	x.at = now
	ok := x.left >= 1
	if ok {
		x.left--
	}
	r.m[id] = x
	return ok
}
