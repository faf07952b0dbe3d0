// Package compress is the kind etl.zstd: it compresses every record into one Zstandard frame, so that data as a whole is
// a .zst stream that any tool reads, and each record can be read alone. The length before is the field "raw"
// (corpus.RawField).
//
// The same record gives the same frame on every machine: the encoder runs without concurrency, its version is part of
// the parameters and so of the job, and the one level that decides by floating-point estimates is not offered.
package compress

import (
	"context"
	"fmt"

	"github.com/klauspost/compress/zstd"

	"kith/tasks"
	"kith/tasks/kinds/etl"
	"kith/tasks/kinds/etl/corpus"
	"kith/tasks/kinds/params"
)

// Encoder names the encoder and its version. A job that asks for another is refused. A test compares it with go.mod.
const Encoder = "klauspost/compress v1.20.3"

// Params are the parameters of etl.zstd.
type Params struct {
	Level   int    `json:"level"`   // 1 (fastest) to 3 (smallest)
	Encoder string `json:"encoder"` // Encoder
}

const schema = `{
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "level": {"type": "integer", "minimum": 1, "maximum": 3, "default": 2, "description": "1: fastest (about zstd 1), 2: default (about zstd 3), 3: smaller (about zstd 7)"},
    "encoder": {"const": "klauspost/compress v1.20.3", "description": "the encoder and its version"}
  }
}`

// Kind is etl.zstd.
type Kind struct{}

// Describe implements tasks.Kind.
func (Kind) Describe() tasks.Description {
	return etl.Describe("etl.zstd", "Compress every record into a Zstandard frame", 1, schema)
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
	p := Params{Level: 2, Encoder: Encoder}
	if err := params.Decode(b, &p); err != nil {
		return p, err
	}
	if p.Encoder != Encoder {
		return p, fmt.Errorf("%w: encoder is %.80q, this program has %q", tasks.ErrParams, p.Encoder, Encoder)
	}
	return p, params.Range("level", int64(p.Level), 1, 3)
}

// newEncoder returns an encoder whose EncodeAll depends on its input alone.
func newEncoder(level int) (*zstd.Encoder, error) {
	levels := [...]zstd.EncoderLevel{zstd.SpeedFastest, zstd.SpeedDefault, zstd.SpeedBetterCompression}
	return zstd.NewWriter(nil,
		zstd.WithEncoderLevel(levels[level-1]),
		zstd.WithEncoderConcurrency(1),
		zstd.WithEncoderCRC(true),
		zstd.WithZeroFrames(true)) // an empty record is a frame too
}

// Run implements tasks.Kind.
func (Kind) Run(ctx context.Context, c *tasks.Call) error {
	p, err := decode(c.Params)
	if err != nil {
		return err
	}
	enc, err := newEncoder(p.Level)
	if err != nil {
		return err
	}
	defer enc.Close()
	var frame []byte
	return corpus.Transform(ctx, c, c.In[0], func(w *corpus.Writer, rec *corpus.Record, data []byte) error {
		if rec.Compressed() {
			return fmt.Errorf("%.80q is already compressed", rec.Path)
		}
		frame = enc.EncodeAll(data, frame[:0])
		rec.Fields.SetInt(corpus.RawField, int64(len(data)))
		return w.Write(rec, frame)
	})
}

// Merge implements tasks.Kind.
func (Kind) Merge(ctx context.Context, c *tasks.Call) error { return corpus.Merge(ctx, c) }
