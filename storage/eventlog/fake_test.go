package eventlog_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"syscall"

	"kith/storage/eventlog"
)

// disk is a folder in memory that knows what was synced: crash returns what a power cut may leave of it. It can be made
// full, to fail its syncs, and to stall.
type disk struct {
	mu       sync.Mutex
	now      map[string]*inode // what a running process sees
	durable  map[string]*inode // names as of the last SyncDir
	room     int               // bytes that may still be written; negative: no limit
	failSync error
	stall    chan struct{} // not nil: writes wait for it to be closed
	syncs    int
}

type inode struct {
	data   []byte
	synced int
}

func newDisk() *disk {
	return &disk{now: map[string]*inode{}, durable: map[string]*inode{}, room: -1}
}

const page = 64 // small, so that records span pages

// crash returns a disk after a power cut: names and unsynced pages are kept or lost at random.
func (d *disk) crash(rng *rand.Rand) *disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	names := d.durable
	if rng.IntN(2) == 0 {
		names = d.now
	}
	after := newDisk()
	for name, f := range names {
		end := f.synced + rng.IntN(len(f.data)-f.synced+1)
		data := bytes.Clone(f.data[:end])
		for at := f.synced; at < end; at += page - at%page {
			if rng.IntN(3) == 0 {
				clear(data[at:min(end, at+page-at%page)])
			}
		}
		after.now[name] = &inode{data: data, synced: len(data)}
	}
	after.durable = maps.Clone(after.now)
	return after
}

func (d *disk) Lock() (io.Closer, error) { return io.NopCloser(nil), nil }

func (d *disk) List() ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Collect(maps.Keys(d.now)), nil
}

func (d *disk) find(name string) (*inode, error) {
	f, ok := d.now[name]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return f, nil
}

func (d *disk) Open(name string) (io.ReadCloser, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f, err := d.find(name)
	if err != nil {
		return nil, err
	}
	return io.NopCloser(bytes.NewReader(bytes.Clone(f.data))), nil
}

func (d *disk) Append(name string) (eventlog.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.now[name] == nil {
		d.now[name] = &inode{}
	}
	return &handle{d, d.now[name]}, nil
}

func (d *disk) Truncate(name string, size int64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	f, err := d.find(name)
	if err != nil {
		return err
	}
	if d.room >= 0 {
		d.room += len(f.data) - int(size)
	}
	f.data = f.data[:size]
	f.synced = min(f.synced, len(f.data))
	return nil
}

func (d *disk) Rename(from, to string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	f, err := d.find(from)
	if err != nil {
		return err
	}
	delete(d.now, from)
	d.now[to] = f
	return nil
}

func (d *disk) Remove(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	f, err := d.find(name)
	if err != nil {
		return err
	}
	if d.room >= 0 {
		d.room += len(f.data)
	}
	delete(d.now, name)
	return nil
}

func (d *disk) SyncDir() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.durable = maps.Clone(d.now)
	return nil
}

func (d *disk) setRoom(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.room = n
}

type handle struct {
	d *disk
	f *inode
}

func (h *handle) Write(p []byte) (int, error) {
	h.d.mu.Lock()
	stall := h.d.stall
	h.d.mu.Unlock()
	if stall != nil {
		<-stall
	}
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	if h.d.room >= 0 && len(p) > h.d.room {
		n := h.d.room // a full disk takes what fits
		h.f.data = append(h.f.data, p[:n]...)
		h.d.room = 0
		return n, &fs.PathError{Op: "write", Path: "segment", Err: errFull}
	}
	if h.d.room >= 0 {
		h.d.room -= len(p)
	}
	h.f.data = append(h.f.data, p...)
	return len(p), nil
}

func (h *handle) Sync() error {
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	if h.d.failSync != nil {
		return h.d.failSync
	}
	h.d.syncs++
	h.f.synced = len(h.f.data)
	return nil
}

func (h *handle) Close() error { return nil }

var (
	errFull = syscall.Errno(syscall.ENOSPC)
	errIO   = errors.New("input/output error")
)
