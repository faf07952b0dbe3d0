package execute_test

import (
	"strings"
	"testing"

	"kith/storage/dag"
)

// A packed output comes out as it went in, for who has the key, and only as the DAG that was asked for.
func TestPack(t *testing.T) {
	from, to := open(t, nil), open(t, nil)
	key := [32]byte{1}
	root := from.add(t, map[string]string{"big": strings.Repeat("0123456789", 500_000), "d/same": "x", "e/same": "x"})
	other := from.add(t, map[string]string{"other": "y"})
	sealed, size, err := from.Pack(t.Context(), root, key)
	if err != nil || size < 5_000_000 {
		t.Fatal(size, err)
	}
	if err := dag.Walk(t.Context(), from.blobs, sealed, func(c dag.CID, data []byte) (bool, error) {
		if strings.Contains(string(data), "0123456789") {
			t.Error("the sealed form can be read")
		}
		return true, to.blobs.Put(t.Context(), c, data)
	}); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		key  [32]byte
		root dag.CID
		most int64
	}{"wrong key": {[32]byte{2}, root, 1 << 30}, "another root": {key, other, 1 << 30}, "too large": {key, root, 1 << 20}} {
		if err := to.Unpack(t.Context(), sealed, c.key, c.root, c.most); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if err := to.Unpack(t.Context(), sealed, key, root, 1<<30); err != nil {
		t.Fatal(err)
	}
	if err := dag.Walk(t.Context(), to.blobs, root, func(dag.CID, []byte) (bool, error) { return true, nil }); err != nil {
		t.Error(err)
	}
}
