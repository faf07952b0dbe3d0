package wasm

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/sys"

	"kith/tasks"
)

func (k Kind) run(ctx context.Context, c *tasks.Call, p *Params) (err error) {
	if len(c.In) == 0 || c.Scratch == "" {
		return errors.New("a module needs an input and a scratch folder")
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	code, err := moduleOf(c.In[0])
	if err != nil {
		return err
	}
	prog, done, err := k.modules.get(ctx, code, p.Memory, c.Prepared)
	if err != nil {
		return err
	}
	defer done()
	out, tmp := filepath.Join(c.Scratch, "wasm-out"), filepath.Join(c.Scratch, "wasm-tmp")
	defer func() { err = errors.Join(err, os.RemoveAll(out), os.RemoveAll(tmp)) }()
	for _, dir := range [...]string{out, tmp} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return err
		}
	}
	keep := ""
	if p.Checkpoint {
		keep = filepath.Join(c.Scratch, tasks.CheckpointDir)
		if err := os.MkdirAll(keep, 0o700); err != nil {
			return err
		}
	}
	log := &lines{log: c.Log}
	clock := &clock{}
	config := wazero.NewModuleConfig().WithName("").WithArgs(append([]string{"module"}, p.Args...)...).
		WithFSConfig(folders(c.In[0], out, tmp, keep, c.Progress)).
		WithStdout(log).WithStderr(log).WithRandSource(newRandom(c.Seed, c.Index)).
		WithWalltime(clock.wall, 1000).WithNanotime(clock.nano, 1000).WithNanosleep(clock.sleep)
	instance, err := prog.runtime.InstantiateModule(ctx, prog.module, config)
	log.flush()
	if instance != nil {
		err = errors.Join(err, instance.Close(ctx))
	}
	if err := failure(ctx, err, log.last); err != nil {
		return err
	}
	return collect(ctx, out, c.Out)
}

func moduleOf(in fs.FS) ([]byte, error) {
	f, err := in.Open(ModuleFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: the input has none: wasm must be the first step of a job", ErrModule)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	code, err := io.ReadAll(io.LimitReader(f, MaxModule+1))
	if err == nil && len(code) > MaxModule {
		err = fmt.Errorf("%w: it has more than %d bytes", ErrModule, MaxModule)
	}
	return code, err
}

// failure says how a module ended; nil is well.
func failure(ctx context.Context, err error, last string) error {
	var exit *sys.ExitError
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.As(err, &exit) && exit.ExitCode() == 0:
		return nil
	case errors.As(err, &exit):
		if last != "" {
			last = ": " + last[:min(len(last), 200)]
		}
		return fmt.Errorf("%w: exit code %d%s", ErrExit, exit.ExitCode(), last)
	}
	return fmt.Errorf("%w: %s", ErrExit, firstLine(err))
}

// collect hands on the files of the folder dir.
func collect(ctx context.Context, dir string, out tasks.Output) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	data, index := false, false
	err = fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if !d.Type().IsRegular() {
			return fmt.Errorf("%w: %.100q in /out is not a file", ErrExit, name)
		}
		data, index = data || name == dataFile, index || name == indexFile
		return out.Pass(root.FS(), name, name)
	})
	if err == nil && data != index {
		err = fmt.Errorf("%w: of the files %s and %s, which make a corpus, it wrote only one", ErrExit, dataFile, indexFile)
	}
	return err
}

// lines turns what a module prints into lines of the task's log.
type lines struct {
	log  func(format string, args ...any)
	part []byte
	last string // line
}

const maxLine = 4 << 10

// Write implements io.Writer.
func (l *lines) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		line, after, ended := bytes.Cut(rest, []byte{'\n'})
		l.part = append(l.part, line[:min(len(line), maxLine-len(l.part))]...)
		if ended {
			l.flush()
		}
		rest = after
	}
	return len(p), nil
}

func (l *lines) flush() {
	if len(l.part) > 0 {
		l.last = string(l.part)
		if l.log != nil {
			l.log("%s", l.last)
		}
		l.part = l.part[:0]
	}
}

// clock is the module's: it shows how often it was asked and how long the module slept.
type clock struct{ now int64 } // nanoseconds

func (c *clock) nano() int64 {
	c.now += int64(time.Microsecond)
	return c.now
}

var epoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).Unix()

func (c *clock) wall() (sec int64, nsec int32) {
	t := c.nano()
	return epoch + t/1e9, int32(t % 1e9)
}

func (c *clock) sleep(ns int64) { c.now += max(0, min(ns, int64(24*time.Hour))) }

// random is the module's source of random bytes: a stream of hashes over the job's seed, the number of the part and a
// counter.
type random struct {
	seed  [32]byte
	left  []byte
	count uint64
}

func newRandom(seed [32]byte, index int) *random {
	return &random{seed: sha256.Sum256(binary.BigEndian.AppendUint64(append([]byte("kith/wasm/1"), seed[:]...), uint64(index)))}
}

// Read implements io.Reader.
func (r *random) Read(p []byte) (int, error) {
	for n := 0; n < len(p); {
		if len(r.left) == 0 {
			sum := sha256.Sum256(binary.BigEndian.AppendUint64(r.seed[:], r.count))
			r.count++
			r.left = sum[:]
		}
		m := copy(p[n:], r.left)
		r.left = r.left[m:]
		n += m
	}
	return len(p), nil
}
