package grading

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"kith/bench"
	"kith/bench/uptime"
	"kith/node/atomicfile"
)

// aliveEvery is how often the log of runs notes that the node lives: a power cut is known to so much.
const aliveEvery = time.Minute

// Life keeps the log of runs of the node of one data folder. It is safe for concurrent use.
type Life struct {
	path string

	mu  sync.Mutex
	log uptime.Log
}

// OpenLife reads the log and notes that the node starts. A damaged log begins anew; the error then is
// uptime.ErrDamaged, and the Life can be used.
func OpenLife(home string) (*Life, error) {
	l, err := readLife(home)
	if err != nil && !errors.Is(err, uptime.ErrDamaged) {
		return nil, err
	}
	if mkErr := os.MkdirAll(filepath.Dir(l.path), 0o700); mkErr != nil {
		return nil, mkErr
	}
	l.log.Begin(time.Now())
	return l, errors.Join(err, l.save())
}

// readLife reads the log as it stands.
func readLife(home string) (*Life, error) {
	l := &Life{path: filepath.Join(home, folder, uptimeFile)}
	data, err := os.ReadFile(l.path)
	if errors.Is(err, fs.ErrNotExist) {
		return l, nil
	}
	if err != nil {
		return l, err
	}
	l.log, err = uptime.Parse(data, time.Now())
	return l, err
}

// LastLife is what the log of a data folder says while no node runs there.
func LastLife(home string) bench.Device {
	l, err := readLife(home)
	if err != nil {
		return bench.Failed(bench.Uptime, "uptime", err)
	}
	if len(l.log.Spans) == 0 {
		return bench.Failed(bench.Uptime, "uptime", errors.New("no node ever ran in this data folder"))
	}
	return l.log.Device(time.Now(), false)
}

// Serve notes now and then that the node lives, until ctx ends.
func (l *Life) Serve(ctx context.Context) error {
	tick := time.NewTicker(aliveEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case now := <-tick.C:
			l.mu.Lock()
			l.log.Alive(now)
			err := l.save()
			l.mu.Unlock()
			if err != nil {
				return err
			}
		}
	}
}

// Close notes that the node ends in order.
func (l *Life) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.log.End(time.Now())
	return l.save()
}

// Device is what the log amounts to now.
func (l *Life) Device() bench.Device {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.log.Device(time.Now(), true)
}

// save writes the log. Losing the last minute to a power cut is what the log can bear.
func (l *Life) save() error {
	data, err := l.log.Text()
	if err != nil {
		return err
	}
	return atomicfile.Write(l.path, data, 0o600)
}
