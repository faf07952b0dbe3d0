package submit_test

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"kith/tasks"
	"kith/tasks/submit"
)

// A strict job goes only to donors that the submitter itself sees in an allowed country, whatever they say of themselves;
// one of which it cannot see that gets nothing and hears why.
func TestStrictRegionsAreSeenNotSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.machine = func(d *donor) { d.region = "DE" } // they all say so
		where := map[byte]string{0: "DE", 1: "US", 2: "", 3: "DE"}
		rtt := map[byte]time.Duration{0: 20 * time.Millisecond, 3: 20 * time.Millisecond}
		w.submit(func(o *submit.Options) {
			o.RTT = func(id tasks.NodeID) time.Duration {
				for n := range byte(4) {
					if _, x := key(n + 1); x == id {
						return rtt[n]
					}
				}
				return 0
			}
			o.Locate = func(from netip.Addr, rtt time.Duration) string {
				if n := from.As4()[2]; n != 3 || rtt > 0 { // donor 3 is seen because it is known how far it is
					return where[n]
				}
				return ""
			}
		})
		for range 4 {
			w.newDonor()
		}
		w.gather(4)
		spec := noop(20)
		spec.Policy = tasks.Policy{Strict: true, Regions: []string{"DE"}}
		id, err := w.submitter.Submit(t.Context(), spec)
		if err != nil {
			t.Fatal(err)
		}
		w.mustFinish(w.finish(id))
		synctest.Wait()
		st, err := w.submitter.Job(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range st.Workers {
			if x.ID != w.donors[0].id && x.ID != w.donors[3].id {
				t.Errorf("a donor that is not seen in an allowed country got work: %+v", x)
			}
		}
		e, err := w.submitter.Explain(t.Context(), id)
		if err != nil || e.Refused[tasks.WrongRegion] == 0 || e.Refused[tasks.UnseenRegion] == 0 {
			t.Errorf("refused: %v, %v", e.Refused, err)
		}
	})
}

// Replicas come from different providers where the submitter can tell them: the address ranges of donors 0 and 1 differ,
// and yet none of their results confirms the other's.
func TestReplicasDifferInProvider(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.submit(func(o *submit.Options) {
			o.LAN = false
			o.Provider = func(a netip.Addr) uint { return map[byte]uint{0: 64500, 1: 64500}[a.As4()[2]] }
		})
		for range 3 {
			w.newDonor()
		}
		w.gather(3)
		const tasks = 20
		id, err := w.submitter.Submit(t.Context(), noop(tasks))
		if err != nil {
			t.Fatal(err)
		}
		w.mustFinish(w.finish(id))
		st, err := w.submitter.Job(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range st.Workers {
			if x.ID == w.donors[2].id && x.Accepted != tasks {
				t.Errorf("the donor of another provider has a part in %d of %d tasks", x.Accepted, tasks)
			}
		}
		list, err := w.submitter.Sessions(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		groups := map[string]int{}
		for _, s := range list {
			groups[s.Group]++
		}
		if groups["AS64500"] != 2 || groups["10.0.2.0/24"] != 1 {
			t.Errorf("network origins %v", groups)
		}
	})
}
