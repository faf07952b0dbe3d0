package p2p_test

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	mocknet "github.com/libp2p/go-libp2p/p2p/net/mock"
	ma "github.com/multiformats/go-multiaddr"

	"kith/p2p"
	"kith/p2p/exchange"
	"kith/p2p/gossip"
	"kith/p2p/host"
	"kith/p2p/internal/lp"
	"kith/p2p/internal/p2ptest"
	"kith/storage/dag"
)

// underRace is set when the race detector watches, which crashes on timers of a bubble (golang.org/issue/78156) unless
// one processor runs it.
var underRace bool

// Whole nodes on a simulated network in one bubble of virtual time: an announcement reaches all, a key is found by a
// stranger, and a block is fetched from whoever provides it. That the bubble ends proves that Close leaves nothing.
func TestSimulatedNetwork(t *testing.T) {
	if underRace {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	}
	synctest.Test(t, func(t *testing.T) {
		const count, links = 30, 6
		net := mocknet.New()
		var ns []*node
		for i := range count {
			key, err := lp.PrivKey(p2ptest.Key(fmt.Sprint("simulated ", i)))
			if err != nil {
				t.Fatal(err)
			}
			raw, err := net.AddPeer(key, ma.StringCast(fmt.Sprintf("/ip4/10.0.0.%d/tcp/4001", i+1)))
			if err != nil {
				t.Fatal(err)
			}
			h, err := host.Wrap(raw, "simulated", host.LAN, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			ns = append(ns, newNode(t, h))
		}
		if err := net.LinkAll(); err != nil {
			t.Fatal(err)
		}
		r := rand.New(rand.NewPCG(1, 2))
		for i, n := range ns {
			for range links / 2 {
				other := ns[(i+1+r.IntN(count-1))%count]
				ai := peer.AddrInfo{ID: other.h.Unrouted().ID(), Addrs: other.h.Unrouted().Addrs()}
				if err := n.h.Unrouted().Connect(t.Context(), ai); err != nil {
					t.Fatal(err)
				}
			}
		}
		var mu sync.Mutex
		heard := map[int]bool{}
		var topics []*gossip.Topic
		for i, n := range ns {
			topic, err := n.g.Join("offers", func(p2p.ID, []byte) gossip.Verdict { return gossip.Accept }, func(p2p.ID, []byte) {
				mu.Lock()
				defer mu.Unlock()
				heard[i] = true
			})
			if err != nil {
				t.Fatal(err)
			}
			topics = append(topics, topic)
		}
		time.Sleep(10 * time.Second)
		if err := topics[0].Publish(t.Context(), []byte("work to share")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		mu.Lock()
		if len(heard) != count-1 {
			t.Errorf("%d of %d nodes heard", len(heard), count-1)
		}
		mu.Unlock()

		data := []byte("a public block")
		c := dag.Sum(dag.Raw, dag.SHA256, data)
		if err := ns[7].blobs.Put(t.Context(), c, data); err != nil {
			t.Fatal(err)
		}
		if err := ns[7].x.Provide(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		for _, i := range []int{1, 12, 25} {
			if _, err := ns[i].x.FetchDAG(t.Context(), exchange.Request{Root: c, Anyone: true}); err != nil {
				t.Errorf("node %d: %v", i, err)
			}
		}
		// The simulated network leaves a stream behind when one end of it goes first: all let go, then all hang up.
		for _, n := range ns {
			if err := errors.Join(n.rpc.Close(), n.x.Close(), n.g.Close(), n.dht.Close()); err != nil {
				t.Error(err)
			}
		}
		for _, n := range ns {
			for _, c := range n.h.Unrouted().Network().Conns() {
				for _, s := range c.GetStreams() {
					_ = s.Reset()
				}
			}
		}
		time.Sleep(time.Second)
		for _, n := range ns {
			if err := n.h.Close(); err != nil {
				t.Error(err)
			}
		}
		if err := net.Close(); err != nil {
			t.Error(err)
		}
	})
}
