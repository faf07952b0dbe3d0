package dht

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	ds "github.com/ipfs/go-datastore"

	"kith/p2p"
	"kith/p2p/host"
	"kith/p2p/internal/p2ptest"
)

// Test records are "<id text> <version digit>".
func record(id p2p.ID, version int) []byte { return fmt.Append(nil, id, " ", version) }

func options() Options {
	return Options{
		Validate: func(id p2p.ID, b []byte) error {
			if !strings.HasPrefix(string(b), id.String()+" ") {
				return errors.New("not that node's record")
			}
			return nil
		},
		Newer: func(a, b []byte) int { return int(a[len(a)-1]) - int(b[len(b)-1]) },
	}
}

func directory(t *testing.T, h *host.Host) *DHT {
	t.Helper()
	d, err := New(h, options())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// star makes n nodes that know only the first.
func star(t *testing.T, n int) ([]*host.Host, []*DHT) {
	t.Helper()
	var hs []*host.Host
	var dirs []*DHT
	for i := range n {
		h := p2ptest.Host(t, fmt.Sprint("host ", i), nil)
		d := directory(t, h)
		if i > 0 {
			p2ptest.Connect(t, h, hs[0])
		}
		hs, dirs = append(hs, h), append(dirs, d)
	}
	p2ptest.Eventually(t, "the centre knows all", func() bool { return dirs[0].State().Known == n-1 })
	for _, d := range dirs[1:] {
		p2ptest.Eventually(t, "each knows the centre", func() bool { return d.State().Known >= 1 })
	}
	return hs, dirs
}

func TestRecords(t *testing.T) {
	p2ptest.NoLeaks(t)
	hs, dirs := star(t, 5)
	ctx := p2ptest.Context(t)
	id := hs[3].ID()
	if _, err := dirs[1].Record(ctx, id); !errors.Is(err, ErrNotFound) {
		t.Errorf("before: %v", err)
	}
	for version := 1; version <= 2; version++ {
		want := record(id, version)
		if err := dirs[3].PutRecord(ctx, want); err != nil {
			t.Fatal(err)
		}
		for i, d := range dirs {
			if got, err := d.Record(ctx, id); err != nil || !bytes.Equal(got, want) {
				t.Errorf("node %d found %q, %v", i, got, err)
			}
		}
	}
	if err := dirs[3].PutRecord(ctx, record(id, 1)); !errors.Is(err, ErrRecord) {
		t.Errorf("an older record: %v", err)
	}
	if err := dirs[3].PutRecord(ctx, record(hs[1].ID(), 3)); !errors.Is(err, ErrRecord) {
		t.Errorf("another's record: %v", err)
	}
	if err := dirs[3].PutRecord(ctx, append(record(id, 3), make([]byte, MaxRecord)...)); !errors.Is(err, ErrRecord) {
		t.Errorf("a large record: %v", err)
	}
}

func TestProviders(t *testing.T) {
	p2ptest.NoLeaks(t)
	hs, dirs := star(t, 5)
	ctx := p2ptest.Context(t)
	key := [32]byte{1, 2, 3}
	for _, i := range []int{2, 3} {
		if err := dirs[i].Provide(ctx, key); err != nil {
			t.Fatal(err)
		}
	}
	got := map[p2p.ID]bool{}
	err := dirs[4].FindProviders(ctx, key, 0, func(id p2p.ID, _ []string) bool { got[id] = true; return true })
	if err != nil || len(got) != 2 || !got[hs[2].ID()] || !got[hs[3].ID()] {
		t.Errorf("found %v, %v", got, err)
	}
	n := 0
	if err := dirs[4].FindProviders(ctx, key, 0, func(p2p.ID, []string) bool { n++; return false }); err != nil || n != 1 {
		t.Errorf("asked to stop after one, got %d, %v", n, err)
	}
	none := 0
	if err := dirs[4].FindProviders(ctx, [32]byte{9}, 5, func(p2p.ID, []string) bool { none++; return true }); err != nil || none != 0 {
		t.Errorf("an unknown key: %d, %v", none, err)
	}
}

// Nodes that share only a bootstrap peer find each other by looking around, and by asking for an identity.
func TestNeighboursMeet(t *testing.T) {
	hs, dirs := star(t, 5)
	ctx := p2ptest.Context(t)
	addrs, err := dirs[1].FindPeer(ctx, hs[4].ID())
	if err != nil || len(addrs) == 0 {
		t.Fatalf("addresses %v, %v", addrs, err)
	}
	for _, d := range dirs {
		d.look(ctx)
	}
	for i, h := range hs {
		if n := len(h.Peers()); n != 4 {
			t.Errorf("node %d knows %d of 4 others", i, n)
		}
	}
	if _, err := dirs[1].FindPeer(ctx, p2p.IDFromKey(p2ptest.Key("nobody"))); !errors.Is(err, ErrNotFound) {
		t.Errorf("a stranger: %v", err)
	}
}

func TestAlone(t *testing.T) {
	d := directory(t, p2ptest.Host(t, "a", nil))
	ctx := p2ptest.Context(t)
	if _, err := d.Record(ctx, p2p.ID{1}); !errors.Is(err, ErrNoPeers) {
		t.Errorf("Record: %v", err)
	}
	if err := d.Provide(ctx, [32]byte{1}); !errors.Is(err, ErrNoPeers) {
		t.Errorf("Provide: %v", err)
	}
	if err := d.FindProviders(ctx, [32]byte{1}, 1, func(p2p.ID, []string) bool { return true }); !errors.Is(err, ErrNoPeers) {
		t.Errorf("FindProviders: %v", err)
	}
	if !d.State().Serving {
		t.Error("a LAN node does not serve")
	}
}

func TestStoreIsBounded(t *testing.T) {
	b := newBounded(3)
	for i := range 10 {
		if err := b.Put(t.Context(), ds.NewKey(fmt.Sprint(i)), []byte{1}); err != nil {
			t.Fatal(err)
		}
	}
	if b.count.Load() != 3 || b.dropped.Load() != 7 {
		t.Errorf("%d kept, %d dropped", b.count.Load(), b.dropped.Load())
	}
	if err := b.Put(t.Context(), ds.NewKey("0"), []byte{2}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := b.Delete(t.Context(), ds.NewKey("0")); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Put(t.Context(), ds.NewKey("new"), []byte{2}); err != nil || b.count.Load() != 3 || b.dropped.Load() != 7 {
		t.Errorf("after a delete: %d kept, %d dropped, %v", b.count.Load(), b.dropped.Load(), err)
	}
}

func FuzzValidator(f *testing.F) {
	id := p2p.ID{7}
	f.Add(recordKey(id), record(id, 1))
	f.Add("/kithcap/", []byte{})
	f.Add("/pk/x", []byte("y"))
	v := validator{options()}
	f.Fuzz(func(t *testing.T, key string, value []byte) {
		if v.Validate(key, value) == nil && (len(value) == 0 || len(value) > MaxRecord || len(key) != len(namespace)+2+32) {
			t.Errorf("accepted key %q with %d bytes", key, len(value))
		}
	})
}
