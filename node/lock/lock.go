// Package lock makes sure that only one process works in a data folder. The lock belongs to the process: however it
// ends, the system gives the lock back.
package lock

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"kith/storage"
)

// FileName is the lock's file in the data folder. It holds the process id of its owner, for people.
const FileName = "lock"

// ErrTaken: another process works in the folder; the wrapped text names it.
var ErrTaken = errors.New("another kith process works in this data folder")

// Take locks a data folder until Close or the end of the process, or returns ErrTaken at once.
func Take(home string) (io.Closer, error) {
	path := filepath.Join(home, FileName)
	held, err := storage.Lock(path)
	switch {
	case errors.Is(err, storage.ErrLocked):
		owner := "unknown"
		if b, err := os.ReadFile(path); err == nil && len(bytes.TrimSpace(b)) > 0 {
			owner = string(bytes.TrimSpace(b))
		}
		return nil, fmt.Errorf("%w: %s (process %s); stop it first, or choose another folder with --home", ErrTaken, home, owner)
	case err != nil:
		return nil, fmt.Errorf("lock the data folder %s: %w", home, err)
	}
	return held, nil
}

// Held reports whether some process works in a data folder.
func Held(home string) bool {
	if _, err := os.Stat(filepath.Join(home, FileName)); err != nil {
		return false
	}
	l, err := Take(home)
	if err == nil {
		_ = l.Close()
	}
	return errors.Is(err, ErrTaken)
}
