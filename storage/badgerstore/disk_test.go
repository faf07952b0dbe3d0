package badgerstore_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"kith/storage"
	"kith/storage/badgerstore"
	"kith/storage/storagetest"
)

// counter is a disk that counts, and that lets one request in at a time.
type counter struct {
	slot chan struct{}

	mu                    sync.Mutex
	read, written         int
	reads, writes, failed int
	syncs                 int
}

func (c *counter) begin(ctx context.Context, end func(n int)) (func(int), error) {
	select {
	case c.slot <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return func(n int) {
		<-c.slot
		c.mu.Lock()
		defer c.mu.Unlock()
		end(n)
	}, nil
}

func (c *counter) Read(ctx context.Context) (func(int), error) {
	return c.begin(ctx, func(n int) { c.read += n; c.reads++ })
}

func (c *counter) Write(ctx context.Context) (func(int), error) {
	return c.begin(ctx, func(n int) { c.written += n; c.writes++ })
}

func (c *counter) Sync(do func() error) error { c.syncs++; return do() }

func (c *counter) Failed(_ string, err error) {
	if err != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.failed++
	}
}

// TestDisk: every byte passes the disk, nothing waits for itself, and a wait ends with its context.
func TestDisk(t *testing.T) {
	c := &counter{slot: make(chan struct{}, 1)}
	s := fresh(t, t.TempDir(), badgerstore.Options{Disk: c})
	ctx := t.Context()
	a, b := storagetest.Block(1, 100_000), storagetest.Block(2, 50_000)
	must(t, s.Blobs().PutMany(ctx, []storage.Block{a, b}))
	if c.written < 150_000 || c.written > 151_000 {
		t.Errorf("%d bytes written", c.written)
	}
	before := c.written
	must(t, s.Blobs().Put(ctx, a.CID, a.Data))
	if c.written != before {
		t.Errorf("a block that is there costs %d bytes", c.written-before)
	}
	must(t, s.Blobs().View(ctx, a.CID, func([]byte) error {
		got, err := s.Blobs().Get(ctx, b.CID) // within a view, one at a time
		if !bytes.Equal(got, b.Data) {
			t.Error("differs")
		}
		return err
	}))
	if c.read != 150_000 || c.reads != 2 {
		t.Errorf("%d bytes in %d reads", c.read, c.reads)
	}
	must(t, s.KV().Set(ctx, []byte("k"), make([]byte, 1000)))
	if _, err := s.KV().Get(ctx, []byte("k")); err != nil || c.read != 151_000 {
		t.Errorf("%d bytes read, %v", c.read, err)
	}
	for _, err := range s.KV().Scan(ctx, nil) {
		must(t, err)
	}
	must(t, s.Blobs().Sync(ctx))
	if c.read != 152_000 || c.syncs != 1 || len(c.slot) != 0 {
		t.Errorf("%d bytes read, %d syncs, %d slots held", c.read, c.syncs, len(c.slot))
	}
	c.slot <- struct{}{}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := s.Blobs().Get(cancelled, a.CID); !errors.Is(err, context.Canceled) {
		t.Errorf("a wait does not end: %v", err)
	}
	if err := s.Blobs().Put(cancelled, a.CID, a.Data); !errors.Is(err, context.Canceled) {
		t.Errorf("a wait does not end: %v", err)
	}
	<-c.slot
}

// TestPageThatCannotBeRead: where the drive cannot give a page of a mapped file, which would kill the process, the block
// is corrupt and the drive is blamed.
func TestPageThatCannotBeRead(t *testing.T) {
	c := &counter{slot: make(chan struct{}, 1)}
	dir := t.TempDir()
	s := fresh(t, dir, badgerstore.Options{Disk: c})
	b := storagetest.Block(1, 200_000)
	must(t, s.Blobs().Put(t.Context(), b.CID, b.Data))
	logs, err := filepath.Glob(filepath.Join(dir, "*.vlog"))
	must(t, err)
	info, err := os.Stat(logs[0])
	must(t, err)
	must(t, os.Truncate(logs[0], 4096)) // a page that is not there faults like one that cannot be read
	_, err = s.Blobs().Get(t.Context(), b.CID)
	if !errors.Is(err, storage.ErrCorrupt) || c.failed != 1 {
		t.Errorf("%v, %d failures noted", err, c.failed)
	}
	must(t, os.Truncate(logs[0], info.Size()))
	must(t, s.Blobs().Put(t.Context(), b.CID, b.Data)) // mends it
	if got, err := s.Blobs().Get(t.Context(), b.CID); err != nil || !bytes.Equal(got, b.Data) {
		t.Error(err)
	}
}
