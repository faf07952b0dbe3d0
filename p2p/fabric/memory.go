package fabric

import (
	"crypto/ed25519"
	"fmt"
	"net/netip"
	"sync"

	"github.com/libp2p/go-libp2p/core/peer"
	mocknet "github.com/libp2p/go-libp2p/p2p/net/mock"
	ma "github.com/multiformats/go-multiaddr"

	"kith/p2p/host"
	"kith/p2p/internal/lp"
)

// Memory is a network of streams in memory: no handshakes, no packets, no loss, but whole hosts by the thousand.
type Memory struct {
	c   Conditions
	net mocknet.Mocknet

	mu    sync.Mutex
	ids   []peer.ID
	at    []netip.Addr
	there map[[2]int]bool // pairs that are linked
}

// NewMemory makes an empty network.
func NewMemory(c Conditions) (*Memory, error) {
	if err := c.complete(); err != nil {
		return nil, err
	}
	return &Memory{c: c, net: mocknet.New(), there: map[[2]int]bool{}}, nil
}

// Host implements Net.
func (m *Memory) Host(key ed25519.PrivateKey, at netip.Addr) (*host.Host, error) {
	k, err := lp.PrivKey(key)
	if err != nil {
		return nil, err
	}
	raw, err := m.net.AddPeer(k, ma.StringCast(fmt.Sprintf("/ip4/%s/tcp/4001", at)))
	if err != nil {
		return nil, fmt.Errorf("add a host in memory: %w", err)
	}
	m.mu.Lock()
	m.ids, m.at = append(m.ids, raw.ID()), append(m.at, at)
	m.mu.Unlock()
	return host.Wrap(raw, m.c.Network, host.LAN, m.c.Logger)
}

// Ready implements Net: every pair that is not cut gets its link.
func (m *Memory) Ready() error { return m.Changed() }

// Changed implements Net. It costs time in the number of pairs.
func (m *Memory) Changed() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.ids {
		for j := range i {
			pair := [2]int{i, j}
			cut := m.c.Cut(m.at[i], m.at[j])
			switch {
			case cut && m.there[pair]:
				if err := m.net.DisconnectPeers(m.ids[i], m.ids[j]); err != nil {
					return err
				}
				if err := m.net.UnlinkPeers(m.ids[i], m.ids[j]); err != nil {
					return err
				}
				delete(m.there, pair)
			case !cut && !m.there[pair]:
				l, err := m.net.LinkPeers(m.ids[i], m.ids[j])
				if err != nil {
					return err
				}
				l.SetOptions(mocknet.LinkOptions{Latency: m.c.Between(m.at[i], m.at[j])})
				m.there[pair] = true
			}
		}
	}
	return nil
}

// Close implements Net.
func (m *Memory) Close() error { return m.net.Close() }
