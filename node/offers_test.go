package node

import (
	"bytes"
	"crypto/ed25519"
	"log/slog"
	"testing"
	"time"

	"kith/p2p"
	"kith/p2p/gossip"
	"kith/tasks"
	"kith/tasks/wire"
)

// An offer is passed on once, and no more of one submitter than it can need; others are heard all the same.
func TestOffersAreAdmittedOnceAndNotInFloods(t *testing.T) {
	key := func(n byte) ed25519.PrivateKey { return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, 32)) }
	id := func(k ed25519.PrivateKey) tasks.NodeID { return tasks.NodeID(k.Public().(ed25519.PublicKey)) }
	own, near, far := key(1), key(2), key(3)
	x := &topics{network: "test", self: id(own), log: slog.New(slog.DiscardHandler), seen: wire.NewSeenSet(3, 2)}
	offer := func(k ed25519.PrivateKey, nonce byte) []byte {
		now := time.Now().UnixMilli()
		b, err := wire.SignOffer("test", k, wire.Offer{
			Job: tasks.JobID{1}, Submitter: id(k), Kinds: []string{"test.noop"}, Want: 1, Class: tasks.CPU,
			Time: now, Expiry: now + 30_000, Nonce: [8]byte{nonce},
		})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	first := offer(near, 1)
	for _, c := range []struct {
		name string
		data []byte
		want gossip.Verdict
	}{
		{"new", first, gossip.Accept},
		{"again", first, gossip.Ignore},
		{"another of the same", offer(near, 2), gossip.Accept},
		{"one too many of the same", offer(near, 3), gossip.Ignore},
		{"of somebody else", offer(far, 1), gossip.Accept},
		{"one too many in all", offer(far, 2), gossip.Ignore},
		{"our own", offer(own, 1), gossip.Accept},
		{"not an offer", []byte("x"), gossip.Reject},
	} {
		if got := x.judge(p2p.ID{}, c.data); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
	if d := x.seen.Drops(); d != (wire.SeenDrops{Repeated: 1, Flood: 1, Full: 1}) {
		t.Errorf("drops %+v", d)
	}
}
