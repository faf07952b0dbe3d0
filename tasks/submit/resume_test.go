package submit_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"

	"kith/storage/dag"
	"kith/tasks"
	"kith/tasks/job"
	"kith/tasks/kinds"
	"kith/tasks/kinds/testkind"
	"kith/tasks/work"
)

// walker takes ten steps and keeps in its checkpoint how many it has taken.
type walker struct {
	tasks.Kind
	mu     sync.Mutex
	starts []int          // where its runs began
	at     map[int]func() // called once, before a step
	fails  map[int]bool   // steps at which a run that begins there fails
}

func (k *walker) Describe() tasks.Description {
	d := k.Kind.Describe()
	d.Name = "test.walk"
	return d
}

func (k *walker) Checkpoints([]byte) bool { return true }

func (k *walker) Run(ctx context.Context, c *tasks.Call) error {
	dir := filepath.Join(c.Scratch, tasks.CheckpointDir)
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
	fails := k.fails[from]
	k.mu.Unlock()
	if fails {
		return errors.New("what I find I do not understand")
	}
	for step := from; step < 10; step++ {
		k.mu.Lock()
		at := k.at[step]
		delete(k.at, step)
		k.mu.Unlock()
		if at != nil {
			at()
			<-ctx.Done()
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
	f, err := c.Out.Create("walked")
	if err != nil {
		return err
	}
	_, err = f.Write([]byte("ten"))
	return errors.Join(err, f.Close())
}

func (k *walker) began() []int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.starts)
}

// A task that is handed back, or ended with its node, is gone on with from where it was when the same node has it again.
func TestTaskGoesOnAfterItsEnd(t *testing.T) {
	for _, c := range []struct {
		name      string
		restart   bool
		snapshots bool
		fails     map[int]bool
		want      []int
	}{
		{name: "handed back by the owner", want: []int{0, 4}},
		{name: "the node restarts", restart: true, want: []int{0, 4}},
		{name: "the node restarts from a snapshot", restart: true, snapshots: true, want: []int{0, 4}},
		{name: "what it finds does not work", restart: true, fails: map[int]bool{4: true}, want: []int{0, 4, 0}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				reached := make(chan struct{})
				k := &walker{Kind: testkind.All()[0], at: map[int]func(){4: func() { close(reached) }}, fails: c.fails}
				w := newWorld(t, kinds.New(k))
				w.submit()
				var stop func(tasks.Reason)
				set := func(o *work.Options) {
					o.Admit = func(_ tasks.Assignment, end func(tasks.Reason)) (func(), *tasks.Reason) {
						stop = end
						return nil, nil
					}
					if c.snapshots {
						o.SnapshotEvery = 1
					}
				}
				d := w.newDonor(set)
				spec := noop(1)
				spec.Ops[0].Kind, spec.Policy = "test.walk", tasks.Policy{K: 1}
				id, err := w.submitter.Submit(t.Context(), spec)
				if err != nil {
					t.Fatal(err)
				}
				<-reached
				synctest.Wait()
				if !c.restart {
					stop(tasks.Reason{Code: tasks.Paused})
				} else {
					d.stop()
					d.start(set)
					pins := 0
					if err := d.Pins(t.Context(), func(dag.CID) error { pins++; return nil }); err != nil || pins == 0 {
						t.Errorf("%d roots are kept: %v", pins, err)
					}
					d.HandleOffer(w.offer(id), 0)
				}
				st := w.finish(id)
				if st.Phase != job.Finished {
					t.Fatalf("%s: %v", st.Phase, st.Reason)
				}
				if got := k.began(); !slices.Equal(got, c.want) {
					t.Errorf("runs began at %v, want %v", got, c.want)
				}
				synctest.Wait()
				pins := 0
				if err := d.Pins(t.Context(), func(dag.CID) error { pins++; return nil }); err != nil || pins != 0 {
					t.Errorf("%d roots are kept of what is done: %v", pins, err)
				}
			})
		})
	}
}
