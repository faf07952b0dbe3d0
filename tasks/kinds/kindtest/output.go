// Package kindtest runs kinds in memory, for tests: an Output that keeps its files, a run of a whole job through its
// stages, and a conformance suite that every kind passes.
package kindtest

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"testing/fstest"
)

// Output is a tasks.Output that keeps files in memory. It is not safe for concurrent use.
type Output struct{ files fstest.MapFS }

// NewOutput returns an empty output.
func NewOutput() *Output { return &Output{files: fstest.MapFS{}} }

// FS returns the files that were closed or passed.
func (o *Output) FS() fstest.MapFS { return o.files }

// Create opens a file that appears when it is closed. Creating a name twice is an error.
func (o *Output) Create(name string) (io.WriteCloser, error) {
	if !fs.ValidPath(name) || name == "." {
		return nil, &fs.PathError{Op: "create", Path: name, Err: fs.ErrInvalid}
	}
	if _, ok := o.files[name]; ok {
		return nil, &fs.PathError{Op: "create", Path: name, Err: fs.ErrExist}
	}
	return &file{out: o, name: name}, nil
}

// Pass copies a file of in.
func (o *Output) Pass(in fs.FS, from, name string) error {
	data, err := fs.ReadFile(in, from)
	if err != nil {
		return err
	}
	f, err := o.Create(name)
	if err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		return err
	}
	return f.Close()
}

type file struct {
	out  *Output
	name string
	bytes.Buffer
}

func (f *file) Close() error {
	if _, ok := f.out.files[f.name]; ok {
		return fmt.Errorf("%s was created or closed twice", f.name)
	}
	f.out.files[f.name] = &fstest.MapFile{Data: f.Bytes(), Mode: 0o444}
	return nil
}
