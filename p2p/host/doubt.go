package host

import (
	"context"
	"crypto/rand"
	"io"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/p2p/protocol/ping"
	msmux "github.com/multiformats/go-multistream"
)

// doubtTime is how long an old connection has for a sign of life once a new one has come.
const doubtTime = 3 * time.Second

// doubt asks the older direct connections to a peer for a sign of life when a new one comes. A peer that was killed and
// started again leaves connections behind that look well until they time out, half a minute later, and streams opened
// over them hang. If one gives no sign, all connections to the peer are closed, the new one too: pubsub forgets what a
// peer listens to when one of several connections ends, and only a peer that connects from nothing says it again.
func (w *watchers) doubt(n network.Network, fresh network.Conn) {
	for _, c := range n.ConnsToPeer(fresh.RemotePeer()) {
		if c == fresh || c.Stat().Limited || c.Stat().Opened.After(fresh.Stat().Opened) {
			continue // a relay that cuts its connections is no sign of a restart
		}
		go func() {
			if err := signOfLife(c); err != nil {
				_ = n.ClosePeer(c.RemotePeer())
			}
		}()
	}
}

// signOfLife pings over this very connection.
func signOfLife(c network.Conn) error {
	ctx, cancel := context.WithTimeout(context.Background(), doubtTime)
	defer cancel()
	s, err := c.NewStream(network.WithAllowLimitedConn(ctx, "ping"))
	if err != nil {
		return err
	}
	defer func() { _ = s.Reset() }() // one ping is all it was for
	_ = s.SetDeadline(time.Now().Add(doubtTime))
	if err := msmux.SelectProtoOrFail(ping.ID, s); err != nil {
		return err
	}
	out, in := make([]byte, ping.PingSize), make([]byte, ping.PingSize)
	_, _ = rand.Read(out)
	if _, err := s.Write(out); err != nil {
		return err
	}
	_, err = io.ReadFull(s, in)
	return err
}
