package corpus

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
)

// IndexReader reads an index alone. It is not safe for concurrent use.
type IndexReader struct {
	in   *bufio.Reader
	long []byte // a line longer than the buffer
	rec  Record
	last pathCache
	line int
	end  int64 // of the records so far, in data
}

// NewIndexReader reads an index from r, which it never closes.
func NewIndexReader(r io.Reader) *IndexReader {
	return &IndexReader{in: bufio.NewReaderSize(r, 64<<10)}
}

// Next returns the next record, valid until the next call, or io.EOF. Any other error is final.
func (x *IndexReader) Next() (*Record, error) {
	line, err := x.readLine()
	if err == io.EOF {
		return nil, io.EOF
	}
	x.line++
	if err == nil {
		err = parseRecord(line, &x.rec, &x.last)
	}
	if err == nil && x.rec.Off != x.end {
		err = fmt.Errorf("the record begins at %d of %s, want %d", x.rec.Off, DataFile, x.end)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s line %d: %w", ErrCorpus, IndexFile, x.line, err)
	}
	x.end += x.rec.Len
	return &x.rec, nil
}

// End returns where the last record that was read ends in data.
func (x *IndexReader) End() int64 { return x.end }

func (x *IndexReader) readLine() ([]byte, error) {
	line, err := x.in.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		x.long = append(x.long[:0], line...)
		for errors.Is(err, bufio.ErrBufferFull) {
			if len(x.long) > MaxLine {
				return nil, fmt.Errorf("the line is longer than %d bytes", MaxLine)
			}
			line, err = x.in.ReadSlice('\n')
			x.long = append(x.long, line...)
		}
		line = x.long
	}
	switch {
	case err == io.EOF && len(line) > 0:
		return nil, fmt.Errorf("the line has no end: the file was cut short")
	case err != nil:
		return nil, err
	case len(line) > MaxLine:
		return nil, fmt.Errorf("the line is longer than %d bytes", MaxLine)
	}
	return line[:len(line)-1], nil
}

// Reader reads the records of a corpus with their bytes. It is not safe for concurrent use.
type Reader struct {
	index     *IndexReader
	indexFile fs.File
	dataFile  fs.File
	size      int64
	buf       []byte // a window of data: buf[lo:hi] is read and not yet handed out
	lo, hi    int
}

const window = 512 << 10 // bytes of data read at once

// Open opens the corpus in fsys. The reader must be closed.
func Open(fsys fs.FS) (*Reader, error) {
	index, err := fsys.Open(IndexFile)
	if err != nil {
		return nil, missing(err)
	}
	data, err := fsys.Open(DataFile)
	if err != nil {
		index.Close()
		return nil, missing(err)
	}
	r := &Reader{index: NewIndexReader(index), indexFile: index, dataFile: data}
	if info, err := data.Stat(); err == nil {
		r.size = info.Size()
	}
	r.buf = make([]byte, min(window, max(r.size, 0)+1)) // and one, to see the end
	return r, nil
}

func missing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", ErrCorpus, err)
	}
	return err
}

// Size returns the size of data in bytes, as the file system tells it.
func (r *Reader) Size() int64 { return r.size }

// Next returns the next record and its bytes, both valid until the next call, or io.EOF after the last. The caller may
// change the record but not the bytes. Any other error is final.
func (r *Reader) Next() (*Record, []byte, error) {
	rec, err := r.index.Next()
	if err == io.EOF {
		if rest, err := r.read(1); err != io.ErrUnexpectedEOF {
			if err == nil {
				err = fmt.Errorf("%w: %s goes on after its last record, at %d", ErrCorpus, DataFile, r.index.end)
			}
			return nil, rest, err
		}
		return nil, nil, io.EOF
	}
	if err != nil {
		return nil, nil, err
	}
	data, err := r.read(int(rec.Len))
	if err == io.ErrUnexpectedEOF {
		return nil, nil, fmt.Errorf("%w: %s ends before the record at %d (%d bytes) does", ErrCorpus, DataFile, rec.Off, rec.Len)
	}
	if err != nil {
		return nil, nil, err
	}
	return rec, data, nil
}

// read returns the next n bytes of data, or io.ErrUnexpectedEOF if there are fewer.
func (r *Reader) read(n int) ([]byte, error) {
	for r.hi-r.lo < n {
		if r.lo > 0 {
			r.hi = copy(r.buf, r.buf[r.lo:r.hi])
			r.lo = 0
		}
		if r.hi == len(r.buf) { // a record longer than the window: grow as bytes arrive, not as the index promises
			r.buf = append(r.buf, make([]byte, min(len(r.buf), n-len(r.buf)))...)
		}
		m, err := r.dataFile.Read(r.buf[r.hi:])
		r.hi += m
		if err == io.EOF && r.hi-r.lo < n {
			return nil, io.ErrUnexpectedEOF
		}
		if err != nil && err != io.EOF {
			return nil, err
		}
	}
	b := r.buf[r.lo : r.lo+n : r.lo+n]
	r.lo += n
	return b, nil
}

// Close closes the files.
func (r *Reader) Close() error {
	return errors.Join(r.indexFile.Close(), r.dataFile.Close())
}
