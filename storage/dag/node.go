package dag

import (
	"context"
	"fmt"
	"strings"

	"github.com/fxamacker/cbor/v2"
)

// The kinds of nodes. A file of one block is that raw block, without a node.
const (
	kindFile  = "file"  // links to raw leaves or further file nodes
	kindCut   = "cut"   // a file over MaxSegment: links to segments (each a whole file) or further cut nodes
	kindDir   = "dir"   // entries
	kindIndex = "index" // a large directory: links to dir or further index nodes
)

// Limits of nodes. 4096 links of at most 52 bytes stay under 256 KiB.
const (
	maxLinks  = 4096
	shardSize = 256 << 10 // aim for the encoded bytes of one piece of a directory
	maxName   = 1024      // bytes of one name, more than any file system allows
)

// node is every dag-cbor block of files and directories. Which fields are set depends on kind.
type node struct {
	Kind    string  `cbor:"k"`
	Size    int64   `cbor:"s"`           // bytes of all files below
	Links   []link  `cbor:"l,omitempty"` // file, cut
	Entries []entry `cbor:"e,omitempty"` // dir
	Shards  []shard `cbor:"h,omitempty"` // index
}

type link struct {
	_    struct{} `cbor:",toarray"`
	CID  CID
	Size int64
}

type entry struct {
	_    struct{}        `cbor:",toarray"`
	Name cbor.ByteString // raw bytes, not always UTF-8
	CID  CID
	Size int64
	Dir  bool
}

type shard struct {
	_     struct{}        `cbor:",toarray"`
	First cbor.ByteString // smallest name below
	CID   CID
	Size  int64
}

// decodeNode checks everything that can be told from the block alone.
func decodeNode(c CID, data []byte) (*node, error) {
	var n node
	if err := Unmarshal(data, &n); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrMalformed, c, err)
	}
	if err := n.check(); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrMalformed, c, err)
	}
	return &n, nil
}

// getNode fetches and decodes c, which must be of one of the kinds.
func getNode(ctx context.Context, get Getter, c CID, kinds ...string) (*node, error) {
	if c.Codec() != DagCBOR {
		return nil, fmt.Errorf("%w: %s is a raw block, want a %s node", ErrMalformed, c, strings.Join(kinds, " or "))
	}
	data, err := get.Get(ctx, c)
	if err != nil {
		return nil, err
	}
	n, err := decodeNode(c, data)
	if err != nil {
		return nil, err
	}
	for _, k := range kinds {
		if n.Kind == k {
			return n, nil
		}
	}
	return nil, fmt.Errorf("%w: %s is a %s node, want %s", ErrMalformed, c, n.Kind, strings.Join(kinds, " or "))
}

func (n *node) check() error {
	var left int64 = n.Size
	take := func(c CID, size int64, least int64) error {
		if !c.Defined() || size < least || size > left {
			return fmt.Errorf("link %s of %d bytes does not fit", c, size)
		}
		left -= size
		return nil
	}
	switch n.Kind {
	case kindFile, kindCut:
		if len(n.Links) == 0 || len(n.Links) > maxLinks || n.Entries != nil || n.Shards != nil {
			return fmt.Errorf("%s node with %d links", n.Kind, len(n.Links))
		}
		for _, l := range n.Links {
			if err := take(l.CID, l.Size, 1); err != nil {
				return err
			}
		}
	case kindDir:
		if n.Links != nil || n.Shards != nil {
			return fmt.Errorf("dir node with foreign fields")
		}
		for i, e := range n.Entries {
			if err := CheckName(string(e.Name)); err != nil {
				return err
			}
			if i > 0 && n.Entries[i-1].Name >= e.Name {
				return fmt.Errorf("names out of order at %.80q", e.Name)
			}
			if err := take(e.CID, e.Size, 0); err != nil {
				return err
			}
		}
	case kindIndex:
		if len(n.Shards) == 0 || n.Links != nil || n.Entries != nil {
			return fmt.Errorf("index node with %d shards", len(n.Shards))
		}
		for i, s := range n.Shards {
			if i > 0 && n.Shards[i-1].First >= s.First {
				return fmt.Errorf("shards out of order at %.80q", s.First)
			}
			if err := take(s.CID, s.Size, 0); err != nil {
				return err
			}
		}
	default:
		return fmt.Errorf("unknown kind %.20q", n.Kind)
	}
	if left != 0 {
		return fmt.Errorf("size %d does not add up: %d over", n.Size, left)
	}
	return nil
}

// putNode stores n, whose Size is already set.
func putNode(ctx context.Context, p Putter, hash Hash, n *node) (CID, error) {
	data, err := Marshal(n)
	if err != nil {
		return CID{}, err
	}
	return put(ctx, p, DagCBOR, hash, data)
}

// CheckName reports whether name may stand in a directory: 1 to 1024 bytes, not "." or "..", without "/" and NUL.
// It need not be UTF-8.
func CheckName(name string) error {
	if name == "" || name == "." || name == ".." || len(name) > maxName || strings.ContainsAny(name, "/\x00") {
		return fmt.Errorf("%.80q cannot be a file name", name)
	}
	return nil
}
