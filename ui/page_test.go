package ui_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"kith/ui"
)

// node is a stand-in that answers with the examples that node/api's own tests hold true, and remembers what the page sent.
type node struct {
	t  *testing.T
	mu sync.Mutex
	// posted is "METHOD path body" of every change, in order.
	posted []string
	owner  string
	refuse string // path whose calls are refused
	update chan struct{}
}

func (n *node) example(name string) []byte {
	b, err := os.ReadFile(filepath.Join("..", "node", "api", "testdata", name+".json"))
	if err != nil {
		n.t.Error(err)
	}
	return b
}

// status is the example with the owner's present state.
func (n *node) status() []byte {
	var s map[string]any
	if err := json.Unmarshal(n.example("status"), &s); err != nil {
		n.t.Error(err)
	}
	n.mu.Lock()
	s["owner"] = map[string]any{"state": n.owner, "since": 0}
	n.mu.Unlock()
	b, _ := json.Marshal(s)
	return b
}

func (n *node) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.Path, "/api/v1/")
	if path == r.URL.Path {
		http.FileServerFS(ui.Files()).ServeHTTP(w, r)
		return
	}
	if r.Method != http.MethodGet {
		body, _ := io.ReadAll(r.Body)
		n.mu.Lock()
		n.posted = append(n.posted, strings.TrimSpace(r.Method+" "+path+" "+string(body)))
		refused := n.refuse == path
		switch path {
		case "pause":
			n.owner = "paused"
		case "resume":
			n.owner = "working"
		case "kill":
			n.owner = "killed"
		}
		n.mu.Unlock()
		if refused {
			w.WriteHeader(http.StatusConflict)
			_, _ = w.Write(n.example("failure"))
			return
		}
		select {
		case n.update <- struct{}{}:
		default:
		}
	}
	switch {
	case path == "events":
		n.stream(w, r)
	case path == "kinds":
		_, _ = w.Write(n.example("kinds"))
	case strings.HasSuffix(path, "/explain"):
		_, _ = w.Write(n.example("explain"))
	case strings.HasPrefix(path, "jobs"):
		_, _ = w.Write(n.example("job"))
	default:
		_, _ = w.Write(n.example("owner"))
	}
}

func (n *node) stream(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	send := func(name string, data []byte) {
		var compact strings.Builder
		for line := range strings.Lines(string(data)) {
			compact.WriteString(strings.TrimSpace(line))
		}
		fmt.Fprintf(w, "event: %s\ndata: %s\n\n", name, compact.String())
	}
	send("peers", n.example("peers"))
	send("jobs", n.example("jobs"))
	for {
		send("status", n.status())
		w.(http.Flusher).Flush()
		select {
		case <-n.update:
		case <-r.Context().Done():
			return
		}
	}
}

func (n *node) sent() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return strings.Join(n.posted, "\n")
}

// browser starts a real Chromium, or skips the test where there is none.
func browser(t *testing.T, width, height int) context.Context {
	t.Helper()
	if testing.Short() {
		t.Skip("drives a browser")
	}
	var program string
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if p, err := exec.LookPath(name); err == nil {
			program = p
			break
		}
	}
	if program == "" {
		t.Skip("no Chromium on this machine")
	}
	profile, err := os.MkdirTemp("", "kith-browser") // not TempDir: helpers of the browser may outlive it by a moment
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(profile) })
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(program), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.WindowSize(width, height),
		chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-sync", true), chromedp.Flag("disable-quic", true), chromedp.Flag("no-first-run", true),
		chromedp.UserDataDir(profile))
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancel)
	// This client does not know every event of a newer browser; what matters fails a step.
	ctx, cancel = chromedp.NewContext(ctx, chromedp.WithErrorf(func(string, ...any) {}))
	t.Cleanup(func() {
		_ = chromedp.Cancel(ctx) // waits for the browser to end, so that its folder can be removed
		cancel()
	})
	ctx, cancel = context.WithTimeout(ctx, time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func open(t *testing.T) (*node, *httptest.Server) {
	n := &node{t: t, owner: "working", update: make(chan struct{}, 1)}
	s := httptest.NewServer(n)
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return n, s
}

func text(sel string, into *string) chromedp.Action {
	return chromedp.Text(sel, into, chromedp.ByQuery)
}

func run(t *testing.T, ctx context.Context, actions ...chromedp.Action) {
	t.Helper()
	if err := chromedp.Run(ctx, actions...); err != nil {
		t.Fatal(err)
	}
}

// has waits until the element's text holds want.
func has(sel, want string) chromedp.Action {
	return chromedp.Poll(fmt.Sprintf(`(document.querySelector(%q)?.innerText ?? "").includes(%q)`, sel, want), nil)
}

func TestPage(t *testing.T) {
	n, s := open(t)
	ctx := browser(t, 1100, 1300)
	run(t, ctx, chromedp.Navigate(s.URL), has("#now", "etl.chunk/chunk"), has("#jobs", "corpus"), has("#peers", "quic"))

	var now, jobs, health string
	run(t, ctx, text("#now", &now), text("#jobs", &jobs), text(".health", &health))
	for _, want := range []string{"118 agreed", "2 handed back", "59 MB", "1 of 2 slots"} {
		if !strings.Contains(now, want) {
			t.Errorf("the card of what runs now lacks %q:\n%s", want, now)
		}
	}
	for _, want := range []string{"14 of 40 tasks", "35 %", "7 s left", "13 MB/s", "fewer eligible nodes", "lower --k", "done at"} {
		if !strings.Contains(jobs, want) {
			t.Errorf("the jobs lack %q:\n%s", want, jobs)
		}
	}
	if !strings.Contains(health, "The disk is nearly full") {
		t.Errorf("the problems lack the full disk: %s", health)
	}

	var filled float64
	run(t, ctx, chromedp.Evaluate(`(b => b.firstChild.offsetWidth / b.offsetWidth)(document.querySelector("#jobs .bar"))`, &filled))
	if filled < 0.3 || filled > 0.4 {
		t.Errorf("the bar of a job at 35 %% is filled to %.2f", filled)
	}
	shoot(t, ctx, "page.png")
	t.Run("pause and resume", func(t *testing.T) {
		run(t, ctx, chromedp.Click("#pause:enabled"), has("#state", "Paused"), chromedp.Click("#resume:enabled"), has("#state", "Giving"))
		run(t, ctx, chromedp.KeyEvent("p"), has("#state", "Paused"), chromedp.KeyEvent("p"), has("#state", "Giving"))
	})
	t.Run("stopping everything asks first", func(t *testing.T) {
		before := n.sent()
		run(t, ctx, chromedp.Click("#kill:enabled"), chromedp.WaitVisible("dialog"), chromedp.KeyEvent(kb.Escape), chromedp.WaitNotPresent("dialog"))
		if got := n.sent(); got != before {
			t.Fatalf("closing the question sent %q", got)
		}
		run(t, ctx, chromedp.Click("#kill:enabled"), chromedp.Click("dialog .danger"), has("#state", "Stopped"), chromedp.Click("#resume:enabled"), has("#state", "Giving"))
	})
	t.Run("more about a job", func(t *testing.T) {
		run(t, ctx, chromedp.Click("#jobs .twist"), has("#jobs .more", "20 tasks wait"), has("#jobs .more", "etl.dedup/sign"), has("#jobs .log", "2 of 2 agree"))
	})
	shoot(t, ctx, "more.png")
	t.Run("submit", func(t *testing.T) {
		run(t, ctx,
			chromedp.SendKeys("#submit [name=path]", "/home/ann/köşe 🌱"),
			chromedp.Click("#submit input[value='etl.chunk']"),
			chromedp.Click("#submit input[value='approved']"),
			chromedp.Click("#submit .primary"), has("#submit .good", "on its way"))
		const want = `POST jobs {"path":"/home/ann/köşe 🌱","ops":[{"kind":"etl.chunk"}],"k":2,"n":0,"sensitivity":"approved"}`
		if got := n.sent(); !strings.HasSuffix(got, want) {
			t.Errorf("the page sent\n%s\nwant last\n%s", got, want)
		}
	})
	t.Run("a refusal is shown with its remedy", func(t *testing.T) {
		n.mu.Lock()
		n.refuse = "jobs"
		n.mu.Unlock()
		run(t, ctx, chromedp.Click("#submit .primary"), has("#submit .trouble", "kith jobs lists them"))
	})
	t.Run("a gone node leaves the page standing", func(t *testing.T) {
		s.CloseClientConnections()
		s.Listener.Close()
		run(t, ctx, has("#state", "Not connected"), has("#jobs", "corpus"))
	})
}

func TestPhoneWidth(t *testing.T) {
	_, s := open(t)
	ctx := browser(t, 380, 800)
	var wide int
	run(t, ctx, chromedp.EmulateViewport(360, 780), chromedp.Navigate(s.URL), has("#now", "etl.chunk/chunk"),
		chromedp.Evaluate(`document.documentElement.scrollWidth`, &wide))
	if wide > 360 {
		t.Errorf("at a width of 360 the page is %d wide", wide)
	}
	shoot(t, ctx, "phone.png")
}

// shoot keeps a picture of the page in the folder KITH_SCREENSHOTS, if that is set.
func shoot(t *testing.T, ctx context.Context, name string) {
	t.Helper()
	dir := os.Getenv("KITH_SCREENSHOTS")
	if dir == "" {
		return
	}
	var png []byte
	run(t, ctx, chromedp.FullScreenshot(&png, 100))
	if err := os.WriteFile(filepath.Join(dir, name), png, 0o644); err != nil {
		t.Fatal(err)
	}
}
