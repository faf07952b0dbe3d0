package node

import (
	"crypto/rand"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"kith/node/api"
	"kith/p2p"
	"kith/tasks"
)

// apartEnv makes the test binary run in a network namespace of its own.
const apartEnv = "KITH_TEST_APART"

// alone runs a test again in a network namespace that has nothing but a public address, and reports whether this is
// already that run.
func alone(t *testing.T) bool {
	t.Helper()
	if os.Getenv(apartEnv) == t.Name() {
		if out, err := exec.Command("sh", "-c", "ip link set lo up && ip addr add 11.0.0.1/32 dev lo").CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return true
	}
	if testing.Short() {
		t.Skip("takes many seconds")
	}
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("needs the ip command (package iproute2)")
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe, "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), apartEnv+"="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		if strings.Contains(err.Error(), "operation not permitted") {
			t.Skip("this machine makes no network namespaces: ", err)
		}
		t.Error(err)
	}
	return false
}

// A submitter and a worker that only dial meet through a relay. Sealed inputs and outputs too large for a message go
// through a depot, and nothing of them over the relay; without one, the job waits and says why.
func TestThroughADepot(t *testing.T) {
	if !alone(t) {
		return
	}
	open := map[string]string{"listen.on": "all", "listen.profile": "auto", "listen.transports": "tcp", "peers.mdns": "off"}
	with := func(more ...string) map[string]string {
		out := map[string]string{}
		for k, v := range open {
			out[k] = v
		}
		for i := 0; i < len(more); i += 2 {
			out[more[i]] = more[i+1]
		}
		return out
	}
	middle := start(t, t.TempDir(), with("listen.reachable", "yes", "serve.relay", "on", "work.donate", "off"))
	submitter := start(t, t.TempDir(), with("listen.outboundOnly", "on", "peers.bootstrap", middle.addr(t), "work.donate", "off"))
	eventually(t, "the submitter has a relayed address", func() bool {
		s, err := submitter.api.Status(t.Context())
		return err == nil && len(s.Addresses) > 0 && strings.Contains(s.Addresses[0], "p2p-circuit")
	})
	worker := start(t, t.TempDir(), with("listen.outboundOnly", "on", "peers.bootstrap", middle.addr(t)))
	dir := t.TempDir()
	data := make([]byte, 5<<20) // of the input's own: it cannot be compressed
	_, _ = rand.Read(data)
	if err := os.WriteFile(filepath.Join(dir, "data"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	j := submitter.submit(t, api.Submit{Path: dir, K: 1, Ops: []api.Op{{Kind: "etl.zstd"}}, Sensitivity: tasks.Approved})
	eventually(t, "the job waits for a way", func() bool {
		e, err := submitter.api.Explain(t.Context(), j.ID.String())
		if err != nil {
			return false
		}
		for _, r := range e.Reasons {
			if r.Code == tasks.NoBlockPath && strings.Contains(r.Remedy, "serve.depot") {
				return true
			}
		}
		return false
	})
	if _, err := middle.api.Set(t.Context(), map[string]string{"serve.depot": "on"}); err != nil {
		t.Fatal(err)
	}
	submitter.finished(t, j.ID)
	l := submitter.live.Load()
	if direct, relayed := l.network.host.Connected(p2p.ID(worker.Self())); direct || !relayed {
		t.Errorf("the two are connected directly: %t, by a relay: %t", direct, relayed)
	}
	if n, bytes := middle.live.Load().depot.Holds(); n != 2 || bytes < 10<<20 { // the sealed input and the sealed output
		t.Errorf("the depot holds %d deposits of %d bytes", n, bytes)
	}
	for _, r := range []*running{submitter, worker, middle} {
		if st := r.blocks(); st.ServedBlocks+st.BitswapWants+st.Announced != 0 {
			t.Errorf("blocks took another way: %+v", st)
		}
	}
	done, err := submitter.api.Export(t.Context(), j.ID.String(), filepath.Join(t.TempDir(), "out"))
	if err != nil || done.Bytes < 5<<20 {
		t.Errorf("exported %+v, %v", done, err)
	}
}
