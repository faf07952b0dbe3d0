// Package chunk is the kind etl.chunk: it cuts documents into records of bounded size at places where a reader would,
// by the form their name promises: prose, Markdown, code, or lines.
//
// Sizes are bytes, not tokens: bytes are the same for every model and language, and cuts fall between UTF-8 characters.
// Each document is cut from its beginning, and a record keeps the path of its document and its offset there.
package chunk

import (
	"context"
	"fmt"

	"kith/tasks"
	"kith/tasks/kinds/etl"
	"kith/tasks/kinds/etl/corpus"
	"kith/tasks/kinds/params"
)

// Params are the parameters of etl.chunk.
type Params struct {
	Window  int `json:"window"`  // largest size of a record, in bytes
	Overlap int `json:"overlap"` // how far a record reaches back into the one before, at most, in bytes
}

// Bounds and defaults of the parameters.
const (
	MinWindow     = 64
	MaxWindow     = 16 << 20
	DefaultWindow = 2048
)

const schema = `{
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "window": {"type": "integer", "minimum": 64, "maximum": 16777216, "default": 2048, "description": "largest size of a chunk, in bytes"},
    "overlap": {"type": "integer", "minimum": 0, "default": 0, "description": "how far a chunk reaches back into the one before, at most, in bytes; at most half the window"}
  }
}`

// Kind is etl.chunk.
type Kind struct{}

// Describe implements tasks.Kind.
func (Kind) Describe() tasks.Description {
	return etl.Describe("etl.chunk", "Cut documents into chunks at paragraphs, headings and declarations", 1, schema)
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
	p := Params{Window: DefaultWindow}
	if err := params.Decode(b, &p); err != nil {
		return p, err
	}
	if err := params.Range("window", int64(p.Window), MinWindow, MaxWindow); err != nil {
		return p, err
	}
	return p, params.Range("overlap", int64(p.Overlap), 0, int64(p.Window/2))
}

// Run implements tasks.Kind.
func (Kind) Run(ctx context.Context, c *tasks.Call) error {
	p, err := decode(c.Params)
	if err != nil {
		return err
	}
	cutter := cutter{window: p.Window, overlap: p.Overlap}
	if p.Overlap == 0 { // chunks side by side are the document itself: only the index changes
		return corpus.Reindex(ctx, c, c.In[0], func(w *corpus.IndexWriter, rec *corpus.Record, data []byte) error {
			return cutter.record(rec, data, func(rec *corpus.Record, _ []byte) error { return w.Write(rec) })
		})
	}
	return corpus.Transform(ctx, c, c.In[0], func(w *corpus.Writer, rec *corpus.Record, data []byte) error {
		return cutter.record(rec, data, w.Write)
	})
}

// record cuts one record and calls write for each piece.
func (c *cutter) record(rec *corpus.Record, data []byte, write func(*corpus.Record, []byte) error) error {
	if rec.Compressed() {
		return fmt.Errorf("%.80q is compressed; chunk before compressing", rec.Path)
	}
	start := rec.At
	if int64(len(data)) > int64(c.window) { // what was said of the whole is not true of its pieces
		rec.Fields.Delete("sha256")
		rec.Fields.Delete("blake3")
	}
	return c.cut(data, formOf(rec.Path), func(at, end int) error {
		rec.At, rec.Len = start+int64(at), int64(end-at)
		return write(rec, data[at:end])
	})
}

// Merge implements tasks.Kind.
func (Kind) Merge(ctx context.Context, c *tasks.Call) error { return corpus.Merge(ctx, c) }
