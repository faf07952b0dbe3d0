package dag_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"kith/storage"
	"kith/storage/dag"
	"kith/storage/memstore"
)

// The fields of nodes as a stranger may fill them.
type (
	node struct {
		Kind    string  `cbor:"k"`
		Size    int64   `cbor:"s"`
		Links   []link  `cbor:"l,omitempty"`
		Entries []entry `cbor:"e,omitempty"`
		Shards  []shard `cbor:"h,omitempty"`
	}
	link struct {
		_    struct{} `cbor:",toarray"`
		CID  dag.CID
		Size int64
	}
	entry struct {
		_    struct{} `cbor:",toarray"`
		Name []byte
		CID  dag.CID
		Size int64
		Dir  bool
	}
	shard struct {
		_     struct{} `cbor:",toarray"`
		First []byte
		CID   dag.CID
		Size  int64
	}
)

func putAny(t testing.TB, s dag.Putter, v any) dag.CID {
	t.Helper()
	data, err := dag.Marshal(v)
	must(t, err)
	c := dag.Sum(dag.DagCBOR, dag.SHA256, data)
	must(t, s.Put(t.Context(), c, data))
	return c
}

// use does with c all that can be done with a file and with a folder.
func use(ctx context.Context, s dag.Getter, c dag.CID) (asFile, asDir error) {
	r, asFile := dag.Open(ctx, s, c)
	if asFile == nil {
		_, asFile = io.Copy(io.Discard, io.LimitReader(r, 1<<20))
	}
	if asFile == nil {
		_, asFile = r.Seek(-1, io.SeekEnd)
		if r.Size() > 0 && asFile == nil {
			_, asFile = r.Read(make([]byte, 1))
		}
	}
	if asFile == nil {
		_, asFile = dag.Concat(ctx, memstore.NewBlobs(), s, []dag.CID{c, c})
	}
	n := 0
	for _, err := range dag.Files(ctx, s, c) {
		if asDir = err; err != nil {
			break
		}
		if n++; n > 1000 {
			break
		}
	}
	if asDir == nil {
		_, asDir = dag.Lookup(ctx, s, c, "a/b")
		if errors.Is(asDir, dag.ErrNoEntry) {
			asDir = nil
		}
	}
	return asFile, asDir
}

func TestHostileNodes(t *testing.T) {
	s := memstore.NewBlobs()
	one := dag.Sum(dag.Raw, dag.SHA256, []byte("x"))
	must(t, s.Put(t.Context(), one, []byte("x")))
	empty := putAny(t, s, node{Kind: "dir"})
	file := putAny(t, s, node{Kind: "file", Size: 2, Links: []link{{CID: one, Size: 1}, {CID: one, Size: 1}}})
	dirOf := func(names ...string) node {
		n := node{Kind: "dir"}
		for _, name := range names {
			n.Entries = append(n.Entries, entry{Name: []byte(name), CID: one, Size: 1})
			n.Size++
		}
		return n
	}
	many := node{Kind: "file", Size: 4097}
	for range 4097 {
		many.Links = append(many.Links, link{CID: one, Size: 1})
	}
	deepFile, deepDir := file, empty
	for range 70 {
		deepFile = putAny(t, s, node{Kind: "file", Size: 2, Links: []link{{CID: deepFile, Size: 2}}})
		deepDir = putAny(t, s, node{Kind: "dir", Entries: []entry{{Name: []byte("d"), CID: deepDir, Dir: true}}})
	}
	for name, n := range map[string]any{
		"not a node":             []int{1},
		"unknown kind":           node{Kind: "link"},
		"file without links":     node{Kind: "file"},
		"too many links":         many,
		"size too small":         node{Kind: "file", Size: 1, Links: []link{{CID: one, Size: 1}, {CID: one, Size: 1}}},
		"size too large":         node{Kind: "file", Size: 3, Links: []link{{CID: one, Size: 1}, {CID: one, Size: 1}}},
		"negative size":          node{Kind: "file", Size: 1, Links: []link{{CID: one, Size: 2}, {CID: one, Size: -1}}},
		"overflowing size":       node{Kind: "file", Size: 1, Links: []link{{CID: one, Size: 1 << 62}, {CID: one, Size: 1 << 62}, {CID: one, Size: 1}}},
		"empty leaf":             node{Kind: "file", Size: 1, Links: []link{{CID: one, Size: 1}, {CID: one, Size: 0}}},
		"null link":              node{Kind: "file", Size: 1, Links: []link{{Size: 1}}},
		"wrong leaf size":        node{Kind: "file", Size: 2, Links: []link{{CID: one, Size: 2}}},
		"wrong child size":       node{Kind: "file", Size: 3, Links: []link{{CID: file, Size: 3}}},
		"file over a dir":        node{Kind: "file", Size: 1, Links: []link{{CID: empty, Size: 1}}},
		"file with entries":      node{Kind: "file", Size: 1, Links: []link{{CID: one, Size: 1}}, Entries: []entry{{Name: []byte("a"), CID: one}}},
		"file too deep":          node{Kind: "file", Size: 2, Links: []link{{CID: deepFile, Size: 2}}},
		"names out of order":     dirOf("b", "a"),
		"name twice":             dirOf("a", "a"),
		"name up":                dirOf(".."),
		"name here":              dirOf("."),
		"name empty":             dirOf(""),
		"name with slash":        dirOf("a/b"),
		"name with NUL":          dirOf("a\x00"),
		"name too long":          dirOf(string(make([]byte, 1025))),
		"dir size":               node{Kind: "dir", Size: 5, Entries: []entry{{Name: []byte("a"), CID: one, Size: 1}}},
		"folder that is a file":  node{Kind: "dir", Size: 1, Entries: []entry{{Name: []byte("a"), CID: one, Size: 1, Dir: true}}},
		"dir too deep":           node{Kind: "dir", Entries: []entry{{Name: []byte("a"), CID: deepDir, Dir: true}}},
		"index without shards":   node{Kind: "index"},
		"shards out of order":    node{Kind: "index", Shards: []shard{{First: []byte("b"), CID: empty}, {First: []byte("a"), CID: empty}}},
		"shard with other start": node{Kind: "index", Size: 1, Shards: []shard{{First: []byte("b"), CID: putAny(t, s, dirOf("a")), Size: 1}}},
		"overlapping shards": node{Kind: "index", Size: 3, Shards: []shard{
			{First: []byte("a"), CID: putAny(t, s, dirOf("a", "x")), Size: 2}, {First: []byte("b"), CID: putAny(t, s, dirOf("b")), Size: 1},
		}},
	} {
		asFile, asDir := use(t.Context(), s, putAny(t, s, n))
		for _, err := range []error{asFile, asDir} {
			if !errors.Is(err, dag.ErrMalformed) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	if asFile, _ := use(t.Context(), s, file); asFile != nil {
		t.Errorf("a good file: %v", asFile)
	}
	missing := dag.Sum(dag.Raw, dag.SHA256, []byte("missing"))
	if asFile, _ := use(t.Context(), s, putAny(t, s, node{Kind: "file", Size: 1, Links: []link{{CID: missing, Size: 1}}})); !errors.Is(asFile, storage.ErrNotFound) {
		t.Errorf("missing leaf: %v", asFile)
	}
}

// FuzzNode: whatever a node holds, reading it as a file or folder ends, and ends with an error or the right number of bytes.
func FuzzNode(f *testing.F) {
	s := memstore.NewBlobs()
	one := dag.Sum(dag.Raw, dag.SHA256, []byte("x"))
	must(f, s.Put(f.Context(), one, []byte("x")))
	for _, n := range []node{
		{Kind: "dir", Size: 1, Entries: []entry{{Name: []byte("a"), CID: one, Size: 1}}},
		{Kind: "file", Size: 2, Links: []link{{CID: one, Size: 1}, {CID: one, Size: 1}}},
		{Kind: "cut", Size: 1, Links: []link{{CID: one, Size: 1}}},
		{Kind: "index", Shards: []shard{{First: []byte("a"), CID: one}}},
	} {
		data, err := dag.Marshal(n)
		must(f, err)
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s := memstore.NewBlobs()
		must(t, s.Put(t.Context(), one, []byte("x")))
		c := dag.Sum(dag.DagCBOR, dag.SHA256, data)
		if err := s.Put(t.Context(), c, data); err != nil {
			return // too large
		}
		asFile, asDir := use(t.Context(), s, c)
		if asFile == nil && asDir == nil {
			t.Error("a file and a folder at once")
		}
		if asFile == nil || asDir == nil { // good nodes have one encoding, which Links reads too
			if _, err := dag.Links(c, data); err != nil {
				t.Errorf("Links: %v", err)
			}
		}
		for _, err := range []error{asFile, asDir} {
			if err != nil && !errors.Is(err, dag.ErrMalformed) && !errors.Is(err, storage.ErrNotFound) {
				t.Error(fmt.Errorf("unnamed error: %w", err))
			}
		}
	})
}
