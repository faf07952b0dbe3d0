package submit_test

import (
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"kith/tasks"
	"kith/tasks/submit"
	"kith/tasks/wire"
)

// solo is a job of n tasks that believes one worker alone.
func solo(n int) tasks.Spec {
	spec := noop(n)
	spec.Policy = tasks.Policy{K: 1, N: 8}
	return spec
}

// told connects a worker that says hello, and returns the reason with which it is sent away at once.
func (w *world) told(t *testing.T, n byte) tasks.Code {
	t.Helper()
	p := w.puppet(t, n)
	hello := p.frame(p.hello())
	go func() { _, _ = p.conn.Write(hello) }()
	code := hear[*wire.Bye](p).Reason.Code
	p.conn.Close()
	return code
}

// Who brings forged results again and again is sent away, and stays away over restarts of the submitter.
func TestForgerIsBanned(t *testing.T) {
	for _, every := range []int{50_000, 1} { // records between snapshots
		t.Run(fmt.Sprint(every), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, nil)
				set := func(o *submit.Options) { o.SnapshotEvery = every }
				w.submit(set)
				id, err := w.submitter.Submit(t.Context(), solo(3))
				if err != nil {
					t.Fatal(err)
				}
				p := w.puppet(t, 50).join()
				var list []tasks.Reveal
				for i := range p.leases {
					r := p.result(&p.leases[i])
					r.Digest[0]++
					list = append(list, r)
					p.send(&wire.Commits{Commits: []tasks.Commit{p.commit(&r)}})
				}
				for n := 0; n < len(list); {
					n += len(hear[*wire.RevealRequest](p).Leases)
				}
				p.send(&wire.Reveals{Reveals: list})
				if bye := hear[*wire.Bye](p); bye.Reason.Code != tasks.Banned {
					t.Errorf("told %+v", bye.Reason)
				}
				p.deaf()
				_ = p.fate()
				if code := w.told(t, 50); code != tasks.Banned {
					t.Errorf("it is back, told %q", code)
				}
				for range 2 {
					w.crashSubmitter(set)
					if code := w.told(t, 50); code != tasks.Banned {
						t.Errorf("it is back after a restart, told %q", code)
					}
				}
				w.newDonor()
				w.announce(id)
				w.mustFinish(w.finish(id))
			})
		})
	}
}

// Proof bans at once: two signed messages that contradict one another, and two commits for one lease.
func TestProofBans(t *testing.T) {
	for name, play := range map[string]func(p *puppet){
		"two heads": func(p *puppet) {
			k, _ := key(50)
			twin := wire.RestoreSession(network, k, p.w.submitter.id, p.wire.State())
			p.send(&wire.Ask{Slots: 1})
			f, err := twin.Seal(&wire.Ask{Slots: 2}, time.Now().UnixMilli())
			if err != nil {
				p.t.Fatal(err)
			}
			_, _ = p.conn.Write(f)
		},
		"two commits": func(p *puppet) {
			p.send(&wire.Commits{Commits: []tasks.Commit{{Lease: p.leases[0].ID, Hash: [32]byte{1}}}})
			p.send(&wire.Commits{Commits: []tasks.Commit{{Lease: p.leases[0].ID, Hash: [32]byte{2}}}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				id := w.begin(t, 1)
				p := w.puppet(t, 50).join()
				p.deaf()
				play(p)
				_ = p.fate()
				synctest.Wait()
				if code := w.told(t, 50); code != tasks.Banned {
					t.Errorf("told %q", code)
				}
				w.crashSubmitter()
				if code := w.told(t, 50); code != tasks.Banned {
					t.Errorf("told %q after a restart", code)
				}
				// What it held went to others long before it would have lapsed.
				began := time.Now()
				w.newDonor()
				w.newDonor()
				w.announce(id)
				w.mustFinish(w.finish(id))
				if took := time.Since(began); took > 10*time.Second {
					t.Errorf("its task took %v more", took)
				}
			})
		})
	}
}

// greedy connects a worker that asks for as many leases as it can get.
func (w *world) greedy(t *testing.T, n byte, addr netip.Addr) *puppet {
	p := w.puppetAt(t, n, addr)
	h := p.hello()
	h.Ask.Slots = 32
	p.send(h)
	p.deaf()
	synctest.Wait()
	return p
}

// inFlight is how many leases a worker has.
func (w *world) inFlight(t *testing.T, worker tasks.NodeID) int {
	t.Helper()
	synctest.Wait()
	list, err := w.submitter.Sessions(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range list {
		if s.Worker == worker {
			return s.InFlight
		}
	}
	t.Fatal("no session")
	return 0
}

// A fleet of newcomers alone works as hard as it can; beside a worker that has proven itself each is given a few tasks
// until it has shown something, and neighbours of one address range no more than one of them.
func TestNewcomersAreBoundedBesideProvenWorkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.submit(func(o *submit.Options) { o.LAN = false })
		at := func(n byte) netip.Addr { return netip.AddrFrom4([4]byte{203, 0, n, 1}) }
		w.begin(t, 100)
		for n := range byte(2) {
			if got := w.inFlight(t, w.greedy(t, 60+n, at(n)).id); got != 32 {
				t.Errorf("newcomer %d of a cold network has %d leases, asked for 32", n, got)
			}
		}
	})
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.submit(func(o *submit.Options) { o.LAN = false })
		w.newDonor()
		w.mustFinish(w.run(solo(10))) // it has proven itself
		id, err := w.submitter.Submit(t.Context(), sleepy(200, 60_000))
		if err != nil {
			t.Fatal(err)
		}
		at := netip.AddrFrom4([4]byte{203, 0, 113, 1})
		a := w.greedy(t, 60, at)
		if got := w.inFlight(t, a.id); got != 4 {
			t.Errorf("a newcomer has %d leases, want 4", got)
		}
		if got := w.inFlight(t, w.greedy(t, 61, at.Next()).id); got != 0 {
			t.Errorf("its neighbour has %d leases, want 0", got)
		}
		if got := w.inFlight(t, w.greedy(t, 62, netip.AddrFrom4([4]byte{198, 51, 100, 1})).id); got != 4 {
			t.Errorf("a newcomer from elsewhere has %d leases, want 4", got)
		}
		if err := w.submitter.Cancel(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	})
}

// Equal donors get about equal work, in one large job and in many small ones.
func TestEqualDonorsWorkEqually(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.submit()
		for range 3 {
			w.newDonor()
		}
		w.gather(3)
		for _, c := range []struct{ jobs, size, least int }{{1, 300, 170}, {30, 1, 16}} {
			done := map[tasks.NodeID]int{}
			for range c.jobs {
				st := w.run(sleepy(c.size, 10))
				w.mustFinish(st)
				for _, x := range st.Workers {
					done[x.ID] += x.Accepted
				}
			}
			for _, d := range w.donors {
				if done[d.id] < c.least {
					t.Errorf("%d jobs of %d tasks: a donor did %d of %d executions", c.jobs, c.size, done[d.id], 2*c.jobs*c.size)
				}
			}
		}
	})
}

// After a restart of the submitter a worker that has not come back is still judged by where it was: its neighbour does
// not get the task that it may yet vote on.
func TestPlacesOutliveARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		set := func(o *submit.Options) { o.LAN, o.SnapshotEvery = false, 1 }
		w.submit(set)
		near, far := netip.MustParseAddr("203.0.113.5"), netip.MustParseAddr("198.51.100.7")
		w.begin(t, 1)
		w.puppetAt(t, 60, near).join().deaf()
		synctest.Wait()
		w.crashSubmitter(set)
		if got := w.inFlight(t, w.greedy(t, 61, near.Next()).id); got != 0 {
			t.Errorf("a neighbour of the absent worker has %d leases", got)
		}
		if got := w.inFlight(t, w.greedy(t, 62, far).id); got != 1 {
			t.Errorf("a worker from elsewhere has %d leases", got)
		}
	})
}

// Of workers with room the near one is chosen.
func TestNearWorkersAreChosen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, distant := key(60)
		w := newWorld(t, nil)
		w.submit(func(o *submit.Options) {
			o.RTT = func(worker tasks.NodeID) time.Duration {
				if worker == distant {
					return 200 * time.Millisecond
				}
				return time.Millisecond
			}
		})
		far, near := w.greedy(t, 60, netip.Addr{}), w.greedy(t, 61, netip.Addr{})
		for range 2 {
			if _, err := w.submitter.Submit(t.Context(), solo(1)); err != nil {
				t.Fatal(err)
			}
		}
		if n, f := w.inFlight(t, near.id), w.inFlight(t, far.id); n != 2 || f != 0 {
			t.Errorf("the near worker has %d leases, the far one %d", n, f)
		}
	})
}
