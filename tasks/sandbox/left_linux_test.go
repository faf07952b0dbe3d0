package sandbox_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"kith/tasks"
	"kith/tasks/sandbox"
	"kith/tasks/sandbox/sandboxtest"
)

// TestNothingIsLeft shows that an engine leaves nothing behind, whatever its tasks did: no process, goroutine, open file,
// control group, mount or file. It is not parallel: nobody else may have any of these meanwhile.
func TestNothingIsLeft(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	r, w, err := os.Pipe() // the first one makes the runtime open files of its own, for good
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	w.Close()
	before, held := host(t)
	for name, without := range map[string]sandbox.Layers{
		"all layers": 0,
		"open":       strays | sandbox.LayerPrivileges,
		"plain":      strays | sandbox.LayerPrivileges | sandbox.LayerNamespaces,
	} {
		e := process(t, func(o *sandbox.Options) { o.Without, o.Spares = without, 2 })
		if _, err := e.SelfTest(t.Context(), temp); err != nil {
			t.Fatal(err)
		}
		for _, phase := range []string{"memory", "strays", "fill", "spin"} {
			dir, err := os.MkdirTemp(temp, "work-")
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range []string{sandbox.InDir, sandbox.OutDir, sandbox.TmpDir} {
				if err := os.Mkdir(filepath.Join(dir, f), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			r, err := e.Open(t.Context(), tasks.JobID{1}, dir)
			if err != nil {
				t.Fatal(err)
			}
			w := sandboxtest.Do(phase, "left")
			w.Scratch = filepath.Join(dir, sandbox.TmpDir)
			w.Limits.WallMillis, w.Limits.MemoryBytes, w.Limits.ScratchBytes, w.Limits.Processes = 400, 64<<20, 4<<20, 60
			_, _ = r.Run(t.Context(), w) // what comes of it is for others to test
			if phase != "strays" {       // the engine must end those that nobody closed
				if err := r.Close(); err != nil {
					t.Error(err)
				}
			}
			if err := sandbox.Wipe(dir); err != nil {
				t.Error(err)
			}
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
		after, now := host(t)
		for end := time.Now().Add(20 * time.Second); (after != before || now > held) && time.Now().Before(end); after, now = host(t) {
			time.Sleep(10 * time.Millisecond) // the kernel takes its time with the last of a group, the runtime with a goroutine
		}
		if after != before || now > held {
			t.Errorf("%s: left behind\n%s%d goroutines and open files\nbefore\n%s%d", name, after, now, before, held)
		}
	}
}

// host is what there is of all that an engine makes, and how many goroutines and open files, of which tests before this
// one may be about to lose some.
func host(t *testing.T) (state string, held int) {
	t.Helper()
	var s strings.Builder
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip(err)
	}
	threads, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range threads {
		b, _ := os.ReadFile(name)
		for _, pid := range strings.Fields(string(b)) {
			fmt.Fprintln(&s, "child", pid)
		}
	}
	fmt.Fprintln(&s, "strays", sandboxtest.Strays("left"))
	var groups []string
	for _, root := range []string{"/sys/fs/cgroup"} {
		_ = filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
			if err == nil && d.IsDir() && strings.HasPrefix(d.Name(), fmt.Sprintf("kith-%d-", os.Getpid())) {
				groups = append(groups, path)
				return filepath.SkipDir
			}
			return nil
		})
	}
	slices.Sort(groups)
	fmt.Fprintln(&s, "groups", groups)
	s.WriteString(sandboxtest.Mounts())
	files, _ := filepath.Glob(filepath.Join(os.Getenv("TMPDIR"), "*"))
	fmt.Fprintln(&s, "files", files)
	return s.String(), runtime.NumGoroutine() + len(fds)
}
