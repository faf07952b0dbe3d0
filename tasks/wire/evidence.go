package wire

import (
	"bytes"
	"crypto/sha256"

	"kith/tasks"
)

// Evidence is two heads signed by one node that cannot both be true: two different ones for the same place of one
// chain, or one that says another came before it than did. Anybody can check it; it needs no trust in who shows it.
type Evidence struct {
	Network string `cbor:"net" json:"network"`
	A       Head   `cbor:"a" json:"a"`
	B       Head   `cbor:"b" json:"b"`
}

// Culprit is the node the evidence is against. It means nothing before Verify.
func (e *Evidence) Culprit() tasks.NodeID { return e.A.Signer() }

// Verify returns nil if the evidence proves that Culprit contradicted itself.
func (e *Evidence) Verify() error {
	a, b := &e.A, &e.B
	if a.Session != b.Session || a.Worker != b.Worker || a.Submitter != b.Submitter || a.From != b.From || a.Origin != b.Origin {
		return bad(ErrBounds, "the two heads are of different chains")
	}
	first := a.Sum(e.Network)
	same := a.Seq == b.Seq && first != b.Sum(e.Network)
	next := a.Seq+1 == b.Seq && first != b.Prev
	if !same && !next {
		return bad(ErrBounds, "the two heads do not contradict each other")
	}
	if err := a.Verify(e.Network); err != nil {
		return err
	}
	return b.Verify(e.Network)
}

// Sum names the evidence, for a ban that must say what it rests on. The order of the two heads does not matter.
func (e *Evidence) Sum() Hash {
	a, b := e.A.Sum(e.Network), e.B.Sum(e.Network)
	if bytes.Compare(a[:], b[:]) > 0 {
		a, b = b, a
	}
	return sha256.Sum256(append(append(appendField(nil, "kith/evidence/1"), a[:]...), b[:]...))
}

// ConflictError says that the peer signed two things that cannot both be true, with the proof.
type ConflictError struct{ Evidence Evidence }

func (e *ConflictError) Error() string {
	return ErrConflict.Error() + ": " + e.Evidence.Culprit().Short()
}

// Unwrap gives an *Error of ErrConflict, so that every refusal can be turned into a reason in one way.
func (e *ConflictError) Unwrap() error {
	return bad(ErrConflict, "%s signed two messages %d", e.Evidence.Culprit().Short(), e.Evidence.B.Seq)
}
