package submit_test

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"kith/tasks"
	"kith/tasks/job"
	"kith/tasks/work"
)

// A worker whose owner gives less than the tasks ask for is asked again now and then, not as fast as it can answer: the job
// waits for others, and says for what.
func TestJobOutlivesAWorkerThatCannotTakeIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.submit()
		var asked atomic.Int64
		w.newDonor(func(o *work.Options) {
			o.Fits = func(tasks.Assignment) *tasks.Reason {
				asked.Add(1)
				return &tasks.Reason{Code: tasks.OverLimits}
			}
		})
		spec := noop(1)
		spec.Policy.K = 1
		id, err := w.submitter.Submit(t.Context(), spec)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if n := asked.Load(); n < 2 || n > 11 {
			t.Errorf("asked %d times in ten minutes, want about once a minute", n)
		}
		if st, err := w.submitter.Job(t.Context(), id); err != nil || st.Phase != job.Running {
			t.Fatalf("the job is %s: %v %v", st.Phase, st.Reason, err)
		}
		if e, err := w.submitter.Explain(t.Context(), id); err != nil || e.Refused[tasks.OverLimits] == 0 {
			t.Errorf("explained as %+v: %v", e.Refused, err)
		}
		d := w.newDonor()
		d.HandleOffer(w.offer(id), 0)
		w.mustFinish(w.finish(id))
	})
}
