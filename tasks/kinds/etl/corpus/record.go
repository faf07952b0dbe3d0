package corpus

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// Record is one line of the index.
type Record struct {
	Path   string // name of the source file: any non-empty bytes, not necessarily UTF-8
	At     int64  // offset of the record in its source file, in bytes
	Off    int64  // offset of its bytes in data; writers set it
	Len    int64  // number of its bytes; writers set it
	Fields Fields // what kinds added
}

// RawField is the field that marks a compressed record: its length before, in bytes.
const RawField = "raw"

// Compressed reports whether the record's bytes are compressed, so that kinds that read text must refuse it.
func (r *Record) Compressed() bool { return r.Fields.Get(RawField) != nil }

// AppendRecord appends r as a line of the index, with its newline. It does not check limits.
func AppendRecord(dst []byte, r *Record) []byte {
	dst = appendPath(dst, r.Path)
	return appendRest(dst, r)
}

// appendPath appends the beginning of a line, up to the offset.
func appendPath(dst []byte, path string) []byte {
	if utf8.ValidString(path) {
		dst = append(dst, `{"path":`...)
		return appendString(dst, path)
	}
	dst = append(dst, `{"path64":"`...)
	dst = base64.StdEncoding.AppendEncode(dst, []byte(path))
	return append(dst, '"')
}

func appendRest(dst []byte, r *Record) []byte {
	dst = append(dst, `,"at":`...)
	dst = strconv.AppendInt(dst, r.At, 10)
	dst = append(dst, `,"off":`...)
	dst = strconv.AppendInt(dst, r.Off, 10)
	dst = append(dst, `,"len":`...)
	dst = strconv.AppendInt(dst, r.Len, 10)
	dst = append(dst, r.Fields...)
	return append(dst, '}', '\n')
}

const hexDigits = "0123456789abcdef"

// appendString appends s, which must be valid UTF-8, as a JSON string in its one canonical form: only the quote, the
// backslash and control characters are escaped.
func appendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, s[start:i]...)
		start = i + 1
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}

// parseRecord reads one line without its newline into r, reusing its memory. lastPath and last are the raw beginning and
// the path of the line before, because neighbouring records mostly share a file.
func parseRecord(line []byte, r *Record, last *pathCache) error {
	rest, err := last.parse(line, &r.Path)
	if err != nil {
		return err
	}
	if r.At, rest, err = parseInt(rest, `,"at":`); err != nil {
		return err
	}
	if r.Off, rest, err = parseInt(rest, `,"off":`); err != nil {
		return err
	}
	if r.Len, rest, err = parseInt(rest, `,"len":`); err != nil {
		return err
	}
	if r.Len > MaxRecord {
		return fmt.Errorf("a record of %d bytes, at most %d are allowed", r.Len, MaxRecord)
	}
	if len(rest) == 0 || rest[len(rest)-1] != '}' {
		return fmt.Errorf("the line does not end in a brace")
	}
	fields := rest[:len(rest)-1]
	if err := checkFields(fields); err != nil {
		return err
	}
	r.Fields = append(r.Fields[:0], fields...)
	return nil
}

// pathCache remembers the raw beginning of the line before, up to and with the quote that ends its path.
type pathCache struct {
	raw  []byte
	path string
}

func (p *pathCache) parse(line []byte, path *string) (rest []byte, err error) {
	if n := len(p.raw); n > 0 && len(line) > n && string(line[:n]) == string(p.raw) {
		*path = p.path
		return line[n:], nil
	}
	const plain, encoded = `{"path":"`, `{"path64":"`
	var s string
	var n int
	switch {
	case len(line) > len(plain) && string(line[:len(plain)]) == plain:
		if s, n, err = parseString(line[len(plain)-1:]); err != nil {
			return nil, err
		}
		n += len(plain) - 1
	case len(line) > len(encoded) && string(line[:len(encoded)]) == encoded:
		for n = len(encoded); n < len(line) && line[n] != '"'; n++ {
		}
		b, err := base64.StdEncoding.Strict().AppendDecode(nil, line[len(encoded):n])
		if err != nil || n == len(line) {
			return nil, fmt.Errorf("path64 is not base64")
		}
		s = string(b)
		n++
	default:
		return nil, fmt.Errorf("the line does not begin with a path")
	}
	if len(s) == 0 || len(s) > MaxPath {
		return nil, fmt.Errorf("a path of %d bytes, want 1 to %d", len(s), MaxPath)
	}
	// One way to write each path: what was read must be what would be written.
	if again := appendPath(nil, s); string(again) != string(line[:n]) {
		return nil, fmt.Errorf("the path is not written in its canonical form")
	}
	p.raw = append(p.raw[:0], line[:n]...)
	p.path = s
	*path = s
	return line[n:], nil
}

// parseInt reads name and a canonical non-negative integer.
func parseInt(b []byte, name string) (v int64, rest []byte, err error) {
	if len(b) < len(name) || string(b[:len(name)]) != name {
		return 0, nil, fmt.Errorf("want %s next", name[1:])
	}
	b = b[len(name):]
	n := 0
	for ; n < len(b) && b[n]-'0' <= 9; n++ {
		if n == 18 { // 10^18 still fits
			return 0, nil, fmt.Errorf("%s is too large", name[1:])
		}
		v = v*10 + int64(b[n]-'0')
	}
	if n == 0 || n > 1 && b[0] == '0' {
		return 0, nil, fmt.Errorf("%s is not a canonical number", name[1:])
	}
	return v, b[n:], nil
}
