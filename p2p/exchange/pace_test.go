package exchange_test

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"kith/p2p"
	"kith/p2p/exchange"
	"kith/p2p/internal/p2ptest"
)

// gate lets so many bytes through and then no more, but counts who asks.
type gate struct {
	mu   sync.Mutex
	left int
	seen int
	most int
}

func (g *gate) Wait(ctx context.Context, n int) error {
	g.mu.Lock()
	g.most = max(g.most, n)
	open := g.left >= n
	if open {
		g.left -= n
		g.seen += n
	}
	g.mu.Unlock()
	if open {
		return ctx.Err()
	}
	<-ctx.Done()
	return ctx.Err()
}

func (g *gate) passed() (seen, most int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.seen, g.most
}

// TestPace asks both paces for every byte of a DAG, and lets nothing through that they hold back.
func TestPace(t *testing.T) {
	for name, anyPeer := range map[string]bool{"named provider": false, "bitswap": true} {
		t.Run(name, func(t *testing.T) {
			p2ptest.NoLeaks(t)
			hosts := p2ptest.Hosts(t, 2, nil)
			in, out := &gate{left: 1 << 40}, &gate{left: 1 << 40}
			from := newNode(t, hosts[0], exchange.Options{MayServe: anyone, Out: out})
			to := newNode(t, hosts[1], exchange.Options{In: in})
			root, want := addFile(t, from.blobs, 3<<20+5)
			r := exchange.Request{Root: root, From: []p2p.ID{hosts[0].ID()}}
			if anyPeer {
				r.From, r.Anyone = nil, true
			}
			res, err := to.x.FetchDAG(p2ptest.Context(t), r)
			if err != nil || !bytes.Equal(readFile(t, to.blobs, root), want) {
				t.Fatal(err)
			}
			for side, g := range map[string]*gate{"in": in, "out": out} {
				if seen, most := g.passed(); int64(seen) < res.Bytes || most > 64<<10 {
					t.Errorf("%s was asked for %d of %d bytes, at most %d at a time", side, seen, res.Bytes, most)
				}
			}
		})
	}
}

func TestPaceHoldsBack(t *testing.T) {
	p2ptest.NoLeaks(t)
	for name, shut := range map[string]string{"receiving": "in", "sending": "out"} {
		t.Run(name, func(t *testing.T) {
			hosts := p2ptest.Hosts(t, 2, nil)
			in, out := &gate{left: 1 << 40}, &gate{left: 1 << 40}
			map[string]*gate{"in": in, "out": out}[shut].left = 1 << 20
			from := newNode(t, hosts[0], exchange.Options{MayServe: anyone, Out: out, NoBitswap: true})
			to := newNode(t, hosts[1], exchange.Options{In: in, NoBitswap: true})
			root, _ := addFile(t, from.blobs, 3<<20)
			ctx, cancel := context.WithTimeout(p2ptest.Context(t), 500*time.Millisecond)
			defer cancel()
			res, err := to.x.FetchDAG(ctx, exchange.Request{Root: root, From: []p2p.ID{hosts[0].ID()}})
			if !errors.Is(err, context.DeadlineExceeded) || res.Bytes > 1<<20 {
				t.Errorf("%d bytes came, %v", res.Bytes, err)
			}
		})
	}
}
