// Package hash is the kind etl.hash: it writes the content hash of every record into the index.
package hash

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"

	"lukechampine.com/blake3"

	"kith/tasks"
	"kith/tasks/kinds/etl"
	"kith/tasks/kinds/etl/corpus"
	"kith/tasks/kinds/params"
)

// Params are the parameters of etl.hash.
type Params struct {
	Algorithms []string `json:"algorithms"` // SHA256, BLAKE3 or both; the fields have these names
}

// The algorithms, which are also the names of the fields. A hash is written as 64 small hexadecimal digits.
const (
	SHA256 = "sha256"
	BLAKE3 = "blake3"
)

const schema = `{
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "algorithms": {"type": "array", "items": {"enum": ["sha256", "blake3"]}, "minItems": 1, "uniqueItems": true, "default": ["sha256", "blake3"], "description": "the hashes to write into the index"}
  }
}`

// Kind is etl.hash.
type Kind struct{}

// Describe implements tasks.Kind.
func (Kind) Describe() tasks.Description {
	return etl.Describe("etl.hash", "Write the content hash of every record into the index", 1, schema)
}

// Check implements tasks.Kind.
func (Kind) Check(b []byte) ([]byte, error) {
	p, err := decode(b)
	if err != nil {
		return nil, err
	}
	return params.Canonical(p)
}

func decode(b []byte) (Params, error) {
	var p Params
	if err := params.Decode(b, &p); err != nil {
		return p, err
	}
	if p.Algorithms == nil {
		p.Algorithms = []string{SHA256, BLAKE3}
	}
	if len(p.Algorithms) == 0 || len(p.Algorithms) > 2 || len(p.Algorithms) == 2 && p.Algorithms[0] == p.Algorithms[1] {
		return p, fmt.Errorf("%w: algorithms must be %q, %q or both", tasks.ErrParams, SHA256, BLAKE3)
	}
	for _, a := range p.Algorithms {
		if a != SHA256 && a != BLAKE3 {
			return p, fmt.Errorf("%w: algorithms holds %.40q, want %q or %q", tasks.ErrParams, a, SHA256, BLAKE3)
		}
	}
	return p, nil
}

// Run implements tasks.Kind.
func (Kind) Run(ctx context.Context, c *tasks.Call) error {
	p, err := decode(c.Params)
	if err != nil {
		return err
	}
	return corpus.Annotate(ctx, c, c.In[0], func(rec *corpus.Record, data []byte) error {
		if slices.Contains(p.Algorithms, SHA256) {
			set(rec, SHA256, sha256.Sum256(data))
		}
		if slices.Contains(p.Algorithms, BLAKE3) {
			set(rec, BLAKE3, blake3.Sum256(data))
		}
		return nil
	})
}

func set(rec *corpus.Record, field string, sum [32]byte) {
	rec.Fields.SetString(field, hex.EncodeToString(sum[:]))
}

// Merge implements tasks.Kind.
func (Kind) Merge(ctx context.Context, c *tasks.Call) error { return corpus.Merge(ctx, c) }
