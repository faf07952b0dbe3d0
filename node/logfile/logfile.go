// Package logfile is the file a node writes its log into: a new one each day, kept for seven days, never more together
// than a limit. A full or broken disk costs log lines, never the node.
package logfile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"kith/storage/quota"
)

const (
	// Dir is the folder below the data folder.
	Dir = "log/node"
	// Current is the file that is written.
	Current = "kith.log"

	keep     = 7 * 24 * time.Hour
	mostFile = 64 << 20 // bytes, after which a day gets another file
	day      = "2006-01-02"
)

// Options of a Writer. The zero value is good.
type Options struct {
	Now  func() time.Time // default time.Now
	File int64            // bytes of one file; default 64 MiB
	Most func() int64     // bytes of all files together; nil or 0: no limit
}

// Writer is the log file of a data folder. It is safe for concurrent use; every Write is one line or more, whole.
type Writer struct {
	dir string
	o   Options

	mu     sync.Mutex
	file   *os.File
	size   int64
	date   string
	closed bool
	failed time.Time // do not try again for a while
}

// New makes the writer of a data folder. Nothing is made on disk before the first line.
func New(home string, o Options) *Writer {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.File <= 0 {
		o.File = mostFile
	}
	return &Writer{dir: filepath.Join(home, filepath.FromSlash(Dir)), o: o}
}

const retry = time.Minute

// Write appends to the file of the day. It reports success whatever happens: who logs can do nothing about it.
func (w *Writer) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.o.Now()
	if w.closed || now.Sub(w.failed).Abs() < retry {
		return len(p), nil
	}
	err := w.turnLocked(now, int64(len(p)))
	if err == nil {
		var n int
		n, err = w.file.Write(p)
		w.size += int64(n)
	}
	if err != nil {
		w.failed = now
		w.dropLocked()
	}
	return len(p), nil
}

func (w *Writer) dropLocked() {
	if w.file != nil {
		_ = w.file.Close()
		w.file = nil
	}
}

// turnLocked makes sure that the right file is open for n more bytes.
func (w *Writer) turnLocked(now time.Time, n int64) error {
	date := now.Format(day)
	if w.file == nil {
		if err := os.MkdirAll(w.dir, 0o700); err != nil {
			return err
		}
		path := filepath.Join(w.dir, Current)
		if info, err := os.Stat(path); err == nil {
			w.date, w.size = info.ModTime().In(now.Location()).Format(day), info.Size()
		} else {
			w.date, w.size = date, 0
		}
		if err := w.openLocked(); err != nil {
			return err
		}
		w.tidyLocked(now)
	}
	if w.date == date && (w.size+n <= w.o.File || w.size == 0) {
		return nil
	}
	w.dropLocked()
	if w.size > 0 {
		if err := os.Rename(filepath.Join(w.dir, Current), w.nameFor(w.date)); err != nil {
			return err
		}
	}
	w.date, w.size = date, 0
	w.tidyLocked(now)
	return w.openLocked()
}

func (w *Writer) openLocked() (err error) {
	w.file, err = os.OpenFile(filepath.Join(w.dir, Current), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	return err
}

// nameFor is a name nobody has yet: kith-2026-11-25.log, kith-2026-11-25.2.log.
func (w *Writer) nameFor(date string) string {
	for i := 1; ; i++ {
		name := fmt.Sprintf("kith-%s.log", date)
		if i > 1 {
			name = fmt.Sprintf("kith-%s.%d.log", date, i)
		}
		path := filepath.Join(w.dir, name)
		if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) || i > 10_000 {
			return path
		}
	}
}

// tidyLocked removes files that are too old or too much.
func (w *Writer) tidyLocked(now time.Time) {
	most := int64(0)
	if w.o.Most != nil {
		most = w.o.Most()
	}
	for _, it := range Old(w.dir, now, most) {
		_ = os.Remove(filepath.Join(w.dir, it.Name))
	}
}

// Old lists the finished log files of a folder that have to go: those older than seven days, and the oldest of the
// rest while there are more than most bytes (0: no limit).
func Old(dir string, now time.Time, most int64) (out []quota.Item) {
	var rest []quota.Item
	today, err := time.Parse(day, now.Format(day))
	if err != nil {
		return nil
	}
	for _, it := range Finished(dir) {
		if it.At.Before(today.Add(-keep)) {
			out = append(out, it)
		} else {
			rest = append(rest, it)
		}
	}
	return append(out, quota.Drop(rest, most)...)
}

// Finished lists the log files of earlier days, oldest first. Files with other names are not ours.
func Finished(dir string) (out []quota.Item) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		date, ok := strings.CutPrefix(e.Name(), "kith-")
		if date, ok2 := strings.CutSuffix(date, ".log"); ok && ok2 && len(date) >= len(day) {
			at, err := time.Parse(day, date[:len(day)])
			info, errInfo := e.Info()
			if err == nil && errInfo == nil && info.Mode().IsRegular() {
				out = append(out, quota.Item{Name: e.Name(), Bytes: info.Size(), At: at})
			}
		}
	}
	slices.SortFunc(out, func(a, b quota.Item) int { return a.At.Compare(b.At) })
	return out
}

// Close closes the file. Later writes go nowhere.
func (w *Writer) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	if w.file == nil {
		return nil
	}
	err := errors.Join(w.file.Sync(), w.file.Close())
	w.file = nil
	return err
}
