package corpus

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// Fields are the members that kinds added to a record, as compact JSON in the order they were added, each with a comma
// before it: `,"lang":"go","raw":812`. The zero value is no fields. Names are lower-case letters, digits and
// underscores. Values from a Reader are known to be well formed.
type Fields []byte

// Get returns the JSON value of the named field, or nil. It is valid until the fields change.
func (f Fields) Get(name string) []byte {
	at, end := f.find(name)
	if at < 0 {
		return nil
	}
	return f[at:end]
}

// String returns the named field if it is a string.
func (f Fields) String(name string) (string, bool) {
	v := f.Get(name)
	if len(v) < 2 || v[0] != '"' {
		return "", false
	}
	s, n, err := parseString(v)
	return s, err == nil && n == len(v)
}

// Int returns the named field if it is an integer.
func (f Fields) Int(name string) (int64, bool) {
	v, err := strconv.ParseInt(string(f.Get(name)), 10, 64)
	return v, err == nil
}

// SetString sets a field to a string. Bytes of s that are not UTF-8 become U+FFFD.
func (f *Fields) SetString(name, s string) {
	if !utf8.ValidString(s) {
		s = string([]rune(s))
	}
	at := f.open(name)
	f.close(at, appendString(*f, s))
}

// SetInt sets a field to an integer.
func (f *Fields) SetInt(name string, v int64) {
	at := f.open(name)
	f.close(at, strconv.AppendInt(*f, v, 10))
}

// SetJSON sets a field to compact JSON, for example what json.Marshal returns. It does not check value; the reader of
// the corpus will.
func (f *Fields) SetJSON(name string, value []byte) {
	at := f.open(name)
	f.close(at, append(*f, value...))
}

// Delete removes a field if it is there.
func (f *Fields) Delete(name string) {
	if at, end := f.find(name); at >= 0 {
		*f = append((*f)[:at-len(name)-len(`,"":`)], (*f)[end:]...)
	}
}

// open makes f end where the value of name is to be appended. If the field exists, open moves what follows it out of
// the way and returns it; close puts it back.
func (f *Fields) open(name string) (after []byte) {
	at, end := f.find(name)
	if at >= 0 {
		after = append(after, (*f)[end:]...)
		*f = (*f)[:at]
		return after
	}
	*f = append(*f, ',', '"')
	*f = append(*f, name...)
	*f = append(*f, '"', ':')
	return nil
}

func (f *Fields) close(after, grown []byte) { *f = append(grown, after...) }

// find returns where the value of name stands, or -1.
func (f Fields) find(name string) (at, end int) {
	for i := 0; i < len(f); {
		_, n, err := parseName(f[i:])
		if err != nil {
			return -1, -1
		}
		at = i + n
		m, err := skipValue(f[at:])
		if err != nil {
			return -1, -1
		}
		if string(f[i+2:i+n-2]) == name {
			return at, at + m
		}
		i = at + m
	}
	return -1, -1
}

var (
	errField = errors.New("fields are not compact JSON members")
	errTwice = errors.New("a field stands twice in one record")
)

// checkFields reports whether f is what Fields may be.
func checkFields(f Fields) error {
	if len(f) == 0 {
		return nil
	}
	if !utf8.Valid(f) {
		return fmt.Errorf("fields are not UTF-8")
	}
	var names [MaxFields][]byte
	count := 0
	for i := 0; i < len(f); {
		name, n, err := parseName(f[i:])
		if err != nil {
			return err
		}
		i += n
		if count == MaxFields {
			return fmt.Errorf("more than %d fields", MaxFields)
		}
		for _, other := range names[:count] {
			if string(other) == string(name) {
				return errTwice
			}
		}
		names[count] = name
		count++
		if n, err = skipValue(f[i:]); err != nil {
			return err
		}
		// skipValue finds where a valid value ends; only the full grammar knows whether it is one.
		if !simple(f[i:i+n]) && !json.Valid(f[i:i+n]) {
			return errField
		}
		i += n
	}
	return nil
}

// simple reports whether v is a string without escapes or a short integer: values that need no second look.
func simple(v []byte) bool {
	if v[0] == '"' {
		for _, c := range v[1 : len(v)-1] {
			if c == '\\' || c < 0x20 {
				return false
			}
		}
		return true
	}
	if len(v) > 1 && v[0] == '0' {
		return false
	}
	for _, c := range v {
		if c-'0' > 9 {
			return false
		}
	}
	return true
}

// parseName reads `,"name":` and returns the name and the length of all.
func parseName(b []byte) (name []byte, n int, err error) {
	if len(b) < 5 || b[0] != ',' || b[1] != '"' {
		return nil, 0, errField
	}
	for n = 2; n < len(b); n++ {
		c := b[n]
		if c-'a' > 25 && c-'0' > 9 && c != '_' {
			break
		}
	}
	if n == 2 || n+2 > len(b) || b[n] != '"' || b[n+1] != ':' {
		return nil, 0, errField
	}
	switch name = b[2:n]; string(name) {
	case "path", "path64", "at", "off", "len":
		return nil, 0, errTwice
	}
	return name, n + 2, nil
}

// skipValue returns the length of the JSON value at the beginning of b, of which it checks that it is not empty, has no
// white space outside strings, and that strings and brackets close.
func skipValue(b []byte) (int, error) {
	depth := 0
	for i := 0; i < len(b); {
		switch c := b[i]; c {
		case '"':
			i++
			for i < len(b) && b[i] != '"' {
				if b[i] == '\\' {
					i++
				}
				i++
			}
			if i >= len(b) {
				return 0, errField
			}
			i++
			if depth == 0 {
				return i, nil
			}
		case '{', '[':
			depth++
			i++
		case '}', ']':
			depth--
			i++
			if depth == 0 {
				return i, nil
			}
			if depth < 0 {
				return 0, errField
			}
		case ' ', '\t', '\r', '\n':
			return 0, errField
		case ',', ':':
			if depth == 0 {
				return 0, errField
			}
			i++
		default: // a number or a word
			n := i
			for n < len(b) && (b[n]|0x20-'a' <= 25 || b[n]-'0' <= 9 || b[n] == '.' || b[n] == '-' || b[n] == '+') {
				n++
			}
			if n == i {
				return 0, errField
			}
			i = n
			if depth == 0 {
				return i, nil
			}
		}
	}
	return 0, errField
}

// parseString reads the JSON string at the beginning of b and returns it and the length of its written form.
func parseString(b []byte) (s string, n int, err error) {
	escaped := false
	for n = 1; n < len(b) && b[n] != '"'; n++ {
		if b[n] == '\\' {
			escaped = true
			n++
		}
	}
	if n >= len(b) {
		return "", 0, fmt.Errorf("a string does not end")
	}
	n++
	if !escaped {
		if !utf8.Valid(b[1 : n-1]) {
			return "", 0, fmt.Errorf("a string is not UTF-8")
		}
		return string(b[1 : n-1]), n, nil
	}
	if err := json.Unmarshal(b[:n], &s); err != nil {
		return "", 0, fmt.Errorf("a string is not valid: %w", err)
	}
	return s, n, nil
}
