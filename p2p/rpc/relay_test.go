package rpc_test

import (
	"context"
	"errors"
	"io"
	"testing"

	"kith/p2p"
	"kith/p2p/internal/p2ptest"
	"kith/p2p/rpc"
)

// Over a relay runs what is declared fit for it, and nothing else, whoever opens it.
func TestOverRelay(t *testing.T) {
	hidden, other := p2ptest.Relayed(t)
	a, b := service(t, hidden), service(t, other)
	session := rpc.Proto{Name: "session", Version: 1, Limits: rpc.Limits{Relayed: true}}
	bulk := rpc.Proto{Name: "bulk", Version: 1}
	relayed := make(chan bool, 2)
	for _, p := range []rpc.Proto{session, bulk} {
		err := a.Handle(p, func(ctx context.Context, s p2p.Stream) {
			relayed <- s.Relayed() && !s.RemoteIP().IsValid()
			serveEcho(ctx, s)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	ctx := p2ptest.Context(t)
	s, err := b.Open(ctx, hidden.ID(), session)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(s, make([]byte, 1)); err != nil || !<-relayed || !s.Relayed() || s.RemoteIP().IsValid() {
		t.Errorf("echo over a relay: %v", err)
	}
	_ = s.Close()
	if _, err := b.Open(ctx, hidden.ID(), bulk); !errors.Is(err, p2p.ErrLimited) {
		t.Errorf("bulk over a relay: %v, want ErrLimited", err)
	}
	// A peer that opens it all the same is refused.
	forced := bulk
	forced.Limits.Relayed = true
	if s, err := b.Open(ctx, hidden.ID(), forced); err == nil {
		_, _ = s.Write([]byte("x"))
		if _, err := io.ReadFull(s, make([]byte, 1)); err == nil {
			t.Error("bulk was served over a relay")
		}
	}
	p2ptest.Eventually(t, "the refusal is counted", func() bool { return a.Stats().Refused == 1 })
}
