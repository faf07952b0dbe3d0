package artifact

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"kith/storage/dag"
	"kith/storage/memstore"
	"kith/tasks"
	"kith/tasks/wire"
)

// script is a stream on which everything the peer will say is there already.
type script struct {
	*bytes.Reader
	said bytes.Buffer
}

func (s *script) Write(b []byte) (int, error) { return s.said.Write(b) }
func (s *script) SetDeadline(time.Time) error { return nil }
func (s *script) Remote() tasks.NodeID        { return idOf(submitter) }

// FuzzReceive reads what a peer sends as the blocks of a DAG: it ends, with the whole DAG or an error, and nothing that
// does not belong to the DAG is stored.
func FuzzReceive(f *testing.F) {
	leaf, other := []byte("leaf"), []byte("other")
	from := memstore.NewBlobs()
	tree, err := dag.AddFiles(context.Background(), from, map[string][]byte{"a": leaf, "b": bytes.Repeat(leaf, 100)})
	if err != nil {
		f.Fatal(err)
	}
	whole := script{Reader: bytes.NewReader(nil)}
	if err := send(context.Background(), &whole, from, tree.Root, nil, true); err != nil {
		f.Fatal(err)
	}
	f.Add(whole.said.Bytes())
	f.Add(whole.said.Bytes()[:whole.said.Len()-4])
	var foreign bytes.Buffer
	_ = wire.WriteBlock(&foreign, dag.Sum(dag.Raw, dag.SHA256, other), other)
	f.Add(append(foreign.Bytes(), whole.said.Bytes()...))
	belongs := map[dag.CID]bool{}
	if err := dag.Reach(context.Background(), from, tree.Root, func(c dag.CID) (bool, error) { belongs[c] = true; return true, nil }); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, sent []byte) {
		into := memstore.NewBlobs()
		err := newReceiver(into, tree.Root, 1<<20, nil).run(t.Context(), &script{Reader: bytes.NewReader(sent)})
		if err == nil {
			err = complete(t.Context(), into, tree.Root)
			if err != nil {
				t.Errorf("taken for whole: %v", err)
			}
		}
		for c := range into.All(t.Context()) {
			if !belongs[c] {
				t.Errorf("a foreign block %s was stored", c)
			}
		}
	})
}

// FuzzServe gives both servers anything for a request: they answer with a reason or break off, and grant nothing.
func FuzzServe(f *testing.F) {
	blobs := memstore.NewBlobs()
	tree, err := dag.AddFiles(context.Background(), blobs, map[string][]byte{"a": []byte("x")})
	if err != nil {
		f.Fatal(err)
	}
	var b bytes.Buffer
	now := time.Now().UnixMilli()
	_ = wire.WriteSingle(&b, &wire.FetchRequest{Version: wire.Version, Network: network, Root: tree.Root, Token: []byte("token")}, now)
	f.Add(b.Bytes())
	b.Reset()
	_ = wire.WriteSingle(&b, &wire.DepositRequest{Version: wire.Version, Network: network, Order: []byte("order")}, now)
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, sent []byte) {
		d := &Depot{o: DepotOptions{Network: network, Self: idOf(keeper), Blobs: blobs, KV: memstore.NewKV(), Quota: func() int64 { return 1 << 30 }}, kept: map[key]deposit{}, begun: map[key]*begun{}, by: map[tasks.NodeID]int64{}}
		v := &Server{Network: network, Self: idOf(keeper), Blobs: blobs, Depot: d}
		for what, handle := range map[string]func(context.Context, Stream) error{"fetch": v.HandleFetch, "deposit": d.HandleDeposit} {
			if err := handle(t.Context(), &script{Reader: bytes.NewReader(sent)}); err == nil {
				t.Errorf("%s: granted", what)
			} else if errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		}
	})
}
