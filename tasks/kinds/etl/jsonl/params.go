package jsonl

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"kith/tasks"
	"kith/tasks/kinds/params"
)

// Params are the parameters of etl.jsonl. The zero value of a field means its default.
type Params struct {
	// Format says what a document is: "lines" (one JSON value a line, the default) or "json" (one value).
	Format string `json:"format"`
	// Schema is a JSON Schema of draft 2020-12 that every value must match; none: any JSON. It may refer to nothing
	// outside itself.
	Schema json.RawMessage `json:"schema,omitempty"`
	// Repair names the defects that may be repaired; a line with another one is quarantined. Absent: all.
	Repair *[]string `json:"repair"`
	// Duplicates says which of several members with one name stays: "last" (the default), "first", or "quarantine".
	Duplicates Duplicates `json:"duplicates"`
	// MaxLine is the longest line (or document) in bytes that is looked at; longer ones are quarantined.
	MaxLine int `json:"maxLine"`
}

const (
	formatLines = "lines"
	formatJSON  = "json"

	defaultMaxLine = 16 << 20
	maxMaxLine     = 64 << 20
)

const paramsSchema = `{
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "format": {"title": "What a document is", "enum": ["lines", "json"], "default": "lines"},
    "schema": {"title": "JSON Schema (2020-12) that every value must match", "type": ["object", "boolean"]},
    "repair": {
      "title": "Defects that may be repaired",
      "type": "array",
      "items": {"enum": ["bom", "crlf", "blank-line", "trailing-comma", "single-quotes", "python-literal",
        "control-character", "invalid-utf8", "duplicate-key", "truncated"]}
    },
    "duplicates": {"title": "Of members with one name keep", "enum": ["last", "first", "quarantine"], "default": "last"},
    "maxLine": {"title": "Longest line in bytes", "type": "integer", "minimum": 1, "maximum": 67108864, "default": 16777216}
  }
}`

// check parses the given parameters, fills in defaults and validates.
func check(given []byte) (Params, error) {
	var p Params
	if len(bytes.TrimSpace(given)) > 0 {
		strict := repairer{}
		if _, _, bad := strict.repair(given, false); bad != nil {
			return p, fmt.Errorf("%w: not strict JSON: %s at byte %d %s", tasks.ErrParams, bad.Code, bad.Col, bad.Detail)
		}
	}
	if err := params.Decode(given, &p); err != nil {
		return p, err
	}
	switch p.Format {
	case "":
		p.Format = formatLines
	case formatLines, formatJSON:
	default:
		return p, fmt.Errorf(`%w: format: %.40q, want "lines" or "json"`, tasks.ErrParams, p.Format)
	}
	switch p.Duplicates {
	case "":
		p.Duplicates = LastWins
	case LastWins, FirstWins, Refuse:
	default:
		return p, fmt.Errorf(`%w: duplicates: %.40q, want "last", "first" or "quarantine"`, tasks.ErrParams, p.Duplicates)
	}
	if p.MaxLine == 0 {
		p.MaxLine = defaultMaxLine
	}
	if err := params.Range("maxLine", int64(p.MaxLine), 1, maxMaxLine); err != nil {
		return p, err
	}
	allowed := AllDefects
	if p.Repair != nil {
		var err error
		if allowed, err = parseDefects(*p.Repair); err != nil {
			return p, fmt.Errorf("%w: repair: %w", tasks.ErrParams, err)
		}
	}
	names := allowed.Names()
	p.Repair = &names
	if string(p.Schema) == "null" {
		p.Schema = nil
	}
	if p.Schema != nil {
		canonical, err := checkSchema(p.Schema)
		if err != nil {
			return p, fmt.Errorf("%w: schema: %s", tasks.ErrParams, strings.ReplaceAll(err.Error(), schemaURL, ""))
		}
		p.Schema = canonical
	}
	return p, nil
}

// checkSchema compiles the schema and returns its canonical form: members sorted, no white space.
func checkSchema(schema []byte) ([]byte, error) {
	if len(schema) > maxSchemaBytes {
		return nil, fmt.Errorf("%d bytes, at most %d are allowed", len(schema), maxSchemaBytes)
	}
	strict := repairer{}
	if _, _, bad := strict.repair(schema, false); bad != nil {
		return nil, fmt.Errorf("not strict JSON: %s at byte %d", bad.Code, bad.Col)
	}
	if strict.hugeNumber >= 0 {
		return nil, fmt.Errorf("the number at byte %d is too long", strict.hugeNumber+1)
	}
	if _, err := compile(schema); err != nil {
		return nil, err
	}
	v, err := decodeJSON(schema)
	if err != nil {
		return nil, err
	}
	return marshal(v)
}

// marshal encodes v as JSON without escaping <, > and &, and without a line end.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
