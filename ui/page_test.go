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
	posted   []string
	owner    string
	refuse   string            // path whose calls are refused
	values   map[string]string // of settings
	snoozing bool
	appealed bool
	update   chan struct{}
}

func (n *node) example(name string) []byte {
	b, err := os.ReadFile(filepath.Join("..", "node", "api", "testdata", name+".json"))
	if err != nil {
		n.t.Error(err)
	}
	return b
}

// settings are those that the page shows.
func settings() map[string]string {
	return map[string]string{
		"work.cpu": "100", "inUse.cpu": "25", "work.cores": "2", "inUse.cores": "2", "work.memory": "4GiB", "inUse.memory": "2GiB",
		"work.io": "unlimited", "inUse.io": "10MiB/s", "work.down": "unlimited", "inUse.down": "unlimited", "work.up": "unlimited", "inUse.up": "512KiB/s",
		"work.hours": "", "pause.active": "shrink", "pause.fullScreen": "on", "pause.battery": "on", "pause.metered": "off", "pause.programs": "",
		"work.vram": "16TiB", "inUse.vram": "2GiB", "work.scratch": "16GiB", "pause.hot": "85", "pause.busy": "50", "work.goalHours": "0",
		"work.priority": "balanced", "work.mine": "",
	}
}

func (n *node) settings() []byte {
	n.mu.Lock()
	defer n.mu.Unlock()
	list := []any{}
	for key, value := range n.values {
		list = append(list, map[string]any{"key": key, "value": value, "default": "", "set": true, "doc": "", "type": "text", "choices": []string{}, "range": "", "live": true})
	}
	b, _ := json.Marshal(list)
	return b
}

// level is what the owner's word alone has in effect.
func (n *node) level() string {
	return map[string]string{"working": "full", "paused": "paused", "killed": "killed"}[n.owner]
}

// status is the example with the owner's present state.
func (n *node) status() []byte {
	var s map[string]any
	if err := json.Unmarshal(n.example("status"), &s); err != nil {
		n.t.Error(err)
	}
	n.mu.Lock()
	o := s["owner"].(map[string]any)
	o["state"], o["since"], o["level"] = n.owner, 0, n.level()
	if n.snoozing {
		o["level"] = "paused"
		o["reasons"] = []any{map[string]any{"cause": "snooze", "level": "paused", "since": 0, "until": time.Now().Add(29 * time.Minute).UnixMilli(), "text": "snoozed by you", "ends": "in 29 min"}}
	}
	n.mu.Unlock()
	b, _ := json.Marshal(s)
	return b
}

// trust is the example, in which one worker is suspended, or what an appeal made of it.
func (n *node) trust() []byte {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.appealed {
		return n.example("trust")
	}
	var list []map[string]any
	if err := json.Unmarshal(n.example("trust"), &list); err != nil {
		n.t.Error(err)
	}
	list[0]["standing"], list[0]["words"], list[0]["cases"] = "newcomer", []string{"a newcomer"}, []any{}
	b, _ := json.Marshal(list)
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
		case "snooze":
			n.snoozing = !strings.Contains(string(body), `"millis":0`)
		case "config":
			if !refused {
				_ = json.Unmarshal(body, &n.values) // on top of what there is
			}
		case "config/undo":
			n.values = settings()
		}
		n.appealed = n.appealed || strings.HasSuffix(path, "/appeal") && !refused
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
	case path == "config" && r.Method == http.MethodGet:
		_, _ = w.Write(n.settings())
	case strings.HasPrefix(path, "config"):
		fmt.Fprintf(w, `{"changed":[],"restart":false,"canUndo":%v,"canRedo":false,"settings":%s}`, path == "config", n.settings())
	case path == "credit":
		_, _ = w.Write(n.example("credit"))
	case strings.HasPrefix(path, "trust"):
		_, _ = w.Write(n.trust())
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
	n := &node{t: t, owner: "working", update: make(chan struct{}, 1), values: settings()}
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

// enter writes into a field of what the owner gives. While a call is under way its button rests, and so does the key.
func enter(name, text string) chromedp.Action {
	field := fmt.Sprintf("#give [name=%s]", name)
	return chromedp.Tasks{chromedp.WaitEnabled(field + " + button"), chromedp.SendKeys(field, text+kb.Enter)}
}

// sends waits until the last thing the page asked of the node is want.
func sends(n *node, want string) chromedp.Action {
	return chromedp.ActionFunc(func(ctx context.Context) error {
		for !strings.HasSuffix(n.sent(), want) {
			select {
			case <-ctx.Done():
				return fmt.Errorf("the page sent\n%s\nwant last\n%s: %w", n.sent(), want, ctx.Err())
			case <-time.After(10 * time.Millisecond):
			}
		}
		return nil
	})
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
			chromedp.Click("#submit .primary"), has("#submit .good", "on its way"),
			sends(n, `POST jobs {"path":"/home/ann/köşe 🌱","ops":[{"kind":"etl.chunk"}],"k":2,"n":0,"sensitivity":"approved"}`))
	})
	t.Run("sliders", func(t *testing.T) {
		move := func(name string, to int) chromedp.Action {
			return chromedp.Evaluate(fmt.Sprintf(`(s => { s.value = %d; s.dispatchEvent(new Event("input", {bubbles: true})); s.dispatchEvent(new Event("change", {bubbles: true})); })(document.querySelector("#give [name='%s']"))`, to, name), nil)
		}
		run(t, ctx, has("#give", "25 %"), has("#give", "10 MB/s"), has("#give", "unlimited"), move("inUse.cpu", 3), has("#give", "10 %"),
			sends(n, `PATCH config {"inUse.cpu":"10"}`))
		run(t, ctx, chromedp.Click("#undo:enabled"), has("#give", "25 %"))
		run(t, ctx, move("work.up", 6), sends(n, `PATCH config {"work.up":"5MiB/s"}`))
		run(t, ctx, has("#give", "all"), move("inUse.vram", 0), sends(n, `PATCH config {"inUse.vram":"64MiB"}`))
		run(t, ctx, has("#give", "85 °C"), move("pause.hot", 5), has("#give", "75 °C"), sends(n, `PATCH config {"pause.hot":"75"}`))
		run(t, ctx, move("pause.busy", 9), has("#give", "never"), sends(n, `PATCH config {"pause.busy":"100"}`))
		run(t, ctx, move("work.scratch", 2), sends(n, `PATCH config {"work.scratch":"1024MiB"}`))
		run(t, ctx, has("#give", "none"), move("work.goalHours", 5), has("#give", "40 h"), sends(n, `PATCH config {"work.goalHours":"40"}`))
	})
	t.Run("whose tasks come first", func(t *testing.T) {
		run(t, ctx, chromedp.Click("#give input[value='mine-first']"), sends(n, `PATCH config {"work.priority":"mine-first"}`))
		run(t, ctx, chromedp.WaitVisible("#give .chip.on input[value='mine-first']"), enter("mine", "ab23"), has("#give", "ab23 is mine"), sends(n, `PATCH config {"work.mine":"ab23"}`))
		run(t, ctx, chromedp.Click("#give [aria-label='forget ab23']"), sends(n, `PATCH config {"work.mine":""}`),
			chromedp.WaitNotPresent("#give [aria-label='forget ab23']"))
	})
	t.Run("hours and programs", func(t *testing.T) {
		run(t, ctx, enter("hours", "mon-fri 22:00-07:00"), has("#give", "mon-fri 22:00-07:00"),
			enter("program", "vlc"), has("#give", "vlc runs"),
			sends(n, `PATCH config {"pause.programs":"vlc"}`))
		if got := n.sent(); !strings.Contains(got, `{"work.hours":"mon-fri 22:00-07:00"}`) {
			t.Errorf("the page sent\n%s", got)
		}
		n.mu.Lock()
		n.refuse = "config"
		n.mu.Unlock()
		run(t, ctx, enter("hours", "mon 10:00-10:00"), has("#give .trouble", "kith jobs lists them"))
		n.mu.Lock()
		n.refuse = ""
		n.mu.Unlock()
	})
	t.Run("snooze counts down", func(t *testing.T) {
		run(t, ctx, chromedp.Click("#snooze button:enabled"), has("#snooze", "28 min"), has("#reasons", "snoozed by you"), has("#state", "Paused"))
		shoot(t, ctx, "give.png")
		run(t, ctx, chromedp.Click("#snooze button:enabled"), has("#snooze", "Leave me alone"), has("#state", "Giving"))
	})
	t.Run("credit, evidence and an appeal", func(t *testing.T) {
		var credit, workers string
		run(t, ctx, has("#trust header", "others owe you 1 h 30 min"), has("#credit", "owes you 2 h"), has("#workers", "suspended"), text("#credit", &credit), text("#workers", &workers))
		for _, want := range []string{"you owe 30 min", "12 of 40, so it is served last", "4 claims without a receipt, 1 min 30 s", "1 receipt doubled", "2 results were demanded", "for 1 it is signed that they arrived", "said nothing of results it had: it gets no more until"} {
			if !strings.Contains(credit, want) {
				t.Errorf("the account lacks %q:\n%s", want, credit)
			}
		}
		if !strings.Contains(workers, "166 of 1000") || !strings.Contains(workers, "independent groups") {
			t.Errorf("the judgement lacks its reasons:\n%s", workers)
		}
		run(t, ctx, chromedp.Click("#workers summary"), has("#workers table", "etl.hash/hash"), has("#workers table", "lost"))
		shoot(t, ctx, "trust.png")
		before := n.sent()
		run(t, ctx, chromedp.Click("#workers .appeal:enabled"), chromedp.WaitVisible("dialog"), chromedp.KeyEvent(kb.Escape), chromedp.WaitNotPresent("dialog"))
		if got := n.sent(); got != before {
			t.Fatalf("closing the question sent %q", got)
		}
		run(t, ctx, chromedp.Click("#workers .appeal:enabled"), chromedp.Click("dialog .danger"), has("#workers", "newcomer"), chromedp.WaitNotPresent("#workers .appeal"))
		if got := n.sent(); !strings.HasSuffix(got, "/appeal") {
			t.Errorf("the page sent\n%s", got)
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
