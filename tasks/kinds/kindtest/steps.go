package kindtest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"kith/tasks"
)

// StepsName is the name of the kind Steps.
const StepsName = "test.steps"

// Steps is a kind that takes ten steps and keeps in its checkpoint, in the file "step", how many it has taken. Its output is
// one word: what the checkpoint has in a file "word", else "ten". It keeps none under parameters that name "millis":1.
type Steps struct {
	tasks.Kind // for everything it does not say itself; test.noop will do
	// Before, if set, is called before each step with the folder of the checkpoint. It may wait for ctx.
	Before func(ctx context.Context, c *tasks.Call, step int, dir string)
	// Fails, if set, is the error of a run that begins at a step; nil: none.
	Fails func(from int) error

	mu     sync.Mutex
	starts []int
}

// Describe implements tasks.Kind.
func (k *Steps) Describe() tasks.Description {
	d := k.Kind.Describe()
	d.Name = StepsName
	return d
}

// Checkpoints implements tasks.Checkpointer.
func (k *Steps) Checkpoints(params []byte) bool {
	return !strings.Contains(string(params), `"millis":1`)
}

// Starts returns the steps at which runs began, in the order in which they did.
func (k *Steps) Starts() []int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.starts)
}

// Run implements tasks.Kind.
func (k *Steps) Run(ctx context.Context, c *tasks.Call) error {
	dir := filepath.Join(c.Scratch, tasks.CheckpointDir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	from := 0
	text, err := os.ReadFile(filepath.Join(dir, "step"))
	if err == nil {
		from, err = strconv.Atoi(string(text))
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	k.mu.Lock()
	k.starts = append(k.starts, from)
	k.mu.Unlock()
	if c.Log != nil {
		c.Log("from %d", from)
	}
	if k.Fails != nil {
		if err := k.Fails(from); err != nil {
			return err
		}
	}
	for step := from; step < 10; step++ {
		if c.Progress != nil {
			c.Progress(int64(step), 10)
		}
		if k.Before != nil {
			k.Before(ctx, c, step, dir)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := os.WriteFile(filepath.Join(dir, "new"), []byte(strconv.Itoa(step+1)), 0o600); err != nil {
			return err
		}
		if err := os.Rename(filepath.Join(dir, "new"), filepath.Join(dir, "step")); err != nil {
			return err
		}
	}
	word, err := os.ReadFile(filepath.Join(dir, "word"))
	if errors.Is(err, os.ErrNotExist) {
		word, err = []byte("ten"), nil
	}
	if err != nil {
		return err
	}
	f, err := c.Out.Create("out")
	if err != nil {
		return err
	}
	_, err = f.Write(word)
	return errors.Join(err, f.Close())
}
