package node

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"kith/bench/disk"
	"kith/node/api"
	"kith/node/api/client"
	"kith/node/config"
	"kith/node/lock"
	"kith/storage"
	"kith/storage/dag"
	"kith/storage/eventlog"
	"kith/tasks"
	"kith/tasks/sandbox"
)

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == RunnerArg { // tasks run in this very binary
		os.Exit(Runner())
	}
	if len(os.Args) == 2 && os.Args[1] == disk.ChildArg {
		os.Exit(disk.Main())
	}
	os.Exit(m.Run())
}

// running is a node of a test and the client of its API.
type running struct {
	*Node
	home string
	api  *client.Client
	stop func() error
}

// start runs a node on loopback until the test ends.
func start(t *testing.T, home string, settings map[string]string) *running {
	t.Helper()
	return startWithout(t, home, settings, 0)
}

// startWithout runs a node on a machine that lacks some of what confines tasks.
func startWithout(t *testing.T, home string, settings map[string]string, without sandbox.Layers) *running {
	t.Helper()
	store, err := config.Open(home)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{
		"listen.ports": "any", "listen.on": "loopback", "listen.profile": "lan", "api.ports": "any", "peers.mdns": "off", "work.slots": "1",
		"pause.active": "ignore", "pause.battery": "off", "pause.metered": "off", "pause.fullScreen": "off", "pause.busy": "100", "pause.hot": "110",
	}
	for k, v := range settings {
		all[k] = v
	}
	if _, err := store.Set(all); err != nil {
		t.Fatal(err)
	}
	n, err := New(Options{Home: home, Page: fstest.MapFS{"index.html": {Data: []byte("page")}}, Logger: logger(t), without: without})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Serve(ctx) }()
	r := &running{Node: n, home: home, api: client.New(n.API().Access())}
	r.stop = func() error {
		if r.Node == nil {
			return nil
		}
		r.Node = nil
		cancel()
		select {
		case err := <-done:
			return err
		case <-time.After(time.Minute):
			return errors.New("the node does not stop")
		}
	}
	t.Cleanup(func() {
		if err := r.stop(); err != nil {
			t.Error(err)
		}
	})
	eventually(t, "the node is ready", func() bool { s, err := r.api.Status(t.Context()); return err == nil && s.Ready })
	return r
}

func logger(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo})).With("test", t.Name())
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

// meet starts donors that know the first node.
func meet(t *testing.T, donors int) (*running, []*running) {
	t.Helper()
	first := start(t, t.TempDir(), map[string]string{"work.donate": "off"})
	var list []*running
	for range donors {
		list = append(list, start(t, t.TempDir(), map[string]string{"peers.bootstrap": first.addr(t)}))
	}
	eventually(t, "all are connected", func() bool { p, err := first.api.Peers(t.Context()); return err == nil && len(p) == donors })
	return first, list
}

func (r *running) addr(t *testing.T) string {
	t.Helper()
	s, err := r.api.Status(t.Context())
	if err != nil || len(s.Addresses) == 0 {
		t.Fatalf("no address: %v", err)
	}
	return s.Addresses[0]
}

func (r *running) submit(t *testing.T, s api.Submit) api.JobDetail {
	t.Helper()
	j, err := r.api.Submit(t.Context(), s, func(api.Import) {})
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func (r *running) finished(t *testing.T, id tasks.JobID) api.JobDetail {
	t.Helper()
	var j api.JobDetail
	eventually(t, "the job ends", func() bool {
		var err error
		j, err = r.api.Job(t.Context(), id.String())
		return err == nil && j.Finished > 0
	})
	if j.State != "done" {
		t.Fatalf("job %s: %+v", j.State, j.Reason)
	}
	return j
}

func writeFiles(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestNodesDoOneAnothersWork(t *testing.T) {
	first, donors := meet(t, 2)
	j := first.submit(t, api.Submit{Ops: []api.Op{{Kind: "test.noop", Params: map[string]any{"tasks": 8}}}, Sensitivity: tasks.Public})
	j = first.finished(t, j.ID)
	if j.Totals.Accepted != 16 || len(j.Workers) != 2 || j.Tasks.Done != 8 || j.Progress != 1 {
		t.Errorf("%+v", j)
	}
	for _, sensitivity := range []tasks.Sensitivity{tasks.Public, tasks.Approved} {
		dir := writeFiles(t, map[string]string{"a/one.md": strings.Repeat("# Title\n\ntext\n\n", 200), "two.txt": "short"})
		j = first.submit(t, api.Submit{Path: dir, Ops: []api.Op{{Kind: "etl.chunk"}, {Kind: "etl.zstd"}}, Sensitivity: sensitivity})
		j = first.finished(t, j.ID)
		if j.InputFiles != 2 || j.ResultBytes == 0 || !strings.Contains(j.Name, "etl.chunk → etl.zstd") {
			t.Errorf("%s: %+v", sensitivity, j)
		}
		checkResult(t, first, j)
	}
	why, err := donors[0].api.Why(t.Context())
	if err != nil || !why.Idle || why.Summary == "" {
		t.Errorf("%+v, %v", why, err)
	}
	receipts, err := donors[0].api.Receipts(t.Context(), "", 100)
	if err != nil || len(receipts) == 0 || receipts[0].Role != "worker" {
		t.Errorf("%d receipts, %v", len(receipts), err)
	}
	if c, err := donors[0].api.Credit(t.Context()); err != nil || len(c.With) != 1 || c.With[0].Node != first.self.Node() || c.With[0].Receipts == 0 || len(c.Void) != 0 || c.Digest == "" {
		t.Errorf("the donor's account: %+v, %v", c, err)
	}
	if list, err := first.api.Evidence(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("evidence against honest nodes: %+v, %v", list, err)
	}
	if roles, err := first.api.Peers(t.Context()); err != nil || len(roles) != 2 || len(roles[0].Roles) == 0 || roles[0].Roles[0] != "works for us" {
		t.Errorf("peers %+v, %v", roles, err)
	}
}

// checkResult compares the tar with the exported folder.
func checkResult(t *testing.T, n *running, j api.JobDetail) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "out")
	done, err := n.api.Export(t.Context(), j.ID.String(), dir)
	if err != nil || done.Files == 0 || done.Bytes != j.ResultBytes {
		t.Fatalf("%+v, %v", done, err)
	}
	if _, err := n.api.Export(t.Context(), j.ID.String(), dir); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("a second export into the same folder: %v", err)
	}
	r, err := n.api.Result(t.Context(), j.ID.Short())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	tr := tar.NewReader(r)
	var files int64
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(h.Name)))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s differs: %v", h.Name, err)
		}
		files++
	}
	if files != done.Files {
		t.Errorf("%d files in the tar, %d exported", files, done.Files)
	}
}

func TestRefusedInputs(t *testing.T) {
	n := start(t, t.TempDir(), nil)
	empty := t.TempDir()
	loop := t.TempDir()
	if err := os.Symlink(loop, filepath.Join(loop, "self")); err != nil {
		t.Skip("no symbolic links here")
	}
	huge := filepath.Join(t.TempDir(), "huge")
	f, err := os.Create(huge)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(40 << 30); err != nil { // sparse, and over the quota
		t.Fatal(err)
	}
	f.Close()
	for name, c := range map[string]struct {
		path string
		code string
	}{
		"missing": {filepath.Join(empty, "gone"), api.CodeNotFound},
		"empty":   {empty, api.CodeBadRequest},
		"loop":    {loop, api.CodeBadRequest},
		"huge":    {huge, api.CodeNoSpace},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := n.api.Submit(t.Context(), api.Submit{Path: c.path, Ops: []api.Op{{Kind: "etl.hash"}}, Sensitivity: tasks.Public}, func(api.Import) {})
			var told *client.Error
			if !errors.As(err, &told) || told.Code != c.code || told.Remedy == "" {
				t.Fatalf("got %v", err)
			}
		})
	}
	t.Run("strict regions without a list of addresses", func(t *testing.T) {
		_, err := n.api.Submit(t.Context(), api.Submit{Ops: []api.Op{{Kind: "test.noop"}}, Strict: true, Regions: []string{"DE"}, Sensitivity: tasks.Synthetic}, func(api.Import) {})
		var told *client.Error
		if !errors.As(err, &told) || told.Code != api.CodeBadRequest || !strings.Contains(told.Remedy, "peers.mmdb") {
			t.Fatalf("got %v", err)
		}
	})
	if jobs, err := n.api.Jobs(t.Context()); err != nil || len(jobs) != 0 {
		t.Errorf("%d jobs, %v", len(jobs), err)
	}
}

func TestRestartKeepsJobsAndCollectorKeepsThem(t *testing.T) {
	first, donors := meet(t, 2)
	dir := writeFiles(t, map[string]string{"a.txt": strings.Repeat("words and words\n", 5000)})
	j := first.submit(t, api.Submit{Path: dir, Ops: []api.Op{{Kind: "etl.hash"}}, Sensitivity: tasks.Public, Name: "kept"})
	before := first.finished(t, j.ID)
	home := first.home
	if err := first.stop(); err != nil {
		t.Fatal(err)
	}
	again := start(t, home, nil)
	after := again.finished(t, j.ID)
	if after.Name != "kept" || after.Result != before.Result || after.Finished != before.Finished || after.InputFiles != 1 {
		t.Errorf("before %+v\nafter %+v", before.Job, after.Job)
	}
	for range 3 { // the first run only sets a mark
		if _, err := again.Collect(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	checkResult(t, again, after)
	eventually(t, "donors come back", func() bool { p, err := again.api.Peers(t.Context()); return err == nil && len(p) == len(donors) })
	next := again.submit(t, api.Submit{Ops: []api.Op{{Kind: "test.noop"}}, Sensitivity: tasks.Public})
	again.finished(t, next.ID)
}

func TestCollectorFreesWhatNobodyNeeds(t *testing.T) {
	n := start(t, t.TempDir(), nil)
	dir := writeFiles(t, map[string]string{"a.txt": strings.Repeat("words and words\n", 5000)})
	j := n.submit(t, api.Submit{Path: dir, Ops: []api.Op{{Kind: "etl.hash"}}, Sensitivity: tasks.Public})
	if _, err := n.api.Cancel(t.Context(), j.ID.String()); err != nil {
		t.Fatal(err)
	}
	var freed int64
	for range 3 {
		r, err := n.Collect(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		freed += r.FreedBytes
	}
	if freed < 5000 {
		t.Errorf("%d bytes freed", freed)
	}
}

func TestOwnersSwitchReachesRunningWork(t *testing.T) {
	first, donors := meet(t, 1)
	j := first.submit(t, api.Submit{K: 1, Ops: []api.Op{{Kind: "test.sleep", Params: map[string]any{"millis": 60000}}}, Sensitivity: tasks.Public})
	at := func() int { s, err := donors[0].api.Status(t.Context()); _ = err; return len(s.Work.Running) }
	eventually(t, "the task runs", func() bool { return at() == 1 })
	if _, err := donors[0].api.Owner(t.Context(), "kill"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the task is gone", func() bool { return at() == 0 })
	s, err := donors[0].api.Status(t.Context())
	if err != nil || s.Owner.State != "killed" || len(s.Work.Why) != 1 || s.Work.Why[0].Code != tasks.Killed {
		t.Errorf("%+v %+v, %v", s.Owner, s.Work.Why, err)
	}
	if _, err := donors[0].api.Owner(t.Context(), "resume"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the task runs again", func() bool { return at() == 1 })
	if _, err := first.api.Cancel(t.Context(), j.ID.String()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a cancelled task ends", func() bool { return at() == 0 })
}

// What a newer version wrote about reputation stops this one, which says so, names the folder and leaves it as it was. The
// newer one finds everything again.
func TestReputationFromTheFuture(t *testing.T) {
	type skill struct {
		What string `cbor:"what"`
	}
	type ledger struct { // with a field that this version does not know
		Verdicts int64   `cbor:"verdicts"`
		Skills   []skill `cbor:"skills"`
		Virtue   int     `cbor:"virtue"`
	}
	future, err := dag.Marshal(&ledger{Verdicts: 7, Virtue: 1})
	if err != nil {
		t.Fatal(err)
	}
	later, err := dag.Marshal(map[string]any{"v": 2, "everything": "else"})
	if err != nil {
		t.Fatal(err)
	}
	for name, write := range map[string]func(*eventlog.Log) error{
		"a record": func(*eventlog.Log) error { return nil },
		"a snapshot": func(l *eventlog.Log) error {
			return l.WriteSnapshot(1, func(w io.Writer) error { _, err := w.Write(later); return err })
		},
	} {
		t.Run(name, func(t *testing.T) {
			home := t.TempDir()
			dir := filepath.Join(home, filepath.FromSlash(submitDir))
			if err := os.MkdirAll(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			log, err := eventlog.Open(dir, eventlog.Options{})
			if err != nil {
				t.Fatal(err)
			}
			done := make(chan error, 1)
			log.Append(slices.Concat(make([]byte, 40), future), true, func(_ uint64, err error) { done <- err })
			if err := errors.Join(<-done, write(log), log.Close()); err != nil {
				t.Fatal(err)
			}
			before := contents(t, dir)
			n, err := New(Options{Home: home, Page: fstest.MapFS{}, Logger: logger(t)})
			if err != nil {
				t.Fatal(err)
			}
			err = n.Serve(t.Context())
			if !errors.Is(err, storage.ErrVersion) || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "update Kith") {
				t.Fatalf("got %v", err)
			}
			after := contents(t, dir)
			for file, b := range before {
				if !strings.HasPrefix(after[file], b) { // a log notes that it was closed
					t.Errorf("%s was changed: %q and then %q", file, b, after[file])
				}
			}
		})
	}
}

// contents are the files of a folder that hold something.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if len(b) > 0 {
			files[e.Name()] = string(b)
		}
	}
	return files
}

func TestDamagedStoresAreNamedAndKept(t *testing.T) {
	home := t.TempDir()
	n := start(t, home, nil)
	for range 20 {
		n.submit(t, api.Submit{Ops: []api.Op{{Kind: "test.noop"}}, Sensitivity: tasks.Public})
	}
	if err := n.stop(); err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(home, filepath.FromSlash(submitDir))
	entries, err := os.ReadDir(log)
	if err != nil {
		t.Fatal(err)
	}
	var path string
	for _, e := range entries {
		if info, err := e.Info(); err == nil && info.Size() > 2000 {
			path = filepath.Join(log, e.Name())
		}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 0xff
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	damaged, err := New(Options{Home: home, Page: fstest.MapFS{}, Logger: logger(t)})
	if err != nil {
		t.Fatal(err)
	}
	err = damaged.Serve(t.Context())
	if !errors.Is(err, storage.ErrCorrupt) || !strings.Contains(err.Error(), log) || !strings.Contains(err.Error(), "move") {
		t.Fatalf("got %v", err)
	}
	if now, _ := os.ReadFile(path); !bytes.Equal(now, data) {
		t.Error("the file was changed")
	}
	if lock.Held(home) {
		t.Error("a failed start keeps the folder locked")
	}
}

func TestNewGivesUpWhole(t *testing.T) {
	home := t.TempDir()
	for name, overrides := range map[string]map[string]string{
		"unknown": {"work.slot": "1"}, "value": {"listen.ports": "x"}, "together": {"listen.ports": "4780-4790"},
	} {
		if _, err := New(Options{Home: home, Overrides: overrides, Page: fstest.MapFS{}, Logger: logger(t)}); err == nil {
			t.Errorf("%s: accepted", name)
		}
		if lock.Held(home) {
			t.Fatalf("%s: the folder stays locked", name)
		}
	}
	file := filepath.Join(home, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := New(Options{Home: file, Page: fstest.MapFS{}, Logger: logger(t)}); err == nil || !strings.Contains(err.Error(), "--home") {
		t.Errorf("got %v", err)
	}
}

// TestStopWhileStarting: an order to stop that comes before the node is ready ends it as one that comes after, and nothing
// is left.
func TestStopWhileStarting(t *testing.T) {
	home := t.TempDir()
	made := func() string {
		groups, _ := filepath.Glob(fmt.Sprintf("/sys/fs/cgroup/*/kith-%d-*", os.Getpid()))
		var children []string
		threads, _ := filepath.Glob("/proc/self/task/*/children")
		for _, name := range threads {
			b, _ := os.ReadFile(name)
			children = append(children, strings.Fields(string(b))...)
		}
		scratch, _ := os.ReadDir(filepath.Join(home, scratchDir))
		return fmt.Sprint(groups, children, scratch)
	}
	before := made()
	ready := 0
	for _, wait := range []time.Duration{-1, 0, time.Millisecond, 5 * time.Millisecond, 20 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 200 * time.Millisecond} {
		n, err := New(Options{
			Home: home, Page: fstest.MapFS{}, Logger: logger(t),
			Overrides: map[string]string{"listen.ports": "any", "listen.on": "loopback", "listen.profile": "lan", "api.ports": "any", "peers.mdns": "off"},
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		if wait < 0 {
			cancel()
		} else {
			time.AfterFunc(wait, cancel)
		}
		err = n.Serve(ctx)
		cancel()
		if err != nil {
			t.Errorf("stopped after %v: %v", wait, err)
		}
		if n.live.Load() != nil {
			ready++
		}
		if lock.Held(home) {
			t.Fatalf("stopped after %v: the folder stays locked", wait)
		}
		eventually(t, "nothing is left", func() bool { return made() == before })
	}
	t.Logf("%d of these were ready", ready)
	if r := start(t, home, nil); r.live.Load() == nil {
		t.Error("it does not start afterwards")
	}
}

func TestClosingNamesWhatHangs(t *testing.T) {
	var order []string
	c := closing{log: logger(t)}
	c.add("first", func() error { order = append(order, "first"); return nil })
	c.add("broken", func() error { return errors.New("no") })
	c.add("hangs", func() error { select {} })
	err := c.run()
	if err == nil || !strings.Contains(err.Error(), "hangs did not close") || !strings.Contains(err.Error(), "close broken: no") || fmt.Sprint(order) != "[first]" {
		t.Fatalf("%v, %v", err, order)
	}
}

func TestBootstrapFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "peers")
	if err := os.WriteFile(file, []byte("# ours\n/ip4/1.2.3.4/tcp/1/p2p/a # the first\n\n /ip4/1.2.3.5/tcp/1/p2p/b\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := bootstrapList(config.Peers{Bootstrap: []string{"x"}, BootstrapFile: file})
	if err != nil || fmt.Sprint(got) != "[x /ip4/1.2.3.4/tcp/1/p2p/a /ip4/1.2.3.5/tcp/1/p2p/b]" {
		t.Fatalf("%v, %v", got, err)
	}
	if _, err := bootstrapList(config.Peers{BootstrapFile: file + "gone"}); err == nil || !strings.Contains(err.Error(), "peers.bootstrapFile") {
		t.Fatalf("got %v", err)
	}
}
