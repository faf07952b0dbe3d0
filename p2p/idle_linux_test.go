package p2p_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"kith/p2p"
	"kith/p2p/dht"
	"kith/p2p/exchange"
	"kith/p2p/gossip"
	"kith/p2p/host"
	"kith/p2p/internal/p2ptest"
	"kith/p2p/rpc"
	"kith/storage/memstore"
)

// idleEnv makes the test binary one idle node; its value is the profile.
const idleEnv = "KITH_TEST_IDLE_NODE"

func TestMain(m *testing.M) {
	if os.Getenv(idleEnv) != "" {
		if err := idleNode(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// whole starts every part of the network on h, with ten topics, until ctx ends.
func whole(ctx context.Context, h *host.Host, dir string) error {
	s := rpc.New(h)
	if _, err := exchange.New(h, s, memstore.NewBlobs(), exchange.Options{}); err != nil {
		return err
	}
	d, err := dht.New(h, dht.Options{
		Validate: func(p2p.ID, []byte) error { return nil }, Newer: func(a, b []byte) int { return len(a) - len(b) },
	})
	if err != nil {
		return err
	}
	g, err := gossip.New(h, gossip.Options{})
	if err != nil {
		return err
	}
	for i := range 10 {
		accept := func(p2p.ID, []byte) gossip.Verdict { return gossip.Accept }
		if _, err := g.Join(fmt.Sprint("topic/", i), accept, func(p2p.ID, []byte) {}); err != nil {
			return err
		}
	}
	b, err := host.NewBootstrap(h, host.BootstrapOptions{Cache: filepath.Join(dir, "peers")})
	if err != nil {
		return err
	}
	for _, part := range []interface{ Serve(context.Context) error }{h, d, b} {
		go func() { _ = part.Serve(ctx) }()
	}
	return nil
}

func idleNode() error {
	dir, err := os.MkdirTemp("", "kith-idle-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	h, err := host.New(host.Config{Key: p2ptest.Key("idle"), Network: "idle", Profile: host.Profile(os.Getenv(idleEnv)), Listen: host.ListenLoopback})
	if err != nil {
		return err
	}
	defer h.Close()
	if err := whole(context.Background(), h, dir); err != nil {
		return err
	}
	fmt.Println(strings.Join(h.Addrs(), " "))
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		var use syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &use); err != nil {
			return err
		}
		status, err := os.ReadFile("/proc/self/status")
		if err != nil {
			return err
		}
		_, rss, _ := strings.Cut(string(status), "VmRSS:")
		var kb int
		if _, err := fmt.Sscan(rss, &kb); err != nil {
			return err
		}
		total, by := h.Traffic()
		fmt.Println(kb, time.Duration(use.Utime.Nano()+use.Stime.Nano()).Milliseconds(), total.In, total.Out, len(h.Peers()))
		if lines.Text() == "detail" {
			fmt.Fprintln(os.Stderr, by)
		}
	}
	return nil
}

// BenchmarkIdle measures what a node with 20 peers and 10 topics costs when nothing happens: memory, CPU, and bytes on
// streams (transport headers, keep-alives and acknowledgements not counted).
func BenchmarkIdle(b *testing.B) {
	for _, profile := range []host.Profile{host.LAN, host.WAN} {
		b.Run(string(profile), func(b *testing.B) { benchIdle(b, profile) })
	}
}

func benchIdle(b *testing.B, profile host.Profile) {
	const peers, settle, measure = 20, 20 * time.Second, 60 * time.Second
	exe, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), idleEnv+"="+string(profile))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = in.Close(); _ = cmd.Wait() })
	lines := bufio.NewReader(out)
	addrs, err := lines.ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	for i := range peers {
		h := p2ptest.Host(b, fmt.Sprint("peer ", i), func(c *host.Config) { c.Network, c.Profile = "idle", profile })
		if err := whole(b.Context(), h, b.TempDir()); err != nil {
			b.Fatal(err)
		}
		if _, err := h.ConnectAny(b.Context(), strings.Fields(addrs)); err != nil {
			b.Fatal(err)
		}
	}
	ask := func(how string) (kb, ms, bin, bout, n int64) {
		if _, err := io.WriteString(in, how+"\n"); err != nil {
			b.Fatal(err)
		}
		line, err := lines.ReadString('\n')
		if err != nil {
			b.Fatal(err)
		}
		if _, err := fmt.Sscan(line, &kb, &ms, &bin, &bout, &n); err != nil {
			b.Fatal(err)
		}
		return kb, ms, bin, bout, n
	}
	for b.Loop() {
		time.Sleep(settle)
		_, ms0, in0, out0, _ := ask("")
		time.Sleep(measure)
		kb, ms, in1, out1, n := ask("detail")
		b.ReportMetric(float64(n), "peers")
		b.ReportMetric(float64(kb)/1024, "MiB-RSS")
		b.ReportMetric(float64(ms-ms0)/measure.Seconds()/10, "%core")
		b.ReportMetric(float64(in1-in0)/measure.Seconds(), "B-in/s")
		b.ReportMetric(float64(out1-out0)/measure.Seconds(), "B-out/s")
	}
}
