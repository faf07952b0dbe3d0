// Package lp translates between Kith's plain network types and libp2p's: identities and address texts.
package lp

import (
	"crypto/ed25519"
	"errors"
	"fmt"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"kith/p2p"
)

var errNotEd25519 = errors.New("peer identity is not an Ed25519 key")

// PrivKey returns key in libp2p's form.
func PrivKey(key ed25519.PrivateKey) (crypto.PrivKey, error) {
	if len(key) != ed25519.PrivateKeySize {
		return nil, fmt.Errorf("identity key has %d bytes, want %d", len(key), ed25519.PrivateKeySize)
	}
	return crypto.UnmarshalEd25519PrivateKey(key)
}

// identityHeader precedes the 32 key bytes in a libp2p peer id: identity multihash, 36 bytes, protobuf {type Ed25519,
// data 32 bytes}.
const identityHeader = "\x00\x24\x08\x01\x12\x20"

// Peer returns id in libp2p's form.
func Peer(id p2p.ID) peer.ID { return peer.ID(identityHeader + string(id[:])) }

// ID returns p in Kith's form; peers with other kinds of keys are refused.
func ID(p peer.ID) (p2p.ID, error) {
	s := string(p)
	if len(s) != len(identityHeader)+len(p2p.ID{}) || s[:len(identityHeader)] != identityHeader {
		return p2p.ID{}, fmt.Errorf("%w: %.80s", errNotEd25519, p)
	}
	return p2p.ID([]byte(s[len(identityHeader):])), nil
}

// AddrInfo reads the text of one dialable address, which must end in /p2p/… .
func AddrInfo(addr string) (peer.AddrInfo, error) {
	ai, err := peer.AddrInfoFromString(addr)
	if err != nil {
		return peer.AddrInfo{}, fmt.Errorf("address %.200q: %w", addr, err)
	}
	if _, err := ID(ai.ID); err != nil {
		return peer.AddrInfo{}, fmt.Errorf("address %.200q: %w", addr, err)
	}
	return *ai, nil
}

// AddrInfos reads several texts and joins those of the same peer, keeping order. Unreadable ones are returned as a
// joined error beside the readable rest.
func AddrInfos(addrs []string) ([]peer.AddrInfo, error) {
	var out []peer.AddrInfo
	var errs []error
	at := map[peer.ID]int{}
	for _, a := range addrs {
		ai, err := AddrInfo(a)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if i, ok := at[ai.ID]; ok {
			out[i].Addrs = append(out[i].Addrs, ai.Addrs...)
			continue
		}
		at[ai.ID] = len(out)
		out = append(out, ai)
	}
	return out, errors.Join(errs...)
}

// Text returns the dialable text of one address of a peer.
func Text(p peer.ID, a ma.Multiaddr) string {
	if _, err := a.ValueForProtocol(ma.P_P2P); err == nil && a[len(a)-1].Protocol().Code == ma.P_P2P {
		return a.String()
	}
	return a.String() + "/p2p/" + p.String()
}
