package host

import (
	"kith/p2p"
	"kith/p2p/internal/lp"
)

// PeerText returns id as libp2p writes it ("12D3KooW…"), the form that addresses end in.
func PeerText(id p2p.ID) string { return lp.Peer(id).String() }
