package exchange

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"kith/p2p"
	"kith/p2p/rpc"
	"kith/storage"
	"kith/storage/dag"
)

// blocksProto is the block stream. The client writes CIDs, 36 bytes each; the server answers each in order with a
// 32-bit big-endian length and the block, or with notHere.
var blocksProto = rpc.Proto{Name: "blocks", Version: 1, Limits: rpc.Limits{PerPeer: streamsPerPeer, Total: streamsTotal}}

// notHere answers a want that the server cannot or may not fulfil; it does not say which.
const notHere = ^uint32(0)

// serve answers the wants of one peer until it closes the stream.
func (x *Exchange) serve(ctx context.Context, s p2p.Stream) {
	if err := x.serveWants(ctx, s); !errors.Is(err, io.EOF) {
		x.log.Debug("block stream ended", "peer", s.Remote(), "err", err)
		return // the stream is reset
	}
	_ = s.Close()
}

// serveWants returns io.EOF when the peer closed the stream between two wants.
func (x *Exchange) serveWants(ctx context.Context, s p2p.Stream) error {
	in := bufio.NewReaderSize(s, 64*dag.Size)
	var want [dag.Size]byte
	var head [4]byte
	for {
		if err := s.SetReadDeadline(time.Now().Add(serveIdle)); err != nil {
			return err
		}
		if _, err := io.ReadFull(in, want[:]); err != nil {
			return err
		}
		c, err := dag.CIDFromBytes(want[:])
		if err != nil {
			return fmt.Errorf("want: %w", err)
		}
		if err := s.SetWriteDeadline(time.Now().Add(serveBlockTime)); err != nil {
			return err
		}
		err = storage.ErrNotFound
		if x.mayServe(s.Remote(), c) {
			err = x.blobs.View(ctx, c, func(data []byte) error {
				binary.BigEndian.PutUint32(head[:], uint32(len(data)))
				if _, err := s.Write(head[:]); err != nil {
					return streamError{err}
				}
				for at := 0; at < len(data); at += writeSlice {
					slice := data[at:min(at+writeSlice, len(data))]
					if err := x.o.Out.Wait(ctx, len(slice)); err != nil {
						return streamError{err}
					}
					if err := s.SetWriteDeadline(time.Now().Add(serveBlockTime)); err != nil {
						return streamError{err}
					}
					if _, err := s.Write(slice); err != nil {
						return streamError{err}
					}
				}
				x.st.servedBlocks.Add(1)
				x.st.servedBytes.Add(uint64(len(data)))
				return nil
			})
		}
		var broken streamError
		switch {
		case err == nil:
			continue
		case errors.As(err, &broken):
			return err
		case !errors.Is(err, storage.ErrNotFound):
			x.log.Warn("cannot read a block that a peer wants", "cid", c.String(), "err", err)
		}
		binary.BigEndian.PutUint32(head[:], notHere)
		if _, err := s.Write(head[:]); err != nil {
			return err
		}
	}
}

// streamError is a failed write to the peer, as opposed to a failed read of the store.
type streamError struct{ error }

func (e streamError) Unwrap() error { return e.error }

// readBlock reads one answer, at the pace. The provider may be slow, but not silent: each slice has its own deadline.
func readBlock(ctx context.Context, pace Pace, st p2p.Stream, in *bufio.Reader, c dag.CID) ([]byte, error) {
	read := func(b []byte) error {
		if err := st.SetReadDeadline(time.Now().Add(sourceStall)); err != nil {
			return err
		}
		_, err := io.ReadFull(in, b)
		return err
	}
	var head [4]byte
	if err := read(head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	switch {
	case n == notHere:
		return nil, storage.ErrNotFound
	case n > dag.MaxBlock:
		return nil, fmt.Errorf("%w: %d bytes for %s", ErrBlock, n, c)
	}
	data := make([]byte, n)
	for at := 0; at < len(data); at += readSlice {
		slice := data[at:min(at+readSlice, len(data))]
		if err := pace.Wait(ctx, len(slice)); err != nil {
			return nil, err
		}
		if err := read(slice); err != nil {
			return nil, err
		}
	}
	if c.Codec() != dag.Raw { // its links are followed now; a raw block is verified once, when it is stored
		if err := dag.Verify(c, data); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrBlock, err)
		}
	}
	return data, nil
}
