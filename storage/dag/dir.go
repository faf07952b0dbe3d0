package dag

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"
	"sort"
	"strings"

	"github.com/fxamacker/cbor/v2"
)

// Entry is one file or folder of a directory. In listings of whole trees Name is a slash-separated path.
type Entry struct {
	Name string // raw bytes as the file system had them, not always UTF-8
	Root CID
	Size int64 // bytes of the file, or of all files below
	Dir  bool
}

// NewDirectory stores a directory of entries, in any order, with distinct names that CheckName accepts. A directory too
// large for one block becomes a tree of shards; its root depends on the entries alone.
func NewDirectory(ctx context.Context, p Putter, entries []Entry) (CID, error) {
	return newDirectory(ctx, p, SHA256, entries)
}

func newDirectory(ctx context.Context, p Putter, hash Hash, entries []Entry) (CID, error) {
	sorted := slices.Clone(entries)
	slices.SortFunc(sorted, func(a, b Entry) int { return cmp.Compare(a.Name, b.Name) })
	for i, e := range sorted {
		if err := CheckName(e.Name); err != nil {
			return CID{}, err
		}
		if i > 0 && sorted[i-1].Name == e.Name {
			return CID{}, fmt.Errorf("two entries named %.80q in one directory", e.Name)
		}
	}
	var shards []shard
	for {
		n := node{Kind: kindDir}
		room := shardSize
		for len(sorted) > 0 && room > 0 {
			e := sorted[0]
			n.Entries = append(n.Entries, entry{Name: cbor.ByteString(e.Name), CID: e.Root, Size: e.Size, Dir: e.Dir})
			n.Size += e.Size
			room -= len(e.Name) + encodedEntry
			sorted = sorted[1:]
		}
		c, err := putNode(ctx, p, hash, &n)
		if err != nil {
			return CID{}, err
		}
		if len(sorted) == 0 && shards == nil {
			return c, nil
		}
		shards = append(shards, shard{First: n.Entries[0].Name, CID: c, Size: n.Size})
		if len(sorted) == 0 {
			return newIndex(ctx, p, hash, shards)
		}
	}
}

// encodedEntry is an upper bound of the bytes an entry or shard takes besides its name.
const encodedEntry = 64

func newIndex(ctx context.Context, p Putter, hash Hash, below []shard) (CID, error) {
	for {
		var above []shard
		for len(below) > 0 {
			n := node{Kind: kindIndex}
			room := shardSize
			for len(below) > 0 && room > 0 {
				n.Shards = append(n.Shards, below[0])
				n.Size += below[0].Size
				room -= len(below[0].First) + encodedEntry
				below = below[1:]
			}
			c, err := putNode(ctx, p, hash, &n)
			if err != nil {
				return CID{}, err
			}
			above = append(above, shard{First: n.Shards[0].First, CID: c, Size: n.Size})
		}
		if len(above) == 1 {
			return above[0].CID, nil
		}
		below = above
	}
}

// dirNode fetches a piece of a directory. want is the shard that led there, or nil for the root.
func dirNode(ctx context.Context, get Getter, c CID, want *shard, depth int) (*node, error) {
	if depth >= maxDepth {
		return nil, fmt.Errorf("%w: %s is over %d levels deep", ErrMalformed, c, maxDepth)
	}
	n, err := getNode(ctx, get, c, kindDir, kindIndex)
	if err != nil || want == nil {
		return n, err
	}
	var first cbor.ByteString
	if n.Kind == kindIndex {
		first = n.Shards[0].First
	} else if len(n.Entries) > 0 {
		first = n.Entries[0].Name
	}
	if n.Size != want.Size || first != want.First {
		return nil, fmt.Errorf("%w: %s is not the shard its index describes", ErrMalformed, c)
	}
	return n, nil
}

// ReadDir yields the entries of a directory in byte order of their names, reading one shard at a time.
func ReadDir(ctx context.Context, get Getter, dir CID) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		var last string
		var walk func(c CID, want *shard, depth int) bool
		walk = func(c CID, want *shard, depth int) bool {
			n, err := dirNode(ctx, get, c, want, depth)
			if err != nil {
				yield(Entry{}, err)
				return false
			}
			for i := range n.Shards {
				if !walk(n.Shards[i].CID, &n.Shards[i], depth+1) {
					return false
				}
			}
			for _, e := range n.Entries {
				if string(e.Name) <= last {
					yield(Entry{}, fmt.Errorf("%w: %s: names out of order at %.80q", ErrMalformed, c, e.Name))
					return false
				}
				last = string(e.Name)
				if !yield(Entry{Name: last, Root: e.CID, Size: e.Size, Dir: e.Dir}, nil) {
					return false
				}
			}
			return true
		}
		walk(dir, nil, 0)
	}
}

// ErrNoEntry: the directory has no such file or folder.
var ErrNoEntry = fmt.Errorf("no such entry")

// Lookup finds the file or folder at a slash-separated path below dir, or ErrNoEntry. The empty path is dir itself.
func Lookup(ctx context.Context, get Getter, dir CID, path string) (Entry, error) {
	if path == "" {
		n, err := dirNode(ctx, get, dir, nil, 0)
		if err != nil {
			return Entry{}, err
		}
		return Entry{Root: dir, Size: n.Size, Dir: true}, nil
	}
	at := Entry{Root: dir, Dir: true}
	for name := range strings.SplitSeq(path, "/") {
		if !at.Dir {
			return Entry{}, fmt.Errorf("%w: %.200q", ErrNoEntry, path)
		}
		e, ok, err := lookup(ctx, get, at.Root, name)
		if err != nil {
			return Entry{}, err
		}
		if !ok {
			return Entry{}, fmt.Errorf("%w: %.200q", ErrNoEntry, path)
		}
		at = e
	}
	at.Name = path
	return at, nil
}

func lookup(ctx context.Context, get Getter, dir CID, name string) (Entry, bool, error) {
	var want *shard
	for depth := 0; ; depth++ {
		n, err := dirNode(ctx, get, dir, want, depth)
		if err != nil {
			return Entry{}, false, err
		}
		if n.Kind == kindDir {
			i, ok := sort.Find(len(n.Entries), func(i int) int { return strings.Compare(name, string(n.Entries[i].Name)) })
			if !ok {
				return Entry{}, false, nil
			}
			e := n.Entries[i]
			return Entry{Name: name, Root: e.CID, Size: e.Size, Dir: e.Dir}, true, nil
		}
		i := sort.Search(len(n.Shards), func(i int) bool { return string(n.Shards[i].First) > name })
		if i == 0 {
			return Entry{}, false, nil
		}
		want = &n.Shards[i-1]
		dir = want.CID
	}
}

// Files yields every file below dir, with its path, in byte order of the paths. Folders are not yielded; it reads one
// shard per open folder at a time.
func Files(ctx context.Context, get Getter, dir CID) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) { files(ctx, get, dir, "", 0, yield) }
}

func files(ctx context.Context, get Getter, dir CID, prefix string, depth int, yield func(Entry, error) bool) bool {
	if depth >= maxDepth {
		yield(Entry{}, fmt.Errorf("%w: %s is over %d folders deep", ErrMalformed, dir, maxDepth))
		return false
	}
	// Folder "a" holds "a/…", which comes after "a-b" though "a" comes before: it waits until "a/" is due. The waiting
	// folders are prefixes of one another, and the longest is due first.
	var waiting []Entry
	flush := func(due string) bool {
		for len(waiting) > 0 {
			d := waiting[len(waiting)-1]
			if due != "" && d.Name+"/" > due {
				return true
			}
			waiting = waiting[:len(waiting)-1]
			if !files(ctx, get, d.Root, prefix+d.Name+"/", depth+1, yield) {
				return false
			}
		}
		return true
	}
	for e, err := range ReadDir(ctx, get, dir) {
		if err != nil {
			yield(Entry{}, err)
			return false
		}
		if e.Dir {
			if !flush(e.Name + "/") {
				return false
			}
			waiting = append(waiting, e)
			continue
		}
		if !flush(e.Name) {
			return false
		}
		e.Name = prefix + e.Name
		if !yield(e, nil) {
			return false
		}
	}
	return flush("")
}

// NewTree stores the folders over files whose Names are slash-separated paths, in any order, and returns the root
// folder. Entries with Dir set stand for whole folders.
func NewTree(ctx context.Context, p Putter, entries []Entry) (Entry, error) {
	sorted := slices.Clone(entries)
	slices.SortFunc(sorted, func(a, b Entry) int { return cmp.Compare(a.Name, b.Name) })
	return newTree(ctx, p, sorted, 0)
}

// newTree makes the folder of the entries, which share all but their last path elements up to byte at.
func newTree(ctx context.Context, p Putter, entries []Entry, at int) (Entry, error) {
	total := Entry{Dir: true}
	var here []Entry
	folders := map[string][]Entry{}
	for _, e := range entries {
		head, _, deeper := strings.Cut(e.Name[at:], "/")
		if deeper {
			folders[head] = append(folders[head], e)
			continue
		}
		total.Size += e.Size
		e.Name = head
		here = append(here, e)
	}
	for name, below := range folders {
		if strings.Count(below[0].Name[:at], "/") >= maxDepth {
			return Entry{}, fmt.Errorf("%.200q is over %d folders deep", below[0].Name, maxDepth)
		}
		d, err := newTree(ctx, p, below, at+len(name)+1)
		if err != nil {
			return Entry{}, err
		}
		d.Name = name
		total.Size += d.Size
		here = append(here, d)
	}
	var err error
	total.Root, err = NewDirectory(ctx, p, here)
	return total, err
}

// AddFiles stores a folder of files held in memory, by slash-separated path.
func AddFiles(ctx context.Context, p Putter, content map[string][]byte) (Entry, error) {
	entries := make([]Entry, 0, len(content))
	for name, data := range content {
		f, err := AddFile(ctx, p, bytes.NewReader(data), Options{})
		if err != nil {
			return Entry{}, err
		}
		entries = append(entries, Entry{Name: name, Root: f.Root, Size: f.Size})
	}
	return NewTree(ctx, p, entries)
}
