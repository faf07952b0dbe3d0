package sandbox_test

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"kith/tasks"
	"kith/tasks/sandbox"
	"kith/tasks/sandbox/sandboxtest"
)

// A runner that hangs before it is confined is ended, and another one does the work.
func TestHungRunnerIsReplaced(t *testing.T) {
	before := offspring(t)
	e := process(t, func(o *sandbox.Options) { o.Spares = 1 })
	e.Warm()
	var spare []int
	for end := time.Now().Add(30 * time.Second); len(spare) == 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("no spare runner was started")
		}
		spare = slices.DeleteFunc(offspring(t), func(pid int) bool { return slices.Contains(before, pid) })
	}
	time.Sleep(500 * time.Millisecond) // it greets, and waits
	for _, pid := range spare {
		_ = syscall.Kill(pid, syscall.SIGSTOP)
	}
	r, err := e.Open(t.Context(), tasks.JobID{1}, "")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := r.Run(t.Context(), sandboxtest.Do("noop", "")); err != nil {
		t.Error(err)
	}
	if left := offspring(t); slices.ContainsFunc(spare, func(pid int) bool { return slices.Contains(left, pid) }) {
		t.Errorf("%v hung, and of %v are still there", spare, left)
	}
}

// offspring lists the child processes of this one.
func offspring(t *testing.T) (pids []int) {
	t.Helper()
	lists, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range lists {
		b, _ := os.ReadFile(name) // of a thread that may have ended
		for _, f := range strings.Fields(string(b)) {
			if pid, err := strconv.Atoi(f); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}
