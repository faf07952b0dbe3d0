package dag

import (
	"context"
	"sync"
)

const (
	batchBytes  = 4 << 20
	batchBlocks = 1024
	smallBlock  = 128 << 10 // larger blocks gain nothing from a batch
)

// batcher collects small blocks and stores many at once. It is safe for concurrent use.
type batcher struct {
	Putter
	many manyPutter // nil: no batches

	mu     sync.Mutex
	arena  []byte
	blocks []Block
}

func newBatcher(p Putter) *batcher {
	many, _ := p.(manyPutter)
	return &batcher{Putter: p, many: many}
}

func (b *batcher) Put(ctx context.Context, c CID, data []byte) error {
	if b.many == nil || len(data) > smallBlock {
		return b.Putter.Put(ctx, c, data)
	}
	b.mu.Lock()
	if b.arena == nil {
		b.arena = make([]byte, 0, batchBytes)
	}
	at := len(b.arena)
	b.arena = append(b.arena, data...) // never grows: flushed smallBlock before it is full
	b.blocks = append(b.blocks, Block{CID: c, Data: b.arena[at:len(b.arena):len(b.arena)]})
	var full []Block
	if len(b.arena) > batchBytes-smallBlock || len(b.blocks) == batchBlocks {
		full, b.arena, b.blocks = b.blocks, nil, nil
	}
	b.mu.Unlock()
	if full == nil {
		return nil
	}
	return b.many.PutMany(ctx, full)
}

func (b *batcher) flush(ctx context.Context) error {
	if len(b.blocks) == 0 {
		return nil
	}
	return b.many.PutMany(ctx, b.blocks)
}
