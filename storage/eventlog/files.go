package eventlog

import (
	"errors"
	"io"
	"os"
	"path/filepath"

	"kith/storage"
)

// Files is the folder a log lives in. Tests hand in one that loses what was not synced, or that is full.
type Files interface {
	// Lock keeps other processes out until the returned Closer is closed.
	Lock() (io.Closer, error)
	// List returns the names of all files.
	List() ([]string, error)
	// Open opens a file for reading.
	Open(name string) (io.ReadCloser, error)
	// Append opens a file for writing at its end, creating it if need be.
	Append(name string) (File, error)
	// Truncate cuts a file to size bytes.
	Truncate(name string, size int64) error
	// Rename replaces to, if there is one, in one step.
	Rename(from, to string) error
	Remove(name string) error
	// SyncDir makes the names of all files, as they are now, survive a power cut.
	SyncDir() error
}

// File is a file open for writing.
type File interface {
	io.WriteCloser
	// Sync returns when what was written is on stable storage.
	Sync() error
}

// Dir is a folder of the operating system, for whoever stands between it and a log. It must exist.
func Dir(path string) Files { return dir(path) }

// dir is a folder of the operating system.
type dir string

func (d dir) path(name string) string { return filepath.Join(string(d), name) }

func (d dir) Lock() (io.Closer, error) { return storage.Lock(d.path("lock")) }

func (d dir) List() ([]string, error) {
	entries, err := os.ReadDir(string(d))
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, err
}

func (d dir) Open(name string) (io.ReadCloser, error) { return os.Open(d.path(name)) }

func (d dir) Append(name string) (File, error) {
	return os.OpenFile(d.path(name), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
}

func (d dir) Truncate(name string, size int64) error {
	f, err := os.OpenFile(d.path(name), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Truncate(size), f.Sync(), f.Close())
}

func (d dir) Rename(from, to string) error { return os.Rename(d.path(from), d.path(to)) }

func (d dir) Remove(name string) error { return os.Remove(d.path(name)) }

func (d dir) SyncDir() error { return syncDir(string(d)) }
