// Package p2ptest makes hosts for the tests of the network packages: real sockets on loopback, deterministic keys, and
// a check that nothing keeps running.
package p2ptest

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"time"

	"kith/p2p/host"
)

// Key derives an identity from a name.
func Key(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(name))
	return ed25519.NewKeyFromSeed(seed[:])
}

// Host opens a host on loopback that is closed with the test. edit may be nil.
func Host(t testing.TB, name string, edit func(*host.Config)) *host.Host {
	t.Helper()
	c := host.Config{
		Key: Key(name), Network: "test", Profile: host.LAN, Listen: host.ListenLoopback,
		Logger: slog.New(slog.DiscardHandler),
	}
	if edit != nil {
		edit(&c)
	}
	h, err := host.New(c)
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

// Connect connects a to each of the others.
func Connect(t testing.TB, a *host.Host, others ...*host.Host) {
	t.Helper()
	for _, b := range others {
		if _, err := a.ConnectAny(Context(t), b.Addrs()); err != nil {
			t.Fatal(err)
		}
	}
}

// Hosts opens n hosts, each connected to every other.
func Hosts(t testing.TB, n int, edit func(*host.Config)) []*host.Host {
	t.Helper()
	hosts := make([]*host.Host, n)
	for i := range hosts {
		hosts[i] = Host(t, fmt.Sprint("host ", i), edit)
		Connect(t, hosts[i], hosts[:i]...)
	}
	return hosts
}

// Context ends with the test, or after a time that only a hang reaches.
func Context(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// Eventually waits until ok, and fails the test when that takes longer than only a hang does.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("never happened: %s", what)
}

// NoLeaks fails the test when goroutines that run code of this module or of the libraries below it outlive it. Call it
// first, so that it looks last.
func NoLeaks(t testing.TB) {
	t.Helper()
	before := goroutines()
	t.Cleanup(func() {
		var left []string
		for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
			left = left[:0]
			for id, stack := range goroutines() {
				if _, old := before[id]; !old {
					left = append(left, stack)
				}
			}
			if len(left) == 0 {
				return
			}
		}
		t.Errorf("%d goroutines are left:\n%s", len(left), strings.Join(left, "\n\n"))
	})
}

// once are goroutines that a library starts one time for the process and keeps on purpose.
var once = []string{
	"testing.", "runtime.", "os/signal.", "go-log/v2", "go.opencensus.io", "zap", "net/http.(*persistConn)",
	"github.com/libp2p/go-netroute", "ProcessMetrics",
}

func goroutines() map[string]string {
	buf := make([]byte, 8<<20)
	out := map[string]string{}
	for _, g := range strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		head, stack, _ := strings.Cut(g, "\n")
		created := stack[strings.LastIndex(stack, "created by ")+1:]
		if created == "" || strings.Contains(stack, "p2ptest.goroutines") {
			continue
		}
		known := false
		for _, o := range once {
			known = known || strings.HasPrefix(created, "reated by "+o) || (strings.Contains(o, "/") && strings.Contains(stack, o))
		}
		if !known {
			out[strings.Fields(head)[1]] = g
		}
	}
	return out
}
