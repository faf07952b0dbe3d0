// Package probe runs foreign or fragile code in a child process: a driver's library that may crash, a tool that may
// hang, a kernel with an instruction this processor may lack. The child gets little time and little room to talk, and
// ends with its parent. Whatever happens to it is an error here, with its last words.
package probe

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
	"time"
)

// Errors of a child, to be matched with errors.Is.
var (
	// ErrTimeout: it did not end in time and was ended.
	ErrTimeout = errors.New("did not finish in time and was ended")
	// ErrCrashed: it ended by a signal or with a failure.
	ErrCrashed = errors.New("crashed or failed")
	// ErrMissing: there is no such program on this machine.
	ErrMissing = errors.New("is not installed")
	// ErrOutput: it said too much, or not what was agreed.
	ErrOutput = errors.New("gave an answer that cannot be used")
)

// Bounds of what a child may say.
const (
	maxOutput = 4 << 20 // bytes
	maxTail   = 2 << 10 // bytes of standard error that are kept: the last ones
	waitDelay = 500 * time.Millisecond
)

// Command is one run of a program.
type Command struct {
	Path  string // of the program, or its name on PATH
	Args  []string
	Env   []string // added to this process's environment
	Stdin []byte   // nil: a pipe that stays open until this process ends (see Orphan)
	Limit time.Duration
}

// Run runs the command to its end and returns what it wrote to standard output.
func Run(ctx context.Context, c Command) ([]byte, error) {
	name := strings.Join(append([]string{base(c.Path)}, c.Args[:min(2, len(c.Args))]...), " ")
	path, err := exec.LookPath(c.Path)
	if err != nil {
		return nil, fmt.Errorf("%s %w", base(c.Path), ErrMissing)
	}
	timed, cancel := context.WithTimeout(ctx, c.Limit)
	defer cancel()
	cmd := exec.Command(path, c.Args...)
	cmd.Env = append(os.Environ(), c.Env...)
	out, tail := &capped{most: maxOutput}, &last{}
	cmd.Stdout, cmd.Stderr = out, tail
	cmd.WaitDelay = waitDelay
	if c.Stdin != nil {
		cmd.Stdin = bytes.NewReader(c.Stdin)
	} else {
		ours, err := cmd.StdinPipe()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		defer ours.Close()
	}
	err = runTree(timed, cmd)
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case timed.Err() != nil:
		return nil, fmt.Errorf("%s %w (%s)%s", name, ErrTimeout, c.Limit, tail.words())
	case out.over:
		return nil, fmt.Errorf("%s %w: more than %d bytes", name, ErrOutput, maxOutput)
	case err != nil:
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			return out.b, fmt.Errorf("%s %w: %s%s", name, ErrCrashed, exit.ProcessState, tail.words())
		}
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return out.b, nil
}

// JSON runs the command and decodes what it wrote to standard output as one JSON value.
func JSON(ctx context.Context, c Command, into any) error {
	out, err := Run(ctx, c)
	if err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(out))
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("%s %w: %w", base(c.Path), ErrOutput, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%s %w: more than one value", base(c.Path), ErrOutput)
	}
	return nil
}

// Orphan ends this process when its parent does: the parent holds the other end of standard input. Call it first in a
// child that Run started without Stdin.
func Orphan() {
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(exitOrphan)
	}()
}

const exitOrphan = 90

func base(path string) string { return path[strings.LastIndexAny(path, `/\`)+1:] }

// capped keeps at most so many bytes and remembers that there were more.
type capped struct {
	b    []byte
	most int
	over bool
}

func (c *capped) Write(p []byte) (int, error) {
	if len(c.b)+len(p) > c.most {
		c.over = true
		return len(p), nil // reading on keeps the child from blocking
	}
	c.b = append(c.b, p...)
	return len(p), nil
}

// last keeps the last bytes.
type last struct{ b []byte }

func (l *last) Write(p []byte) (int, error) {
	l.b = append(l.b, p...)
	if len(l.b) > maxTail {
		l.b = append(l.b[:0], l.b[len(l.b)-maxTail:]...)
	}
	return len(p), nil
}

// words are the last lines, for an error.
func (l *last) words() string {
	lines := strings.FieldsFunc(strings.TrimSpace(string(l.b)), func(r rune) bool { return r == '\n' || r == '\r' })
	if len(lines) == 0 {
		return ""
	}
	return ": " + strings.ToValidUTF8(strings.Join(lines[max(0, len(lines)-3):], "; "), "?")
}
