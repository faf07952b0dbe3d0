package work_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"kith/storage/dag"
	"kith/tasks"
	"kith/tasks/wire"
	"kith/tasks/work"
)

// TestRefusedBeforeTheDownload: what the owner can never take goes back before a byte of its input is asked for.
func TestRefusedBeforeTheDownload(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, func(o *work.Options) {
			o.Fits = func(a tasks.Assignment) *tasks.Reason {
				if a.Limits.MemoryBytes > 1<<30 {
					return &tasks.Reason{Code: tasks.OverLimits, Detail: "too much"}
				}
				return nil
			}
		})
		r.fetch = func(context.Context, work.Input, func([]dag.CID)) error { t.Error("the input was fetched"); return nil }
		b := r.session()
		b.say(&wire.Leases{Leases: []tasks.Lease{b.lease(1, func(l *tasks.Lease) {
			l.Do.Inputs = []dag.CID{dag.Sum(dag.Raw, dag.SHA256, nil)}
			l.Do.Limits.MemoryBytes = 2 << 30
		})}})
		if m := hear[*wire.Returned](b); m.Reason.Code != tasks.OverLimits || m.Reason.Detail != "too much" {
			t.Errorf("returned with %+v", m.Reason)
		}
	})
}

// TestTheOwnerTakesATaskBack ends a running task on the owner's word.
func TestTheOwnerTakesATaskBack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		stops := make(chan func(tasks.Reason), 1)
		released := make(chan struct{})
		r := newRig(t, func(o *work.Options) {
			o.Admit = func(_ tasks.Assignment, stop func(tasks.Reason)) (func(), *tasks.Reason) {
				stops <- stop
				return func() { close(released) }, nil
			}
		})
		b := r.session()
		b.say(&wire.Leases{Leases: []tasks.Lease{b.lease(1, func(l *tasks.Lease) { l.Do.Steps[0].Params = []byte(`{"tasks":1,"millis":600000}`) })}})
		(<-stops)(tasks.Because(tasks.Paused, "on battery"))
		if m := hear[*wire.Returned](b); m.Reason.Code != tasks.Paused || m.Reason.Detail != "on battery" {
			t.Errorf("returned with %+v", m.Reason)
		}
		<-released
	})
}

func TestASubmitterWhoseTurnItIsNot(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var now atomic.Bool
		r := newRig(t, func(o *work.Options) {
			o.Turn = func(tasks.NodeID) work.Turn { return work.Turn{Wait: !now.Load()} }
		})
		b := r.session()
		b.say(&wire.Leases{Leases: []tasks.Lease{b.lease(1, nil)}})
		time.Sleep(2 * time.Second)
		if st := r.status(); len(st.Running) != 0 || st.Sessions[0].Queued != 1 || st.Sessions[0].Pending != 0 {
			t.Fatalf("it was begun: %+v", st)
		}
		now.Store(true)
		if err := r.Allow(t.Context(), 2); err != nil {
			t.Fatal(err)
		}
		hear[*wire.Commits](b)
	})
}
