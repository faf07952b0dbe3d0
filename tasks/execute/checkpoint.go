package execute

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"kith/storage/dag"
	"kith/tasks"
	"kith/tasks/sandbox"
)

// Bounds of a checkpoint.
const (
	MaxCheckpoint      = 64 << 20 // bytes of its files together; a larger one is not kept
	maxCheckpointFiles = 1024     // and folders
	checkpointTime     = 10 * time.Second
)

// Checkpoint is what a task that was ended before its time left in order to be gone on with.
type Checkpoint struct {
	Key   [32]byte // the caller's name of the task
	Root  dag.CID  // its folder, in the store
	Bytes int64
}

// keyFile holds, in the folder of a runner, the key of the task that keeps a checkpoint there.
const keyFile = "checkpoint.key"

// Checkpoints reports whether an assignment keeps checkpoints: one step, of a kind that does. What was sealed for it leaves
// no trace in the store.
func Checkpoints(kinds tasks.Registry, a *tasks.Assignment) bool {
	if len(a.Steps) != 1 || slices.ContainsFunc(a.Keys, func(k []byte) bool { return len(k) > 0 }) {
		return false
	}
	k, err := kinds.Kind(a.Steps[0].Kind)
	if err != nil {
		return false
	}
	c, ok := k.(tasks.Checkpointer)
	return ok && c.Checkpoints(a.Steps[0].Params)
}

// RunFrom is Run for an assignment that was ended before, here or on another machine: it goes on from where the folder from
// says, which Output.Checkpoint or Salvaged has named; an undefined one is the beginning. A checkpoint that is not in the
// store any more, or is none, is passed over: it costs only time. key names the task to Salvaged.
func (e *Executor) RunFrom(ctx context.Context, a tasks.Assignment, key [32]byte, from dag.CID, progress func(done, total int64)) (Output, error) {
	k := keeper{key: key, wanted: Checkpoints(e.o.Kinds, &a), from: from}
	return e.run(ctx, a, &k, progress)
}

// Salvaged returns the checkpoints that a kill of this program left in its scratch folder, once.
func (e *Executor) Salvaged() []Checkpoint {
	list := e.salvaged
	e.salvaged = nil
	return list
}

// keeper sees to the checkpoint of one run.
type keeper struct {
	key    [32]byte
	wanted bool
	from   dag.CID
}

// begin lays the folder out before the work begins.
func (k *keeper) begin(ctx context.Context, e *Executor, s *slot) error {
	if !k.wanted {
		return nil
	}
	dir := filepath.Join(s.tmp(), tasks.CheckpointDir)
	s.dirty = true
	if k.from.Defined() {
		if err := e.restore(ctx, k.from, dir); err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			e.log.Info("A checkpoint cannot be gone on from; the task begins anew", "error", err)
			if err := sandbox.Wipe(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(s.dir, keyFile), k.key[:], 0o600)
}

func (e *Executor) restore(ctx context.Context, root dag.CID, dir string) error {
	files, _, err := e.list(ctx, root, MaxCheckpoint)
	if err != nil {
		return err
	}
	if len(files) > maxCheckpointFiles {
		return fmt.Errorf("%w: a checkpoint of %d files", ErrInput, len(files))
	}
	return e.writeAll(ctx, dir, files)
}

// end keeps the checkpoint of a run that was ended before its time, once nothing of it runs any more.
func (k *keeper) end(ctx context.Context, e *Executor, s *slot, failed error) (root dag.CID, size int64) {
	if !k.wanted {
		return dag.CID{}, 0
	}
	defer os.Remove(filepath.Join(s.dir, keyFile))
	if failed == nil || ctx.Err() == nil || !goesOn(context.Cause(ctx)) {
		return dag.CID{}, 0
	}
	if err := s.runner.Close(); err != nil { // else it may still write
		e.log.Warn("No checkpoint is kept", "error", err)
		return dag.CID{}, 0
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), checkpointTime)
	defer cancel()
	root, size, err := e.save(ctx, filepath.Join(s.tmp(), tasks.CheckpointDir))
	if err != nil {
		e.log.Info("No checkpoint is kept", "error", err)
	}
	return root, size
}

// goesOn reports whether a task that was ended for a reason may be tried again, here or elsewhere: the reason is not its own.
func goesOn(why error) bool {
	var r tasks.Reason
	if errors.As(why, &r) {
		switch r.Code {
		case tasks.Paused, tasks.ShuttingDown, tasks.OverLimits, tasks.KindOff, tasks.DiskFull, tasks.DriveFailing, tasks.Busy:
			return true
		}
		return false
	}
	return errors.Is(why, context.Canceled) // this program stops
}

var errNoCheckpoint = errors.New("there is none")

// save stores the folder of a checkpoint that nobody writes to any more. Foreign code has made it: nothing in it is opened
// but plain files, and no link is followed.
func (e *Executor) save(ctx context.Context, dir string) (dag.CID, int64, error) {
	info, err := os.Lstat(dir)
	if err != nil || !info.IsDir() {
		return dag.CID{}, 0, errNoCheckpoint
	}
	var size int64
	entries := 0
	if err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.Type().IsRegular() {
			info, err := d.Info()
			if err != nil {
				return err
			}
			size += info.Size()
		}
		if entries++; entries > maxCheckpointFiles+1 || size > MaxCheckpoint {
			return fmt.Errorf("more than %d bytes, or %d files and folders", MaxCheckpoint, maxCheckpointFiles)
		}
		return nil
	}); err != nil {
		return dag.CID{}, 0, err
	}
	if entries == 1 {
		return dag.CID{}, 0, errNoCheckpoint
	}
	t, err := dag.AddTree(ctx, e.o.Blobs, dir, dag.Options{Wrap: func(r io.Reader) io.Reader { return e.o.Disk.Reader(ctx, r) }})
	if err != nil {
		return dag.CID{}, 0, err
	}
	if t.Files == 0 {
		return dag.CID{}, 0, errNoCheckpoint
	}
	return t.Root, t.Size, nil
}

// salvage keeps the checkpoint that lies in a runner's folder of before the last start, if there is one.
func (e *Executor) salvage(dir string) {
	key, err := os.ReadFile(filepath.Join(dir, keyFile))
	if err != nil || len(key) != len(Checkpoint{}.Key) {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), checkpointTime)
	defer cancel()
	root, size, err := e.save(ctx, filepath.Join(dir, sandbox.TmpDir, tasks.CheckpointDir))
	if err != nil {
		e.log.Info("No checkpoint is kept", "error", err)
		return
	}
	e.salvaged = append(e.salvaged, Checkpoint{Key: [32]byte(key), Root: root, Bytes: size})
}
