package exchange_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"kith/p2p"
	"kith/p2p/exchange"
	"kith/p2p/host"
	"kith/p2p/internal/p2ptest"
	"kith/p2p/rpc"
	"kith/storage"
	"kith/storage/dag"
	"kith/storage/memstore"
)

// node is one peer with a store.
type node struct {
	h     *host.Host
	rpc   *rpc.Service
	blobs storage.Blobs
	x     *exchange.Exchange
}

func newNode(t testing.TB, h *host.Host, o exchange.Options) *node {
	t.Helper()
	n := &node{h: h, rpc: rpc.New(h), blobs: memstore.NewBlobs()}
	var err error
	if n.x, err = exchange.New(h, n.rpc, n.blobs, o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(n.rpc.Close(), n.x.Close()); err != nil {
			t.Error(err)
		}
	})
	return n
}

func anyone(p2p.ID, dag.CID) bool { return true }

func nodes(t testing.TB, count int, o exchange.Options) []*node {
	t.Helper()
	var out []*node
	for _, h := range p2ptest.Hosts(t, count, nil) {
		out = append(out, newNode(t, h, o))
	}
	return out
}

func random(seed uint64, n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(seed), 1})
	_, _ = r.Read(b)
	return b
}

// addFile stores a file of n random bytes.
func addFile(t testing.TB, blobs storage.Blobs, n int) (dag.CID, []byte) {
	t.Helper()
	data := random(uint64(n), n)
	f, err := dag.AddFile(t.Context(), blobs, bytes.NewReader(data), dag.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return f.Root, data
}

func readFile(t testing.TB, blobs storage.Blobs, root dag.CID) []byte {
	t.Helper()
	r, err := dag.Open(t.Context(), blobs, root)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestFetch(t *testing.T) {
	p2ptest.NoLeaks(t)
	ns := nodes(t, 2, exchange.Options{MayServe: anyone})
	for _, size := range []int{0, 1, 1 << 20, 5<<20 + 7} {
		root, want := addFile(t, ns[0].blobs, size)
		var last int64
		r := exchange.Request{Root: root, From: []p2p.ID{ns[0].h.ID()}, Progress: func(_ int, n int64) { last = n }}
		res, err := ns[1].x.FetchDAG(p2ptest.Context(t), r)
		if err != nil {
			t.Fatal(err)
		}
		if res.Bytes != last || res.Bytes < int64(size) {
			t.Errorf("size %d: %+v, last progress %d", size, res, last)
		}
		if got := readFile(t, ns[1].blobs, root); !bytes.Equal(got, want) {
			t.Errorf("size %d: %d bytes differ", size, len(got))
		}
		again, err := ns[1].x.FetchDAG(p2ptest.Context(t), r)
		if err != nil || again.Blocks != 0 || again.Present != res.Blocks {
			t.Errorf("fetched again: %+v, %v", again, err)
		}
	}
	if st := ns[1].x.Stats(); st.BitswapBlocks != 0 || st.FetchedBlocks == 0 {
		t.Errorf("stats %+v", st)
	}
}

func TestFetchByBitswap(t *testing.T) {
	p2ptest.NoLeaks(t)
	ns := nodes(t, 3, exchange.Options{MayServe: anyone})
	root, want := addFile(t, ns[0].blobs, 3<<20)
	res, err := ns[2].x.FetchDAG(p2ptest.Context(t), exchange.Request{Root: root, Anyone: true})
	if err != nil {
		t.Fatal(err)
	}
	if got := readFile(t, ns[2].blobs, root); !bytes.Equal(got, want) {
		t.Errorf("%d bytes differ", len(got))
	}
	if st := ns[2].x.Stats(); st.BitswapBlocks != uint64(res.Blocks) {
		t.Errorf("stats %+v", st)
	}
}

// Two nodes hold one half each: neither alone is enough.
func TestManySources(t *testing.T) {
	ns := nodes(t, 3, exchange.Options{MayServe: anyone, NoBitswap: true})
	full := memstore.NewBlobs()
	root, want := addFile(t, full, 9<<20)
	i := 0
	for c, err := range full.All(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		data, err := full.Get(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		if err := ns[i%2].blobs.Put(t.Context(), c, data); err != nil {
			t.Fatal(err)
		}
		i++
	}
	from := []p2p.ID{ns[0].h.ID(), p2p.IDFromKey(p2ptest.Key("gone")), ns[1].h.ID()}
	if _, err := ns[2].x.FetchDAG(p2ptest.Context(t), exchange.Request{Root: root, From: from}); err != nil {
		t.Fatal(err)
	}
	if got := readFile(t, ns[2].blobs, root); !bytes.Equal(got, want) {
		t.Errorf("%d bytes differ", len(got))
	}
}

func TestFetchGoesOn(t *testing.T) {
	ns := nodes(t, 2, exchange.Options{MayServe: anyone, NoBitswap: true})
	root, want := addFile(t, ns[0].blobs, 8<<20)
	ctx, cancel := context.WithCancel(p2ptest.Context(t))
	r := exchange.Request{Root: root, From: []p2p.ID{ns[0].h.ID()}, Progress: func(n int, _ int64) {
		if n >= 3 {
			cancel()
		}
	}}
	if _, err := ns[1].x.FetchDAG(ctx, r); !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v, want Canceled", err)
	}
	r.Progress = nil
	res, err := ns[1].x.FetchDAG(p2ptest.Context(t), r)
	if err != nil || res.Present < 3 || res.Blocks+res.Present != 9 {
		t.Fatalf("%+v, %v; want at least 3 of 9 blocks present", res, err)
	}
	if got := readFile(t, ns[1].blobs, root); !bytes.Equal(got, want) {
		t.Errorf("%d bytes differ", len(got))
	}
}

func TestMayServe(t *testing.T) {
	hs := p2ptest.Hosts(t, 3, nil)
	friend := hs[1].ID()
	server := newNode(t, hs[0], exchange.Options{MayServe: func(p p2p.ID, _ dag.CID) bool { return p == friend }})
	root, _ := addFile(t, server.blobs, 3<<20)
	good, bad := newNode(t, hs[1], exchange.Options{}), newNode(t, hs[2], exchange.Options{})
	from := []p2p.ID{server.h.ID()}
	if _, err := good.x.FetchDAG(p2ptest.Context(t), exchange.Request{Root: root, From: from}); err != nil {
		t.Error(err)
	}
	if _, err := bad.x.FetchDAG(p2ptest.Context(t), exchange.Request{Root: root, From: from}); !errors.Is(err, exchange.ErrStalled) {
		t.Errorf("a stranger over a stream: %v", err)
	}
	r := exchange.Request{Root: root, Anyone: true, Patience: 100 * time.Millisecond}
	if _, err := bad.x.FetchDAG(p2ptest.Context(t), r); !errors.Is(err, exchange.ErrStalled) {
		t.Errorf("a stranger by Bitswap: %v", err)
	}
	if has, err := bad.blobs.Has(t.Context(), root); has || err != nil {
		t.Errorf("the stranger has the root: %t, %v", has, err)
	}
	if n := server.x.Stats().Refused; n < 2 {
		t.Errorf("%d refusals counted", n)
	}
	if _, err := server.x.FetchDAG(p2ptest.Context(t), exchange.Request{Root: dag.Sum(dag.Raw, dag.SHA256, nil), From: []p2p.ID{friend}}); !errors.Is(err, exchange.ErrStalled) {
		t.Errorf("no policy serves nobody: %v", err)
	}
}

// liar answers wants with whatever reply says.
func liar(t *testing.T, h *host.Host, reply func(c dag.CID, s p2p.Stream)) {
	s := rpc.New(h)
	t.Cleanup(func() { _ = s.Close() })
	err := s.Handle(rpc.Proto{Name: "blocks", Version: 1}, func(ctx context.Context, st p2p.Stream) {
		var c dag.CID
		for {
			if _, err := io.ReadFull(st, c[:]); err != nil {
				return
			}
			reply(c, st)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestBadProviders(t *testing.T) {
	frame := func(n uint32, data []byte) []byte { return append(binary.BigEndian.AppendUint32(nil, n), data...) }
	for name, reply := range map[string]func(dag.CID, p2p.Stream){
		"wrong bytes":      func(_ dag.CID, s p2p.Stream) { _, _ = s.Write(frame(5, []byte("wrong"))) },
		"oversize":         func(_ dag.CID, s p2p.Stream) { _, _ = s.Write(frame(dag.MaxBlock+1, make([]byte, 1<<10))) },
		"garbage":          func(_ dag.CID, s p2p.Stream) { _, _ = s.Write(random(1, 100)) },
		"cut off":          func(_ dag.CID, s p2p.Stream) { _, _ = s.Write(frame(1000, make([]byte, 10))); _ = s.Close() },
		"vanishes":         func(_ dag.CID, s p2p.Stream) { _ = s.Reset() },
		"says it has none": func(_ dag.CID, s p2p.Stream) { _, _ = s.Write(frame(^uint32(0), nil)) },
	} {
		t.Run(name, func(t *testing.T) {
			p2ptest.NoLeaks(t)
			hs := p2ptest.Hosts(t, 3, nil)
			liar(t, hs[0], reply)
			good, me := newNode(t, hs[1], exchange.Options{MayServe: anyone}), newNode(t, hs[2], exchange.Options{})
			root, want := addFile(t, good.blobs, 3<<20)
			alone := exchange.Request{Root: root, From: []p2p.ID{hs[0].ID()}}
			if _, err := me.x.FetchDAG(p2ptest.Context(t), alone); !errors.Is(err, exchange.ErrStalled) {
				t.Fatalf("from the liar alone: %v", err)
			}
			both := exchange.Request{Root: root, From: []p2p.ID{hs[0].ID(), hs[1].ID()}}
			if _, err := me.x.FetchDAG(p2ptest.Context(t), both); err != nil {
				t.Fatalf("from a liar and an honest peer: %v", err)
			}
			if got := readFile(t, me.blobs, root); !bytes.Equal(got, want) {
				t.Errorf("%d bytes differ", len(got))
			}
		})
	}
}

func TestSilentProvider(t *testing.T) {
	p2ptest.NoLeaks(t)
	hs := p2ptest.Hosts(t, 2, nil)
	liar(t, hs[0], func(dag.CID, p2p.Stream) {})
	me := newNode(t, hs[1], exchange.Options{})
	r := exchange.Request{Root: dag.Sum(dag.Raw, dag.SHA256, []byte("x")), From: []p2p.ID{hs[0].ID()}, Patience: 50 * time.Millisecond}
	if _, err := me.x.FetchDAG(p2ptest.Context(t), r); !errors.Is(err, exchange.ErrStalled) {
		t.Fatalf("error %v, want ErrStalled", err)
	}
}

// A client that sends rubbish, or wants without reading, is cut off and costs nothing more.
func TestBadClient(t *testing.T) {
	p2ptest.NoLeaks(t)
	ns := nodes(t, 2, exchange.Options{MayServe: anyone, NoBitswap: true})
	s, err := ns[1].rpc.Open(p2ptest.Context(t), ns[0].h.ID(), rpc.Proto{Name: "blocks", Version: 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Write(random(7, 400)); err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, s); err == nil || n != 0 {
		t.Errorf("rubbish got %d bytes, %v", n, err)
	}
}

func TestMaxBytes(t *testing.T) {
	ns := nodes(t, 2, exchange.Options{MayServe: anyone, NoBitswap: true})
	root, _ := addFile(t, ns[0].blobs, 8<<20)
	r := exchange.Request{Root: root, From: []p2p.ID{ns[0].h.ID()}, MaxBytes: 4 << 20}
	if _, err := ns[1].x.FetchDAG(p2ptest.Context(t), r); !errors.Is(err, storage.ErrFull) {
		t.Fatalf("error %v, want ErrFull", err)
	}
}

func TestCloseEndsFetch(t *testing.T) {
	p2ptest.NoLeaks(t)
	hs := p2ptest.Hosts(t, 2, nil)
	liar(t, hs[0], func(dag.CID, p2p.Stream) {})
	me := newNode(t, hs[1], exchange.Options{})
	done := make(chan error)
	go func() {
		_, err := me.x.FetchDAG(p2ptest.Context(t), exchange.Request{Root: dag.Sum(dag.Raw, dag.SHA256, []byte("x")), From: []p2p.ID{hs[0].ID()}})
		done <- err
	}()
	if err := me.x.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errors.Is(err, p2p.ErrClosed) {
		t.Fatalf("error %v, want ErrClosed", err)
	}
}
