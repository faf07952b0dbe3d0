package dag

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unicode/utf8"
)

// Links returns what the block c with the given content links to, in order, repeats included: nothing for a raw block,
// every tag 42 of a dag-cbor block. The content must be strict DAG-CBOR of any shape; its hash is not checked.
func Links(c CID, data []byte) ([]CID, error) {
	if c.Codec() == Raw {
		return nil, nil
	}
	s := scanner{rest: data}
	if err := s.value(0); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrEncoding, c, err)
	}
	if len(s.rest) > 0 {
		return nil, fmt.Errorf("%w: %s: %d bytes after the value", ErrEncoding, c, len(s.rest))
	}
	return s.links, nil
}

// The major types of CBOR.
const (
	majorUint = iota
	majorNegative
	majorBytes
	majorText
	majorArray
	majorMap
	majorTag
	majorSimple
)

const maxNesting = 16 // the same limit as Unmarshal's

// scanner reads one DAG-CBOR value of any shape without building it. What it accepts is a superset of what Unmarshal
// accepts into some type.
type scanner struct {
	rest  []byte
	links []CID
}

var errShort = errors.New("value is cut off")

// head reads a major type and its argument, which must be in the shortest form.
func (s *scanner) head() (major byte, arg uint64, err error) {
	if len(s.rest) == 0 {
		return 0, 0, errShort
	}
	b := s.rest[0]
	major, low := b>>5, b&31
	if low < 24 {
		s.rest = s.rest[1:]
		return major, uint64(low), nil
	}
	if low > 27 {
		return 0, 0, fmt.Errorf("indefinite length or reserved head %#x", b)
	}
	size := 1 << (low - 24)
	if len(s.rest) < 1+size {
		return 0, 0, errShort
	}
	var buf [8]byte
	copy(buf[8-size:], s.rest[1:])
	arg = binary.BigEndian.Uint64(buf[:])
	s.rest = s.rest[1+size:]
	if major == majorSimple {
		if low != 27 {
			return 0, 0, fmt.Errorf("float or simple value %#x: only 64-bit floats, booleans and null are allowed", b)
		}
		return major, arg, nil
	}
	if least := [4]uint64{24, 1 << 8, 1 << 16, 1 << 32}[low-24]; arg < least {
		return 0, 0, fmt.Errorf("argument %d is not in its shortest form", arg)
	}
	return major, arg, nil
}

func (s *scanner) take(n uint64) ([]byte, error) {
	if n > uint64(len(s.rest)) {
		return nil, errShort
	}
	b := s.rest[:n]
	s.rest = s.rest[n:]
	return b, nil
}

func (s *scanner) value(depth int) error {
	if depth > maxNesting {
		return fmt.Errorf("nested over %d levels deep", maxNesting)
	}
	float := len(s.rest) > 0 && s.rest[0] == majorSimple<<5|27
	major, arg, err := s.head()
	if err != nil {
		return err
	}
	switch major {
	case majorBytes:
		_, err = s.take(arg)
	case majorText:
		_, err = s.text(arg)
	case majorArray:
		if arg > uint64(len(s.rest)) {
			return errShort
		}
		for range arg {
			if err := s.value(depth + 1); err != nil {
				return err
			}
		}
	case majorMap:
		err = s.mapping(arg, depth)
	case majorTag:
		err = s.link(arg)
	case majorSimple:
		switch {
		case float:
			if arg&(0x7ff<<52) == 0x7ff<<52 {
				err = errors.New("NaN or infinity")
			}
		case arg != 20 && arg != 21 && arg != 22:
			err = fmt.Errorf("simple value %d", arg)
		}
	}
	return err
}

func (s *scanner) text(n uint64) ([]byte, error) {
	b, err := s.take(n)
	if err == nil && !utf8.Valid(b) {
		err = errors.New("text is not UTF-8")
	}
	return b, err
}

// mapping reads pairs with text keys, shorter keys first, then in byte order, none twice.
func (s *scanner) mapping(pairs uint64, depth int) error {
	if pairs > uint64(len(s.rest))/2 {
		return errShort
	}
	var last []byte
	for i := range pairs {
		major, n, err := s.head()
		if err != nil {
			return err
		}
		if major != majorText {
			return errors.New("map key is not text")
		}
		key, err := s.text(n)
		if err != nil {
			return err
		}
		if i > 0 && (len(key) < len(last) || (len(key) == len(last) && string(key) <= string(last))) {
			return fmt.Errorf("map key %.40q is out of order or doubled", key)
		}
		last = key
		if err := s.value(depth + 1); err != nil {
			return err
		}
	}
	return nil
}

func (s *scanner) link(tag uint64) error {
	if tag != 42 {
		return fmt.Errorf("tag %d: only links (42) are allowed", tag)
	}
	major, n, err := s.head()
	if err != nil {
		return err
	}
	b, err := s.take(n)
	if err != nil {
		return err
	}
	if major != majorBytes || n != Size+1 || b[0] != 0 {
		return fmt.Errorf("%w: link of %d bytes", ErrCID, n)
	}
	c, err := CIDFromBytes(b[1:])
	if err != nil {
		return err
	}
	s.links = append(s.links, c)
	return nil
}
