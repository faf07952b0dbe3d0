// Package badgerstore keeps blocks and records on disk in one Badger database. A node has one open store.
//
// Blocks over 256 bytes stand in Badger's value log, where a write is a copy into the page cache; keys and small values in
// its LSM tree. Nothing is synced until Sync is called. What Badger's own Sync leaves out (memtables and value logs
// that were rotated since) Sync flushes file by file. A block can always be checked against its CID and fetched or made
// again; what a node must not forget belongs in the event log, not here.
//
// Badger maps its files into memory. A write to a mapped page on a full disk kills the process, so the store looks at
// the free space before every write and refuses with storage.ErrFull while Options.Reserve is still free.
package badgerstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"

	"kith/storage"
)

// Options of a store. The zero value is good for a node.
type Options struct {
	// Reserve is how many bytes of the disk must stay free; default 256 MiB. Below it writes are storage.ErrFull.
	Reserve int64
	// Free returns the bytes free on the disk of dir; default: asks the operating system.
	Free   func(dir string) (int64, error)
	Disk   Disk         // default: no limits
	Logger *slog.Logger // default slog.Default()
}

// Disk is asked before the store reads or writes, and may make it wait. A governor.Device is one.
type Disk interface {
	// Read and Write wait for leave; done is called once, with the bytes moved.
	Read(ctx context.Context) (done func(bytes int), err error)
	Write(ctx context.Context) (done func(bytes int), err error)
	// Sync calls do, which syncs files, maybe after a pause.
	Sync(do func() error) error
	// Failed is told the errors of reads and writes; nil is none.
	Failed(what string, err error)
}

// free is a disk without limits.
type free struct{}

func (free) Read(context.Context) (func(int), error)  { return func(int) {}, nil }
func (free) Write(context.Context) (func(int), error) { return func(int) {}, nil }
func (free) Sync(do func() error) error               { return do() }
func (free) Failed(string, error)                     {}

const (
	defaultReserve = 256 << 20
	memtable       = 8 << 20
	valueLog       = 128 << 20
	smallValue     = 256 // larger ones go to the value log
)

// The first byte of every key says what it is.
const (
	blockPrefix  = 'b' // + CID → content
	touchPrefix  = 't' // + CID → nothing: the block was put again
	recordPrefix = 'k' // + key → value, CRC-32C of both
	flushPrefix  = 'x' // nothing; dropped to make Badger write its memtables out
)

// Store is an open database. All methods are safe for concurrent use.
type Store struct {
	db   *badger.DB
	lock io.Closer
	dir  string
	o    Options

	users  sync.WaitGroup // calls in progress
	mu     sync.Mutex     // guards closed and synced
	closed bool
	synced string // value logs before this one are on stable storage

	tidying sync.Mutex   // held while tables are compacted or memtables flushed
	tidyErr error        // guarded by tidying; of the last time
	grown   atomic.Int64 // bytes the tree grew by since tidy last looked

	// sweep is held for writing by what must not run beside a put: deleting what looks unused, taking a mark, flushing
	// the memtables.
	sweep sync.RWMutex
	mark  uint64 // guarded by sweep; blocks of this version and older are touched when they are put again
}

// Open opens the store in dir, creating it if need be. If another process has it open, the error is storage.ErrLocked; if
// the files are damaged beyond what Badger repairs by itself, storage.ErrCorrupt with the way out.
func Open(dir string, o Options) (*Store, error) {
	if o.Reserve <= 0 {
		o.Reserve = defaultReserve
	}
	if o.Free == nil {
		o.Free = freeSpace
	}
	if o.Disk == nil {
		o.Disk = free{}
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("block store: %w", err)
	}
	s := &Store{dir: dir, o: o}
	if err := s.room(0); err != nil {
		return nil, fmt.Errorf("block store %s: %w", dir, err)
	}
	lock, err := storage.Lock(filepath.Join(dir, "lock"))
	if err != nil {
		return nil, fmt.Errorf("block store: %w", err)
	}
	db, err := open(tuned(dir, o.Logger))
	if err != nil {
		lock.Close()
		switch {
		case storage.IsFull(err):
			err = fmt.Errorf("%w: %w", storage.ErrFull, err)
		case errors.Is(err, os.ErrPermission):
		default:
			err = fmt.Errorf("%w: %w; move the folder away and start again: blocks are then fetched and made anew", storage.ErrCorrupt, err)
		}
		return nil, fmt.Errorf("block store %s: %w", dir, err)
	}
	s.db, s.lock, s.mark = db, lock, db.MaxVersion()
	s.grown.Store(lookEvery) // closing leaves a table each time
	return s, nil
}

// open checks first what Badger would panic on in goroutines of its own; what it panics on here becomes an error.
func open(o badger.Options) (db *badger.DB, err error) {
	if err := check(o); err != nil {
		return nil, err
	}
	defer func() {
		if p := recover(); p != nil {
			db, err = nil, fmt.Errorf("open: %v", p)
		}
	}()
	return badger.Open(o)
}

// tuned is for a home computer: 12 MB of memory instead of 88, and nothing that runs while nobody writes. Badger's
// compactors look for work twenty times a second each, which costs an idle node more than everything else: see tidy.
func tuned(dir string, log *slog.Logger) badger.Options {
	o := badger.DefaultOptions(dir)
	o.MemTableSize = memtable
	o.NumMemtables = 2
	o.ValueLogFileSize = valueLog
	o.ValueThreshold = smallValue // a small tree is cheap to compact as a whole
	o.Compression = options.None  // blocks are compressed by whoever wants that
	o.BlockCacheSize = 0          // the page cache has them
	o.IndexCacheSize = 0          // indexes are read where they are mapped
	o.DetectConflicts = false     // a block has one value
	o.MetricsEnabled = false
	o.NumCompactors = 0
	o.NumLevelZeroTablesStall = 8 * maxLoose
	o.ChecksumVerificationMode = options.OnBlockRead
	o.Logger = logger{log}
	return o
}

// enter registers a call in progress, so that Close can wait for it.
func (s *Store) enter(ctx context.Context) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return storage.ErrClosed
	}
	s.users.Add(1)
	return nil
}

// Close waits for calls in progress and closes the database. Close again is a no-op.
func (s *Store) Close() error {
	s.mu.Lock()
	closed := s.closed
	s.closed = true
	s.mu.Unlock()
	if closed {
		return nil
	}
	s.users.Wait()
	if err := errors.Join(s.db.Close(), s.lock.Close()); err != nil {
		return fmt.Errorf("block store: %w", err)
	}
	return nil
}

// room reports whether n more bytes may be written.
func (s *Store) room(n int) error {
	free, err := s.o.Free(s.dir)
	if err != nil {
		return fmt.Errorf("free space: %w", err)
	}
	if free-int64(n) < s.o.Reserve {
		return fmt.Errorf("%w: %d MiB free, %d MiB stay in reserve", storage.ErrFull, free>>20, s.o.Reserve>>20)
	}
	return nil
}

// write commits entries in as few transactions as Badger allows.
func (s *Store) write(entries []*badger.Entry) error {
	n, grown := 0, 0
	for _, e := range entries {
		n += len(e.Key) + len(e.Value)
		grown += len(e.Key) + min(len(e.Value), smallValue) + entryOverhead
	}
	if err := s.room(n); err != nil {
		return err
	}
	batch := s.db.NewWriteBatch()
	defer batch.Cancel()
	for _, e := range entries {
		if err := batch.SetEntry(e); err != nil {
			return wrap(err)
		}
	}
	if err := batch.Flush(); err != nil {
		s.o.Disk.Failed("write blocks", err)
		return wrap(err)
	}
	if s.grown.Add(int64(grown)) > lookEvery {
		return s.tidy()
	}
	return nil
}

// wrap gives Badger's errors the names of package storage.
func wrap(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, badger.ErrKeyNotFound):
		return storage.ErrNotFound
	case errors.Is(err, badger.ErrDBClosed):
		return storage.ErrClosed
	case storage.IsFull(err):
		return fmt.Errorf("%w: %w", storage.ErrFull, err)
	}
	return err
}

// logger hands Badger's messages to slog. Its information is our detail.
type logger struct{ log *slog.Logger }

func (l logger) say(level slog.Level, format string, args []any) {
	if l.log.Enabled(context.Background(), level) {
		l.log.Log(context.Background(), level, "block store", slog.String("badger", strings.TrimSpace(fmt.Sprintf(format, args...))))
	}
}

func (l logger) Errorf(format string, args ...any)   { l.say(slog.LevelError, format, args) }
func (l logger) Warningf(format string, args ...any) { l.say(slog.LevelWarn, format, args) }
func (l logger) Infof(format string, args ...any)    { l.say(slog.LevelDebug, format, args) }
func (l logger) Debugf(format string, args ...any)   { l.say(slog.LevelDebug-4, format, args) }
