package p2p_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"

	"kith/p2p"
	"kith/p2p/dht"
	"kith/p2p/exchange"
	"kith/p2p/gossip"
	"kith/p2p/host"
	"kith/p2p/internal/lp"
	"kith/p2p/internal/p2ptest"
	"kith/p2p/rpc"
	"kith/storage/dag"
	"kith/storage/memstore"
)

// node is one host with every part of the network on it.
type node struct {
	h     *host.Host
	rpc   *rpc.Service
	dht   *dht.DHT
	g     *gossip.Gossip
	x     *exchange.Exchange
	blobs *memstore.Blobs
}

func newNode(t testing.TB, h *host.Host) *node {
	t.Helper()
	n := &node{h: h, rpc: rpc.New(h), blobs: memstore.NewBlobs()}
	var err error
	if n.dht, err = dht.New(h, dht.Options{
		Validate: func(p2p.ID, []byte) error { return nil }, Newer: func(a, b []byte) int { return len(a) - len(b) }, Small: true,
	}); err != nil {
		t.Fatal(err)
	}
	if n.g, err = gossip.New(h, gossip.Options{}); err != nil {
		t.Fatal(err)
	}
	if n.x, err = exchange.New(h, n.rpc, n.blobs, exchange.Options{
		MayServe: func(p2p.ID, dag.CID) bool { return true }, Providers: n.dht,
	}); err != nil {
		t.Fatal(err)
	}
	return n
}

func (n *node) close() error {
	return errors.Join(n.rpc.Close(), n.x.Close(), n.g.Close(), n.dht.Close(), n.h.Close())
}

var echo = rpc.Proto{Name: "echo", Version: 1}

func serveEcho(_ context.Context, s p2p.Stream) {
	_ = s.SetDeadline(time.Now().Add(2 * time.Second)) // as every handler should, against the silent
	if _, err := io.Copy(s, io.LimitReader(s, 1<<10)); err == nil {
		_ = s.Close()
	}
}

// A peer sends rubbish, huge lengths, endless data and silence on every protocol the node speaks, and opens streams
// until it may open no more. The node stays up, and serves an honest peer meanwhile.
func TestHostilePeer(t *testing.T) {
	p2ptest.NoLeaks(t)
	victim := newNode(t, p2ptest.Host(t, "victim", nil))
	honest := newNode(t, p2ptest.Host(t, "honest", nil))
	for _, n := range []*node{victim, honest} {
		t.Cleanup(func() {
			if err := n.close(); err != nil {
				t.Error(err)
			}
		})
	}
	enemy := p2ptest.Host(t, "enemy", nil)
	if err := victim.rpc.Handle(echo, serveEcho); err != nil {
		t.Fatal(err)
	}
	topic, err := victim.g.Join("x", func(p2p.ID, []byte) gossip.Verdict { return gossip.Accept }, func(p2p.ID, []byte) {})
	if err != nil {
		t.Fatal(err)
	}
	ctx := p2ptest.Context(t)
	p2ptest.Connect(t, enemy, victim.h)
	p2ptest.Connect(t, honest.h, victim.h)
	target := lp.Peer(victim.h.ID())
	protos, err := enemy.Libp2p().Peerstore().GetProtocols(target)
	if err != nil || len(protos) < 6 {
		t.Fatalf("protocols %v, %v", protos, err)
	}
	rubbish := make([]byte, 64<<10)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(rubbish)
	huge := binary.AppendUvarint(nil, 1<<40)
	payloads := map[string][]byte{"rubbish": rubbish, "a huge length": huge, "zeros": make([]byte, 256<<10), "nothing": nil}
	for _, proto := range protos {
		for what, payload := range payloads {
			s, err := enemy.Libp2p().NewStream(ctx, target, proto)
			if err != nil {
				continue // no more streams for this peer: that is one of the right answers
			}
			_ = s.SetDeadline(time.Now().Add(200 * time.Millisecond))
			if _, err := s.Write(payload); err != nil {
				t.Logf("%s on %s: cut off: %v", what, proto, err)
			}
			if what != "nothing" {
				_ = s.Reset()
			} // silent streams stay open
		}
	}
	var open []network.Stream
	for range 2000 {
		s, err := enemy.Libp2p().NewStream(ctx, target, "/kith/test/echo/1")
		if err != nil {
			break
		}
		open = append(open, s)
	}
	if len(open) == 2000 {
		t.Error("2000 streams of one peer were let in")
	}
	s, err := honest.rpc.Open(ctx, victim.h.ID(), echo)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(s, make([]byte, 1)); err != nil {
		t.Errorf("an honest peer's echo: %v", err)
	}
	_ = s.Close()
	c := dag.Sum(dag.Raw, dag.SHA256, []byte("block"))
	if err := victim.blobs.Put(ctx, c, []byte("block")); err != nil {
		t.Fatal(err)
	}
	if _, err := honest.x.FetchDAG(ctx, exchange.Request{Root: c, From: []p2p.ID{victim.h.ID()}}); err != nil {
		t.Errorf("an honest peer's fetch: %v", err)
	}
	if err := honest.dht.Provide(ctx, [32]byte{1}); err != nil {
		t.Errorf("an honest peer's announcement: %v", err)
	}
	if err := topic.Publish(ctx, []byte("still here")); err != nil {
		t.Error(err)
	}
	for _, s := range open {
		_ = s.Reset()
	}
}

// More connections than the high-water mark: the host refuses or trims, and those it protects stay.
func TestConnectionFlood(t *testing.T) {
	const limit = 4
	victim := p2ptest.Host(t, "victim", func(c *host.Config) { c.LowWater, c.HighWater = 2, limit })
	friend := p2ptest.Host(t, "friend", nil)
	p2ptest.Connect(t, friend, victim)
	victim.Protect(friend.ID(), "test")
	var hosts []*host.Host
	for i := range 4 * limit {
		h := p2ptest.Host(t, string(rune('a'+i)), func(c *host.Config) { c.Transports = host.TCPOnly })
		_, _ = h.ConnectAny(p2ptest.Context(t), victim.Addrs())
		hosts = append(hosts, h)
	}
	if n := len(victim.Peers()); n > 2*limit {
		t.Errorf("%d of %d peers were let in, want at most %d", n, len(hosts)+1, 2*limit)
	}
	if direct, _ := victim.Connected(friend.ID()); !direct {
		t.Error("the protected peer was cut off")
	}
}

func TestIDs(t *testing.T) {
	id := p2p.IDFromKey(p2ptest.Key("a"))
	back, err := p2p.ParseID(id.String())
	if err != nil || back != id {
		t.Fatalf("%v, %v", back, err)
	}
	peer := lp.Peer(id)
	again, err := lp.ID(peer)
	if err != nil || again != id {
		t.Fatalf("%v, %v", again, err)
	}
	key, err := lp.PrivKey(p2ptest.Key("a"))
	if err != nil || !peer.MatchesPrivateKey(key) {
		t.Errorf("the peer id is not the key's: %v", err)
	}
	for _, bad := range []string{"", "x", id.String()[1:], id.String() + "a", "A" + id.String()[1:], peer.String(), id.String()[:51] + "b"} {
		if v, err := p2p.ParseID(bad); !errors.Is(err, p2p.ErrID) {
			t.Errorf("%q reads as %v, %v", bad, v, err)
		}
	}
	slog.New(slog.DiscardHandler).Info("an id has a short form", "id", id)
	if len(id.Short()) != 10 {
		t.Errorf("short form %q", id.Short())
	}
}

func FuzzParseID(f *testing.F) {
	f.Add(p2p.ID{1, 2, 3}.String())
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		if id, err := p2p.ParseID(s); err == nil && id.String() != s {
			t.Errorf("%q reads as %s", s, id)
		}
	})
}
