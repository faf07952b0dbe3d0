package network

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"kith/bench"
)

// serving returns a peer that answers over loopback, and how its streams ended.
func serving(t *testing.T, serve func(context.Context, Stream) error) Peer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_ = serve(ctx, c)
			}()
		}
	}()
	t.Cleanup(func() { cancel(); _ = l.Close(); <-ended })
	return Peer{Name: "peer", Open: func(ctx context.Context) (Stream, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", l.Addr().String())
	}}
}

func TestMeasure(t *testing.T) {
	s := NewServer(Limits{})
	p := serving(t, func(ctx context.Context, st Stream) error { return s.Serve(ctx, st, "us") })
	dead := Peer{Name: "dead", Open: func(context.Context) (Stream, error) { return nil, errors.New("unreachable") }}
	d := Measure(t.Context(), []Peer{dead, p}, Options{Bytes: 2 << 20, Time: 50 * time.Millisecond})
	for _, name := range []string{bench.RTT, bench.Jitter, bench.Down, bench.Up, "rtt.loaded"} {
		if m, _ := d.Get(name); !m.Graded() || m.Value <= 0 {
			t.Errorf("%s: %+v", name, m)
		}
	}
}

func TestNobodyThere(t *testing.T) {
	d := Measure(t.Context(), nil, Options{})
	for _, m := range d.Measurements {
		if m.Graded() || !strings.Contains(m.Ungraded, "no other node") {
			t.Errorf("%+v", m)
		}
	}
}

func TestServerBoundsWhatItGives(t *testing.T) {
	s := NewServer(Limits{PerPeer: 3 << 20, Total: 5 << 20})
	now := time.Unix(1_790_000_000, 0)
	s.now = func() time.Time { return now }
	serve := func(peer string) Peer {
		return serving(t, func(ctx context.Context, st Stream) error { return s.Serve(ctx, st, peer) })
	}
	move := func(p Peer, what byte, n int64) error {
		c, err := dial(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		defer c.end()
		_, err = c.move(what, n)
		for { // the server notes the end a moment after the last byte
			s.mu.Lock()
			over := !s.transfer
			s.mu.Unlock()
			if over {
				return err
			}
			time.Sleep(time.Millisecond)
		}
	}
	a, b := serve("a"), serve("b")
	for _, step := range []struct {
		name string
		peer Peer
		what byte
		n    int64
		want error
	}{
		{"the first", a, orderDown, 2 << 20, nil},
		{"more than the peer's share", a, orderUp, 2 << 20, ErrRefused},
		{"what is left of it", a, orderUp, 1 << 20, nil},
		{"another peer", b, orderDown, 2 << 20, nil},
		{"more than all peers' share", b, orderDown, 1 << 20, ErrRefused},
	} {
		if err := move(step.peer, step.what, step.n); !errors.Is(err, step.want) {
			t.Errorf("%s: %v, want %v", step.name, err, step.want)
		}
	}
	now = now.Add(hour)
	if err := move(a, orderDown, 1<<20); err != nil {
		t.Errorf("an hour later: %v", err)
	}
	if err := move(a, orderDown, MaxBytes+1); err == nil || errors.Is(err, ErrRefused) {
		t.Errorf("more than one order may: %v", err)
	}
}

func TestPeerThatLies(t *testing.T) {
	for name, serve := range map[string]func(context.Context, Stream) error{
		"wrong echo": func(_ context.Context, st Stream) error {
			_, err := st.Write(append([]byte{answerYes}, make([]byte, 1000)...))
			_, _ = io.Copy(io.Discard, st)
			return err
		},
		"unknown answer": func(_ context.Context, st Stream) error {
			_, err := st.Write([]byte{77})
			_, _ = io.Copy(io.Discard, st)
			return err
		},
		"hangs up": func(context.Context, Stream) error { return nil },
	} {
		d := Measure(t.Context(), []Peer{serving(t, serve)}, Options{})
		if m, _ := d.Get(bench.RTT); m.Graded() {
			t.Errorf("%s: %+v", name, m)
		}
	}
}

func TestCancelled(t *testing.T) {
	hang := serving(t, func(ctx context.Context, st Stream) error { <-ctx.Done(); return ctx.Err() })
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(50*time.Millisecond, func() { cancel(errors.New("the owner stopped everything")) })
	d := Measure(ctx, []Peer{hang}, Options{})
	if m, _ := d.Get(bench.RTT); m.Graded() || !strings.Contains(m.Ungraded, "owner") {
		t.Errorf("%+v", m)
	}
}

// script is a stream that reads what it was given.
type script struct{ io.Reader }

func (script) Write(p []byte) (int, error) { return len(p), nil }
func (script) SetDeadline(time.Time) error { return nil }
func (script) Close() error                { return nil }

func FuzzServe(f *testing.F) {
	f.Add([]byte{orderPing, 0, 0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8})
	f.Add([]byte{orderUp, 0, 0, 0, 2, 1, 2, orderDown, 0, 0, 0, 9})
	f.Add([]byte{orderDown, 255, 255, 255, 255})
	f.Fuzz(func(t *testing.T, in []byte) {
		s := NewServer(Limits{PerPeer: 1 << 20, Total: 1 << 20})
		_ = s.Serve(t.Context(), script{bytes.NewReader(in)}, "x")
		if s.total > 1<<20 || s.transfer {
			t.Errorf("%d bytes, transfer %v", s.total, s.transfer)
		}
	})
}
