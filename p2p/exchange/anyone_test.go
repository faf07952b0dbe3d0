package exchange_test

import (
	"bytes"
	"context"
	"io"
	"sync"
	"testing"
	"time"

	"kith/p2p"
	"kith/p2p/exchange"
	"kith/p2p/internal/p2ptest"
	"kith/p2p/rpc"
	"kith/storage/dag"
)

// What the named provider does not bring, others do: it is silent, it is full, it has only a part, or it is gone.
func TestOthersHelp(t *testing.T) {
	p2ptest.NoLeaks(t)
	blocks := rpc.Proto{Name: "blocks", Version: 1}
	for name, misbehave := range map[string]func(context.Context, p2p.Stream){
		"silent": func(ctx context.Context, s p2p.Stream) { _, _ = io.Copy(io.Discard, s); <-ctx.Done() },
		"full":   func(context.Context, p2p.Stream) {},
		"empty": func(_ context.Context, s p2p.Stream) {
			for want := make([]byte, dag.Size); ; {
				if _, err := io.ReadFull(s, want); err != nil {
					return
				}
				if _, err := s.Write([]byte{0xff, 0xff, 0xff, 0xff}); err != nil {
					return
				}
			}
		},
		"gone": nil,
	} {
		t.Run(name, func(t *testing.T) {
			ns := nodes(t, 3, exchange.Options{MayServe: anyone})
			bad, holder, asker := ns[0], ns[1], ns[2]
			from := bad.h.ID()
			if misbehave == nil {
				from = p2p.IDFromKey(p2ptest.Key("gone"))
			} else if err := bad.rpc.Handle(blocks, misbehave); err != nil {
				t.Fatal(err)
			}
			root, want := addFile(t, holder.blobs, 5<<20)
			var arrived []dag.CID
			res, err := asker.x.FetchDAG(p2ptest.Context(t), exchange.Request{
				Root: root, From: []p2p.ID{from}, Anyone: true, Slow: 50 * time.Millisecond,
				Arrived: func(list []dag.CID) { arrived = append(arrived, list...) },
			})
			if err != nil {
				t.Fatal(err)
			}
			if got := readFile(t, asker.blobs, root); !bytes.Equal(got, want) || len(arrived) != res.Blocks {
				t.Errorf("%d bytes differ; %d of %d blocks arrived", len(got), len(arrived), res.Blocks)
			}
			if st := holder.x.Stats(); asker.x.Stats().BitswapBlocks == 0 || st.Refused != 0 {
				t.Errorf("the holder: %+v", st)
			}
		})
	}
}

// A holder that the directory knows under another root is asked although the named provider goes on saying no; nobody
// is asked for anything when the DAG is not public.
func TestAnnouncedElsewhere(t *testing.T) {
	dir := &directory{known: map[[32]byte][]p2p.ID{}}
	ns := nodes(t, 3, exchange.Options{MayServe: anyone, NoBitswap: true, Providers: dir})
	root, _ := addFile(t, ns[1].blobs, 3<<20)
	whole, _ := addFile(t, ns[0].blobs, 100)
	dir.known[[32]byte(whole[4:])] = []p2p.ID{ns[1].h.ID()}
	r := exchange.Request{Root: root, From: []p2p.ID{ns[0].h.ID()}, Announced: whole}
	if _, err := ns[2].x.FetchDAG(p2ptest.Context(t), r); err == nil || dir.asked() != 0 {
		t.Fatalf("a DAG that is not public: %v, the directory was asked %d times", err, dir.asked())
	}
	r.Anyone = true
	if _, err := ns[2].x.FetchDAG(p2ptest.Context(t), r); err != nil || dir.asked() != 1 {
		t.Fatalf("%v, the directory was asked %d times", err, dir.asked())
	}
}

// directory is a directory in memory.
type directory struct {
	mu    sync.Mutex
	known map[[32]byte][]p2p.ID
	n     int
}

func (d *directory) asked() int { d.mu.Lock(); defer d.mu.Unlock(); return d.n }

func (d *directory) Provide(context.Context, [32]byte) error { return nil }

func (d *directory) FindProviders(_ context.Context, key [32]byte, _ int, found func(p2p.ID, []string) bool) error {
	d.mu.Lock()
	d.n++
	ids := d.known[key]
	d.mu.Unlock()
	for _, id := range ids {
		if !found(id, nil) {
			break
		}
	}
	return nil
}
