package execute

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"io"

	"kith/storage"
	"kith/storage/dag"
)

const digestDomain = "kith/digest/1"

// given reads from blocks that came with a message, and from nowhere else.
type given map[dag.CID][]byte

func (g given) Get(_ context.Context, c dag.CID) ([]byte, error) {
	data, ok := g[c]
	if !ok {
		return nil, fmt.Errorf("block %s: %w", c, storage.ErrNotFound)
	}
	return data, nil
}

// Size lets dag ask for sizes without contents.
func (g given) Size(_ context.Context, c dag.CID) (int, error) {
	data, err := g.Get(context.Background(), c)
	return len(data), err
}

// Digest computes, for each salt, what only a holder of every byte of the output can know:
//
//	SHA-256("kith/digest/1" ‖ salt ‖ for each file in byte order of its path: len(path) ‖ path ‖ size ‖ content)
//
// with lengths and sizes as big-endian 64-bit numbers. The output is read once for all salts: from blocks if given,
// which must be the whole DAG and are verified, else from the store. It is also what proves that a fetched output is
// whole and well formed.
func (e *Executor) Digest(ctx context.Context, salts [][32]byte, root dag.CID, blocks []storage.Block) ([][32]byte, error) {
	var get dag.Getter = e.o.Blobs
	if blocks != nil {
		g := make(given, len(blocks))
		for _, b := range blocks {
			if err := dag.Verify(b.CID, b.Data); err != nil {
				return nil, fmt.Errorf("digest: %w", err)
			}
			g[b.CID] = b.Data
		}
		get = g
	}
	sums := make(salted, len(salts))
	for i := range salts {
		sums[i] = sha256.New()
		sums[i].Write([]byte(digestDomain))
		sums[i].Write(salts[i][:])
	}
	if err := sums.tree(ctx, get, root, e.o.MaxInput); err != nil {
		return nil, fmt.Errorf("digest of %s: %w", root, err)
	}
	digests := make([][32]byte, len(salts))
	for i, h := range sums {
		h.Sum(digests[i][:0])
	}
	return digests, nil
}

// salted writes to many hashes at once.
type salted []hash.Hash

func (s salted) Write(p []byte) (int, error) {
	for _, h := range s {
		h.Write(p)
	}
	return len(p), nil
}

func (s salted) tree(ctx context.Context, get dag.Getter, root dag.CID, most int64) error {
	var head []byte
	for f, err := range dag.Files(ctx, get, root) {
		if err != nil {
			return err
		}
		if most -= f.Size; most < 0 {
			return fmt.Errorf("%w: too large", ErrInput)
		}
		head = binary.BigEndian.AppendUint64(head[:0], uint64(len(f.Name)))
		head = append(head, f.Name...)
		head = binary.BigEndian.AppendUint64(head, uint64(f.Size))
		s.Write(head)
		r, err := dag.Open(ctx, get, f.Root)
		if err != nil {
			return err
		}
		n, err := io.Copy(s, r)
		r.Close()
		if err == nil && n != f.Size {
			err = fmt.Errorf("%w: %d bytes, the folder says %d", dag.ErrMalformed, n, f.Size)
		}
		if err != nil {
			return fmt.Errorf("%.200q: %w", f.Name, err)
		}
	}
	return nil
}
