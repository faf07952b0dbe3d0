package host

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/metrics"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"kith/p2p"
)

// counter counts stream bytes exactly and at once. libp2p's own keeps moving averages, a lookup table per peer and a
// goroutine for the whole process, which nobody here asks for.
type counter struct {
	all     counts
	byProto sync.Map // protocol.ID → *counts; only protocols this node speaks ever get here
}

type counts struct{ in, out, writes atomic.Int64 }

func (c *counts) traffic() p2p.Traffic {
	return p2p.Traffic{In: c.in.Load(), Out: c.out.Load(), Writes: c.writes.Load()}
}

func (c *counter) proto(p protocol.ID) *counts {
	if v, ok := c.byProto.Load(p); ok {
		return v.(*counts)
	}
	v, _ := c.byProto.LoadOrStore(p, new(counts))
	return v.(*counts)
}

// The methods below implement libp2p's metrics.Reporter.

func (c *counter) LogSentMessage(n int64)                                 { c.all.out.Add(n) }
func (c *counter) LogRecvMessage(n int64)                                 { c.all.in.Add(n) }
func (c *counter) LogSentMessageStream(n int64, p protocol.ID, _ peer.ID) { c.proto(p).out.Add(n) }
func (c *counter) LogRecvMessageStream(n int64, p protocol.ID, _ peer.ID) { c.proto(p).in.Add(n) }
func (c *counter) GetBandwidthForPeer(peer.ID) metrics.Stats              { return metrics.Stats{} }
func (c *counter) GetBandwidthByPeer() map[peer.ID]metrics.Stats          { return nil }
func (c *counter) GetBandwidthForProtocol(p protocol.ID) metrics.Stats    { return stats(c.proto(p)) }
func (c *counter) GetBandwidthTotals() metrics.Stats                      { return stats(&c.all) }
func (c *counter) GetBandwidthByProtocol() map[protocol.ID]metrics.Stats  { return nil }
func (c *counter) Reset()                                                 {}
func (c *counter) TrimIdle(time.Time)                                     {}
func stats(c *counts) metrics.Stats {
	return metrics.Stats{TotalIn: c.in.Load(), TotalOut: c.out.Load()}
}

// Traffic returns the stream bytes since the start, and the same by protocol id; "" stands for negotiation, which a
// wrapped host does not count.
func (h *Host) Traffic() (total p2p.Traffic, byProtocol map[string]p2p.Traffic) {
	byProtocol = map[string]p2p.Traffic{}
	if h.bytes == nil {
		return total, byProtocol
	}
	h.bytes.byProto.Range(func(p, c any) bool {
		byProtocol[string(p.(protocol.ID))] = c.(*counts).traffic()
		return true
	})
	return h.bytes.all.traffic(), byProtocol
}
