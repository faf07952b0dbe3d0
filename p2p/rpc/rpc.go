// Package rpc opens and serves streams under versioned protocol names, "/kith/<network>/<name>/<version>", and bounds
// what a peer can make this node spend on them.
package rpc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/multiformats/go-multistream"

	"kith/p2p"
	"kith/p2p/host"
	"kith/p2p/internal/lp"
)

// Limits bound the streams that others open to one handler. Zero means the default.
type Limits struct {
	PerPeer int  // at once from one peer; default 8
	Total   int  // at once from all; default 128
	Relayed bool // whether streams over a relay are taken and made: only for small, patient control traffic
}

// Defaults, in one table.
const (
	defaultPerPeer = 8
	defaultTotal   = 128
	openTimeout    = 20 * time.Second // dial and negotiate, when the caller's context has no earlier end
	closeTimeout   = 3 * time.Second  // for handlers to return after their context ended
)

// Proto names one protocol. Versions count from 1.
type Proto struct {
	Name    string
	Version int
	Limits  Limits
}

// Service opens and serves streams on one host. All methods are safe for concurrent use. New starts no goroutine; each
// incoming stream runs its handler in its own.
type Service struct {
	h      *host.Host
	prefix string
	log    *slog.Logger

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu       sync.Mutex
	closed   bool
	handlers map[protocol.ID]*handler

	opened, served, refused atomic.Uint64
}

type handler struct {
	limits Limits
	fn     func(context.Context, p2p.Stream)

	mu    sync.Mutex
	total int
	peers map[p2p.ID]int
}

// New returns a service without handlers.
func New(h *host.Host) *Service {
	ctx, cancel := context.WithCancel(context.Background())
	return &Service{
		h: h, prefix: "/kith/" + h.Network() + "/", log: h.Logger(),
		ctx: ctx, cancel: cancel, handlers: map[protocol.ID]*handler{},
	}
}

func (s *Service) id(p Proto) protocol.ID {
	return protocol.ID(s.prefix + p.Name + "/" + strconv.Itoa(p.Version))
}

// Handle serves p with fn, which owns the stream: whatever it leaves open is reset when it returns. Its context ends
// with the service. A stream over the limits is reset and counted, before fn sees it. Handling the same protocol twice
// replaces the handler.
func (s *Service) Handle(p Proto, fn func(context.Context, p2p.Stream)) error {
	if p.Name == "" || strings.Contains(p.Name, "/") || p.Version < 1 {
		return fmt.Errorf("protocol %q version %d: want a name without slash and a version from 1", p.Name, p.Version)
	}
	p.Limits.PerPeer = cmp.Or(p.Limits.PerPeer, defaultPerPeer)
	p.Limits.Total = cmp.Or(p.Limits.Total, defaultTotal)
	hd := &handler{limits: p.Limits, fn: fn, peers: map[p2p.ID]int{}}
	id := s.id(p)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return p2p.ErrClosed
	}
	s.handlers[id] = hd
	s.h.Libp2p().SetStreamHandler(id, func(st network.Stream) { s.serve(hd, st) })
	return nil
}

func (s *Service) serve(hd *handler, raw network.Stream) {
	st, err := wrap(raw)
	if err != nil || (st.Relayed() && !hd.limits.Relayed) || !hd.enter(st.remote) {
		s.refused.Add(1)
		_ = raw.Reset()
		return
	}
	defer hd.leave(st.remote)
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		_ = raw.Reset()
		return
	}
	s.wg.Add(1)
	s.mu.Unlock()
	defer s.wg.Done()
	s.served.Add(1)
	stop := context.AfterFunc(s.ctx, func() { _ = raw.Reset() })
	defer stop()
	defer st.release()
	hd.fn(s.ctx, st)
}

func (hd *handler) enter(id p2p.ID) bool {
	hd.mu.Lock()
	defer hd.mu.Unlock()
	if hd.total >= hd.limits.Total || hd.peers[id] >= hd.limits.PerPeer {
		return false
	}
	hd.total++
	hd.peers[id]++
	return true
}

func (hd *handler) leave(id p2p.ID) {
	hd.mu.Lock()
	defer hd.mu.Unlock()
	hd.total--
	if hd.peers[id]--; hd.peers[id] == 0 {
		delete(hd.peers, id)
	}
}

// Open opens a stream to a peer in the first of the protocols that it speaks, all of one name, best version first. It
// dials if needed, asking the host's finder when no address is known. Errors: p2p.ErrUnreachable, p2p.ErrLimited (only
// a relayed connection exists and no protocol of ps may use one), p2p.ErrUnsupported, p2p.ErrRefused.
func (s *Service) Open(ctx context.Context, to p2p.ID, ps ...Proto) (p2p.Stream, error) {
	if len(ps) == 0 {
		return nil, fmt.Errorf("open a stream to %s: no protocol named", to.Short())
	}
	if s.ctx.Err() != nil {
		return nil, p2p.ErrClosed
	}
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	ids := make([]protocol.ID, len(ps))
	for i, p := range ps {
		ids[i] = s.id(p)
		if p.Limits.Relayed {
			ctx = network.WithAllowLimitedConn(ctx, p.Name)
		}
	}
	raw, err := s.h.Libp2p().NewStream(ctx, lp.Peer(to), ids...)
	if err != nil {
		return nil, s.explain(to, ps[0].Name, ids, err)
	}
	st, err := wrap(raw)
	if err != nil {
		_ = raw.Reset()
		return nil, err
	}
	s.opened.Add(1)
	return st, nil
}

func (s *Service) explain(to p2p.ID, name string, ids []protocol.ID, err error) error {
	var unsupported multistream.ErrNotSupported[protocol.ID]
	switch {
	case errors.As(err, &unsupported):
		return fmt.Errorf("%w: %s speaks %s of %q, wanted %v", p2p.ErrUnsupported, to.Short(), s.versions(lp.Peer(to), name), name, ids)
	case errors.Is(err, network.ErrReset):
		return fmt.Errorf("%w: %s: %w", p2p.ErrRefused, to.Short(), err)
	case errors.Is(err, network.ErrLimitedConn), s.onlyRelayed(to):
		return fmt.Errorf("%w: %s: %w", p2p.ErrLimited, to.Short(), err)
	case errors.Is(err, p2p.ErrUnreachable):
		return err
	}
	return fmt.Errorf("%w: %s: %w", p2p.ErrUnreachable, to.Short(), err)
}

func (s *Service) onlyRelayed(to p2p.ID) bool {
	direct, relayed := s.h.Connected(to)
	return relayed && !direct
}

// versions names what the peer told of its protocols in words.
func (s *Service) versions(p peer.ID, name string) string {
	protos, err := s.h.Libp2p().Peerstore().GetProtocols(p)
	if err != nil {
		return "no known version"
	}
	var out []string
	for _, id := range protos {
		if v, ok := strings.CutPrefix(string(id), s.prefix+name+"/"); ok && len(v) <= 8 {
			out = append(out, v)
		}
	}
	if len(out) == 0 {
		return "no version"
	}
	slices.Sort(out)
	return "version " + strings.Join(out, ", ")
}

// Stats counts what happened since the start.
type Stats struct {
	Opened  uint64 `json:"opened"`  // streams this node opened
	Served  uint64 `json:"served"`  // streams handed to a handler
	Refused uint64 `json:"refused"` // streams over a limit, reset unseen
}

// Stats returns the counts.
func (s *Service) Stats() Stats {
	return Stats{Opened: s.opened.Load(), Served: s.served.Load(), Refused: s.refused.Load()}
}

// Close takes the handlers away, resets the streams they hold and waits for them to return, closeTimeout at most.
func (s *Service) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	for id := range s.handlers {
		s.h.Libp2p().RemoveStreamHandler(id)
	}
	s.mu.Unlock()
	s.cancel()
	done := make(chan struct{})
	go func() { s.wg.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-time.After(closeTimeout):
		return fmt.Errorf("stream handlers did not return within %s", closeTimeout)
	}
}
