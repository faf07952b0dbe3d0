package dedup

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math"
)

// The intermediate files. All numbers are big-endian and of fixed width, so the size of a file follows from the counts
// at its beginning, and is checked against them before anything is allocated.
//
//	"r/%04d"    magic, bands u32, records u32, one u32 for each band,
//	            then records × (digest, record u32), then for each band so many × (rotated fingerprint u64, record u32),
//	            each of these lists ascending
//	"edges"     magic, records u64, uncompared u64, equal u64, near u64, then (equal + near) × (ref u64, ref u64)
//	"fates"     magic, count u32, count × (record u32, fate u8, copies u32, group u64), ascending
//
// A record is its number in its part, a ref the part in the upper 32 bits and the record in the lower.
const (
	entriesMagic = "kithent2"
	edgesMagic   = "kithedg1"
	fatesMagic   = "kithfat1"
)

const (
	digestSize = 16 // bytes of the SHA-256 that are kept
	exactSize  = digestSize + 4
	nearSize   = 12
	edgeSize   = 16
	fateSize   = 17
)

// ref names a record of the whole corpus. Smaller refs come first in it.
type ref uint64

func newRef(part, record uint32) ref { return ref(part)<<32 | ref(record) }

func (r ref) part() uint32   { return uint32(r >> 32) }
func (r ref) record() uint32 { return uint32(r) }

// entriesFile is the name of the file of one key range.
func entriesFile(r int) string { return fmt.Sprintf("r/%04d", r) }

// edge joins two records that count as one.
type edge struct{ a, b ref }

// edges are what agree found in one key range, or resolve collects from all.
type edges struct {
	records    uint64 // that were compared
	uncompared uint64 // near pairs that might be and were left out because a key had too many
	equal      []edge
	near       []edge
}

const edgesFile = "edges"

func (e *edges) bytes() []byte {
	b := make([]byte, 0, len(edgesMagic)+32+edgeSize*(len(e.equal)+len(e.near)))
	b = append(b, edgesMagic...)
	for _, v := range []uint64{e.records, e.uncompared, uint64(len(e.equal)), uint64(len(e.near))} {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	for _, list := range [][]edge{e.equal, e.near} {
		for _, x := range list {
			b = binary.BigEndian.AppendUint64(b, uint64(x.a))
			b = binary.BigEndian.AppendUint64(b, uint64(x.b))
		}
	}
	return b
}

// add reads the edges of one key range, whose refs must be of so many parts.
func (e *edges) add(file []byte, parts int) error {
	r := fields{rest: file}
	if err := r.magic(edgesMagic); err != nil {
		return err
	}
	records, uncompared, equal, near := r.u64(), r.u64(), r.u64(), r.u64()
	most := uint64(len(r.rest) / edgeSize)
	if r.short || equal > most || near != most-equal || len(r.rest)%edgeSize != 0 {
		return fmt.Errorf("%w: edges of %d bytes, the counts say %d and %d", ErrFormat, len(r.rest), equal, near)
	}
	e.records = saturate(e.records, records)
	e.uncompared = saturate(e.uncompared, uncompared)
	read := func(to []edge, n uint64) ([]edge, error) {
		for range n {
			x := edge{ref(r.u64()), ref(r.u64())}
			if x.a == x.b {
				return nil, fmt.Errorf("%w: an edge from record %d of part %d to itself", ErrFormat, x.a.record(), x.a.part())
			}
			if part := max(x.a, x.b).part(); uint64(part) >= uint64(parts) {
				return nil, fmt.Errorf("%w: an edge to part %d of %d", ErrFormat, part, parts)
			}
			to = append(to, x)
		}
		return to, nil
	}
	var err error
	if e.equal, err = read(e.equal, equal); err != nil {
		return err
	}
	e.near, err = read(e.near, near)
	return err
}

// saturate adds without wrapping.
func saturate(a, b uint64) uint64 {
	if a+b < a {
		return math.MaxUint64
	}
	return a + b
}

// What becomes of a record that has duplicates.
const (
	kept  = iota // it is the first of its group
	equal        // dropped: an earlier record of its group has the same bytes
	near         // dropped: an earlier record of its group is nearly the same
)

// fate is what becomes of one record of a part.
type fate struct {
	record uint32
	is     byte
	copies uint32 // kept: how many records of its group are dropped
	group  uint64 // number of the group, from 1 in the order of the first records
}

const fatesFile = "fates"

func appendFates(b []byte, list []fate) []byte {
	b = append(b, fatesMagic...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(list)))
	for _, f := range list {
		b = binary.BigEndian.AppendUint32(b, f.record)
		b = append(b, f.is)
		b = binary.BigEndian.AppendUint32(b, f.copies)
		b = binary.BigEndian.AppendUint64(b, f.group)
	}
	return b
}

// parseFates reads the fates of a part.
func parseFates(file []byte) ([]fate, error) {
	r := fields{rest: file}
	if err := r.magic(fatesMagic); err != nil {
		return nil, err
	}
	n := r.u32()
	if r.short || int64(len(r.rest)) != fateSize*int64(n) {
		return nil, fmt.Errorf("%w: fates of %d bytes, the count says %d records", ErrFormat, len(r.rest), n)
	}
	list := make([]fate, n)
	for i := range list {
		f := fate{record: r.u32(), is: r.u8(), copies: r.u32(), group: r.u64()}
		if f.is > near || (f.is == kept) != (f.copies > 0) || f.group == 0 {
			return nil, fmt.Errorf("%w: fate %d of record %d", ErrFormat, f.is, f.record)
		}
		if i > 0 && f.record <= list[i-1].record {
			return nil, fmt.Errorf("%w: the fates do not ascend at %d", ErrFormat, i)
		}
		list[i] = f
	}
	return list, nil
}

// fields reads numbers off a file.
type fields struct {
	rest  []byte
	short bool // more was read than there was; what was read then is zero
}

func (f *fields) magic(want string) error {
	if !bytes.HasPrefix(f.rest, []byte(want)) {
		return fmt.Errorf("%w: it does not begin with %q", ErrFormat, want)
	}
	f.rest = f.rest[len(want):]
	return nil
}

func (f *fields) take(n int) []byte {
	if len(f.rest) < n {
		f.short = true
		f.rest = nil
		return make([]byte, n)
	}
	b := f.rest[:n]
	f.rest = f.rest[n:]
	return b
}

func (f *fields) u8() byte    { return f.take(1)[0] }
func (f *fields) u32() uint32 { return binary.BigEndian.Uint32(f.take(4)) }
func (f *fields) u64() uint64 { return binary.BigEndian.Uint64(f.take(8)) }

// readFile is fs.ReadFile, but an absent file is nil.
func readFile(in fs.FS, name string) ([]byte, error) {
	b, err := fs.ReadFile(in, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return b, err
}
