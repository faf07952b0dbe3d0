// Package storage holds the faces through which Kith keeps bytes: Blobs (content-addressed blocks), KV (small ordered
// records) and their errors. badgerstore and memstore implement them and pass the conformance suite in storagetest.
package storage

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"kith/storage/dag"
)

// Errors every implementation returns. Match them with errors.Is.
var (
	// ErrNotFound: no such block or key.
	ErrNotFound = errors.New("not found")
	// ErrCorrupt: what the disk holds is not what was written; the wrapped text names the block or file.
	ErrCorrupt = errors.New("stored data is corrupt")
	// ErrVersion: what is stored is whole and says what this program does not know. A newer one wrote it.
	ErrVersion = errors.New("stored data is of another version")
	// ErrFull: the disk or a quota is full; nothing was written.
	ErrFull = errors.New("no space left for this data")
	// ErrClosed: the store was closed.
	ErrClosed = errors.New("store is closed")
	// ErrTooLarge: a block has more than dag.MaxBlock bytes.
	ErrTooLarge = errors.New("block is larger than 1 MiB")
)

// Block is one content-addressed block. Data must not be changed by anyone.
type Block = dag.Block

// Blobs is a store of content-addressed blocks of at most dag.MaxBlock bytes. All methods are safe for concurrent use.
// Every read verifies the content against its CID and returns ErrCorrupt on a mismatch, never wrong bytes.
// Put and PutMany are idempotent; they return when a process kill can no longer lose the blocks (the page cache has
// them); Sync makes them survive a power cut. After Close every method returns ErrClosed.
type Blobs interface {
	Has(ctx context.Context, c dag.CID) (bool, error)
	// Get returns a copy that the caller owns.
	Get(ctx context.Context, c dag.CID) ([]byte, error)
	// View calls fn once with bytes that are valid only during the call.
	View(ctx context.Context, c dag.CID, fn func([]byte) error) error
	// Size returns the length of the block in bytes without reading it.
	Size(ctx context.Context, c dag.CID) (int, error)
	// Put stores data under c after checking that it hashes to c. It does not keep data.
	Put(ctx context.Context, c dag.CID, data []byte) error
	// PutMany stores all blocks or reports an error; after an error some may be stored.
	PutMany(ctx context.Context, blocks []Block) error
	Delete(ctx context.Context, c dag.CID) error
	// All yields every CID once, in key order, without holding them all in memory.
	All(ctx context.Context) iter.Seq2[dag.CID, error]
	// Sync returns when all earlier writes are on stable storage.
	Sync(ctx context.Context) error
}

// KV is a store of small records under ordered byte keys. All methods are safe for concurrent use.
type KV interface {
	// Get returns a copy, or ErrNotFound.
	Get(ctx context.Context, key []byte) ([]byte, error)
	Set(ctx context.Context, key, value []byte) error
	Delete(ctx context.Context, key []byte) error
	// Scan yields the records whose key begins with prefix, in key order; the slices are the caller's.
	Scan(ctx context.Context, prefix []byte) iter.Seq2[Record, error]
}

// Record is one key and its value.
type Record struct {
	Key, Value []byte
}

// CheckBlock reports whether a store may keep b: a content address Kith accepts, not too large, and the content hashes
// to it. Every Put begins with it.
func CheckBlock(b Block) error {
	if _, err := dag.CIDFromBytes(b.CID[:]); err != nil {
		return err
	}
	if len(b.Data) > dag.MaxBlock {
		return fmt.Errorf("block %s of %d bytes: %w", b.CID, len(b.Data), ErrTooLarge)
	}
	return dag.Verify(b.CID, b.Data)
}
