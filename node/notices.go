package node

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"kith/node/api"
	"kith/node/owner"
	"kith/p2p"
	"kith/p2p/gossip"
	"kith/p2p/rpc"
	"kith/storage"
	"kith/tasks"
	"kith/tasks/wire"
)

// noticesProto hands out the notices a node has: who was away when one was passed on hears of it from any neighbour.
var noticesProto = rpc.Proto{Name: "notices", Version: 1, Limits: rpc.Limits{PerPeer: 2, Total: 32, Relayed: true}}

// Pace and bounds of notices.
const (
	noticesKept = 64               // the newest
	noticesFrom = 3                // neighbours are asked as soon as they are there
	noticesLook = time.Second      // between two looks for them
	noticesAsk  = 30 * time.Second // between two questions to any neighbour after that
	noticesTime = 10 * time.Second // for one question
)

var noticeKeys = []byte("notice/")

// notices keeps what the stewards of the network have ordered. A notice is acted upon once: whoever resumes after a stop is
// not stopped by the same one again.
type notices struct {
	node    *Node
	network *network
	kv      storage.KV
	topic   *gossip.Topic
	started time.Time

	mu      sync.Mutex
	held    map[[32]byte]heldNotice
	revoked map[tasks.NodeID]bool
	barred  map[tasks.JobID]tasks.Reason
}

type heldNotice struct {
	wire.Notice
	data []byte
}

func (n *Node) openNotices(l *live) (*notices, error) {
	s := &notices{
		node: n, network: l.network, kv: l.stores.kv, started: time.Now(),
		held: map[[32]byte]heldNotice{}, revoked: map[tasks.NodeID]bool{}, barred: map[tasks.JobID]tasks.Reason{},
	}
	for r, err := range s.kv.Scan(context.Background(), noticeKeys) {
		if err != nil {
			return nil, fmt.Errorf("read the notices of stewards: %w", err)
		}
		if notice, err := s.open(r.Value); err == nil { // stewards may have changed
			s.keep(sha256.Sum256(r.Value), heldNotice{notice, r.Value})
		}
	}
	return s, nil
}

// join begins to hear and serve notices.
func (s *notices) join() (err error) {
	s.topic, err = s.network.gossip.Join("notices", s.judge, func(_ p2p.ID, data []byte) { _, _ = s.take(context.Background(), data) })
	if err != nil {
		return err
	}
	return s.network.rpc.Handle(noticesProto, s.serve)
}

// shun ends the connections of revoked nodes that came before this node could refuse them.
func (s *notices) shun() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id := range s.revoked {
		_ = s.network.host.Disconnect(p2p.ID(id))
	}
}

// open checks a notice against the owner's stewards.
func (s *notices) open(data []byte) (wire.Notice, error) {
	w := s.node.orders.Load().watch
	var stewards []tasks.NodeID
	for _, text := range w.Stewards {
		var id tasks.NodeID
		if id.UnmarshalText([]byte(text)) == nil {
			stewards = append(stewards, id)
		}
	}
	return wire.OpenNotice(s.network.name, time.Now().UnixMilli(), stewards, w.Needed, data)
}

// judge passes on what this node's own stewards have signed, once.
func (s *notices) judge(_ p2p.ID, data []byte) gossip.Verdict {
	if _, err := s.open(data); err != nil {
		return gossip.Ignore // others may have other stewards
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.held[sha256.Sum256(data)]; known {
		return gossip.Ignore
	}
	return gossip.Accept
}

// take acts upon a notice, if it is valid and new. It is on disk before it is acted upon.
func (s *notices) take(ctx context.Context, data []byte) (wire.Notice, error) {
	notice, err := s.open(data)
	if err != nil {
		return notice, err
	}
	id := sha256.Sum256(data)
	s.mu.Lock()
	_, known := s.held[id]
	s.mu.Unlock()
	if known {
		return notice, nil
	}
	if err := s.kv.Set(ctx, slices.Concat(noticeKeys, id[:]), data); err != nil {
		return notice, fmt.Errorf("keep the notice: %w", err)
	}
	s.keep(id, heldNotice{notice, data})
	s.node.log.Warn("Notice of the stewards", slog.String("action", string(notice.Action)), slog.String("reason", notice.Reason.Detail))
	s.act(ctx, notice)
	return notice, nil
}

// keep remembers a notice and what lasts of it.
func (s *notices) keep(id [32]byte, h heldNotice) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held[id] = h
	switch {
	case h.Action == wire.Revoke:
		s.revoked[h.Subject] = true
	case h.Action == wire.Stop && h.Job != (tasks.JobID{}):
		s.barred[h.Job] = tasks.Because(tasks.Killed, "stopped by the stewards: %.150s", h.Reason.Detail)
	}
	for len(s.held) > noticesKept {
		oldest := id
		for k, x := range s.held {
			if x.Time < s.held[oldest].Time {
				oldest = k
			}
		}
		delete(s.held, oldest)
		_ = s.kv.Delete(context.Background(), slices.Concat(noticeKeys, oldest[:])) // it expires anyway
	}
}

// act does what a new notice orders.
func (s *notices) act(ctx context.Context, n wire.Notice) {
	l := s.node.live.Load()
	if l == nil {
		return
	}
	switch {
	case n.Action == wire.Stop && n.Job == (tasks.JobID{}):
		if err := s.node.owner.Kill(owner.ByNotice, "the stewards of the network stopped all work: "+n.Reason.Detail); err != nil {
			s.node.log.Error("A stop could not be written down; it holds until the next start", slog.Any("error", err))
		}
		l.gives.bring()
	case n.Action == wire.Stop:
		if err := l.works.driver.Drop(ctx, n.Job, s.refuses(n.Job)); err != nil {
			s.node.log.Warn("The working side did not hear of a stopped job", slog.Any("error", err))
		}
	case n.Action == wire.Revoke: // the host lets it in no more
		if err := s.network.host.Disconnect(p2p.ID(n.Subject)); err != nil {
			s.node.log.Warn("Cannot disconnect a revoked node", slog.Any("node", n.Subject), slog.Any("error", err))
		}
	}
	s.stale()
}

// refuses says why no work of a job is done, or nothing.
func (s *notices) refuses(job tasks.JobID) tasks.Reason {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.barred[job]
}

// isRevoked reports whether the stewards told everybody to deal with a node no longer.
func (s *notices) isRevoked(id tasks.NodeID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.revoked[id]
}

// newest is when the newest valid notice was signed; zero if there is none.
func (s *notices) newest() (at int64) {
	now := time.Now().UnixMilli()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range s.held {
		if h.Expiry > now {
			at = max(at, h.Time)
		}
	}
	return at
}

// stale pauses work when nothing of the stewards has come for so long as the owner allows. Any notice of theirs is a sign
// of life; a resume now and then is the one that orders nothing.
func (s *notices) stale() {
	w := s.node.orders.Load().watch
	age := time.Since(time.UnixMilli(s.newest()))
	limit := time.Duration(w.Stale)
	if len(w.Stewards) == 0 || age <= limit {
		s.node.owner.Drop(owner.ByStale)
		return
	}
	s.node.owner.Hold(owner.Why{
		Cause: owner.ByStale, Level: owner.Halted, Since: time.Now(), Text: fmt.Sprintf("no word of the stewards for %s", w.Stale), Ends: "with their next word",
	})
}

// Serve asks neighbours for notices until ctx ends.
func (s *notices) Serve(ctx context.Context) error {
	told := map[p2p.ID]bool{} // who has answered: one alone may know nothing, or have other stewards
	var next time.Time        // when anybody is asked again
	for {
		s.stale()
		peers := s.network.host.Peers()
		rand.Shuffle(len(peers), func(i, j int) { peers[i], peers[j] = peers[j], peers[i] })
		for _, p := range peers {
			due := time.Now().After(next)
			if len(s.node.orders.Load().watch.Stewards) == 0 || !due && (told[p.ID] || len(told) >= noticesFrom) {
				continue
			}
			if err := s.ask(ctx, p.ID); err != nil {
				s.node.log.Debug("A neighbour told of no notices", slog.Any("error", err))
				continue
			}
			told[p.ID] = true
			if due {
				next = time.Now().Add(noticesAsk)
			}
		}
		wait := noticesLook
		if len(told) >= noticesFrom {
			wait = max(wait, time.Until(next))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
}

// ask takes every notice that a neighbour has.
func (s *notices) ask(ctx context.Context, id p2p.ID) error {
	ctx, cancel := context.WithTimeout(ctx, noticesTime)
	defer cancel()
	st, err := s.network.rpc.Open(ctx, id, noticesProto)
	if err != nil {
		return err
	}
	defer func() { _ = st.Reset() }()
	if err := st.SetDeadline(time.Now().Add(noticesTime)); err != nil {
		return err
	}
	if err := st.CloseWrite(); err != nil {
		return err
	}
	list, err := readNotices(st)
	for _, data := range list {
		if _, err := s.take(ctx, data); err != nil {
			s.node.log.Debug("A neighbour's notice does not count here", slog.Any("error", err))
		}
	}
	return err
}

// readNotices reads notices, each with its length before it, to the end.
func readNotices(r io.Reader) (list [][]byte, err error) {
	in := bufio.NewReader(r)
	for len(list) < noticesKept {
		n, err := binary.ReadUvarint(in)
		if err == io.EOF {
			return list, nil
		}
		if err != nil || n == 0 || n > wire.MaxNotice {
			return list, fmt.Errorf("notice of %d bytes: %w", n, wire.ErrSize)
		}
		data := make([]byte, n)
		if _, err := io.ReadFull(in, data); err != nil {
			return list, fmt.Errorf("read a notice: %w", err)
		}
		list = append(list, data)
	}
	return list, nil
}

// serve hands out the notices that this node holds.
func (s *notices) serve(_ context.Context, st p2p.Stream) {
	if st.SetDeadline(time.Now().Add(noticesTime)) != nil {
		return
	}
	var out []byte
	now := time.Now().UnixMilli()
	s.mu.Lock()
	for _, h := range s.held {
		if h.Expiry > now {
			out = append(binary.AppendUvarint(out, uint64(len(h.data))), h.data...)
		}
	}
	s.mu.Unlock()
	if _, err := st.Write(out); err == nil {
		_ = st.Close()
	}
}

// Notices implements api.Notices.
func (n *Node) Notices(context.Context) ([]api.Notice, error) {
	s := n.live.Load().notices
	s.mu.Lock()
	defer s.mu.Unlock()
	out := []api.Notice{}
	for _, h := range s.held {
		out = append(out, noticeShape(h.Notice))
	}
	slices.SortFunc(out, func(a, b api.Notice) int { return int(b.At - a.At) })
	return out, nil
}

// PublishNotice implements api.Notices: it acts upon a notice here and passes it on.
func (n *Node) PublishNotice(ctx context.Context, data []byte) (api.Notice, error) {
	s := n.live.Load().notices
	notice, err := s.take(ctx, data)
	if err != nil {
		return api.Notice{}, api.Refuse(api.CodeBadRequest, "enough of the nodes in stop.stewards must sign it, of this network, before it expires", "the notice does not count: %v", err)
	}
	if err := s.topic.Publish(ctx, data); err != nil {
		return api.Notice{}, fmt.Errorf("pass the notice on: %w", err)
	}
	return noticeShape(notice), nil
}

func noticeShape(n wire.Notice) api.Notice {
	out := api.Notice{Action: string(n.Action), Reason: n.Reason.Detail, At: n.Time, Expires: n.Expiry}
	if n.Job != (tasks.JobID{}) {
		out.Job = n.Job.String()
	}
	if n.Subject != (tasks.NodeID{}) {
		out.Subject = n.Subject.String()
	}
	return out
}
