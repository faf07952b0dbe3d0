//go:build linux

// Only here can every sort of bad input be made: names of any bytes, full disks, other users.

package main

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"kith/node/config"
	"kith/node/identity"
)

// inputs are files and folders of which something is wrong, or seems to be.
type inputs struct {
	dir, missing, empty, emptyFile, links, names, big string
}

func makeInputs(t *testing.T) inputs {
	t.Helper()
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	in := inputs{dir, at("missing"), at("empty"), at("empty file"), at("links"), at("names"), at("big")}
	file := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range []string{in.empty, in.links, in.names} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	file(in.emptyFile, "")
	file(filepath.Join(in.links, "real"), "text")
	for name, to := range map[string]string{"self": ".", "up": "../links", "round": "round", "gone": "nowhere", "passwd": "/etc/passwd"} {
		if err := os.Symlink(to, filepath.Join(in.links, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(in.links, "pipe"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a b 🙂", "new\nline", "\xff\xfe", "\x1b[31m", "-rf", strings.Repeat("x", 255)} {
		file(filepath.Join(in.names, name), "content of "+name)
	}
	file(in.big, "")
	if err := os.Truncate(in.big, 20<<30); err != nil { // no block of it is on disk
		t.Fatal(err)
	}
	return in
}

// manifest is everything that can be seen of a folder without reading endless files.
func manifest(t *testing.T, dir string) string {
	t.Helper()
	var text strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		var sum [32]byte
		if info.Mode().IsRegular() && info.Size() < 1<<20 {
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			sum = sha256.Sum256(data)
		}
		fmt.Fprintf(&text, "%q %s %d %s %x\n", path, info.Mode(), info.Size(), info.ModTime(), sum)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return text.String()
}

func TestBadInputLocal(t *testing.T) {
	if testing.Short() {
		t.Skip("runs real processes")
	}
	in := makeInputs(t)
	before := manifest(t, in.dir)
	base := t.TempDir()
	for _, a := range []attempt{
		{"missing", []string{"etl.hash", in.missing}, exitNotFound, []string{in.missing, "check the path"}},
		{"a file as folder", []string{"etl.hash", in.emptyFile + "/x"}, exitNotFound, []string{in.emptyFile + "/x", "check the path"}},
		{"empty folder", []string{"etl.hash", in.empty}, exitUsage, []string{in.empty, "holds no file", "name a folder with files"}},
		{"device", []string{"etl.hash", "/dev/null"}, exitUsage, []string{"/dev/null", "neither a file nor a folder"}},
		{"a link to itself", []string{"etl.hash", filepath.Join(in.links, "round")}, exitFailed, []string{"round", "too many levels"}},
		{"unknown kind", []string{"etl.hush", in.names}, exitNotFound, []string{"etl.hush", "kith kinds"}},
		{"unknown parameter", []string{"etl.hash", in.names, "-p", "etl.hash.sha=1"}, exitUsage, []string{"etl.hash", `"sha"`, "algorithms"}},
		{"parameter of another type", []string{"etl.chunk", in.names, "-p", "etl.chunk.window=big"}, exitUsage, []string{"window", "a whole number"}},
		{"parameter out of range", []string{"etl.chunk", in.names, "-p", "etl.chunk.window=1"}, exitUsage, []string{"window", "64"}},
		{"steps that do not fit", []string{"etl.zstd,etl.chunk", in.names}, exitRefused, []string{"etl.chunk", "chunk before compressing"}},
		{"result is a file", []string{"etl.hash", in.names, "-o", in.emptyFile}, exitUsage, []string{in.emptyFile, "name a new or empty folder"}},
		{"result in use", []string{"etl.hash", in.names, "-o", in.links}, exitUsage, []string{in.links, "name a new or empty folder"}},
		{"result below a file", []string{"etl.hash", in.names, "-o", in.emptyFile + "/x"}, exitUsage, []string{in.emptyFile, "name a new or empty folder"}},
	} {
		t.Run(a.name, func(t *testing.T) {
			a.args = append([]string{"local", "-o", filepath.Join(base, "out")}, a.args...)
			a.in(t, base)
			if left, err := os.ReadDir(base); err != nil || len(left) > 0 {
				t.Errorf("%v was left behind, %v", left, err)
			}
		})
	}
	for _, c := range []struct {
		name, path, note string
		records          []string // in the index, in order
	}{
		{"empty file", in.emptyFile, "1 files, 0 B", []string{`{"path":"empty file","at":0,"off":0,"len":0,`}},
		{"links", in.links, "6 entries that are no plain files were left out", []string{`{"path":"real","at":0,"off":0,"len":4,`}},
		{"names", in.names, "", []string{
			`{"path":"\u001b[31m","at":0`, `{"path":"-rf","at":0`, `{"path":"a b 🙂","at":0`, `{"path":"new\nline","at":0`,
			`{"path":"` + strings.Repeat("x", 255) + `","at":0`, `{"path64":"//4=","at":0`,
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			out := filepath.Join(base, c.name)
			var errs bytes.Buffer
			attempt{args: []string{"local", "etl.hash", c.path, "-o", out}}.in(t, base, func(cmd *exec.Cmd) { cmd.Stderr = &errs })
			if !strings.Contains(errs.String(), c.note) || strings.Contains(errs.String(), "\x1b") {
				t.Errorf("it says %q, want %q", errs.String(), c.note)
			}
			index, err := os.ReadFile(filepath.Join(out, "index.jsonl"))
			if err != nil {
				t.Fatal(err)
			}
			lines := strings.SplitAfter(strings.TrimSuffix(string(index), "\n"), "\n")
			if len(lines) != len(c.records) {
				t.Fatalf("%d records, want %d:\n%s", len(lines), len(c.records), index)
			}
			for i, want := range c.records {
				if !strings.HasPrefix(lines[i], want) {
					t.Errorf("record %d is %s, want %s", i, lines[i], want)
				}
			}
		})
	}
	if manifest(t, in.dir) != before {
		t.Error("an input was changed")
	}
}

// ordinary makes a command run as a user to whom nothing belongs, and lets that user write in the folders.
func ordinary(t *testing.T, folders ...string) func(*exec.Cmd) {
	t.Helper()
	if os.Getuid() != 0 {
		return func(*exec.Cmd) {}
	}
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range append(folders, filepath.Dir(path)) {
		if err := errors.Join(os.Chmod(d, 0o777), os.Chmod(filepath.Dir(d), 0o1777)); err != nil {
			t.Fatal(err)
		}
	}
	return func(c *exec.Cmd) {
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
}

func TestInputOfAnotherUser(t *testing.T) {
	if testing.Short() {
		t.Skip("runs real processes")
	}
	in, base := t.TempDir(), t.TempDir()
	closed := filepath.Join(in, "closed")
	if err := errors.Join(os.MkdirAll(filepath.Join(closed, "sub"), 0o755), os.WriteFile(filepath.Join(in, "secret"), []byte("x"), 0o000)); err != nil {
		t.Fatal(err)
	}
	as := ordinary(t, base, in)
	out := filepath.Join(base, "out")
	attempt{"", []string{"local", "etl.hash", in, "-o", out}, exitFailed, []string{filepath.Join(in, "secret"), "permission denied", "make it readable"}}.in(t, base, as)
	if err := errors.Join(os.Remove(filepath.Join(in, "secret")), os.Chmod(closed, 0)); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(closed, 0o700) // so that it can be removed
	for _, path := range []string{in, closed, filepath.Join(closed, "sub")} {
		attempt{"", []string{"local", "etl.hash", path, "-o", out}, exitFailed, []string{closed, "permission denied", "make it readable"}}.in(t, base, as)
	}
	if left, err := os.ReadDir(base); err != nil || len(left) > 0 {
		t.Errorf("%v was left behind, %v", left, err)
	}
	attempt{"", []string{"local", "etl.hash", base, "-o", filepath.Join(in, "closed", "out")}, exitFailed, []string{closed, "permission denied"}}.in(t, base, as)
}

// lastWord keeps what was written last.
type lastWord struct {
	mu   sync.Mutex
	text string
}

func (l *lastWord) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = string(b)
	return len(b), nil
}

func (l *lastWord) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text
}

// A file of any size is read in constant memory, and reading it can be interrupted.
func TestHugeInput(t *testing.T) {
	if testing.Short() {
		t.Skip("runs real processes")
	}
	in := makeInputs(t)
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	base := t.TempDir()
	c := exec.CommandContext(limit(t, time.Minute), path, "local", "etl.hash", in.big, "-o", filepath.Join(base, "out"))
	var said lastWord
	c.Stderr = &said
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "a gigabyte is read", func() bool { return strings.Contains(said.String(), " GB") })
	if err := c.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_ = c.Wait()
	if code := c.ProcessState.ExitCode(); code != exitInterrupted {
		t.Errorf("exit code %d, want %d: %s", code, exitInterrupted, said.String())
	}
	const most = 200 << 10 // KiB; it is about 40 MiB, while a gigabyte has been read
	if usage := c.ProcessState.SysUsage().(*syscall.Rusage); usage.Maxrss > most {
		t.Errorf("it used %d KiB of memory, want at most %d", usage.Maxrss, most)
	}
	if left, err := os.ReadDir(base); err != nil || len(left) > 0 {
		t.Errorf("%v was left behind, %v", left, err)
	}
	if info, err := os.Stat(in.big); err != nil || info.Size() != 20<<30 {
		t.Errorf("the input was changed: %v", err)
	}
}

func TestBadInputSubmit(t *testing.T) {
	_, n, _ := world(t, 0)
	in := makeInputs(t)
	before := manifest(t, in.dir)
	public := []string{"-s", "public"}
	submit := func(args ...string) []string { return append([]string{"submit"}, args...) }
	for _, a := range []attempt{
		{"missing", append(public, "etl.hash", in.missing), exitNotFound, []string{in.missing, "check the path"}},
		{"a file as folder", append(public, "etl.hash", in.emptyFile+"/x"), exitNotFound, []string{in.emptyFile + "/x", "check the path"}},
		{"empty folder", append(public, "etl.hash", in.empty), exitUsage, []string{in.empty, "holds no file", "name a folder with files"}},
		{"device", append(public, "etl.hash", "/dev/null"), exitUsage, []string{"/dev/null", "neither a file nor a folder"}},
		{"more than there is room for", append(public, "etl.hash", in.big), exitRefused, []string{"21474 MB", "storage.quota"}},
		{"untagged", []string{"etl.hash", in.names}, exitUsage, []string{in.names, "--sensitivity", "kith local"}},
		{"private", []string{"etl.hash", in.names, "-s", "private"}, exitUsage, []string{"private", "kith local"}},
		{"unknown kind", append(public, "etl.hush", in.names), exitNotFound, []string{"etl.hush", "kith kinds"}},
		{"unknown parameter", append(public, "etl.hash", in.names, "-p", "1.sha=1"), exitUsage, []string{"etl.hash", `"sha"`, "algorithms", "kith kinds"}},
		{"parameter of another type", append(public, "etl.chunk", in.names, "-p", "1.window=big"), exitUsage, []string{"window", "a whole number"}},
		{"k of 0", []string{"test.noop", "--k", "0"}, exitUsage, []string{"--k 0", "at least 1"}},
		{"k too large", []string{"test.noop", "--k", "17"}, exitUsage, []string{"--k 17", "at most 16"}},
		{"k over n", []string{"test.noop", "--k", "3", "--n", "2"}, exitUsage, []string{"--n 2", "at least --k (3)"}},
		{"deadline that has passed", []string{"test.noop", "--deadline", "2020-01-01T00:00:00Z"}, exitUsage, []string{"deadline", "passed"}},
		{"deadline that is none", []string{"test.noop", "--deadline", "soon"}, exitUsage, []string{"--deadline", "90m"}},
	} {
		t.Run(a.name, func(t *testing.T) {
			a.args = submit(a.args...)
			a.in(t, n.Home)
		})
	}
	for _, path := range []string{in.emptyFile, in.links, in.names} {
		attempt{args: submit("-s", "public", "-q", "etl.hash", path)}.in(t, n.Home)
	}
	jobs := attempt{args: []string{"jobs"}}.in(t, n.Home)
	if got := strings.Count(jobs, "etl.hash"); got != 3 {
		t.Errorf("%d jobs were accepted, want 3:\n%s", got, jobs)
	}
	if manifest(t, in.dir) != before {
		t.Error("an input was changed")
	}
	if s := status(t, n); s.Node.String() == "" {
		t.Error("the node does not answer")
	}
	log, err := os.ReadFile(n.LogFile())
	if err != nil || bytes.Contains(log, []byte("panic")) || bytes.Contains(log, []byte("level=ERROR")) {
		t.Errorf("the node's log, %v:\n%s", err, log)
	}
}

// Whatever is damaged in the data folder is named with a remedy and left as it is; when it is put right, the node runs
// again and nothing is lost.
func TestDamagedHome(t *testing.T) {
	_, n, _ := world(t, 0)
	job := strings.TrimSpace(must(t, n, "submit", "test.noop", "-q"))
	n.Kill()
	sound := filepath.Join(t.TempDir(), "sound")
	restore := func(from, to string) {
		t.Helper()
		if err := os.RemoveAll(to); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("cp", "-a", from, to).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	restore(n.Home, sound)
	var jobLog string
	if logs, err := filepath.Glob(filepath.Join(n.Home, "log", "jobs", "*.log")); err != nil || len(logs) != 1 {
		t.Fatalf("%v, %v", logs, err)
	} else if jobLog, err = filepath.Rel(n.Home, logs[0]); err != nil {
		t.Fatal(err)
	}

	edit := func(change func([]byte) []byte) func(t *testing.T, path string) {
		return func(t *testing.T, path string) {
			data, err := os.ReadFile(path)
			if err == nil {
				err = os.WriteFile(path, change(data), 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	text := func(s string) func(t *testing.T, path string) { return edit(func([]byte) []byte { return []byte(s) }) }
	folder := func(t *testing.T, path string) {
		if err := errors.Join(os.Remove(path), os.Mkdir(path, 0o700)); err != nil {
			t.Fatal(err)
		}
	}
	file := func(t *testing.T, path string) {
		if err := errors.Join(os.RemoveAll(path), os.WriteFile(path, []byte("not a folder"), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name, path string
		damage     func(t *testing.T, path string)
		want       []string // besides the path
	}{
		{"settings: syntax", config.FileName, text("{\n  \"work\": {\"slots\": 1,}\n}"), []string{"line 2, column 22", "move it away"}},
		{"settings: name", config.FileName, text("{\n\n \"wrok\": {}}"), []string{"line 3, column 2", `did you mean "work"`, "move it away"}},
		{"settings: type", config.FileName, text(`{"work": {"slots": "many"}}`), []string{"line 1, column", "work.slots", "a whole number"}},
		{"settings: a folder", config.FileName, folder, []string{"move it away"}},
		{"key: cut short", identity.FileName, edit(func(b []byte) []byte { return b[:60] }), []string{"damaged", "copy of it back"}},
		{"key: one letter", identity.FileName, edit(func(b []byte) []byte { b[len(b)-40] ^= 1; return b }), []string{"damaged", "copy of it back"}},
		{"key: a folder", identity.FileName, folder, []string{"damaged", "no plain file"}},
		{"key: open to all", identity.FileName, func(t *testing.T, path string) {
			if err := os.Chmod(path, 0o644); err != nil {
				t.Fatal(err)
			}
		}, []string{"0644", "chmod 600"}},
		{"log: one bit", jobLog, edit(func(b []byte) []byte { b[60] ^= 4; return b }), []string{"damaged", "at offset 20", "move"}},
		{"log: its beginning", jobLog, edit(func(b []byte) []byte { b[0] ^= 4; return b }), []string{"damaged", "at offset 0", "move"}},
		{"log: overwritten", jobLog, text(strings.Repeat("nonsense", 100)), []string{"damaged", "at offset 0", "move"}},
		{"log: a file", "log", file, []string{"a file stands where a folder belongs", "move it away"}},
		{"blocks: manifest", "blocks/MANIFEST", text("nonsense"), []string{"damaged", "MANIFEST", "move"}},
		{"blocks: no manifest", "blocks/MANIFEST", func(t *testing.T, path string) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}, []string{"damaged", "no MANIFEST", "move"}},
		{"blocks: a file", "blocks", file, []string{"a file stands where a folder belongs", "move it away"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			restore(sound, n.Home)
			path := filepath.Join(n.Home, c.path)
			c.damage(t, path)
			before := state(t, path)
			shown := path
			if strings.HasPrefix(c.path, "log/") || strings.HasPrefix(c.path, "blocks/") {
				shown = filepath.Dir(path) // the folder is what has to go
			}
			attempt{args: []string{"run"}, code: exitFailed, want: append(c.want, shown)}.in(t, n.Home)
			if after := state(t, path); after != before {
				t.Errorf("it was changed from\n%sto\n%s", before, after)
			}
		})
	}
	t.Run("log: its end", func(t *testing.T) { // what a power cut leaves is no damage
		restore(sound, n.Home)
		edit(func(b []byte) []byte { return append(b, "unfinished"...) })(t, filepath.Join(n.Home, jobLog))
		if err := n.Start(limit(t, time.Minute)); err != nil {
			t.Fatal(err)
		}
		if text := must(t, n, "status"); !strings.Contains(text, "The last stop was not a clean one") || !strings.Contains(text, "10 unfinished bytes") {
			t.Errorf("status: %s", text)
		}
		n.Stop()
	})
	t.Run("put right", func(t *testing.T) {
		restore(sound, n.Home)
		if err := n.Start(limit(t, time.Minute)); err != nil {
			t.Fatal(err)
		}
		if text := must(t, n, "job", job); !strings.Contains(text, "test.noop") {
			t.Errorf("the job is lost: %s", text)
		}
	})
}

// state is the manifest of a file or folder, or that there is none.
func state(t *testing.T, path string) string {
	t.Helper()
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return "nothing\n"
	}
	return manifest(t, path)
}

func TestHomeIsAFile(t *testing.T) {
	if testing.Short() {
		t.Skip("runs real processes")
	}
	home := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(home, []byte("precious"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{home, filepath.Join(home, "below")} {
		for _, command := range []string{"init", "run"} {
			attempt{args: []string{command}, code: exitFailed, want: []string{home, "--home"}}.in(t, path)
		}
		attempt{args: []string{"status"}, code: exitNotRunning, want: []string{path, "kith run"}}.in(t, path)
	}
	if data, err := os.ReadFile(home); err != nil || string(data) != "precious" {
		t.Errorf("the file was changed: %q, %v", data, err)
	}
}

func TestFullDisk(t *testing.T) {
	if testing.Short() {
		t.Skip("runs real processes")
	}
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("mount a tiny disk: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(disk, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	home := filepath.Join(disk, "home")
	attempt{args: []string{"init"}}.in(t, home)
	key, err := os.ReadFile(filepath.Join(home, identity.FileName))
	if err != nil {
		t.Fatal(err)
	}
	run := []string{"run", "--port", "any", "--api-port", "any"}
	attempt{args: run, code: exitRefused, want: []string{home, "no space left", "free some space"}}.in(t, home)

	filler, err := os.Create(filepath.Join(disk, "filler"))
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = filler.Write(make([]byte, 4096))
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	attempt{args: run, code: exitRefused, want: []string{home, "no space left", "free some space"}}.in(t, home)
	attempt{args: []string{"config", "set", "work.slots", "3"}, code: exitRefused, want: []string{home, "no space left", "free some space"}}.in(t, home)
	if now, err := os.ReadFile(filepath.Join(home, identity.FileName)); err != nil || !bytes.Equal(now, key) {
		t.Errorf("the key was changed: %v", err)
	}
	input := filepath.Join(t.TempDir(), "input")
	if err := os.WriteFile(input, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	attempt{args: []string{"local", "etl.hash", input, "-o", filepath.Join(disk, "out")}, code: exitRefused, want: []string{disk, "no space left", "free some space"}}.in(t, home)
	if left, err := os.ReadDir(disk); err != nil || len(left) != 2 {
		t.Errorf("%v is left on the disk, %v", left, err)
	}
}

func TestPortTaken(t *testing.T) {
	if testing.Short() {
		t.Skip("runs real processes")
	}
	// taken returns a port that is taken, and a range that begins with it.
	last := 0
	var taken func() (one, some string)
	taken = func() (one, some string) {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		port := l.Addr().(*net.TCPAddr).Port
		if max(port-last, last-port) <= 20 { // the ranges must not touch
			return taken()
		}
		last = port
		return fmt.Sprint(port), fmt.Sprintf("%d-%d", port, min(port+20, 65535))
	}
	page, pages := taken()
	listen, listens := taken()
	f := emptyFleet(t)
	ctx := limit(t, time.Minute)
	n, err := f.Add(ctx, "node")
	if err != nil {
		t.Fatal(err)
	}
	attempt{args: []string{"run", "--api-port", page}, code: exitFailed, want: []string{page, "api.ports", "stop the program that holds it"}}.in(t, n.Home)
	attempt{args: []string{"run", "--port", listen}, code: exitFailed, want: []string{listen, "listen.ports", "stop the program that uses it"}}.in(t, n.Home)
	attempt{args: []string{"run", "--port", "99999"}, code: exitUsage, want: []string{"99999", "listen.ports", "1 to 65535"}}.in(t, n.Home)
	if err := n.Start(ctx, "--api-port", pages, "--port", listens); err != nil {
		t.Fatal(err)
	}
	if text := must(t, n, "status"); !strings.Contains(text, "The page has another port") || !strings.Contains(text, "This node listens on another port") {
		t.Errorf("status: %s", text)
	}
}
