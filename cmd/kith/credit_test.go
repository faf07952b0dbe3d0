package main

import (
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
