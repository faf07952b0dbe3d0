package rpc_test

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"kith/p2p"
	"kith/p2p/host"
	"kith/p2p/internal/p2ptest"
	"kith/p2p/rpc"
)

func service(t *testing.T, h *host.Host) *rpc.Service {
	s := rpc.New(h)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

var echo = rpc.Proto{Name: "echo", Version: 1}

func serveEcho(_ context.Context, s p2p.Stream) {
	if _, err := io.Copy(s, s); err == nil {
		_ = s.Close()
	}
}

func TestEcho(t *testing.T) {
	p2ptest.NoLeaks(t)
	hs := p2ptest.Hosts(t, 2, nil)
	a, b := service(t, hs[0]), service(t, hs[1])
	if err := b.Handle(echo, serveEcho); err != nil {
		t.Fatal(err)
	}
	s, err := a.Open(p2ptest.Context(t), hs[1].ID(), echo)
	if err != nil {
		t.Fatal(err)
	}
	if s.Remote() != hs[1].ID() || s.Relayed() || !s.RemoteIP().IsLoopback() || s.Protocol() != "/kith/test/echo/1" {
		t.Errorf("remote %s, relayed %t, ip %s, protocol %s", s.Remote(), s.Relayed(), s.RemoteIP(), s.Protocol())
	}
	want := strings.Repeat("across the fence ", 10_000)
	go func() {
		_, _ = io.WriteString(s, want)
		_ = s.CloseWrite()
	}()
	got, err := io.ReadAll(s)
	if err != nil || string(got) != want {
		t.Fatalf("%d bytes, %v; want %d", len(got), err, len(want))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if st := b.Stats(); st.Served != 1 || st.Refused != 0 {
		t.Errorf("stats %+v", st)
	}
}

// Of several versions the first is taken that the other side speaks.
func TestBestCommonVersion(t *testing.T) {
	p2ptest.NoLeaks(t)
	hs := p2ptest.Hosts(t, 3, nil)
	a, before, now := service(t, hs[0]), service(t, hs[1]), service(t, hs[2])
	newer := rpc.Proto{Name: "echo", Version: 2}
	if err := errors.Join(before.Handle(echo, serveEcho), now.Handle(echo, serveEcho), now.Handle(newer, serveEcho)); err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{1: "/kith/test/echo/1", 2: "/kith/test/echo/2"} {
		if want == "" {
			continue
		}
		s, err := a.Open(p2ptest.Context(t), hs[i].ID(), newer, echo)
		if err != nil {
			t.Fatal(err)
		}
		if s.Protocol() != want {
			t.Errorf("%s, want %s", s.Protocol(), want)
		}
		_ = s.Reset()
	}
}

func TestUnsupportedNamesVersions(t *testing.T) {
	hs := p2ptest.Hosts(t, 2, nil)
	a, b := service(t, hs[0]), service(t, hs[1])
	if err := b.Handle(rpc.Proto{Name: "echo", Version: 7}, serveEcho); err != nil {
		t.Fatal(err)
	}
	ctx := p2ptest.Context(t)
	p2ptest.Eventually(t, "the peer's protocols are known", func() bool {
		_, err := a.Open(ctx, hs[1].ID(), echo)
		if !errors.Is(err, p2p.ErrUnsupported) {
			t.Fatalf("error %v, want ErrUnsupported", err)
		}
		return strings.Contains(err.Error(), "version 7")
	})
	if _, err := a.Open(ctx, hs[1].ID(), echo, rpc.Proto{Name: "echo", Version: 7}); err != nil {
		t.Errorf("the second choice: %v", err)
	}
}

func TestUnreachable(t *testing.T) {
	a := p2ptest.Host(t, "a", nil)
	_, err := service(t, a).Open(p2ptest.Context(t), p2p.IDFromKey(p2ptest.Key("nobody")), echo)
	if !errors.Is(err, p2p.ErrUnreachable) {
		t.Fatalf("error %v, want ErrUnreachable", err)
	}
}

func TestFinderIsAsked(t *testing.T) {
	a, b := p2ptest.Host(t, "a", nil), p2ptest.Host(t, "b", nil)
	sb := service(t, b)
	if err := sb.Handle(echo, serveEcho); err != nil {
		t.Fatal(err)
	}
	a.SetFinder(func(_ context.Context, id p2p.ID) ([]string, error) {
		if id != b.ID() {
			t.Errorf("asked for %s", id)
		}
		return b.Addrs(), nil
	})
	s, err := service(t, a).Open(p2ptest.Context(t), b.ID(), echo)
	if err != nil {
		t.Fatal(err)
	}
	_ = s.Close()
}

// A peer that opens streams without end and says nothing costs at most the limit, and harms nobody else.
func TestTooManyStreams(t *testing.T) {
	p2ptest.NoLeaks(t)
	hs := p2ptest.Hosts(t, 3, nil)
	bad, good, victim := service(t, hs[0]), service(t, hs[1]), service(t, hs[2])
	proto := echo
	proto.Limits = rpc.Limits{PerPeer: 3, Total: 5}
	var mu sync.Mutex
	running, most := 0, 0
	err := victim.Handle(proto, func(ctx context.Context, s p2p.Stream) {
		mu.Lock()
		running++
		most = max(most, running)
		mu.Unlock()
		defer func() { mu.Lock(); running--; mu.Unlock() }()
		serveEcho(ctx, s)
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx := p2ptest.Context(t)
	for range 40 {
		s, err := bad.Open(ctx, hs[2].ID(), echo)
		if err != nil {
			continue
		}
		_, _ = s.Write([]byte{1})
	}
	p2ptest.Eventually(t, "37 streams are refused", func() bool { return victim.Stats().Refused == 37 })
	s, err := good.Open(ctx, hs[2].ID(), echo)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(s, make([]byte, 1)); err != nil {
		t.Fatalf("an honest peer beside a flood: %v", err)
	}
	mu.Lock()
	defer mu.Unlock()
	if most > 4 {
		t.Errorf("%d handlers ran at once, want at most 3 + 1", most)
	}
}

func TestDeadline(t *testing.T) {
	hs := p2ptest.Hosts(t, 2, nil)
	a, b := service(t, hs[0]), service(t, hs[1])
	if err := b.Handle(echo, func(ctx context.Context, _ p2p.Stream) { <-ctx.Done() }); err != nil {
		t.Fatal(err)
	}
	s, err := a.Open(p2ptest.Context(t), hs[1].ID(), echo)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.SetDeadline(time.Now().Add(10 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	_, err = s.Read(make([]byte, 1))
	var timeout interface{ Timeout() bool }
	if !errors.Is(err, os.ErrDeadlineExceeded) && (!errors.As(err, &timeout) || !timeout.Timeout()) {
		t.Fatalf("error %v, want a deadline", err)
	}
	_ = s.Reset()
}

// What a handler leaves open is reset, so that the other side does not wait.
func TestForgottenStreamIsReset(t *testing.T) {
	hs := p2ptest.Hosts(t, 2, nil)
	a, b := service(t, hs[0]), service(t, hs[1])
	if err := b.Handle(echo, func(_ context.Context, s p2p.Stream) { _, _ = s.Read(make([]byte, 1)) }); err != nil {
		t.Fatal(err)
	}
	s, err := a.Open(p2ptest.Context(t), hs[1].ID(), echo)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = s.Write([]byte{1})
	if _, err := s.Read(make([]byte, 1)); err == nil || err == io.EOF {
		t.Fatalf("error %v, want a reset", err)
	}
}

func TestCloseEndsHandlers(t *testing.T) {
	p2ptest.NoLeaks(t)
	hs := p2ptest.Hosts(t, 2, nil)
	a, b := service(t, hs[0]), rpc.New(hs[1])
	started := make(chan struct{})
	err := b.Handle(echo, func(_ context.Context, s p2p.Stream) {
		close(started)
		_, _ = io.Copy(io.Discard, s)
	})
	if err != nil {
		t.Fatal(err)
	}
	s, err := a.Open(p2ptest.Context(t), hs[1].ID(), echo)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = s.Write([]byte{1})
	<-started
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if err := b.Handle(echo, serveEcho); !errors.Is(err, p2p.ErrClosed) {
		t.Errorf("Handle after Close: %v", err)
	}
	if _, err := b.Open(p2ptest.Context(t), hs[0].ID(), echo); !errors.Is(err, p2p.ErrClosed) {
		t.Errorf("Open after Close: %v", err)
	}
}
