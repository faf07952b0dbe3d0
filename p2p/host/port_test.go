package host

import (
	"log/slog"
	"net"
	"strconv"
	"strings"
	"testing"
)

// A port that another program takes between its choice and its use costs a second try, not the start.
func TestPortTakenMeanwhile(t *testing.T) {
	taken, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := taken.Addr().(*net.TCPAddr).Port
	c := Config{Key: key("a"), Network: "test", Profile: LAN, Listen: ListenLoopback, Logger: slog.New(slog.DiscardHandler)}
	asked := 0
	choose := func(c Config) (int, error) {
		if asked++; asked == 1 {
			return port, nil
		}
		return choosePort(c)
	}
	h, err := newHost(c, choose)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if asked != 2 || len(h.Addrs()) == 0 || strings.Contains(h.Addrs()[0], "/"+strconv.Itoa(port)+"/") {
		t.Errorf("asked for a port %d times, listens on %v", asked, h.Addrs())
	}
	always := func(Config) (int, error) { return port, nil }
	if h, err := newHost(c, always); err == nil {
		h.Close()
		t.Error("it listens on somebody else's port")
	}
}
