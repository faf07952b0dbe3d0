package corpus

import (
	"bufio"
	"errors"
	"fmt"
	"io"
)

// Creator opens new files; tasks.Output is one.
type Creator interface {
	Create(name string) (io.WriteCloser, error)
}

// IndexWriter writes an index. It is not safe for concurrent use.
type IndexWriter struct {
	out  *bufio.Writer
	line []byte
	head []byte // the beginning of a line with path
	path string
	end  int64
}

// NewIndexWriter writes an index to w, which it never closes.
func NewIndexWriter(w io.Writer) *IndexWriter {
	return &IndexWriter{out: bufio.NewWriterSize(w, 64<<10)}
}

// Write appends a record of rec.Len bytes and sets rec.Off to where they must stand in data.
func (x *IndexWriter) Write(rec *Record) error {
	if len(rec.Path) == 0 || len(rec.Path) > MaxPath {
		return fmt.Errorf("%w: a path of %d bytes, want 1 to %d", ErrCorpus, len(rec.Path), MaxPath)
	}
	if rec.At < 0 || rec.Len < 0 || rec.Len > MaxRecord {
		return fmt.Errorf("%w: a record of %d bytes at %d of %.80q, at most %d bytes are allowed", ErrCorpus, rec.Len, rec.At, rec.Path, MaxRecord)
	}
	rec.Off = x.end
	if x.head == nil || rec.Path != x.path {
		x.head = appendPath(x.head[:0], rec.Path)
		x.path = rec.Path
	}
	x.line = appendRest(append(x.line[:0], x.head...), rec)
	if len(x.line) > MaxLine {
		return fmt.Errorf("%w: the index line of the record at %d of %.80q has %d bytes, at most %d are allowed", ErrCorpus, rec.At, rec.Path, len(x.line), MaxLine)
	}
	x.end += rec.Len
	_, err := x.out.Write(x.line)
	return err
}

// Flush hands everything written to the underlying writer.
func (x *IndexWriter) Flush() error { return x.out.Flush() }

// Writer writes a corpus. It is not safe for concurrent use.
type Writer struct {
	index     *IndexWriter
	data      *bufio.Writer
	indexFile io.WriteCloser
	dataFile  io.WriteCloser
}

// Create begins a corpus in out. The writer must be closed; what Close returns decides whether the corpus is whole.
func Create(out Creator) (*Writer, error) {
	index, err := out.Create(IndexFile)
	if err != nil {
		return nil, err
	}
	data, err := out.Create(DataFile)
	if err != nil {
		index.Close()
		return nil, err
	}
	return &Writer{
		index: NewIndexWriter(index), indexFile: index,
		data: bufio.NewWriterSize(data, 256<<10), dataFile: data,
	}, nil
}

// Write appends a record with its bytes and sets rec.Off and rec.Len.
func (w *Writer) Write(rec *Record, data []byte) error {
	rec.Len = int64(len(data))
	if err := w.index.Write(rec); err != nil {
		return err
	}
	_, err := w.data.Write(data)
	return err
}

// Close writes what is buffered and closes the files.
func (w *Writer) Close() error {
	return errors.Join(w.index.Flush(), w.data.Flush(), w.indexFile.Close(), w.dataFile.Close())
}
