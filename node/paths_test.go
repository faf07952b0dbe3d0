package node

import (
	"strings"
	"testing"

	"kith/node/api"
	"kith/p2p/exchange"
	"kith/tasks"
	"kith/tasks/submit"
)

// words is a file of about n bytes.
func words(n int) string { return strings.Repeat("a line of words that many have seen\n", n/36) }

func (r *running) blocks() exchange.Stats { return r.live.Load().network.exchange.Stats() }

// stopServing makes a submitter refuse every block from now on, while its sessions go on.
func (r *running) stopServing() {
	l := *r.live.Load()
	none := submit.New(submit.Options{Network: "none", Key: r.self.Key()}) // it knows no job
	l.submits = &submitting{node: r.Node, stores: l.stores, self: l.submits.self, driver: none}
	r.live.Store(&l)
}

// A second worker gets public data from the first when the submitter no longer serves it.
func TestPublicDataFromAFellowWorker(t *testing.T) {
	first, donors := meet(t, 1)
	dir := writeFiles(t, map[string]string{"a.txt": words(300_000), "b.txt": words(100_000) + "end"})
	j := first.submit(t, api.Submit{Path: dir, K: 2, Ops: []api.Op{{Kind: "etl.hash"}}, Sensitivity: tasks.Public})
	eventually(t, "the first worker has committed and waits", func() bool {
		s, err := donors[0].live.Load().works.driver.Status(t.Context())
		return err == nil && len(s.Sessions) == 1 && s.Sessions[0].Pending == 1 && len(s.Running) == 0
	})
	first.stopServing()
	served := first.blocks().ServedBlocks
	second := start(t, t.TempDir(), map[string]string{"peers.bootstrap": first.addr(t) + "," + donors[0].addr(t)})
	first.finished(t, j.ID)
	if st := second.blocks(); st.FetchedBlocks == 0 || first.blocks().ServedBlocks != served {
		t.Errorf("the second worker %+v, the submitter %+v", st, first.blocks())
	}
	eventually(t, "public data is announced", func() bool { return donors[0].blocks().Announced+first.blocks().Announced > 0 })
	eventually(t, "what was passed on is no longer", func() bool { return len(donors[0].live.Load().works.driver.Shared()) == 0 })
}

// A sealed input is asked of its submitter alone, and announced by nobody.
func TestSealedDataFromTheSubmitterAlone(t *testing.T) {
	first, donors := meet(t, 2)
	stranger := start(t, t.TempDir(), map[string]string{"work.donate": "off", "peers.bootstrap": first.addr(t) + "," + donors[0].addr(t) + "," + donors[1].addr(t)})
	dir := writeFiles(t, map[string]string{"a.txt": words(300_000)})
	for _, sensitivity := range []tasks.Sensitivity{tasks.Approved, tasks.Synthetic} {
		first.submit(t, api.Submit{Path: dir, K: 3, Ops: []api.Op{{Kind: "etl.chunk"}}, Sensitivity: sensitivity})
	}
	for _, d := range donors { // both have their say; the third that is wanted does not exist
		eventually(t, "both jobs are done as far as they can be", func() bool {
			s, err := d.live.Load().works.driver.Status(t.Context())
			return err == nil && len(s.Sessions) == 1 && s.Sessions[0].Pending == 2
		})
	}
	for _, r := range append(donors, first, stranger) {
		l := r.live.Load()
		if own, err := l.submits.driver.PublicInputs(t.Context()); err != nil || len(own)+len(l.works.driver.Shared()) != 0 {
			t.Errorf("to be announced: %v, %v; %v", own, l.works.driver.Shared(), err)
		}
		if st := r.blocks(); st.Announced+st.LookedUp+st.BitswapWants+st.Refused != 0 {
			t.Errorf("%+v", st)
		}
	}
	for _, d := range donors {
		if st := d.blocks(); st.FetchedBlocks == 0 {
			t.Errorf("nothing was fetched: %+v", st)
		}
	}
}
