package badgerstore

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"iter"

	"github.com/dgraph-io/badger/v4"

	"kith/storage"
)

// KV returns the records of the store.
func (s *Store) KV() *KV { return &KV{s} }

// KV is the storage.KV of a Store. Keys have at most 60,000 bytes, values at most 1 MiB.
type KV struct{ s *Store }

var _ storage.KV = (*KV)(nil)

const (
	maxKey   = 60_000
	maxValue = 1 << 20
)

func recordKey(k []byte) []byte { return append([]byte{recordPrefix}, k...) }

// Get implements storage.KV.
func (k *KV) Get(ctx context.Context, key []byte) ([]byte, error) {
	if err := k.s.enter(ctx); err != nil {
		return nil, err
	}
	defer k.s.users.Done()
	done, err := k.s.o.Disk.Read(ctx)
	if err != nil {
		return nil, fmt.Errorf("key %.80q: %w", key, err)
	}
	var value []byte
	defer func() { done(len(value)) }()
	err = k.s.db.View(func(txn *badger.Txn) error {
		item, err := txn.Get(recordKey(key))
		if err != nil {
			return wrap(err)
		}
		err = unharmed(func() error {
			value, err = valueOf(item)
			return err
		})
		k.s.o.Disk.Failed("read a record", err)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("key %.80q: %w", key, err)
	}
	return value, nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(key, value []byte) []byte {
	sum := crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, value)
	return binary.LittleEndian.AppendUint32(nil, sum)
}

// valueOf copies a record's value and verifies it: where a value log is gone or cut, Badger hands out an empty value
// without an error.
func valueOf(item *badger.Item) ([]byte, error) {
	stored, err := item.ValueCopy(nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", storage.ErrCorrupt, err)
	}
	n := len(stored) - crc32.Size
	if n < 0 || !bytes.Equal(stored[n:], checksum(item.Key(), stored[:n])) {
		return nil, fmt.Errorf("%w: checksum", storage.ErrCorrupt)
	}
	return stored[:n:n], nil
}

// Set implements storage.KV.
func (k *KV) Set(ctx context.Context, key, value []byte) error {
	if len(key) > maxKey || len(value) > maxValue {
		return fmt.Errorf("record of %d + %d bytes: at most %d + %d", len(key), len(value), maxKey, maxValue)
	}
	if err := k.s.enter(ctx); err != nil {
		return err
	}
	defer k.s.users.Done()
	done, err := k.s.o.Disk.Write(ctx)
	if err != nil {
		return fmt.Errorf("key %.80q: %w", key, err)
	}
	defer func() { done(len(key) + len(value)) }()
	k.s.sweep.RLock()
	defer k.s.sweep.RUnlock()
	at := recordKey(key)
	stored := append(append(make([]byte, 0, len(value)+crc32.Size), value...), checksum(at, value)...)
	return k.s.write([]*badger.Entry{badger.NewEntry(at, stored)})
}

// Delete implements storage.KV.
func (k *KV) Delete(ctx context.Context, key []byte) error {
	if err := k.s.enter(ctx); err != nil {
		return err
	}
	defer k.s.users.Done()
	k.s.sweep.RLock()
	defer k.s.sweep.RUnlock()
	return wrap(k.s.db.Update(func(txn *badger.Txn) error { return txn.Delete(recordKey(key)) }))
}

// Scan implements storage.KV. It yields what was there when the iteration began.
func (k *KV) Scan(ctx context.Context, prefix []byte) iter.Seq2[storage.Record, error] {
	return func(yield func(storage.Record, error) bool) {
		for item, err := range k.s.scan(ctx, recordKey(prefix), true) {
			if err != nil {
				yield(storage.Record{}, err)
				return
			}
			done, err := k.s.o.Disk.Read(ctx)
			if err != nil {
				yield(storage.Record{}, err)
				return
			}
			value, err := valueOf(item)
			done(len(value))
			if err != nil {
				yield(storage.Record{}, fmt.Errorf("key %.80q: %w", item.Key()[1:], err))
				return
			}
			if !yield(storage.Record{Key: item.KeyCopy(nil)[1:], Value: value}, nil) {
				return
			}
		}
	}
}

// scan yields the items under a prefix; each is valid until the next.
func (s *Store) scan(ctx context.Context, prefix []byte, values bool) iter.Seq2[*badger.Item, error] {
	return func(yield func(*badger.Item, error) bool) {
		if err := s.enter(ctx); err != nil {
			yield(nil, err)
			return
		}
		defer s.users.Done()
		txn := s.db.NewTransaction(false)
		defer txn.Discard()
		it := txn.NewIterator(badger.IteratorOptions{Prefix: prefix, PrefetchValues: values, PrefetchSize: 100})
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			err := context.Cause(ctx)
			if err == nil && s.isClosed() {
				err = storage.ErrClosed
			}
			if err != nil {
				yield(nil, err)
				return
			}
			if !yield(it.Item(), nil) {
				return
			}
		}
	}
}

func (s *Store) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}
