package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kith/cmd/internal/fleet"
	"kith/node/api"
)

// TestTaskMovesAtHalf has the owner of a node pause it when a task is half done: another node does the rest, and no more.
func TestTaskMovesAtHalf(t *testing.T) {
	_, submitter, donors := world(t, 2)
	const steps, hashes = 12, 120_000
	base := t.TempDir()
	module, input := filepath.Join(base, "walk.wasm"), filepath.Join(base, "input.txt")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s", "-o", module, "../../tasks/kinds/wasm/testdata/walk")
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := os.WriteFile(input, []byte(strings.Repeat("a line of some text\n", 60*steps)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, d := range donors {
		must(t, d, "config", "set", "pause.handBack=1s")
	}
	submit := func() string {
		return strings.TrimSpace(must(t, submitter, "submit", "wasm", "--module", module, "--input", input, "--checkpoint",
			"-p", fmt.Sprintf(`wasm.args=["%d","%d"]`, steps, hashes), "-s", "public", "--k", "1", "-q"))
	}
	var first *fleet.Node
	var j api.JobDetail
	var id, why string
	for try := 0; j.Moves.Count == 0; try++ { // where this test had no turn for so long that the task was done meanwhile, again
		if try == 4 {
			t.Fatal("never: a task is ended when it is half done")
		}
		if first != nil {
			must(t, first, "resume")
		}
		id = submit()
		first = half(t, submitter, donors, id)
		if err := first.Call(limit(t, 10*time.Second), http.MethodPost, "pause", nil, new(api.Owner)); err != nil {
			t.Fatal(err)
		}
		last := 0.0
		var err error
		if j, err = submitter.Wait(limit(t, 2*time.Minute), id, 50*time.Millisecond, func(j api.JobDetail) {
			if j.Progress < last {
				t.Errorf("progress fell from %v to %v", last, j.Progress)
			}
			last = j.Progress
			if j.Moves.Count > 0 && !strings.Contains(why, "%") {
				var e api.Explanation
				if err := submitter.Call(limit(t, 10*time.Second), http.MethodGet, "jobs/"+id+"/explain", nil, &e); err == nil {
					why = e.Summary
				}
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("it says: %s", why)
	if !strings.Contains(why, "went on") {
		t.Errorf("explained as %q", why)
	}
	if j.Moves.Count != 1 || j.Moves.SparedMillis <= 0 {
		t.Errorf("moves: %+v", j.Moves)
	}
	for _, w := range j.Workers {
		if mine := w.Node == status(t, first).Node; mine && (w.Accepted != 0 || w.Returned == 0) || !mine && w.Accepted != 1 {
			t.Errorf("%s (ended: %v): %+v", w.Node.Short(), mine, w.Contributions)
		}
	}
	if text := must(t, submitter, "job", "show", id); !strings.Contains(text, "1 task went on at other nodes") {
		t.Errorf("shown as %s", text)
	}

	result := filepath.Join(base, "result")
	must(t, submitter, "job", "get", id, result)
	text, err := os.ReadFile(filepath.Join(result, "walk.txt"))
	if err != nil {
		t.Fatal(err)
	}
	var began int
	var got string
	if _, err := fmt.Sscan(string(text), &began, &got); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	var sum [sha256.Size]byte
	for step := range steps {
		for range hashes {
			sum = sha256.Sum256(append(sum[:], byte(step)))
		}
	}
	if want := hex.EncodeToString(sum[:]); got != want {
		t.Errorf("the result is %s, want %s", got, want)
	}
	if began < steps/2-1 || began >= steps {
		t.Errorf("the second node began at step %d of %d", began, steps)
	}
	t.Logf("the second node did steps %d to %d", began+1, steps)
}

// half waits until a donor has done half of a job's only task, or the job is over, and returns the donor that was last at it.
func half(t *testing.T, submitter *fleet.Node, donors []*fleet.Node, id string) (at *fleet.Node) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		for _, d := range donors {
			for _, r := range status(t, d).Work.Running {
				if at = d; r.Total > 0 && 2*r.Done >= r.Total {
					return at
				}
			}
		}
		var j api.JobDetail
		if err := submitter.Call(limit(t, 10*time.Second), http.MethodGet, "jobs/"+id, nil, &j); err != nil {
			t.Fatal(err)
		}
		if at != nil && j.Finished != 0 {
			return at
		}
		if time.Now().After(deadline) {
			t.Fatal("never: half of the task is done")
		}
	}
}
