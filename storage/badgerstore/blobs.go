package badgerstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime/debug"
	"syscall"

	"github.com/dgraph-io/badger/v4"

	"kith/storage"
	"kith/storage/dag"
)

// Blobs returns the blocks of the store.
func (s *Store) Blobs() *Blobs { return &Blobs{s} }

// Blobs is the storage.Blobs of a Store.
type Blobs struct{ s *Store }

var _ storage.Blobs = (*Blobs)(nil)

func key(prefix byte, c dag.CID) []byte {
	k := make([]byte, 1+dag.Size)
	k[0] = prefix
	copy(k[1:], c[:])
	return k
}

// item calls fn with the block's item.
func (b *Blobs) item(ctx context.Context, c dag.CID, fn func(*badger.Item) error) error {
	if err := b.s.enter(ctx); err != nil {
		return err
	}
	defer b.s.users.Done()
	return b.s.db.View(func(txn *badger.Txn) error {
		item, err := txn.Get(key(blockPrefix, c))
		if err != nil {
			return fmt.Errorf("block %s: %w", c, wrap(err))
		}
		return fn(item)
	})
}

// Has implements storage.Blobs.
func (b *Blobs) Has(ctx context.Context, c dag.CID) (bool, error) {
	err := b.item(ctx, c, func(*badger.Item) error { return nil })
	if errors.Is(err, storage.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// View implements storage.Blobs. The bytes are Badger's mapped file itself: fn must not write to them.
func (b *Blobs) View(ctx context.Context, c dag.CID, fn func([]byte) error) error {
	done, err := b.s.o.Disk.Read(ctx)
	if err != nil {
		return fmt.Errorf("block %s: %w", c, err)
	}
	moved := 0
	defer func() {
		if done != nil {
			done(moved)
		}
	}()
	return b.item(ctx, c, func(item *badger.Item) error {
		ran := false
		err := item.Value(func(data []byte) error {
			ran = true
			moved = len(data)
			err := unharmed(func() error { return dag.Verify(c, data) })
			b.s.o.Disk.Failed("read a block", err)
			if err != nil {
				return fmt.Errorf("%w: %w", storage.ErrCorrupt, err)
			}
			done(moved) // fn may come back for more: it must not wait for itself
			done = nil
			return fn(data)
		})
		if err != nil && !ran { // the value log does not hold what the key says
			return fmt.Errorf("block %s: %w: %w", c, storage.ErrCorrupt, err)
		}
		return err
	})
}

// unharmed calls read, which touches a mapped file, and makes an error of what would otherwise end the process: a page
// that the drive cannot give.
func unharmed(read func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			fault, ok := p.(interface{ Addr() uintptr })
			if !ok {
				panic(p)
			}
			err = fmt.Errorf("%w: the drive cannot give the page at %#x", syscall.EIO, fault.Addr())
		}
	}()
	return read()
}

// Get implements storage.Blobs.
func (b *Blobs) Get(ctx context.Context, c dag.CID) ([]byte, error) {
	var data []byte
	err := b.View(ctx, c, func(d []byte) error {
		data = append(make([]byte, 0, len(d)), d...)
		return nil
	})
	return data, err
}

// Size implements storage.Blobs.
func (b *Blobs) Size(ctx context.Context, c dag.CID) (int, error) {
	size := 0
	err := b.item(ctx, c, func(item *badger.Item) error {
		size = itemSize(item)
		return nil
	})
	return size, err
}

// itemSize is exact: Badger's own estimate is off by the few bytes of a header, and the item's user byte holds the low
// eight bits of the size.
func itemSize(item *badger.Item) int {
	estimate := int(item.ValueSize())
	return estimate + int(int8(item.UserMeta()-byte(estimate)))
}

// Put implements storage.Blobs.
func (b *Blobs) Put(ctx context.Context, c dag.CID, data []byte) error {
	return b.PutMany(ctx, []storage.Block{{CID: c, Data: data}})
}

// PutMany implements storage.Blobs. A block that is there already is compared with data, and mended if it differs.
func (b *Blobs) PutMany(ctx context.Context, blocks []storage.Block) error {
	for _, blk := range blocks {
		if err := storage.CheckBlock(blk); err != nil {
			return err
		}
	}
	if err := b.s.enter(ctx); err != nil {
		return err
	}
	defer b.s.users.Done()
	done, err := b.s.o.Disk.Write(ctx) // before the lock, which others wait for
	if err != nil {
		return fmt.Errorf("put blocks: %w", err)
	}
	written := 0
	defer func() { done(written) }()
	b.s.sweep.RLock()
	defer b.s.sweep.RUnlock()

	entries := make([]*badger.Entry, 0, len(blocks))
	err = b.s.db.View(func(txn *badger.Txn) error {
		for _, blk := range blocks {
			e, err := b.needed(txn, blk)
			if err != nil {
				return err
			}
			if e != nil {
				entries = append(entries, e)
				written += len(e.Key) + len(e.Value)
			}
		}
		return nil
	})
	if err != nil || len(entries) == 0 {
		return err
	}
	return b.s.write(entries)
}

// needed returns what must be written to have blk and to have it count as put now, or nil.
func (b *Blobs) needed(txn *badger.Txn, blk storage.Block) (*badger.Entry, error) {
	write := badger.NewEntry(key(blockPrefix, blk.CID), blk.Data).WithMeta(byte(len(blk.Data)))
	item, err := txn.Get(write.Key)
	if errors.Is(err, badger.ErrKeyNotFound) {
		return write, nil
	}
	if err != nil {
		return nil, wrap(err)
	}
	same := false
	err = item.Value(func(data []byte) error {
		return unharmed(func() error {
			same = bytes.Equal(data, blk.Data)
			return nil
		})
	})
	if err != nil || !same {
		return write, nil
	}
	version, err := lastPut(txn, item, blk.CID)
	if err != nil || version > b.s.mark {
		return nil, err
	}
	return badger.NewEntry(key(touchPrefix, blk.CID), nil), nil
}

// lastPut returns the version of the last put of a block.
func lastPut(txn *badger.Txn, item *badger.Item, c dag.CID) (uint64, error) {
	touch, err := txn.Get(key(touchPrefix, c))
	if errors.Is(err, badger.ErrKeyNotFound) {
		return item.Version(), nil
	}
	if err != nil {
		return 0, wrap(err)
	}
	return max(item.Version(), touch.Version()), nil
}

// Delete implements storage.Blobs. The space comes back with Compact.
func (b *Blobs) Delete(ctx context.Context, c dag.CID) error {
	if err := b.s.enter(ctx); err != nil {
		return err
	}
	defer b.s.users.Done()
	b.s.sweep.RLock()
	defer b.s.sweep.RUnlock()
	return wrap(b.s.db.Update(func(txn *badger.Txn) error { return remove(txn, c) }))
}

func remove(txn *badger.Txn, c dag.CID) error {
	for _, prefix := range []byte{blockPrefix, touchPrefix} {
		if _, err := txn.Get(key(prefix, c)); errors.Is(err, badger.ErrKeyNotFound) {
			continue
		} else if err != nil {
			return err
		}
		if err := txn.Delete(key(prefix, c)); err != nil {
			return err
		}
	}
	return nil
}

// Mark returns a mark that stands between the puts before and those after the call; see package gc. Marks stay good
// after the store is opened again.
func (b *Blobs) Mark() uint64 {
	b.s.sweep.Lock()
	defer b.s.sweep.Unlock()
	if b.s.enter(context.Background()) != nil {
		return 0 // nothing is older
	}
	defer b.s.users.Done()
	b.s.mark = b.s.db.MaxVersion()
	return b.s.mark
}

// DeleteBefore deletes those of the blocks that were not put again since the mark, and returns how many and how many
// bytes they had. No put runs meanwhile, so cids should be few thousands.
func (b *Blobs) DeleteBefore(ctx context.Context, mark uint64, cids []dag.CID) (blocks int, size int64, err error) {
	if err := b.s.enter(ctx); err != nil {
		return 0, 0, err
	}
	defer b.s.users.Done()
	b.s.sweep.Lock()
	defer b.s.sweep.Unlock()
	batch := b.s.db.NewWriteBatch()
	defer batch.Cancel()
	err = b.s.db.View(func(txn *badger.Txn) error {
		for _, c := range cids {
			item, err := txn.Get(key(blockPrefix, c))
			if errors.Is(err, badger.ErrKeyNotFound) {
				continue
			}
			if err != nil {
				return err
			}
			version, err := lastPut(txn, item, c)
			if err != nil {
				return err
			}
			if version > mark {
				continue
			}
			if err := errors.Join(batch.Delete(key(blockPrefix, c)), batch.Delete(key(touchPrefix, c))); err != nil {
				return err
			}
			blocks++
			size += int64(itemSize(item))
		}
		return nil
	})
	if err == nil {
		err = batch.Flush()
	}
	if err != nil {
		return 0, 0, wrap(err)
	}
	return blocks, size, nil
}

// All implements storage.Blobs. It yields what was there when the iteration began.
func (b *Blobs) All(ctx context.Context) iter.Seq2[dag.CID, error] {
	return func(yield func(dag.CID, error) bool) {
		for item, err := range b.s.scan(ctx, []byte{blockPrefix}, false) {
			if err != nil {
				yield(dag.CID{}, err)
				return
			}
			c, err := dag.CIDFromBytes(item.Key()[1:])
			if err != nil {
				err = fmt.Errorf("key of a block: %w: %w", storage.ErrCorrupt, err)
			}
			if !yield(c, err) || err != nil {
				return
			}
		}
	}
}

// Sync implements storage.Blobs; see Store.Sync.
func (b *Blobs) Sync(ctx context.Context) error { return b.s.Sync(ctx) }
