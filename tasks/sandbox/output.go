package sandbox

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"kith/tasks"
)

// sink is the tasks.Output of one step. It keeps files in memory while all of them together are within keep, and moves
// all of them to dir when they are not, so that a small task touches no disk at all.
type sink struct {
	keep  int64 // bytes held in memory
	most  int64 // bytes of all files
	code  tasks.Code
	dir   string // where large outputs go; "" if there is no such place
	mu    sync.Mutex
	files map[string]*sinkFile
	dirs  map[string]bool // folders the names imply
	made  map[string]bool // folders that exist under dir
	total int64
	open  int
	disk  bool
	err   error // first failure: it ends the step even if the kind ignores it
}

// newSink returns a sink for at most most bytes; more end the step with code.
func newSink(keep, most int64, code tasks.Code, dir string) *sink {
	return &sink{keep: keep, most: most, code: code, dir: dir, files: map[string]*sinkFile{}}
}

type sinkFile struct {
	s      *sink
	name   string
	data   []byte // in memory; may belong to an input once closed
	f      *os.File
	w      *bufio.Writer
	closed bool
}

// Create implements tasks.Output.
func (s *sink) Create(name string) (io.WriteCloser, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, err := s.addLocked(name)
	if err != nil {
		return nil, err
	}
	if s.disk {
		if err := f.spillLocked(); err != nil {
			return nil, s.failLocked(err)
		}
	}
	s.open++
	return f, nil
}

func (s *sink) addLocked(name string) (*sinkFile, error) {
	if s.err != nil {
		return nil, s.err
	}
	if !fs.ValidPath(name) || name == "." || len(name) > maxName {
		return nil, s.failLocked(fmt.Errorf("output file %.100q: not a valid name", name))
	}
	if len(s.files) >= maxFiles {
		return nil, s.failLocked(tasks.Because(s.code, "more than %d files", maxFiles))
	}
	if s.dirs == nil {
		s.dirs = map[string]bool{}
	}
	if clashes(s.files, s.dirs, name) {
		return nil, s.failLocked(fmt.Errorf("output file %.100q: %w", name, fs.ErrExist))
	}
	for i := range len(name) {
		if name[i] == '/' {
			s.dirs[name[:i]] = true
		}
	}
	f := &sinkFile{s: s, name: name}
	s.files[name] = f
	return f, nil
}

func (s *sink) failLocked(err error) error {
	if s.err == nil {
		s.err = err
	}
	return err
}

// growLocked accounts for n more bytes and decides where files live.
func (s *sink) growLocked(n int64) error {
	if s.err != nil {
		return s.err
	}
	if s.total += n; s.total > s.most {
		return s.failLocked(tasks.Because(s.code, "more than %d bytes", s.most))
	}
	if !s.disk && s.total > s.keep {
		if s.dir == "" {
			return s.failLocked(tasks.Because(s.code, "more than %d bytes, and no folder for them", s.keep))
		}
		s.disk = true
		for _, f := range s.files {
			if err := f.spillLocked(); err != nil {
				return s.failLocked(err)
			}
		}
	}
	return nil
}

// path makes the folder of name under dir.
func (s *sink) pathLocked(name string) (string, error) {
	p := filepath.Join(s.dir, filepath.FromSlash(name))
	parent := filepath.Dir(p)
	if !s.made[parent] {
		if err := os.MkdirAll(parent, 0o700); err != nil {
			return "", err
		}
		if s.made == nil {
			s.made = map[string]bool{}
		}
		s.made[parent] = true
	}
	return p, nil
}

// spillLocked moves what the file holds to disk.
func (f *sinkFile) spillLocked() error {
	p, err := f.s.pathLocked(f.name)
	if err != nil {
		return err
	}
	if f.closed {
		err := os.WriteFile(p, f.data, 0o600)
		f.data = nil
		return err
	}
	if f.f, err = os.OpenFile(p, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
		return err
	}
	f.w = bufio.NewWriterSize(f.f, 64<<10)
	_, err = f.w.Write(f.data)
	f.data = nil
	return err
}

// Write implements io.Writer.
func (f *sinkFile) Write(p []byte) (int, error) {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	if f.closed {
		return 0, fs.ErrClosed
	}
	if err := f.s.growLocked(int64(len(p))); err != nil {
		return 0, err
	}
	if f.w == nil {
		f.data = append(f.data, p...)
		return len(p), nil
	}
	n, err := f.w.Write(p)
	if err != nil {
		return n, f.s.failLocked(err)
	}
	return n, nil
}

// Close implements io.Closer.
func (f *sinkFile) Close() error {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	if f.closed {
		return fs.ErrClosed
	}
	f.closed = true
	f.s.open--
	if f.w == nil {
		return nil
	}
	err := errors.Join(f.w.Flush(), f.f.Close())
	f.w, f.f = nil, nil
	if err != nil {
		return f.s.failLocked(err)
	}
	return nil
}

// Pass implements tasks.Output: memory is shared, a file on disk gets a second name, everything else is copied.
func (s *sink) Pass(in fs.FS, from, name string) error {
	switch in := in.(type) {
	case *memFS:
		if data, ok := in.files[from]; ok {
			return s.share(name, data)
		}
	case *dirFS:
		if done, err := s.link(in, from, name); done || err != nil {
			return err
		}
	}
	r, err := in.Open(from)
	if err != nil {
		return err
	}
	defer r.Close()
	w, err := s.Create(name)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, r)
	return errors.Join(err, w.Close())
}

func (s *sink) share(name string, data []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, err := s.addLocked(name)
	if err != nil {
		return err
	}
	f.closed, f.data = true, data
	wasDisk := s.disk
	if err := s.growLocked(int64(len(data))); err != nil {
		return err
	}
	if wasDisk {
		if err := f.spillLocked(); err != nil {
			return s.failLocked(err)
		}
	}
	return nil
}

// link gives a file that is too large to keep a second name; done is false if that is not possible here.
func (s *sink) link(in *dirFS, from, name string) (done bool, err error) {
	info, err := in.Stat(from)
	if err != nil || !info.Mode().IsRegular() {
		return false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dir == "" || (!s.disk && s.total+info.Size() <= s.keep) {
		return false, nil
	}
	f, err := s.addLocked(name)
	if err != nil {
		return false, err
	}
	f.closed = true
	wasDisk := s.disk
	if err := s.growLocked(info.Size()); err != nil {
		return false, err
	}
	p, err := s.pathLocked(name)
	if err != nil {
		return false, s.failLocked(err)
	}
	if !wasDisk { // moving everything to disk made an empty file of this one too
		_ = os.Remove(p)
	}
	if err := os.Link(filepath.Join(in.dir, filepath.FromSlash(from)), p); err != nil {
		// Another device, or a file system without links.
		if err := copyFile(in, from, p); err != nil {
			return false, s.failLocked(err)
		}
	}
	return true, nil
}

func copyFile(in fs.FS, from, to string) error {
	r, err := in.Open(from)
	if err != nil {
		return err
	}
	defer r.Close()
	w, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, r)
	return errors.Join(err, w.Close())
}

// finish closes files the kind forgot and returns the contents if they are in memory.
func (s *sink) finish() (inline map[string][]byte, err error) {
	s.mu.Lock()
	open := make([]*sinkFile, 0, s.open)
	for _, f := range s.files {
		if !f.closed {
			open = append(open, f)
		}
	}
	s.mu.Unlock()
	for _, f := range open {
		_ = f.Close() // a failure is in s.err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil || s.disk {
		return nil, s.err
	}
	inline = make(map[string][]byte, len(s.files))
	for name, f := range s.files {
		inline[name] = f.data
	}
	return inline, nil
}

// dirFS is a folder on disk as an input. Links that lead out of it are not followed.
type dirFS struct {
	fs.FS
	root *os.Root
	dir  string
}

func openDir(dir string) (*dirFS, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &dirFS{FS: root.FS(), root: root, dir: dir}, nil
}

// Stat implements fs.StatFS without following a link in the last place.
func (d *dirFS) Stat(name string) (fs.FileInfo, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "stat", Path: name, Err: fs.ErrInvalid}
	}
	return d.root.Lstat(filepath.FromSlash(name))
}

// ReadDir implements fs.ReadDirFS.
func (d *dirFS) ReadDir(name string) ([]fs.DirEntry, error) { return fs.ReadDir(d.FS, name) }

// ReadFile implements fs.ReadFileFS.
func (d *dirFS) ReadFile(name string) ([]byte, error) { return fs.ReadFile(d.FS, name) }

// Close ends every further use.
func (d *dirFS) Close() error { return d.root.Close() }
