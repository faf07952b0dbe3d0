package dag

import (
	"context"
	"errors"
)

// MaxBlock is the largest block Kith makes or accepts, in bytes.
const MaxBlock = 1 << 20

// maxDepth bounds every descent into a DAG: honest ones stay under 10.
const maxDepth = 64

// ErrMalformed: a block is not the node its place in the DAG calls for (wrong kind, sizes that do not add up, names out
// of order, a DAG deeper than 64). Its maker was broken or hostile; fetching it again will not help.
var ErrMalformed = errors.New("malformed DAG node")

// Block is one content-addressed block. Data must not be changed by anyone.
type Block struct {
	CID  CID
	Data []byte
}

// Getter reads blocks. It must verify them against their CIDs: this package trusts what it is handed. The caller owns
// the returned bytes. storage.Blobs satisfies it.
type Getter interface {
	Get(ctx context.Context, c CID) ([]byte, error)
}

// Putter stores blocks. It must not keep data after it returns, and be safe for concurrent use where AddTree calls it.
// storage.Blobs satisfies it.
type Putter interface {
	Put(ctx context.Context, c CID, data []byte) error
}

// manyPutter is what AddTree uses for small blocks when a Putter has it. It must not keep the data either.
type manyPutter interface {
	PutMany(ctx context.Context, blocks []Block) error
}

// sizer tells the length of a block without reading it; a Getter that has it makes Concat cheaper.
type sizer interface {
	Size(ctx context.Context, c CID) (int, error)
}

func put(ctx context.Context, p Putter, codec Codec, hash Hash, data []byte) (CID, error) {
	c := Sum(codec, hash, data)
	return c, p.Put(ctx, c, data)
}
