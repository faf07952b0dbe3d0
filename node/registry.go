package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"kith/node/search"
	"kith/p2p"
	"kith/p2p/host"
	"kith/p2p/rpc"
	"kith/tasks"
	"kith/tasks/tokens"
	"kith/tasks/wire"
)

// registerProto is the stream on which two nodes tell each other who they are and what they offer.
var registerProto = rpc.Proto{Name: "register", Version: 1, Limits: rpc.Limits{PerPeer: 1, Total: 32, Relayed: true}}

// Pace and bounds of registrations.
const (
	registerTime  = 10 * time.Second // for one
	registerEvery = 5 * time.Second  // one peer may register once in so long, and a few times at once
	registerMost  = 4096             // peers remembered; they are forgotten when they leave
	registerRenew = 30 * time.Minute
)

var registerRate = tokens.Rate{Every: registerEvery, Burst: 3}

// known is what a peer has said of itself.
type known struct {
	cap       wire.Capability
	protocols []string
	at        time.Time
	bucket    tokens.Bucket // of registrations
	asked     time.Time
	told      string // this node's record as the peer was given it
}

// registry is what this node knows of the peers it is connected to, from their own signed words, and what it tells them.
type registry struct {
	network string
	self    tasks.NodeID
	log     *slog.Logger
	host    *host.Host
	rpc     *rpc.Service
	record  func() []byte // this node's own, signed
	book    *search.Book  // of those met, connected or not

	mu    sync.Mutex
	peers map[p2p.ID]*known
}

func newRegistry(w *network, self tasks.NodeID, record func() []byte) *registry {
	return &registry{network: w.name, self: self, log: w.log, host: w.host, rpc: w.rpc, record: record, book: w.book, peers: map[p2p.ID]*known{}}
}

// protocols names what this node speaks.
func (r *registry) protocols() []string {
	return []string{
		wire.ProtocolSession, wire.ProtocolSession2, wire.ProtocolRegister, wire.ProtocolCapabilities, wire.ProtocolLease, wire.ProtocolHeartbeat,
		wire.ProtocolSubmit, wire.ProtocolFetch, wire.ProtocolDeposit, wire.ProtocolSearch, wire.ProtocolInvite,
	}
}

// Serve registers with every node that this one connects to, and with all of them anew when this node's record changes,
// until ctx ends.
func (r *registry) Serve(ctx context.Context) error {
	events, stop := r.host.Watch()
	record := string(r.record())
	defer stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	places := make(chan struct{}, 8)
	meet := func(id p2p.ID) {
		select {
		case places <- struct{}{}:
			wg.Go(func() {
				defer func() { <-places }()
				if err := r.meet(ctx, id); err != nil && ctx.Err() == nil {
					r.log.Debug("A peer does not say who it is", slog.Any("peer", id), slog.Any("error", err))
				}
			})
		default: // the next look finds it
		}
	}
	look := time.NewTicker(registerEvery)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case e, ok := <-events:
			switch {
			case !ok:
				return p2p.ErrClosed
			case !e.Connected:
				r.forget(e.Peer)
			case r.mayMeet(e.Peer, record):
				meet(e.Peer)
			}
		case <-look.C:
			record = string(r.record())
			for _, p := range r.host.Peers() {
				if r.mayMeet(p.ID, record) {
					meet(p.ID)
				}
			}
		}
	}
}

// mayMeet reports whether it is this node's turn to register with a peer: it dialled and has not heard of it for long, or
// the peer has an old record of this node; and it did not try just now.
func (r *registry) mayMeet(id p2p.ID, record string) bool {
	p, ok := r.host.Peer(id)
	if !ok {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	k := r.ofLocked(id)
	if k == nil || time.Since(k.asked) < 2*registerEvery {
		return false
	}
	old := p.Direction == p2p.Outbound && time.Since(k.at) > registerRenew
	if changed := k.told != "" && k.told != record; !old && !changed {
		return false
	}
	k.asked = time.Now()
	return true
}

// ofLocked returns what is remembered of a peer, nil if there are too many.
func (r *registry) ofLocked(id p2p.ID) *known {
	k := r.peers[id]
	if k == nil && len(r.peers) < registerMost {
		k = &known{}
		r.peers[id] = k
	}
	return k
}

func (r *registry) forget(id p2p.ID) {
	if direct, relayed := r.host.Connected(id); direct || relayed {
		return // it is back already
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.peers, id)
}

// meet registers with a peer.
func (r *registry) meet(ctx context.Context, id p2p.ID) error {
	ctx, cancel := context.WithTimeout(ctx, registerTime)
	defer cancel()
	s, err := r.rpc.Open(ctx, id, registerProto)
	if err != nil {
		return err
	}
	defer s.Reset()
	now := time.Now()
	if err := s.SetDeadline(now.Add(registerTime)); err != nil {
		return err
	}
	record := r.record()
	m := wire.Register{
		Version: wire.Version, Network: r.network, Protocols: r.protocols(), Capability: record, Membership: []byte{}, Time: now.UnixMilli(),
	}
	if err := wire.WriteSingle(s, &m, now.UnixMilli()); err != nil {
		return err
	}
	var reply wire.RegisterReply
	if err := wire.ReadSingle(s, &reply, time.Now().UnixMilli()); err != nil {
		return err
	}
	if reply.Reason != nil {
		return *reply.Reason
	}
	r.tell(id, record)
	return r.learn(id, reply.Capability, reply.Protocols)
}

// handle answers a registration.
func (r *registry) handle(_ context.Context, s p2p.Stream) {
	err := r.answer(s)
	if err != nil {
		r.log.Debug("A registration was refused", slog.Any("peer", s.Remote()), slog.Any("error", err))
	}
	_ = s.Close()
}

func (r *registry) answer(s p2p.Stream) error {
	if err := s.SetDeadline(time.Now().Add(registerTime)); err != nil {
		return err
	}
	var m wire.Register
	err := wire.ReadSingle(s, &m, time.Now().UnixMilli())
	if err == nil {
		err = r.admit(s.Remote(), &m)
	}
	now := time.Now()
	reply := wire.RegisterReply{Version: wire.Version, Protocols: r.protocols(), Capability: r.record(), Time: now.UnixMilli()}
	if err != nil {
		reason := wire.ReasonOf(err)
		reply = wire.RegisterReply{Version: wire.Version, Reason: &reason, Time: now.UnixMilli()}
	}
	if werr := wire.WriteSingle(s, &reply, now.UnixMilli()); err != nil || werr != nil {
		return errors.Join(err, werr)
	}
	r.tell(s.Remote(), reply.Capability)
	return nil
}

// tell notes what a peer was told of this node.
func (r *registry) tell(id p2p.ID, record []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if k := r.ofLocked(id); k != nil {
		k.told = string(record)
	}
}

// admit checks a registration and remembers it.
func (r *registry) admit(id p2p.ID, m *wire.Register) error {
	if m.Network != r.network {
		return tasks.Because(tasks.WrongNetwork, "%.64q, this is %.64q", m.Network, r.network)
	}
	r.mu.Lock()
	k := r.ofLocked(id)
	now := time.Now()
	if k != nil {
		if k.bucket.Take(registerRate, now) {
			k.at = now
		} else {
			k = nil
		}
	}
	r.mu.Unlock()
	if k == nil {
		return tasks.Reason{Code: tasks.Busy, RetryMillis: registerEvery.Milliseconds()}
	}
	return r.learn(id, m.Capability, m.Protocols)
}

// learn remembers what a peer has said, if it is its own signed word.
func (r *registry) learn(id p2p.ID, record []byte, protocols []string) error {
	c, err := wire.OpenCapability(r.network, time.Now().UnixMilli(), record)
	if err != nil {
		return fmt.Errorf("capability: %w", err)
	}
	if c.Node != tasks.NodeID(id) {
		return tasks.Because(tasks.BadMessage, "the capability record is of another node")
	}
	r.book.Keep(c, record)
	r.mu.Lock()
	defer r.mu.Unlock()
	k := r.ofLocked(id)
	if k == nil {
		return nil
	}
	k.at = time.Now()
	if wire.Newer(&k.cap, &c) {
		return nil // an older word
	}
	k.cap, k.protocols = c, protocols
	return nil
}

// depots lists the connected peers that hold blocks for others.
func (r *registry) depots() []p2p.ID {
	now := time.Now().UnixMilli()
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []p2p.ID
	for id, k := range r.peers {
		if k.cap.Depot && k.cap.Expiry > now {
			out = append(out, id)
		}
	}
	return out
}

// isDepot reports whether a connected peer holds blocks for others.
func (r *registry) isDepot(id p2p.ID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := r.peers[id]
	return k != nil && k.cap.Depot
}
