// Package strict reads JSON the way Kith wants it: one value and nothing after it, every field known and named once,
// valid UTF-8, bounded depth. What is wrong is said with line, column, the path of the field and the nearest name that
// would have been right.
package strict

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"unicode/utf8"
)

// MaxDepth is how deeply objects and arrays may be nested.
const MaxDepth = 32

// Error says what is wrong with a document and where. Field is the dotted path of the field, empty for the whole
// document; Nearest is the known name most like an unknown one, or empty.
type Error struct {
	Line, Column int // both from 1; the column counts characters
	Field        string
	Nearest      string
	Problem      string
}

func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "line %d, column %d: ", e.Line, e.Column)
	if e.Field != "" {
		fmt.Fprintf(&b, "%s: ", e.Field)
	}
	b.WriteString(e.Problem)
	if e.Nearest != "" {
		fmt.Fprintf(&b, "; did you mean %q?", e.Nearest)
	}
	return b.String()
}

// Decode reads the one JSON value in data into v, a pointer to a struct, map or slice. Fields that the document does
// not name keep their value. An error is an *Error.
func Decode(data []byte, v any) error {
	r := &reader{data: data, dec: json.NewDecoder(bytes.NewReader(data))}
	r.dec.UseNumber()
	if !utf8.Valid(data) {
		i := 0
		for i < len(data) {
			c, n := utf8.DecodeRune(data[i:])
			if c == utf8.RuneError && n == 1 {
				break
			}
			i += n
		}
		return r.fail(int64(i), "", "not valid UTF-8")
	}
	if err := r.value(reflect.TypeOf(v).Elem(), "", 0); err != nil {
		return err
	}
	end := r.dec.InputOffset()
	if _, err := r.dec.Token(); !errors.Is(err, io.EOF) {
		return r.fail(r.skipSpace(end), "", "something follows the end of the document")
	}
	if err := json.Unmarshal(data, v); err != nil {
		return r.explain(err)
	}
	return nil
}

// reader walks the tokens of a document beside the Go type it will be decoded into.
type reader struct {
	data []byte
	dec  *json.Decoder
}

var unmarshaler = reflect.TypeFor[json.Unmarshaler]()

func (r *reader) value(t reflect.Type, path string, depth int) error {
	if depth > MaxDepth {
		return r.fail(r.dec.InputOffset(), path, fmt.Sprintf("nested more than %d deep", MaxDepth))
	}
	tok, err := r.dec.Token()
	if err != nil {
		return r.explain(err)
	}
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t != nil && (t.Implements(unmarshaler) || reflect.PointerTo(t).Implements(unmarshaler)) {
		t = nil // the type looks after itself
	}
	switch tok {
	case json.Delim('{'):
		return r.object(t, path, depth)
	case json.Delim('['):
		var elem reflect.Type
		if t != nil && (t.Kind() == reflect.Slice || t.Kind() == reflect.Array) {
			elem = t.Elem()
		}
		for i := 0; r.dec.More(); i++ {
			if err := r.value(elem, fmt.Sprintf("%s[%d]", path, i), depth+1); err != nil {
				return err
			}
		}
		_, err := r.dec.Token()
		return r.explain(err)
	}
	return nil
}

func (r *reader) object(t reflect.Type, path string, depth int) error {
	var known map[string]reflect.Type
	var elem reflect.Type
	if t != nil && t.Kind() == reflect.Struct {
		known = fields(t)
	} else if t != nil && t.Kind() == reflect.Map {
		elem = t.Elem()
	}
	seen := map[string]bool{}
	for r.dec.More() {
		at := r.skipSpace(r.dec.InputOffset())
		tok, err := r.dec.Token()
		if err != nil {
			return r.explain(err)
		}
		name, ok := tok.(string)
		if !ok {
			return r.fail(at, path, "expected the name of a field")
		}
		field := name
		if path != "" {
			field = path + "." + name
		}
		if seen[name] {
			return r.fail(at, field, "named twice")
		}
		seen[name] = true
		ft := elem
		if known != nil {
			if ft, ok = known[name]; !ok {
				e := r.fail(at, field, "no such field").(*Error)
				e.Nearest = Nearest(name, keys(known))
				return e
			}
		}
		if err := r.value(ft, field, depth+1); err != nil {
			return err
		}
	}
	_, err := r.dec.Token()
	return r.explain(err)
}

// fields returns the JSON names of a struct's fields, those of embedded structs among them.
func fields(t reflect.Type) map[string]reflect.Type {
	m := map[string]reflect.Type{}
	for f := range t.Fields() {
		if f.Anonymous && f.Tag.Get("json") == "" {
			for k, v := range fields(f.Type) {
				m[k] = v
			}
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "-" || !f.IsExported() {
			continue
		}
		if name == "" {
			name = f.Name
		}
		m[name] = f.Type
	}
	return m
}

func keys(m map[string]reflect.Type) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	return out
}

// explain turns an error of encoding/json into one with line and column.
func (r *reader) explain(err error) error {
	var syntax *json.SyntaxError
	var typ *json.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &syntax):
		return r.fail(max(0, syntax.Offset-1), "", syntax.Error())
	case errors.As(err, &typ):
		return r.fail(max(0, typ.Offset-1), typ.Field, fmt.Sprintf("is a %s where a %s is wanted", typ.Value, plain(typ.Type)))
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return r.fail(int64(len(r.data)), "", "the document ends too early")
	default:
		return r.fail(r.dec.InputOffset(), "", err.Error())
	}
}

// plain names a Go type in words a person knows.
func plain(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "text"
	case reflect.Slice, reflect.Array:
		return "list"
	case reflect.Struct, reflect.Map:
		return "object"
	default:
		return "whole number"
	}
}

func (r *reader) skipSpace(at int64) int64 {
	for at < int64(len(r.data)) && strings.IndexByte(" \t\r\n,", r.data[at]) >= 0 {
		at++
	}
	return at
}

func (r *reader) fail(at int64, field, problem string) error {
	before := r.data[:min(at, int64(len(r.data)))]
	start := bytes.LastIndexByte(before, '\n') + 1
	return &Error{
		Line:    bytes.Count(before, []byte{'\n'}) + 1,
		Column:  utf8.RuneCount(before[start:]) + 1,
		Field:   field,
		Problem: problem,
	}
}

// Nearest returns the candidate most like name, or "" when none is close: at most two letters, or a third of the name,
// differ. Among equals the first in the alphabet wins.
func Nearest(name string, candidates []string) string {
	best, least := "", max(2, len(name)/3)+1
	for _, c := range candidates {
		d := distance(strings.ToLower(name), strings.ToLower(c))
		if d < least || (d == least && best != "" && c < best) {
			best, least = c, d
		}
	}
	return best
}

// distance is the Levenshtein distance in bytes of the first 64 bytes of a and b.
func distance(a, b string) int {
	a, b = a[:min(64, len(a))], b[:min(64, len(b))]
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
