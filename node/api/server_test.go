package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"kith/bench"
	"kith/node/config"
	"kith/node/grading"
	"kith/storage"
	"kith/storage/quota"
	"kith/tasks"
	"kith/tasks/wire"
)

// fake is a node that answers with the samples.
type fake struct {
	owner   atomic.Value
	tarFail error
}

func (f *fake) Status() Status {
	s := samples()["status"].(Status)
	if o, ok := f.owner.Load().(string); ok {
		s.Owner.State = o
	}
	s.UptimeMillis = time.Now().UnixMilli()
	return s
}
func (f *fake) Peers() []Peer { return nil }
func (f *fake) Why() Why      { return samples()["why"].(Why) }
func (f *fake) Jobs() []Job   { return samples()["jobs"].([]Job) }
func (f *fake) Job(id string) (JobDetail, error) {
	j := samples()["job"].(JobDetail)
	if !strings.HasPrefix(j.ID.String(), id) {
		return JobDetail{}, Refuse(CodeNotFound, "kith jobs lists them", "no job begins with %q", id)
	}
	return j, nil
}

func (f *fake) Explain(string) (Explanation, error) { return samples()["explain"].(Explanation), nil }
func (f *fake) Imports() []Import                   { return nil }
func (f *fake) Submit(_ context.Context, s Submit, progress func(Import)) (JobDetail, error) {
	progress(Import{Path: s.Path, Files: 1})
	if s.K == 99 {
		return JobDetail{}, tasks.Because(tasks.Killed, "")
	}
	return samples()["job"].(JobDetail), nil
}

func (f *fake) Cancel(context.Context, string) (JobDetail, error) {
	return JobDetail{}, fmt.Errorf("x: %w", storage.ErrFull)
}

func (f *fake) Tar(_ context.Context, id string, w io.Writer) error {
	if id == "cut" {
		_, _ = io.WriteString(w, "half")
		return errors.New("disk broke")
	}
	if f.tarFail != nil {
		return f.tarFail
	}
	_, err := io.WriteString(w, "tar")
	return err
}

func (f *fake) Export(_ context.Context, _, dir string) (Exported, error) {
	return Exported{Dir: dir}, nil
}
func (f *fake) Receipts(context.Context, string, int) ([]Receipt, error) { return nil, nil }
func (f *fake) Evidence(context.Context) ([]Evidence, error)             { return nil, nil }
func (f *fake) Bundle(context.Context, string) (*wire.Bundle, error) {
	return &wire.Bundle{}, nil
}
func (f *fake) Credit(context.Context) (Credit, error) { return Credit{}, nil }
func (f *fake) Trust(context.Context) ([]Trust, error) { return nil, nil }
func (f *fake) Appeal(_ context.Context, node string) (Trust, error) {
	return Trust{}, Refuse(CodeNotFound, "kith trust lists them", "%q", node)
}
func (f *fake) Replay(context.Context, string) (Replay, error) { return Replay{}, nil }
func (f *fake) Kinds() []Kind                                  { return nil }
func (f *fake) Drives(context.Context) (DriveList, error) {
	return DriveList{Drives: []Drive{}, Blind: "not permitted"}, nil
}

func (f *fake) Space(context.Context) (SpaceReport, error) { return SpaceReport{}, nil }
func (f *fake) FreeSpace(_ context.Context, k []quota.Kind) (Freed, error) {
	return Freed{Kinds: []KindFreed{{Kind: k[0]}}}, nil
}
func (f *fake) Override(context.Context, time.Duration) error            { return nil }
func (f *fake) MeasureDrive(_ context.Context, id string) (Drive, error) { return Drive{ID: id}, nil }

func (f *fake) ForgetDrive(_ context.Context, id string) (Drive, error) { return Drive{ID: id}, nil }

func (f *fake) SoakedDrive(_ context.Context, dir string) (Drive, error) {
	return Drive{InUse: []string{dir}}, nil
}

func (f *fake) Snooze(_ context.Context, d time.Duration) (Owner, error) {
	return Owner{State: "working", Level: "paused", Reasons: []Pause{{Cause: "snooze", Until: d.Milliseconds()}}}, nil
}

func (f *fake) SetOwner(_ context.Context, state string) (Owner, error) {
	f.owner.Store(state)
	return Owner{State: state}, nil
}

// serve runs a server over a fake node until the test ends.
func serve(t *testing.T) (*Server, *fake) {
	t.Helper()
	home, f := t.TempDir(), &fake{}
	page := fstest.MapFS{"index.html": {Data: []byte("<h1>page</h1>")}, "app.js": {Data: []byte("js")}}
	s, err := Listen(home, "any", f, page, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	store, err := config.Open(home)
	if err != nil {
		t.Fatal(err)
	}
	s.Attach(Ports{Jobs: f, Submitter: f, Results: f, Records: f, Judge: f, Catalogue: f, Switch: f, Grader: f, Drives: f, Space: f, Settings: store})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return s, f
}

type call struct {
	method, path, body string
	header             map[string]string
	host               string
	anonymous          bool
}

func (c call) do(t *testing.T, s *Server) (int, string, http.Header) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), c.method, s.access.URL+c.path, strings.NewReader(c.body))
	if err != nil {
		t.Fatal(err)
	}
	if c.body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if !c.anonymous {
		req.Header.Set("Authorization", "Bearer "+s.access.Token)
	}
	for k, v := range c.header {
		req.Header.Set(k, v)
	}
	if c.host != "" {
		req.Host = c.host
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := client.Do(req)
	if err != nil {
		return 0, err.Error(), http.Header{}
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return res.StatusCode, err.Error(), res.Header
	}
	return res.StatusCode, string(body), res.Header
}

func TestWhoMayCall(t *testing.T) {
	s, _ := serve(t)
	port := strconv.Itoa(s.guard.port)
	for _, c := range []struct {
		name string
		call call
		want int
	}{
		{"token", call{method: "GET", path: "/api/v1/status"}, 200},
		{"no token", call{method: "GET", path: "/api/v1/status", anonymous: true}, 401},
		{"wrong token", call{method: "GET", path: "/api/v1/status", header: map[string]string{"Authorization": "Bearer x"}}, 401},
		{"token in the query", call{method: "GET", path: "/api/v1/status?token=" + s.access.Token, anonymous: true}, 401},
		{"live needs none", call{method: "GET", path: "/live", anonymous: true}, 200},
		{"ready needs none", call{method: "GET", path: "/ready", anonymous: true}, 200},
		{"stranger's page", call{method: "GET", path: "/", anonymous: true}, 401},
		{"stranger's file", call{method: "GET", path: "/app.js", anonymous: true}, 401},
		{"file", call{method: "GET", path: "/app.js"}, 200},
		{"rebound host", call{method: "GET", path: "/api/v1/status", host: "evil.example:" + port}, 403},
		{"rebound host, live", call{method: "GET", path: "/live", host: "evil.example"}, 403},
		{"localhost", call{method: "GET", path: "/api/v1/status", host: "localhost:" + port}, 200},
		{"::1", call{method: "GET", path: "/api/v1/status", host: "[::1]:" + port}, 200},
		{"other port", call{method: "GET", path: "/api/v1/status", host: "localhost:1"}, 403},
		{"our origin", call{method: "POST", path: "/api/v1/pause", header: map[string]string{"Origin": s.access.URL}}, 200},
		{"foreign origin", call{method: "POST", path: "/api/v1/pause", header: map[string]string{"Origin": "http://evil.example"}}, 403},
		{"null origin", call{method: "POST", path: "/api/v1/pause", header: map[string]string{"Origin": "null"}}, 403},
		{"secure origin", call{method: "POST", path: "/api/v1/pause", header: map[string]string{"Origin": "https://localhost:" + port}}, 403},
		{"other local port", call{method: "POST", path: "/api/v1/pause", header: map[string]string{"Origin": "http://localhost:1"}}, 403},
		{"cross site", call{method: "GET", path: "/api/v1/status", header: map[string]string{"Sec-Fetch-Site": "cross-site"}}, 403},
		{"no such path", call{method: "GET", path: "/api/v1/nothing"}, 404},
		{"climbing", call{method: "GET", path: "/..%2f..%2fetc/passwd"}, 404},
		{"wrong method", call{method: "DELETE", path: "/api/v1/status"}, 404},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, body, h := c.call.do(t, s)
			if got != c.want {
				t.Fatalf("status %d, want %d: %s", got, c.want, body)
			}
			if h.Get("X-Content-Type-Options") != "nosniff" || !strings.Contains(h.Get("Content-Security-Policy"), "frame-ancestors 'none'") {
				t.Error("protective headers are missing")
			}
		})
	}
}

func TestBrowserLoginWorksOnce(t *testing.T) {
	s, _ := serve(t)
	path := strings.TrimPrefix(s.LoginURL(), s.access.URL)
	status, _, h := call{method: "GET", path: path, anonymous: true}.do(t, s)
	cookie := h.Get("Set-Cookie")
	if status != 200 || !strings.Contains(cookie, "HttpOnly") || !strings.Contains(cookie, "SameSite=Strict") || strings.Contains(cookie, s.access.Token) {
		t.Fatalf("status %d, cookie %q", status, cookie)
	}
	value, _, _ := strings.Cut(cookie, ";")
	with := map[string]string{"Cookie": value}
	if status, body, _ := (call{method: "GET", path: "/", anonymous: true, header: with}).do(t, s); status != 200 || !strings.Contains(body, "page") {
		t.Errorf("page with cookie: %d %s", status, body)
	}
	if status, _, _ := (call{method: "GET", path: "/api/v1/status", anonymous: true, header: with}).do(t, s); status != 200 {
		t.Errorf("status with cookie: %d", status)
	}
	if status, _, h := (call{method: "GET", path: path, anonymous: true}).do(t, s); status != 401 || h.Get("Set-Cookie") != "" {
		t.Errorf("the same link a second time: %d", status)
	}
	for range loginCodes + 1 {
		s.LoginURL()
	}
	if n := len(s.guard.codes); n != loginCodes {
		t.Errorf("%d codes are kept, want %d", n, loginCodes)
	}
}

func TestStrictRequests(t *testing.T) {
	s, _ := serve(t)
	abs := "/somewhere"
	if runtime.GOOS == "windows" {
		abs = `C:\\somewhere`
	}
	good := fmt.Sprintf(`{"path":"%s","ops":[{"kind":"etl.chunk"}]}`, abs)
	for _, c := range []struct {
		name string
		call call
		want int
		code string
	}{
		{"good", call{method: "POST", path: "/api/v1/jobs", body: good}, 201, ""},
		{"unknown field", call{method: "POST", path: "/api/v1/jobs", body: `{"pth":"/x"}`}, 400, `did you mean \"path\"`},
		{"not JSON", call{method: "POST", path: "/api/v1/jobs", body: good, header: map[string]string{"Content-Type": "text/plain"}}, 415, CodeUnsupported},
		{"relative path", call{method: "POST", path: "/api/v1/jobs", body: `{"path":"x"}`}, 400, "absolute"},
		{"oversize", call{method: "POST", path: "/api/v1/jobs", body: `{"name":"` + strings.Repeat("x", maxBody) + `"}`}, 413, CodeTooLarge},
		{"refused with a reason", call{method: "POST", path: "/api/v1/jobs", body: `{"k":99}`}, 422, string(tasks.Killed)},
		{"no such job", call{method: "GET", path: "/api/v1/jobs/zzzz"}, 404, "kith jobs"},
		{"no space", call{method: "POST", path: "/api/v1/jobs/a/cancel"}, 507, CodeNoSpace},
		{"limit", call{method: "GET", path: "/api/v1/receipts?limit=999999"}, 400, "10000"},
		{"empty list is not null", call{method: "GET", path: "/api/v1/receipts"}, 200, "[]"},
		{"relative export", call{method: "POST", path: "/api/v1/jobs/a/export", body: `{"dir":"out"}`}, 400, "absolute"},
		{"setting", call{method: "PATCH", path: "/api/v1/config", body: `{"work.slots":"3"}`}, 200, `"canUndo":true`},
		{"unknown setting", call{method: "PATCH", path: "/api/v1/config", body: `{"work.slot":"3"}`}, 404, "work.slots"},
		{"bad setting", call{method: "PATCH", path: "/api/v1/config", body: `{"work.slots":"-3"}`}, 400, "1 to 256"},
		{"undo", call{method: "POST", path: "/api/v1/config/undo"}, 200, `"canRedo":true`},
		{"nothing to undo", call{method: "POST", path: "/api/v1/config/undo"}, 409, CodeConflict},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, body, _ := c.call.do(t, s)
			if got != c.want || !strings.Contains(body, c.code) {
				t.Fatalf("%d %s, want %d and %q", got, body, c.want, c.code)
			}
		})
	}
}

func TestBeforeAttach(t *testing.T) {
	f := &fake{}
	s, err := Listen(t.TempDir(), "any", f, fstest.MapFS{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(ctx) }()
	defer func() { cancel(); <-done }()
	for path, want := range map[string]int{"/live": 200, "/ready": 503, "/api/v1/status": 200, "/api/v1/jobs": 503, "/api/v1/jobs/a/result": 503} {
		if got, body, _ := (call{method: "GET", path: path}).do(t, s); got != want {
			t.Errorf("%s: %d %s", path, got, body)
		}
	}
}

func TestSubmitLines(t *testing.T) {
	s, _ := serve(t)
	_, body, _ := call{method: "POST", path: "/api/v1/jobs", body: `{"ops":[{"kind":"test.noop"}]}`, header: map[string]string{"Accept": "application/x-ndjson"}}.do(t, s)
	lines := strings.Split(strings.TrimSpace(body), "\n")
	var last SubmitLine
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil || last.Job == nil || len(lines) != 2 {
		t.Fatalf("%v: %s", err, body)
	}
	_, body, _ = call{method: "POST", path: "/api/v1/jobs", body: `{"k":99}`, header: map[string]string{"Accept": "application/x-ndjson"}}.do(t, s)
	if !strings.Contains(body, `"error":{"error":`) {
		t.Fatalf("got %s", body)
	}
}

func TestResultStream(t *testing.T) {
	s, f := serve(t)
	if status, body, h := (call{method: "GET", path: "/api/v1/jobs/a/result"}).do(t, s); status != 200 || body != "tar" || h.Get("Content-Type") != "application/x-tar" {
		t.Errorf("%d %q", status, body)
	}
	if _, body, _ := (call{method: "GET", path: "/api/v1/jobs/cut/result"}).do(t, s); !strings.Contains(body, "EOF") {
		t.Errorf("a cut stream looks whole: %q", body)
	}
	f.tarFail = Refuse(CodeConflict, "wait", "not finished")
	if status, body, _ := (call{method: "GET", path: "/api/v1/jobs/a/result"}).do(t, s); status != 409 || !strings.Contains(body, "wait") {
		t.Errorf("%d %q", status, body)
	}
}

func TestEvents(t *testing.T) {
	s, _ := serve(t)
	req, _ := http.NewRequestWithContext(t.Context(), "GET", s.access.URL+"/api/v1/events", nil)
	req.Header.Set("Authorization", "Bearer "+s.access.Token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	lines := bufio.NewReader(res.Body)
	next := func() (name, data string) {
		for {
			line, err := lines.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			if v, ok := strings.CutPrefix(line, "event: "); ok {
				name = strings.TrimSpace(v)
			}
			if v, ok := strings.CutPrefix(line, "data: "); ok {
				return name, v
			}
		}
	}
	for _, want := range []string{"status", "peers", "jobs", "imports"} {
		if name, data := next(); name != want || !json.Valid([]byte(data)) {
			t.Fatalf("event %q, want %q: %s", name, want, data)
		}
	}
	// Only the uptime moves until something else does.
	if status, body, _ := (call{method: "POST", path: "/api/v1/kill"}).do(t, s); status != 200 {
		t.Fatal(body)
	}
	if name, data := next(); name != "status" || !strings.Contains(data, `"killed"`) {
		t.Fatalf("event %s: %s", name, data)
	}
}

func TestStreamsAreBounded(t *testing.T) {
	e := newEvents(nil)
	for range maxStreams {
		if !e.join() {
			t.Fatal("refused below the limit")
		}
	}
	if e.join() {
		t.Fatal("no limit")
	}
	e.leave()
	if !e.join() {
		t.Fatal("a place that became free stays taken")
	}
}

func TestPortPlan(t *testing.T) {
	taken, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := taken.Addr().(*net.TCPAddr).Port
	_, err = Listen(t.TempDir(), config.Ports(strconv.Itoa(port)), &fake{}, fstest.MapFS{}, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "api.ports") {
		t.Fatalf("got %v", err)
	}
	home := t.TempDir()
	s, err := Listen(home, config.Ports(fmt.Sprintf("%d-%d", port, min(port+50, 65535))), &fake{}, fstest.MapFS{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Skip("no port near the taken one is free:", err)
	}
	defer func() {
		for _, l := range s.listeners {
			l.Close()
		}
	}()
	if !s.Moved() {
		t.Error("the first port was taken and the server does not say so")
	}
	info, err := os.Stat(filepath.Join(home, FileName))
	if err != nil || (runtime.GOOS != "windows" && info.Mode().Perm() != 0o600) {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	again, err := Listen(home, "any", &fake{}, fstest.MapFS{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range again.listeners {
		l.Close()
	}
	if again.access.Token != s.access.Token {
		t.Error("a restart logs the page out")
	}
}

func TestStopIsBounded(t *testing.T) {
	s, err := Listen(t.TempDir(), "any", &fake{}, fstest.MapFS{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	req, _ := http.NewRequestWithContext(t.Context(), "GET", s.access.URL+"/api/v1/events", nil)
	req.Header.Set("Authorization", "Bearer "+s.access.Token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, res.Body); err != nil && !strings.Contains(err.Error(), "EOF") {
		t.Fatal(err)
	}
}

func FuzzSubmit(f *testing.F) {
	sample, err := json.Marshal(samples()["submit"])
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sample)
	f.Add([]byte(`{"ops":[{"kind":"etl.chunk","params":{"a":[1,{"b":null}]}}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		req, _ := http.NewRequest("POST", "/api/v1/jobs", bytes.NewReader(body))
		req.Header.Set("Content-Type", "application/json")
		var s Submit
		if err := decode(req, &s); err != nil {
			if code := explain(err).Code; code != CodeBadRequest {
				t.Fatalf("%s: %v", code, err)
			}
		}
	})
}

func (f *fake) Grade() grading.Report {
	return grading.NewReport(&bench.Profile{Version: bench.ProfileVersion}, nil, bench.DefaultWeights())
}

func (f *fake) Bench(_ context.Context, r grading.Request, progress func(grading.Progress)) (grading.Report, error) {
	if r.Mode == bench.Full {
		return grading.Report{}, tasks.Because(tasks.Killed, "")
	}
	progress(grading.Progress{Part: r.Parts[0]})
	return f.Grade(), nil
}

func TestBench(t *testing.T) {
	s, _ := serve(t)
	lines := map[string]string{"Accept": "application/x-ndjson"}
	status, body, _ := call{method: "GET", path: "/api/v1/bench"}.do(t, s)
	if status != 200 || !strings.Contains(body, `"ungraded":"cpu: not measured yet"`) || !strings.Contains(body, `"hundred"`) {
		t.Errorf("%d %s", status, body)
	}
	_, body, _ = call{method: "POST", path: "/api/v1/bench", body: `{"parts":["cpu"]}`, header: lines}.do(t, s)
	if got := strings.Split(strings.TrimSpace(body), "\n"); len(got) != 2 || !strings.Contains(got[0], `{"progress":{"part":"cpu"`) || !strings.Contains(got[1], `{"report":`) {
		t.Errorf("%s", body)
	}
	_, body, _ = call{method: "POST", path: "/api/v1/bench", body: `{"mode":"full"}`, header: lines}.do(t, s)
	if !strings.Contains(body, `"code":"killed"`) {
		t.Errorf("%s", body)
	}
	for _, bad := range []string{`{"mode":"fast"}`, `{"parts":["floppy"]}`, `{"part":"cpu"}`} {
		if status, body, _ := (call{method: "POST", path: "/api/v1/bench", body: bad}).do(t, s); status != 400 {
			t.Errorf("%s: %d %s", bad, status, body)
		}
	}
}
