package sandboxtest

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"kith/tasks"
	"kith/tasks/sandbox"
)

const (
	roleEnv   = "KITH_SANDBOX_ROLE"
	secretEnv = "KITH_SANDBOX_SECRET" // in the parent's environment alone
	roleMark  = "kith-sandbox-stray-" // first argument of a stray, with a name after it
)

// RunnerEnv is what sandbox.Options.Env must hold so that a test binary with this package's Main becomes a runner.
func RunnerEnv() []string { return []string{roleEnv + "=runner"} }

// Main runs the tests of m, or, in a process started by a test, is a runner with Kinds or one of its strays.
func Main(m *testing.M) {
	switch os.Getenv(roleEnv) {
	case "runner":
		os.Exit(sandbox.Main(Kinds()))
	case "stray":
		stray()
	}
	if err := os.Setenv(secretEnv, "do not tell"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// stray is a process that does not want to die. With a number as second argument it starts that many more first, each in
// a session of its own.
func stray() {
	signal.Ignore(os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	if n, _ := strconv.Atoi(os.Args[2]); n > 0 {
		for range n {
			_ = startStray(os.Args[1], 0)
		}
		os.Exit(0) // the double fork
	}
	time.Sleep(time.Minute)
	os.Exit(0)
}

func startStray(mark string, more int) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(exe, mark, strconv.Itoa(more))
	cmd.Env = append(os.Environ(), roleEnv+"=stray")
	ownSession(cmd)
	return cmd.Start()
}

// startSleeper starts a program that is not Kith's and has the mark for a name.
func startSleeper(mark string) error {
	cmd := exec.Command("/bin/sleep", "60")
	cmd.Args[0] = mark
	ownSession(cmd)
	return cmd.Start()
}

// Kinds returns the kinds of the suite: "test.kind", whose phases are deeds and misdeeds, "test.alone", the same but not
// reusable, and "test.numbers", whose results are compared by the number in the file "n".
func Kinds() tasks.Registry { return registry{} }

type registry struct{}

func (registry) Kind(name string) (tasks.Kind, error) {
	switch name {
	case "test.kind":
		return kind{reusable: true}, nil
	case "test.alone":
		return kind{}, nil
	case "test.numbers":
		return numbers{}, nil
	}
	return nil, fmt.Errorf("%w: %q", tasks.ErrUnknownKind, name)
}

func (registry) Names() []string { return []string{"test.alone", "test.kind", "test.numbers"} }

type kind struct{ reusable bool }

func (k kind) Describe() tasks.Description {
	name := "test.alone"
	if k.reusable {
		name = "test.kind"
	}
	return tasks.Description{Name: name, Reusable: k.reusable, Phases: []tasks.Phase{{Name: "noop", Mode: tasks.Map}}}
}

// numbers is test.kind with outputs that are read for a comparison: "panic" and "crash" do what they say to whoever reads
// them.
type numbers struct{ kind }

func (numbers) Describe() tasks.Description {
	d := kind{reusable: true}.Describe()
	d.Name, d.Comparison, d.Tolerance = "test.numbers", tasks.Numeric, tasks.Tolerance{MaxRelative: 0.01}
	return d
}

func (numbers) Numbers(_ context.Context, _ *tasks.Call, output fs.FS) (n tasks.Numbers, err error) {
	b, err := fs.ReadFile(output, "n")
	if err != nil {
		return n, err
	}
	switch string(b) {
	case "panic":
		panic("on purpose")
	case "crash":
		os.Exit(3)
	}
	x, err := strconv.ParseFloat(string(b), 64)
	n.Rows = [][]float64{{x}}
	return n, err
}

func (kind) Check(params []byte) ([]byte, error) { return params, nil }

// Merge writes the contents of the file "n" of every input, one after another.
func (kind) Merge(_ context.Context, c *tasks.Call) error {
	var all []byte
	for _, in := range c.In {
		b, err := fs.ReadFile(in, "n")
		if err != nil {
			return err
		}
		all = append(all, b...)
	}
	return put(c, "n", all)
}

func put(c *tasks.Call, name string, data []byte) error {
	w, err := c.Out.Create(name)
	if err != nil {
		return err
	}
	_, err = w.Write(data)
	return errors.Join(err, w.Close())
}

// forever hangs. An empty select would be found out: without cgo the runtime ends a process in which nothing can go on.
func forever() {
	for {
		time.Sleep(time.Hour)
	}
}

var runs atomic.Int64 // in this process

// Run does what the phase says; Params is its argument.
func (kind) Run(ctx context.Context, c *tasks.Call) error {
	arg := string(c.Params)
	num, _ := strconv.Atoi(arg)
	nth := runs.Add(1)
	switch c.Phase {
	case "noop":
		return nil
	case "count": // how much work this process has done
		return put(c, "n", fmt.Appendf(nil, "%d", nth))
	case "pass": // every file of every input, unchanged
		return passAll(c)
	case "append": // every file, with arg at its end
		return appendAll(c, arg)
	case "write": // a file of num bytes
		return write(c, num)
	case "name": // a file named arg
		return put(c, arg, []byte("x"))
	case "twice":
		return errors.Join(put(c, "a", nil), put(c, "a/b", nil))
	case "call": // what the call says
		return put(c, "n", fmt.Appendf(nil, "%s %d %d %d %d %x", c.Phase, c.Stage, c.Index, c.Parts, c.Ranges, c.Seed[:2]))
	case "gather": // for each part a folder with what all inputs have in "n"
		for part := range c.Parts {
			if part == num-1 {
				continue // none for this one
			}
			var all []byte
			for _, in := range c.In {
				b, err := fs.ReadFile(in, "n")
				if err != nil {
					return err
				}
				all = append(all, b...)
			}
			if err := put(c, fmt.Sprintf("%06d/n", part), all); err != nil {
				return err
			}
		}
	case "compute": // num million steps of arithmetic that nothing can skip
		x := uint64(88172645463325252)
		for range num * 1_000_000 {
			x ^= x << 13
			x ^= x >> 7
			x ^= x << 17
		}
		return put(c, "n", fmt.Append(nil, x))
	case "burn": // num milliseconds of processor time, as the system counts it
		for x, end := uint64(1), cpuTime()+time.Duration(num)*time.Millisecond; cpuTime() < end; {
			for range 10_000 {
				x = x*6364136223846793005 + 1
			}
			if x == 0 {
				return errors.New("no such number")
			}
		}
	case "log":
		c.Log("%s", arg)
	case "logflood":
		for i := range num {
			c.Log("line %d %s", i, strings.Repeat("x", 100))
		}
	case "printflood":
		line := bytes.Repeat([]byte("y"), 1<<16)
		for range num {
			os.Stdout.Write(line)
			os.Stderr.Write(line)
		}
	case "progress":
		for i := range 4 {
			c.Progress(int64(i), 4)
			time.Sleep(60 * time.Millisecond)
		}
	case "fail":
		c.Log("about to fail")
		return errors.New(arg)
	case "panic":
		panic(arg)
	case "heed": // runs until told to stop
		if ctx.Done() == nil {
			time.AfterFunc(time.Hour, func() {}) // or the runtime would end a process that only waits, and call it a deadlock
		}
		<-ctx.Done()
		return ctx.Err()
	case "scratch": // num bytes, past the output
		if _, err := os.Stat(c.Scratch); err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(c.Scratch, "junk"), make([]byte, num), 0o600)
	default:
		return misdeed(ctx, c, arg, num)
	}
	return nil
}

// misdeed is what only a confined process may try.
func misdeed(_ context.Context, c *tasks.Call, arg string, num int) error {
	switch c.Phase {
	case "exit":
		os.Exit(num)
	case "goroutine panic":
		go panic(arg)
		forever()
	case "spin":
		for i := 0; ; i++ {
			if i == -1 {
				return nil
			}
		}
	case "hang":
		time.AfterFunc(time.Hour, func() {})
		forever()
	case "memory":
		var hold [][]byte
		for {
			b := make([]byte, 8<<20)
			for i := 0; i < len(b); i += 4096 {
				b[i] = 1
			}
			hold = append(hold, b)
			time.Sleep(time.Duration(num) * time.Millisecond)
			_ = hold
		}
	case "fill": // scratch files of 1 MiB until stopped
		for i := 0; ; i++ {
			if err := os.WriteFile(filepath.Join(c.Scratch, strconv.Itoa(i)), make([]byte, 1<<20), 0o600); err != nil {
				return err
			}
			time.Sleep(time.Millisecond)
		}
	case "prepared":
		return tamper(c)
	case "direct":
		return direct(c, arg)
	case "fill fast", "fill folders fast", "fill closed", "fill deep", "fill inodes", "fill folders", "fill output", "hole":
		return fill(c, num)
	case "garbage": // on the way to the parent
		if err := garbage([]byte(arg)); err != nil {
			return err
		}
		time.AfterFunc(time.Hour, func() {})
		forever()
	case "stray": // double-forked processes in sessions of their own; then it goes on
		return startStray(roleMark+arg, 3)
	case "strays": // the same, with nine of them
		return startStray(roleMark+arg, 9)
	case "sleepers": // nine small programs of the system, each in a session of its own
		for range 9 {
			if err := startSleeper(roleMark + arg); err != nil {
				return err
			}
		}
		return nil
	case "stray exit":
		if err := startStray(roleMark+arg, 3); err != nil {
			return err
		}
		time.Sleep(200 * time.Millisecond)
		os.Exit(1)
	case "stray hang":
		if err := startStray(roleMark+arg, 3); err != nil {
			return err
		}
		time.AfterFunc(time.Hour, func() {})
		forever()
	case "bomb":
		for range 200 { // not endless: a test must not depend on what it tests
			if err := startStray(roleMark+arg, 0); errors.Is(err, os.ErrPermission) || errors.Is(err, os.ErrNotExist) {
				return err
			}
		}
		time.AfterFunc(time.Hour, func() {})
		forever()
	case "map":
		b := make([]byte, 4<<30) // address space alone
		b[len(b)-1] = 1
		runtime.KeepAlive(b)
	case "explode":
		return explode(c)
	case "fill deleted":
		return fillDeleted(c)
	case "threads":
		for range 300 {
			go func() {
				runtime.LockOSThread()
				block()
			}()
		}
		time.AfterFunc(time.Hour, func() {})
		forever()
	case "deaf":
		signal.Ignore()
		time.AfterFunc(time.Hour, func() {})
		forever()
	case "open":
		return openMany(c, num)
	case "escape":
		return escape(c)
	case "env":
		return put(c, "n", []byte(strings.Join(os.Environ(), "\n")))
	case "files":
		return put(c, "n", []byte(strings.Join(openFiles(), "\n")))
	case "dir":
		dir, err := os.Getwd()
		return errors.Join(err, put(c, "n", []byte(dir)))
	}
	return fmt.Errorf("no phase %q", c.Phase)
}

// explode unpacks a few KiB to 64 MiB.
func explode(c *tasks.Call) error {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	for range 64 {
		if _, err := z.Write(make([]byte, 1<<20)); err != nil {
			return err
		}
	}
	if err := z.Close(); err != nil {
		return err
	}
	r, err := gzip.NewReader(&packed)
	if err != nil {
		return err
	}
	w, err := c.Out.Create("unpacked")
	if err != nil {
		return err
	}
	_, err = io.Copy(w, r)
	return errors.Join(err, w.Close())
}

// fillDeleted fills the disk with files that have no name.
func fillDeleted(c *tasks.Call) error {
	var held []*os.File
	for i := range 1000 {
		name := filepath.Join(c.Scratch, strconv.Itoa(i))
		f, err := os.Create(name)
		if err != nil {
			return err
		}
		held = append(held, f)
		if _, err := f.Write(make([]byte, 1<<20)); err != nil {
			return err
		}
		if err := os.Remove(name); err != nil {
			return err
		}
		time.Sleep(5 * time.Millisecond)
	}
	runtime.KeepAlive(held)
	return nil
}

func openMany(c *tasks.Call, n int) error {
	var held []*os.File
	for range n {
		f, err := os.Create(filepath.Join(c.Scratch, "f"))
		if err != nil {
			break
		}
		held = append(held, f)
	}
	for _, f := range held {
		if err := f.Close(); err != nil {
			return err
		}
	}
	return nil
}

func passAll(c *tasks.Call) error {
	for i, in := range c.In {
		err := fs.WalkDir(in, ".", func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			name := path
			if len(c.In) > 1 {
				name = fmt.Sprintf("%d/%s", i, path)
			}
			return c.Out.Pass(in, path, name)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func appendAll(c *tasks.Call, arg string) error {
	for _, in := range c.In {
		err := fs.WalkDir(in, ".", func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			r, err := in.Open(path)
			if err != nil {
				return err
			}
			defer r.Close()
			w, err := c.Out.Create(path)
			if err != nil {
				return err
			}
			_, err = io.Copy(w, io.MultiReader(r, strings.NewReader(arg)))
			return errors.Join(err, w.Close())
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// write writes num bytes in small pieces to the file "big", and "small" beside it.
func write(c *tasks.Call, num int) error {
	if err := put(c, "dir/small", []byte("s")); err != nil {
		return err
	}
	w, err := c.Out.Create("big")
	if err != nil {
		return err
	}
	piece := bytes.Repeat([]byte("z"), 1000)
	for num > 0 {
		n := min(num, len(piece))
		if _, err := w.Write(piece[:n]); err != nil {
			return err
		}
		num -= n
	}
	return w.Close()
}

// openFiles names what the process holds open, as far as the system tells.
func openFiles() []string {
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return nil
	}
	var names []string
	for _, d := range list {
		if to, err := os.Readlink(filepath.Join("/proc/self/fd", d.Name())); err == nil {
			names = append(names, d.Name()+" "+to)
		}
	}
	slices.Sort(names)
	return names
}
