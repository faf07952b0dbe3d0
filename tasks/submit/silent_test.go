package submit_test

import (
	"testing"
	"testing/synctest"
	"time"

	"kith/tasks"
	"kith/tasks/job"
	"kith/tasks/wire"
)

// A worker that goes or falls silent with leases in its hands keeps nobody waiting: others do its tasks before its session
// would be missed, and what it has committed to is not held against it.
func TestWorkerThatGoesCostsLittle(t *testing.T) {
	for _, c := range []struct {
		name string
		go_  func(w *world, p *puppet)
	}{
		{"its connection ends", func(_ *world, p *puppet) { p.conn.Close() }},
		{"it says goodbye", func(_ *world, p *puppet) { p.send(&wire.Bye{Reason: tasks.Reason{Code: tasks.ShuttingDown}}) }},
		{"it does not answer", func(w *world, p *puppet) { w.submitter.Unheard(p.id) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				id := w.begin(t, 2)
				p := w.puppet(t, 50).join()
				r := p.result(&p.leases[0]) // of one task it has a result, of the other it has nothing
				p.send(&wire.Commits{Commits: []tasks.Commit{p.commit(&r)}})
				p.deaf()
				synctest.Wait()
				w.newDonor()
				w.newDonor()
				began := time.Now()
				c.go_(w, p)
				if st := w.finish(id); st.Phase != job.Finished {
					t.Fatalf("%s: %v", st.Phase, st.Reason)
				}
				if waited := time.Since(began); waited >= 2*time.Second { // of the bubble's clock
					t.Errorf("done %v after it went", waited)
				}
				if b := w.blame(t, id, p.id); len(b) != 0 {
					t.Errorf("blamed: %v", b)
				}
			})
		})
	}
}

// Who did not answer for a while and then says something is a worker again: its result counts, and it gets work.
func TestSilentWorkerIsHeardAgain(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		id := w.begin(t, 1)
		a, b := w.puppet(t, 50).join(), w.puppet(t, 51).join()
		first, second := a.result(&a.leases[0]), b.result(&b.leases[0])
		w.submitter.Unheard(a.id)
		synctest.Wait()
		if quiet, err := w.submitter.Quiet(t.Context(), time.Hour); err != nil || len(quiet) != 0 {
			t.Errorf("quiet for an hour: %v %v", quiet, err)
		}
		time.Sleep(2 * time.Second)
		if quiet, err := w.submitter.Quiet(t.Context(), 2*time.Second); err != nil || len(quiet) != 2 {
			t.Errorf("quiet for two seconds: %d of 2 %v", len(quiet), err)
		}
		for _, s := range []struct {
			p *puppet
			r *tasks.Reveal
		}{{a, &first}, {b, &second}} {
			s.p.send(&wire.Commits{Commits: []tasks.Commit{s.p.commit(s.r)}})
		}
		for _, s := range []struct {
			p *puppet
			r *tasks.Reveal
		}{{a, &first}, {b, &second}} {
			hear[*wire.RevealRequest](s.p)
			s.p.send(&wire.Reveals{Reveals: []tasks.Reveal{*s.r}})
			s.p.deaf()
		}
		if st := w.finish(id); st.Phase != job.Finished {
			t.Fatalf("%s: %v", st.Phase, st.Reason)
		}
		list, err := w.submitter.Sessions(t.Context())
		if err != nil || len(list) != 2 || list[0].Room == 0 || list[1].Room == 0 {
			t.Errorf("sessions %+v %v, want two with room for more", list, err)
		}
	})
}
