package sandbox_test

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestOrdinaryUser runs the suite and the self-test again as nobody, who may neither make control groups nor read what
// root can.
func TestOrdinaryUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("this is an ordinary user already")
	}
	dir, err := os.MkdirTemp("", "kith-nobody-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	const nobody = 65534
	home := filepath.Join(dir, "home")
	if err := os.Mkdir(home, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(home, nobody, nobody); err != nil {
		t.Skipf("this root is not one that can make files another's: %v", err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	exe := filepath.Join(dir, "sandbox.test")
	if err := copyProgram(exe); err != nil {
		t.Fatal(err)
	}
	// Not before the program is there: while a file is being written, processes that others start may hold it open, and it
	// cannot be executed.
	t.Parallel()
	args := []string{"-test.run=^(TestProcess|TestSelfTest|TestProcessLayers)$", "-test.v"}
	if testing.Short() {
		args[0] = "-test.run=^(TestProcess$/^(escape|.*fill.*|memory.*)$|TestSelfTest$)"
	}
	cmd := exec.Command(exe, args...)
	cmd.Dir = home
	cmd.Env = []string{"TMPDIR=" + home}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("as nobody: %v\n%s", err, failures(out))
	}
	if n := strings.Count(string(out), "--- PASS"); n < 100 && !testing.Short() {
		t.Errorf("only %d tests ran as nobody:\n%s", n, out)
	}
}

func copyProgram(to string) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	r, err := os.Open(exe)
	if err != nil {
		return err
	}
	defer r.Close()
	w, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	if _, err := io.Copy(w, r); err != nil {
		w.Close()
		return err
	}
	return w.Close()
}

// failures is what a log of tests says about those that failed.
func failures(out []byte) string {
	var s strings.Builder
	for line := range strings.Lines(string(out)) {
		if !strings.Contains(line, "=== ") && !strings.Contains(line, "--- PASS") && !strings.Contains(line, "--- SKIP") {
			s.WriteString(line)
		}
	}
	text := s.String()
	return text[max(0, len(text)-4000):]
}
