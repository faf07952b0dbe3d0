package sandboxtest

import (
	"bytes"
	"errors"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"kith/tasks"
	"kith/tasks/sandbox"
)

// attacks runs what a confining engine must withstand. After each the engine must still do work.
func attacks(t *testing.T, e sandbox.Engine) {
	held := layers(e)
	starts := held&noPrograms == 0 // whether a runner can start processes at all
	limits := func(w sandbox.Work, set func(*tasks.Limits)) sandbox.Work {
		set(&w.Limits)
		return w
	}
	for _, c := range []struct {
		name string
		work func(t *testing.T, r place) sandbox.Work
		code tasks.Code
	}{
		{"busy loop", func(t *testing.T, r place) sandbox.Work {
			return limits(Do("spin", ""), func(l *tasks.Limits) { l.WallMillis = 150 })
		}, tasks.TimeLimit},
		{"busy loop within its time", func(t *testing.T, r place) sandbox.Work {
			return limits(Do("spin", ""), func(l *tasks.Limits) { l.CPUMillis = 100 })
		}, tasks.TimeLimit},
		{"hang", func(t *testing.T, r place) sandbox.Work {
			return limits(Do("hang", ""), func(l *tasks.Limits) { l.WallMillis = 150 })
		}, tasks.TimeLimit},
		{"fast memory bomb", func(t *testing.T, r place) sandbox.Work {
			return limits(Do("memory", "0"), func(l *tasks.Limits) { l.MemoryBytes = 64 << 20 })
		}, tasks.MemoryLimit},
		{"slow memory bomb", func(t *testing.T, r place) sandbox.Work {
			return limits(Do("memory", "10"), func(l *tasks.Limits) { l.MemoryBytes = 64 << 20 })
		}, tasks.MemoryLimit},
		{"disk fill", func(t *testing.T, r place) sandbox.Work {
			return limits(r.files(t, Do("fill", "")), func(l *tasks.Limits) { l.ScratchBytes = 16 << 20 })
		}, tasks.ScratchLimit},
		{"disk fill in a closed folder", func(t *testing.T, r place) sandbox.Work {
			return limits(r.files(t, Do("fill closed", "")), func(l *tasks.Limits) { l.ScratchBytes = 16 << 20 })
		}, tasks.ScratchLimit},
		{"disk fill in the depth", func(t *testing.T, r place) sandbox.Work {
			return limits(r.files(t, Do("fill deep", "")), func(l *tasks.Limits) { l.ScratchBytes = 16 << 20 })
		}, tasks.ScratchLimit},
		{"inode fill", func(t *testing.T, r place) sandbox.Work { return r.files(t, Do("fill inodes", "")) }, tasks.ScratchLimit},
		{"inode fill with folders", func(t *testing.T, r place) sandbox.Work { return r.files(t, Do("fill folders", "")) }, tasks.ScratchLimit},
		{"a file with a hole", func(t *testing.T, r place) sandbox.Work {
			return limits(r.files(t, Do("hole", "")), func(l *tasks.Limits) { l.ScratchBytes = 1 << 20 })
		}, tasks.ScratchLimit},
		{"one huge file", func(t *testing.T, r place) sandbox.Work {
			return limits(r.files(t, Do("scratch", "10000000")), func(l *tasks.Limits) { l.ScratchBytes = 1 << 20 })
		}, tasks.ScratchLimit},
		{"exit", func(t *testing.T, r place) sandbox.Work { return Do("exit", "0") }, tasks.TaskFailed},
		{"crash", func(t *testing.T, r place) sandbox.Work { return Do("goroutine panic", "boo") }, tasks.TaskFailed},
		{"garbage instead of an answer", func(t *testing.T, r place) sandbox.Work { return Do("garbage", "\x00\x00\x00\x05\x09garb") }, tasks.TaskFailed},
		{"an endless frame", func(t *testing.T, r place) sandbox.Work { return Do("garbage", "\xff\xff\xff\xff\x05") }, tasks.TaskFailed},
		{"a forged name", func(t *testing.T, r place) sandbox.Work {
			return Do("garbage", "\x00\x00\x00\x0a\x05\x00\x00\x00\x00\x01\x03../\x00")
		}, tasks.TaskFailed},
		{"half a frame", func(t *testing.T, r place) sandbox.Work {
			return limits(Do("garbage", "\x00\x00\x00\x20\x05"), func(l *tasks.Limits) { l.WallMillis = 150 })
		}, tasks.TimeLimit},
		{"memory that is never touched", func(t *testing.T, r place) sandbox.Work {
			return limits(Do("map", ""), func(l *tasks.Limits) { l.MemoryBytes = 64 << 20 })
		}, tasks.MemoryLimit},
		{"an archive that explodes", func(t *testing.T, r place) sandbox.Work {
			return limits(r.files(t, Do("explode", "")), func(l *tasks.Limits) { l.OutputBytes = 4 << 20 })
		}, tasks.OutputLimit},
		{"disk fill by deleted files", func(t *testing.T, r place) sandbox.Work {
			return limits(r.files(t, Do("fill deleted", "")), func(l *tasks.Limits) { l.ScratchBytes = 16 << 20 })
		}, tasks.ScratchLimit},
		{"thread bomb", func(t *testing.T, r place) sandbox.Work {
			// A C library reserves 8 MiB for the stack of every thread, which counts as memory: here it must not be what runs out.
			return limits(Do("threads", ""), func(l *tasks.Limits) { l.Processes, l.MemoryBytes = 60, 4<<30 })
		}, tasks.TaskFailed},
		{"deaf to signals", func(t *testing.T, r place) sandbox.Work {
			return limits(Do("deaf", ""), func(l *tasks.Limits) { l.WallMillis = 150 })
		}, tasks.TimeLimit},
		{"fork bomb", func(t *testing.T, r place) sandbox.Work {
			return limits(Do("bomb", mark(t)), func(l *tasks.Limits) { l.Processes, l.MemoryBytes = 60, 2<<30 })
		}, tasks.TaskFailed},
		{"strays of a runner that hangs", func(t *testing.T, r place) sandbox.Work {
			return limits(Do("stray hang", mark(t)), func(l *tasks.Limits) { l.WallMillis = 400 })
		}, tasks.TimeLimit},
		{"strays of a runner that ends", func(t *testing.T, r place) sandbox.Work { return Do("stray exit", mark(t)) }, tasks.TaskFailed},
	} {
		t.Run(c.name, func(t *testing.T) {
			if !starts && strings.Contains(c.name, "stray") {
				t.Skip("no process can be started")
			}
			if !starts && c.name == "fork bomb" {
				_, err := runner(t, e).Run(t.Context(), Do("bomb", mark(t)))
				WantReason(t, err, tasks.TaskFailed)
				return
			}
			if c.name == "disk fill by deleted files" && runtime.GOOS != "linux" {
				t.Skip("deleted files are not counted here")
			}
			r := runner(t, e)
			if c.name == "disk fill in a closed folder" && held&(root|syscalls) == syscalls {
				_, err := r.Run(t.Context(), c.work(t, r))
				WantReason(t, err, tasks.TaskFailed) // it can close none
				return
			}
			_, err := r.Run(t.Context(), c.work(t, r))
			WantReason(t, err, c.code)
			noStrays(t)
			if c.name != "one huge file" && c.name != "a file with a hole" && c.code != tasks.OutputLimit && r.Alive() {
				t.Fatal("the runner lives on")
			}
			mustRun(t, runner(t, e), Do("noop", ""))
		})
	}
	t.Run("strays of a runner that is closed", func(t *testing.T) {
		if !starts {
			t.Skip("no process can be started")
		}
		r := runner(t, e)
		mustRun(t, r, Do("stray", mark(t)))
		waitStrays(t)
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		noStrays(t)
	})
	t.Run("strays when everything is killed", func(t *testing.T) {
		if !starts {
			t.Skip("no process can be started")
		}
		mustRun(t, runner(t, e), Do("stray", mark(t)))
		waitStrays(t)
		e.Kill()
		noStrays(t)
	})
	t.Run("inode fill of the output", func(t *testing.T) {
		r := runner(t, e)
		_, err := r.Run(t.Context(), r.files(t, Do("fill output", strconv.Itoa(Entries+1))))
		var why tasks.Reason
		if errors.As(err, &why); why.Code != tasks.OutputLimit && why.Code != tasks.ScratchLimit { // if it was seen while it ran
			t.Fatalf("got %v", err)
		}
	})
	t.Run("printing is not speaking", func(t *testing.T) {
		r := runner(t, e)
		mustRun(t, r, Do("printflood", "100"))
		mustRun(t, r, Do("noop", ""))
	})
	t.Run("environment, folder and files", func(t *testing.T) { testSurroundings(t, e) })
	t.Run("processes are not shared", func(t *testing.T) { testFresh(t, e) })
	t.Run("too many open files", func(t *testing.T) {
		r := runner(t, e)
		mustRun(t, r, r.files(t, Do("open", "100000"))) // it is refused at some point, and nobody else notices
	})
	t.Run("escape", func(t *testing.T) { escapes(t, e, held) })
}

// Entries is what an engine under test should have as sandbox.Options.Entries: an attacker must pass it.
const Entries = 200

// noPrograms are the layers each of which keeps a runner from starting processes.
const noPrograms = sandbox.LayerRoot | sandbox.LayerLandlock | sandbox.LayerSyscalls

// layers says what the engine claims to hold runners with.
func layers(e sandbox.Engine) sandbox.Layers {
	if l, ok := e.(interface{ Layers() sandbox.Layers }); ok {
		return l.Layers()
	}
	return 0
}

// mark is a name by which the strays of one test are found.
func mark(t *testing.T) string {
	return strings.Map(func(r rune) rune {
		if r == '/' || r == ' ' {
			return '-'
		}
		return r
	}, t.Name())
}

func noStrays(t *testing.T) {
	t.Helper()
	if pids := Strays(mark(t)); len(pids) > 0 {
		t.Fatalf("processes %v are still there", pids)
	}
}

// waitStrays waits until there is something to find, so that finding nothing later means something.
func waitStrays(t *testing.T) {
	t.Helper()
	if _, err := os.Stat("/proc/self/cmdline"); err != nil {
		return
	}
	for len(Strays(mark(t))) < 3 {
		if t.Context().Err() != nil {
			t.Fatal("the attacker started nothing")
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// Strays lists the processes that the attacker named mark has left, where the system has a /proc.
func Strays(mark string) []string {
	list, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var pids []string
	for _, d := range list {
		line, err := os.ReadFile("/proc/" + d.Name() + "/cmdline")
		if err == nil && bytes.Contains(line, []byte(roleMark+mark+"\x00")) {
			pids = append(pids, d.Name())
		}
	}
	return pids
}

func testSurroundings(t *testing.T, e sandbox.Engine) {
	r := runner(t, e)
	env := string(mustRun(t, r, Do("env", "")).Inline["n"])
	if strings.Contains(env, secretEnv) || strings.Contains(env, "HOME=") || strings.Contains(env, "PATH=") {
		t.Fatalf("environment %q", env)
	}
	w := r.files(t, Do("dir", ""))
	want := w.Scratch
	if layers(e)&sandbox.LayerRoot != 0 {
		want = "/" + sandbox.TmpDir // nor the name of anything outside
	}
	wantFile(t, mustRun(t, r, w), "n", want)
	f, err := os.CreateTemp(t.TempDir(), "held")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	files := string(mustRun(t, r, Do("files", "")).Inline["n"])
	for _, line := range strings.Split(files, "\n") {
		fd, to, _ := strings.Cut(line, " ")
		if to != "" && !strings.HasPrefix(to, "pipe:") && !strings.HasPrefix(to, "anon_inode:") && !strings.HasPrefix(to, "/proc/") &&
			to != os.DevNull && !strings.HasPrefix(to, "/sys/fs/cgroup/") {
			t.Fatalf("file %s is open: %s", fd, to)
		}
	}
}

func testFresh(t *testing.T, e sandbox.Engine) {
	count := func(r sandbox.Runner, kind string) string {
		w := Do("count", "")
		w.Steps[0].Kind = kind
		return string(mustRun(t, r, w).Inline["n"])
	}
	warm := runner(t, e)
	for _, want := range []string{"1", "2", "3"} {
		if got := count(warm, "test.kind"); got != want {
			t.Fatalf("a warm runner has done %s pieces of work, want %s", got, want)
		}
	}
	if got := count(warm, "test.alone"); got != "1" {
		t.Fatalf("a kind that is not reusable got a used process: %s", got)
	}
	if warm.Alive() {
		t.Fatal("a kind that is not reusable left its process to others")
	}
	if err := warm.Close(); err != nil {
		t.Fatal(err)
	}
	other, err := e.Open(t.Context(), tasks.JobID{2}, "")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if got := count(other, "test.kind"); got != "1" {
		t.Fatalf("a job got the process of another: %s", got)
	}
}
