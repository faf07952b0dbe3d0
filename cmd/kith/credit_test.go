package main

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kith/cmd/internal/fleet"
	"kith/node/api"
	"kith/storage/dag"
	"kith/tasks"
	"kith/tasks/wire"
)

// A volunteer does a task of its own again and finds the same result; what both sides keep of the work makes the same
// balance, in this program or anybody else's.
func TestReceiptsAreReplayedAndAddedUp(t *testing.T) {
	_, submitter, donors := world(t, 2)
	input := corpus(t)
	must(t, submitter, "submit", "etl.chunk,etl.dedup", input, "-s", "public", "--part-size", "64KiB", "--wait", "--timeout", "60s")
	must(t, submitter, "submit", "etl.hash", input, "-s", "approved", "--part-size", "256KiB", "--wait", "--timeout", "60s")

	var receipts []api.Receipt
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if err := donors[0].Call(limit(t, 10*time.Second), http.MethodGet, "receipts?limit=10000", nil, &receipts); err != nil {
			t.Fatal(err)
		}
		kinds := map[string]bool{}
		for _, r := range receipts {
			for _, k := range r.Kinds {
				kinds[k] = kinds[k] || r.Outcome == tasks.Accepted
			}
		}
		if kinds["etl.dedup/agree"] && kinds["etl.dedup/apply"] && kinds["etl.hash/run"] || time.Now().After(end) {
			break
		}
	}
	done := map[string]bool{}
	for _, r := range receipts { // one of each kind of stage, sealed inputs too
		name := strings.Join(r.Kinds, "+")
		if done[name] || r.Outcome != tasks.Accepted {
			continue
		}
		done[name] = true
		if text := must(t, donors[0], "receipt", "replay", r.Lease.Short()); !strings.Contains(text, "the same result") {
			t.Errorf("%s: %s", name, text)
		}
	}
	t.Logf("replayed %v", done)
	if len(done) < 4 {
		t.Errorf("replayed %v", done)
	}
	exits(t, donors[0], exitNotFound, "kith receipts", "receipt", "replay", "zzzzzzzz")

	// The worker's own file and the submitter's say the same of the two.
	dir := t.TempDir()
	nets := map[string]int64{}
	for _, n := range []*fleet.Node{submitter, donors[0]} {
		file := filepath.Join(dir, n.Name+".json")
		must(t, n, "receipts", "export", file)
		var shown, again account
		for _, c := range []struct {
			args []string
			into *account
		}{{[]string{"credit", "--json"}, &shown}, {[]string{"credit", "verify", "--json", file}, &again}} {
			if err := json.Unmarshal([]byte(must(t, n, c.args...)), c.into); err != nil {
				t.Fatal(err)
			}
		}
		if shown.Digest == (wire.Hash{}) || shown.Digest != again.Digest || shown.Balance != again.Balance {
			t.Errorf("%s shows %+v, its file makes %+v", n.Name, shown, again)
		}
		for _, x := range shown.Transfers {
			if key := fmt.Sprint(x.Worker.Short(), " for ", x.Submitter.Short()); nets[key] != 0 && nets[key] != x.Net {
				t.Errorf("%s: %d ms and %d ms", key, nets[key], x.Net)
			} else {
				nets[key] = x.Net
			}
		}
	}
	file := filepath.Join(dir, submitter.Name+".json")
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(strings.Replace(string(data), `"cpuMillis": `, `"cpuMillis": 9`, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if text := must(t, submitter, "credit", "verify", file); !strings.Contains(text, "worth nothing, forged") {
		t.Errorf("a receipt that was raised counts: %s", text)
	}
}

// exported is a file of one worker's receipts on some network: claims on two results that their submitter has acknowledged.
func exported(t *testing.T, network string) *wire.Bundle {
	t.Helper()
	keys := map[wire.Role]ed25519.PrivateKey{}
	ids := map[wire.Role]tasks.NodeID{}
	for _, r := range []wire.Role{wire.Worker, wire.Submitter} {
		keys[r] = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{byte(r)}, ed25519.SeedSize))
		ids[r] = tasks.NodeID(keys[r].Public().(ed25519.PublicKey))
	}
	session := wire.NewSessionID()
	worker := wire.NewSession(network, keys[wire.Worker], ids[wire.Submitter], session, wire.Worker)
	submitter := wire.NewSession(network, keys[wire.Submitter], ids[wire.Worker], session, wire.Submitter)
	now := time.Now().UnixMilli()
	word := &wire.Delivered{Time: now}
	var claims wire.Claims
	for i := range 2 {
		c := wire.Claim{Task: tasks.TaskID{byte(i)}, Expiry: now, Kinds: []string{"x/run"}, Root: dag.Sum(dag.Raw, dag.SHA256, nil), CPUMillis: 500}
		claims.Leases = append(claims.Leases, c)
		word.Results = append(word.Results, wire.Delivery{Lease: c.Lease(ids[wire.Worker]), Root: c.Root})
	}
	for _, m := range []wire.Message{&wire.Welcome{Session: session, Time: now}, word} {
		sealed, err := submitter.Seal(m, now)
		if err != nil {
			t.Fatal(err)
		}
		frame, err := wire.ReadFrame(bytes.NewReader(sealed), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := worker.Open(frame, now); err != nil {
			t.Fatal(err)
		}
		if claims.Heard, err = worker.Spoken(frame); err != nil {
			t.Fatal(err)
		}
	}
	claims.Sign(network, keys[wire.Worker])
	return &wire.Bundle{Version: wire.Version, Network: network, Writer: ids[wire.Worker], At: now, Batches: []wire.Batch{}, Conflicts: []wire.Evidence{}, Claims: []wire.Claims{claims}}
}

func TestWhatIsSigned(t *testing.T) {
	for want, r := range map[string]api.Receipt{
		"by both": {Countered: true}, "by one": {}, "claim": {Claim: api.ClaimAccepted}, "claim, delivered": {Claim: api.ClaimDelivered}, "claim, no verdict": {Claim: api.ClaimAsked},
	} {
		if got := signedText(&r); got != want {
			t.Errorf("%+v: %q, want %q", r, got, want)
		}
	}
}

// Files are told by anybody, without a node, for what they prove; those of two networks are not added up, and what was signed
// on one proves nothing on another.
func TestExportedClaims(t *testing.T) {
	home, dir := t.TempDir(), t.TempDir()
	write := func(name string, b *wire.Bundle) string {
		t.Helper()
		var text bytes.Buffer
		if err := b.WriteJSON(&text); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, text.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	here, there := write("here", exported(t, "main")), write("there", exported(t, "other"))
	b := exported(t, "other")
	b.Network = "main"
	carried := write("carried", b)
	b = exported(t, "main")
	b.Claims[0].Leases[0].CPUMillis *= 100
	raised := write("raised", b)
	for _, c := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"what it proves", []string{"evidence", "verify", here}, exitOK, "2 claims without a receipt, for 2 of which it is signed that the result arrived"},
		{"for programs", []string{"evidence", "verify", here, "--json"}, exitOK, `"delivered": 2`},
		{"what it is worth", []string{"credit", "verify", here}, exitOK, "got no verdict: 2; it is signed that they arrived: 2"},
		{"worth for programs", []string{"credit", "verify", here, "--json"}, exitOK, `"delivered": 2`},
		{"the same file twice", []string{"credit", "verify", here, here}, exitOK, "got no verdict: 2; it is signed that they arrived: 2"},
		{"two networks", []string{"credit", "verify", here, there}, exitUsage, "name the files of one network"},
		{"carried to another network", []string{"evidence", "verify", carried}, exitFailed, "does not hold"},
		{"nor worth anything there", []string{"credit", "verify", carried}, exitOK, "worth nothing, forged: 2"},
		{"raised", []string{"evidence", "verify", raised}, exitFailed, "does not hold"},
		{"nor worth more", []string{"credit", "verify", raised}, exitOK, "worth nothing, forged: 2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, out, errs := try(t, home, c.args...)
			if text := out + errs; code != c.code || !strings.Contains(text, c.want) {
				t.Errorf("exit %d, want %d and %q:\n%s", code, c.code, c.want, text)
			}
		})
	}
}

// An adaptive job is asked for on the command line, and what is thought of its workers is told.
func TestAdaptiveFromTheCommandLine(t *testing.T) {
	_, submitter, donors := world(t, 3)
	must(t, submitter, "submit", "test.noop", "-p", "test.noop.tasks=60", "--replication", "adaptive", "--wait", "--timeout", "60s")
	out := must(t, submitter, "submit", "test.noop", "-p", "test.noop.tasks=200", "--replication", "adaptive", "--wait", "--timeout", "60s", "--json")
	var j api.JobDetail
	if err := json.NewDecoder(strings.NewReader(out)).Decode(&j); err != nil || j.State != "done" || j.Policy.Replication != tasks.Adaptive {
		t.Fatalf("%v: %s", err, out)
	}
	if j.Totals.Accepted >= 2*200 || j.Totals.Accepted < 200 {
		t.Errorf("%d accepted replicas for 200 tasks", j.Totals.Accepted)
	}
	var list []api.Trust
	if err := json.Unmarshal([]byte(must(t, submitter, "trust", "--json")), &list); err != nil || len(list) != len(donors) {
		t.Fatalf("%d workers, %v", len(list), err)
	}
	for _, w := range list {
		if text := must(t, submitter, "trust", w.Node.Short()); !strings.Contains(text, "believed alone") {
			t.Errorf("%s", text)
		}
	}
	exits(t, submitter, exitRefused, "nothing is held against", "trust", "appeal", list[0].Node.Short())
	exits(t, submitter, exitNotFound, "kith trust", "trust", "appeal", "zzzzzzzz")
	exits(t, submitter, exitUsage, "fixed", "submit", "test.noop", "--replication", "sometimes")
}
