package wire

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"sync"

	"kith/tasks"
)

// Role is which end of a session a node is, and at the same time the direction of what it sends.
type Role byte

// The two ends of a session.
const (
	Worker    Role = 1
	Submitter Role = 2
)

// Other is the other end.
func (r Role) Other() Role { return Worker + Submitter - r }

func (r Role) String() string {
	switch r {
	case Worker:
		return "worker"
	case Submitter:
		return "submitter"
	}
	return "nobody"
}

// SessionID names a session: 32 random bytes chosen by the worker, which are also the origin of its chain.
type SessionID [32]byte

// NewSessionID makes a fresh random id.
func NewSessionID() (id SessionID) {
	rand.Read(id[:]) // never fails
	return id
}

// Signature is an Ed25519 signature.
type Signature [64]byte

// Head is what one envelope's signature covers, and the signature: a proof that its signer said something, and when in
// the conversation, which reveals nothing but the hash of what was said.
type Head struct {
	Session   SessionID    `cbor:"id" json:"session"`
	Worker    tasks.NodeID `cbor:"worker" json:"worker"`
	Submitter tasks.NodeID `cbor:"submitter" json:"submitter"`
	From      Role         `cbor:"from" json:"from"`
	Origin    Hash         `cbor:"origin" json:"origin"` // random, chosen by the signer
	Type      Type         `cbor:"type" json:"type"`
	Seq       uint64       `cbor:"seq" json:"seq"`
	Prev      Hash         `cbor:"prev" json:"prev"` // Hash of the head before; Origin at seq 0
	Body      Hash         `cbor:"body" json:"body"` // SHA-256
	Sig       Signature    `cbor:"sig" json:"sig"`
}

// Hash is a SHA-256.
type Hash [32]byte

// Signer is who must have signed h.
func (h *Head) Signer() tasks.NodeID {
	if h.From == Worker {
		return h.Worker
	}
	return h.Submitter
}

// signed appends what the signature covers.
func (h *Head) signed(b []byte, network string) []byte {
	b = appendField(b, "kith/session/1")
	b = appendField(b, network)
	b = append(b, h.Session[:]...)
	b = append(b, h.Worker[:]...)
	b = append(b, h.Submitter[:]...)
	b = append(b, byte(h.From))
	b = append(b, h.Origin[:]...)
	b = appendField(b, h.Type)
	b = binary.BigEndian.AppendUint64(b, h.Seq)
	b = append(b, h.Prev[:]...)
	return append(b, h.Body[:]...)
}

// Sum is what the Prev of the next head holds: the hash of what the signature covers.
func (h *Head) Sum(network string) Hash {
	var room [512]byte
	return sha256.Sum256(h.signed(room[:0], network))
}

// Verify checks the signature.
func (h *Head) Verify(network string) error {
	if h.From != Worker && h.From != Submitter {
		return bad(ErrBounds, "direction %d", h.From)
	}
	var room [512]byte
	signer := h.Signer()
	if !ed25519.Verify(signer[:], h.signed(room[:0], network), h.Sig[:]) {
		return bad(ErrSignature, "%s %d of session %x", h.Type, h.Seq, h.Session[:4])
	}
	return nil
}

// appendField appends s after its length, so that no two lists of fields read alike.
func appendField[S ~string | ~[]byte](b []byte, s S) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(len(s)))
	return append(b, s...)
}

// Chain is one direction's place: the number and Prev of the next envelope. It is all that must be kept to go on.
type Chain struct {
	Origin Hash   `cbor:"origin"`
	Seq    uint64 `cbor:"seq"`
	Prev   Hash   `cbor:"prev"`
}

// State is a session at rest. It may carry a session over to another stream of the same process. Never restore one
// from before a crash: what was signed after it was saved would be signed a second time, differently, and that is
// proof of a lie. After a restart begin a new session with Hello.Resume instead.
type State struct {
	ID       SessionID `cbor:"id"`
	Role     Role      `cbor:"role"` // of this end
	Sent     Chain     `cbor:"sent"`
	Received Chain     `cbor:"received"`
}

// maxSeq keeps sequence numbers within what every DAG-CBOR decoder reads.
const maxSeq = 1 << 53

// keepHeads is how many received heads a session remembers, so that a second story about one of them is proof.
const keepHeads = 32

// keepBuffer is the largest buffer a session keeps between two messages, in bytes.
const keepBuffer = 128 << 10

// Session is one end of a session: it seals what this node says and opens what the peer says. Seal and Open may be
// called concurrently with each other. Frames must be written in the order in which Seal made them.
// After an error of Open the session stands where it stood; the sane answer is to end it with the error's Reason.
type Session struct {
	network string
	self    ed25519.PrivateKey
	peer    tasks.NodeID
	role    Role
	id      SessionID
	me      tasks.NodeID

	send sync.Mutex
	sent Chain
	buf  []byte // of the last body, to be used again

	recv     sync.Mutex
	received Chain
	heads    []Head // the last received, oldest first
}

// NewSession begins a session at one end. A worker passes a fresh NewSessionID; a submitter the one it finds in the
// worker's first frame (PeekSession).
func NewSession(network string, self ed25519.PrivateKey, peer tasks.NodeID, id SessionID, role Role) *Session {
	origin := Hash(id)
	if role == Submitter {
		origin = Hash(NewSessionID())
	}
	return newSession(network, self, peer, id, role, origin)
}

func newSession(network string, self ed25519.PrivateKey, peer tasks.NodeID, id SessionID, role Role, origin Hash) *Session {
	s := &Session{network: network, self: self, peer: peer, id: id, role: role, me: tasks.NodeID(self.Public().(ed25519.PublicKey))}
	s.sent = Chain{Origin: origin, Prev: origin}
	if role == Submitter {
		s.received = Chain{Origin: Hash(id), Prev: Hash(id)}
	}
	return s
}

// RestoreSession goes on where State was taken. See State for when that is allowed.
func RestoreSession(network string, self ed25519.PrivateKey, peer tasks.NodeID, st State) *Session {
	s := newSession(network, self, peer, st.ID, st.Role, st.Sent.Origin)
	s.sent, s.received = st.Sent, st.Received
	return s
}

// State returns where the session stands.
func (s *Session) State() State {
	s.send.Lock()
	defer s.send.Unlock()
	s.recv.Lock()
	defer s.recv.Unlock()
	return State{ID: s.id, Role: s.role, Sent: s.sent, Received: s.received}
}

// ID returns the session's id.
func (s *Session) ID() SessionID { return s.id }

// Peer returns the other end.
func (s *Session) Peer() tasks.NodeID { return s.peer }

// Role returns which end this is.
func (s *Session) Role() Role { return s.role }

// head fills in what both ends know.
func (s *Session) head(from Role) Head {
	h := Head{Session: s.id, Worker: s.me, Submitter: s.peer, From: from}
	if s.role == Submitter {
		h.Worker, h.Submitter = s.peer, s.me
	}
	return h
}

// Seal checks, encodes and signs m as the next message of this end and returns the whole frame, length included, to be
// written at once. The caller owns the frame. After an error nothing has changed.
func (s *Session) Seal(m Message, now int64) ([]byte, error) {
	sp, ok := specs[m.Type()]
	if !ok || (sp.from != 0 && sp.from != s.role) {
		return nil, bad(ErrType, "a %s does not send %.40q", s.role, m.Type())
	}
	if err := m.Validate(now); err != nil {
		return nil, err
	}
	s.send.Lock()
	defer s.send.Unlock()
	body := appendValue(s.buf[:0], m)
	if s.buf = body; cap(body) > keepBuffer {
		s.buf = nil
	}
	if len(body) > sp.size {
		return nil, bad(ErrSize, "%s of %d bytes, limit %d", m.Type(), len(body), sp.size)
	}
	h := s.head(s.role)
	h.Origin, h.Type, h.Seq, h.Prev, h.Body = s.sent.Origin, m.Type(), s.sent.Seq, s.sent.Prev, sha256.Sum256(body)
	h.Sig = signHead(s, &h)
	e := envelope{Version: Version, Type: h.Type, Seq: h.Seq, Prev: h.Prev, Sig: h.Sig, Body: body}
	frame := e.frame()
	s.sent.Seq++
	s.sent.Prev = h.Sum(s.network)
	return frame, nil
}

// signHead signs h with the key of this end.
func signHead(s *Session, h *Head) Signature {
	var room [512]byte
	return Signature(ed25519.Sign(s.self, h.signed(room[:0], s.network)))
}

// Open checks the next envelope of the peer (what ReadFrame returned) and gives its message. The message does not
// share memory with frame. Every deviation is an *Error that names it, and leaves the session as it was; a peer that
// contradicted itself gives a *ConflictError with the proof.
func (s *Session) Open(frame []byte, now int64) (Message, error) {
	e, err := parseEnvelope(frame)
	if err != nil {
		return nil, err
	}
	sp, ok := specs[e.Type]
	if !ok || (sp.from != 0 && sp.from == s.role) {
		return nil, bad(ErrType, "a %s does not send %.40q", s.role.Other(), e.Type)
	}
	if len(e.Body) > sp.size {
		return nil, bad(ErrSize, "%s of %d bytes, limit %d", e.Type, len(e.Body), sp.size)
	}
	s.recv.Lock()
	defer s.recv.Unlock()
	c := s.received
	if c.Seq == 0 && s.role == Worker && e.Seq == 0 {
		c.Origin, c.Prev = e.Prev, e.Prev // the submitter's own random choice
	}
	h := s.head(s.role.Other())
	h.Origin, h.Type, h.Seq, h.Prev, h.Sig, h.Body = c.Origin, e.Type, e.Seq, e.Prev, e.Sig, sha256.Sum256(e.Body)
	if err := h.Verify(s.network); err != nil {
		return nil, s.foreign(&e, err)
	}
	if err := s.follows(&c, &h); err != nil {
		return nil, err
	}
	m := sp.make()
	if err := unmarshal(e.Body, m); err != nil {
		return nil, err
	}
	if err := m.Validate(now); err != nil {
		return nil, err
	}
	if err := s.mine(m); err != nil {
		return nil, err
	}
	c.Seq, c.Prev = h.Seq+1, h.Sum(s.network)
	s.received = c
	if len(s.heads) == keepHeads {
		copy(s.heads, s.heads[1:])
		s.heads = s.heads[:keepHeads-1]
	}
	s.heads = append(s.heads, h)
	return m, nil
}

// follows checks a validly signed head against the chain, and finds contradictions.
func (s *Session) follows(c *Chain, h *Head) error {
	for i := range s.heads {
		old := &s.heads[i]
		same := old.Seq == h.Seq && old.Sum(s.network) != h.Sum(s.network)
		next := old.Seq+1 == h.Seq && old.Sum(s.network) != h.Prev
		if same || next {
			return &ConflictError{Evidence: Evidence{Network: s.network, A: *old, B: *h}}
		}
	}
	switch {
	case h.Seq < c.Seq:
		return bad(ErrReplay, "%s %d came again, next is %d", h.Type, h.Seq, c.Seq)
	case h.Seq > c.Seq || h.Seq >= maxSeq:
		return bad(ErrSequence, "%s has number %d, next is %d", h.Type, h.Seq, c.Seq)
	case h.Prev != c.Prev:
		return bad(ErrPrevious, "%s %d", h.Type, h.Seq)
	case h.Seq == 0 && h.Type != TypeHello && h.Type != TypeWelcome && h.Type != TypeBye:
		return bad(ErrType, "session begins with %q", h.Type)
	case h.Seq != 0 && (h.Type == TypeHello || h.Type == TypeWelcome):
		return bad(ErrType, "%s as message %d", h.Type, h.Seq)
	}
	return nil
}

// foreign refines a signature error: a hello says which network it is for.
func (s *Session) foreign(e *envelope, err error) error {
	if e.Type == TypeHello {
		var m Hello
		if unmarshal(e.Body, &m) == nil && m.Network != s.network {
			return bad(ErrNetwork, "%.64q, this is %.64q", m.Network, s.network)
		}
	}
	return err
}

// mine checks what a message says about this very session.
func (s *Session) mine(m Message) error {
	switch m := m.(type) {
	case *Hello:
		if m.Network != s.network {
			return bad(ErrNetwork, "%.64q, this is %.64q", m.Network, s.network)
		}
	case *Welcome:
		if m.Session != s.id {
			return bad(ErrBounds, "welcome.id is not this session")
		}
	case *Leases:
		for i := range m.Leases {
			if m.Leases[i].Worker != s.me {
				return bad(ErrBounds, "lease.to is %s, not this node", m.Leases[i].Worker.Short())
			}
		}
	case *Receipts:
		for i := range m.Receipts {
			if m.Receipts[i].Worker != s.me || m.Receipts[i].Submitter != s.peer {
				return bad(ErrBounds, "receipt between other nodes")
			}
		}
		return VerifyBatch(s.network, s.peer, s.peer, s.me, m.Root, len(m.Receipts), m.Sig)
	case *ReceiptAck:
		return VerifyBatch(s.network, s.peer, s.me, s.peer, m.Root, m.Count, m.Sig)
	}
	return nil
}

// PeekSession reads the session id from a worker's first frame. It proves nothing: Open does.
func PeekSession(frame []byte) (SessionID, error) {
	e, err := parseEnvelope(frame)
	if err != nil {
		return SessionID{}, err
	}
	if e.Type != TypeHello || e.Seq != 0 {
		return SessionID{}, bad(ErrType, "session begins with %.40q number %d", e.Type, e.Seq)
	}
	return SessionID(e.Prev), nil
}

// SignReceipts makes the batch message a submitter sends.
func (s *Session) SignReceipts(receipts []tasks.Receipt) (*Receipts, error) {
	root, err := ReceiptRoot(receipts)
	if err != nil {
		return nil, err
	}
	return &Receipts{Receipts: receipts, Root: root, Sig: SignBatch(s.network, s.self, s.me, s.peer, root, len(receipts))}, nil
}

// Countersign makes a worker's answer to a batch that Open has checked.
func (s *Session) Countersign(m *Receipts) *ReceiptAck {
	n := len(m.Receipts)
	return &ReceiptAck{Root: m.Root, Count: n, Sig: SignBatch(s.network, s.self, s.peer, s.me, m.Root, n)}
}

// Equal compares tokens in constant time; the zero token equals nothing.
func (t Token) Equal(u Token) bool {
	return t != Token{} && subtle.ConstantTimeCompare(t[:], u[:]) == 1
}
