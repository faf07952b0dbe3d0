package submit

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"sync"
	"time"

	"kith/tasks"
	"kith/tasks/job"
	"kith/tasks/match"
	"kith/tasks/tokens"
	"kith/tasks/wire"
)

// Bounds of one session. What a worker can make this node hold is at most these, times the number of sessions.
const (
	handshake   = 10 * time.Second      // from the opened stream to a valid hello
	writeStall  = 30 * time.Second      // one write that long ends the session
	silence     = 16 * time.Second      // a worker that holds leases beats every 5 s; three missed beats and it is gone
	credits     = 4                     // messages of one worker that wait for the loop
	floodRate   = 5000                  // messages a second of one worker, over seconds
	floodBurst  = 10000                 // and at once
	maxInFlight = wire.MaxBeats         // leases of one worker without a verdict
	receiptWait = 20 * time.Millisecond // until a batch of receipts is signed, unless it is full
	fullRetry   = 60 * time.Second      // when a surplus worker may ask again
	idleRetry   = 5 * time.Minute       // when a worker without work may ask again; work is pushed anyway
	declinedFor = time.Minute           // until a worker is given work again that it could not take
)

var flood = tokens.PerSecond(floodRate, floodBurst)

// peer is what the driver remembers of a worker between sessions.
type peer struct {
	id      tasks.NodeID
	group   string // network origin
	origin  string // what replicas must differ in: the provider if it is known, which has the group within it, or the group
	account string
	equals  []string // equivalence classes of its floats, "kind:class", by its own word
}

// session is one connected worker. The loop owns it, but for out.
type session struct {
	d        *Driver
	peer     *peer
	stream   Stream
	wire     *wire.Session
	cap      wire.Capability
	kinds    []string // its owner allows
	epoch    uint64
	since    int64
	heard    int64 // last message, Unix milliseconds
	window   int   // leases without a commit it takes
	load     int
	relayed  bool
	addr     netip.Addr // of a direct connection
	rtt      int64      // milliseconds; 0: unknown
	given    int64      // leases in this session
	grants   *grants
	stray    int
	receipt  []tasks.Receipt
	dueAt    int64    // when receipt must go
	unsigned []*batch // sent and not countersigned
	having   []having // results that may have to be acknowledged, oldest first
	fit      map[*running]bool
	declined map[*running]int64 // until when it gets nothing of a job that it could not take
	gone     bool
	dirty    bool // out has something
	unheard  bool // it does not answer: see Unheard
	farewell bool // it has said goodbye; the reader's until it has ended
	bringing int  // checkpoints of it on their way to the store
	parted   bool // it has ended, and the jobs have yet to hear of it

	mu    sync.Mutex
	out   outbox
	wake  chan struct{}
	ended chan struct{} // closed when nothing more is read
}

// outbox is what waits for the writer: at most what the session's leases allow.
type outbox struct {
	welcome *wire.Welcome
	leases  []tasks.Lease
	reveal  []tasks.LeaseID
	// delivered is what is acknowledged before its verdict.
	delivered []wire.Delivery
	verdicts  []tasks.Verdict
	cancel    []job.Asked
	receipts  []*batch
	nowork    *tasks.Reason
	bye       *tasks.Reason
}

func (s *session) room() int {
	if s.window == 0 || s.unheard {
		return 0
	}
	return min(s.window-s.grants.held, maxInFlight-len(s.grants.m))
}

// slots is how many tasks the worker runs at once, as it says.
func (s *session) slots() int { return max(1, s.cap.Slots) }

// HandleSession serves one stream that a worker opened, until it ends, and closes it. The error says why it ended; nil
// means that the worker said goodbye.
func (d *Driver) HandleSession(ctx context.Context, stream Stream) error {
	defer stream.Close()
	stop := context.AfterFunc(ctx, func() { stream.Close() })
	defer stop()
	if err := stream.SetDeadline(time.Now().Add(handshake)); err != nil {
		return err
	}
	s, hello, err := d.greet(stream)
	if err != nil {
		return err
	}
	if err := stream.SetDeadline(time.Time{}); err != nil {
		return err
	}
	// Not under ctx: once it may have joined, the session must leave.
	refused, err := ask(context.WithoutCancel(ctx), d, func() *tasks.Reason { return d.join(s, hello) })
	if err != nil {
		return err
	}
	if refused != nil {
		s.sayBye(*refused)
		return *refused
	}
	defer d.work.Done()
	written := make(chan error, 1)
	go func() { written <- s.write() }()
	err = s.read()
	_ = stream.SetDeadline(time.Now().Add(time.Second)) // for a last word
	close(s.ended)
	if werr := <-written; err == nil {
		err = werr
	}
	d.box.Post(func() { d.leave(s) })
	return err
}

// greet reads and checks the worker's hello.
func (d *Driver) greet(stream Stream) (*session, *wire.Hello, error) {
	frame, err := wire.ReadFrame(stream, nil)
	if err != nil {
		return nil, nil, fmt.Errorf("hello: %w", err)
	}
	id, err := wire.PeekSession(frame)
	if err != nil {
		return nil, nil, fmt.Errorf("hello: %w", err)
	}
	now := time.Now().UnixMilli()
	s := &session{d: d, stream: stream, since: now, heard: now, wake: make(chan struct{}, 1), ended: make(chan struct{})}
	s.wire = wire.NewSession(d.o.Network, d.o.Key, stream.Remote(), id, wire.Submitter)
	m, err := s.wire.Open(frame, now)
	if err != nil {
		s.refuse(err)
		return nil, nil, fmt.Errorf("hello: %w", err)
	}
	hello, ok := m.(*wire.Hello)
	if !ok {
		return nil, nil, fmt.Errorf("session begins with %s", m.Type())
	}
	s.cap, err = wire.OpenCapability(d.o.Network, now, hello.Capability)
	if err == nil && s.cap.Node != stream.Remote() {
		err = tasks.Because(tasks.BadMessage, "the capability record is of another node")
	}
	if err != nil {
		s.refuse(err)
		return nil, nil, fmt.Errorf("capability: %w", err)
	}
	s.kinds = s.cap.Kinds
	s.allows(hello.Ask.Kinds)
	profile := match.WAN
	if d.o.LAN {
		profile = match.LAN
	}
	remote := stream.Remote()
	s.relayed, s.rtt = stream.Relayed(), d.rtt(remote)
	if !s.relayed {
		s.addr = stream.RemoteAddr()
	}
	s.peer = &peer{id: remote, equals: s.cap.Equals, group: match.Group(profile, stream.RemoteAddr(), s.relayed, remote.String())}
	s.peer.origin = s.peer.group
	if d.o.Provider != nil && !s.relayed && s.peer.group != "" {
		if as := d.o.Provider(s.addr); as != 0 {
			s.peer.origin = match.Provider(as)
		}
	}
	subject := ""
	if d.o.Vet != nil {
		var refused *tasks.Reason
		if subject, refused = d.o.Vet(remote, hello.Membership); refused != nil {
			s.sayBye(*refused)
			return nil, nil, *refused
		}
	}
	s.peer.account = match.Account(subject, remote, s.peer.group)
	return s, hello, nil
}

// rtt asks how far a worker is, in milliseconds.
func (d *Driver) rtt(worker tasks.NodeID) int64 {
	if d.o.RTT == nil {
		return 0
	}
	return d.o.RTT(worker).Milliseconds()
}

// refuse tells a peer that has no session yet what was wrong.
func (s *session) refuse(err error) { s.sayBye(wire.ReasonOf(err)) }

// sayBye is the only message of a refused session. Nobody waits for it to arrive.
func (s *session) sayBye(r tasks.Reason) {
	if frame, err := s.wire.Seal(&wire.Bye{Reason: clipReason(r)}, time.Now().UnixMilli()); err == nil {
		_ = s.stream.SetDeadline(time.Now().Add(time.Second))
		_, _ = s.stream.Write(frame)
	}
}

// token makes the resume token of a worker's session: whoever holds it had that session, and its leases count on. It
// is derived from this node's key, so that it outlives a restart.
func (d *Driver) token(worker tasks.NodeID, epoch uint64) (t wire.Token) {
	m := hmac.New(sha256.New, d.tokenSeed[:])
	binary.BigEndian.PutUint64(t[:8], epoch)
	m.Write(worker[:])
	m.Write(t[:8])
	copy(t[8:], m.Sum(nil))
	return t
}

// join puts a session on the list, or says why not. It runs in the loop.
func (d *Driver) join(s *session, hello *wire.Hello) *tasks.Reason {
	id := s.peer.id
	if d.trust.Banned(id, s.since) {
		return &tasks.Reason{Code: tasks.Banned}
	}
	old := d.sessions[id]
	if old == nil && len(d.sessions) >= d.o.MaxSessions {
		return &tasks.Reason{Code: tasks.Filled, RetryMillis: fullRetry.Milliseconds()}
	}
	if old != nil {
		d.drop(old)
	}
	epoch := binary.BigEndian.Uint64(hello.Resume[:8])
	token := d.token(id, epoch)
	resumed := subtle.ConstantTimeCompare(hello.Resume[:], token[:]) == 1
	if !resumed {
		epoch = uint64(s.since)
		token = d.token(id, epoch)
	}
	s.epoch = epoch
	s.grants = newGrants(s.peer.id)
	kept := append(d.keep(s, hello.Held, resumed), d.settleUp(s, hello.Held)...)
	d.sessions[id], d.peers[id] = s, s.peer
	d.served.Lock()
	d.grantsB[id] = s.grants
	d.served.Unlock()
	now := time.Now().UnixMilli()
	for _, j := range slices.Clone(d.active) {
		if j.state.Knows(id) && j.state.Place(id) != d.placeOf(j, s.peer) {
			d.place(j, s.peer, now)
		}
		d.step(j, job.SessionUp{Worker: id}, now)
	}
	d.ask(s, &hello.Ask)
	w := &wire.Welcome{Session: s.wire.ID(), Epoch: epoch, Token: token, Resumed: resumed, Kept: kept, Time: now}
	w.Reason = d.whyNothing(s)
	if w.Reason != nil && w.Reason.Code == tasks.Filled {
		delete(d.sessions, id)
		d.forgetSession(s)
		d.reclaim(s)
		return w.Reason
	}
	d.work.Add(1) // HandleSession calls Done
	s.out.welcome = w
	s.dirty = true
	d.hungry = true
	d.log.Debug("A worker has joined", "worker", id, "resumed", resumed, "kept", len(kept), "group", s.peer.group)
	return nil
}

// keep compares what a worker still holds with what it was given. What it no longer holds has lapsed.
func (d *Driver) keep(s *session, held []tasks.LeaseID, resumed bool) []tasks.LeaseID {
	var kept []tasks.LeaseID
	now := time.Now().UnixMilli()
	for _, j := range slices.Clone(d.active) {
		for _, l := range j.state.Leases(s.peer.id) {
			if !resumed || !slices.Contains(held, l.Lease) {
				d.step(j, job.Forgotten{Worker: s.peer.id, Lease: l.Lease}, now)
				continue
			}
			kept = append(kept, l.Lease)
			s.grants.add(l.Lease, &grant{
				job: j.id, ref: l.Task, salt: salt(j.state.Secret(), l.Lease), committed: l.Committed,
				inputs: j.state.Inputs(l.Task), public: isPublic(j.state.Job().Spec.Sensitivity), point: l.From,
			})
		}
	}
	return kept
}

// leave ends a session after its stream has.
func (d *Driver) leave(s *session) {
	if s.gone {
		return
	}
	d.drop(s)
	if s.bringing > 0 { // what it left comes first: else others begin anew
		s.parted = true
		return
	}
	d.parts(s)
}

// parts tells the jobs of the end of a session.
func (d *Driver) parts(s *session) {
	d.miss(s, !s.relayed || s.farewell) // a relay cuts every circuit sooner or later; what was direct does not end by itself
	if len(d.peers) > 2*d.o.MaxSessions {
		d.prunePeers()
	}
}

// miss tells the jobs that a worker cannot be talked to; lost is job.SessionDown's.
func (d *Driver) miss(s *session, lost bool) {
	now := time.Now().UnixMilli()
	for _, j := range slices.Clone(d.active) {
		d.step(j, job.SessionDown{Worker: s.peer.id, Lost: lost}, now)
		j.hurry(s.peer.id)
		if j.offerAt != 0 { // look whether another worker is wanted now
			j.offerAt = now
			d.due(now)
		}
	}
	d.hungry = true
}

// hears notes that something of a worker has come.
func (d *Driver) hears(s *session) {
	s.heard = time.Now().UnixMilli()
	if !s.unheard {
		return
	}
	s.unheard, d.hungry = false, true
	for _, j := range slices.Clone(d.active) {
		d.step(j, job.SessionUp{Worker: s.peer.id}, s.heard)
	}
}

// Quiet returns the workers that have something of ours and have said nothing for so long.
func (d *Driver) Quiet(ctx context.Context, long time.Duration) ([]tasks.NodeID, error) {
	return ask(ctx, d, func() (list []tasks.NodeID) {
		for id, s := range d.sessions {
			if len(s.grants.m) > 0 && time.Since(time.UnixMilli(s.heard)) >= long {
				list = append(list, id)
			}
		}
		return list
	})
}

// Unheard says that a worker does not answer, though its connection stands. Until it says something it gets nothing more,
// and what it has may be given to others; it counts still if it comes in time.
func (d *Driver) Unheard(worker tasks.NodeID) {
	d.box.Post(func() {
		if s := d.sessions[worker]; s != nil && !s.unheard {
			d.log.Info("A worker does not answer; others may have its tasks", "worker", worker)
			s.unheard = true
			d.miss(s, true)
		}
	})
}

// drop takes a session off the list and closes it. Its leases stay.
func (d *Driver) drop(s *session) {
	if d.sessions[s.peer.id] == s {
		delete(d.sessions, s.peer.id)
	}
	d.flushReceipts(s)
	d.reclaim(s)
	d.forgetSession(s)
	s.stream.Close()
}

func (d *Driver) forgetSession(s *session) {
	s.gone = true
	d.served.Lock()
	if d.grantsB[s.peer.id] == s.grants {
		delete(d.grantsB, s.peer.id)
	}
	d.served.Unlock()
}

func (d *Driver) closeSessions() {
	for _, s := range d.sessions {
		d.forgetSession(s)
		s.stream.Close()
	}
}

// sessionClocks ends sessions that fell silent and sends receipts that have waited.
func (d *Driver) sessionClocks(s *session, now int64) {
	if s.dueAt != 0 {
		if s.dueAt <= now {
			d.flushReceipts(s)
		} else {
			d.due(s.dueAt)
		}
	}
	d.acknowledge(s, now, false)
	if s.grants.held == 0 {
		return
	}
	if end := s.heard + silence.Milliseconds(); end <= now {
		d.log.Info("A worker fell silent", "worker", s.peer.id)
		s.stream.Close() // read returns, and leave follows
		s.heard = now
	} else {
		d.due(end)
	}
}

// read takes messages off the stream and hands them to the loop, at most credits at a time.
func (s *session) read() error {
	credit := make(chan struct{}, credits)
	var bucket tokens.Bucket
	var buf []byte
	for {
		frame, err := wire.ReadFrame(s.stream, buf)
		if err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return fmt.Errorf("read: %w", err)
		}
		buf = frame
		if !bucket.Take(flood, time.Now()) {
			s.end(tasks.Because(tasks.BadMessage, "more than %d messages a second", floodRate))
			return fmt.Errorf("worker %s floods", s.peer.id.Short())
		}
		m, err := s.wire.Open(frame, time.Now().UnixMilli())
		if err != nil {
			var conflict *wire.ConflictError
			if errors.As(err, &conflict) {
				s.d.box.Post(func() { s.d.proof(conflict.Evidence) })
			}
			var we *wire.Error
			if errors.As(err, &we) {
				s.end(we.Reason())
			}
			return fmt.Errorf("read: %w", err)
		}
		if bye, ok := m.(*wire.Bye); ok {
			s.d.log.Debug("A worker says goodbye", "worker", s.peer.id, "reason", string(bye.Reason.Code))
			s.farewell = true
			return nil
		}
		handle := s.prepare(m)
		select {
		case credit <- struct{}{}:
		case <-s.d.ctx.Done():
			return nil
		}
		s.d.box.Post(func() {
			<-credit
			if !s.gone {
				s.d.hears(s)
				handle()
			}
		})
	}
}

// prepare does what can be done outside the loop, and returns the rest.
func (s *session) prepare(m wire.Message) func() {
	d := s.d
	switch m := m.(type) {
	case *wire.Ask:
		rtt := d.rtt(s.stream.Remote())
		return func() { d.ask(s, m); s.rtt = rtt; d.hungry = true }
	case *wire.Heartbeat:
		return func() { d.heartbeat(s, m) }
	case *wire.Commits:
		return func() { d.commits(s, m) }
	case *wire.Reveals:
		list := make([]revealed, len(m.Reveals))
		for i := range m.Reveals {
			list[i] = s.examine(&m.Reveals[i])
		}
		return func() { d.reveals(s, list) }
	case *wire.Returned:
		return d.point(s, m)
	case *wire.ReceiptAck:
		return func() { d.acked(s, m) }
	default: // a second hello cannot get past wire.Session
		return func() { d.dropped.Add(1) }
	}
}
