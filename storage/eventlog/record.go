package eventlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strconv"
	"strings"
)

// A segment is a header and records. All numbers are little-endian.
//
//	header: "kithlog1", first sequence number u64, CRC-32C of the 16 bytes before u32
//	record: length u32, CRC-32C of everything else u32, sequence number u64, synced u64, content
//	mark:   a record without content whose length has the top bit set and whose sequence number is the last one
//
// synced is the highest sequence number that was on stable storage when the record was made. A damaged place that a
// later record vouches for is corruption; one that none vouches for is a tail that a power cut took.
const (
	magic      = "kithlog1"
	headerSize = 8 + 8 + 4
	recordSize = 4 + 4 + 8 + 8
	markBit    = 1 << 31
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func segmentName(first uint64) string { return fmt.Sprintf("%020d%s", first, logSuffix) }

// parseName returns the number in front of the suffix of a file name.
func parseName(name, suffix string) (uint64, bool) {
	digits, ok := strings.CutSuffix(name, suffix)
	if !ok || len(digits) != 20 {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, err == nil
}

func appendHeader(b []byte, first uint64) []byte {
	b = append(b, magic...)
	b = binary.LittleEndian.AppendUint64(b, first)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b[len(b)-16:], castagnoli))
}

func appendRecord(b []byte, length uint32, seq, synced uint64, content []byte) []byte {
	at := len(b)
	b = binary.LittleEndian.AppendUint32(b, length)
	b = append(b, 0, 0, 0, 0)
	b = binary.LittleEndian.AppendUint64(b, seq)
	b = binary.LittleEndian.AppendUint64(b, synced)
	b = append(b, content...)
	binary.LittleEndian.PutUint32(b[at+4:], checksum(b[at:at+recordSize], content))
	return b
}

func checksum(head, content []byte) uint32 {
	sum := crc32.Update(crc32.Checksum(head[:4], castagnoli), castagnoli, head[8:])
	return crc32.Update(sum, castagnoli, content)
}

// record is one decoded record; content is empty for a mark.
type record struct {
	seq, synced uint64
	mark        bool
	content     []byte
}

var errRecord = errors.New("damaged record")

// decodeHead returns how many bytes of content follow.
func decodeHead(head []byte) (r record, length int, err error) {
	n := binary.LittleEndian.Uint32(head)
	r.mark = n&markBit != 0
	n &^= markBit
	if n > MaxRecord || (r.mark && n != 0) {
		return r, 0, fmt.Errorf("%w: length %d", errRecord, n)
	}
	r.seq = binary.LittleEndian.Uint64(head[8:])
	r.synced = binary.LittleEndian.Uint64(head[16:])
	return r, int(n), nil
}

// segmentReader reads a segment in order. It reports how far the segment is sound.
type segmentReader struct {
	in   io.Reader
	next uint64 // expected sequence number
	good int64  // offset after the last sound record, 0 if not even the header is
	buf  []byte
}

// header reads the header, which must name first.
func (s *segmentReader) header(first uint64) error {
	var h [headerSize]byte
	if _, err := io.ReadFull(s.in, h[:]); err != nil {
		return cut(err)
	}
	if string(h[:]) != string(appendHeader(nil, first)) {
		return fmt.Errorf("%w: segment header", errRecord)
	}
	s.next, s.good = first, headerSize
	return nil
}

// cut turns an end in the middle of something into damage and leaves other errors alone.
func cut(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: cut off", errRecord)
	}
	return err
}

// record reads the next one, or returns io.EOF at a sound end. The content is valid until the next call.
func (s *segmentReader) record() (record, error) {
	var head [recordSize]byte
	if _, err := io.ReadFull(s.in, head[:]); err != nil {
		if errors.Is(err, io.EOF) {
			return record{}, io.EOF
		}
		return record{}, cut(err)
	}
	r, length, err := decodeHead(head[:])
	if err != nil {
		return record{}, err
	}
	if cap(s.buf) < length {
		s.buf = make([]byte, length)
	}
	r.content = s.buf[:length]
	if _, err := io.ReadFull(s.in, r.content); err != nil {
		return record{}, cut(err)
	}
	if binary.LittleEndian.Uint32(head[4:]) != checksum(head[:], r.content) {
		return record{}, fmt.Errorf("%w: checksum", errRecord)
	}
	want := s.next
	if r.mark {
		want--
	}
	if r.seq != want || r.synced > want {
		return record{}, fmt.Errorf("%w: sequence number %d where %d belongs", errRecord, r.seq, want)
	}
	s.next = want + 1
	s.good += int64(recordSize + length)
	return r, nil
}

// vouched looks through the bytes after a damaged place for a sound record saying that seq had been synced.
func vouched(tail []byte, seq uint64) bool {
	last := seq + uint64(len(tail)/recordSize) // no higher number fits in; rules out almost all that is not a record
	for ; len(tail) >= recordSize; tail = tail[1:] {
		own, synced := binary.LittleEndian.Uint64(tail[8:]), binary.LittleEndian.Uint64(tail[16:])
		if synced < seq || own < synced || own > last {
			continue
		}
		_, length, err := decodeHead(tail)
		if err != nil || length > len(tail)-recordSize {
			continue
		}
		if binary.LittleEndian.Uint32(tail[4:]) == checksum(tail[:recordSize], tail[recordSize:recordSize+length]) {
			return true
		}
	}
	return false
}
