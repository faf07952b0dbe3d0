package exchange_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"kith/p2p"
	"kith/p2p/exchange"
	"kith/p2p/internal/p2ptest"
	"kith/storage/dag"
)

// Many small fetches at once share two streams; among them some that are given up half-way harm no other.
func TestManyFetchesShareLanes(t *testing.T) {
	p2ptest.NoLeaks(t)
	ns := nodes(t, 2, exchange.Options{MayServe: anyone, NoBitswap: true})
	from := []p2p.ID{ns[0].h.ID()}
	var roots []dag.CID
	for i := range 60 {
		c := dag.Sum(dag.Raw, dag.SHA256, fmt.Append(nil, i))
		if err := ns[0].blobs.Put(t.Context(), c, fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
		roots = append(roots, c)
	}
	big, _ := addFile(t, ns[0].blobs, 24<<20)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			ctx, cancel := context.WithCancel(p2ptest.Context(t))
			r := exchange.Request{Root: big, From: from, Progress: func(int, int64) { cancel() }}
			if _, err := ns[1].x.FetchDAG(ctx, r); err != nil && !errors.Is(err, context.Canceled) {
				t.Errorf("a fetch that is given up: %v", err)
			}
		})
	}
	for _, root := range roots {
		wg.Go(func() {
			if _, err := ns[1].x.FetchDAG(p2ptest.Context(t), exchange.Request{Root: root, From: from}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if _, err := ns[1].x.FetchDAG(p2ptest.Context(t), exchange.Request{Root: big, From: from}); err != nil {
		t.Error(err)
	}
	if st := ns[0].rpc.Stats(); st.Refused != 0 {
		t.Errorf("%+v: streams were refused", st)
	}
}

// BenchmarkSmallFetch fetches one small block from a connected peer: what a small result costs.
func BenchmarkSmallFetch(b *testing.B) {
	ns := nodes(b, 2, exchange.Options{MayServe: anyone, NoBitswap: true})
	from := []p2p.ID{ns[0].h.ID()}
	for i := 0; b.Loop(); i++ {
		data := fmt.Append(nil, i)
		c := dag.Sum(dag.Raw, dag.SHA256, data)
		if err := ns[0].blobs.Put(b.Context(), c, data); err != nil {
			b.Fatal(err)
		}
		if _, err := ns[1].x.FetchDAG(b.Context(), exchange.Request{Root: c, From: from}); err != nil {
			b.Fatal(err)
		}
	}
}
