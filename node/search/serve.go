package search

import (
	"context"
	"errors"
	"time"

	"kith/p2p"
	"kith/p2p/rpc"
	"kith/tasks"
	"kith/tasks/tokens"
	"kith/tasks/wire"
)

// The streams of a search. They carry a few kilobytes, so a relay will do.
var (
	searchProto = rpc.Proto{Name: "search", Version: 1, Limits: rpc.Limits{PerPeer: 1, Total: 16, Relayed: true}}
	inviteProto = rpc.Proto{Name: "invite", Version: 1, Limits: rpc.Limits{PerPeer: 2, Total: 32, Relayed: true}}
)

// Pace and bounds of what others may ask.
const (
	talkTime  = 10 * time.Second // for one question and its answer
	maxAskers = 4096             // nodes whose questions are counted; beyond them all must wait
)

// How often one node may ask, and invite.
var (
	searchRate = tokens.Rate{Every: 20 * time.Second, Burst: 3}
	inviteRate = tokens.Rate{Every: 5 * time.Second, Burst: 8}
)

// Server answers the questions of others.
type Server struct {
	Network string
	Book    *Book
	// Hear considers an offer that was handed to this node alone, and says why it cannot come, or nil.
	Hear func(ctx context.Context, o wire.Offer) *tasks.Reason

	searches, invites tokens.Each[p2p.ID]
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
	case !s.searches.Take(st.Remote(), searchRate, maxAskers, time.Now()):
		reply.Reason = &tasks.Reason{Code: tasks.Busy, RetryMillis: searchRate.Every.Milliseconds()}
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
	case !s.invites.Take(st.Remote(), inviteRate, maxAskers, time.Now()):
		reply.Reason = &tasks.Reason{Code: tasks.Busy, RetryMillis: inviteRate.Every.Milliseconds()}
	default:
		reply.Reason = s.Hear(ctx, o)
	}
	if wire.WriteSingle(st, &reply, time.Now().UnixMilli()) == nil {
		_ = st.Close()
	}
}

func told(r tasks.Reason) *tasks.Reason { return &r }
