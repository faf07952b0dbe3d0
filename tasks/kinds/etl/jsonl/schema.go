package jsonl

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
)

// Limits of validation against a schema.
const (
	maxSchemaBytes = 256 << 10 // of the schema itself
	maxPointers    = 8 << 20   // the JSON pointers to all its values, in bytes together: the library writes each several times
	maxValues      = 256 << 10 // values in one line: each costs a few hundred bytes of memory when decoded
	maxMismatches  = 16        // reasons listed for one line
)

// schemaURL is the base of the schema. No loader knows its scheme, so nothing can be read through it.
const schemaURL = "kith:///schema.json"

// refuseRemote is the loader of a compiler that must not read anything.
type refuseRemote struct{}

func (refuseRemote) Load(url string) (any, error) {
	return nil, fmt.Errorf("%.200q is outside the schema; only references within it are allowed", url)
}

// compile compiles a schema of draft 2020-12 (unless it names another draft itself). Nothing is loaded from anywhere.
func compile(schema []byte) (*jsonschema.Schema, error) {
	doc, err := decodeJSON(schema)
	if err != nil {
		return nil, err
	}
	if pointers(doc, 0, maxPointers) < 0 {
		return nil, fmt.Errorf("its values lie below names that are too long: the JSON pointers to all of them may have %d bytes together", maxPointers)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.UseLoader(refuseRemote{})
	if err := c.AddResource(schemaURL, doc); err != nil {
		return nil, err
	}
	return c.Compile(schemaURL)
}

// pointers takes the lengths of the JSON pointers to v and to all in it from left, at is that of v's own. It stops below 0.
func pointers(v any, at, left int) int {
	left -= at
	switch v := v.(type) {
	case []any:
		for i, item := range v {
			if left < 0 {
				break
			}
			left = pointers(item, at+1+len(strconv.Itoa(i)), left)
		}
	case map[string]any:
		for name, item := range v {
			if left < 0 {
				break
			}
			left = pointers(item, at+1+len(name), left)
		}
	}
	return left
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
	err = s.Validate(v)
	if err == nil {
		return nil
	}
	var failed *jsonschema.ValidationError
	if !errors.As(err, &failed) {
		return []Reason{{Code: SchemaMismatch, Detail: err.Error()}}
	}
	// The library walks maps, so the order of its findings varies; the set does not.
	reasons := leaves(nil, failed)
	slices.SortFunc(reasons, func(a, b Reason) int {
		return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.Detail, b.Detail))
	})
	reasons = slices.Compact(reasons)
	if more := len(reasons) - maxMismatches; more > 0 {
		reasons = append(reasons[:maxMismatches], Reason{Code: SchemaMismatch, Detail: fmt.Sprintf("and %d more", more)})
	}
	return reasons
}

// leaves appends the innermost findings of e.
func leaves(dst []Reason, e *jsonschema.ValidationError) []Reason {
	if len(e.Causes) == 0 {
		return append(dst, Reason{Code: SchemaMismatch, At: pointer(e.InstanceLocation), Detail: explain(e.ErrorKind)})
	}
	for _, cause := range e.Causes {
		dst = leaves(dst, cause)
	}
	return dst
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

// explain says what a finding is about. The library's own texts hold values of any length in the order of map walks.
func explain(k jsonschema.ErrorKind) string {
	switch k := k.(type) {
	case *kind.Type:
		return fmt.Sprintf("type: got %s, want %s", k.Got, strings.Join(k.Want, " or "))
	case *kind.Required:
		return "required: missing " + list(k.Missing)
	case *kind.AdditionalProperties:
		return "additionalProperties: " + list(k.Properties)
	case *kind.Enum, *kind.Const:
		return strings.Join(k.KeywordPath(), "/") + ": not an allowed value"
	case *kind.MinLength:
		return fmt.Sprintf("minLength: got %d, want %d", k.Got, k.Want)
	case *kind.MaxLength:
		return fmt.Sprintf("maxLength: got %d, want %d", k.Got, k.Want)
	case *kind.Pattern:
		return "pattern: want " + excerpt([]byte(k.Want), 128)
	case *kind.FalseSchema:
		return "nothing is allowed here"
	}
	if path := k.KeywordPath(); len(path) > 0 {
		return excerpt([]byte(strings.Join(path, "/")), 128)
	}
	return "does not match"
}

func list(names []string) string {
	names = slices.Sorted(slices.Values(names))
	return excerpt([]byte(strings.Join(names, ", ")), 256)
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
