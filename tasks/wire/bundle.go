package wire

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"kith/tasks"
)

// Batch is a batch of receipts as it is kept: with the signatures of both sides, or only the submitter's.
type Batch struct {
	Submitter tasks.NodeID    `cbor:"from" json:"submitter"`
	Worker    tasks.NodeID    `cbor:"to" json:"worker"`
	Receipts  []tasks.Receipt `cbor:"receipts" json:"receipts"`
	Root      Hash            `cbor:"root" json:"root"`
	Signed    Signature       `cbor:"sig" json:"signed"`     // by the submitter
	Countered Signature       `cbor:"csig" json:"countered"` // by the worker; zero: not countersigned
}

// Verify checks the receipts, the root and the signatures there are. countersigned tells whether both sides signed.
func (b *Batch) Verify(network string) (countersigned bool, err error) {
	root, err := ReceiptRoot(b.Receipts)
	if err != nil {
		return false, err
	}
	if root != b.Root {
		return false, bad(ErrBounds, "root is not the root over the receipts")
	}
	for i := range b.Receipts {
		if r := &b.Receipts[i]; r.Submitter != b.Submitter || r.Worker != b.Worker {
			return false, bad(ErrBounds, "receipt %d is between other nodes", i)
		}
	}
	if err := VerifyBatch(network, b.Submitter, b.Submitter, b.Worker, root, len(b.Receipts), b.Signed); err != nil {
		return false, err
	}
	if b.Countered == (Signature{}) {
		return false, nil
	}
	return true, VerifyBatch(network, b.Worker, b.Submitter, b.Worker, root, len(b.Receipts), b.Countered)
}

// Bundle is evidence as it is exported: what was done for whom, and who was caught. Anybody can check it, and it needs
// no trust in who wrote it down. It has two forms, JSON to read and DAG-CBOR to keep.
type Bundle struct {
	Version   int          `cbor:"v" json:"version"`
	Network   string       `cbor:"net" json:"network"`
	Writer    tasks.NodeID `cbor:"by" json:"writer"`
	At        int64        `cbor:"at" json:"at"` // Unix milliseconds
	Batches   []Batch      `cbor:"batches" json:"batches"`
	Conflicts []Evidence   `cbor:"conflicts" json:"conflicts"`
	Claims    []Claims     `cbor:"claims" json:"claims"`
}

// MaxBundle is the largest bundle ReadBundle takes, in bytes.
const MaxBundle = 256 << 20

// Verify checks every batch and every conflict and says which one is wrong.
func (b *Bundle) Verify() error {
	if b.Version != Version {
		return bad(ErrVersion, "%d, this program reads %d", b.Version, Version)
	}
	for i := range b.Batches {
		if _, err := b.Batches[i].Verify(b.Network); err != nil {
			return fmt.Errorf("batch %d: %w", i, err)
		}
	}
	for i := range b.Conflicts {
		if b.Conflicts[i].Network != b.Network {
			return fmt.Errorf("conflict %d: %w", i, bad(ErrNetwork, "%.64q", b.Conflicts[i].Network))
		}
		if err := b.Conflicts[i].Verify(); err != nil {
			return fmt.Errorf("conflict %d: %w", i, err)
		}
	}
	for i := range b.Claims {
		if _, err := b.Claims[i].Verify(b.Network); err != nil {
			return fmt.Errorf("claims %d: %w", i, err)
		}
	}
	return nil
}

// WriteJSON writes the readable form.
func (b *Bundle) WriteJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(b)
}

// WriteCBOR writes the DAG-CBOR form.
func (b *Bundle) WriteCBOR(w io.Writer) error {
	_, err := w.Write(marshal(b))
	return err
}

// ReadBundle reads either form. It does not check signatures: Verify does.
func ReadBundle(r io.Reader) (*Bundle, error) {
	data, err := io.ReadAll(io.LimitReader(r, MaxBundle+1))
	if err != nil {
		return nil, err
	}
	if len(data) > MaxBundle {
		return nil, bad(ErrSize, "bundle over %d bytes", MaxBundle)
	}
	b := new(Bundle)
	if len(data) == 0 || data[0] != '{' {
		if err := unmarshal(data, b); err != nil {
			return nil, err
		}
		return b, nil
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(b); err != nil {
		return nil, bad(ErrEncoding, "%v", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, bad(ErrEncoding, "something follows the bundle")
	}
	return b, nil
}

func unhex(into, text []byte) error {
	if len(text) != hex.EncodedLen(len(into)) {
		return bad(ErrEncoding, "%d hex digits, want %d", len(text), hex.EncodedLen(len(into)))
	}
	_, err := hex.Decode(into, text)
	return err
}

// MarshalText and UnmarshalText carry hashes, session ids and signatures through JSON as hex.
func (h Hash) MarshalText() ([]byte, error)       { return hex.AppendEncode(nil, h[:]), nil }
func (h *Hash) UnmarshalText(b []byte) error      { return unhex(h[:], b) }
func (id SessionID) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, id[:]), nil }
func (id *SessionID) UnmarshalText(b []byte) error {
	return unhex(id[:], b)
}
func (s Signature) MarshalText() ([]byte, error)  { return hex.AppendEncode(nil, s[:]), nil }
func (s *Signature) UnmarshalText(b []byte) error { return unhex(s[:], b) }
