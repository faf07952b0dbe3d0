package host

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kith/p2p"
)

// serve runs a part until the test ends or stop is called; stop waits for it.
func serve(t *testing.T, part interface{ Serve(context.Context) error }) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- part.Serve(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Serve returned %v", err)
		}
	}
	t.Cleanup(stop)
	return stop
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("never happened: %s", what)
}

func TestBootstrap(t *testing.T) {
	a, b := testHost(t, "a", nil), testHost(t, "b", nil)
	cache := filepath.Join(t.TempDir(), "peers.json")
	boot, err := NewBootstrap(b, BootstrapOptions{Peers: a.Addrs(), Cache: cache})
	if err != nil {
		t.Fatal(err)
	}
	stop := serve(t, boot)
	eventually(t, "the listed peer is connected", func() bool { return boot.State().Text == "connected to 1 peer" })
	stop()

	// The next run needs no list.
	if err := b.Disconnect(a.ID()); err != nil {
		t.Fatal(err)
	}
	c := testHost(t, "c", nil)
	boot, err = NewBootstrap(c, BootstrapOptions{Cache: cache})
	if err != nil {
		t.Fatal(err)
	}
	if st := boot.State(); st.Known != 1 {
		t.Fatalf("%+v, want 1 known peer", st)
	}
	serve(t, boot)
	eventually(t, "the remembered peer is connected", func() bool { direct, _ := c.Connected(a.ID()); return direct })

	// The peer comes back after it left.
	if err := c.Disconnect(a.ID()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the lost peer is connected again", func() bool { direct, _ := c.Connected(a.ID()); return direct })
}

func TestNobodyAnswers(t *testing.T) {
	tcp := func(c *Config) { c.Transports = TCPOnly }
	gone := testHost(t, "gone", tcp)
	addrs := gone.Addrs()
	if err := gone.Close(); err != nil {
		t.Fatal(err)
	}
	boot, err := NewBootstrap(testHost(t, "a", tcp), BootstrapOptions{Peers: addrs})
	if err != nil {
		t.Fatal(err)
	}
	serve(t, boot)
	eventually(t, "the state says so", func() bool {
		st := boot.State()
		return strings.HasPrefix(st.Text, "no bootstrap peer answered; next try in ") && st.Err != "" && st.Tries > 0 && !st.NextTry.IsZero()
	})
	alone, err := NewBootstrap(testHost(t, "b", tcp), BootstrapOptions{})
	if err != nil {
		t.Fatal(err)
	}
	serve(t, alone)
	eventually(t, "the state has a remedy", func() bool { return strings.HasPrefix(alone.State().Text, "no bootstrap peer is known: ") })
}

func TestBadPeers(t *testing.T) {
	h := testHost(t, "a", nil)
	if _, err := NewBootstrap(h, BootstrapOptions{Peers: []string{"/ip4/1.2.3.4/tcp/1"}}); err == nil {
		t.Error("an address without identity was accepted")
	}
	dir := t.TempDir()
	list := filepath.Join(dir, "list")
	if err := os.WriteFile(list, []byte("# friends\n\n"+h.Addrs()[0]+" # home\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := ReadPeerList(list); err != nil || len(got) != 1 || got[0] != h.Addrs()[0] {
		t.Errorf("list %v, %v", got, err)
	}
	if err := os.WriteFile(list, []byte("\n/ip4/1.2.3.4\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadPeerList(list); err == nil || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("error %v, want one that names line 2", err)
	}
	for name, content := range map[string]string{
		"empty": "", "garbage": "\x00\x01", "future": `{"version":9,"network":"test","peers":[]}`,
		"unknown field": `{"version":1,"network":"test","peers":[],"x":1}`, "other network": `{"version":1,"network":"other","peers":[]}`,
		"huge": `{"version":1,"network":"` + strings.Repeat("x", maxPeerFile) + `"}`,
	} {
		path := filepath.Join(dir, "cache")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := readCache(path, "test", time.Now()); err == nil {
			t.Errorf("%s: accepted", name)
		}
		if _, err := NewBootstrap(h, BootstrapOptions{Cache: path}); err != nil {
			t.Errorf("%s: a bad cache stops the node: %v", name, err)
		}
	}
}

func FuzzPeerCache(f *testing.F) {
	now := time.UnixMilli(1_800_000_000_000)
	f.Add([]byte(`{"version":1,"network":"test","peers":[{"id":"aeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaqcaibaeaq","addrs":["/ip4/1.2.3.4/tcp/1/p2p/x"],"seen":1799999999999}]}`))
	f.Add([]byte(`{"version":1,"network":"test","peers":null}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		peers, err := parseCache(b, "test", now)
		if err != nil {
			return
		}
		for _, p := range peers {
			if len(p.Addrs) == 0 || len(p.Addrs) > p2p.MaxAddrs {
				t.Errorf("%d addresses", len(p.Addrs))
			}
		}
	})
}
