package dag

import (
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"

	"lukechampine.com/blake3"
)

// Codec is the multicodec of a block's content.
type Codec byte

// The two codecs Kith reads and writes, with their multicodec numbers.
const (
	Raw     Codec = 0x55
	DagCBOR Codec = 0x71
)

// Hash is the multihash function that names a block.
type Hash byte

// The two hash functions Kith accepts, with their multihash numbers.
const (
	SHA256 Hash = 0x12
	BLAKE3 Hash = 0x1e
)

// Size is the length in bytes of every CID Kith accepts: version, codec, hash function, digest length, 32-byte digest.
const Size = 4 + 32

// CID names a block by its content: a binary CIDv1 of codec raw or dag-cbor and hash SHA-256 or BLAKE3-256, nothing else.
// The zero CID is "no block". CIDs are comparable and may be map keys.
type CID [Size]byte

// Errors of this package. Match them with errors.Is.
var (
	// ErrCID: the bytes or text are not a CID that Kith accepts.
	ErrCID = errors.New("not a CID Kith accepts (CIDv1, raw or dag-cbor, SHA-256 or BLAKE3)")
	// ErrMismatch: the content of a block does not hash to its CID.
	ErrMismatch = errors.New("block content does not match its CID")
)

var base32Lower = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// Sum returns the CID of data.
func Sum(codec Codec, hash Hash, data []byte) CID {
	var c CID
	c[0], c[1], c[2], c[3] = 1, byte(codec), byte(hash), 32
	switch hash {
	case BLAKE3:
		d := blake3.Sum256(data)
		copy(c[4:], d[:])
	default:
		c[2] = byte(SHA256)
		d := sha256.Sum256(data)
		copy(c[4:], d[:])
	}
	return c
}

// ParseCID reads the text form: multibase base32 lower case ("b…"). A CID has one text form.
func ParseCID(s string) (CID, error) {
	if len(s) < 2 || s[0] != 'b' {
		return CID{}, fmt.Errorf("%w: %.80q", ErrCID, s)
	}
	b, err := base32Lower.DecodeString(s[1:])
	if err != nil {
		return CID{}, fmt.Errorf("%w: %.80q: %v", ErrCID, s, err)
	}
	c, err := CIDFromBytes(b)
	if err == nil && c.String() != s { // line breaks, or bits set after the end
		return CID{}, fmt.Errorf("%w: %.80q", ErrCID, s)
	}
	return c, err
}

// CIDFromBytes reads the binary form and refuses everything but the accepted codecs and hash functions.
func CIDFromBytes(b []byte) (CID, error) {
	var c CID
	if len(b) != Size {
		return CID{}, fmt.Errorf("%w: %d bytes, want %d", ErrCID, len(b), Size)
	}
	copy(c[:], b)
	if c[0] != 1 || (Codec(c[1]) != Raw && Codec(c[1]) != DagCBOR) || (Hash(c[2]) != SHA256 && Hash(c[2]) != BLAKE3) || c[3] != 32 {
		return CID{}, fmt.Errorf("%w: header %x", ErrCID, b[:4])
	}
	return c, nil
}

// Codec returns how the block is encoded.
func (c CID) Codec() Codec { return Codec(c[1]) }

// Hash returns the function that names the block.
func (c CID) Hash() Hash { return Hash(c[2]) }

// Defined reports whether c names a block.
func (c CID) Defined() bool { return c != CID{} }

// String returns the text form, or "" for the zero CID.
func (c CID) String() string {
	if !c.Defined() {
		return ""
	}
	return "b" + base32Lower.EncodeToString(c[:])
}

// MarshalText implements encoding.TextMarshaler.
func (c CID) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler; the empty text is the zero CID.
func (c *CID) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*c = CID{}
		return nil
	}
	v, err := ParseCID(string(b))
	if err != nil {
		return err
	}
	*c = v
	return nil
}

// cborLink is the header of a DAG-CBOR link: tag 42, a byte string of 37 bytes, the identity multibase prefix.
var cborLink = [5]byte{0xd8, 42, 0x58, Size + 1, 0}

// MarshalCBOR writes a DAG-CBOR link, or null for the zero CID.
func (c CID) MarshalCBOR() ([]byte, error) {
	if !c.Defined() {
		return []byte{0xf6}, nil
	}
	return append(append(make([]byte, 0, len(cborLink)+Size), cborLink[:]...), c[:]...), nil
}

// UnmarshalCBOR reads what MarshalCBOR writes and nothing else.
func (c *CID) UnmarshalCBOR(b []byte) error {
	if len(b) == 1 && b[0] == 0xf6 {
		*c = CID{}
		return nil
	}
	if len(b) != len(cborLink)+Size || [5]byte(b[:5]) != cborLink {
		return fmt.Errorf("%w: not a DAG-CBOR link", ErrCID)
	}
	v, err := CIDFromBytes(b[5:])
	if err != nil {
		return err
	}
	*c = v
	return nil
}

// Verify checks that data hashes to c.
func Verify(c CID, data []byte) error {
	if got := Sum(c.Codec(), c.Hash(), data); got != c {
		return fmt.Errorf("%w: %s holds %s", ErrMismatch, c, got)
	}
	return nil
}
