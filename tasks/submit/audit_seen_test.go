package submit_test

import (
	"fmt"
	"reflect"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"kith/tasks"
	"kith/tasks/wire"
)

// sighting is one lease as a worker saw it.
type sighting struct {
	lease tasks.Lease
	audit bool     // the task had an accepted result before
	heard []string // of what came for it, in order
}

// watchers are honest workers that note all they see.
type watchers struct {
	mu       sync.Mutex
	accepted map[tasks.TaskID]bool
	seen     map[tasks.NodeID][]*sighting
	by       map[tasks.LeaseID]*sighting
}

// watch lets a puppet work honestly until its session ends. Reading and writing wait for one another in no way, as with a
// real worker.
func (x *watchers) watch(p *puppet) {
	out := make(chan wire.Message, 4096)
	out <- p.hello()
	go func() {
		for m := range out {
			if _, err := p.conn.Write(p.frame(m)); err != nil {
				return
			}
		}
	}()
	go func() {
		defer close(out)
		results := map[tasks.LeaseID]tasks.Reveal{}
		for {
			f, err := wire.ReadFrame(p.conn, nil)
			if err != nil {
				return
			}
			m, err := p.wire.Open(f, time.Now().UnixMilli())
			if err != nil {
				p.t.Errorf("watching: %v", err)
				return
			}
			switch m := m.(type) {
			case *wire.Leases:
				for i := range m.Leases {
					x.note(p.id, m.Leases[i])
					r := p.result(&m.Leases[i])
					results[r.Lease] = r
					out <- &wire.Commits{Commits: []tasks.Commit{p.commit(&r)}}
				}
			case *wire.RevealRequest:
				var list []tasks.Reveal
				for _, l := range m.Leases {
					x.heard(l, "asked")
					list = append(list, results[l])
				}
				out <- &wire.Reveals{Reveals: list}
			case *wire.Delivered:
				for i := range m.Results {
					x.heard(m.Results[i].Lease, "delivered")
				}
			case *wire.Verdicts:
				for i := range m.Verdicts {
					x.heard(m.Verdicts[i].Lease, string(m.Verdicts[i].Outcome))
				}
			case *wire.Cancel:
				for _, l := range m.Leases {
					x.heard(l, "cancelled")
				}
			}
		}
	}()
}

func (x *watchers) note(who tasks.NodeID, l tasks.Lease) {
	x.mu.Lock()
	defer x.mu.Unlock()
	s := &sighting{lease: l, audit: x.accepted[l.Do.Task]}
	x.seen[who] = append(x.seen[who], s)
	x.by[l.ID] = s
}

func (x *watchers) heard(l tasks.LeaseID, what string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	s := x.by[l]
	s.heard = append(s.heard, what)
	if what == string(tasks.Accepted) {
		x.accepted[s.lease.Do.Task] = true
	}
}

// Nothing that a worker is told of an audit differs from what it would be told of the same task as the first: the lease
// says the same but for numbers that are drawn, it is valid for as long as the others, and what follows a commit is what
// follows others' commits. (When audits come and under which numbers is measured in package trust.)
func TestAnAuditLooksLikeAnyTask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.submit()
		x := &watchers{accepted: map[tasks.TaskID]bool{}, seen: map[tasks.NodeID][]*sighting{}, by: map[tasks.LeaseID]*sighting{}}
		for n := range byte(5) {
			x.watch(w.puppet(t, 50+n))
		}
		synctest.Wait()
		w.mustFinish(w.run(adaptive(100))) // the fleet becomes known
		x.mu.Lock()
		clear(x.seen)
		x.mu.Unlock()
		for range 3 {
			w.mustFinish(w.run(adaptive(100)))
		}
		synctest.Wait()
		x.mu.Lock()
		defer x.mu.Unlock()

		first := map[tasks.TaskID]*sighting{}
		follows := map[string]bool{}
		for _, list := range x.seen {
			for _, s := range list {
				if !s.audit {
					first[s.lease.Do.Task] = s
					follows[fmt.Sprint(s.heard)] = true
				}
			}
		}
		audits, attempts := 0, map[int]bool{}
		for _, list := range x.seen {
			for i, s := range list {
				if !s.audit {
					continue
				}
				audits++
				attempts[s.lease.Attempt] = true
				one := first[s.lease.Do.Task]
				if one == nil || !reflect.DeepEqual(s.lease.Do, one.lease.Do) {
					t.Fatalf("an audit is to do\n%+v, the first was to do\n%+v", s.lease.Do, one)
				}
				if s.lease.Worker == one.lease.Worker {
					t.Error("a worker audits itself")
				}
				life := s.lease.Expiry - s.lease.Granted
				if i > 0 && life != list[i-1].lease.Expiry-list[i-1].lease.Granted {
					t.Errorf("an audit is valid for %d ms, the task before for %d", life, list[i-1].lease.Expiry-list[i-1].lease.Granted)
				}
				if s.lease.Depot != nil || s.lease.Epoch != list[0].lease.Epoch {
					t.Errorf("an audit has a depot or another epoch: %+v", s.lease)
				}
				if !follows[fmt.Sprint(s.heard)] {
					t.Errorf("after the commit of an audit: %v; of others: %v", s.heard, follows)
				}
			}
		}
		if audits < 15 || len(attempts) < audits/3 {
			t.Errorf("%d audits under %d numbers", audits, len(attempts))
		}
		if !follows["[asked accepted]"] {
			t.Errorf("what follows: %v", follows)
		}
		t.Logf("%d audits among %d tasks; after a commit: %v", audits, len(first), follows)
	})
}
