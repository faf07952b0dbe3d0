package execute_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kith/storage/dag"
	"kith/tasks"
	"kith/tasks/execute"
	"kith/tasks/kinds"
	"kith/tasks/kinds/kindtest"
	"kith/tasks/kinds/testkind"
	"kith/tasks/sandbox"
)

// stepper is kindtest.Steps with the means to end it.
type stepper struct{ *kindtest.Steps }

func steps(t testing.TB) (*stepper, bench) {
	k := &stepper{&kindtest.Steps{Kind: testkind.All()[0]}}
	return k, open(t, func(o *execute.Options) {
		o.Kinds = kinds.New(k)
		o.Engine = sandbox.InProcess(o.Kinds)
	})
}

func (k *stepper) task(n byte) tasks.Assignment {
	return tasks.Assignment{Job: tasks.JobID{1}, Task: tasks.TaskID{n}, Mode: tasks.Map, Parts: 1, Steps: []tasks.Step{{Kind: kindtest.StepsName, Phase: "run"}}}
}

// stopAt ends a run at a step, for a reason.
func (k *stepper) stopAt(t *testing.T, b bench, a tasks.Assignment, from dag.CID, step int, why error) execute.Output {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	k.Before = func(ctx context.Context, _ *tasks.Call, now int, _ string) {
		if now == step {
			cancel(why)
			<-ctx.Done()
		}
	}
	defer func() { k.Before = nil }()
	out, err := b.RunFrom(ctx, a, [32]byte{7}, from, nil)
	if err == nil {
		t.Fatal("it was not ended")
	}
	return out
}

// A task that its machine's owner, or the end of this program, ends before its time is gone on with from where it was, and
// its output is what it would have been.
func TestTaskGoesOnFromItsCheckpoint(t *testing.T) {
	for name, why := range map[string]error{
		"paused": tasks.Reason{Code: tasks.Paused}, "shutting down": tasks.Reason{Code: tasks.ShuttingDown}, "the program ends": context.Canceled,
	} {
		t.Run(name, func(t *testing.T) {
			k, b := steps(t)
			first := k.stopAt(t, b, k.task(1), dag.CID{}, 4, why)
			if got := b.files(t, first.Checkpoint); len(got) != 1 || got["step"] != "4" || first.CheckpointBytes != 1 {
				t.Fatalf("checkpoint %v, %d bytes", got, first.CheckpointBytes)
			}
			second := k.stopAt(t, b, k.task(1), first.Checkpoint, 7, why)
			if got := b.files(t, second.Checkpoint); got["step"] != "7" {
				t.Fatalf("checkpoint %v", got)
			}
			out, err := b.RunFrom(t.Context(), k.task(1), [32]byte{7}, second.Checkpoint, nil)
			if err != nil || len(out.Log) != 1 || !strings.Contains(out.Log[0], "from 7") || out.Checkpoint.Defined() {
				t.Errorf("log %v, checkpoint %v: %v", out.Log, out.Checkpoint, err)
			}
			whole, err := b.RunFrom(t.Context(), k.task(2), [32]byte{8}, dag.CID{}, nil)
			if err != nil || whole.Root != out.Root || !strings.Contains(whole.Log[0], "from 0") {
				t.Errorf("%v at a stretch, %v with ends: %v", whole.Root, out.Root, err)
			}
		})
	}
}

func TestNoCheckpointIsKept(t *testing.T) {
	paused := tasks.Reason{Code: tasks.Paused}
	fill := func(files, size int) func(string) {
		return func(dir string) {
			for i := range files {
				_ = os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), bytes.Repeat([]byte{1}, size), 0o600)
			}
		}
	}
	for name, c := range map[string]struct {
		why  error
		set  func(*tasks.Assignment)
		fill func(dir string)
	}{
		"the kill switch":       {why: tasks.Reason{Code: tasks.Killed}},
		"not needed any more":   {why: tasks.Reason{Code: tasks.JobCancelled}},
		"nothing was done yet":  {why: paused, fill: func(dir string) { _ = os.Remove(filepath.Join(dir, "step")) }},
		"the folder is gone":    {why: paused, fill: func(dir string) { _ = os.RemoveAll(dir) }},
		"too large":             {why: paused, fill: fill(65, 1<<20)},
		"too many files":        {why: paused, fill: fill(1025, 0)},
		"the kind does not, so": {why: paused, set: func(a *tasks.Assignment) { a.Steps[0].Params = []byte(`{"millis":1}`) }},
		"one of several steps":  {why: paused, set: func(a *tasks.Assignment) { a.Steps = append(a.Steps, a.Steps[0]) }},
		"a link to somewhere":   {why: paused, fill: func(dir string) { _ = os.RemoveAll(dir); _ = os.Symlink("/etc", dir) }},
		"links in it, and no file": {why: paused, fill: func(dir string) {
			_ = os.Remove(filepath.Join(dir, "step"))
			_ = os.Symlink("/etc/hostname", filepath.Join(dir, "x"))
		}},
		"its inputs had been sealed": {why: paused, set: func(a *tasks.Assignment) { a.Keys = [][]byte{make([]byte, 32)} }},
	} {
		t.Run(name, func(t *testing.T) {
			k, b := steps(t)
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			k.Before = func(ctx context.Context, _ *tasks.Call, now int, dir string) {
				if now == 4 {
					if c.fill != nil {
						c.fill(dir)
					}
					cancel(c.why)
					<-ctx.Done()
				}
			}
			a := k.task(1)
			if c.set != nil {
				c.set(&a)
			}
			out, err := b.RunFrom(ctx, a, [32]byte{7}, dag.CID{}, nil)
			if err == nil || out.Checkpoint.Defined() {
				t.Errorf("kept %v: %v", b.files(t, out.Checkpoint), err)
			}
		})
	}
}

// A checkpoint that is not there any more, or is none, costs time and no more.
func TestLostCheckpointIsPassedOver(t *testing.T) {
	k, b := steps(t)
	many := map[string]string{}
	for i := range 1025 {
		many[fmt.Sprint(i)] = ""
	}
	file, err := dag.AddFile(t.Context(), b.blobs, strings.NewReader("no folder"), dag.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for name, root := range map[string]dag.CID{
		"gone": dag.Sum(dag.DagCBOR, dag.SHA256, []byte("gone")), "a file": file.Root,
		"too many files": b.add(t, many), "too large": b.add(t, map[string]string{"x": strings.Repeat("x", execute.MaxCheckpoint+1)}),
	} {
		out, err := b.RunFrom(t.Context(), k.task(1), [32]byte{7}, root, nil)
		if err != nil || len(out.Log) != 1 || !strings.Contains(out.Log[0], "from 0") {
			t.Errorf("%s: log %v: %v", name, out.Log, err)
		}
	}
}

// What a kill of the whole program left in the scratch folder is found at the next start; what is no checkpoint is not.
func TestCheckpointOutlivesAKill(t *testing.T) {
	scratch := filepath.Join(t.TempDir(), "scratch")
	leave := func(runner string, key []byte, files map[string]string) {
		dir := filepath.Join(scratch, runner, sandbox.TmpDir, tasks.CheckpointDir)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		for name, text := range files {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if key != nil {
			if err := os.WriteFile(filepath.Join(scratch, runner, "checkpoint.key"), key, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	key := [32]byte{9, 9}
	leave("runner-1", key[:], map[string]string{"step": "6"})
	leave("runner-2", nil, map[string]string{"step": "1"})
	leave("runner-3", []byte("short"), map[string]string{"step": "2"})
	leave("runner-4", make([]byte, 32), nil)
	k := &stepper{&kindtest.Steps{Kind: testkind.All()[0]}}
	b := open(t, func(o *execute.Options) {
		o.Kinds, o.Scratch = kinds.New(k), scratch
		o.Engine = sandbox.InProcess(o.Kinds)
	})
	list := b.Salvaged()
	if len(list) != 1 || list[0].Key != key || list[0].Bytes != 1 || len(b.Salvaged()) != 0 {
		t.Fatalf("salvaged %+v", list)
	}
	if left, err := os.ReadDir(scratch); err != nil || len(left) != 0 {
		t.Errorf("left: %v %v", left, err)
	}
	out, err := b.RunFrom(t.Context(), k.task(1), key, list[0].Root, nil)
	if err != nil || !strings.Contains(out.Log[0], "from 6") {
		t.Errorf("log %v: %v", out.Log, err)
	}
}
