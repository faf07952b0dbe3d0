package gossip

import (
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
)

var _ pubsub.RawTracer = (*counters)(nil)

// DeliverMessage counts a message of another node that passed validation; a node's own ones are not traced.
func (c *counters) DeliverMessage(*pubsub.Message) { c.delivered.Add(1) }

// RejectMessage sorts a refused message by its reason.
func (c *counters) RejectMessage(_ *pubsub.Message, reason string) {
	switch reason {
	case pubsub.RejectValidationIgnored:
		c.ignored.Add(1)
	case pubsub.RejectValidationThrottled, pubsub.RejectValidationQueueFull:
		c.throttled.Add(1)
	default:
		c.rejected.Add(1)
	}
}

// The methods below count what their names say, or nothing.

func (c *counters) DuplicateMessage(*pubsub.Message)                     { c.duplicates.Add(1) }
func (c *counters) DropRPC(*pubsub.RPC, peer.ID)                         { c.unsent.Add(1) }
func (c *counters) UndeliverableMessage(*pubsub.Message)                 { c.undelivered.Add(1) }
func (c *counters) OnNewOutboundStream(peer.ID, protocol.ID)             {}
func (c *counters) OnClosedOutboundStream(peer.ID)                       {}
func (c *counters) Join(string)                                          {}
func (c *counters) Leave(string)                                         {}
func (c *counters) Graft(peer.ID, string)                                {}
func (c *counters) Prune(peer.ID, string)                                {}
func (c *counters) ValidateMessage(*pubsub.Message)                      {}
func (c *counters) ThrottlePeer(peer.ID)                                 {}
func (c *counters) RecvRPC(*pubsub.RPC)                                  {}
func (c *counters) SendRPC(*pubsub.RPC, peer.ID)                         {}
func (c *counters) SendRPCCompleted(*pubsub.RPC, peer.ID, time.Duration) {}
