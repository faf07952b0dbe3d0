package execute_test

import (
	"bytes"
	"strings"
	"testing"

	"kith/storage/dag"
	"kith/storage/seal"
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

// FuzzUnpack seals any bytes as a parcel: what it makes of them is the DAG that was asked for, or an error.
func FuzzUnpack(f *testing.F) {
	b := open(f, nil)
	key := [32]byte{1}
	leaf := []byte("leaf")
	root := dag.Sum(dag.Raw, dag.SHA256, leaf)
	end := make([]byte, dag.Size)
	good := append(append(append(append([]byte{}, root[:]...), byte(len(leaf))), leaf...), end...)
	f.Add(good)
	f.Add(good[:len(good)-1])
	f.Add(append(good, 'x'))
	f.Add(end)
	f.Fuzz(func(t *testing.T, plain []byte) {
		var sealed bytes.Buffer
		if err := seal.Seal(key, &sealed, bytes.NewReader(plain)); err != nil {
			t.Fatal(err)
		}
		file, err := dag.AddFile(t.Context(), b.blobs, &sealed, dag.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Unpack(t.Context(), file.Root, key, root, 1<<20); (err == nil) != bytes.Equal(plain, good) {
			t.Errorf("%x: %v", plain, err)
		}
	})
}
