package submit_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"kith/tasks"
	"kith/tasks/match"
	"kith/tasks/submit"
	"kith/tasks/wire"
)

// silent is gossip that reaches so many, none of whom answers.
type silent struct{ audience int }

func (s silent) Publish(context.Context, tasks.DeviceClass, int, []byte) (int, error) {
	return s.audience, nil
}

// searcher hands an offer to donors that gossip does not reach.
type searcher struct {
	w    *world
	find bool
	hold chan struct{} // a search goes on until it is closed; nil: it ends at once

	mu     sync.Mutex
	wanted []submit.Wanted
	at     []time.Time
}

func (s *searcher) Search(ctx context.Context, w submit.Wanted) submit.Searched {
	s.mu.Lock()
	s.wanted, s.at = append(s.wanted, w), append(s.at, time.Now())
	s.mu.Unlock()
	if s.hold != nil {
		select {
		case <-s.hold:
		case <-ctx.Done():
		}
	}
	out := submit.Searched{Asked: 7, Messages: 14, Found: 3, Refused: map[tasks.Code]int{tasks.Paused: 1}}
	if s.find {
		o, err := wire.OpenOffer(network, time.Now().UnixMilli(), w.Offer)
		if err != nil {
			s.w.t.Error(err)
		}
		for _, d := range s.w.running() {
			out.Invited++
			if d.driver.Invite(ctx, o, 0) == nil {
				out.Coming++
			}
		}
	}
	return out
}

func (s *searcher) calls() ([]submit.Wanted, []time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.wanted, s.at
}

// Where offers reach nobody, or nobody who answers, workers are looked for and handed the offer, and the job is done.
func TestSearchWhereOffersDoNotReach(t *testing.T) {
	for name, audience := range map[string]int{"silence": 0, "no answer": 5} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, nil)
				s := &searcher{w: w, find: true}
				w.submit(func(o *submit.Options) { o.Offers, o.Searcher = silent{audience}, s })
				w.newDonor()
				w.newDonor()
				spec := noop(20)
				spec.Policy.SessionsWant = 3
				st := w.run(spec)
				w.mustFinish(st)
				wanted, _ := s.calls()
				if len(wanted) == 0 || wanted[0].Job != st.ID || wanted[0].Missing != 3 || wanted[0].Class != tasks.CPU || len(wanted[0].Known) != 0 || len(wanted[0].Kinds) != 1 {
					t.Errorf("searched for %+v", wanted)
				}
			})
		})
	}
}

// Searches become rarer, are never two at once, are told of, and end with the job.
func TestSearchesBecomeRarer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		s := &searcher{w: w, hold: make(chan struct{})}
		w.submit(func(o *submit.Options) { o.Offers, o.Searcher = silent{9}, s })
		id, err := w.submitter.Submit(t.Context(), noop(1))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second) // the ring has widened once
		if wanted, _ := s.calls(); len(wanted) != 0 {
			t.Error("a search before the ring has widened")
		}
		time.Sleep(25 * time.Second)
		synctest.Wait()
		e, err := w.submitter.Explain(t.Context(), id)
		if err != nil || e.Searches != 1 || !e.Searching || e.Searched.Asked != 0 {
			t.Errorf("while it goes on: %+v, %v", e, err)
		}
		close(s.hold)
		synctest.Wait()
		e, err = w.submitter.Explain(t.Context(), id)
		if err != nil || e.Searching || e.Searched.Asked != 7 || e.Searched.Found != 3 || e.Refused[tasks.Paused] != 1 {
			t.Errorf("afterwards: %+v, %v", e, err)
		}
		time.Sleep(2 * time.Hour)
		_, at := s.calls()
		if n := len(at); n < 8 || n > 14 {
			t.Errorf("%d searches in two hours", n)
		}
		for i := 1; i < len(at); i++ {
			if gap := at[i].Sub(at[i-1]); gap < match.NextSearch(i) || gap > match.NextSearch(i)+2*match.LongestGap {
				t.Errorf("search %d comes %s after the one before", i+1, gap)
			}
		}
		if err := w.submitter.Cancel(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if _, later := s.calls(); len(later) != len(at) {
			t.Error("a search for a job that is over")
		}
	})
}

// Whoever is invited says why it does not come.
func TestInvitationsAreRefusedWithReasons(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.submit(func(o *submit.Options) { o.Offers = silent{} })
		d := w.newDonor()
		o := w.offer(tasks.JobID{1})
		if err := d.Pause(t.Context(), tasks.Reason{Code: tasks.Paused}); err != nil {
			t.Fatal(err)
		}
		if r := d.Invite(t.Context(), o, 0); r == nil || r.Code != tasks.Paused {
			t.Errorf("paused: %+v", r)
		}
		if err := d.Resume(t.Context()); err != nil {
			t.Fatal(err)
		}
		unknown := o
		unknown.Kinds = []string{"no.such"}
		if r := d.Invite(t.Context(), unknown, 0); r == nil || r.Code != tasks.UnknownKindCode {
			t.Errorf("a kind it lacks: %+v", r)
		}
		late := o
		late.Expiry = o.Time - 1
		if r := d.Invite(t.Context(), late, 0); r == nil || r.Code != tasks.BadMessage {
			t.Errorf("an old offer: %+v", r)
		}
		if r := d.Invite(t.Context(), o, 0); r != nil {
			t.Errorf("nothing in the way: %+v", r)
		}
		if r := d.Invite(t.Context(), o, 0); r != nil {
			t.Errorf("on its way already: %+v", r)
		}
		d.stop()
		if r := d.Invite(t.Context(), o, 0); r == nil || r.Code != tasks.ShuttingDown {
			t.Errorf("stopped: %+v", r)
		}
	})
}
