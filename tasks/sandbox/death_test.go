package sandbox_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"kith/tasks"
	"kith/tasks/sandbox"
	"kith/tasks/sandbox/sandboxtest"
)

const parentEnv = "KITH_SANDBOX_PARENT"

// strays are the layers under which a runner can start no process, let alone leave one behind.
const strays = sandbox.LayerRoot | sandbox.LayerLandlock | sandbox.LayerSyscalls

// beParent is a process that runs work and waits to be killed.
func beParent() {
	exe, err := os.Executable()
	if err != nil {
		panic(err)
	}
	e, err := sandbox.NewProcess(sandbox.Options{Exe: exe, Env: sandboxtest.RunnerEnv(), Kinds: sandboxtest.Kinds(), Without: strays})
	if err != nil {
		panic(err)
	}
	r, err := e.Open(context.Background(), tasks.JobID{1}, "")
	if err != nil {
		panic(err)
	}
	if _, err := r.Run(context.Background(), sandboxtest.Do("stray", os.Getenv(parentEnv))); err != nil {
		panic(err)
	}
	fmt.Println(e.Isolated())
	_, _ = r.Run(context.Background(), sandboxtest.Do("hang", ""))
}

// TestParentKilled shows that nothing outlives a parent that had no time to clean up.
func TestParentKilled(t *testing.T) {
	if _, err := os.Stat("/proc/self/cmdline"); err != nil {
		t.Skip("no /proc to look for processes in")
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), parentEnv+"="+t.Name())
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	for len(sandboxtest.Strays(t.Name())) < 3 {
		time.Sleep(time.Millisecond)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if strings.TrimSpace(line) != "true" {
		t.Skip("without namespaces only the runner itself is sure to die with its parent")
	}
	for end := time.Now().Add(10 * time.Second); len(sandboxtest.Strays(t.Name())) > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("processes are still there: ", sandboxtest.Strays(t.Name()))
		}
	}
}
