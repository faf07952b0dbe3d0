package wire

import (
	"crypto/ed25519"

	"kith/tasks"
)

// record is a value signed on its own, outside any session.
type record struct {
	Version int          `cbor:"v"`
	Network string       `cbor:"net"`
	By      tasks.NodeID `cbor:"by"`
	Body    []byte       `cbor:"body"`
	Sig     Signature    `cbor:"sig"`
}

// recordText is what a record's signature covers.
func recordText(domain, network string, by tasks.NodeID, body []byte) []byte {
	b := make([]byte, 0, len(domain)+len(network)+len(body)+64)
	b = appendField(b, domain)
	b = appendField(b, network)
	b = append(b, by[:]...)
	return appendField(b, body)
}

// signRecord encodes and signs v; the whole must not be longer than limit bytes.
func signRecord(domain, network string, self ed25519.PrivateKey, v any, limit int) ([]byte, error) {
	body := marshal(v)
	r := record{Version: Version, Network: network, By: tasks.NodeID(self.Public().(ed25519.PublicKey)), Body: body}
	copy(r.Sig[:], ed25519.Sign(self, recordText(domain, network, r.By, body)))
	b := marshal(&r)
	if len(b) > limit {
		return nil, bad(ErrSize, "%T of %d bytes, limit %d", v, len(b), limit)
	}
	return b, nil
}

// openRecord checks size, version, network and signature, decodes into v and returns who signed.
func openRecord(domain, network string, b []byte, v any, limit int) (tasks.NodeID, error) {
	if len(b) > limit {
		return tasks.NodeID{}, bad(ErrSize, "%T of %d bytes, limit %d", v, len(b), limit)
	}
	var r record
	if err := unmarshal(b, &r); err != nil {
		return tasks.NodeID{}, err
	}
	if r.Version != Version {
		return tasks.NodeID{}, bad(ErrVersion, "%d, this node speaks %d", r.Version, Version)
	}
	if r.Network != network {
		return tasks.NodeID{}, bad(ErrNetwork, "%.64q, this is %.64q", r.Network, network)
	}
	if !ed25519.Verify(r.By[:], recordText(domain, network, r.By, r.Body), r.Sig[:]) {
		return tasks.NodeID{}, bad(ErrSignature, "%T by %s", v, r.By.Short())
	}
	if err := unmarshal(r.Body, v); err != nil {
		return tasks.NodeID{}, err
	}
	return r.By, nil
}
