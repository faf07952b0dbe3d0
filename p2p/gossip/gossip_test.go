package gossip_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"kith/p2p"
	"kith/p2p/gossip"
	"kith/p2p/host"
	"kith/p2p/internal/p2ptest"
)

func join(t *testing.T, h *host.Host) *gossip.Gossip {
	t.Helper()
	g, err := gossip.New(h, gossip.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	})
	return g
}

// heard collects what a handler gets.
type heard struct {
	mu   sync.Mutex
	msgs map[string]p2p.ID
}

func (h *heard) add(from p2p.ID, data []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.msgs == nil {
		h.msgs = map[string]p2p.ID{}
	}
	h.msgs[string(data)] = from
}

func (h *heard) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.msgs)
}

func accept(p2p.ID, []byte) gossip.Verdict { return gossip.Accept }

// Five nodes in a line: what one end says, the other hears.
func TestFiveNodes(t *testing.T) {
	p2ptest.NoLeaks(t)
	const n = 5
	var hs []*host.Host
	var ears [n]heard
	var topics []*gossip.Topic
	for i := range n {
		h := p2ptest.Host(t, fmt.Sprint("host ", i), nil)
		topic, err := join(t, h).Join("offers/cpu/DE", accept, ears[i].add)
		if err != nil {
			t.Fatal(err)
		}
		if i > 0 {
			p2ptest.Connect(t, h, hs[i-1])
		}
		hs, topics = append(hs, h), append(topics, topic)
	}
	p2ptest.Eventually(t, "each sees its neighbours", func() bool {
		return topics[0].Peers() == 1 && topics[2].Peers() == 2 && topics[4].Peers() == 1
	})
	i := 0
	p2ptest.Eventually(t, "the far end hears", func() bool {
		i++
		if err := topics[0].Publish(t.Context(), fmt.Append(nil, "hello ", i)); err != nil {
			t.Fatal(err)
		}
		return ears[4].count() > 0
	})
	if ears[0].count() != 0 {
		t.Error("a node hears itself")
	}
	ears[4].mu.Lock()
	defer ears[4].mu.Unlock()
	for msg, from := range ears[4].msgs {
		if from != hs[0].ID() {
			t.Errorf("%q came from %s", msg, from)
		}
	}
}

func TestVerdicts(t *testing.T) {
	hs := p2ptest.Hosts(t, 2, nil)
	a, b := join(t, hs[0]), join(t, hs[1])
	var ear heard
	ta, err := a.Join("x", accept, func(p2p.ID, []byte) {})
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.Join("x", func(from p2p.ID, data []byte) gossip.Verdict {
		switch {
		case from != hs[0].ID():
			t.Errorf("validates a message from %s", from)
		case bytes.HasPrefix(data, []byte("late")):
			return gossip.Ignore
		case bytes.HasPrefix(data, []byte("lie")):
			return gossip.Reject
		}
		return gossip.Accept
	}, ear.add)
	if err != nil {
		t.Fatal(err)
	}
	p2ptest.Eventually(t, "the peer is seen", func() bool { return ta.Peers() == 1 })
	for _, m := range []string{"late news", "lie", "truth", "truth"} {
		if err := ta.Publish(t.Context(), []byte(m)); err != nil {
			t.Fatalf("%s: %v", m, err)
		}
	}
	p2ptest.Eventually(t, "each is counted", func() bool {
		st := b.Stats()
		return st.Ignored == 1 && st.Rejected == 1 && st.Delivered == 1 && ear.count() == 1
	})
	if st := a.Stats(); st.Published != 4 {
		t.Errorf("%+v, want 4 published", st)
	}
}

func TestLimits(t *testing.T) {
	h := p2ptest.Host(t, "a", nil)
	g := join(t, h)
	topic, err := g.Join("x", accept, func(p2p.ID, []byte) {})
	if err != nil {
		t.Fatal(err)
	}
	if err := topic.Publish(t.Context(), make([]byte, gossip.MaxMessage)); !errors.Is(err, gossip.ErrTooLarge) {
		t.Errorf("a large message: %v", err)
	}
	if _, err := g.Join("x", accept, func(p2p.ID, []byte) {}); err == nil {
		t.Error("joined twice")
	}
	if err := topic.Leave(); err != nil {
		t.Error(err)
	}
	if _, err := g.Join("x", accept, func(p2p.ID, []byte) {}); err != nil {
		t.Errorf("joined again after leaving: %v", err)
	}
	if err := g.Close(); err != nil {
		t.Error(err)
	}
	if _, err := g.Join("y", accept, func(p2p.ID, []byte) {}); !errors.Is(err, p2p.ErrClosed) {
		t.Errorf("Join after Close: %v", err)
	}
}

// A handler that never returns costs a queue, not the node.
func TestSlowHandler(t *testing.T) {
	hs := p2ptest.Hosts(t, 2, nil)
	a, b := join(t, hs[0]), join(t, hs[1])
	ta, err := a.Join("x", accept, func(p2p.ID, []byte) {})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if _, err = b.Join("x", accept, func(p2p.ID, []byte) { <-ctx.Done() }); err != nil {
		t.Fatal(err)
	}
	p2ptest.Eventually(t, "the peer is seen", func() bool { return ta.Peers() == 1 })
	i := 0
	p2ptest.Eventually(t, "messages are dropped and counted", func() bool {
		for range 20 {
			i++
			if err := ta.Publish(t.Context(), fmt.Append(nil, i)); err != nil {
				t.Fatal(err)
			}
		}
		return b.Stats().Undelivered > 0
	})
	cancel()
}

// Topics of another network are not even remembered.
func TestOtherNetwork(t *testing.T) {
	a := p2ptest.Host(t, "a", nil)
	b := p2ptest.Host(t, "b", func(c *host.Config) { c.Network = "other" })
	p2ptest.Connect(t, a, b)
	ta, err := join(t, a).Join("x", accept, func(p2p.ID, []byte) {})
	if err != nil {
		t.Fatal(err)
	}
	tb, err := join(t, b).Join("x", accept, func(p2p.ID, []byte) {})
	if err != nil {
		t.Fatal(err)
	}
	if ta.Peers() != 0 || tb.Peers() != 0 {
		t.Errorf("%d and %d peers of another network", ta.Peers(), tb.Peers())
	}
}
