package execute

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"kith/storage"
	"kith/storage/dag"
	"kith/storage/seal"
)

// A parcel is a whole DAG in one sealed file, for the way through a third party's hands: for each block, depth first and
// once, its CID, its length as a uvarint and its bytes, and a zero CID at the end.

// parcelBatch is about how many bytes of blocks are stored at a time.
const parcelBatch = 4 << 20

// Pack stores the DAG below root encrypted under key. It returns the root of the sealed form and the bytes of its
// content. Packing the same DAG twice gives two different roots.
func (e *Executor) Pack(ctx context.Context, root dag.CID, key [32]byte) (dag.CID, int64, error) {
	plain, fromPlain := io.Pipe()
	sealed, fromSealed := io.Pipe()
	go func() { fromPlain.CloseWithError(e.pack(ctx, fromPlain, root)) }()
	go func() { fromSealed.CloseWithError(seal.Seal(key, fromSealed, plain)) }()
	f, err := dag.AddFile(ctx, e.o.Blobs, sealed, dag.Options{})
	// Whoever still writes is told to stop.
	_ = sealed.CloseWithError(io.ErrClosedPipe)
	_ = plain.CloseWithError(io.ErrClosedPipe)
	if err != nil {
		return dag.CID{}, 0, fmt.Errorf("pack %s: %w", root, err)
	}
	return f.Root, f.Size, nil
}

func (e *Executor) pack(ctx context.Context, to io.Writer, root dag.CID) error {
	w := bufio.NewWriterSize(to, seal.SegmentSize)
	seen := map[dag.CID]struct{}{}
	err := dag.Walk(ctx, e.o.Blobs, root, func(c dag.CID, data []byte) (bool, error) {
		if _, twice := seen[c]; twice {
			return false, nil
		}
		seen[c] = struct{}{}
		_, err := w.Write(append(binary.AppendUvarint(bytes.Clone(c[:]), uint64(len(data))), data...))
		return true, err
	})
	if err != nil {
		return err
	}
	if _, err := w.Write(make([]byte, dag.Size)); err != nil {
		return err
	}
	return w.Flush()
}

// Unpack stores the DAG below root from its sealed form, which must be in the store and hold it all and nothing else, at
// most most bytes.
func (e *Executor) Unpack(ctx context.Context, sealed dag.CID, key [32]byte, root dag.CID, most int64) error {
	r, err := dag.Open(ctx, e.o.Blobs, sealed)
	if err != nil {
		return fmt.Errorf("unpack %s: %w", root, err)
	}
	defer r.Close()
	plain, fromPlain := io.Pipe()
	opened := make(chan struct{})
	go func() {
		defer close(opened)
		fromPlain.CloseWithError(seal.Open(key, fromPlain, r))
	}()
	err = e.unpack(ctx, bufio.NewReaderSize(plain, seal.SegmentSize), root, most)
	_ = plain.CloseWithError(io.ErrClosedPipe)
	<-opened
	if err != nil {
		return fmt.Errorf("unpack %s: %w", root, err)
	}
	return nil
}

func (e *Executor) unpack(ctx context.Context, r *bufio.Reader, root dag.CID, most int64) error {
	want := map[dag.CID]bool{root: false}
	need, size := 1, 0
	var batch []storage.Block
	for {
		var c dag.CID
		if _, err := io.ReadFull(r, c[:]); err != nil {
			return ended(err)
		}
		if c == (dag.CID{}) {
			break
		}
		here, known := want[c]
		if !known || here {
			return fmt.Errorf("%w: block %s does not belong here", ErrInput, c)
		}
		n, err := number(r)
		if err != nil {
			return ended(err)
		}
		if most -= n; n > dag.MaxBlock || most < 0 {
			return fmt.Errorf("%w: more bytes than allowed", ErrInput)
		}
		data := make([]byte, n)
		if _, err := io.ReadFull(r, data); err != nil {
			return ended(err)
		}
		if err := dag.Verify(c, data); err != nil {
			return fmt.Errorf("%w: %w", ErrInput, err)
		}
		links, err := dag.Links(c, data)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrInput, err)
		}
		want[c] = true
		need--
		for _, l := range links {
			if _, known := want[l]; !known {
				want[l] = false
				need++
			}
		}
		if batch, size = append(batch, storage.Block{CID: c, Data: data}), size+len(data); size >= parcelBatch {
			if err := e.o.Blobs.PutMany(ctx, batch); err != nil {
				return err
			}
			batch, size = nil, 0
		}
	}
	if _, err := r.ReadByte(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: more after the end, or not authentic: %w", ErrInput, err)
	}
	if need > 0 {
		return fmt.Errorf("%w: %d blocks are missing", ErrInput, need)
	}
	return e.o.Blobs.PutMany(ctx, batch)
}
