package p2p

import (
	"crypto/ed25519"
	"encoding/base32"
	"errors"
	"fmt"
	"log/slog"
)

// ID is a node's raw Ed25519 public key: who it is on every network. IDs are comparable and may be map keys. The zero ID
// is nobody.
type ID [ed25519.PublicKeySize]byte

// ErrID: the text is not an ID.
var ErrID = errors.New("not a node id: want 52 letters a-z2-7")

var base32Lower = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

const shortLen = 10 // letters of an id in logs and tables

// IDFromKey returns the ID of the holder of key.
func IDFromKey(key ed25519.PrivateKey) ID { return ID(key.Public().(ed25519.PublicKey)) }

// ParseID reads the text form. Exactly one text names an ID.
func ParseID(s string) (ID, error) {
	b, err := base32Lower.DecodeString(s)
	if err != nil || len(b) != len(ID{}) || base32Lower.EncodeToString(b) != s {
		return ID{}, fmt.Errorf("%w: %.80q", ErrID, s)
	}
	return ID(b), nil
}

// String returns the text form: 52 letters of lower-case base32.
func (id ID) String() string { return base32Lower.EncodeToString(id[:]) }

// Short is the form for tables and logs.
func (id ID) Short() string { return id.String()[:shortLen] }

// LogValue implements slog.LogValuer with the short form.
func (id ID) LogValue() slog.Value { return slog.StringValue(id.Short()) }

// MarshalText implements encoding.TextMarshaler.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (id *ID) UnmarshalText(b []byte) error {
	v, err := ParseID(string(b))
	if err != nil {
		return err
	}
	*id = v
	return nil
}
