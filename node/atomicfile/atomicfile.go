// Package atomicfile replaces small files whole or not at all: after a kill or a power cut a file holds either what it
// held before or what was written, never a part.
package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Write replaces path with data under the given mode and returns when both are on stable storage. Concurrent writers
// of one path do not harm each other; the last one wins.
func Write(path string, data []byte, mode fs.FileMode) error {
	return place(path, data, mode, os.Rename)
}

// Create is Write for a file that must not exist yet; it returns an error that is fs.ErrExist if it does.
func Create(path string, data []byte, mode fs.FileMode) error {
	return place(path, data, mode, func(temp, path string) error {
		err := os.Link(temp, path) // unlike a rename, a link never replaces
		if err != nil && !errors.Is(err, fs.ErrExist) {
			// A file system without hard links: the check and the rename are two steps there.
			if _, statErr := os.Lstat(path); errors.Is(statErr, fs.ErrNotExist) {
				return os.Rename(temp, path)
			}
		}
		return err
	})
}

func place(path string, data []byte, mode fs.FileMode, move func(temp, path string) error) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	temp := f.Name()
	defer os.Remove(temp) // nothing left to remove after a rename
	_, err = f.Write(data)
	if err == nil {
		err = f.Chmod(mode)
	}
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = move(temp, path)
	}
	if err == nil {
		err = syncDir(dir)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
