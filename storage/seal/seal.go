// Package seal encrypts streams with AES-256-GCM so that every byte that Open hands out is authentic and in its place.
//
// A sealed stream is a 32-byte random salt and segments of 64 KiB of content, each followed by its 16-byte tag; the last
// one may be shorter, and is empty only for an empty stream. The key of a stream is HKDF-SHA-256 of the caller's key and the salt, so a
// key may seal any number of streams. The nonce of a segment is its number and a byte that is 1 for the last one (the
// STREAM construction of Hoang, Reyhanitabar, Rogaway and Vizár, 2015): a segment that is changed, moved, left out,
// repeated or taken from another stream does not open, nor does a stream that was cut or added to.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

const (
	// SegmentSize is the content of one segment in bytes.
	SegmentSize = 64 << 10
	saltSize    = 32
	tagSize     = 16
	info        = "kith/seal/1"
	maxSegments = 1<<32 - 1 // 256 TiB
)

// Errors of this package. Match them with errors.Is.
var (
	// ErrOpen: the stream was not sealed with this key, or was changed, cut or put together since.
	ErrOpen = errors.New("sealed data does not open: wrong key, or it was changed")
	// ErrTooLong: the content has more than 256 TiB.
	ErrTooLong = errors.New("too much content for one sealed stream")
)

// SealedSize returns the bytes that n bytes of content take when sealed.
func SealedSize(n int64) int64 {
	segments := max(1, (n+SegmentSize-1)/SegmentSize)
	return saltSize + n + segments*tagSize
}

// Seal encrypts src to dst. It needs about 128 KiB of memory. What it wrote before an error does not open.
func Seal(key [32]byte, dst io.Writer, src io.Reader) error {
	var salt [saltSize]byte
	if _, err := rand.Read(salt[:]); err != nil {
		return fmt.Errorf("seal: %w", err)
	}
	s, err := newStream(key, salt[:])
	if err != nil {
		return err
	}
	if _, err := dst.Write(salt[:]); err != nil {
		return fmt.Errorf("seal: %w", err)
	}
	return pump(src, SegmentSize, func(segment []byte, last bool) error {
		nonce, err := s.nonce(last)
		if err != nil {
			return err
		}
		_, err = dst.Write(s.aead.Seal(s.out[:0], nonce, segment, nil))
		return err
	})
}

// Open decrypts src to dst. What it writes is authentic, but only a nil error says that it is the whole content: on any
// error the caller must throw away what dst got.
func Open(key [32]byte, dst io.Writer, src io.Reader) error {
	var salt [saltSize]byte
	if _, err := io.ReadFull(src, salt[:]); err != nil {
		return cut(err)
	}
	s, err := newStream(key, salt[:])
	if err != nil {
		return err
	}
	return pump(src, SegmentSize+tagSize, func(segment []byte, last bool) error {
		nonce, err := s.nonce(last)
		if err != nil {
			return err
		}
		if last && s.number > 1 && len(segment) == tagSize {
			return ErrOpen // an empty last segment is for an empty stream alone: one content, one form
		}
		content, err := s.aead.Open(s.out[:0], nonce, segment, nil)
		if err != nil {
			return ErrOpen
		}
		_, err = dst.Write(content)
		return err
	})
}

func cut(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return ErrOpen
	}
	return fmt.Errorf("seal: %w", err)
}

// stream is the state of one direction.
type stream struct {
	aead   cipher.AEAD
	number uint64 // of the next segment
	out    []byte
}

func newStream(key [32]byte, salt []byte) (*stream, error) {
	own, err := hkdf.Key(sha256.New, key[:], salt, info, 32)
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	block, err := aes.NewCipher(own)
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	return &stream{aead: aead, out: make([]byte, 0, SegmentSize+tagSize)}, nil
}

// nonce returns that of the next segment: 3 zero bytes, its number, and whether it is the last.
func (s *stream) nonce(last bool) ([]byte, error) {
	if s.number > maxSegments {
		return nil, ErrTooLong
	}
	nonce := make([]byte, 12)
	binary.BigEndian.PutUint64(nonce[3:], s.number)
	if last {
		nonce[11] = 1
	}
	s.number++
	return nonce, nil
}

// pump calls fn for every piece of size bytes of src; last tells that nothing follows. There is always at least one.
func pump(src io.Reader, size int, fn func(piece []byte, last bool) error) error {
	buf := make([]byte, size+1) // one more byte tells whether anything follows
	have := 0
	for {
		n, err := io.ReadFull(src, buf[have:])
		have += n
		last := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !last {
			return fmt.Errorf("seal: %w", err)
		}
		if err := fn(buf[:min(have, size)], last); err != nil {
			return err
		}
		if last {
			return nil
		}
		buf[0], have = buf[size], 1
	}
}
