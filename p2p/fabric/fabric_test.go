package fabric

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"io"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"kith/p2p"
	"kith/p2p/host"
	"kith/p2p/rpc"
)

// underRace is set when the race detector watches, which crashes on timers of a bubble (golang.org/issue/78156) unless
// one processor runs it.
var underRace bool

var echo = rpc.Proto{Name: "echo", Version: 1}

// fleet is some hosts that answer with what they are sent.
type fleet struct {
	net   Net
	hosts []*host.Host
	rpcs  []*rpc.Service
}

func at(i int) netip.Addr { return netip.AddrFrom4([4]byte{11, 0, byte(i), 1}) }

// both plays f in virtual time over each of the networks.
func both(t *testing.T, count int, c Conditions, f func(t *testing.T, x *fleet)) {
	for name, open := range map[string]func(Conditions) (Net, error){
		"memory": func(c Conditions) (Net, error) { return NewMemory(c) },
		"quic":   func(c Conditions) (Net, error) { return NewQUIC(c) },
	} {
		t.Run(name, func(t *testing.T) { play(t, count, c, open, f) })
	}
}

func play(t *testing.T, count int, c Conditions, open func(Conditions) (Net, error), f func(t *testing.T, x *fleet)) {
	if underRace {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	}
	synctest.Test(t, func(t *testing.T) {
		c.Network = "test"
		if c.Between == nil {
			c.Between = func(netip.Addr, netip.Addr) time.Duration { return 40 * time.Millisecond }
		}
		net, err := open(c)
		if err != nil {
			t.Fatal(err)
		}
		x := &fleet{net: net}
		for i := range count {
			seed := sha256.Sum256(fmt.Append(nil, "fabric ", i))
			h, err := net.Host(ed25519.NewKeyFromSeed(seed[:]), at(i))
			if err != nil {
				t.Fatal(err)
			}
			r := rpc.New(h)
			if err := r.Handle(echo, func(_ context.Context, s p2p.Stream) {
				if _, err := io.Copy(s, s); err == nil {
					_ = s.Close()
				}
			}); err != nil {
				t.Fatal(err)
			}
			x.hosts, x.rpcs = append(x.hosts, h), append(x.rpcs, r)
		}
		if err := net.Ready(); err != nil {
			t.Fatal(err)
		}
		f(t, x)
		for _, r := range x.rpcs {
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		}
		for _, h := range x.hosts {
			for _, c := range h.Unrouted().Network().Conns() {
				for _, s := range c.GetStreams() {
					_ = s.Reset()
				}
			}
		}
		time.Sleep(time.Second)
		for _, h := range x.hosts {
			if err := h.Close(); err != nil {
				t.Error(err)
			}
		}
		if err := net.Close(); err != nil {
			t.Error(err)
		}
	})
}

// say sends bytes from one host to another and returns what comes back, and after how long.
func (x *fleet) say(t *testing.T, from, to int, data []byte) ([]byte, time.Duration, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	x.hosts[from].Remember(x.hosts[to].Addrs(), host.ShortLived)
	began := time.Now()
	s, err := x.rpcs[from].Open(ctx, x.hosts[to].ID(), echo)
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = s.Reset() }()
	_ = s.SetDeadline(time.Now().Add(time.Minute))
	if _, err := s.Write(data); err != nil {
		return nil, 0, err
	}
	got := make([]byte, len(data))
	n, err := io.ReadFull(s, got)
	return got[:n], time.Since(began), err
}

// What is sent arrives, takes the time that Between says, and is counted by protocol.
func TestDelivery(t *testing.T) {
	both(t, 3, Conditions{}, func(t *testing.T, x *fleet) {
		data := bytes.Repeat([]byte("kith"), 5000)
		if got, took, err := x.say(t, 0, 1, data); err != nil || !bytes.Equal(got, data) || took < 80*time.Millisecond {
			t.Fatalf("%d bytes after %s: %v", len(got), took, err)
		}
		time.Sleep(time.Second)
		got, took, err := x.say(t, 0, 1, []byte("again"))
		if err != nil || string(got) != "again" || took < 80*time.Millisecond || took > 400*time.Millisecond {
			t.Errorf("over the open connection: %q after %s: %v", got, took, err)
		}
		info, ok := x.hosts[1].Peer(x.hosts[0].ID())
		if !ok || info.IP != at(0) || info.Relayed {
			t.Errorf("seen as %+v", info)
		}
		_, by := x.hosts[0].Traffic()
		_, back := x.hosts[1].Traffic()
		n := int64(len(data) + len("again"))
		for proto, c := range by {
			if strings.HasSuffix(proto, "/echo/1") && (c.Out != n || c.In != n || c.Writes != 2) {
				t.Errorf("%s: %+v, want %d each way in 2 writes", proto, c, n)
			}
		}
		if len(by) == 0 || len(back) == 0 {
			t.Error("nothing was counted")
		}
	})
}

// What is cut off cannot be reached, until it is mended; others can all the while.
func TestCut(t *testing.T) {
	var mu sync.Mutex
	apart := map[netip.Addr]bool{}
	c := Conditions{Cut: func(from, to netip.Addr) bool {
		mu.Lock()
		defer mu.Unlock()
		return apart[from] != apart[to]
	}}
	both(t, 3, c, func(t *testing.T, x *fleet) {
		set := func(cut bool) {
			mu.Lock()
			apart[at(2)] = cut
			mu.Unlock()
			if err := x.net.Changed(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second) // connections end aside
		}
		if _, _, err := x.say(t, 0, 2, []byte("x")); err != nil {
			t.Fatal(err)
		}
		set(true)
		if _, _, err := x.say(t, 0, 2, []byte("x")); err == nil {
			t.Error("across the cut")
		}
		if _, _, err := x.say(t, 0, 1, []byte("x")); err != nil {
			t.Errorf("on this side: %v", err)
		}
		set(false)
		time.Sleep(10 * time.Minute) // until the dead connection and the back-off of dialling are forgotten
		if _, _, err := x.say(t, 0, 2, []byte("x")); err != nil {
			t.Errorf("after it was mended: %v", err)
		}
	})
}

// Packets are lost and sent again; a slow line takes its time; a router lets in only answers.
func TestPackets(t *testing.T) {
	quic := func(c Conditions) (Net, error) { return NewQUIC(c) }
	data := bytes.Repeat([]byte("x"), 1<<18)
	t.Run("loss", func(t *testing.T) {
		var mu sync.Mutex
		n := 0
		lost := func() bool {
			mu.Lock()
			defer mu.Unlock()
			n++
			return n%20 == 0
		}
		play(t, 2, Conditions{Lost: lost}, quic, func(t *testing.T, x *fleet) {
			if got, _, err := x.say(t, 0, 1, data); err != nil || !bytes.Equal(got, data) {
				t.Errorf("%d bytes: %v", len(got), err)
			}
		})
	})
	t.Run("a slow line", func(t *testing.T) {
		play(t, 2, Conditions{Bits: 1 << 20}, quic, func(t *testing.T, x *fleet) {
			if got, took, err := x.say(t, 0, 1, data); err != nil || !bytes.Equal(got, data) || took < 2*time.Second {
				t.Errorf("%d bytes after %s over a megabit: %v", len(got), took, err)
			}
		})
	})
	t.Run("a router", func(t *testing.T) {
		c := Conditions{Closed: func(a netip.Addr) bool { return a == at(1) }}
		play(t, 3, c, quic, func(t *testing.T, x *fleet) {
			if _, _, err := x.say(t, 0, 1, []byte("x")); err == nil {
				t.Error("a stranger came in")
			}
			if _, _, err := x.say(t, 1, 2, []byte("x")); err != nil {
				t.Errorf("from behind it: %v", err)
			}
			if _, _, err := x.say(t, 2, 1, []byte("x")); err != nil {
				t.Errorf("back to who called: %v", err)
			}
		})
	})
}

func TestConditions(t *testing.T) {
	for name, c := range map[string]Conditions{
		"no times":   {Network: "test"},
		"no network": {Between: func(netip.Addr, netip.Addr) time.Duration { return 0 }},
	} {
		if _, err := NewMemory(c); err == nil {
			t.Errorf("memory: %s", name)
		}
		if _, err := NewQUIC(c); err == nil {
			t.Errorf("quic: %s", name)
		}
	}
}
