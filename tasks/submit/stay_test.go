package submit_test

import (
	"testing"
	"testing/synctest"
	"time"

	"kith/tasks"
	"kith/tasks/wire"
)

// A worker that says it can compute half of the time gets twice the time for its tasks.
func TestLeaseLivesByItsWorkersHours(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.begin(t, 1)
		always, half := w.puppet(t, 50).join(), w.puppet(t, 51)
		half.share = 500
		half.join()
		life := func(p *puppet) int64 { return p.leases[0].Expiry - p.leases[0].Granted }
		if life(half) != 2*life(always) {
			t.Errorf("leases live %d and %d ms, want twice as long", life(always), life(half))
		}
	})
}

// Tasks that are known to take longer than a worker usually stays are explained to go to others first.
func TestShortStayIsExplained(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		id := w.begin(t, 12)
		a, b := w.puppet(t, 50), w.puppet(t, 51)
		b.stays = 60_000
		a.join()
		b.join()
		refused := func() int {
			e, err := w.submitter.Explain(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			return e.Refused[tasks.ShortStay]
		}
		if n := refused(); n != 0 {
			t.Errorf("%d stay too short for tasks of which nothing is known", n)
		}
		for _, p := range []*puppet{a, b} { // they run, and are done two minutes later
			m := &wire.Heartbeat{Time: time.Now().UnixMilli()}
			for i := range p.leases {
				m.Leases = append(m.Leases, wire.Beat{Lease: p.leases[i].ID, State: wire.Running})
			}
			p.send(m)
			p.deaf()
		}
		for range 24 { // and are heard all the while
			time.Sleep(5 * time.Second)
			for _, p := range []*puppet{a, b} {
				p.send(&wire.Heartbeat{Time: time.Now().UnixMilli()})
			}
		}
		for _, p := range []*puppet{a, b} {
			m := &wire.Commits{}
			for i := range p.leases {
				r := p.result(&p.leases[i])
				m.Commits = append(m.Commits, p.commit(&r))
			}
			p.send(m)
		}
		synctest.Wait()
		if n := refused(); n != 1 {
			t.Errorf("%d stay too short for tasks of two minutes, want the one that stays for one", n)
		}
	})
}
