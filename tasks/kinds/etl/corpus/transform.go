package corpus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"kith/tasks"
)

// Transform reads the corpus in and calls fn for each record and its bytes, which are valid only during the call; fn
// writes what shall become of it to w, in order: nothing, the record itself, or several. The reports of in are handed on,
// and the call's Progress is served.
func Transform(ctx context.Context, c *tasks.Call, in fs.FS, fn func(w *Writer, rec *Record, data []byte) error) (err error) {
	if err := PassReports(c, in); err != nil {
		return err
	}
	w, err := Create(c.Out)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	return Each(ctx, c, in, func(rec *Record, data []byte) error { return fn(w, rec, data) })
}

// Annotate hands the bytes and the reports of the corpus in on unchanged and calls fn for each record, whose Fields it may set.
func Annotate(ctx context.Context, c *tasks.Call, in fs.FS, fn func(rec *Record, data []byte) error) error {
	return Reindex(ctx, c, in, func(w *IndexWriter, rec *Record, data []byte) error {
		if err := fn(rec, data); err != nil {
			return err
		}
		return w.Write(rec)
	})
}

// Reindex hands the bytes and the reports of the corpus in on unchanged and calls fn for each record; fn writes the records that shall
// stand in its place, which together must have as many bytes as it.
func Reindex(ctx context.Context, c *tasks.Call, in fs.FS, fn func(w *IndexWriter, rec *Record, data []byte) error) error {
	if err := c.Out.Pass(in, DataFile, DataFile); err != nil {
		return missing(err)
	}
	if err := PassReports(c, in); err != nil {
		return err
	}
	return writeIndex(c.Out, func(w *IndexWriter) error {
		return Each(ctx, c, in, func(rec *Record, data []byte) error {
			end := rec.Off + rec.Len
			if err := fn(w, rec, data); err != nil {
				return err
			}
			if w.end != end {
				return fmt.Errorf("the new records of %.80q end at %d of %s, want %d", rec.Path, w.end, DataFile, end)
			}
			return nil
		})
	})
}

// Each reads the corpus in and calls fn for each record and its bytes, which are valid only during the call. The call's
// Progress is served.
func Each(ctx context.Context, c *tasks.Call, in fs.FS, fn func(rec *Record, data []byte) error) (err error) {
	r, err := Open(in)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	const step = 1 << 20 // bytes between two looks at the context
	next := int64(0)
	for {
		rec, data, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if end := rec.Off + rec.Len; end >= next {
			if err := ctx.Err(); err != nil {
				return err
			}
			progress(c, end, r.Size())
			next = end + step
		}
		if err := fn(rec, data); err != nil {
			return err
		}
	}
	progress(c, r.Size(), r.Size())
	return nil
}

func progress(c *tasks.Call, done, total int64) {
	if c.Progress != nil {
		c.Progress(done, total)
	}
}

func writeIndex(out Creator, fn func(w *IndexWriter) error) (err error) {
	f, err := out.Create(IndexFile)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := NewIndexWriter(f)
	if err := fn(w); err != nil {
		return err
	}
	return w.Flush()
}
