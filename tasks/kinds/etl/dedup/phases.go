package dedup

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"math/bits"
	"slices"

	"kith/tasks"
	"kith/tasks/kinds/etl/corpus"
	"kith/tasks/kinds/etl/simhash"
)

// maxRanges bounds the number of key ranges, whose files have four digits.
const maxRanges = 10_000

func runSign(ctx context.Context, c *tasks.Call, p Params) error {
	if c.Ranges < 1 || c.Ranges > maxRanges {
		return fmt.Errorf("%d key ranges, want 1 to %d", c.Ranges, maxRanges)
	}
	bands := p.bands()
	ranges := make([]lists, c.Ranges)
	for i := range ranges {
		ranges[i] = make(lists, 1+len(bands))
	}
	add := func(list, width int, e entry) {
		to := &ranges[rangeOf(e.high, width, c.Ranges)][list]
		*to = append(*to, e)
	}
	if err := corpus.Pass(c, c.In[0]); err != nil {
		return err
	}
	var hasher simhash.Hasher
	n := uint32(0)
	if err := corpus.Each(ctx, c, c.In[0], func(rec *corpus.Record, data []byte) error {
		if p.Near && rec.Compressed() {
			return fmt.Errorf("%.80q is compressed; drop near duplicates before compressing", rec.Path)
		}
		sum := sha256.Sum256(data)
		add(0, 64, entry{binary.BigEndian.Uint64(sum[:]), binary.BigEndian.Uint64(sum[8:]), ref(n)})
		if len(bands) > 0 {
			if print, shingles := hasher.Sum(data); shingles > 0 {
				for i, b := range bands {
					add(1+i, b.width, entry{high: bits.RotateLeft64(print, b.rotate), ref: ref(n)})
				}
			}
		}
		if n == math.MaxUint32 {
			return fmt.Errorf("%w: more than %d records in one part", corpus.ErrCorpus, n)
		}
		n++
		return nil
	}); err != nil {
		return err
	}
	for i := range ranges {
		if ranges[i].empty() {
			continue
		}
		if err := create(c, entriesFile(i), ranges[i].writeTo); err != nil {
			return err
		}
	}
	return nil
}

// rangeOf returns the key range of a key that is the top width bits of key.
func rangeOf(key uint64, width, ranges int) int {
	hi, _ := bits.Mul64(key>>(64-width)<<(64-width), uint64(ranges))
	return int(hi)
}

func runAgree(ctx context.Context, c *tasks.Call, p Params) error {
	bands := p.bands()
	var sources []*source
	var found edges
	for part, in := range c.In {
		s, err := openSource(in, entriesFile(c.Index), uint32(part), len(bands))
		if err != nil {
			return fmt.Errorf("part %d: %w", part, err)
		}
		if s != nil {
			sources = append(sources, s)
			found.records = saturate(found.records, s.records())
		}
	}
	var same equals
	if err := merge(ctx, sources, 0, same.add); err != nil {
		return err
	}
	found.equal = same.pairs
	for i, b := range bands {
		list := neighbours{band: b, params: p}
		if err := merge(ctx, sources, 1+i, list.add); err != nil {
			return err
		}
		list.flush()
		found.near = append(found.near, list.pairs...)
		found.uncompared = saturate(found.uncompared, list.uncompared)
	}
	return write(c, edgesFile, found.bytes())
}

// equals joins each record to the first with the same digest. Records come in the order of their digests.
type equals struct {
	first entry
	begun bool
	pairs []edge
}

func (s *equals) add(e entry) {
	if s.begun && e.high == s.first.high && e.low == s.first.low {
		s.pairs = append(s.pairs, edge{s.first.ref, e.ref})
		return
	}
	s.first, s.begun = e, true
}

// neighbours joins the records of one band that are near, with as few edges as will connect them, and counts the pairs
// it left out. Records come in the order of their rotated fingerprints; flush ends them.
type neighbours struct {
	band   band
	params Params
	same   []entry // the first record of each fingerprint with the current key
	last   entry
	joined forest

	pairs      []edge
	uncompared uint64
}

func (l *neighbours) add(e entry) {
	switch last := l.last; {
	case len(l.same) == 0:
	case e.high == last.high:
		l.pairs = append(l.pairs, edge{l.same[len(l.same)-1].ref, e.ref})
		return
	case (e.high^last.high)>>(64-l.band.width) != 0:
		l.flush()
	}
	l.same = append(l.same, e)
	l.last = e
}

func (l *neighbours) flush() {
	same, most := l.same, l.params.Cap
	l.joined.reset(len(same))
	for i := range same {
		for j := i + 1; j < min(len(same), i+1+most); j++ {
			if bits.OnesCount64(same[i].high^same[j].high) <= l.params.Distance && l.joined.union(i, j) {
				l.pairs = append(l.pairs, edge{same[i].ref, same[j].ref})
			}
		}
	}
	if out := uint64(max(len(same)-1-most, 0)); out > 0 {
		l.uncompared = saturate(l.uncompared, out*(out+1)/2)
	}
	l.same = same[:0]
}

// Stats is what resolve found.
type Stats struct {
	Records    uint64 `json:"records"`    // of the whole corpus
	Equal      uint64 `json:"equal"`      // dropped because an earlier record is equal
	Near       uint64 `json:"near"`       // dropped because an earlier record is near
	Uncompared uint64 `json:"uncompared"` // pairs with a common key that were not compared because the key had too many
}

// statsFile holds the Stats as JSON, for the first part.
const statsFile = "stats.json"

func runResolve(ctx context.Context, c *tasks.Call) error {
	var all edges
	for r, in := range c.In {
		if err := ctx.Err(); err != nil {
			return err
		}
		file, err := fs.ReadFile(in, edgesFile)
		if err != nil {
			return err
		}
		if err := all.add(file, c.Parts); err != nil {
			return fmt.Errorf("key range %d: %w", r, err)
		}
	}
	refs, fates, stats := components(&all)
	text, err := json.Marshal(stats)
	if err != nil {
		return err
	}
	if c.Log != nil {
		c.Log("%d records: %d equal and %d near duplicates dropped, %d pairs not compared", stats.Records, stats.Equal, stats.Near, stats.Uncompared)
	}
	if c.Parts > 0 {
		if err := write(c, fmt.Sprintf("%06d/%s", 0, statsFile), append(text, '\n')); err != nil {
			return err
		}
	}
	for from, to := 0, 0; from < len(refs); from = to {
		part := refs[from].part()
		for to < len(refs) && refs[to].part() == part {
			to++
		}
		if err := write(c, fmt.Sprintf("%06d/%s", part, fatesFile), appendFates(nil, fates[from:to])); err != nil {
			return err
		}
	}
	return nil
}

// components joins all edges and returns every record of a component and its fate, in order.
func components(all *edges) (refs []ref, fates []fate, stats Stats) {
	for _, list := range [][]edge{all.equal, all.near} {
		for _, e := range list {
			refs = append(refs, e.a, e.b)
		}
	}
	slices.Sort(refs)
	refs = slices.Compact(refs)
	fates = make([]fate, len(refs))
	var joined forest
	joined.reset(len(refs))
	join := func(list []edge, is byte) (n uint64) {
		for _, e := range list {
			a, _ := slices.BinarySearch(refs, e.a)
			b, _ := slices.BinarySearch(refs, e.b)
			if joined.union(a, b) {
				n++
			}
			if last := &fates[max(a, b)]; last.is == kept {
				last.is = is
			}
		}
		return n
	}
	// Each union takes one component away, and so one record.
	stats.Equal = join(all.equal, equal)
	stats.Near = join(all.near, near)
	stats.Records, stats.Uncompared = all.records, all.uncompared
	groups := uint64(0)
	for i, r := range refs {
		f := &fates[i]
		f.record = r.record()
		first := joined.find(i)
		if first == i {
			groups++
			f.is, f.group = kept, groups
			continue
		}
		f.group = fates[first].group
		fates[first].copies++
		if f.is == kept { // joined only through later ones
			f.is = near
		}
	}
	return refs, fates, stats
}

// create writes a file with fn.
func create(c *tasks.Call, name string, fn func(w io.Writer) error) (err error) {
	f, err := c.Out.Create(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return fn(f)
}

func write(c *tasks.Call, name string, b []byte) error {
	return create(c, name, func(w io.Writer) error {
		_, err := w.Write(b)
		return err
	})
}

// forest is a union-find over numbered nodes. The root of a tree is its smallest node.
type forest []int32

func (f *forest) reset(n int) {
	*f = slices.Grow((*f)[:0], n)[:n]
	for i := range *f {
		(*f)[i] = int32(i)
	}
}

func (f forest) find(i int) int {
	for int(f[i]) != i {
		f[i] = f[f[i]]
		i = int(f[i])
	}
	return i
}

// union joins the trees of i and j and reports whether they were two.
func (f forest) union(i, j int) bool {
	i, j = f.find(i), f.find(j)
	if i == j {
		return false
	}
	f[max(i, j)] = int32(min(i, j))
	return true
}
