package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"kith/tasks"
)

const progressEvery = 50 * time.Millisecond

// Serve is what a runner does: it reads work from r, does it with kinds, and writes what came of it to w, until r ends,
// which is not an error. It must have the process to itself if kinds are not trusted; see Main.
func Serve(ctx context.Context, kinds tasks.Registry, r io.Reader, w io.Writer) error {
	s := &server{kinds: kinds, conn: newFrameConn(r, w)}
	return s.serve(ctx)
}

type server struct {
	kinds tasks.Registry
	conn  *frameConn
	// before and after, if set, fit the process to one piece of work.
	before, after func(*Work)
	// enter confines the process to what is in a folder. Nil: this process is never confined.
	enter   func(dir string, want Layers) (Layers, error)
	entered bool

	mu       sync.Mutex // guards writing and what follows
	logLeft  int64
	running  bool
	progress time.Time // when the last one was sent
}

func (s *server) serve(ctx context.Context) error {
	if layers, ok := entered(); ok && s.enter != nil { // by beginning a new life, see enter
		s.entered = true
		if err := s.answerEnter(layers, nil); err != nil {
			return err
		}
	} else if err := s.conn.write(frameHello, func(b []byte) []byte { return putInt(b, protocolVersion) }); err != nil {
		return fmt.Errorf("greet the parent: %w", err)
	}
	for {
		kind, body, err := s.conn.read(maxWorkFrame)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read work: %w", err)
		}
		if kind == frameEnter && s.enter != nil && !s.entered {
			if err := s.confine(body); err != nil {
				return err
			}
			continue
		}
		if kind != frameWork || (s.enter != nil && !s.entered) {
			return fmt.Errorf("%w: frame %d instead of work", errFrame, kind)
		}
		w, err := parseWork(body)
		if err != nil {
			return err
		}
		if err := s.one(ctx, &w); err != nil {
			return fmt.Errorf("answer the parent: %w", err)
		}
	}
}

// confine is done once and before all work.
func (s *server) confine(body []byte) error {
	s.entered = true
	f := fields{b: body}
	dir, want := f.string(maxName), Layers(f.int())
	if err := f.end(); err != nil {
		return err
	}
	return s.answerEnter(s.enter(dir, want))
}

func (s *server) answerEnter(have Layers, err error) error {
	why := ""
	if err != nil {
		why = cut(err.Error(), maxDetail)
	}
	if err := s.conn.write(frameEntered, func(b []byte) []byte { return putString(putInt(b, int64(have)), why) }); err != nil {
		return fmt.Errorf("answer the parent: %w", err)
	}
	return nil
}

func (s *server) one(ctx context.Context, w *Work) error {
	if s.before != nil {
		s.before(w)
	}
	s.mu.Lock()
	s.logLeft, s.running = w.Limits.LogBytes, true
	s.mu.Unlock()
	cpu := processCPU()
	r := perform(ctx, s.kinds, w, s.log, s.report)
	r.cpuMicros = max(0, (processCPU() - cpu).Microseconds())
	if s.after != nil {
		s.after(w)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running = false // what a forgotten goroutine still says belongs to no work
	return s.conn.write(frameResult, func(b []byte) []byte { return putReport(b, &r) })
}

func (s *server) log(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	line = cut(line, maxLogLine)
	if !s.running || s.logLeft < 0 {
		return
	}
	s.logLeft -= int64(len(line)) + 1 // the line that crosses the limit is sent, so that the parent can say so
	_ = s.conn.write(frameLog, func(b []byte) []byte { return append(b, line...) })
}

func (s *server) report(done, total int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if !s.running || now.Sub(s.progress) < progressEvery || done < 0 || total < 0 {
		return
	}
	s.progress = now
	_ = s.conn.write(frameProgress, func(b []byte) []byte { return putInt(putInt(b, done), total) })
}

// Main is the whole life of a runner process: it fits the process to its purpose, serves standard input and output, and
// returns the exit code. What kinds print goes to standard error.
func Main(kinds tasks.Registry) int {
	in, out := os.Stdin, os.Stdout
	os.Stdin, os.Stdout = nil, os.Stderr
	// The parent ends runners by killing them; a signal meant for the parent's terminal is not for them, and one for a
	// file over the limit must become an error.
	signal.Ignore(os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	harden()

	home, err := os.Getwd()
	if err != nil {
		home = os.TempDir()
	}
	memory := int64(-1)
	s := &server{kinds: kinds, conn: newFrameConn(in, out)}
	if canConfine {
		s.enter = enter
	}
	stop := func() {}
	s.before = func(w *Work) {
		stop = watchSelf(&w.Limits)
		if w.Limits.MemoryBytes != memory {
			memory = w.Limits.MemoryBytes
			debug.SetMemoryLimit(memory - memory/8) // collect garbage before the parent counts it
		}
		if w.Scratch != "" {
			_ = os.Chdir(w.Scratch)
		}
	}
	s.after = func(w *Work) {
		stop()
		if w.Scratch != "" {
			_ = os.Chdir(home)
		}
	}
	if err := s.serve(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "runner:", err)
		return 1
	}
	return 0
}
