package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"kith/cmd/internal/fleet"
	"kith/node/api"
)

// program builds the real binary once.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "kith-e2e-*")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "kith")
	if runtime.GOOS == "windows" {
		path += ".exe"
	}
	out, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if path, err := program(); err == nil && code == 0 && !testing.Short() {
		_ = os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(code)
}

// emptyFleet is a fleet without nodes yet, of the program as it is.
func emptyFleet(t *testing.T) *fleet.Fleet {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	f, err := fleet.New(path, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return f
}

// world starts a submitter and donors that have met.
func world(t *testing.T, donors int) (*fleet.Fleet, *fleet.Node, []*fleet.Node) {
	t.Helper()
	if testing.Short() {
		t.Skip("runs real processes")
	}
	f := emptyFleet(t)
	ctx := limit(t, 60*time.Second)
	for i := range donors + 1 {
		donate := "on"
		if i == 0 {
			donate = "off"
		}
		n, err := f.Add(ctx, fmt.Sprint("node ", i, " 🙂"), "work.donate", donate, "work.slots", "1")
		if err == nil {
			err = n.Start(ctx)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	all := f.Nodes()
	if err := all[0].Connected(ctx, donors); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			for _, n := range all {
				log, _ := os.ReadFile(n.LogFile())
				t.Logf("%s:\n%s", n.Name, log[max(0, len(log)-3000):])
			}
		}
	})
	return f, all[0], all[1:]
}

func limit(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// must runs a command against a node's folder and returns its standard output.
func must(t *testing.T, n *fleet.Node, args ...string) string {
	t.Helper()
	out, err := n.Kith(limit(t, 60*time.Second), args...)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return out
}

// exits runs a command that must end with a code.
func exits(t *testing.T, n *fleet.Node, code int, want string, args ...string) {
	t.Helper()
	_, err := n.Kith(limit(t, 60*time.Second), args...)
	var ended *exec.ExitError
	if !errors.As(err, &ended) || ended.ExitCode() != code || !strings.Contains(err.Error(), want) {
		t.Fatalf("kith %v: %v, want exit code %d and %q", args, err, code, want)
	}
}

func status(t *testing.T, n *fleet.Node) (s api.Status) {
	t.Helper()
	if err := n.Call(limit(t, 10*time.Second), http.MethodGet, "status", nil, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// corpus makes a folder with files of odd names.
func corpus(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "a corpus 🙂")
	for i := range 40 {
		sub := filepath.Join(dir, fmt.Sprint("ü", i%4))
		if err := os.MkdirAll(sub, 0o755); err != nil {
			t.Fatal(err)
		}
		text := strings.Repeat(fmt.Sprintf("Paragraph %d of a text about nothing in particular.\n\n", i%30), 40+i*10)
		if err := os.WriteFile(filepath.Join(sub, fmt.Sprintf("file %d.md", i)), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestWorkIsDoneByOthers(t *testing.T) {
	_, submitter, donors := world(t, 2)
	must(t, submitter, "submit", "test.noop", "--wait", "--timeout", "30s")

	input, base := corpus(t), t.TempDir()
	together, alone := filepath.Join(base, "together"), filepath.Join(base, "alone")
	pipe := "etl.chunk,etl.dedup,etl.lang,etl.zstd"
	out := must(t, submitter, "submit", pipe, input, "-s", "public", "--part-size", "64KiB", "--name", "a name 🙂", "-o", together, "--timeout", "60s", "--json")
	must(t, submitter, "local", pipe, input, "--part-size", "200KiB", "-o", alone)
	if files, size, err := fleet.Same(alone, together); err != nil || files == 0 || size == 0 {
		t.Fatalf("%d files, %d bytes: %v", files, size, err)
	}
	var j api.JobDetail
	if err := json.NewDecoder(strings.NewReader(out)).Decode(&j); err != nil || j.State != "done" || j.Name != "a name 🙂" {
		t.Fatalf("%v: %s", err, out)
	}

	// Every result was agreed on by both, and both sides signed for it.
	var receipts []api.Receipt
	if err := submitter.Call(limit(t, 10*time.Second), http.MethodGet, "receipts?limit=10000&job="+j.ID.String(), nil, &receipts); err != nil {
		t.Fatal(err)
	}
	if len(receipts) != 2*j.Totals.Accepted/2 || j.Totals.Accepted != 2*tasksOf(j) {
		t.Errorf("%d receipts and %d accepted replicas for %d tasks", len(receipts), j.Totals.Accepted, tasksOf(j))
	}
	for _, d := range donors {
		if s := status(t, d); s.Work.Accepted == 0 {
			t.Errorf("%s did nothing", d.Name)
		}
		if text := must(t, d, "receipts"); !strings.Contains(text, "worker") {
			t.Errorf("%s has no receipts: %s", d.Name, text)
		}
	}
	for _, args := range [][]string{{"jobs"}, {"job", j.ID.Short()}, {"job", "explain", j.ID.String()}, {"peers"}, {"status"}, {"evidence", "export"}, {"page"}, {"kinds"}} {
		if text := must(t, submitter, args...); strings.TrimSpace(text) == "" {
			t.Errorf("kith %v prints nothing", args)
		}
	}
	proof := filepath.Join(base, "evidence.json")
	must(t, submitter, "evidence", "export", "--job", j.ID.String(), proof)
	if text := must(t, donors[0], "evidence", "verify", proof); !strings.Contains(text, "it holds") || strings.Contains(text, " 0 receipts") {
		t.Error(text)
	}
	data, err := os.ReadFile(proof)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(proof, bytes.Replace(data, []byte(`"wallMillis": `), []byte(`"wallMillis": 1`), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	exits(t, submitter, exitFailed, "does not hold", "evidence", "verify", proof)
	piped := must(t, submitter, "job", "get", j.ID.String(), "-")
	if !strings.Contains(piped, "index.jsonl") {
		t.Error("the tar of the result has no index")
	}
	exits(t, submitter, exitUsage, "not empty", "job", "get", j.ID.String(), "-o", together)
	exits(t, submitter, exitNotFound, "kith jobs", "job", "show", "zzzzzzzz")
	exits(t, submitter, exitNotFound, "check the path", "submit", "etl.chunk", filepath.Join(base, "gone"), "-s", "public")
	exits(t, submitter, exitUsage, "window", "submit", "etl.chunk", input, "-s", "public", "-p", "etl.chunk.window=-5")
	exits(t, submitter, exitUsage, "kith local", "submit", "etl.chunk", input, "-s", "private")
}

// tasksOf counts the tasks that workers do: gathers are the submitter's own.
func tasksOf(j api.JobDetail) (n int) {
	for _, s := range j.Stages {
		if s.Mode != "gather" {
			n += s.Tasks.Total
		}
	}
	return n
}

func TestJobThatNobodyCanAgreeOn(t *testing.T) {
	_, submitter, _ := world(t, 1)
	id := strings.TrimSpace(must(t, submitter, "submit", "test.noop", "-q"))
	deadline := time.Now().Add(20 * time.Second)
	for {
		text := must(t, submitter, "job", "explain", id)
		if strings.Contains(text, "too-few-nodes") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the job does not say why it waits: %s", text)
		}
		time.Sleep(50 * time.Millisecond)
	}
	exits(t, submitter, exitTimeout, "", "job", "follow", id, "--timeout", "200ms")
	exits(t, submitter, exitRefused, "not finished", "job", "get", id, "-")
	if text := must(t, submitter, "job", "cancel", id); !strings.Contains(text, "cancelled") {
		t.Fatal(text)
	}
	exits(t, submitter, exitRefused, "cancelled", "job", "follow", id)
}

func TestSwitchHoldsOverRestart(t *testing.T) {
	_, submitter, donors := world(t, 1)
	donor := donors[0]
	must(t, donor, "pause")
	donor.Kill()
	ctx := limit(t, 60*time.Second)
	if err := donor.Start(ctx); err != nil {
		t.Fatal(err)
	}
	if s := status(t, donor); s.Owner.State != "paused" || len(s.Work.Why) == 0 || s.Work.Why[0].Code != "paused" {
		t.Fatalf("after a restart: %+v, why %+v", s.Owner, s.Work.Why)
	}
	must(t, donor, "resume")
	id := strings.TrimSpace(must(t, submitter, "submit", "test.sleep", "-p", "test.sleep.millis=60000", "--k", "1", "-q"))
	waitFor(t, "the task runs", func() bool { return len(status(t, donor).Work.Running) == 1 })
	begun := time.Now()
	must(t, donor, "kill")
	waitFor(t, "the task is gone", func() bool { return len(status(t, donor).Work.Running) == 0 })
	t.Logf("the kill switch took %s, the command's own start included", time.Since(begun))
	if s := status(t, donor); s.Owner.State != "killed" {
		t.Fatalf("state %s", s.Owner.State)
	}
	must(t, submitter, "job", "cancel", id)
}

func waitFor(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

func TestOneProcessAFolderAndGoodStop(t *testing.T) {
	_, n, _ := world(t, 0)
	exits(t, n, exitRefused, "another kith process", "run")
	exits(t, n, exitRefused, "another kith process", "init")
	res, err := http.Get(strings.TrimSpace(must(t, n, "page")))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, _ := io.ReadAll(res.Body); res.StatusCode != http.StatusOK || len(body) == 0 {
		t.Fatalf("the page answers %s", res.Status)
	}
	must(t, n, "config", "set", "work.donate", "on") // through the running node, and at once
	must(t, n, "config", "set", "work.slots", "3")
	if s := status(t, n); s.Work.Slots != 3 {
		t.Errorf("%d slots: a live setting has no effect", s.Work.Slots)
	}
	must(t, n, "config", "set", "work.kindsOff", "test.*")
	var kinds []api.Kind
	if err := n.Call(limit(t, 10*time.Second), http.MethodGet, "kinds", nil, &kinds); err != nil {
		t.Fatal(err)
	}
	for _, k := range kinds {
		if k.Allowed == strings.HasPrefix(k.Name, "test.") {
			t.Errorf("%s allowed: %v", k.Name, k.Allowed)
		}
	}
	if runtime.GOOS == "windows" {
		return
	}
	p, err := os.FindProcess(n.PID())
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the node stops", func() bool { _, err := n.Kith(t.Context(), "status"); return err != nil })
	exits(t, n, exitNotRunning, "kith run", "status")
	if text := must(t, n, "config", "get", "work.kindsOff"); strings.TrimSpace(text) != "test.*" {
		t.Errorf("the setting is %s after the stop", text)
	}
}
