package work

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"kith/tasks"
	"kith/tasks/tokens"
	"kith/tasks/wire"
)

// Bounds of one session. What a submitter can make this node hold is at most these, times the number of sessions.
const (
	handshake   = 15 * time.Second // from dialling to a valid welcome
	writeStall  = 30 * time.Second // one write that long ends the session
	credits     = 4                // messages of one submitter that wait for the loop
	floodRate   = 5000             // messages a second of one submitter, over seconds
	floodBurst  = 10000            // and at once
	maxHeld     = wire.MaxBeats    // leases of one submitter; more go back
	window      = 200 * time.Millisecond
	maxDepth    = 128 // leases a slot may have waiting, so that tiny tasks come in batches
	firstRetry  = 500 * time.Millisecond
	lastRetry   = 30 * time.Second
	idleTries   = 6                // reconnects of a session that holds nothing
	promiseKept = 10 * time.Minute // after its lease's expiry a promise nobody asked about is dropped
)

var flood = tokens.PerSecond(floodRate, floodBurst)

// session is this node's standing with one submitter, over reconnects. The loop owns it, but for out.
type session struct {
	d         *Driver
	peer      tasks.NodeID
	addrs     []string
	job       tasks.JobID // whose offer was answered
	since     int64
	up        bool
	conn      *connection
	spoke     time.Time // when something of the submitter came last
	epoch     uint64
	token     wire.Token
	m         map[tasks.LeaseID]*held
	queue     []*held // waiting for inputs or a slot, in the order in which they came
	held      int     // leases without a commit
	asked     int     // window last asked for
	accepted  int64
	reason    *tasks.Reason
	beating   bool
	share     share
	pays      *payer
	nudge     chan struct{} // ends a wait before a reconnect
	verdicts  map[tasks.LeaseID]tasks.Outcome
	recalled  []tasks.LeaseID                     // keys of verdicts, oldest first
	made      map[tasks.LeaseID]*tasks.Assignment // accepted, until their receipts come
	signed    map[[32]byte]*wire.ReceiptAck
	recounted [][32]byte // keys of signed, oldest first

	acknowledges bool    // the submitter knows wire.Delivered
	silent       int     // results it was shown and said nothing of
	overdue      int     // of them, on which a word should have come
	heldBack     []*held // asked for and not shown: see mayShow
	shown        []*held // in this turn of the loop, until it is in the log

	mu  sync.Mutex
	out outbox
}

// outbox is what waits for the writer.
type outbox struct {
	ask      *wire.Ask
	beat     *wire.Heartbeat
	commits  []tasks.Commit
	reveals  []tasks.Reveal
	returned []wire.Returned
	acks     []*wire.ReceiptAck
	bye      *tasks.Reason
}

// connection is one stream of a session.
type connection struct {
	stream Stream
	wire   *wire.Session
	wake   chan struct{}
	ended  chan struct{}
}

func newSession(d *Driver, peer tasks.NodeID, addrs []string) *session {
	s := &session{d: d, peer: peer, addrs: addrs, since: time.Now().UnixMilli(), m: map[tasks.LeaseID]*held{}, verdicts: map[tasks.LeaseID]tasks.Outcome{}, made: map[tasks.LeaseID]*tasks.Assignment{}, signed: map[[32]byte]*wire.ReceiptAck{}, nudge: make(chan struct{}, 1)}
	s.pays = d.pays(peer)
	for i := range d.heard[peer] {
		s.remember(&d.heard[peer][i])
	}
	delete(d.heard, peer)
	return s
}

func (s *session) leases() []*held {
	list := make([]*held, 0, len(s.m))
	for _, h := range s.m {
		list = append(list, h)
	}
	slices.SortFunc(list, func(a, b *held) int { return slices.Compare(a.lease.ID[:], b.lease.ID[:]) })
	return list
}

func (s *session) pending() (n int) {
	for _, h := range s.m {
		if h.state == keeping || h.state == committed {
			n++
		}
	}
	return n
}

// poke ends a wait before the next attempt to connect.
func (s *session) poke() {
	select {
	case s.nudge <- struct{}{}:
	default:
	}
}

// run keeps the session connected as long as it is worth it.
func (s *session) run() {
	d := s.d
	wait := firstRetry
	for tries := 0; ; tries++ {
		began := time.Now()
		err := s.connect()
		if d.ctx.Err() != nil {
			return
		}
		if time.Since(began) > time.Minute {
			tries, wait = 0, firstRetry
		}
		var r tasks.Reason
		final := errors.As(err, &r) // the submitter said why
		idle, derr := ask(d.ctx, d, func() bool {
			idle := len(s.m) == 0
			if final {
				s.reason = &r
				d.why(r)
			}
			if idle && (final || tries >= idleTries) {
				d.delist(s)
			}
			return idle
		})
		if derr != nil {
			return
		}
		d.log.Debug("A session with a submitter ended", "submitter", s.peer, "error", err)
		if idle && (final || tries >= idleTries) {
			return
		}
		if wait = min(2*wait, lastRetry); final && r.RetryMillis > 0 {
			wait = min(time.Duration(r.RetryMillis)*time.Millisecond, lastRetry)
		}
		t := time.NewTimer(wait/2 + rand.N(wait/2))
		select {
		case <-t.C:
		case <-s.nudge:
			t.Stop()
		case <-d.ctx.Done():
			t.Stop()
			return
		}
	}
}

// connect opens a stream and serves it until it ends. An error that is a tasks.Reason is what the submitter said.
func (s *session) connect() error {
	d := s.d
	type opening struct {
		addrs []string
		hello *wire.Hello
	}
	o, err := ask(d.ctx, d, func() opening { return opening{s.addrs, s.hello()} })
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(d.ctx, handshake)
	defer cancel()
	stream, err := d.o.Dialer.DialSession(ctx, s.peer, o.addrs)
	if err != nil {
		return fmt.Errorf("dial: %w", err)
	}
	defer stream.Close()
	if stream.Remote() != s.peer {
		return fmt.Errorf("dialled %s, reached %s", s.peer.Short(), stream.Remote().Short())
	}
	stop := context.AfterFunc(d.ctx, func() { time.AfterFunc(partTime+time.Second/2, func() { stream.Close() }) })
	defer stop()
	c := &connection{stream: stream, wake: make(chan struct{}, 1), ended: make(chan struct{})}
	c.wire = wire.NewSession(d.o.Network, d.o.Key, s.peer, wire.NewSessionID(), wire.Worker)
	if err := stream.SetDeadline(time.Now().Add(handshake)); err != nil {
		return err
	}
	welcome, err := s.greet(c, o.hello)
	if err != nil {
		return err
	}
	if err := stream.SetDeadline(time.Time{}); err != nil {
		return err
	}
	if err := d.do(d.ctx, func() { s.welcomed(c, welcome) }); err != nil {
		return err
	}
	written := make(chan error, 1)
	go func() { written <- s.write(c) }()
	err = s.read(c)
	_ = stream.SetDeadline(time.Now().Add(time.Second)) // for a last word
	close(c.ended)
	if werr := <-written; err == nil {
		err = werr
	}
	_ = d.do(d.ctx, func() {
		if s.conn == c {
			s.conn, s.up = nil, false
		}
	})
	return err
}

// hello says what this node is, and what it holds from an earlier stream.
func (s *session) hello() *wire.Hello {
	d := s.d
	h := &wire.Hello{Network: d.o.Network, Capability: d.o.Capability(), Resume: s.token, Time: time.Now().UnixMilli()}
	if d.o.Membership != nil {
		h.Membership = d.o.Membership()
	}
	for _, l := range s.leases() {
		if len(h.Held) == wire.MaxBeats {
			break
		}
		h.Held = append(h.Held, l.lease.ID)
	}
	s.asked = s.want()
	h.Ask = *s.askFor(s.asked)
	h.Ask.Job = s.job
	return h
}

// greet says hello and hears the welcome.
func (s *session) greet(c *connection, hello *wire.Hello) (*wire.Welcome, error) {
	frame, err := c.wire.Seal(hello, time.Now().UnixMilli())
	if err != nil {
		return nil, fmt.Errorf("hello: %w", err)
	}
	if _, err := c.stream.Write(frame); err != nil {
		return nil, fmt.Errorf("hello: %w", err)
	}
	frame, err = wire.ReadFrame(c.stream, nil)
	if err != nil {
		return nil, fmt.Errorf("welcome: %w", err)
	}
	m, err := c.wire.Open(frame, time.Now().UnixMilli())
	if err != nil {
		return nil, fmt.Errorf("welcome: %w", err)
	}
	switch m := m.(type) {
	case *wire.Welcome:
		return m, nil
	case *wire.Bye:
		return nil, m.Reason
	}
	return nil, fmt.Errorf("session begins with %s", m.Type())
}

// welcomed begins a stream: leases that no longer count are dropped, promises are made again.
func (s *session) welcomed(c *connection, w *wire.Welcome) {
	d := s.d
	s.conn, s.up, s.reason = c, true, w.Reason
	s.acknowledges, s.heldBack = c.stream.Version() >= wire.SessionVersion, nil
	if w.Reason != nil {
		d.why(*w.Reason)
	}
	s.mu.Lock()
	asks := s.out.ask != nil // since the hello, perhaps
	s.out = outbox{}         // of the stream before
	s.mu.Unlock()
	if asks {
		s.tellAsk(s.want())
	}
	for _, h := range s.leases() {
		if !w.Resumed || !slices.Contains(w.Kept, h.lease.ID) {
			s.drop(h)
			continue
		}
		if h.asked = nil; h.state == committed {
			if h.shownAt != 0 {
				h.shownAt = time.Now().UnixMilli() // only now can it say anything again
			}
			s.out.commits = append(s.out.commits, h.promise.commit(d.self))
		}
	}
	if s.epoch != w.Epoch || s.token != w.Token {
		s.epoch, s.token = w.Epoch, w.Token
		d.keepSession(s)
	}
	c.poke()
	d.changed = true
	s.beat()
}

func (c *connection) poke() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// want is the window: how many leases without a commit this node takes from the submitter. Tiny tasks come many at a
// time, so that the way there and back is paid once for all.
func (s *session) want() int {
	d := s.d
	if d.paused || d.killed || s.mute() != nil {
		return 0
	}
	depth := 2
	if d.average > 0 {
		depth = int(min(max(window/d.average, 1), maxDepth-1)) + 1
	}
	share := max(1, d.o.Slots/max(1, d.connected()))
	return min(share*depth, wire.MaxSlots)
}

func (d *Driver) connected() (n int) {
	for _, s := range d.order {
		if s.up {
			n++
		}
	}
	return n
}

func (s *session) askFor(want int) *wire.Ask {
	d := s.d
	a := &wire.Ask{Load: d.load()}
	if want > 0 {
		a.Slots = max(1, want-s.held)
	}
	for _, name := range d.o.Kinds.Names() {
		if d.allowed(name) && len(a.Kinds) < wire.MaxKinds {
			a.Kinds = append(a.Kinds, name)
		}
	}
	if len(a.Kinds) == 0 { // to name none would mean all
		a.Slots, a.Kinds = 0, []string{wire.NoKind}
	}
	return a
}

// retune asks anew when the window has changed much.
func (s *session) retune() {
	if want := s.want(); want != s.asked && (want == 0 || s.asked == 0 || want >= 2*s.asked || 2*want <= s.asked) {
		s.tellAsk(want)
	}
}

func (s *session) tellAsk(want int) {
	s.asked = want
	s.mu.Lock()
	s.out.ask = s.askFor(want)
	s.mu.Unlock()
	s.send()
}

func (d *Driver) askAll() {
	for _, s := range d.order {
		s.tellAsk(s.want())
	}
	d.changed = true
}

// send wakes the writer once this turn of the loop is over.
func (s *session) send() { s.d.dirty = append(s.d.dirty, s) }

// flush hands every session's writer what this turn of the loop has for it.
func (d *Driver) flush() {
	for _, s := range d.dirty {
		if s.conn != nil {
			s.conn.poke()
		}
	}
	clear(d.dirty)
	d.dirty = d.dirty[:0]
}

// read takes messages off a stream and hands them to the loop, at most credits at a time.
func (s *session) read(c *connection) error {
	credit := make(chan struct{}, credits)
	var bucket tokens.Bucket
	var buf []byte
	for {
		frame, err := wire.ReadFrame(c.stream, buf)
		if err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return fmt.Errorf("read: %w", err)
		}
		buf = frame
		if !bucket.Take(flood, time.Now()) {
			return fmt.Errorf("submitter %s floods", s.peer.Short())
		}
		m, err := c.wire.Open(frame, time.Now().UnixMilli())
		if err != nil {
			return fmt.Errorf("read: %w", err)
		}
		var heard *said
		switch m := m.(type) {
		case *wire.Bye:
			return m.Reason
		case *wire.Verdicts, *wire.Delivered, *wire.RevealRequest: // what may have to be shown to others
			spoken, err := c.wire.Spoken(frame)
			if err != nil {
				return fmt.Errorf("read: %w", err)
			}
			heard = &said{At: time.Now().UnixMilli(), Heard: spoken}
		}
		select {
		case credit <- struct{}{}:
		case <-s.d.ctx.Done():
			continue // until the last word is said, nothing is heard any more
		}
		s.d.box.Post(func() {
			<-credit
			if s.conn == c {
				s.spoke = time.Now()
				s.hear(m, heard)
			}
		})
	}
}

// sayGoodbye tells every submitter that this node stops. Promises stay on disk.
func (d *Driver) sayGoodbye() {
	for _, s := range d.order {
		s.mu.Lock()
		s.out.bye = &tasks.Reason{Code: tasks.ShuttingDown}
		s.mu.Unlock()
		if s.conn != nil {
			s.conn.poke()
		}
	}
}
