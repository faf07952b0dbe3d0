package work_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"kith/storage/dag"
	"kith/tasks"
	"kith/tasks/execute"
	"kith/tasks/kinds"
	"kith/tasks/kinds/kindtest"
	"kith/tasks/kinds/testkind"
	"kith/tasks/sandbox"
	"kith/tasks/wire"
	"kith/tasks/work"
)

// A checkpoint goes to the submitter only if the lease allows one, and one so large; to a submitter of before there were any
// the message is what it was then.
func TestWhoseCheckpointTravels(t *testing.T) {
	for _, c := range []struct {
		name   string
		travel *tasks.Travel
		extra  int // bytes in it beside its one
		reason tasks.Code
		comes  bool
		inline bool
	}{
		{name: "small", travel: &tasks.Travel{Most: 1}, reason: tasks.Paused, comes: true, inline: true},
		{name: "too large for a message", travel: &tasks.Travel{Most: wire.MaxPoint}, extra: wire.MaxInline, reason: tasks.Paused, comes: true},
		{name: "larger than the lease allows", travel: &tasks.Travel{Most: 10}, extra: 10, reason: tasks.Paused},
		{name: "none is wanted", travel: &tasks.Travel{}, reason: tasks.Paused},
		{name: "the submitter knows of none", reason: tasks.Paused},
		{name: "the kill switch", travel: &tasks.Travel{Most: 1}, reason: tasks.Killed},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				k := &kindtest.Steps{Kind: testkind.All()[0]}
				stops := make(chan func(tasks.Reason), 1)
				k.Before = func(ctx context.Context, _ *tasks.Call, step int, dir string) {
					if step != 5 {
						return
					}
					if c.extra > 0 {
						_ = os.WriteFile(filepath.Join(dir, "extra"), bytes.Repeat([]byte{1}, c.extra), 0o600)
					}
					(<-stops)(tasks.Reason{Code: c.reason})
					<-ctx.Done()
				}
				r := newRig(t, func(o *work.Options) {
					o.Kinds = kinds.New(append(testkind.All(), k)...)
					engine := sandbox.InProcess(o.Kinds)
					e, err := execute.New(execute.Options{Engine: engine, Blobs: o.Blobs, Kinds: o.Kinds, Scratch: t.TempDir()})
					if err != nil {
						t.Fatal(err)
					}
					t.Cleanup(func() { _ = e.Close(); _ = engine.Close() })
					o.Executor = e
					o.Admit = func(_ tasks.Assignment, stop func(tasks.Reason)) (func(), *tasks.Reason) {
						stops <- stop
						return nil, nil
					}
				})
				r.offer()
				b, _ := r.greet()
				b.welcome(false)
				b.say(&wire.Leases{Leases: []tasks.Lease{b.lease(1, func(l *tasks.Lease) {
					l.Do.Steps[0].Kind, l.Travel = kindtest.StepsName, c.travel
				})}})
				m := hear[*wire.Returned](b)
				p := m.Point
				if m.Reason.Code != c.reason || (p != nil) != c.comes {
					t.Fatalf("returned with %+v, %+v", m.Reason, p)
				}
				if p == nil {
					return
				}
				if p.Done != 5 || p.Total != 10 || p.Bytes != int64(1+c.extra) || (p.Blocks != nil) != c.inline {
					t.Errorf("%d of %d are done, %d bytes, %d blocks", p.Done, p.Total, p.Bytes, len(p.Blocks))
				}
				if got := r.MayServe(r.id, p.Root); got == c.inline {
					t.Errorf("its submitter may fetch it: %v", got)
				}
				if r.MayServe(r.me, p.Root) || r.MayServe(tasks.NodeID{9}, p.Root) {
					t.Error("anybody may fetch it")
				}
			})
		})
	}
}

// Before a lease's checkpoint is asked for, nobody but its submitter learns of it, whatever else of the job is public.
func TestCheckpointIsFetchedFromItsSubmitter(t *testing.T) {
	bubble(t, func(t *testing.T) {
		root := dag.Sum(dag.Raw, dag.SHA256, []byte("point"))
		asked := make(chan work.Input, 1)
		r := newRig(t)
		r.fetch = func(_ context.Context, in work.Input, _ func([]dag.CID)) error {
			asked <- in
			return nil
		}
		b := r.session()
		b.say(&wire.Leases{Leases: []tasks.Lease{b.lease(1, func(l *tasks.Lease) {
			l.Do.Public = dag.Sum(dag.Raw, dag.SHA256, []byte("public"))
			l.Travel = &tasks.Travel{From: &tasks.Point{Root: root}}
		})}})
		if in := <-asked; in.Root != root || in.Public.Defined() || in.Submitter != r.id {
			t.Errorf("asked for %+v", in)
		}
		hear[*wire.Commits](b)
		if slices.Contains(r.Shared(), root) || r.MayServe(tasks.NodeID{9}, root) {
			t.Error("it is passed on")
		}
	})
}
