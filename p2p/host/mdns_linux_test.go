package host

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// childEnv makes the test binary a node in a network namespace; its value names the node.
const childEnv = "KITH_TEST_MDNS_NODE"

// TestMDNSChild is the node that TestTwoOnOneLAN starts: it says whom it met.
func TestMDNSChild(t *testing.T) {
	name := os.Getenv(childEnv)
	if name == "" {
		t.Skip("runs only as a child of TestTwoOnOneLAN")
	}
	h := testHost(t, name, func(c *Config) { c.Listen = ListenAll })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	go func() { _ = NewDiscovery(h).Serve(ctx) }()
	events, stop := h.Watch()
	defer stop()
	for {
		select {
		case e := <-events:
			if e.Connected {
				p, _ := h.Peer(e.Peer)
				fmt.Println("met", e.Peer, p.IP)
				time.Sleep(2 * time.Second) // so that the other one sees it too
				return
			}
		case <-ctx.Done():
			t.Fatal("met nobody")
		}
	}
}

// Two machines on one LAN, a pair of network namespaces, find each other without any list.
func TestTwoOnOneLAN(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("needs the ip command (package iproute2)")
	}
	ip := func(args ...string) error {
		out, err := exec.CommandContext(t.Context(), "ip", args...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, out)
		}
		return nil
	}
	spaces := []string{fmt.Sprint("kith-a-", os.Getpid()), fmt.Sprint("kith-b-", os.Getpid())}
	for i, ns := range spaces {
		if err := ip("netns", "add", ns); err != nil {
			t.Skip("this machine makes no network namespaces: ", err)
		}
		t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", ns).Run() })
		if i == 0 {
			continue
		}
		if err := ip("link", "add", "kith0", "netns", spaces[0], "type", "veth", "peer", "name", "kith0", "netns", spaces[1]); err != nil {
			t.Skip("this machine makes no pairs of network devices: ", err)
		}
	}
	for i, ns := range spaces {
		for _, args := range [][]string{
			{"addr", "add", fmt.Sprintf("10.77.0.%d/24", i+1), "dev", "kith0"},
			{"link", "set", "kith0", "up"},
			{"link", "set", "lo", "up"},
			{"route", "add", "224.0.0.0/4", "dev", "kith0"},
		} {
			if err := ip(append([]string{"-n", ns}, args...)...); err != nil {
				t.Fatal(err)
			}
		}
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	type report struct{ node, line string }
	reports := make(chan report, 8)
	for i, ns := range spaces {
		name := fmt.Sprint("lan node ", i)
		cmd := exec.CommandContext(t.Context(), "ip", "netns", "exec", ns, exe, "-test.run=^TestMDNSChild$", "-test.v")
		cmd.Env = append(os.Environ(), childEnv+"="+name)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
		go func() {
			for lines := bufio.NewScanner(out); lines.Scan(); {
				if strings.HasPrefix(lines.Text(), "met ") {
					reports <- report{name, lines.Text()}
				}
			}
		}()
	}
	met := map[string]string{}
	for len(met) < 2 {
		select {
		case r := <-reports:
			met[r.node] = r.line
		case <-time.After(30 * time.Second):
			t.Fatalf("met only %v", met)
		}
	}
	for node, line := range met {
		if !strings.Contains(line, " 10.77.0.") {
			t.Errorf("%s: %q", node, line)
		}
	}
}
