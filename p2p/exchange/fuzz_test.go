package exchange

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"kith/p2p"
	"kith/storage"
	"kith/storage/dag"
	"kith/storage/memstore"
)

// recorded is a stream whose peer has said all it will.
type recorded struct {
	io.Reader
	bytes.Buffer // what is written to the peer
}

func (r *recorded) Read(b []byte) (int, error)       { return r.Reader.Read(b) }
func (r *recorded) Close() error                     { return nil }
func (r *recorded) CloseWrite() error                { return nil }
func (r *recorded) Reset() error                     { return nil }
func (r *recorded) SetDeadline(time.Time) error      { return nil }
func (r *recorded) SetReadDeadline(time.Time) error  { return nil }
func (r *recorded) SetWriteDeadline(time.Time) error { return nil }
func (r *recorded) Remote() p2p.ID                   { return p2p.ID{1} }
func (r *recorded) RemoteIP() netip.Addr             { return netip.Addr{} }
func (r *recorded) Relayed() bool                    { return false }
func (r *recorded) Protocol() string                 { return "/kith/test/blocks/1" }

// Whatever a client sends, it gets one answer for each whole want and no bytes of a block it may not have.
func FuzzServeWants(f *testing.F) {
	blobs := memstore.NewBlobs()
	open, secret := []byte("open"), []byte("secret")
	openCID, secretCID := dag.Sum(dag.Raw, dag.SHA256, open), dag.Sum(dag.Raw, dag.SHA256, secret)
	for c, data := range map[dag.CID][]byte{openCID: open, secretCID: secret} {
		if err := blobs.Put(f.Context(), c, data); err != nil {
			f.Fatal(err)
		}
	}
	f.Add(append(openCID[:], secretCID[:]...))
	f.Add(openCID[:20])
	f.Add(make([]byte, dag.Size))
	f.Fuzz(func(t *testing.T, sent []byte) {
		x := &Exchange{blobs: blobs, log: slog.New(slog.DiscardHandler), o: Options{Out: free{}, MayServe: func(_ p2p.ID, c dag.CID) bool { return c == openCID }}}
		s := &recorded{Reader: bytes.NewReader(sent)}
		if err := x.serveWants(t.Context(), s); err == nil {
			t.Error("ended without a reason")
		}
		if bytes.Contains(s.Bytes(), secret) {
			t.Error("a refused block was sent")
		}
		if got, most := s.Len(), len(sent)/dag.Size*(4+len(open)); got > most {
			t.Errorf("%d bytes for %d, want at most %d", got, len(sent), most)
		}
	})
}

// Whatever a provider sends, no more than one block is read, and a dag-cbor block has its content.
func FuzzReadBlock(f *testing.F) {
	null := []byte{0xf6}
	c := dag.Sum(dag.DagCBOR, dag.SHA256, null)
	f.Add(append(binary.BigEndian.AppendUint32(nil, 1), null...))
	f.Add(binary.BigEndian.AppendUint32(nil, notHere))
	f.Add(binary.BigEndian.AppendUint32(nil, dag.MaxBlock+1))
	f.Fuzz(func(t *testing.T, sent []byte) {
		s := &recorded{Reader: bytes.NewReader(sent)}
		data, err := readBlock(t.Context(), free{}, s, bufio.NewReader(s), c)
		switch {
		case err == nil && !bytes.Equal(data, null):
			t.Errorf("accepted %q", data)
		case errors.Is(err, storage.ErrNotFound) && binary.BigEndian.Uint32(sent) != notHere:
			t.Error("not found was not said")
		}
	})
}
