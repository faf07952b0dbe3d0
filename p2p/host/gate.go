package host

import (
	"github.com/libp2p/go-libp2p/core/control"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"

	"kith/p2p"
	"kith/p2p/internal/lp"
)

// gate keeps peers out that the node does not deal with: they are not dialled, and a connection of theirs ends when the
// handshake has proven who they are, whether it is direct or through a relay. It implements libp2p's ConnectionGater.
type gate struct{ refuse func(p2p.ID) bool }

func (g gate) allows(id peer.ID) bool {
	k, err := lp.ID(id)
	return err != nil || !g.refuse(k) // whoever is no node of Kith is somebody else's concern
}

func (g gate) InterceptPeerDial(id peer.ID) bool { return g.allows(id) }

func (g gate) InterceptAddrDial(peer.ID, multiaddr.Multiaddr) bool { return true }

func (g gate) InterceptAccept(network.ConnMultiaddrs) bool { return true }

func (g gate) InterceptSecured(_ network.Direction, id peer.ID, _ network.ConnMultiaddrs) bool {
	return g.allows(id)
}

func (g gate) InterceptUpgraded(network.Conn) (bool, control.DisconnectReason) { return true, 0 }
