package submit_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"kith/tasks"
	"kith/tasks/submit"
	"kith/tasks/wire"
	"kith/tasks/work"
)

// A worker that was away when its verdict fell is told when it returns, and gets its line of the account; also when the
// submitter was started anew in between.
func TestVerdictsWaitForTheirWorker(t *testing.T) {
	for _, restart := range []bool{false, true} {
		t.Run(fmt.Sprintf("restart=%v", restart), func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				id, err := w.submitter.Submit(t.Context(), solo(1))
				if err != nil {
					t.Fatal(err)
				}
				p := w.puppet(t, 50)
				p.send(p.hello())
				welcome := hear[*wire.Welcome](p)
				lease := hear[*wire.Leases](p).Leases[0]
				r := p.result(&lease)
				p.send(&wire.Commits{Commits: []tasks.Commit{p.commit(&r)}})
				hear[*wire.RevealRequest](p)
				p.send(&wire.Reveals{Reveals: []tasks.Reveal{r}})
				p.conn.Close()
				w.mustFinish(w.finish(id))
				if restart {
					w.crashSubmitter()
				}
				for round := range 3 { // what it has signed does not come again
					again := w.puppet(t, 50)
					h := again.hello()
					h.Resume = welcome.Token
					if round < 2 {
						h.Held = []tasks.LeaseID{lease.ID}
					}
					again.send(h)
					m := hear[*wire.Welcome](again)
					if round == 2 {
						if len(m.Kept) != 0 {
							t.Errorf("kept %v", m.Kept)
						}
						break
					}
					if !m.Resumed || len(m.Kept) != 1 || m.Kept[0] != lease.ID {
						t.Fatalf("welcomed with %+v", m)
					}
					if v := hear[*wire.Verdicts](again).Verdicts; len(v) != 1 || v[0].Lease != lease.ID || v[0].Outcome != tasks.Accepted || v[0].Root != r.Root {
						t.Fatalf("verdicts %+v", v)
					}
					batch := hear[*wire.Receipts](again)
					if len(batch.Receipts) != 1 || batch.Receipts[0].Lease != lease.ID || batch.Receipts[0].Outcome != tasks.Accepted {
						t.Fatalf("receipts %+v", batch.Receipts)
					}
					if round == 1 {
						k, _ := key(50)
						again.send(&wire.ReceiptAck{Root: batch.Root, Count: 1, Sig: wire.SignBatch(network, k, w.submitter.id, again.id, batch.Root, 1)})
					}
					again.conn.Close()
					synctest.Wait()
				}
				n := 0
				if err := w.submitter.Receipts(t.Context(), id, func(r *submit.Receipts) {
					if n++; !r.Countersigned {
						t.Error("not countersigned")
					}
				}); err != nil || n != 1 {
					t.Errorf("%d batches in the book, %v", n, err)
				}
			})
		})
	}
}

// Connections that break again and again lose no line of the account, and double none.
func TestAccountSurvivesBadLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.submit()
		for range 3 {
			w.newDonor()
		}
		w.gather(3)
		id, err := w.submitter.Submit(t.Context(), sleepy(200, 20))
		if err != nil {
			t.Fatal(err)
		}
		for i := range 30 {
			time.Sleep(37 * time.Millisecond)
			w.donors[i%3].disconnect(false)
		}
		st := w.finish(id)
		w.mustFinish(st)
		time.Sleep(time.Minute)
		signed, lines := map[tasks.LeaseID]bool{}, 0
		if err := w.submitter.Receipts(t.Context(), id, func(r *submit.Receipts) {
			for _, line := range r.Batch.Receipts {
				lines++
				signed[line.Lease] = signed[line.Lease] || r.Countersigned
			}
		}); err != nil {
			t.Fatal(err)
		}
		if lines != len(signed) {
			t.Errorf("the submitter's book has %d lines for %d leases", lines, len(signed))
		}
		for l, ok := range signed {
			if !ok {
				t.Errorf("lease %s is not countersigned", l.Short())
			}
		}
		for _, x := range st.Workers {
			for _, d := range w.donors {
				if d.id != x.ID {
					continue
				}
				mine := map[tasks.LeaseID]int{}
				if err := d.Receipts(t.Context(), w.submitter.id, func(r *work.Receipts) {
					for _, line := range r.Batch.Receipts {
						if line.Job == id && line.Outcome == tasks.Accepted {
							mine[line.Lease]++
						}
					}
				}); err != nil {
					t.Fatal(err)
				}
				if len(mine) != x.Accepted {
					t.Errorf("a donor has %d lines for %d accepted results", len(mine), x.Accepted)
				}
				for l, n := range mine {
					if n != 1 {
						t.Errorf("lease %s stands in its book %d times", l.Short(), n)
					}
				}
			}
		}
	})
}

// A worker whose part is done, and which comes back before the others' are, keeps its lease and hears the verdict.
func TestBackBeforeTheVerdict(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.begin(t, 1)
		type side struct {
			*puppet
			welcome *wire.Welcome
			reveal  tasks.Reveal
		}
		var sides []*side
		for n := range byte(2) {
			p := &side{puppet: w.puppet(t, 50+n)}
			p.send(p.hello())
			p.welcome = hear[*wire.Welcome](p.puppet)
			hear[*wire.Leases](p.puppet)
			p.reveal = p.result(&p.leases[0])
			p.send(&wire.Commits{Commits: []tasks.Commit{p.commit(&p.reveal)}})
			sides = append(sides, p)
		}
		first, second := sides[0], sides[1]
		hear[*wire.RevealRequest](first.puppet)
		hear[*wire.RevealRequest](second.puppet)
		first.send(&wire.Reveals{Reveals: []tasks.Reveal{first.reveal}})
		synctest.Wait()
		first.conn.Close()
		synctest.Wait()

		again := w.puppet(t, 50)
		h := again.hello()
		h.Resume, h.Held = first.welcome.Token, []tasks.LeaseID{first.reveal.Lease}
		again.send(h)
		if m := hear[*wire.Welcome](again); len(m.Kept) != 1 || m.Kept[0] != first.reveal.Lease {
			t.Fatalf("kept %v", m.Kept)
		}
		second.send(&wire.Reveals{Reveals: []tasks.Reveal{second.reveal}})
		if v := hear[*wire.Verdicts](again).Verdicts; len(v) != 1 || v[0].Lease != first.reveal.Lease || v[0].Outcome != tasks.Accepted {
			t.Errorf("verdicts %+v", v)
		}
		if r := hear[*wire.Receipts](again).Receipts; len(r) != 1 || r[0].Lease != first.reveal.Lease {
			t.Errorf("receipts %+v", r)
		}
		second.deaf()
	})
}
