package submit_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"kith/storage/dag"
	"kith/storage/memstore"
	"kith/tasks"
	"kith/tasks/submit"
	"kith/tasks/wire"
)

// commit takes what a lease asks for up to the demand to see it.
func (p *puppet) commitAll() (list []tasks.Reveal) {
	p.t.Helper()
	for i := range p.leases {
		r := p.result(&p.leases[i])
		list = append(list, r)
		p.send(&wire.Commits{Commits: []tasks.Commit{p.commit(&r)}})
	}
	return list
}

// demanded hears demands until so many results are to be shown.
func (p *puppet) demanded(n int) {
	p.t.Helper()
	for n > 0 {
		n -= len(hear[*wire.RevealRequest](p).Leases)
	}
}

// acknowledged counts the results that were acknowledged by what was heard so far.
func (p *puppet) acknowledged() (n int) {
	for _, m := range p.heard {
		if m, ok := m.(*wire.Delivered); ok {
			n += len(m.Results)
		}
	}
	return n
}

// twoOf connects two workers, with as many leases each.
func (w *world) twoOf(t *testing.T, leases int) (first, second *puppet) {
	t.Helper()
	w.begin(t, leases)
	for _, p := range []**puppet{&first, &second} {
		*p = w.puppet(t, 50+byte(len(w.submitterSessions(t))))
		(*p).join()
		for len((*p).leases) < leases {
			hear[*wire.Leases](*p)
		}
	}
	return first, second
}

func (w *world) submitterSessions(t *testing.T) []submit.Session {
	t.Helper()
	synctest.Wait()
	list, err := w.submitter.Sessions(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// Results whose verdicts wait for another replica are acknowledged, many by one message, and anybody can check what that
// proves. One whose verdict comes at once is not.
func TestResultsAreAcknowledged(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		first, second := w.twoOf(t, 4)
		mine, theirs := first.commitAll(), second.commitAll()
		first.demanded(4)
		second.demanded(4)
		second.send(&wire.Reveals{Reveals: theirs[:1]})
		first.send(&wire.Reveals{Reveals: mine})
		m := hear[*wire.Delivered](first)
		if len(m.Results) != 3 || !slices.ContainsFunc(first.heard, func(m wire.Message) bool { return m.Type() == wire.TypeVerdicts }) {
			t.Fatalf("%d results are acknowledged, want the 3 that have no verdict", len(m.Results))
		}
		spoken, err := first.wire.Spoken(first.raw)
		if err != nil {
			t.Fatal(err)
		}
		k, _ := key(50)
		for i, got := range m.Results {
			r := mine[i+1]
			if got.Lease != r.Lease || got.Root != r.Root || got.Digest != r.Digest {
				t.Errorf("acknowledged %+v, shown was %+v", got, r)
			}
			l := first.leases[i+1]
			claims := wire.Claims{Heard: spoken, Leases: []wire.Claim{{
				Job: l.Do.Job, Task: l.Do.Task, Attempt: l.Attempt, Epoch: l.Epoch, Expiry: l.Expiry, Root: r.Root, Digest: r.Digest,
			}}}
			claims.Sign(network, k)
			if word, err := claims.Verify(network); word != wire.Got || err != nil {
				t.Errorf("claimed by word %d, %v", word, err)
			}
		}
		time.Sleep(5 * time.Second)
		second.send(&wire.Reveals{Reveals: theirs[1:]})
		for n := 1; n < 4; {
			n += len(hear[*wire.Verdicts](first).Verdicts)
		}
		if n := first.acknowledged(); n != 3 {
			t.Errorf("%d results were acknowledged, want each once", n)
		}
		if n := second.acknowledged(); n != 0 {
			t.Errorf("%d results were acknowledged beside their verdicts", n)
		}
	})
}

// A worker from before acknowledgements hears of its results by their verdicts alone.
func TestOldWorkersHearNothingNew(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		w.old = true
		first, second := w.twoOf(t, 2)
		mine, theirs := first.commitAll(), second.commitAll()
		first.demanded(2)
		second.demanded(2)
		first.send(&wire.Reveals{Reveals: mine})
		time.Sleep(5 * time.Second)
		second.send(&wire.Reveals{Reveals: theirs})
		for n := 0; n < 2; {
			n += len(hear[*wire.Verdicts](first).Verdicts)
		}
		if n := first.acknowledged(); n != 0 {
			t.Errorf("%d results were acknowledged", n)
		}
	})
}

// What is not the result that was committed to, or was not asked for, is not acknowledged.
func TestOnlyResultsAreAcknowledged(t *testing.T) {
	for _, c := range []struct {
		name string
		show func(p *puppet, r tasks.Reveal)
	}{
		{"shown unasked", func(p *puppet, r tasks.Reveal) { p.send(&wire.Reveals{Reveals: []tasks.Reveal{r}}) }},
		{"never committed to", func(p *puppet, r tasks.Reveal) {
			p.demanded(1)
			out, err := dag.AddFiles(p.t.Context(), memstore.NewBlobs(), map[string][]byte{"x": []byte("another")})
			if err != nil {
				p.t.Fatal(err)
			}
			r.Root = out.Root
			p.send(&wire.Reveals{Reveals: []tasks.Reveal{r}})
		}},
		{"other bytes", func(p *puppet, r tasks.Reveal) {
			p.demanded(1)
			r.Blocks = [][]byte{[]byte("x")}
			p.send(&wire.Reveals{Reveals: []tasks.Reveal{r}})
		}},
		{"another's lease", func(p *puppet, r tasks.Reveal) {
			p.demanded(1)
			r.Lease[0]++
			p.send(&wire.Reveals{Reveals: []tasks.Reveal{r}})
		}},
		{"nothing", func(p *puppet, _ tasks.Reveal) { p.demanded(1) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				first, second := w.twoOf(t, 1)
				r := first.result(&first.leases[0])
				first.send(&wire.Commits{Commits: []tasks.Commit{first.commit(&r)}})
				if c.name != "shown unasked" {
					second.commitAll()
				}
				second.deaf()
				c.show(first, r)
				time.Sleep(time.Second)
				if c.name == "shown unasked" {
					first.send(&wire.Ask{Slots: 0})
				}
				go func() { time.Sleep(5 * time.Second); first.conn.Close() }()
				for {
					f, err := wire.ReadFrame(first.conn, nil)
					if err != nil {
						break
					}
					m, err := first.wire.Open(f, time.Now().UnixMilli())
					if err != nil {
						t.Fatal(err)
					}
					if m, ok := m.(*wire.Delivered); ok {
						t.Errorf("acknowledged: %+v", m.Results)
					}
				}
			})
		})
	}
}

// Whoever calls a job off acknowledges first what it has.
func TestCancelledJobAcknowledges(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		id := w.begin(t, 1)
		first, second := w.puppet(t, 50).join(), w.puppet(t, 51).join()
		mine := first.commitAll()
		second.commitAll()
		first.demanded(1)
		second.demanded(1)
		first.send(&wire.Reveals{Reveals: mine})
		synctest.Wait()
		second.deaf()
		cancelled := make(chan error, 1)
		go func() { cancelled <- w.submitter.Cancel(t.Context(), id) }()
		if m := hear[*wire.Delivered](first); len(m.Results) != 1 || m.Results[0].Lease != mine[0].Lease {
			t.Errorf("%+v", m.Results)
		}
		if err := <-cancelled; err != nil {
			t.Error(err)
		}
	})
}

// A worker whose connection broke before it heard the acknowledgement hears it when it is back; also if its large result
// was fetched while it was away, from somebody who has it too.
func TestAcknowledgedWhenItIsBack(t *testing.T) {
	for _, away := range []bool{false, true} {
		t.Run(map[bool]string{false: "shown whole", true: "fetched meanwhile"}[away], func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, nil)
				theirs := memstore.NewBlobs()
				out, err := dag.AddFiles(t.Context(), theirs, map[string][]byte{"big": bytes.Repeat([]byte("x"), 3<<20)})
				if err != nil {
					t.Fatal(err)
				}
				exec, gate := w.executor(theirs, "worker"), make(chan struct{})
				w.submit(func(o *submit.Options) {
					o.Fetcher = &sources{fetch: func(ctx context.Context, from tasks.NodeID, _ int, root dag.CID) error {
						select {
						case <-gate:
						case <-ctx.Done():
							return errors.New("no way")
						}
						return copyDAG(ctx, theirs, w.submitter.blobs, root, func(dag.CID) bool { return true })
					}}
				})
				spec := noop(1)
				spec.Policy.K, spec.Policy.N = 2, 3
				if _, err := w.submitter.Submit(t.Context(), spec); err != nil {
					t.Fatal(err)
				}
				first, second := w.puppet(t, 50), w.puppet(t, 51).join()
				first.send(first.hello())
				welcome := hear[*wire.Welcome](first)
				hear[*wire.Leases](first)
				r := first.result(&first.leases[0])
				if away {
					sums, err := exec.Digest(t.Context(), [][32]byte{first.leases[0].Salt}, out.Root, nil)
					if err != nil {
						t.Fatal(err)
					}
					r = tasks.Reveal{Lease: r.Lease, Root: out.Root, Digest: sums[0], Bytes: 3 << 20}
				}
				first.send(&wire.Commits{Commits: []tasks.Commit{first.commit(&r)}})
				honest := second.commitAll() // of the same task, and it disagrees if the other one is large
				first.demanded(1)
				second.demanded(1)
				first.send(&wire.Reveals{Reveals: []tasks.Reveal{r}})
				if away {
					second.send(&wire.Reveals{Reveals: honest})
				}
				second.deaf()
				synctest.Wait()
				first.conn.Close()
				synctest.Wait()
				close(gate)
				time.Sleep(time.Second)

				again := w.puppet(t, 50)
				h := again.hello()
				h.Resume, h.Held = welcome.Token, []tasks.LeaseID{r.Lease}
				again.send(h)
				if m := hear[*wire.Welcome](again); len(m.Kept) != 1 {
					t.Fatalf("kept %v", m.Kept)
				}
				if m := hear[*wire.Delivered](again); len(m.Results) != 1 || m.Results[0].Lease != r.Lease || m.Results[0].Root != r.Root || m.Results[0].Digest != wire.Hash(r.Digest) {
					t.Errorf("%+v", m.Results)
				}
				again.deaf()
			})
		})
	}
}
