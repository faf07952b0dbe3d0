// Package memstore keeps blocks and records in memory: for tests, simulated networks and one-off local jobs. It passes
// the same conformance suite as the store on disk.
package memstore

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"

	"kith/storage"
	"kith/storage/dag"
)

var (
	_ storage.Blobs = (*Blobs)(nil)
	_ storage.KV    = (*KV)(nil)
)

// Blobs is a storage.Blobs in memory.
type Blobs struct {
	mu     sync.RWMutex
	blocks map[dag.CID]block // nil after Close
	gen    uint64
	used   int64
	limit  int64
}

type block struct {
	data []byte
	gen  uint64 // when it was last put
}

// NewBlobs returns an empty store without a limit.
func NewBlobs() *Blobs { return &Blobs{blocks: map[dag.CID]block{}, gen: 1} }

// SetLimit makes puts beyond that many bytes fail with storage.ErrFull; 0 is no limit.
func (b *Blobs) SetLimit(bytes int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.limit = bytes
}

// Used returns the bytes of all blocks.
func (b *Blobs) Used() int64 {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.used
}

// Close forgets everything.
func (b *Blobs) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.blocks = nil
	return nil
}

func (b *Blobs) find(ctx context.Context, c dag.CID) (block, error) {
	if err := context.Cause(ctx); err != nil {
		return block{}, err
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	if b.blocks == nil {
		return block{}, storage.ErrClosed
	}
	found, ok := b.blocks[c]
	if !ok {
		return block{}, fmt.Errorf("block %s: %w", c, storage.ErrNotFound)
	}
	return found, nil
}

// Has implements storage.Blobs.
func (b *Blobs) Has(ctx context.Context, c dag.CID) (bool, error) {
	if err := context.Cause(ctx); err != nil {
		return false, err
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	if b.blocks == nil {
		return false, storage.ErrClosed
	}
	_, ok := b.blocks[c]
	return ok, nil
}

// View implements storage.Blobs.
func (b *Blobs) View(ctx context.Context, c dag.CID, fn func([]byte) error) error {
	found, err := b.find(ctx, c)
	if err != nil {
		return err
	}
	if err := dag.Verify(c, found.data); err != nil {
		return fmt.Errorf("%w: %w", storage.ErrCorrupt, err)
	}
	return fn(found.data)
}

// Get implements storage.Blobs.
func (b *Blobs) Get(ctx context.Context, c dag.CID) ([]byte, error) {
	var data []byte
	err := b.View(ctx, c, func(d []byte) error {
		data = bytes.Clone(d)
		return nil
	})
	return data, err
}

// Size implements storage.Blobs.
func (b *Blobs) Size(ctx context.Context, c dag.CID) (int, error) {
	found, err := b.find(ctx, c)
	return len(found.data), err
}

// Put implements storage.Blobs.
func (b *Blobs) Put(ctx context.Context, c dag.CID, data []byte) error {
	return b.PutMany(ctx, []storage.Block{{CID: c, Data: data}})
}

// PutMany implements storage.Blobs.
func (b *Blobs) PutMany(ctx context.Context, blocks []storage.Block) error {
	for _, blk := range blocks {
		if err := storage.CheckBlock(blk); err != nil {
			return err
		}
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.blocks == nil {
		return storage.ErrClosed
	}
	for _, blk := range blocks {
		known, ok := b.blocks[blk.CID]
		if !ok {
			if b.limit > 0 && b.used+int64(len(blk.Data)) > b.limit {
				return fmt.Errorf("block %s: %w", blk.CID, storage.ErrFull)
			}
			known.data = bytes.Clone(blk.Data)
			b.used += int64(len(blk.Data))
		}
		known.gen = b.gen
		b.blocks[blk.CID] = known
	}
	return nil
}

// Delete implements storage.Blobs.
func (b *Blobs) Delete(ctx context.Context, c dag.CID) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.blocks == nil {
		return storage.ErrClosed
	}
	b.used -= int64(len(b.blocks[c].data))
	delete(b.blocks, c)
	return nil
}

// Mark returns a mark that stands between the puts before and those after the call; see package gc.
func (b *Blobs) Mark() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.gen++
	return b.gen - 1
}

// DeleteBefore deletes those of the blocks that were not put again since the mark, and returns how many and how many
// bytes they had.
func (b *Blobs) DeleteBefore(ctx context.Context, mark uint64, cids []dag.CID) (blocks int, bytes int64, err error) {
	if err := context.Cause(ctx); err != nil {
		return 0, 0, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.blocks == nil {
		return 0, 0, storage.ErrClosed
	}
	for _, c := range cids {
		if found, ok := b.blocks[c]; ok && found.gen <= mark {
			delete(b.blocks, c)
			blocks++
			bytes += int64(len(found.data))
		}
	}
	b.used -= bytes
	return blocks, bytes, nil
}

// All implements storage.Blobs. It yields what was there when the iteration began.
func (b *Blobs) All(ctx context.Context) iter.Seq2[dag.CID, error] {
	return func(yield func(dag.CID, error) bool) {
		b.mu.RLock()
		closed := b.blocks == nil
		keys := slices.SortedFunc(maps.Keys(b.blocks), func(x, y dag.CID) int { return bytes.Compare(x[:], y[:]) })
		b.mu.RUnlock()
		if closed {
			yield(dag.CID{}, storage.ErrClosed)
			return
		}
		for _, c := range keys {
			if err := context.Cause(ctx); err != nil {
				yield(dag.CID{}, err)
				return
			}
			if !yield(c, nil) {
				return
			}
		}
	}
}

// Sync implements storage.Blobs: memory has nothing stable to offer.
func (b *Blobs) Sync(ctx context.Context) error {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if b.blocks == nil {
		return storage.ErrClosed
	}
	return context.Cause(ctx)
}

// KV is a storage.KV in memory.
type KV struct {
	mu      sync.RWMutex
	records map[string][]byte // nil after Close
}

// NewKV returns an empty store.
func NewKV() *KV { return &KV{records: map[string][]byte{}} }

// Close forgets everything.
func (k *KV) Close() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.records = nil
	return nil
}

// Get implements storage.KV.
func (k *KV) Get(ctx context.Context, key []byte) ([]byte, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	k.mu.RLock()
	defer k.mu.RUnlock()
	if k.records == nil {
		return nil, storage.ErrClosed
	}
	v, ok := k.records[string(key)]
	if !ok {
		return nil, fmt.Errorf("key %.80q: %w", key, storage.ErrNotFound)
	}
	return bytes.Clone(v), nil
}

// Set implements storage.KV.
func (k *KV) Set(ctx context.Context, key, value []byte) error {
	return k.change(ctx, func() { k.records[string(key)] = append([]byte{}, value...) })
}

// Delete implements storage.KV.
func (k *KV) Delete(ctx context.Context, key []byte) error {
	return k.change(ctx, func() { delete(k.records, string(key)) })
}

func (k *KV) change(ctx context.Context, do func()) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.records == nil {
		return storage.ErrClosed
	}
	do()
	return nil
}

// Scan implements storage.KV. It yields what was there when the iteration began.
func (k *KV) Scan(ctx context.Context, prefix []byte) iter.Seq2[storage.Record, error] {
	return func(yield func(storage.Record, error) bool) {
		k.mu.RLock()
		closed := k.records == nil
		var found []storage.Record
		for key, v := range k.records {
			if strings.HasPrefix(key, string(prefix)) {
				found = append(found, storage.Record{Key: []byte(key), Value: bytes.Clone(v)})
			}
		}
		k.mu.RUnlock()
		if closed {
			yield(storage.Record{}, storage.ErrClosed)
			return
		}
		slices.SortFunc(found, func(a, b storage.Record) int { return bytes.Compare(a.Key, b.Key) })
		for _, r := range found {
			if err := context.Cause(ctx); err != nil {
				yield(storage.Record{}, err)
				return
			}
			if !yield(r, nil) {
				return
			}
		}
	}
}
