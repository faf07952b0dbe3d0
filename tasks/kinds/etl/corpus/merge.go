package corpus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"kith/tasks"
)

// Merge joins the corpora c.In, in order, into one: the Merge of every etl kind. It is associative, and a single corpus
// is handed on as it is, with its reports. Other files are left out.
func Merge(ctx context.Context, c *tasks.Call) (err error) {
	if len(c.In) == 1 {
		return Pass(c, c.In[0])
	}
	data, err := c.Out.Create(DataFile)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, data.Close()) }()
	buf := make([]byte, 256<<10)
	if err := mergeReports(c, buf); err != nil {
		return err
	}
	return writeIndex(c.Out, func(w *IndexWriter) error {
		for i, in := range c.In {
			if err := ctx.Err(); err != nil {
				return err
			}
			size, err := appendIndex(w, in)
			if err != nil {
				return fmt.Errorf("part %d: %w", i, err)
			}
			n, err := appendFile(data, in, DataFile, buf)
			if err != nil {
				return fmt.Errorf("part %d: %w", i, err)
			}
			if n != size {
				return fmt.Errorf("part %d: %w: %s has %d bytes, the index tells of %d", i, ErrCorpus, DataFile, n, size)
			}
			progress(c, int64(i+1), int64(len(c.In)))
		}
		return nil
	})
}

// Pass hands the corpus in on as it is, with its reports.
func Pass(c *tasks.Call, in fs.FS) error {
	if err := c.Out.Pass(in, IndexFile, IndexFile); err != nil {
		return missing(err)
	}
	if err := c.Out.Pass(in, DataFile, DataFile); err != nil {
		return missing(err)
	}
	return PassReports(c, in)
}

// appendIndex writes the index of in to w and returns how many bytes of data it tells of.
func appendIndex(w *IndexWriter, in fs.FS) (size int64, err error) {
	f, err := in.Open(IndexFile)
	if err != nil {
		return 0, missing(err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	r := NewIndexReader(f)
	for {
		rec, err := r.Next()
		if err == io.EOF {
			return r.End(), nil
		}
		if err != nil {
			return 0, err
		}
		if err := w.Write(rec); err != nil {
			return 0, err
		}
	}
}

func appendFile(w io.Writer, in fs.FS, name string, buf []byte) (n int64, err error) {
	f, err := in.Open(name)
	if err != nil {
		return 0, missing(err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return io.CopyBuffer(w, f, buf)
}
