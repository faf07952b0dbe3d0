// Package testkind holds kinds that need no input and behave in one known way each, good or bad: for benchmarks of
// everything around a task, and to prove that a sandbox holds.
package testkind

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"kith/tasks"
	"kith/tasks/kinds/params"
)

// Params are the parameters of every test kind. A kind ignores what its name does not call for.
type Params struct {
	Tasks  int   `json:"tasks"`  // number of tasks of the job
	Millis int64 `json:"millis"` // how long to wait (test.noop, test.sleep) or compute (test.burn); 0 for test.burn: until stopped
	Bytes  int64 `json:"bytes"`  // size of extra output (test.noop), of memory (test.memory) or of a scratch file (test.disk)
}

// Bounds of the parameters.
const (
	MaxTasks  = 1 << 20
	MaxMillis = 24 * 60 * 60 * 1000
	MaxBytes  = 1 << 40
)

// ErrFail is what test.fail fails with.
var ErrFail = errors.New("this kind always fails")

// ExitCode is what test.crash ends its process with.
const ExitCode = 42

const schema = `{
  "type": "object",
  "additionalProperties": false,
  "properties": {
    "tasks": {"type": "integer", "minimum": 1, "maximum": 1048576, "default": 1, "description": "number of tasks"},
    "millis": {"type": "integer", "minimum": 0, "maximum": 86400000, "default": 0, "description": "how long a task waits or computes, in milliseconds"},
    "bytes": {"type": "integer", "minimum": 0, "maximum": 1099511627776, "default": 0, "description": "output, memory or file size, in bytes"}
  }
}`

// All returns the test kinds.
func All() []tasks.Kind {
	return []tasks.Kind{
		kind{"test.noop", "Do nothing and return a short text", wait},
		kind{"test.sleep", "Wait without computing", wait},
		kind{"test.burn", "Keep one processor busy", burn},
		kind{"test.fail", "Fail with an error", func(context.Context, *tasks.Call, Params) error { return ErrFail }},
		kind{"test.crash", "End the process without a word", func(context.Context, *tasks.Call, Params) error { os.Exit(ExitCode); return nil }},
		kind{"test.memory", "Allocate and touch memory", allocate},
		kind{"test.disk", "Write a scratch file", fill},
	}
}

type kind struct {
	name, title string
	behave      func(ctx context.Context, c *tasks.Call, p Params) error
}

func (k kind) Describe() tasks.Description {
	return tasks.Description{
		Name: k.name, Title: k.title, Version: 1, Schema: schema,
		Phases: []tasks.Phase{{Name: "run", Mode: tasks.Map}},
		Needs:  tasks.Needs{Class: tasks.CPU, Sandbox: tasks.GradeProcess},
		Limits: tasks.Limits{
			WallMillis: 60_000, CPUMillis: 60_000, MemoryBytes: 512 << 20, ScratchBytes: 256 << 20,
			OutputBytes: 64 << 20, LogBytes: 64 << 10, Processes: 256,
		},
		Comparison: tasks.Bitwise,
		Reusable:   true,
	}
}

func (k kind) Check(b []byte) ([]byte, error) {
	p, err := decode(b)
	if err != nil {
		return nil, err
	}
	return params.Canonical(p)
}

func decode(b []byte) (Params, error) {
	p := Params{Tasks: 1}
	if err := params.Decode(b, &p); err != nil {
		return p, err
	}
	return p, errors.Join(
		params.Range("tasks", int64(p.Tasks), 1, MaxTasks),
		params.Range("millis", p.Millis, 0, MaxMillis),
		params.Range("bytes", p.Bytes, 0, MaxBytes))
}

// outFile is the one file of an output: a line for each task, and bytes on demand.
const outFile = "out"

func (k kind) Run(ctx context.Context, c *tasks.Call) (err error) {
	p, err := decode(c.Params)
	if err != nil {
		return err
	}
	if err := k.behave(ctx, c, p); err != nil {
		return err
	}
	f, err := c.Out.Create(outFile)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	sum := sha256.Sum256(binary.BigEndian.AppendUint64(append([]byte("kith/test/1"), c.Seed[:]...), uint64(c.Index)))
	if _, err := fmt.Fprintf(f, "%06d %s\n", c.Index, hex.EncodeToString(sum[:8])); err != nil || k.name != "test.noop" {
		return err
	}
	return noise(ctx, f, sum, p.Bytes)
}

// Merge joins the lines of neighbouring tasks.
func (k kind) Merge(ctx context.Context, c *tasks.Call) (err error) {
	if len(c.In) == 1 {
		return c.Out.Pass(c.In[0], outFile, outFile)
	}
	out, err := c.Out.Create(outFile)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	for _, in := range c.In {
		if err := ctx.Err(); err != nil {
			return err
		}
		f, err := in.Open(outFile)
		if err != nil {
			return err
		}
		_, err = io.Copy(out, f)
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	return nil
}

func wait(ctx context.Context, _ *tasks.Call, p Params) error {
	if p.Millis == 0 {
		return nil
	}
	timer := time.NewTimer(time.Duration(p.Millis) * time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// burn does not look at the context when it has no end: stopping it is the sandbox's part.
func burn(ctx context.Context, _ *tasks.Call, p Params) error {
	var sum [32]byte
	for start := time.Now(); p.Millis == 0 || time.Since(start) < time.Duration(p.Millis)*time.Millisecond; {
		for range 1000 {
			sum = sha256.Sum256(sum[:])
		}
		if p.Millis > 0 && ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

// allocate takes memory piece by piece, touching every page, and holds all of it until it has enough.
func allocate(ctx context.Context, _ *tasks.Call, p Params) error {
	const piece, page = 1 << 20, 4096
	var held [][]byte
	for taken := int64(0); taken < p.Bytes; taken += piece {
		if err := ctx.Err(); err != nil {
			return err
		}
		b := make([]byte, piece)
		for i := 0; i < len(b); i += page {
			b[i] = byte(len(held))
		}
		held = append(held, b)
	}
	for i, b := range held {
		if b[0] != byte(i) {
			return errors.New("memory does not hold what was written")
		}
	}
	return nil
}

// fill writes one scratch file of the wanted size.
func fill(ctx context.Context, c *tasks.Call, p Params) (err error) {
	f, err := os.Create(filepath.Join(c.Scratch, "fill"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return noise(ctx, f, c.Seed, p.Bytes)
}

// noise writes n bytes that depend on nothing but the seed and do not compress.
func noise(ctx context.Context, w io.Writer, seed [32]byte, n int64) error {
	var block [32 << 10]byte
	for n > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		for at := 0; at < len(block); at += len(seed) {
			seed = sha256.Sum256(seed[:])
			copy(block[at:], seed[:])
		}
		m := min(n, int64(len(block)))
		if _, err := w.Write(block[:m]); err != nil {
			return err
		}
		n -= m
	}
	return nil
}
