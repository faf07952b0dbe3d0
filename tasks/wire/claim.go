package wire

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"slices"

	"kith/storage/dag"
	"kith/tasks"
)

// Spoken is one signed message of a session, word for word.
type Spoken struct {
	Head Head   `cbor:"head" json:"head"`
	Body []byte `cbor:"body" json:"body"`
}

// Spoken returns what the peer has just said: frame must be the one that the last successful Open was given. It does not
// share memory with frame.
func (s *Session) Spoken(frame []byte) (Spoken, error) {
	e, err := parseEnvelope(frame)
	if err != nil {
		return Spoken{}, err
	}
	s.recv.Lock()
	defer s.recv.Unlock()
	if len(s.heads) == 0 || s.heads[len(s.heads)-1].Sig != e.Sig {
		return Spoken{}, bad(ErrSequence, "not the message that came last")
	}
	return Spoken{Head: s.heads[len(s.heads)-1], Body: slices.Clone(e.Body)}, nil
}

// Word is what a submitter said of a result, and so what a claim on it proves.
type Word int

// The words, each of which says more than the one before.
const (
	Asked    Word = iota + 1 // it demanded to see the result
	Got                      // it has the bytes
	Approved                 // it accepted it
)

// Word is what a message says of the results it names; 0: nothing.
func (t Type) Word() Word {
	switch t {
	case TypeReveal:
		return Asked
	case TypeDelivered:
		return Got
	case TypeVerdicts:
		return Approved
	}
	return 0
}

// Claims is what a worker shows for results that a submitter had of it and signed no receipt for: the submitter's own
// word on leases of this worker, and what was done under them. The word is its verdict, which accepts the results, its
// acknowledgement of their bytes, or only its demand to see them. Leases are told by what their ids are hashes of, so that
// neither salts nor keys of inputs need be shown. Anybody can check it.
type Claims struct {
	Heard  Spoken    `cbor:"heard" json:"heard"` // verdicts, an acknowledgement or a reveal request
	Leases []Claim   `cbor:"leases" json:"leases"`
	Signed Signature `cbor:"sig" json:"signed"` // by the worker
}

// Claim is one lease of Claims. What was measured is the worker's own word.
type Claim struct {
	Job        tasks.JobID  `cbor:"job" json:"job"`
	Task       tasks.TaskID `cbor:"task" json:"task"`
	Attempt    int          `cbor:"try" json:"attempt"`
	Epoch      uint64       `cbor:"epoch" json:"epoch"`
	Expiry     int64        `cbor:"exp" json:"expiry"`
	Kinds      []string     `cbor:"kinds" json:"kinds"`
	Root       dag.CID      `cbor:"root" json:"root"` // of its result: with the digest, what it had committed to
	Digest     Hash         `cbor:"digest" json:"digest"`
	WallMillis int64        `cbor:"wall" json:"wallMillis"`
	CPUMillis  int64        `cbor:"cpu" json:"cpuMillis"`
}

// Lease is the id of the lease that is claimed.
func (c *Claim) Lease(worker tasks.NodeID) tasks.LeaseID {
	return tasks.NewLeaseID(c.Job, c.Task, c.Attempt, worker, c.Epoch, c.Expiry)
}

// Worker and Submitter are the two sides.
func (c *Claims) Worker() tasks.NodeID    { return c.Heard.Head.Worker }
func (c *Claims) Submitter() tasks.NodeID { return c.Heard.Head.Submitter }

// text is what the worker signs.
func (c *Claims) text(network string) []byte {
	head := c.Heard.Head.Sum(network)
	b := appendField(make([]byte, 0, 1024), "kith/claims/1")
	b = appendField(b, network)
	b = append(b, head[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(len(c.Leases)))
	for i := range c.Leases {
		b = appendField(b, marshal(&c.Leases[i]))
	}
	return b
}

// Sign makes the worker's signature.
func (c *Claims) Sign(network string, self ed25519.PrivateKey) {
	c.Signed = Signature(ed25519.Sign(self, c.text(network)))
}

// Verify checks that the submitter said what is claimed, of leases of this worker, and returns what that was.
func (c *Claims) Verify(network string) (Word, error) {
	h := &c.Heard.Head
	switch {
	case h.From != Submitter:
		return 0, bad(ErrBounds, "claims rest on the worker's own word")
	case len(c.Heard.Body) > specs[TypeVerdicts].size || sha256.Sum256(c.Heard.Body) != h.Body:
		return 0, bad(ErrBounds, "not the body that was signed")
	case len(c.Leases) == 0 || len(c.Leases) > MaxLeases:
		return 0, bad(ErrBounds, "%d claims, want 1 to %d", len(c.Leases), MaxLeases)
	}
	if err := h.Verify(network); err != nil {
		return 0, err
	}
	if !ed25519.Verify(h.Worker[:], c.text(network), c.Signed[:]) {
		return 0, bad(ErrSignature, "claims of %s", h.Worker.Short())
	}
	said, err := c.said()
	if err != nil {
		return 0, err
	}
	for i := range c.Leases {
		x := &c.Leases[i]
		l := x.Lease(h.Worker)
		at := slices.IndexFunc(said, func(d Delivery) bool { return d.Lease == l })
		if at < 0 {
			return 0, bad(ErrBounds, "claim %d: nothing is said of lease %s, or not again", i, l.Short())
		}
		if d := &said[at]; h.Type == TypeDelivered && (d.Root != x.Root || d.Digest != x.Digest) {
			return 0, bad(ErrBounds, "claim %d: the submitter has other bytes", i)
		}
		said[at].Lease = tasks.LeaseID{} // each lease once
		chk := checker{}
		chk.names("claim.kinds", x.Kinds, MaxSteps, 2*MaxName+1)
		if chk.err != nil {
			return 0, chk.result()
		}
		if x.CPUMillis < 0 || x.WallMillis < 0 || x.WallMillis > MaxLeaseTime.Milliseconds() || x.CPUMillis > MaxSlots*MaxLeaseTime.Milliseconds() || !x.Root.Defined() {
			return 0, bad(ErrBounds, "claim %d: %d ms, %d ms of processor time", i, x.WallMillis, x.CPUMillis)
		}
	}
	return h.Type.Word(), nil
}

// said reads what the submitter said: of which leases it accepts the results, has them, or demands to see them. What it
// says of their bytes is set if it names them.
func (c *Claims) said() (list []Delivery, err error) {
	switch c.Heard.Head.Type {
	case TypeVerdicts:
		var m Verdicts
		if err := unmarshal(c.Heard.Body, &m); err != nil {
			return nil, err
		}
		for i := range m.Verdicts {
			if m.Verdicts[i].Outcome == tasks.Accepted {
				list = append(list, Delivery{Lease: m.Verdicts[i].Lease})
			}
		}
		return list, nil
	case TypeDelivered:
		var m Delivered
		err := unmarshal(c.Heard.Body, &m)
		return m.Results, err
	case TypeReveal:
		var m RevealRequest
		err := unmarshal(c.Heard.Body, &m)
		for _, l := range m.Leases {
			list = append(list, Delivery{Lease: l})
		}
		return list, err
	}
	return nil, bad(ErrType, "a %s is no word on a result", c.Heard.Head.Type)
}

// Says returns of which leases a message that was opened says something to claim by, and how much.
func (s *Spoken) Says() ([]tasks.LeaseID, Word) {
	list, err := (&Claims{Heard: *s}).said()
	if err != nil {
		return nil, 0
	}
	out := make([]tasks.LeaseID, len(list))
	for i := range list {
		out[i] = list[i].Lease
	}
	return out, s.Head.Type.Word()
}
