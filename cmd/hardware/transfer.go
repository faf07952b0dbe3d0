package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os/exec"
	"time"

	"kith/bench"
	netbench "kith/bench/network"
	"kith/p2p"
	"kith/p2p/host"
	"kith/p2p/rpc"
)

var (
	measured = rpc.Proto{Name: "measure", Version: 1}
	plain    = rpc.Proto{Name: "plain", Version: 1}
)

// transfer holds what we measure over one stream against what the transport can do at all, and that against iperf3.
func transfer(ctx context.Context, _ string, d time.Duration) ([]row, error) {
	tcp, err := iperf(ctx, d)
	var rows []row
	for _, t := range []struct {
		name string
		on   host.Transports
	}{{"TCP", host.TCPOnly}, {"QUIC", host.QUICOnly}} {
		ours, ceiling, terr := between(ctx, t.on, d)
		if terr != nil {
			return nil, fmt.Errorf("%s: %w", t.name, terr)
		}
		rows = append(rows, row{What: "down, one stream over " + t.name, Unit: "B/s", Ours: ours, Theirs: ceiling, Tool: "the same transport, one long copy", Within: 0.15})
		r := row{What: "the transport itself, " + t.name, Unit: "B/s", Ours: ceiling, Theirs: tcp, Tool: "iperf3, one TCP stream", Why: "ours is encrypted and multiplexed (TLS 1.3), iperf3's is neither"}
		if err != nil {
			r.Miss = err.Error()
		}
		rows = append(rows, r)
	}
	return rows, nil
}

// iperf is the rate of iperf3's single stream over loopback, in bytes a second.
func iperf(ctx context.Context, d time.Duration) (float64, error) {
	if _, err := exec.LookPath("iperf3"); err != nil {
		return 0, fmt.Errorf("iperf3 is not installed")
	}
	const port = "5299"
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	server := exec.CommandContext(ctx, "iperf3", "-s", "-1", "-B", "127.0.0.1", "-p", port)
	if err := server.Start(); err != nil {
		return 0, err
	}
	defer func() { cancel(); _ = server.Wait() }()
	var out string
	var err error
	for range 20 { // until it listens
		time.Sleep(100 * time.Millisecond)
		if out, err = tool(ctx, nil, "iperf3", "-c", "127.0.0.1", "-p", port, "-J", "-t", fmt.Sprint(max(1, int(d.Seconds())))); err == nil {
			break
		}
	}
	if err != nil {
		return 0, err
	}
	var got struct {
		End struct {
			Received struct {
				Bits float64 `json:"bits_per_second"`
			} `json:"sum_received"`
		} `json:"end"`
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		return 0, err
	}
	return got.End.Received.Bits / 8, nil
}

// between measures between two hosts on loopback: as kith bench does, and by one copy of a second or more.
func between(ctx context.Context, on host.Transports, d time.Duration) (ours, ceiling float64, err error) {
	var hosts [2]*host.Host
	for i := range hosts {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return 0, 0, err
		}
		hosts[i], err = host.New(host.Config{Key: key, Network: "hardware", Profile: host.LAN, Listen: host.ListenLoopback, Transports: on, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			return 0, 0, err
		}
		defer hosts[i].Close()
	}
	serving, asking := rpc.New(hosts[0]), rpc.New(hosts[1])
	defer serving.Close()
	defer asking.Close()
	server := netbench.NewServer(netbench.Limits{PerPeer: 1 << 40, Total: 1 << 40})
	if err := serving.Handle(measured, func(ctx context.Context, s p2p.Stream) {
		_ = server.Serve(ctx, s, "us")
		_ = s.Close()
	}); err != nil {
		return 0, 0, err
	}
	if err := serving.Handle(plain, func(_ context.Context, s p2p.Stream) {
		b := make([]byte, 256<<10)
		for {
			if _, err := s.Write(b); err != nil {
				return
			}
		}
	}); err != nil {
		return 0, 0, err
	}
	hosts[1].Remember(hosts[0].Addrs(), host.LongLived)
	copied := func() (float64, error) {
		s, err := asking.Open(ctx, hosts[0].ID(), plain)
		if err != nil {
			return 0, err
		}
		defer s.Reset()
		var best float64
		for end := time.Now().Add(d); time.Now().Before(end); {
			begun := time.Now()
			n, err := io.CopyN(io.Discard, struct{ io.Reader }{s}, 256<<20) // far more than is buffered on the way
			if err != nil {
				return 0, err
			}
			best = max(best, float64(n)/time.Since(begun).Seconds())
		}
		return best, nil
	}
	before, err := copied()
	if err != nil {
		return 0, 0, err
	}
	peer := netbench.Peer{Name: "the other host", Open: func(ctx context.Context) (netbench.Stream, error) {
		return asking.Open(ctx, hosts[0].ID(), measured)
	}}
	for range 5 { // theirs is the best of several too
		device := netbench.Measure(ctx, []netbench.Peer{peer}, netbench.Options{Bytes: netbench.MaxBytes, Time: d})
		m, _ := device.Get(bench.Down)
		if !m.Graded() {
			return 0, 0, fmt.Errorf("%s", m.Ungraded)
		}
		ours = max(ours, m.Value)
	}
	after, err := copied()
	return ours, max(before, after), err
}
