// Package dedup is the kind etl.dedup: of records that are equal, or nearly so, anywhere in the corpus, it keeps the
// first in the order of (path, at).
//
// Equal means the same SHA-256. Nearly equal means that the 64-bit fingerprints (package simhash) differ in at most a
// few bits; records of fewer than three tokens have none and are only compared exactly. What is near to something near
// is dropped too: the records of a connected component count as one.
//
// Four phases see the whole corpus without any task seeing all of it:
//
//	sign     (map)     hands its part on and writes, for each key range, the digests and fingerprints that fall into it,
//	                   sorted
//	agree    (reduce)  merges what all parts have for one key range and finds the equal and near pairs
//	resolve  (gather)  joins all pairs into components and writes the fates of the records of each part
//	apply    (map)     leaves the dropped records out and lists them in ReportFile
//
// Near pairs are found by the pigeonhole principle: of distance+1 bands of bits, two fingerprints that differ in at most
// distance bits share one. A fingerprint is listed once for each band, under that band's bits as key. Many that share a
// key are each compared with the next few (Params.Cap) in the order of their remaining bits, and the pairs left out are
// counted. All choices follow from fingerprints and the order of records, never from how the corpus was split.
package dedup

import (
	"context"
	"errors"
	"fmt"

	"kith/tasks"
	"kith/tasks/kinds/etl"
	"kith/tasks/kinds/etl/corpus"
	"kith/tasks/kinds/params"
)

// Params are the parameters of etl.dedup.
type Params struct {
	Near     bool `json:"near"`     // drop near duplicates too, not only equal records
	Distance int  `json:"distance"` // bits in which the fingerprints of near duplicates may differ
	Cap      int  `json:"cap"`      // fingerprints of the same key that each is compared with, at most
}

// Bounds and defaults of the parameters.
const (
	MaxDistance     = 5
	DefaultDistance = 3
	MaxCap          = 100_000
	DefaultCap      = 1000
)

const schema = `{
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "near": {"type": "boolean", "default": true, "description": "drop near duplicates too, not only equal records"},
    "distance": {"type": "integer", "minimum": 0, "maximum": 5, "default": 3, "description": "bits in which the 64-bit fingerprints of near duplicates may differ"},
    "cap": {"type": "integer", "minimum": 1, "maximum": 100000, "default": 1000, "description": "how many fingerprints with the same key each is compared with; what is left out is counted"}
  }
}`

// The phases.
const (
	sign    = "sign"
	agree   = "agree"
	resolve = "resolve"
	apply   = "apply"
)

// ErrFormat: a file that one phase of etl.dedup wrote for another is not valid. The wrapped text says where and why.
var ErrFormat = errors.New("not a valid intermediate file of etl.dedup")

// Kind is etl.dedup.
type Kind struct{}

// Describe implements tasks.Kind.
func (Kind) Describe() tasks.Description {
	d := etl.Describe("etl.dedup", "Drop records that stand elsewhere already, word for word or nearly", 2, schema)
	d.Phases = []tasks.Phase{
		{Name: sign, Mode: tasks.Map},
		{Name: agree, Mode: tasks.Reduce},
		{Name: resolve, Mode: tasks.Gather},
		{Name: apply, Mode: tasks.Map, Also: []string{sign}},
	}
	return d
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
	p := Params{Near: true, Distance: DefaultDistance, Cap: DefaultCap}
	if err := params.Decode(b, &p); err != nil {
		return p, err
	}
	return p, errors.Join(
		params.Range("distance", int64(p.Distance), 0, MaxDistance),
		params.Range("cap", int64(p.Cap), 1, MaxCap))
}

// Run implements tasks.Kind.
func (Kind) Run(ctx context.Context, c *tasks.Call) error {
	p, err := decode(c.Params)
	if err != nil {
		return err
	}
	switch c.Phase {
	case sign:
		return runSign(ctx, c, p)
	case agree:
		return runAgree(ctx, c, p)
	case resolve:
		return runResolve(ctx, c)
	case apply:
		return runApply(ctx, c)
	}
	return fmt.Errorf("etl.dedup has no phase %.40q", c.Phase)
}

// Merge implements tasks.Kind.
func (Kind) Merge(ctx context.Context, c *tasks.Call) error { return corpus.Merge(ctx, c) }

// band is a run of bits of a fingerprint that serves as key.
type band struct {
	rotate int // rotating left by so much brings the band to the top
	width  int // in bits
}

// bands cuts 64 bits into distance+1 bands.
func (p Params) bands() []band {
	if !p.Near {
		return nil
	}
	n := p.Distance + 1
	all := make([]band, n)
	at := 0
	for i := range all {
		width := 64 / n
		if i < 64%n {
			width++
		}
		all[i] = band{rotate: at, width: width}
		at += width
	}
	return all
}
