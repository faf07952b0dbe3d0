package dht

import (
	"context"
	"sync/atomic"

	ds "github.com/ipfs/go-datastore"
)

// bounded is a datastore in memory that drops new entries when it is full: strangers choose what is put here, so
// nothing but the bound keeps it small. It is wrapped in a mutex by its user.
type bounded struct {
	*ds.MapDatastore
	limit   int64
	count   atomic.Int64
	dropped atomic.Uint64
}

func newBounded(limit int64) *bounded {
	return &bounded{MapDatastore: ds.NewMapDatastore(), limit: limit}
}

// Put stores the value, or drops and counts it.
func (b *bounded) Put(ctx context.Context, key ds.Key, value []byte) error {
	has, err := b.Has(ctx, key)
	if err != nil {
		return err
	}
	if !has {
		if b.count.Load() >= b.limit {
			b.dropped.Add(1)
			return nil
		}
		b.count.Add(1)
	}
	return b.MapDatastore.Put(ctx, key, value)
}

// Delete removes the value if it is there.
func (b *bounded) Delete(ctx context.Context, key ds.Key) error {
	has, err := b.Has(ctx, key)
	if err != nil || !has {
		return err
	}
	b.count.Add(-1)
	return b.MapDatastore.Delete(ctx, key)
}

// Batch implements ds.Batching by way of Put and Delete.
func (b *bounded) Batch(context.Context) (ds.Batch, error) { return ds.NewBasicBatch(b), nil }
