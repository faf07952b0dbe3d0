// Package bubble gives a program virtual time. Go has it for tests alone (testing/synctest), so a simulation that is no
// test runs as the only test of a child process: this one file knows how, and its test fails should Go change it.
package bubble

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"testing/synctest"
)

// Arg is the only argument of a child process that runs a bubble. A program that calls Run begins with
//
//	if len(os.Args) == 2 && os.Args[1] == bubble.Arg { bubble.Main(play) }
const Arg = "kith-simnet-bubble"

// answer is what a child says, in one line after whatever the test framework prints.
const mark = "\nkith-simnet-answer "

type answer struct {
	Error  string
	Result json.RawMessage
}

// Run calls play, as given to Main, in a child process in virtual time that begins at midnight UTC on 1 January 2000.
// in and out are sent as JSON.
func Run(ctx context.Context, in, out any) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	b, err := json.Marshal(in)
	if err != nil {
		return err
	}
	c := exec.CommandContext(ctx, self, Arg)
	var said bytes.Buffer
	tail := &tail{}
	c.Stdin, c.Stdout, c.Stderr = bytes.NewReader(b), &said, tail
	err = c.Run()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	_, line, ok := strings.Cut(said.String(), mark)
	if !ok {
		return fmt.Errorf("the simulation ended without an answer: %v: %s", err, tail.b)
	}
	line, _, _ = strings.Cut(line, "\n")
	var a answer
	if err := json.Unmarshal([]byte(line), &a); err != nil {
		return fmt.Errorf("the simulation's answer: %w", err)
	}
	if a.Error != "" {
		return errors.New(a.Error)
	}
	return json.Unmarshal(a.Result, out)
}

// tail keeps the last of what is written.
type tail struct{ b []byte }

func (t *tail) Write(p []byte) (int, error) {
	const most = 8 << 10
	t.b = append(t.b, p...)
	t.b = t.b[max(0, len(t.b)-most):]
	return len(p), nil
}

// Main reads what Run was given, calls play in a bubble, answers, and ends the process.
func Main[In, Out any](play func(context.Context, In) (Out, error)) {
	tests := []testing.InternalTest{{Name: "Bubble", F: func(t *testing.T) {
		b, err := io.ReadAll(os.Stdin)
		var in In
		if err == nil {
			err = json.Unmarshal(b, &in)
		}
		var a answer
		if err == nil {
			synctest.Test(t, func(t *testing.T) {
				var out Out
				if out, err = play(t.Context(), in); err == nil {
					a.Result, err = json.Marshal(out)
				}
			})
		}
		if err != nil {
			a.Error = err.Error()
		}
		line, err := json.Marshal(a)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Printf("%s%s\n", mark, line)
	}}}
	os.Args = os.Args[:1] // the test framework reads them
	testing.Main(func(string, string) (bool, error) { return true, nil }, tests, nil, nil)
}
