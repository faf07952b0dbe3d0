package dag

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
)

// Files over MaxSegment are cut into segments at points that their content chooses, so that equal stretches of two
// large files become equal segments and no record of a line-based format is torn.
const (
	minSegment = 16 << 20
	// MaxSegment is the largest file that stays whole, and the largest segment of a larger one, in bytes.
	MaxSegment = 64 << 20
	cutSearch  = 1 << 20           // how far to look for the end of a line after a hit
	cutMask    = (1<<24 - 1) << 40 // one hit in 16 MiB on average: segments of about 32 MiB
)

// gear holds one random number for each byte value, fixed forever: changing it changes every CID of a large file.
var gear = func() (t [256]uint64) {
	for i := range t {
		d := sha256.Sum256(append([]byte("kith/gear/1"), byte(i)))
		t[i] = binary.BigEndian.Uint64(d[:])
	}
	return t
}()

// cutter looks for the end of the current segment. The hash is a shift register over the last 64 bytes, so a hit
// depends on content alone. After a hit the segment ends with the line, or 1 MiB later where there are no lines.
type cutter struct {
	later bool // not the first segment
	hash  uint64
	open  int // bytes left of the search for an end of line, 0: no hit yet
}

// find returns how many bytes of leaf still belong to the segment that already has pos bytes, and whether it ends
// there. more: bytes follow the leaf.
//
// The first segment is cut at its largest size only: whether there will be a second one is not known before.
func (c *cutter) find(leaf []byte, pos int, more bool) (n int, end bool) {
	if !more || pos < minSegment || (!c.later && pos < MaxSegment-cutSearch) {
		return len(leaf), false
	}
	from := 0
	if c.open == 0 {
		from = c.hit(leaf, pos)
		if c.open == 0 {
			return len(leaf), false
		}
	}
	window := leaf[from:min(from+c.open, len(leaf))]
	if i := bytes.IndexByte(window, '\n'); i >= 0 {
		n = from + i + 1
	} else if len(window) == c.open {
		n = from + c.open
	} else {
		c.open -= len(window)
		return len(leaf), false
	}
	*c = cutter{later: true}
	return n, true
}

// hit sets open at the first hit in leaf and returns its place.
func (c *cutter) hit(leaf []byte, pos int) int {
	last := min(len(leaf), MaxSegment-cutSearch-pos)
	h := c.hash
	for i, b := range leaf[:last] {
		h = h<<1 + gear[b]
		if h&cutMask == 0 {
			c.open = cutSearch
			return i + 1
		}
	}
	c.hash = h
	if last < len(leaf) { // the largest size is near: end at the next line
		c.open = cutSearch
	}
	return last
}
