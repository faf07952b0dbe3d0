// Package fabric makes networks for simulations: whole hosts in one process, over streams in memory or over QUIC on
// simulated packets, with latencies, loss, partitions and routers that only let answers in. It uses no clock but package
// time, so that it may live in a testing/synctest bubble.
package fabric

import (
	"crypto/ed25519"
	"errors"
	"log/slog"
	"net/netip"
	"time"

	"kith/p2p/host"
)

// Net is a network of hosts. Close it after its hosts. It is safe for concurrent use but for Host, which is called
// before traffic flows.
type Net interface {
	// Host adds a host at an address.
	Host(key ed25519.PrivateKey, at netip.Addr) (*host.Host, error)
	// Ready is called when all hosts are there.
	Ready() error
	// Changed is called when what Between and Cut say has changed.
	Changed() error
	Close() error
}

// Conditions are what the links are like. The functions are called from several goroutines.
type Conditions struct {
	Network string // name of the network
	// Between is how long a packet takes from one address to another.
	Between func(from, to netip.Addr) time.Duration
	// Cut reports whether nothing gets from one address to another. It may be nil.
	Cut func(from, to netip.Addr) bool
	// Lost draws whether a packet is lost. It may be nil, and memory never asks.
	Lost func() bool
	// Bits is how many a second go each way over a host's line; 0: a gigabit. Memory does not ask.
	Bits int
	// Closed reports whether the router of an address lets only answers in. It may be nil, and memory does not ask.
	Closed func(netip.Addr) bool
	Logger *slog.Logger // nil: none
}

func (c *Conditions) complete() error {
	if c.Between == nil || c.Network == "" {
		return errors.New("BUG: fabric.Conditions without Between or Network")
	}
	if c.Cut == nil {
		c.Cut = func(netip.Addr, netip.Addr) bool { return false }
	}
	if c.Lost == nil {
		c.Lost = func() bool { return false }
	}
	if c.Closed == nil {
		c.Closed = func(netip.Addr) bool { return false }
	}
	if c.Bits == 0 {
		c.Bits = 1e9
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}
