package badgerstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"github.com/dgraph-io/badger/v4"
)

// Sync returns when all earlier writes are on stable storage. Badger's own Sync covers the active memtable and the
// active value log; Sync flushes the others that were written since the last call.
func (s *Store) Sync(ctx context.Context) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.users.Done()
	return s.o.Disk.Sync(s.sync)
}

func (s *Store) sync() error {
	values, err := filepath.Glob(filepath.Join(s.dir, "*.vlog"))
	if err != nil {
		return err
	}
	tables, err := filepath.Glob(filepath.Join(s.dir, "*.mem"))
	if err != nil {
		return err
	}
	slices.Sort(values)
	s.mu.Lock()
	after := s.synced
	s.mu.Unlock()
	for _, name := range slices.Concat(values, tables) { // content before the keys that point to it
		if filepath.Ext(name) == ".vlog" && name < after {
			continue
		}
		if err := syncFile(name); err != nil {
			return fmt.Errorf("block store: %w", err)
		}
	}
	if err := s.db.Sync(); err != nil {
		return fmt.Errorf("block store: %w", wrap(err))
	}
	if len(values) > 0 {
		s.mu.Lock()
		s.synced = max(s.synced, values[len(values)-1])
		s.mu.Unlock()
	}
	return nil
}

func syncFile(name string) error {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // a memtable that became a table, which Badger syncs; or a value log nobody needs
	}
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

const (
	maxLoose      = 5       // tables that may lie about unsorted
	lookEvery     = 2 << 20 // bytes of growth between two looks at them; a memtable takes 8 MiB
	entryOverhead = 100     // of the tree, for each key
)

// tidy compacts the tables when too many have come together, in a goroutine that ends when it is done. It is called
// within a call in progress, and Close waits for the goroutine as it does for calls. When compacting keeps failing it
// returns why, before Badger would make writers wait without an end.
func (s *Store) tidy() error {
	if !s.tidying.TryLock() {
		return nil
	}
	loose, failed := s.loose(), s.tidyErr
	if loose < maxLoose {
		s.grown.Store(0)
		s.tidying.Unlock()
		return nil
	}
	s.users.Add(1)
	go func() {
		defer s.users.Done()
		defer s.tidying.Unlock()
		if s.tidyErr = s.db.Flatten(1); s.tidyErr != nil {
			s.o.Logger.Warn("block store: tables not compacted", slog.Any("error", s.tidyErr))
		}
	}()
	if failed != nil && loose > 6*maxLoose {
		return fmt.Errorf("compact: %w", wrap(failed))
	}
	return nil
}

func (s *Store) loose() int { return s.db.Levels()[0].NumTables }

// Compact gives the space of deleted blocks back to the disk, as far as whole value logs are at least half garbage.
// Writes wait for the first part, which takes about a second; reads go on. Call it after a garbage collection or when
// the node is idle.
func (s *Store) Compact(ctx context.Context) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.users.Done()
	s.tidying.Lock()
	defer s.tidying.Unlock()
	if err := s.flush(); err != nil {
		return fmt.Errorf("block store: compact: %w", wrap(err))
	}
	if err := s.db.Flatten(1); err != nil {
		return fmt.Errorf("block store: compact: %w", wrap(err))
	}
	for {
		// One value log is read, and at most half of it written anew.
		done, err := s.o.Disk.Write(ctx)
		if err != nil {
			return err
		}
		err = s.db.RunValueLogGC(0.5)
		moved := valueLog / 4
		if err != nil {
			moved = 0
		}
		done(moved)
		if errors.Is(err, badger.ErrNoRewrite) || errors.Is(err, badger.ErrRejected) {
			return nil
		}
		if err == nil && s.loose() >= maxLoose { // what is moved is written anew
			err = s.db.Flatten(1)
		}
		if err != nil {
			return fmt.Errorf("block store: compact: %w", wrap(err))
		}
	}
}

// flush has Badger write its memtables out as tables, without which it does not know which values are garbage. Dropping
// a prefix does that; there is no other way to ask.
func (s *Store) flush() error {
	s.sweep.Lock()
	defer s.sweep.Unlock()
	if err := s.write([]*badger.Entry{badger.NewEntry([]byte{flushPrefix}, nil)}); err != nil {
		return err
	}
	return s.db.DropPrefix([]byte{flushPrefix})
}

// Size returns the bytes of the store's files on disk.
func (s *Store) Size() (int64, error) {
	var total int64
	err := filepath.WalkDir(s.dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil {
			total += allocated(info)
		}
		return err
	})
	return total, err
}
