package wire

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"kith/storage/dag"
	"kith/tasks"
)

// forge signs any body at all as the next message of s, past every check of Seal.
func forge(s *Session, typ Type, body []byte, change func(h *Head, e *envelope)) []byte {
	h := s.head(s.role)
	h.Origin, h.Type, h.Seq, h.Prev, h.Body = s.sent.Origin, typ, s.sent.Seq, s.sent.Prev, sha256.Sum256(body)
	e := envelope{Version: Version, Type: typ, Seq: h.Seq, Prev: h.Prev, Body: body}
	if change != nil {
		change(&h, &e)
	}
	e.Sig = signHead(s, &h)
	return e.frame()[frameHead:]
}

// TestBadEnvelopes sends a worker everything that must be refused, and then something good: a refusal leaves the
// session where it stood.
func TestBadEnvelopes(t *testing.T) {
	nowork := must(dag.Marshal(&NoWork{Reason: tasks.Because(tasks.Filled, "")}))
	other := must(dag.Marshal(&Bye{Reason: tasks.Because(tasks.Busy, "")}))
	good := func(s *Session) []byte { return forge(s, TypeNoWork, nowork, nil) }
	for _, c := range []struct {
		name string
		make func(t *testing.T, s *Session) []byte
		want error
		code tasks.Code
	}{
		{"nothing", func(*testing.T, *Session) []byte { return nil }, ErrEncoding, tasks.BadMessage},
		{"truncated", func(_ *testing.T, s *Session) []byte { f := good(s); return f[:len(f)-1] }, ErrEncoding, tasks.BadMessage},
		{"trailing", func(_ *testing.T, s *Session) []byte { return append(good(s), 0) }, ErrEncoding, tasks.BadMessage},
		{"oversized", func(*testing.T, *Session) []byte { return make([]byte, MaxFrame+1) }, ErrSize, tasks.BadMessage},
		{"body over its limit", func(_ *testing.T, s *Session) []byte { return forge(s, TypeNoWork, make([]byte, 1<<10+1), nil) }, ErrSize, tasks.BadMessage},
		{"other version", func(_ *testing.T, s *Session) []byte {
			return forge(s, TypeNoWork, nowork, func(_ *Head, e *envelope) { e.Version = 2 })
		}, ErrVersion, tasks.WrongVersion},
		{"unknown type", func(_ *testing.T, s *Session) []byte { return forge(s, "surprise", nowork, nil) }, ErrType, tasks.WrongVersion},
		{"type of the other end", func(_ *testing.T, s *Session) []byte { return forge(s, TypeAsk, nowork, nil) }, ErrType, tasks.WrongVersion},
		{"second welcome", func(_ *testing.T, s *Session) []byte {
			return forge(s, TypeWelcome, must(dag.Marshal(&Welcome{Session: s.id, Time: testNow})), nil)
		}, ErrType, tasks.WrongVersion},
		{"body changed", func(_ *testing.T, s *Session) []byte {
			return forge(s, TypeNoWork, nowork, func(_ *Head, e *envelope) { e.Body = other })
		}, ErrSignature, tasks.BadMessage},
		{"type changed", func(_ *testing.T, s *Session) []byte {
			return forge(s, TypeNoWork, nowork, func(_ *Head, e *envelope) { e.Type = TypeBye })
		}, ErrSignature, tasks.BadMessage},
		{"wrong signer", func(_ *testing.T, s *Session) []byte {
			f := *key3(s)
			return good(&f)
		}, ErrSignature, tasks.BadMessage},
		{"of another network", func(_ *testing.T, s *Session) []byte {
			f := Session{network: "elsewhere", self: s.self, peer: s.peer, role: s.role, id: s.id, me: s.me, sent: s.sent}
			return good(&f)
		}, ErrSignature, tasks.BadMessage},
		{"of another session", func(_ *testing.T, s *Session) []byte {
			f := Session{network: s.network, self: s.self, peer: s.peer, role: s.role, id: SessionID{1}, me: s.me, sent: s.sent}
			return good(&f)
		}, ErrSignature, tasks.BadMessage},
		{"sent back to its sender", func(t *testing.T, s *Session) []byte {
			f := *s2(t, s)
			return forge(&f, TypeBye, other, nil)
		}, ErrSignature, tasks.BadMessage},
		{"seq too high", func(_ *testing.T, s *Session) []byte {
			return forge(s, TypeNoWork, nowork, func(h *Head, e *envelope) { h.Seq, e.Seq = 9, 9 })
		}, ErrSequence, tasks.BadMessage},
		{"other number than signed", func(_ *testing.T, s *Session) []byte {
			return forge(s, TypeNoWork, nowork, func(_ *Head, e *envelope) { e.Seq++ })
		}, ErrSignature, tasks.BadMessage},
		{"wrong prev", func(_ *testing.T, s *Session) []byte {
			return forge(s, TypeNoWork, nowork, func(h *Head, e *envelope) { h.Prev[0]++; e.Prev = h.Prev })
		}, ErrConflict, tasks.Banned},
		{"another message 0", func(_ *testing.T, s *Session) []byte {
			return forge(s, TypeNoWork, nowork, func(h *Head, e *envelope) { h.Seq, e.Seq, h.Prev, e.Prev = 0, 0, h.Origin, h.Origin })
		}, ErrConflict, tasks.Banned},
		{"unknown field", func(_ *testing.T, s *Session) []byte {
			return forge(s, TypeNoWork, must(dag.Marshal(map[string]any{"reason": tasks.Because(tasks.Filled, ""), "x": 1})), nil)
		}, ErrEncoding, tasks.BadMessage},
		{"missing field", func(_ *testing.T, s *Session) []byte { return forge(s, TypeNoWork, []byte{0xa0}, nil) }, ErrEncoding, tasks.BadMessage},
		{"null body", func(_ *testing.T, s *Session) []byte { return forge(s, TypeNoWork, []byte{0xf6}, nil) }, ErrEncoding, tasks.BadMessage},
		{"body of another type", func(_ *testing.T, s *Session) []byte { return forge(s, TypeVerdicts, nowork, nil) }, ErrEncoding, tasks.BadMessage},
		{"from the future", func(_ *testing.T, s *Session) []byte {
			m := sampleLeases(1)
			m.Leases[0].Granted += MaxSkew.Milliseconds() + 1
			return forge(s, TypeLeases, must(dag.Marshal(m)), nil)
		}, ErrTime, tasks.ClockSkew},
		{"from the past", func(_ *testing.T, s *Session) []byte {
			m := sampleLeases(1)
			m.Leases[0].Granted -= MaxSkew.Milliseconds() + 1
			return forge(s, TypeLeases, must(dag.Marshal(m)), nil)
		}, ErrTime, tasks.ClockSkew},
		{"lease for another", func(_ *testing.T, s *Session) []byte {
			m := sampleLeases(1)
			l := &m.Leases[0]
			l.Worker = id(key(3))
			l.ID = tasks.NewLeaseID(l.Do.Job, l.Do.Task, l.Attempt, l.Worker, l.Epoch, l.Expiry)
			return forge(s, TypeLeases, must(dag.Marshal(m)), nil)
		}, ErrBounds, tasks.BadMessage},
		{"receipts with another's signature", func(_ *testing.T, s *Session) []byte {
			b := sampleBatch()
			return forge(s, TypeReceipts, must(dag.Marshal(&Receipts{Receipts: b.Receipts, Root: b.Root, Sig: b.Countered})), nil)
		}, ErrSignature, tasks.BadMessage},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, s := started(t)
			m, err := w.Open(c.make(t, s), testNow)
			if !errors.Is(err, c.want) || m != nil {
				t.Fatalf("%v, want %v", err, c.want)
			}
			var e *Error
			if !errors.As(err, &e) || e.Code != c.code || e.Reason().Code != c.code || len(e.Reason().Detail) > MaxDetail {
				t.Errorf("refused as %+v, want code %s", e, c.code)
			}
			if _, err := w.Open(good(s), testNow); err != nil {
				t.Errorf("the next good message: %v", err)
			}
		})
	}
}

// key3 is s with a stranger's key.
func key3(s *Session) *Session {
	return &Session{network: s.network, self: key(3), peer: s.peer, role: s.role, id: s.id, me: s.me, sent: s.sent}
}

// s2 is the worker of s, signing as if it were the submitter.
func s2(t *testing.T, s *Session) *Session {
	t.Helper()
	return &Session{network: s.network, self: key(1), peer: s.peer, role: s.role, id: s.id, me: s.me, sent: s.sent}
}

func TestReplay(t *testing.T) {
	w, s := started(t)
	f := must(s.Seal(&NoWork{Reason: tasks.Because(tasks.Filled, "")}, testNow))[frameHead:]
	if _, err := w.Open(f, testNow); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Open(f, testNow); !errors.Is(err, ErrReplay) {
		t.Errorf("same message again: %v", err)
	}
	for range keepHeads + 1 {
		pass(t, s, w, &NoWork{Reason: tasks.Because(tasks.Filled, "")})
	}
	if _, err := w.Open(f, testNow); !errors.Is(err, ErrReplay) {
		t.Errorf("same message, long ago: %v", err)
	}
}

// TestSessionsApart replays one session's messages into another of the same two nodes.
func TestSessionsApart(t *testing.T) {
	w, s := started(t)
	f := must(s.Seal(&Bye{Reason: tasks.Because(tasks.Busy, "")}, testNow))[frameHead:]
	w2 := NewSession(testNet, key(1), id(key(2)), NewSessionID(), Worker)
	if _, err := w2.Open(f, testNow); !errors.Is(err, ErrSignature) {
		t.Error(err)
	}
	if _, err := w.Open(f, testNow); err != nil {
		t.Error(err)
	}
}

func TestFirstMessages(t *testing.T) {
	w, s := pair()
	if _, err := s.Open(forge(w, TypeAsk, must(dag.Marshal(&Ask{})), nil), testNow); !errors.Is(err, ErrType) {
		t.Errorf("ask before hello: %v", err)
	}
	bad := NewSession("elsewhere", key(1), id(key(2)), w.ID(), Worker)
	f := must(bad.Seal(&Hello{Network: "elsewhere", Time: testNow}, testNow))[frameHead:]
	var e *Error
	if _, err := s.Open(f, testNow); !errors.As(err, &e) || e.Code != tasks.WrongNetwork {
		t.Errorf("hello of another network: %v", err)
	}
	f = forge(w, TypeHello, must(dag.Marshal(&Hello{Network: "elsewhere", Time: testNow})), nil)
	if _, err := s.Open(f, testNow); !errors.Is(err, ErrNetwork) {
		t.Errorf("hello that names another network: %v", err)
	}
	f = must(w.Seal(&Hello{Network: testNet, Time: testNow}, testNow))[frameHead:]
	if _, err := s.Open(f, testNow+MaxSkew.Milliseconds()+1); !errors.Is(err, ErrTime) {
		t.Errorf("hello with a wrong clock: %v", err)
	}
	if got, err := PeekSession(f); err != nil || got != w.ID() {
		t.Errorf("peek: %x %v", got, err)
	}
	f = must(w.Seal(&Ask{}, testNow))[frameHead:]
	if _, err := PeekSession(f); !errors.Is(err, ErrType) {
		t.Errorf("peek at an ask: %v", err)
	}
	// A session that begins with a goodbye: a refusal before any welcome.
	w, s = pair()
	pass(t, w, s, &Hello{Network: testNet, Time: testNow})
	pass(t, s, w, &Bye{Reason: tasks.Because(tasks.Banned, "")})
}

// TestSealRefuses: what the other end would refuse is never sent, and the chain does not move.
func TestSealRefuses(t *testing.T) {
	w, s := started(t)
	for name, c := range map[string]struct {
		s    *Session
		m    Message
		want error
	}{
		"wrong end":     {w, &NoWork{Reason: tasks.Because(tasks.Filled, "")}, ErrType},
		"out of bounds": {w, &Ask{Slots: -1}, ErrBounds},
		"too large":     {s, hugeLeases(), ErrSize},
	} {
		before := c.s.State()
		if _, err := c.s.Seal(c.m, testNow); !errors.Is(err, c.want) || c.s.State() != before {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// hugeLeases is within every bound but that of the frame.
func hugeLeases() *Leases {
	m := sampleLeases(8)
	for i := range m.Leases {
		a := &m.Leases[i].Do
		a.Inputs, a.Keys, m.Leases[i].Depot = make([]dag.CID, MaxInputs), nil, nil
		for j := range a.Inputs {
			a.Inputs[j] = dag.Sum(dag.Raw, dag.SHA256, []byte{1})
		}
	}
	return m
}

func TestEvidence(t *testing.T) {
	e := sampleEvidence(t)
	if err := e.Verify(); err != nil || e.Culprit() != id(key(2)) {
		t.Fatal(err)
	}
	if swapped := (Evidence{Network: e.Network, A: e.B, B: e.A}); swapped.Sum() != e.Sum() {
		t.Error("the name of evidence depends on its order")
	}
	for name, spoil := range map[string]func(*Evidence){
		"the same twice":      func(e *Evidence) { e.B = e.A },
		"another network":     func(e *Evidence) { e.Network = "elsewhere" },
		"another session":     func(e *Evidence) { e.A.Session[0]++; e.B.Session[0]++ },
		"different origins":   func(e *Evidence) { e.B.Origin[0]++ },
		"different signers":   func(e *Evidence) { e.B.From = Worker },
		"nobody":              func(e *Evidence) { e.A.From, e.B.From = 3, 3 },
		"a signature changed": func(e *Evidence) { e.B.Sig[9]++ },
		"a body changed":      func(e *Evidence) { e.B.Body[9]++ },
		"far apart":           func(e *Evidence) { e.B.Seq += 2 },
	} {
		x := e
		spoil(&x)
		if x.Verify() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	// Honest messages never make evidence.
	w, s := started(t)
	for range 3 {
		pass(t, s, w, &NoWork{Reason: tasks.Because(tasks.Filled, "")})
	}
	for i := range w.heads {
		for j := range w.heads {
			if x := (Evidence{Network: testNet, A: w.heads[i], B: w.heads[j]}); x.Verify() == nil {
				t.Errorf("honest messages %d and %d make evidence", i, j)
			}
		}
	}
}

// TestSameSessionNameTwice: a worker that names two sessions alike cannot make an honest submitter contradict itself.
func TestSameSessionNameTwice(t *testing.T) {
	sid := NewSessionID()
	var heads []Head
	for range 2 {
		w := NewSession(testNet, key(1), id(key(2)), sid, Worker)
		s := NewSession(testNet, key(2), id(key(1)), sid, Submitter)
		pass(t, w, s, &Hello{Network: testNet, Time: testNow})
		pass(t, s, w, &Welcome{Session: sid, Time: testNow, Epoch: uint64(len(heads))})
		heads = append(heads, w.heads...)
	}
	if x := (Evidence{Network: testNet, A: heads[0], B: heads[1]}); x.Verify() == nil {
		t.Error("two honest welcomes make evidence")
	}
}

func TestRestoreSession(t *testing.T) {
	w, s := started(t)
	pass(t, s, w, sampleLeases(1))
	w = RestoreSession(testNet, key(1), id(key(2)), w.State())
	s = RestoreSession(testNet, key(2), id(key(1)), s.State())
	pass(t, s, w, sampleLeases(2))
	pass(t, w, s, sampleCommits(1))
	if a, b := w.State(), s.State(); a.Sent != b.Received || b.Sent != a.Received || w.Role() != Worker || s.Peer() != id(key(1)) {
		t.Errorf("the ends stand apart: %+v %+v", a, b)
	}
}

func TestReceiptsOverASession(t *testing.T) {
	w, s := started(t)
	got := pass(t, s, w, must(s.SignReceipts(sampleReceipts(MaxReceipts)))).(*Receipts)
	pass(t, w, s, w.Countersign(got))
	if _, err := s.SignReceipts(nil); !errors.Is(err, ErrBounds) {
		t.Error(err)
	}
	ack := w.Countersign(got)
	ack.Count--
	if _, err := s.Open(must(w.Seal(ack, testNow))[frameHead:], testNow); !errors.Is(err, ErrSignature) {
		t.Errorf("countersigned another count: %v", err)
	}
}

func TestFrames(t *testing.T) {
	frame := func(n uint32, b ...byte) io.Reader {
		return bytes.NewReader(append(binary.BigEndian.AppendUint32(nil, n), b...))
	}
	for _, c := range []struct {
		name string
		r    io.Reader
		want error
	}{
		{"end", strings.NewReader(""), io.EOF},
		{"half a length", strings.NewReader("\x00\x00"), io.ErrUnexpectedEOF},
		{"empty", frame(0), ErrSize},
		{"oversized", frame(MaxFrame + 1), ErrSize},
		{"huge", frame(1<<32 - 1), ErrSize},
		{"nothing of it", frame(5), io.ErrUnexpectedEOF},
		{"truncated", frame(5, 1, 2), io.ErrUnexpectedEOF},
		{"promised much", frame(MaxFrame, 1, 2), io.ErrUnexpectedEOF},
	} {
		if b, err := ReadFrame(c.r, nil); !errors.Is(err, c.want) || b != nil {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	long := bytes.Repeat([]byte{1, 2, 3}, 100_000)
	for _, r := range []io.Reader{frame(uint32(len(long)), long...), iotest.OneByteReader(frame(uint32(len(long)), long...))} {
		if b, err := ReadFrame(r, make([]byte, 10)); err != nil || !bytes.Equal(b, long) {
			t.Errorf("long frame: %d bytes, %v", len(b), err)
		}
	}
	buf := make([]byte, 0, 1<<20)
	if b, _ := ReadFrame(frame(3, 1, 2, 3), buf); &b[0] != &buf[:1][0] {
		t.Error("the buffer was not used")
	}
	// A peer that promises 4 MiB and sends nothing costs no 4 MiB.
	if n := testing.AllocsPerRun(10, func() { ReadFrame(frame(MaxFrame, 1), nil) }); n > 6 {
		t.Errorf("%v allocations", n)
	}
}

// TestBothWays lets both ends talk at once: one goroutine writes, another reads, at each end.
func TestBothWays(t *testing.T) {
	w, s := started(t)
	talk := func(from, to *Session, m Message) func() error {
		frames := make(chan []byte, 4)
		go func() {
			defer close(frames)
			for range 50 {
				f, err := from.Seal(m, testNow)
				if err != nil {
					return
				}
				frames <- f
			}
		}()
		return func() error {
			n := 0
			for f := range frames {
				if _, err := to.Open(f[frameHead:], testNow); err != nil {
					return err
				}
				if n++; n%10 == 0 {
					to.State()
				}
			}
			if n != 50 {
				return fmt.Errorf("%d messages arrived", n)
			}
			return nil
		}
	}
	up, down := talk(w, s, sampleCommits(2)), talk(s, w, sampleLeases(2))
	done := make(chan error)
	go func() { done <- up() }()
	if err := errors.Join(down(), <-done); err != nil {
		t.Error(err)
	}
}
