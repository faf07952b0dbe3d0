package wire

import (
	"bytes"
	"crypto/ed25519"
	"slices"
	"time"

	"kith/tasks"
)

// Action is what a notice orders.
type Action string

// The actions of a notice.
const (
	Stop   Action = "stop"   // end every task (of Job, if it is set) at once, and stay stopped
	Resume Action = "resume" // a stop is over; each owner still decides for himself
	Revoke Action = "revoke" // no longer deal with Subject
)

// Notice is an order to the whole network, which counts only when enough of its stewards have signed it: a stop or a
// revocation. Nodes keep the list of stewards and how many it takes in their settings.
type Notice struct {
	Action  Action       `cbor:"action"`
	Subject tasks.NodeID `cbor:"subject"` // of a revocation
	Job     tasks.JobID  `cbor:"job"`     // of a stop; zero: everything
	Reason  tasks.Reason `cbor:"reason"`
	Time    int64        `cbor:"at"`  // Unix milliseconds
	Expiry  int64        `cbor:"exp"` // Unix milliseconds: not passed on afterwards
	Nonce   [16]byte     `cbor:"nonce"`
}

// Limits of a notice.
const (
	MaxNotice     = 4 << 10             // bytes with all signatures
	MaxNoticeLife = 30 * 24 * time.Hour // from Time to Expiry
	noticeDomain  = "kith/notice/1"
)

// Endorsement is one steward's signature on a notice.
type Endorsement struct {
	By  tasks.NodeID `cbor:"by"`
	Sig Signature    `cbor:"sig"`
}

// signedNotice is what travels.
type signedNotice struct {
	Version int           `cbor:"v"`
	Network string        `cbor:"net"`
	Body    []byte        `cbor:"body"`
	Sigs    []Endorsement `cbor:"sigs"` // in order of By, none twice
}

// Validate checks every bound.
func (n *Notice) Validate(now int64) error {
	c := checker{now: now}
	switch {
	case n.Action != Stop && n.Action != Resume && n.Action != Revoke:
		c.fail(ErrBounds, "notice.action is %.20q, want stop, resume or revoke", n.Action)
	case (n.Action == Revoke) != (n.Subject != tasks.NodeID{}):
		c.fail(ErrBounds, "notice.subject belongs to a revocation, and to nothing else")
	}
	c.reason(&n.Reason)
	c.past("notice.at", n.Time)
	c.life("notice", n.Time, n.Expiry, MaxNoticeLife)
	return c.result()
}

// Endorse signs a notice as one of the stewards.
func Endorse(network string, self ed25519.PrivateKey, n Notice) Endorsement {
	// Every steward signs the same text: the signer is not part of it.
	text := recordText(noticeDomain, network, tasks.NodeID{}, marshal(&n))
	return Endorsement{By: tasks.NodeID(self.Public().(ed25519.PublicKey)), Sig: Signature(ed25519.Sign(self, text))}
}

// JoinNotice puts a notice and its signatures together, in whatever order they came.
func JoinNotice(network string, n Notice, sigs []Endorsement) ([]byte, error) {
	if err := n.Validate(n.Time); err != nil {
		return nil, err
	}
	sigs = slices.Clone(sigs)
	slices.SortFunc(sigs, func(a, b Endorsement) int { return bytes.Compare(a.By[:], b.By[:]) })
	sigs = slices.CompactFunc(sigs, func(a, b Endorsement) bool { return a.By == b.By })
	if len(sigs) > MaxSigners {
		return nil, bad(ErrBounds, "%d signatures, at most %d", len(sigs), MaxSigners)
	}
	return marshal(&signedNotice{Version: Version, Network: network, Body: marshal(&n), Sigs: sigs}), nil
}

// PeekNotice reads a notice whoever signed it, for a steward who is about to sign it too. It checks the signatures, but not
// whether their makers are stewards, nor the time.
func PeekNotice(b []byte) (network string, n Notice, sigs []Endorsement, err error) {
	if len(b) > MaxNotice {
		return "", n, nil, bad(ErrSize, "notice of %d bytes, limit %d", len(b), MaxNotice)
	}
	var s signedNotice
	if err := unmarshal(b, &s); err != nil {
		return "", n, nil, err
	}
	if len(s.Sigs) > MaxSigners || len(s.Network) > MaxNetwork {
		return "", n, nil, bad(ErrBounds, "%d signatures, at most %d", len(s.Sigs), MaxSigners)
	}
	var by []tasks.NodeID
	for i := range s.Sigs {
		by = append(by, s.Sigs[i].By)
	}
	if err := unmarshal(s.Body, &n); err != nil {
		return "", Notice{}, nil, err
	}
	if n, err = OpenNotice(s.Network, n.Time, by, 1, b); err != nil {
		return "", Notice{}, nil, err
	}
	return s.Network, n, s.Sigs, nil
}

// OpenNotice checks that at least k of the stewards signed a notice. Signatures of others are refused, so that nobody
// can make a notice costly to check.
func OpenNotice(network string, now int64, stewards []tasks.NodeID, k int, b []byte) (Notice, error) {
	var n Notice
	if len(b) > MaxNotice {
		return n, bad(ErrSize, "notice of %d bytes, limit %d", len(b), MaxNotice)
	}
	var s signedNotice
	if err := unmarshal(b, &s); err != nil {
		return n, err
	}
	if s.Version != Version {
		return n, bad(ErrVersion, "%d, this node speaks %d", s.Version, Version)
	}
	if s.Network != network {
		return n, bad(ErrNetwork, "%.64q, this is %.64q", s.Network, network)
	}
	if len(s.Sigs) > MaxSigners {
		return n, bad(ErrBounds, "%d signatures, at most %d", len(s.Sigs), MaxSigners)
	}
	if k < 1 || len(s.Sigs) < k {
		return n, bad(ErrSignature, "%d signatures, want %d", len(s.Sigs), k)
	}
	text := recordText(noticeDomain, network, tasks.NodeID{}, s.Body)
	for i := range s.Sigs {
		by := s.Sigs[i].By
		switch {
		case i > 0 && bytes.Compare(s.Sigs[i-1].By[:], by[:]) >= 0:
			return n, bad(ErrBounds, "signatures are not in order")
		case !slices.Contains(stewards, by):
			return n, bad(ErrSignature, "%s is not a steward", by.Short())
		case !ed25519.Verify(by[:], text, s.Sigs[i].Sig[:]):
			return n, bad(ErrSignature, "notice by %s", by.Short())
		}
	}
	if err := unmarshal(s.Body, &n); err != nil {
		return Notice{}, err
	}
	if err := n.Validate(now); err != nil {
		return Notice{}, err
	}
	return n, nil
}
