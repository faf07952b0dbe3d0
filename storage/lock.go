package storage

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
)

// ErrLocked: another process, which the wrapped text names, has the store open.
var ErrLocked = errors.New("in use by another process; stop that one first")

// Lock takes the lock file at path, creating it if need be, and keeps other processes out until the returned Closer is
// closed or this process ends. If another one has it, the error is ErrLocked.
func Lock(path string) (io.Closer, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := lockFile(f); err != nil {
		if !errors.Is(err, errHeld) {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		holder, _ := os.ReadFile(path) // for people
		f.Close()
		if pid, err := strconv.Atoi(string(bytes.TrimSpace(holder))); err == nil {
			return nil, fmt.Errorf("%s: %w (process %d)", path, ErrLocked, pid)
		}
		return nil, fmt.Errorf("%s: %w", path, ErrLocked)
	}
	err = f.Truncate(0)
	if err == nil {
		_, err = fmt.Fprintln(f, os.Getpid())
	}
	if err != nil && !IsFull(err) { // the number is a courtesy
		f.Close()
		return nil, err
	}
	return held{f}, nil
}

// held is a lock file whose lock is ours.
type held struct{ f *os.File }

// Close gives the lock back.
func (h held) Close() error {
	unlockFile(h.f)
	return h.f.Close()
}
