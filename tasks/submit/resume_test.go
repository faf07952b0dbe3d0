package submit_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"kith/storage/dag"
	"kith/tasks"
	"kith/tasks/job"
	"kith/tasks/kinds"
	"kith/tasks/kinds/kindtest"
	"kith/tasks/kinds/testkind"
	"kith/tasks/work"
)

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
				k := &kindtest.Steps{Kind: testkind.All()[0]}
				var once sync.Once
				k.Before = func(ctx context.Context, _ *tasks.Call, step int, _ string) {
					if step == 4 {
						once.Do(func() {
							close(reached)
							<-ctx.Done()
						})
					}
				}
				k.Fails = func(from int) error {
					if c.fails[from] {
						return errors.New("what I find I do not understand")
					}
					return nil
				}
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
				spec.Ops[0].Kind, spec.Policy = kindtest.StepsName, tasks.Policy{K: 1}
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
				if got := k.Starts(); !slices.Equal(got, c.want) {
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
