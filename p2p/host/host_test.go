package host

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"kith/p2p"
)

func key(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(name))
	return ed25519.NewKeyFromSeed(seed[:])
}

func testHost(t *testing.T, name string, edit func(*Config)) *Host {
	t.Helper()
	c := Config{Key: key(name), Network: "test", Profile: LAN, Listen: ListenLoopback, Logger: slog.New(slog.DiscardHandler)}
	if edit != nil {
		edit(&c)
	}
	h, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

func ctxFor(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestTwoHostsConnect(t *testing.T) {
	for _, tr := range []Transports{QUICAndTCP, QUICOnly, TCPOnly} {
		t.Run(string(tr), func(t *testing.T) {
			ctx := ctxFor(t)
			a := testHost(t, "a", func(c *Config) { c.Transports = tr })
			b := testHost(t, "b", func(c *Config) { c.Transports = tr; c.UserAgent = "kith/test" })
			events, stop := a.Watch()
			defer stop()
			addrs := b.Addrs()
			if len(addrs) == 0 {
				t.Fatal("a listening host has no address")
			}
			id, err := a.ConnectAny(ctx, addrs)
			if err != nil {
				t.Fatal(err)
			}
			if id != b.ID() {
				t.Fatalf("connected to %s, want %s", id, b.ID())
			}
			if e := <-events; e.Peer != b.ID() || !e.Connected || e.Relayed {
				t.Fatalf("event %+v", e)
			}
			if rtt, err := a.MeasureRTT(ctx, id); err != nil || rtt <= 0 {
				t.Fatalf("rtt %s, %v", rtt, err)
			}
			p, ok := a.Peer(b.ID())
			if !ok || p.IP.String() != "127.0.0.1" || p.Direction != p2p.Outbound || p.Relayed || p.RTT == 0 || p.Agent != "kith/test" {
				t.Fatalf("peer %+v", p)
			}
			want := "tcp"
			if tr == QUICOnly {
				want = "quic"
			}
			if p.Transport != want {
				t.Errorf("transport %q, want %q", p.Transport, want)
			}
			if total, by := a.Traffic(); total.Out == 0 || by["/ipfs/ping/1.0.0"].Out == 0 {
				t.Errorf("traffic %+v %+v", total, by)
			}
			if err := a.Disconnect(b.ID()); err != nil {
				t.Fatal(err)
			}
			if e := <-events; e.Peer != b.ID() || e.Connected {
				t.Fatalf("event %+v", e)
			}
		})
	}
}

func TestSamePortForBothTransports(t *testing.T) {
	h := testHost(t, "a", nil)
	var ports []string
	for _, a := range h.Addrs() {
		ports = append(ports, strings.Split(a, "/")[4])
	}
	if len(ports) != 2 || ports[0] != ports[1] || ports[0] == "0" {
		t.Fatalf("ports %v of %v", ports, h.Addrs())
	}
}

func TestTakenPort(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).Port
	c := Config{Key: key("a"), Network: "test", Profile: LAN, Listen: ListenLoopback, Port: port}
	_, err = New(c)
	if !errors.Is(err, ErrPortTaken) || !strings.Contains(err.Error(), l.Addr().String()[10:]) {
		t.Fatalf("error %v, want ErrPortTaken that names the port", err)
	}
	h := testHost(t, "a", func(c *Config) { c.Port = port; c.PortRange = 50 })
	if len(h.Addrs()) == 0 {
		t.Fatal("no address on the next free port")
	}
}

func TestPortOfAnotherNodeIsTaken(t *testing.T) {
	for _, tr := range []Transports{QUICOnly, TCPOnly} {
		a := testHost(t, "a", func(c *Config) { c.Transports = tr })
		var port int
		for i, part := range strings.Split(a.Addrs()[0], "/") {
			if i == 4 {
				for _, d := range part {
					port = 10*port + int(d-'0')
				}
			}
		}
		c := Config{Key: key("b"), Network: "test", Profile: LAN, Listen: ListenLoopback, Port: port, Transports: tr}
		if h, err := New(c); !errors.Is(err, ErrPortTaken) {
			t.Errorf("%s: error %v, want ErrPortTaken", tr, err)
			if err == nil {
				h.Close()
			}
		}
	}
}

func TestOutboundOnlyOpensNoListener(t *testing.T) {
	ctx := ctxFor(t)
	a := testHost(t, "a", func(c *Config) { c.Listen = ListenNone })
	b := testHost(t, "b", nil)
	if got := a.raw.Network().ListenAddresses(); len(got) != 0 {
		t.Fatalf("listens on %v", got)
	}
	if _, err := a.ConnectAny(ctx, b.Addrs()); err != nil {
		t.Fatal(err)
	}
	if p, ok := b.Peer(a.ID()); !ok || p.Direction != p2p.Inbound {
		t.Fatalf("peer %+v", p)
	}
}

func TestConnectErrors(t *testing.T) {
	ctx := ctxFor(t)
	tcp := func(c *Config) { c.Transports = TCPOnly } // a closed UDP port says nothing for five seconds
	a := testHost(t, "a", tcp)
	b := testHost(t, "b", tcp)
	gone := b.Addrs()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := a.ConnectAny(ctx, gone); !errors.Is(err, p2p.ErrUnreachable) {
		t.Errorf("closed host: %v", err)
	}
	if _, err := a.ConnectAny(ctx, a.Addrs()); !errors.Is(err, p2p.ErrUnreachable) {
		t.Errorf("itself: %v", err)
	}
	for _, bad := range []string{"", "nonsense", "/ip4/127.0.0.1/tcp/1", "/ip4/127.0.0.1/tcp/1/p2p/QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N"} {
		if _, err := a.Connect(ctx, bad); err == nil {
			t.Errorf("address %q was accepted", bad)
		}
	}
}

func TestBadConfig(t *testing.T) {
	good := Config{Key: key("a"), Network: "test", Profile: LAN, Listen: ListenNone}
	for name, edit := range map[string]func(*Config){
		"no key":       func(c *Config) { c.Key = nil },
		"no network":   func(c *Config) { c.Network = "" },
		"bad network":  func(c *Config) { c.Network = "Kith/main" },
		"bad profile":  func(c *Config) { c.Profile = "moon" },
		"bad listen":   func(c *Config) { c.Listen = "here" },
		"bad port":     func(c *Config) { c.Port = 70000 },
		"bad range":    func(c *Config) { c.Port = 65000; c.PortRange = 1000 },
		"bad water":    func(c *Config) { c.LowWater = 9; c.HighWater = 3 },
		"bad memory":   func(c *Config) { c.Memory = 1 },
		"bad relay":    func(c *Config) { c.Profile = WAN; c.Relays = []string{"x"} },
		"bad transprt": func(c *Config) { c.Transports = "sctp" },
	} {
		c := good
		edit(&c)
		if h, err := New(c); err == nil {
			h.Close()
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestPreferredPort(t *testing.T) {
	first := testHost(t, "first", nil)
	port := listenPortOf(t, first)
	taken := testHost(t, "second", func(c *Config) { c.Preferred = port })
	if got := listenPortOf(t, taken); got == port {
		t.Fatalf("two hosts listen on port %d", port)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if got := listenPortOf(t, testHost(t, "first", func(c *Config) { c.Preferred = port })); got != port {
		t.Fatalf("the host came back on port %d, others know it at %d", got, port)
	}
	outside := testHost(t, "third", func(c *Config) { c.Port, c.PortRange, c.Preferred = port+1000, 50, port+2000 })
	if got := listenPortOf(t, outside); got == port+2000 {
		t.Fatalf("port %d lies outside the range", got)
	}
}

// listenPortOf reads the port of a host's first address.
func listenPortOf(t *testing.T, h *Host) int {
	t.Helper()
	for _, part := range strings.Split(h.Addrs()[0], "/") {
		if n, err := strconv.Atoi(part); err == nil {
			return n
		}
	}
	t.Fatalf("no port in %q", h.Addrs()[0])
	return 0
}
