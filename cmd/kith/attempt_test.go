package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// attempt is one command line that must end with an exit code and tell certain things.
type attempt struct {
	name string
	args []string
	code int
	want []string // in standard error if code is not 0, else in standard output
}

// in runs the real program against a data folder and returns what it printed.
func (a attempt) in(t *testing.T, home string, change ...func(*exec.Cmd)) (stdout string) {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(limit(t, time.Minute), path, a.args...)
	c.Env = append(os.Environ(), "KITH_HOME="+home, "NO_COLOR=1")
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	for _, f := range change {
		f(c)
	}
	err = c.Run()
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) {
		t.Fatal(err)
	}
	text := out.String()
	if a.code != 0 {
		text = errs.String()
	}
	if got := c.ProcessState.ExitCode(); got != a.code {
		t.Fatalf("kith %q: exit code %d, want %d\nstdout: %s\nstderr: %s", a.args, got, a.code, out.String(), errs.String())
	}
	for _, want := range a.want {
		if !strings.Contains(text, want) {
			t.Errorf("kith %q does not say %q:\n%s", a.args, want, text)
		}
	}
	for _, never := range []string{"panic:", "goroutine ", "BUG"} {
		if strings.Contains(errs.String(), never) {
			t.Errorf("kith %q: %s", a.args, errs.String())
		}
	}
	return out.String()
}
