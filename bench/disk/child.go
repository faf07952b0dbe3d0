package disk

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"time"
)

// ChildArg is the only argument of this program when it is the child of Probe.
const ChildArg = "internal-disk-probe"

// Stall is how long a drive may do nothing before it counts as hung. A sleeping disk needs ten seconds to spin up.
const Stall = 30 * time.Second

// request is what the child reads: one line. It ends when its standard input does, and with it its parent.
type request struct {
	Dir    string        `json:"dir"`
	Budget time.Duration `json:"budget"`
	Size   int64         `json:"size"`
	Depths []int         `json:"depths"`
}

// line is what the child writes, one JSON text a line; one of its fields is set.
type line struct {
	Progress *progress `json:"progress,omitempty"`
	Result   *Result   `json:"result,omitempty"`
	Error    string    `json:"error,omitempty"`
	Kind     string    `json:"kind,omitempty"` // of the error
}

type progress struct {
	Step     string  `json:"step"`
	Share    float64 `json:"share"`
	Requests int64   `json:"requests"`
}

// kinds of errors that keep their meaning over the pipe.
var errorKinds = map[string]error{
	"no-room": ErrNoRoom, "wrong": ErrWrong, "hung": ErrHung, "permission": os.ErrPermission, "not-exist": os.ErrNotExist, "read-only": ErrReadOnly,
}

// ErrReadOnly: nothing can be written to the drive.
var ErrReadOnly = errors.New("the drive can only be read")

// Main is the whole life of the child process.
func Main() int {
	in := bufio.NewReader(os.Stdin)
	out := json.NewEncoder(os.Stdout)
	text, err := in.ReadBytes('\n')
	var r request
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "this is a part of Kith and is not started by hand")
		return 2
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { // the parent is gone, or wants no more
		_, _ = io.Copy(io.Discard, in)
		cancel()
		time.Sleep(2 * time.Second)
		os.Exit(3) // a request that hangs hears no cancel
	}()
	res, err := Measure(ctx, Options{Dir: r.Dir, Budget: r.Budget, Size: r.Size, Depths: r.Depths, Progress: func(step string, share float64, n int64) {
		_ = out.Encode(line{Progress: &progress{step, share, n}})
	}})
	l := line{Result: &res}
	if err != nil {
		l.Error, l.Kind = err.Error(), kindOfError(err)
	}
	if out.Encode(l) != nil {
		return 1
	}
	return 0
}

func kindOfError(err error) string {
	if readOnly(err) {
		return "read-only"
	}
	for _, name := range sortedKeys(errorKinds) {
		if errors.Is(err, errorKinds[name]) {
			return name
		}
	}
	return ""
}

// Prober runs measurements in child processes.
type Prober struct {
	// Command makes the child's command; nil: this program with ChildArg.
	Command func() (*exec.Cmd, error)
	Stall   time.Duration // default Stall
}

func self() (*exec.Cmd, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return exec.Command(exe, ChildArg), nil
}

// Probe measures a drive in a child process, which is ended when ctx ends or when the drive stands still. After an error
// the result holds what was measured before, if anything. Of o, Open and Space are not used. A child that hangs in the
// kernel stays until the drive answers it; nothing waits for it.
func (p Prober) Probe(ctx context.Context, o Options) (Result, error) {
	if p.Command == nil {
		p.Command = self
	}
	if p.Stall <= 0 {
		p.Stall = Stall
	}
	cmd, err := p.Command()
	if err != nil {
		return Result{}, fmt.Errorf("measure in a child process: %w", err)
	}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return Result{}, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return Result{}, err
	}
	var last tail
	cmd.Stderr = &last
	if err := cmd.Start(); err != nil {
		return Result{}, fmt.Errorf("measure in a child process: %w", err)
	}
	text, err := json.Marshal(request{o.Dir, o.Budget, o.Size, o.Depths})
	if err != nil {
		return Result{}, err
	}
	_, _ = stdin.Write(append(text, '\n')) // a child that is gone already is noticed below
	lines := make(chan line)
	gone := make(chan struct{})
	defer close(gone)
	go func() { // ends with the child, however long that takes
		defer func() { _ = cmd.Wait() }()
		defer close(lines)
		read := bufio.NewScanner(stdout)
		read.Buffer(nil, 1<<20)
		for read.Scan() {
			var l line
			if json.Unmarshal(read.Bytes(), &l) != nil {
				continue
			}
			select {
			case lines <- l:
			case <-gone:
				return
			}
		}
	}()
	res, err := p.follow(ctx, o, lines)
	_ = stdin.Close()
	_ = cmd.Process.Kill()
	if errors.Is(err, errDied) {
		err = fmt.Errorf("%w: %s", err, last.text())
	}
	return res, err
}

var errDied = errors.New("the measuring process died")

// follow waits for the result while there is progress.
func (p Prober) follow(ctx context.Context, o Options, lines <-chan line) (Result, error) {
	moved, before, step := time.Now(), int64(-1), "open the drive"
	tick := time.NewTicker(p.Stall / 10)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return Result{}, context.Cause(ctx)
		case <-tick.C:
			if time.Since(moved) > p.Stall {
				return Result{}, fmt.Errorf("%w: nothing happened for %v (%s)", ErrHung, p.Stall, step)
			}
		case l, ok := <-lines:
			switch {
			case !ok:
				return Result{}, errDied
			case l.Progress != nil:
				if l.Progress.Requests != before || l.Progress.Step != step {
					moved, before, step = time.Now(), l.Progress.Requests, l.Progress.Step
				}
				if o.Progress != nil {
					o.Progress(l.Progress.Step, l.Progress.Share, l.Progress.Requests)
				}
			case l.Error != "":
				err := errors.New(l.Error)
				if kind := errorKinds[l.Kind]; kind != nil && !strings.Contains(l.Error, kind.Error()) {
					err = fmt.Errorf("%w: %s", kind, l.Error)
				} else if kind != nil {
					err = meaning{l.Error, kind}
				}
				if l.Result != nil {
					return *l.Result, err
				}
				return Result{}, err
			case l.Result != nil:
				return *l.Result, nil
			}
		}
	}
}

// meaning is an error from a child: its words and what they mean.
type meaning struct {
	words string
	is    error
}

func (m meaning) Error() string { return m.words }
func (m meaning) Unwrap() error { return m.is }

// tail keeps the end of what is written to it.
type tail struct{ kept atomic.Pointer[string] }

func (t *tail) Write(p []byte) (int, error) {
	s := string(p)
	if before := t.kept.Load(); before != nil {
		s = *before + s
	}
	if len(s) > 2000 {
		s = s[len(s)-2000:]
	}
	t.kept.Store(&s)
	return len(p), nil
}

func (t *tail) text() string {
	if s := t.kept.Load(); s != nil {
		return strings.TrimSpace(*s)
	}
	return "it said nothing"
}
