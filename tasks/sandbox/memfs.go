package sandbox

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
	"time"
)

// memFS is a read-only file system over contents in memory: the input of small tasks and the way from one step to the
// next. Folders are implied by names.
type memFS struct {
	files map[string][]byte
	once  sync.Once
	dirs  map[string][]string // folder → names in it, sorted; see folders
}

func newMemFS(files map[string][]byte) *memFS { return &memFS{files: files} }

// folders returns the folder tree. It is built on first use, because most kinds open files by name alone.
func (m *memFS) folders() map[string][]string {
	m.once.Do(func() {
		dirs := map[string][]string{".": nil}
		for name := range m.files {
			for dir := name; dir != "."; {
				base := path.Base(dir)
				dir = path.Dir(dir)
				_, known := dirs[dir]
				dirs[dir] = append(dirs[dir], base)
				if known {
					break
				}
			}
		}
		for dir, names := range dirs {
			slices.Sort(names)
			dirs[dir] = slices.Compact(names)
		}
		m.dirs = dirs
	})
	return m.dirs
}

func (m *memFS) lookup(op, name string) (memInfo, []byte, error) {
	if !fs.ValidPath(name) {
		return memInfo{}, nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	if data, ok := m.files[name]; ok {
		return memInfo{name: path.Base(name), size: int64(len(data))}, data, nil
	}
	if _, ok := m.folders()[name]; ok {
		return memInfo{name: path.Base(name), dir: true}, nil, nil
	}
	return memInfo{}, nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
}

// Open implements fs.FS.
func (m *memFS) Open(name string) (fs.File, error) {
	info, data, err := m.lookup("open", name)
	if err != nil {
		return nil, err
	}
	if info.dir {
		list, err := m.ReadDir(name)
		return &memDir{info: info, rest: list}, err
	}
	return &memFile{Reader: bytes.NewReader(data), info: info}, nil
}

// ReadFile implements fs.ReadFileFS. The contents are a copy: a kind must not change what a later step reads.
func (m *memFS) ReadFile(name string) ([]byte, error) {
	info, data, err := m.lookup("read", name)
	if err == nil && info.dir {
		err = &fs.PathError{Op: "read", Path: name, Err: errIsDir}
	}
	if err != nil {
		return nil, err
	}
	return append(make([]byte, 0, len(data)), data...), nil
}

// Stat implements fs.StatFS.
func (m *memFS) Stat(name string) (fs.FileInfo, error) {
	info, _, err := m.lookup("stat", name)
	if err != nil {
		return nil, err
	}
	return info, nil
}

// ReadDir implements fs.ReadDirFS.
func (m *memFS) ReadDir(name string) ([]fs.DirEntry, error) {
	info, _, err := m.lookup("readdir", name)
	if err == nil && !info.dir {
		err = &fs.PathError{Op: "readdir", Path: name, Err: errNotDir}
	}
	if err != nil {
		return nil, err
	}
	names := m.folders()[name]
	list := make([]fs.DirEntry, len(names))
	for i, base := range names {
		info, _, err := m.lookup("stat", path.Join(name, base))
		if err != nil {
			return nil, err
		}
		list[i] = fs.FileInfoToDirEntry(info)
	}
	return list, nil
}

var (
	errIsDir  = errors.New("is a folder")
	errNotDir = errors.New("is not a folder")
)

type memFile struct {
	*bytes.Reader
	info memInfo
}

func (f *memFile) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *memFile) Close() error               { return nil }

type memDir struct {
	info memInfo
	rest []fs.DirEntry
}

func (d *memDir) Stat() (fs.FileInfo, error) { return d.info, nil }
func (d *memDir) Close() error               { return nil }
func (d *memDir) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.info.name, Err: errIsDir}
}

func (d *memDir) ReadDir(n int) ([]fs.DirEntry, error) {
	if n <= 0 || n > len(d.rest) {
		if n > 0 && len(d.rest) == 0 {
			return nil, io.EOF
		}
		n = len(d.rest)
	}
	list := d.rest[:n:n]
	d.rest = d.rest[n:]
	return list, nil
}

type memInfo struct {
	name string
	size int64
	dir  bool
}

func (i memInfo) Name() string       { return i.name }
func (i memInfo) Size() int64        { return i.size }
func (i memInfo) ModTime() time.Time { return time.Time{} }
func (i memInfo) IsDir() bool        { return i.dir }
func (i memInfo) Sys() any           { return nil }
func (i memInfo) Mode() fs.FileMode {
	if i.dir {
		return fs.ModeDir | 0o555
	}
	return 0o444
}

// clashes reports whether name cannot stand beside the names in files, because one of them would have to be a file and a
// folder at once. dirs holds every folder that the files imply; the caller adds to it.
func clashes[T any](files map[string]T, dirs map[string]bool, name string) bool {
	if _, twice := files[name]; twice || dirs[name] {
		return true
	}
	for dir := name; strings.Contains(dir, "/"); {
		dir = path.Dir(dir)
		if _, isFile := files[dir]; isFile {
			return true
		}
	}
	return false
}
