package node

import (
	"testing"
	"time"

	"kith/node/api"
	"kith/p2p"
	"kith/tasks"
	"kith/tasks/wire"
)

// Nodes that meet tell each other who they are; what changes is told again, and a depot is known without the directory.
func TestNodesIntroduceThemselves(t *testing.T) {
	first, others := meet(t, 1)
	other := others[0]
	a, b := first.live.Load().network.registry, other.live.Load().network.registry
	said := func(r *registry, of *running) (known, bool) {
		r.mu.Lock()
		defer r.mu.Unlock()
		k := r.peers[p2p.ID(of.Self())]
		if k == nil || k.cap.Node != of.Self() {
			return known{}, false
		}
		return *k, true
	}
	eventually(t, "each knows the other", func() bool {
		k, ok := said(b, first)
		back, also := said(a, other)
		return ok && also && len(k.protocols) > 0 && len(back.cap.Kinds) > 0
	})
	if _, err := first.api.Set(t.Context(), map[string]string{"serve.depot": "on"}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the other hears of the depot", func() bool {
		id, addrs, ok := other.live.Load().depots.Choose()
		return ok && id == first.Self() && len(addrs) > 0
	})
	if peers, err := other.api.Peers(t.Context()); err != nil || !hasRole(peers, "holds blocks for others") {
		t.Errorf("%+v, %v", peers, err)
	}
	if s, err := first.api.Status(t.Context()); err != nil || s.Depot == nil || !s.Depot.Open || s.Depot.QuotaBytes == 0 {
		t.Errorf("depot %+v, %v", s.Depot, err)
	}
	other.live.Load().depots.failed(p2p.ID(first.Self()))
	if _, _, ok := other.live.Load().depots.Choose(); ok {
		t.Error("a depot that has just failed is chosen")
	}
}

func hasRole(peers []api.Peer, role string) bool {
	for _, p := range peers {
		for _, r := range p.Roles {
			if r == role {
				return true
			}
		}
	}
	return false
}

// Every registration that is refused gets its reason, and nobody may register without end.
func TestRefusedRegistrations(t *testing.T) {
	first, others := meet(t, 1)
	r := others[0].live.Load().network.registry
	to := p2p.ID(first.Self())
	record := r.record()
	foreign, err := wire.SignCapability(r.network, first.self.Key(), wire.Capability{Time: time.Now().UnixMilli(), Expiry: time.Now().Add(time.Hour).UnixMilli(), Class: tasks.CPU})
	if err != nil {
		t.Fatal(err)
	}
	try := func(change func(*wire.Register)) (wire.RegisterReply, error) {
		t.Helper()
		var reply wire.RegisterReply
		s, err := r.rpc.Open(t.Context(), to, registerProto)
		if err != nil {
			return reply, err
		}
		defer s.Reset()
		m := wire.Register{Version: wire.Version, Network: r.network, Protocols: r.protocols(), Capability: record, Membership: []byte{}, Time: time.Now().UnixMilli()}
		change(&m)
		if err := wire.WriteSingle(s, &m, time.Now().UnixMilli()); err != nil {
			return reply, err
		}
		return reply, wire.ReadSingle(s, &reply, time.Now().UnixMilli())
	}
	register := func(change func(*wire.Register)) tasks.Code {
		t.Helper()
		var reply wire.RegisterReply
		eventually(t, "a stream is free", func() (ok bool) { // the node itself registers too, and streams of one peer are few
			var err error
			reply, err = try(change)
			return err == nil
		})
		if reply.Reason == nil {
			if _, err := wire.OpenCapability(r.network, time.Now().UnixMilli(), reply.Capability); err != nil {
				t.Error(err)
			}
			return ""
		}
		return reply.Reason.Code
	}
	if got := register(func(m *wire.Register) { m.Network = "elsewhere" }); got != tasks.WrongNetwork {
		t.Errorf("another network: %q", got)
	}
	got := tasks.Code("")
	for n := 0; got == "" && n < 10; n++ {
		got = register(func(m *wire.Register) {})
	}
	if got != tasks.Busy {
		t.Errorf("without end: %q", got)
	}
	if got := first.live.Load().network.registry.learn(p2p.ID(others[0].Self()), foreign, nil); wire.ReasonOf(got).Code != tasks.BadMessage {
		t.Errorf("the record of another: %v", got)
	}
	if got := first.live.Load().network.registry.learn(to, []byte("record"), nil); wire.ReasonOf(got).Code != tasks.BadMessage {
		t.Errorf("garbage: %v", got)
	}
}
