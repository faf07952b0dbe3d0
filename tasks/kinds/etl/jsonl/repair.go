package jsonl

import (
	"bytes"
	"slices"
)

// Duplicates says what happens to members of one object with equal names.
type Duplicates string

// The choices. Names are compared after decoding: "a" equals "\u0061".
const (
	LastWins  Duplicates = "last"
	FirstWins Duplicates = "first"
	Refuse    Duplicates = "quarantine"
)

// Change is one repair: the bytes [Off, End) of the line were replaced by With.
type Change struct {
	Defect   Defect
	Off, End int
	With     string
}

// repairer repairs one JSON text at a time and keeps its buffers in between. It is not safe for concurrent use.
type repairer struct {
	allowed    Defects
	duplicates Duplicates

	src     []byte
	pos     int
	last    bool // nothing follows src in its file: it may be truncated
	changes []Change
	frames  []frame
	members []member // of all open objects, innermost last
	order   []int32  // scratch of duplicate detection
	out     []byte

	comma      int // of the separator seen last
	valueEnd   int // end of the value seen last
	numberEnd  int // end of the number seen last
	values     int // scalars, arrays and objects seen
	hugeNumber int // offset of the first number too long for exact arithmetic, or -1
}

// frame is an open array or object.
type frame struct {
	object bool
	first  int // object: index of its first member in repairer.members
}

// member is one name of an open object.
type member struct {
	off, end int    // from the opening quote to the end of the value
	key      []byte // decoded as it will read after the repair
}

// repair returns src if it is strict JSON (RFC 8259 in valid UTF-8, no byte order mark, no doubled names, at most
// MaxDepth deep), else the smallest repair with the list of its changes in order of offset, else the reason why there
// is none. The results are valid until the next call; out may share memory with src.
func (r *repairer) repair(src []byte, last bool) (out []byte, changes []Change, bad *Reason) {
	r.src, r.pos, r.last = src, 0, last
	r.changes, r.frames, r.members = r.changes[:0], r.frames[:0], r.members[:0]
	r.comma, r.valueEnd, r.numberEnd, r.values, r.hugeNumber = 0, 0, -1, 0, -1
	for bytes.HasPrefix(src[r.pos:], bom) {
		if bad := r.change(BOM, r.pos, r.pos+len(bom), ""); bad != nil {
			return nil, nil, bad
		}
		r.pos += len(bom)
	}
	if bad := r.scan(); bad != nil {
		return nil, nil, bad
	}
	if len(r.changes) == 0 {
		return src, nil, nil
	}
	r.apply()
	return r.out, r.changes, nil
}

var bom = []byte("\xef\xbb\xbf")

// change notes one repair, unless it is not allowed or one too many.
func (r *repairer) change(d Defect, off, end int, with string) *Reason {
	if !r.allowed.Has(d) {
		return &Reason{Code: Code(d.String()), Col: off + 1}
	}
	if len(r.changes) == MaxChanges {
		return &Reason{Code: TooManyChanges, Col: off + 1}
	}
	r.changes = append(r.changes, Change{Defect: d, Off: off, End: end, With: with})
	return nil
}

// apply builds r.out and keeps of r.changes those that took effect: a change inside a removed member did not.
func (r *repairer) apply() {
	slices.SortStableFunc(r.changes, func(a, b Change) int {
		if a.Off != b.Off {
			return a.Off - b.Off
		}
		return b.End - a.End // the outer one first
	})
	r.out = r.out[:0]
	at, kept := 0, 0
	for _, c := range r.changes {
		if c.Off < at {
			continue
		}
		r.out = append(r.out, r.src[at:c.Off]...)
		r.out = append(r.out, c.With...)
		at = c.End
		r.changes[kept] = c
		kept++
	}
	r.changes = r.changes[:kept]
	r.out = append(r.out, r.src[at:]...)
}
