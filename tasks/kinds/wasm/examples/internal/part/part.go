// Package part reads what the kind wasm gives a module: the corpus in /in. It needs nothing but the standard library, so
// that it may be copied.
package part

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// Record is a document, or a piece of a large one.
type Record struct {
	// Name is the member of the index that names the file, as it stands there: "path":"…" or, for a name that is not
	// UTF-8, "path64":"…".
	Name string
	At   int64 // byte offset in the file
}

type line struct {
	Path   json.RawMessage `json:"path"`
	Path64 json.RawMessage `json:"path64"`
	At     int64           `json:"at"`
	Len    int64           `json:"len"`
}

// Each calls fn for every record of the part and its bytes.
func Each(fn func(Record, []byte) error) (err error) {
	index, err := os.Open("/in/index.jsonl")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, index.Close()) }()
	data, err := os.Open("/in/data")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, data.Close()) }()
	stream := bufio.NewReaderSize(data, 1<<20)
	lines := json.NewDecoder(bufio.NewReaderSize(index, 1<<16))
	for {
		var l line
		if err := lines.Decode(&l); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		rec := Record{Name: fmt.Sprintf(`"path":%s`, l.Path), At: l.At}
		if l.Path == nil {
			rec.Name = fmt.Sprintf(`"path64":%s`, l.Path64)
		}
		b := make([]byte, l.Len)
		if _, err := io.ReadFull(stream, b); err != nil {
			return err
		}
		if err := fn(rec, b); err != nil {
			return err
		}
	}
}

// Lines writes /out/name line by line.
type Lines struct {
	f *os.File
	w *bufio.Writer
}

// Create begins the file.
func Create(name string) (*Lines, error) {
	f, err := os.Create("/out/" + name)
	if err != nil {
		return nil, err
	}
	return &Lines{f, bufio.NewWriterSize(f, 1<<18)}, nil
}

// Write implements io.Writer.
func (l *Lines) Write(p []byte) (int, error) { return l.w.Write(p) }

// Close ends the file.
func (l *Lines) Close() error { return errors.Join(l.w.Flush(), l.f.Close()) }
