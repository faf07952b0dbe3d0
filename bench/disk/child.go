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

	"kith/storage/governor"
)

// ChildArg is the only argument of this program when it is the child of Probe.
const ChildArg = "internal-disk-probe"

// Stall is how long a drive may do nothing before it counts as hung. A sleeping disk needs ten seconds to spin up.
const Stall = 30 * time.Second

// childGrace is how long a child may take to end after it is told to.
const childGrace = 3 * time.Second

// request is what the child reads: one line. It ends when its standard input does, and with it its parent.
type request struct {
	Dir    string        `json:"dir"`
	Budget time.Duration `json:"budget"`
	Size   int64         `json:"size"`
	Depths []int         `json:"depths"`
	Soak   *soakRequest  `json:"soak,omitempty"` // not to measure but to soak
}

// soakRequest asks for a run of a soak test in Dir.
type soakRequest struct {
	Minutes float64         `json:"minutes"`
	Size    int64           `json:"size"`
	Limits  governor.Limits `json:"limits"`
	Fresh   bool            `json:"fresh"`
}

// line is what the child writes, one JSON text a line; one of its fields is set.
type line struct {
	Progress *progress   `json:"progress,omitempty"`
	Result   *Result     `json:"result,omitempty"`
	Soaking  *SoakReport `json:"soaking,omitempty"`
	Soaked   *SoakReport `json:"soaked,omitempty"`
	Error    string      `json:"error,omitempty"`
	Kind     string      `json:"kind,omitempty"` // of the error
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
		time.Sleep(childGrace)
		os.Exit(3) // a request that hangs hears no cancel
	}()
	if r.Soak != nil {
		return soakChild(ctx, r, out)
	}
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
// the result holds what was measured before, if anything. Of o, Open and Space are not used.
func (p Prober) Probe(ctx context.Context, o Options) (res Result, err error) {
	err = p.converse(ctx, request{Dir: o.Dir, Budget: o.Budget, Size: o.Size, Depths: o.Depths}, 0, func(lines <-chan line) error {
		res, err = p.follow(ctx, o, lines)
		return err
	})
	return res, err
}

// Soak runs a soak test, or goes on with one, in a child process. When ctx ends the child notes where it is. Of o, Open and
// Space are not used; Health is asked here.
func (p Prober) Soak(ctx context.Context, o SoakOptions) (r SoakReport, err error) {
	ask := &soakRequest{o.Minutes, o.Size, o.Limits, o.Fresh}
	err = p.converse(ctx, request{Dir: o.Dir, Soak: ask}, childGrace+time.Second, func(lines <-chan line) error {
		r, err = p.soaking(ctx, o, lines)
		return err
	})
	return r, err
}

// soaking follows a soak test until its end, and a little longer when ctx ends: the child then notes where it is.
func (p Prober) soaking(ctx context.Context, o SoakOptions, lines <-chan line) (SoakReport, error) {
	var r SoakReport
	moved := time.Now()
	tick := time.NewTicker(p.stall() / 10)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return r, context.Cause(ctx)
		case <-tick.C:
			if time.Since(moved) > p.stall() {
				return r, fmt.Errorf("%w: nothing happened for %v in the soak test", ErrHung, p.stall())
			}
		case l, ok := <-lines:
			moved = time.Now()
			switch {
			case !ok:
				return r, errDied
			case l.Soaking != nil:
				r = *l.Soaking
				if o.Tell != nil {
					o.Tell(r)
				}
			case l.Error != "":
				if l.Soaked != nil {
					r = *l.Soaked
				}
				return r, l.err()
			case l.Soaked != nil:
				return *l.Soaked, nil
			}
		}
	}
}

// soakChild is a soak test in the child.
func soakChild(ctx context.Context, r request, out *json.Encoder) int {
	d, err := Of(r.Dir)
	o := SoakOptions{Dir: r.Dir, Minutes: r.Soak.Minutes, Size: r.Soak.Size, Limits: r.Soak.Limits, Fresh: r.Soak.Fresh}
	if err == nil {
		o.Health = func() SMART { return Ask(ctx, d) }
	}
	o.Tell = func(r SoakReport) { _ = out.Encode(line{Soaking: &r}) }
	res, err := Soak(ctx, o)
	l := line{Soaked: &res}
	if err != nil {
		l.Error, l.Kind = err.Error(), kindOfError(err)
	}
	if out.Encode(l) != nil {
		return 1
	}
	return 0
}

func (p Prober) stall() time.Duration {
	if p.Stall > 0 {
		return p.Stall
	}
	return Stall
}

// converse starts a child, asks it and lets follow read its answers. When follow returns, the child is told to end, gets
// grace to do so, and is killed. One that hangs in the kernel stays until its drive answers; nothing waits for it.
func (p Prober) converse(ctx context.Context, r request, grace time.Duration, follow func(<-chan line) error) error {
	command := p.Command
	if command == nil {
		command = self
	}
	cmd, err := command()
	if err != nil {
		return fmt.Errorf("measure in a child process: %w", err)
	}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	var last tail
	cmd.Stderr = &last
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("measure in a child process: %w", err)
	}
	_, _ = stdin.Write(append(text, '\n')) // a child that is gone already is noticed below
	lines, gone, ended := make(chan line), make(chan struct{}), make(chan struct{})
	go func() { // ends with the child, however long that takes
		defer close(ended)
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
			}
		}
	}()
	err = follow(lines)
	close(gone)
	_ = stdin.Close()
	if grace > 0 && ctx.Err() != nil {
		select {
		case <-ended:
		case <-time.After(grace):
		}
	}
	_ = cmd.Process.Kill()
	if errors.Is(err, errDied) {
		select { // for its last words
		case <-ended:
		case <-time.After(childGrace):
		}
		err = fmt.Errorf("%w: %s", err, last.text())
	}
	return err
}

var errDied = errors.New("the measuring process died")

// follow waits for the result while there is progress.
func (p Prober) follow(ctx context.Context, o Options, lines <-chan line) (Result, error) {
	moved, before, step := time.Now(), int64(-1), "open the drive"
	tick := time.NewTicker(p.stall() / 10)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return Result{}, context.Cause(ctx)
		case <-tick.C:
			if time.Since(moved) > p.stall() {
				return Result{}, fmt.Errorf("%w: nothing happened for %v (%s)", ErrHung, p.stall(), step)
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
				err := l.err()
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

// err is the error that the child met.
func (l line) err() error {
	kind := errorKinds[l.Kind]
	switch {
	case kind == nil:
		return errors.New(l.Error)
	case strings.Contains(l.Error, kind.Error()):
		return meaning{l.Error, kind}
	}
	return fmt.Errorf("%w: %s", kind, l.Error)
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
