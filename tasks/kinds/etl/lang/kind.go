package lang

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"kith/tasks"
	"kith/tasks/kinds/etl"
	"kith/tasks/kinds/etl/corpus"
	"kith/tasks/kinds/params"
)

// Params are the parameters of etl.lang.
type Params struct {
	// Field is a JSON pointer (RFC 6901) to the text inside records that are JSON: "/text", "/messages/0/content". If
	// it leads to an object or an array, all strings inside are the text. Empty: the whole record is the text.
	Field string `json:"field"`
}

const maxField = 1 << 10 // bytes

const paramsSchema = `{
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "field": {"title": "JSON pointer to the text, for records that are JSON", "type": "string", "pattern": "^(/.*)?$",
      "maxLength": 1024, "default": ""}
  }
}`

func check(given []byte) (Params, error) {
	var p Params
	if err := params.Decode(given, &p); err != nil {
		return p, err
	}
	if len(p.Field) > maxField {
		return p, fmt.Errorf("%w: field has %d bytes, at most %d are allowed", tasks.ErrParams, len(p.Field), maxField)
	}
	if p.Field != "" && p.Field[0] != '/' {
		return p, fmt.Errorf(`%w: field: %.40q, want a JSON pointer such as "/text"`, tasks.ErrParams, p.Field)
	}
	return p, nil
}

// Kind is etl.lang.
type Kind struct{}

var _ tasks.Kind = Kind{}

// Describe implements tasks.Kind.
func (Kind) Describe() tasks.Description {
	d := etl.Describe("etl.lang", "Tag each record with its natural or programming language", 1, paramsSchema)
	d.Phases[0].Name = "tag"
	d.Needs.Memory = 256 << 20
	d.Limits.CPUMillis, d.Limits.OutputBytes, d.Limits.Processes = 60_000, 512<<20, 64
	return d
}

// Check implements tasks.Kind. Parameters are described by Params.
func (Kind) Check(given []byte) ([]byte, error) {
	p, err := check(given)
	if err != nil {
		return nil, err
	}
	return params.Canonical(p)
}

// Run implements tasks.Kind: it sets the field "lang" of each record and hands the bytes on unchanged.
func (Kind) Run(ctx context.Context, c *tasks.Call) error {
	p, err := check(c.Params)
	if err != nil {
		return err
	}
	if len(c.In) != 1 {
		return fmt.Errorf("etl.lang reads one input, not %d", len(c.In))
	}
	d, err := NewDetector()
	if err != nil {
		return err
	}
	return corpus.Annotate(ctx, c, c.In[0], func(rec *corpus.Record, data []byte) error {
		path := rec.Path
		if p.Field != "" {
			path, data = "", field(data, p.Field)
		}
		rec.Fields.SetString("lang", d.Tag(path, data))
		return nil
	})
}

// Merge implements tasks.Kind.
func (Kind) Merge(ctx context.Context, c *tasks.Call) error { return corpus.Merge(ctx, c) }

// field returns the text that pointer leads to in the JSON value data, or nil.
func field(data []byte, pointer string) []byte {
	var v any
	if json.Unmarshal(data, &v) != nil {
		return nil
	}
	for _, name := range strings.Split(pointer[1:], "/") {
		switch at := v.(type) {
		case map[string]any:
			v = at[strings.NewReplacer("~1", "/", "~0", "~").Replace(name)]
		case []any:
			i, err := strconv.Atoi(name)
			if err != nil || i < 0 || i >= len(at) {
				return nil
			}
			v = at[i]
		default:
			return nil
		}
	}
	return appendText(nil, v)
}

// appendText appends the strings inside v, one a line, until there are enough.
func appendText(dst []byte, v any) []byte {
	if len(dst) >= maxExamined {
		return dst
	}
	switch v := v.(type) {
	case string:
		dst = append(append(dst, v...), '\n')
	case []any:
		for _, e := range v {
			dst = appendText(dst, e)
		}
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			dst = appendText(dst, v[name])
		}
	}
	return dst
}
