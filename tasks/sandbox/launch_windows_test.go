package sandbox

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf16"

	"golang.org/x/sys/windows"
)

func TestEnvironment(t *testing.T) {
	for name, c := range map[string]struct {
		env  []string
		want string
		bad  bool
	}{
		"none":            {nil, "\x00\x00", false},
		"some":            {[]string{"A=1", "B=ü 🙂", "C="}, "A=1\x00B=ü 🙂\x00C=\x00\x00", false},
		"one with an end": {[]string{"A=1\x00B=2"}, "", true},
	} {
		got, err := environment(c.env)
		if (err != nil) != c.bad || err == nil && string(utf16.Decode(got)) != c.want {
			t.Errorf("%s: %q, %v", name, string(utf16.Decode(got)), err)
		}
	}
}

func TestCommandLine(t *testing.T) {
	for _, args := range [][]string{
		{`C:\Program Files\Kith\kith.exe`, "runner"}, {"a", "", `b\`, `c "d" e\\"`, `\\host\x y\`, "ü"},
	} {
		got, err := windows.DecomposeCommandLine(windows.ComposeCommandLine(args))
		if err != nil || !slices.Equal(got, args) {
			t.Errorf("%q became %q, %v", args, got, err)
		}
	}
}

func TestContainerName(t *testing.T) {
	name := containerName(bytes.Repeat([]byte{0xab}, 32), mostContainers-1)
	if len(name) > 64 || strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.") != "" {
		t.Errorf("%q", name)
	}
}

// TestLaunch starts a program of the system in a job, and ends another with it.
func TestLaunch(t *testing.T) {
	shell := filepath.Join(os.Getenv("SystemRoot"), "system32", "cmd.exe")
	start := func(stdin string, args ...string) (cmd *exec.Cmd, job windows.Handle, out *os.File, said chan struct{}) {
		t.Helper()
		job, err := windows.CreateJobObject(nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { windows.CloseHandle(job) })
		theirIn, ourOut, err1 := os.Pipe()
		ourIn, theirOut, err2 := os.Pipe()
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		cmd = &exec.Cmd{Path: shell, Args: append([]string{shell}, args...), Dir: neutralDir, Env: append(systemEnv(), "KITH_SAYS=hello"), Stdin: theirIn, Stdout: theirOut, Stderr: &tail{}}
		said, err = launch(cmd, job, 0, nil)
		theirIn.Close()
		theirOut.Close()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ourOut.WriteString(stdin); err != nil {
			t.Error(err)
		}
		t.Cleanup(func() { ourIn.Close(); ourOut.Close() })
		return cmd, job, ourIn, said
	}
	cmd, _, out, said := start("", "/c", "echo %KITH_SAYS%& echo oops 1>&2& exit 7")
	text, err := io.ReadAll(out)
	if err != nil || strings.TrimSpace(string(text)) != "hello" {
		t.Errorf("it says %q, %v", text, err)
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != 7 {
		t.Errorf("it ended with %v", cmd.ProcessState)
	}
	select {
	case <-said:
	case <-time.After(20 * time.Second):
		t.Fatal("its last words are not read")
	}
	if words := cmd.Stderr.(*tail).text(); !strings.Contains(words, "oops") {
		t.Errorf("its last words: %q", words)
	}

	cmd, job, _, said := start("", "/c", "pause")
	if err := windows.TerminateJobObject(job, 3); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != 3 {
		t.Errorf("what was in a job that was ended ended with %v", cmd.ProcessState)
	}
	<-said

	bad := &exec.Cmd{Path: filepath.Join(os.Getenv("SystemRoot"), "no-such.exe"), Args: []string{"x"}, Dir: neutralDir, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: &tail{}}
	if _, err := launch(bad, job, 0, nil); err == nil || !strings.Contains(err.Error(), "no-such") {
		t.Errorf("what is not there: %v", err)
	}
}

// TestRights computes lists of rights: what is granted is there until it is taken back, and nothing else changes.
func TestRights(t *testing.T) {
	guest, err := windows.CreateWellKnownSid(windows.WinBuiltinGuestsSid)
	if err != nil {
		t.Fatal(err)
	}
	sd, err := windows.SecurityDescriptorFromString("D:(A;;FA;;;BA)")
	if err != nil {
		t.Fatal(err)
	}
	before, _, err := sd.DACL()
	if err != nil {
		t.Fatal(err)
	}
	with, err := windows.ACLFromEntries([]windows.EXPLICIT_ACCESS{entryFor(guest, windows.GRANT_ACCESS, mayWrite, windows.SUB_CONTAINERS_AND_OBJECTS_INHERIT)}, before)
	if err != nil {
		t.Fatal(err)
	}
	if with.AceCount != before.AceCount+1 {
		t.Errorf("%d entries, before %d", with.AceCount, before.AceCount)
	}
	without, err := windows.ACLFromEntries([]windows.EXPLICIT_ACCESS{entryFor(guest, windows.REVOKE_ACCESS, 0, windows.NO_INHERITANCE)}, with)
	if err != nil || without.AceCount != before.AceCount {
		t.Errorf("%v: it was not taken back", err)
	}
}

// TestContainer makes a container where the system has any, and runs nothing in it.
func TestContainer(t *testing.T) {
	var acls sync.Mutex
	c, err := newContainer(os.Args[0], &acls)
	if err != nil {
		t.Skip(err)
	}
	defer c.close()
	other, err := newContainer(os.Args[0], &acls)
	if err != nil {
		t.Fatal(err)
	}
	defer other.close()
	if c.name == other.name || windows.EqualSid(c.sid, other.sid) {
		t.Errorf("two runners in one container: %s %s", c.name, other.name)
	}
}

// TestReach: a runner finds out whether its folders are open to it.
func TestReach(t *testing.T) {
	dir, err := os.MkdirTemp("", "kith-reach-")
	if err != nil {
		t.Fatal(err)
	}
	defer Wipe(dir)
	for i, name := range [...]string{InDir, OutDir, TmpDir} {
		if err := reach(dir); err == nil {
			t.Errorf("without the last %d folders all is well", 3-i)
		}
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := reach(dir); err != nil {
		t.Error(err)
	}
	for _, name := range [...]string{OutDir, TmpDir} {
		if list, err := os.ReadDir(filepath.Join(dir, name)); err != nil || len(list) > 0 {
			t.Errorf("%s: it left %v, %v", name, list, err)
		}
	}
	if have, err := enter(dir, 0); have != 0 || err != nil {
		t.Errorf("nothing wanted: %v, %v", have, err)
	}
	if have, err := enter(filepath.Join(dir, "none"), LayerToken); have != 0 || err == nil {
		t.Errorf("no folders, and yet held by %v", have)
	}
}
