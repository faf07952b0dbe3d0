package host

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const aloneEnv = "KITH_TEST_MDNS_ALONE"

// lockedBuffer is a log that is read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// TestMDNSAloneChild is the node that TestNoNetwork starts.
func TestMDNSAloneChild(t *testing.T) {
	if os.Getenv(aloneEnv) == "" {
		t.Skip("runs only as a child of TestNoNetwork")
	}
	var log lockedBuffer
	h := testHost(t, "alone", func(c *Config) { c.Listen, c.Logger = ListenAll, slog.New(slog.NewTextHandler(&log, nil)) })
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- NewDiscovery(h).Serve(ctx) }()
	for end := time.Now().Add(time.Minute); !strings.Contains(log.String(), "waits for a network"); time.Sleep(10 * time.Millisecond) {
		select {
		case err := <-ended:
			t.Fatalf("it ended: %v", err)
		default:
		}
		if time.Now().After(end) {
			t.Fatalf("it says nothing: %s", log.String())
		}
	}
	cancel()
	if err := <-ended; err != context.Canceled {
		t.Errorf("it ended: %v", err)
	}
}

// TestNoNetwork: on a machine that has no network yet, the discovery waits for one.
func TestNoNetwork(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe, "-test.run=^TestMDNSAloneChild$", "-test.v")
	cmd.Env = append(os.Environ(), aloneEnv+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	if err != nil && len(out) == 0 {
		t.Skip("this machine makes no network namespaces: ", err)
	}
	if err != nil || !strings.Contains(string(out), "--- PASS") {
		t.Errorf("%v\n%s", err, out)
	}
}
