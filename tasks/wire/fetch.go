package wire

import (
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"io"

	"kith/storage/dag"
	"kith/tasks"
)

// FetchRequest asks, on a stream of ProtocolFetch, for a DAG. The answer is a FetchReply, then the blocks depth first
// (WriteBlock), each once, then EndBlocks.
type FetchRequest struct {
	Version int           `cbor:"v"`
	Network string        `cbor:"net"`
	Root    dag.CID       `cbor:"root"`
	Lease   tasks.LeaseID `cbor:"lease"` // the lease whose input or output it is; zero: a public DAG
	Token   []byte        `cbor:"token"` // SignFetchToken; empty if the lease alone gives the right
	Have    []dag.CID     `cbor:"have"`  // blocks not to send, with all below them: a resumed fetch
}

// MaxHave bounds FetchRequest.Have.
const MaxHave = 1 << 10

// FetchReply accepts (nil) or refuses a fetch.
type FetchReply struct {
	Version int           `cbor:"v"`
	Reason  *tasks.Reason `cbor:"reason"`
}

// Validate checks every bound.
func (m *FetchRequest) Validate(int64) error {
	var c checker
	c.version(m.Version)
	c.name("fetch.net", m.Network, 1, MaxNetwork)
	if !m.Root.Defined() {
		c.fail(ErrBounds, "fetch.root is no block")
	}
	c.length("fetch.token", len(m.Token), 0, maxToken)
	c.length("fetch.have", len(m.Have), 0, MaxHave)
	return c.result()
}

// Validate checks every bound.
func (m *FetchReply) Validate(int64) error {
	var c checker
	c.version(m.Version)
	if m.Reason != nil {
		c.reason(m.Reason)
	}
	return c.result()
}

// FetchToken is the right of one node to fetch one DAG until a time, given by who serves it.
type FetchToken struct {
	By     tasks.NodeID  `cbor:"-"` // the signer
	Holder tasks.NodeID  `cbor:"to"`
	Root   dag.CID       `cbor:"root"`
	Lease  tasks.LeaseID `cbor:"lease"`
	Expiry int64         `cbor:"exp"`
}

const (
	maxToken    = 512 // bytes of a signed token
	tokenDomain = "kith/fetch-token/1"
)

// SignFetchToken signs a token.
func SignFetchToken(network string, self ed25519.PrivateKey, t FetchToken) ([]byte, error) {
	return signRecord(tokenDomain, network, self, &t, maxToken)
}

// OpenFetchToken checks a token shown by holder for root, and that it has not expired. The caller checks By.
func OpenFetchToken(network string, now int64, holder tasks.NodeID, root dag.CID, b []byte) (FetchToken, error) {
	var t FetchToken
	by, err := openRecord(tokenDomain, network, b, &t, maxToken)
	if err != nil {
		return FetchToken{}, err
	}
	switch {
	case t.Holder != holder:
		return FetchToken{}, bad(ErrSignature, "token of another node")
	case t.Root != root:
		return FetchToken{}, bad(ErrBounds, "token for another DAG")
	case t.Expiry < now:
		return FetchToken{}, bad(ErrExpired, "token ended %d ms ago", now-t.Expiry)
	}
	t.By = by
	return t, nil
}

// Single is a message that travels alone, in a frame of its own, outside a session: FetchRequest, FetchReply,
// DepositRequest, DepositReply, Register, RegisterReply, Search, SearchReply, Invite, InviteReply.
type Single interface{ Validate(now int64) error }

// maxSingle is the largest single message in bytes.
const maxSingle = 64 << 10

// WriteSingle checks and writes one single message in one Write.
func WriteSingle(w io.Writer, m Single, now int64) error {
	if err := m.Validate(now); err != nil {
		return err
	}
	b := marshal(m)
	if len(b) > maxSingle {
		return bad(ErrSize, "%T of %d bytes, limit %d", m, len(b), maxSingle)
	}
	_, err := w.Write(append(binary.BigEndian.AppendUint32(make([]byte, 0, frameHead+len(b)), uint32(len(b))), b...))
	return err
}

// ReadSingle reads and checks one single message into m, which must be a zero value.
func ReadSingle(r io.Reader, m Single, now int64) error {
	b, err := readFrame(r, nil, maxSingle)
	if err != nil {
		return err
	}
	if err := unmarshal(b, m); err != nil {
		return err
	}
	return m.Validate(now)
}

// WriteBlock writes one block of a fetch.
func WriteBlock(w io.Writer, c dag.CID, data []byte) error {
	if len(data) > dag.MaxBlock {
		return bad(ErrSize, "block of %d bytes, limit %d", len(data), dag.MaxBlock)
	}
	var head [frameHead + dag.Size]byte
	binary.BigEndian.PutUint32(head[:], uint32(dag.Size+len(data)))
	copy(head[frameHead:], c[:])
	if _, err := w.Write(head[:]); err != nil {
		return err
	}
	_, err := w.Write(data)
	return err
}

// EndBlocks writes the end of a fetch: without it the reader knows that something is missing.
func EndBlocks(w io.Writer) error {
	_, err := w.Write(make([]byte, frameHead))
	return err
}

// ReadBlock reads one block and checks it against its CID. After the last block it returns io.EOF; a stream that ends
// without EndBlocks gives io.ErrUnexpectedEOF.
func ReadBlock(r io.Reader) (dag.CID, []byte, error) {
	b, err := readFrame(r, nil, dag.Size+dag.MaxBlock)
	switch {
	case errors.Is(err, io.EOF):
		return dag.CID{}, nil, io.ErrUnexpectedEOF
	case errors.Is(err, errEmptyFrame):
		return dag.CID{}, nil, io.EOF
	case err != nil:
		return dag.CID{}, nil, err
	case len(b) < dag.Size:
		return dag.CID{}, nil, bad(ErrEncoding, "block frame of %d bytes", len(b))
	}
	c, err := dag.CIDFromBytes(b[:dag.Size])
	if err != nil {
		return dag.CID{}, nil, bad(ErrEncoding, "%v", err)
	}
	if err := dag.Verify(c, b[dag.Size:]); err != nil {
		return dag.CID{}, nil, bad(ErrEncoding, "%v", err)
	}
	return c, b[dag.Size:], nil
}
