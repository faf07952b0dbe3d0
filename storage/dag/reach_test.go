package dag_test

import (
	"context"
	"errors"
	"testing"

	"kith/storage/dag"
	"kith/storage/memstore"
)

func TestReach(t *testing.T) {
	ctx, store := context.Background(), memstore.NewBlobs()
	leaf := dag.Sum(dag.Raw, dag.SHA256, []byte("leaf")) // never stored: leaves are not read
	put := func(links ...dag.CID) dag.CID {
		data, err := dag.Marshal(links)
		if err != nil {
			t.Fatal(err)
		}
		c := dag.Sum(dag.DagCBOR, dag.SHA256, data)
		if err := store.Put(ctx, c, data); err != nil {
			t.Fatal(err)
		}
		return c
	}
	left := put(leaf)
	right := put(leaf, left)
	root := put(left, right, left)

	var order []dag.CID
	times := map[dag.CID]int{}
	all := func(c dag.CID) (bool, error) {
		order = append(order, c)
		times[c]++
		return true, nil
	}
	if err := dag.Reach(ctx, store, root, all); err != nil {
		t.Fatal(err)
	}
	if len(times) != 4 || len(order) != 4 || order[0] != root {
		t.Errorf("visited %v, want each of four blocks once and the root first", order)
	}

	visits := 0
	if err := dag.Reach(ctx, store, root, func(dag.CID) (bool, error) { visits++; return visits < 2, nil }); err != nil || visits != 2 {
		t.Errorf("%d visits and %v after visit said stop at the second", visits, err)
	}
	stop := errors.New("stop")
	if err := dag.Reach(ctx, store, root, func(dag.CID) (bool, error) { return true, stop }); !errors.Is(err, stop) {
		t.Errorf("got %v, want the error of visit", err)
	}
	if err := store.Delete(ctx, right); err != nil {
		t.Fatal(err)
	}
	if err := dag.Reach(ctx, store, root, all); err == nil {
		t.Error("a missing block with links was passed over")
	}
}
