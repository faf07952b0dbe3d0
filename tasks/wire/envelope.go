package wire

import (
	"encoding/binary"
	"errors"
	"io"
)

// envelope is what travels: everything else a signature covers is known to both ends.
type envelope struct {
	Version int       `cbor:"v"`
	Type    Type      `cbor:"type"`
	Seq     uint64    `cbor:"seq"`
	Prev    Hash      `cbor:"prev"`
	Sig     Signature `cbor:"sig"`
	Body    []byte    `cbor:"body"`
}

const frameHead = 4 // bytes of length before an envelope

// frame encodes e after its length.
func (e *envelope) frame() []byte {
	f := appendValue(make([]byte, frameHead, frameHead+envelopeRoom+len(e.Body)), e)
	binary.BigEndian.PutUint32(f, uint32(len(f)-frameHead))
	return f
}

// parseEnvelope decodes an envelope; its body shares memory with b.
func parseEnvelope(b []byte) (envelope, error) {
	var e envelope
	if len(b) > MaxFrame {
		return e, bad(ErrSize, "envelope of %d bytes, limit %d", len(b), MaxFrame)
	}
	d := newDecoder(b)
	d.alias = true
	if err := unmarshalFrom(d, &e); err != nil {
		return e, err
	}
	if e.Version != Version {
		return e, bad(ErrVersion, "%d, this node speaks %d", e.Version, Version)
	}
	return e, nil
}

// ReadFrame reads one frame and returns what follows the length, in buf if it is large enough. It never allocates more
// than has arrived, doubled. At a clean end between two frames it returns io.EOF.
func ReadFrame(r io.Reader, buf []byte) ([]byte, error) { return readFrame(r, buf, MaxFrame) }

// errEmptyFrame: a frame of no bytes, which only the end of a fetch may be.
var errEmptyFrame = bad(ErrSize, "frame of no bytes")

func readFrame(r io.Reader, buf []byte, limit int) ([]byte, error) {
	var head [frameHead]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint32(head[:]))
	if n == 0 {
		return nil, errEmptyFrame
	}
	if n > limit {
		return nil, bad(ErrSize, "frame of %d bytes, limit %d", n, limit)
	}
	const step = 64 << 10
	b := buf[:0]
	for len(b) < n {
		want := min(n, max(2*len(b), step, cap(buf)))
		if cap(b) < want {
			b = append(make([]byte, 0, want), b...)
		}
		m, err := io.ReadFull(r, b[len(b):want])
		b = b[:len(b)+m]
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
	return b, nil
}
