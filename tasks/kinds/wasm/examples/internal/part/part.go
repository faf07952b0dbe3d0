// Package part reads what the kind wasm gives a module, the corpus in /in, and keeps in /checkpoint, if there is one, how
// far it is. It needs nothing but the standard library, so
// that it may be copied.
package part

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
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
func Each(fn func(Record, []byte) error) error { return from(0, fn) }

// from is Each without the first records.
func from(skip int, fn func(Record, []byte) error) (err error) {
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
	for n := 0; ; n++ {
		var l line
		if err := lines.Decode(&l); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		if n < skip {
			if _, err := io.CopyN(io.Discard, stream, l.Len); err != nil {
				return err
			}
			continue
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

// Lines writes /out/name line by line. Where there is a checkpoint, it is written there, and goes to /out at the end.
type Lines struct {
	f    *os.File
	w    *bufio.Writer
	name string
	kept bool
	done progress
}

// progress is what stands in the checkpoint beside the lines.
type progress struct {
	Records int   `json:"records"` // that are done
	Bytes   int64 `json:"bytes"`   // of their lines
}

const (
	folder    = "/checkpoint/"
	state     = folder + "progress.json"
	saveAfter = 1 << 20 // bytes of input between two checkpoints
)

// Create begins the file, or goes on with it.
func Create(name string) (*Lines, error) {
	l := &Lines{name: name}
	if _, err := os.Stat(folder); err != nil { // there is no such folder; what the error is differs between hosts
		l.f, err = os.Create("/out/" + name)
		if err != nil {
			return nil, err
		}
		l.w = bufio.NewWriterSize(l.f, 1<<18)
		return l, nil
	}
	l.kept = true
	text, err := os.ReadFile(state)
	if err == nil {
		err = json.Unmarshal(text, &l.done)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if l.f, err = os.OpenFile(folder+name, os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return nil, err
	}
	if err := l.f.Truncate(l.done.Bytes); err != nil { // what came after the last checkpoint is made again
		return nil, err
	}
	if _, err := l.f.Seek(l.done.Bytes, io.SeekStart); err != nil {
		return nil, err
	}
	l.w = bufio.NewWriterSize(l.f, 1<<18)
	return l, nil
}

// Each calls fn for every record of the part that is not done yet. All that fn writes of a record must go to l.
func (l *Lines) Each(fn func(Record, []byte) error) error {
	size := 0
	return from(l.done.Records, func(r Record, b []byte) error {
		if err := fn(r, b); err != nil {
			return err
		}
		l.done.Records++
		if size += len(b); !l.kept || size < saveAfter {
			return nil
		}
		size = 0
		return l.save()
	})
}

// save makes a checkpoint. The lines are there before the word of them is.
func (l *Lines) save() error {
	if err := l.w.Flush(); err != nil {
		return err
	}
	at, err := l.f.Seek(0, io.SeekCurrent)
	if err != nil {
		return err
	}
	l.done.Bytes = at
	text, err := json.Marshal(l.done)
	if err != nil {
		return err
	}
	if err := os.WriteFile(state+".new", text, 0o600); err != nil {
		return err
	}
	return os.Rename(state+".new", state)
}

// Write implements io.Writer.
func (l *Lines) Write(p []byte) (int, error) { return l.w.Write(p) }

// Close ends the file.
func (l *Lines) Close() (err error) {
	if err := l.w.Flush(); err != nil || !l.kept {
		return errors.Join(err, l.f.Close())
	}
	defer func() { err = errors.Join(err, l.f.Close()) }()
	if _, err := l.f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	out, err := os.Create("/out/" + l.name)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, l.f)
	return errors.Join(err, out.Close())
}
