// Package split decides how a job's input becomes parts: a pure function from a listing of documents to groups of
// neighbours. It runs inside a sandbox, because the listing is made of names and sizes that strangers chose; both
// sides speak the two small encodings below.
package split

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// Names of the two files through which a split travels.
const (
	ListingFile = "listing"
	GroupsFile  = "groups"
)

// MaxDocuments bounds the documents of one listing.
const MaxDocuments = 1 << 26

// ErrListing: the bytes are not a listing, or not groups of it.
var ErrListing = errors.New("not a listing of documents")

// Listing is what there is to split: the sizes of the documents, in order, and the wanted bytes a part.
type Listing struct {
	PartBytes int64
	Sizes     []int64
}

// Encode writes the listing.
func (l Listing) Encode() []byte {
	b := make([]byte, 0, 16+3*len(l.Sizes))
	b = binary.AppendUvarint(b, uint64(l.PartBytes))
	b = binary.AppendUvarint(b, uint64(len(l.Sizes)))
	for _, n := range l.Sizes {
		b = binary.AppendUvarint(b, uint64(n))
	}
	return b
}

func decode(b []byte) (Listing, error) {
	next := func() int64 {
		v, n := binary.Uvarint(b)
		if n <= 0 || v > math.MaxInt64 {
			b = nil
			return -1
		}
		b = b[n:]
		return int64(v)
	}
	l := Listing{PartBytes: next()}
	n := next()
	if l.PartBytes < 1 || n < 0 || n > MaxDocuments || n > int64(len(b)) {
		return Listing{}, fmt.Errorf("%w: part size %d, %d documents", ErrListing, l.PartBytes, n)
	}
	l.Sizes = make([]int64, n)
	for i := range l.Sizes {
		if l.Sizes[i] = next(); l.Sizes[i] < 0 {
			return Listing{}, fmt.Errorf("%w: document %d", ErrListing, i)
		}
	}
	if len(b) != 0 {
		return Listing{}, fmt.Errorf("%w: trailing bytes", ErrListing)
	}
	return l, nil
}

// Group takes an encoded listing and returns encoded groups: how many neighbouring documents each part has. A part holds
// at most PartBytes unless it is a single document; there is always at least one part, which may be empty.
func Group(listing []byte) ([]byte, error) {
	l, err := decode(listing)
	if err != nil {
		return nil, err
	}
	var groups []byte
	var count uint64
	var size int64
	for _, n := range l.Sizes {
		if count > 0 && (n > l.PartBytes || size > l.PartBytes-n) {
			groups = binary.AppendUvarint(groups, count)
			count, size = 0, 0
		}
		count++
		size += min(n, math.MaxInt64-size)
	}
	return binary.AppendUvarint(groups, count), nil
}

// Groups reads what Group wrote for documents many documents, and accepts nothing that does not cover them all in order.
func Groups(b []byte, documents int) ([]int, error) {
	var groups []int
	left := uint64(documents)
	for len(b) > 0 {
		v, n := binary.Uvarint(b)
		if n <= 0 || v > left || (v == 0 && documents > 0) || len(groups) > documents {
			return nil, fmt.Errorf("%w: group %d", ErrListing, len(groups))
		}
		groups = append(groups, int(v))
		left -= v
		b = b[n:]
	}
	if left != 0 || len(groups) == 0 {
		return nil, fmt.Errorf("%w: %d documents are in no group", ErrListing, left)
	}
	return groups, nil
}
