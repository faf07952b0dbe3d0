package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"kith/storage"
	"kith/storage/badgerstore"
	"kith/storage/eventlog"
)

// stores is everything this node keeps on disk.
type stores struct {
	badger *badgerstore.Store
	blobs  *badgerstore.Blobs
	kv     *badgerstore.KV
	jobs   *eventlog.Log // of the submitting side
	work   *eventlog.Log // of the working side
	book   *eventlog.Log // receipts and evidence of own jobs
	earned *eventlog.Log // receipts for work done
}

func (n *Node) openStores() (*stores, error) {
	s := &stores{}
	var err error
	dir := filepath.Join(n.o.Home, blocksDir)
	o := badgerstore.Options{Disk: n.drives.Device(dir), Logger: n.log}
	if n.idle {
		o.Reserve = idleReserve
	}
	if s.badger, err = badgerstore.Open(dir, o); err != nil {
		return nil, damage("the block store", dir, err)
	}
	n.closing.add("block store", s.badger.Close)
	s.blobs, s.kv = s.badger.Blobs(), s.badger.KV()
	for _, l := range []struct {
		log **eventlog.Log
		dir string
	}{{&s.jobs, submitDir}, {&s.work, workDir}, {&s.book, bookDir}, {&s.earned, earnedDir}} {
		path := filepath.Join(n.o.Home, filepath.FromSlash(l.dir))
		if err := os.MkdirAll(path, 0o700); err != nil {
			return nil, damage("the log", path, err)
		}
		log, err := eventlog.Open(path, eventlog.Options{
			SyncDelay: n.o.SyncDelay, Files: governedFiles{eventlog.Dir(path), n.drives.Device(path)}, Logger: n.log,
		})
		if err != nil {
			return nil, damage("the log", path, err)
		}
		*l.log = log
		n.closing.add("log "+l.dir, log.Close)
		if r := log.Recovered(); r.File != "" {
			n.health.Set(logRecovered, r.Bytes, r.File)
		}
	}
	return s, nil
}

// damage adds the way out to an error of opening a store.
func damage(what, path string, err error) error {
	switch {
	case errors.Is(err, storage.ErrCorrupt):
		return fmt.Errorf("%s in %s is damaged: %w; nothing was changed: copy the folder somewhere safe, then move %s away to start without it", what, path, err, path)
	case errors.Is(err, storage.ErrVersion):
		return fmt.Errorf("%s in %s was written by a newer version of Kith: %w; nothing was changed: update Kith, or copy the folder somewhere safe and move %s away to start without it", what, path, err, path)
	case errors.Is(err, syscall.ENOTDIR):
		return fmt.Errorf("%s cannot be in %s: %w; a file stands where a folder belongs: move it away", what, path, err)
	case errors.Is(err, storage.ErrFull):
		return fmt.Errorf("%s in %s cannot be opened: %w; free some space: kith space shows what could go", what, path, err)
	default:
		return fmt.Errorf("open %s in %s: %w", what, path, err)
	}
}

// served adds the way out to what a driver says of its log, where that is what ends it.
func (n *Node) served(what, dir string, serve func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		err := serve(ctx)
		if errors.Is(err, storage.ErrVersion) {
			err = damage(what, filepath.Join(n.o.Home, filepath.FromSlash(dir)), err)
		}
		return err
	}
}
