package jsonl

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"kith/tasks/jsonschema"
)

// Limits of validation against a schema.
const (
	maxSchemaBytes = 256 << 10 // of the schema itself
	maxValues      = 256 << 10 // values in one line: each costs a few hundred bytes of memory when decoded
	maxMismatches  = 16        // reasons listed for one line
)

// compile compiles a schema of draft 2020-12 (unless it names another draft itself). Nothing is loaded from anywhere.
func compile(schema []byte) (*jsonschema.Schema, error) {
	doc, err := decodeJSON(schema)
	if err != nil {
		return nil, err
	}
	return jsonschema.Compile(doc)
}

// decodeJSON decodes one JSON value with its numbers as they stand.
func decodeJSON(b []byte) (v any, err error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	err = d.Decode(&v)
	return v, err
}

// mismatches validates text and returns why it is not what the schema wants, sorted, or nil.
func mismatches(s *jsonschema.Schema, text []byte) []Reason {
	v, err := decodeJSON(text)
	if err != nil {
		return []Reason{{Code: SchemaMismatch, Detail: "cannot be decoded: " + err.Error()}}
	}
	var reasons []Reason
	for _, f := range s.Validate(v) {
		reasons = append(reasons, Reason{Code: SchemaMismatch, At: pointer(f.At), Detail: explain(f)})
	}
	// The order of the findings varies; the set does not.
	slices.SortFunc(reasons, func(a, b Reason) int {
		return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.Detail, b.Detail))
	})
	reasons = slices.Compact(reasons)
	if more := len(reasons) - maxMismatches; more > 0 {
		reasons = append(reasons[:maxMismatches], Reason{Code: SchemaMismatch, Detail: fmt.Sprintf("and %d more", more)})
	}
	return reasons
}

// pointer writes a JSON pointer, cut at 256 bytes.
func pointer(path []string) string {
	var b strings.Builder
	for _, p := range path {
		b.WriteByte('/')
		b.WriteString(strings.NewReplacer("~", "~0", "/", "~1").Replace(p))
	}
	return excerpt([]byte(b.String()), 256)
}

// explain says what a finding is about, in few words: it may name any number of members.
func explain(f jsonschema.Finding) string {
	switch {
	case f.Keyword == "":
		return "nothing is allowed here"
	case f.Detail == "":
		return excerpt([]byte(f.Keyword), 128)
	}
	return excerpt([]byte(f.Keyword), 128) + ": " + excerpt([]byte(f.Detail), 256)
}

// excerpt returns at most n bytes of b as valid UTF-8, cut between characters; other bytes read \xff.
func excerpt(b []byte, n int) string {
	cut := len(b) > n
	if cut {
		b = b[:n]
		for i := range min(utf8.UTFMax, len(b)) {
			if r := b[len(b)-1-i]; utf8.RuneStart(r) {
				if !utf8.FullRune(b[len(b)-1-i:]) {
					b = b[:len(b)-1-i]
				}
				break
			}
		}
	}
	if utf8.Valid(b) && !cut {
		return string(b)
	}
	var s strings.Builder
	if utf8.Valid(b) {
		s.Write(b)
	} else {
		for len(b) > 0 {
			r, size := utf8.DecodeRune(b)
			if r == utf8.RuneError && size == 1 {
				fmt.Fprintf(&s, `\x%02x`, b[0])
			} else {
				s.Write(b[:size])
			}
			b = b[size:]
		}
	}
	if cut {
		s.WriteString("…")
	}
	return s.String()
}
