package cmd

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"kith/cmd/internal/fleet"
)

// TestPageOfARealNode submits a folder through the page of a real node to two other real nodes, and uses its switches.
func TestPageOfARealNode(t *testing.T) {
	if testing.Short() {
		t.Skip("starts real nodes and a browser")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	f, err := fleet.New(program(t), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for i := range 3 {
		n, err := f.Add(ctx, fmt.Sprintf("node-%d", i), "work.slots", "1")
		if err != nil {
			t.Fatal(err)
		}
		if err := n.Start(ctx); err != nil {
			t.Fatal(err)
		}
	}
	owner := f.Nodes()[0]
	if err := owner.Connected(ctx, 2); err != nil {
		t.Fatal(err)
	}
	corpus := filepath.Join(t.TempDir(), "dürre Blätter 🍂")
	if err := os.MkdirAll(corpus, 0o755); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		text := strings.Repeat(fmt.Sprintf("Leaf number %d fell in autumn.\n\n", i%15), 200)
		if err := os.WriteFile(filepath.Join(corpus, fmt.Sprintf("leaf %02d.txt", i)), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	said, err := owner.Kith(ctx, "page")
	if err != nil {
		t.Fatal(err)
	}
	page := chromium(t, ctx)
	step := func(name string, actions ...chromedp.Action) {
		t.Helper()
		if err := chromedp.Run(page, actions...); err != nil {
			log, _ := os.ReadFile(owner.LogFile())
			t.Fatalf("%s: %v\n%s", name, err, log)
		}
	}
	step("open", chromedp.Navigate(strings.Fields(said)[0]), chromedp.WaitVisible("#about", chromedp.ByQuery), shows("#peers", "2 connected"), shows("#about", "linux/"))
	step("submit",
		chromedp.WaitVisible("#submit input[value='etl.dedup']"),
		chromedp.SendKeys("#submit [name=path]", corpus),
		chromedp.Click("#submit input[value='etl.chunk']"),
		chromedp.Click("#submit input[value='etl.dedup']"),
		chromedp.Click("#submit input[value='public']"),
		chromedp.Click("#submit .primary:enabled"),
		shows("#submit .good", "is on its way"))
	step("result", shows("#jobs", "done at"), chromedp.Click("#jobs .twist"), shows("#jobs .more", "etl.dedup/apply"))
	if name := os.Getenv("KITH_SCREENSHOT"); name != "" {
		var png []byte
		step("picture", chromedp.Sleep(time.Second), chromedp.FullScreenshot(&png, 100)) // bars move to their places
		if err := os.WriteFile(name, png, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	dir := filepath.Join(t.TempDir(), "result")
	step("save", chromedp.SendKeys("#jobs .more input", dir), chromedp.Click("#jobs .more form button"), shows("#jobs .more", "written to"))
	if _, err := os.Stat(filepath.Join(dir, "index.jsonl")); err != nil {
		t.Error(err)
	}
	step("pause", chromedp.Click("#pause:enabled"), shows("#state", "Paused"))
	step("stop", chromedp.Click("#kill:enabled"), chromedp.Click("dialog .danger"), shows("#state", "Stopped"))

	owner.Stop()
	step("gone", shows("#state", "Not connected"), shows("#jobs", "done at"))
	if err := owner.Start(ctx); err != nil {
		t.Fatal(err)
	}
	step("a restart changes nothing of what the owner said", shows("#state", "Stopped"))
	step("resume", chromedp.Click("#resume:enabled"), shows("#state", "Giving"))
}

// program builds the real binary.
func program(t *testing.T) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "kith")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", bin, "kith/cmd/kith").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return bin
}

// shows waits until an element's text holds want.
func shows(selector, want string) chromedp.Action {
	return chromedp.Poll(fmt.Sprintf(`(document.querySelector(%q)?.innerText ?? "").includes(%q)`, selector, want), nil, chromedp.WithPollingTimeout(time.Minute))
}

// chromium starts a real browser, or skips the test where there is none.
func chromium(t *testing.T, ctx context.Context) context.Context {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("no Chromium on this machine")
	}
	profile, err := os.MkdirTemp("", "kith-browser") // not TempDir: helpers of the browser may outlive it by a moment
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(profile) })
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.WindowSize(1000, 1100), chromedp.UserDataDir(profile),
		chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-quic", true))
	ctx, cancel := chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx, chromedp.WithErrorf(func(string, ...any) {}))
	t.Cleanup(func() {
		_ = chromedp.Cancel(ctx)
		cancel()
	})
	return ctx
}
