package work

import (
	"testing"
	"testing/synctest"
	"time"

	"kith/tasks"
)

// shared plays the sharing of slots between submitters that always have work, and returns how long each had them. took is
// how long one task of each takes. Other weights, if there are some, take the place of the first after half of the time.
func shared(slots int, span time.Duration, took []time.Duration, weights, others []int, late int) []time.Duration {
	d := &Driver{o: Options{Slots: slots}}
	half := time.Now().Add(span / 2)
	d.o.Weight = func(who tasks.NodeID, _ string) int {
		if others != nil && time.Now().After(half) {
			return others[who[0]]
		}
		return weights[who[0]]
	}
	var all []*session
	used := make([]time.Duration, len(took))
	left := map[*held]time.Time{}
	do := tasks.Assignment{Steps: []tasks.Step{{Kind: "x"}}}
	for i := range took {
		s := &session{d: d, peer: tasks.NodeID{byte(i)}}
		all = append(all, s)
		d.order = append(d.order, s)
	}
	const tick = 5 * time.Millisecond
	for began := time.Now(); time.Since(began) < span; time.Sleep(tick) {
		now := time.Now()
		for h, end := range left {
			if !end.After(now) {
				delete(left, h)
				d.finished(h, took[h.s.peer[0]])
				used[h.s.peer[0]] += took[h.s.peer[0]]
			}
		}
		for i, s := range all {
			for len(s.queue) < slots && (i != late || time.Since(began) > span/2) {
				s.queue = append(s.queue, &held{s: s, state: ready, lease: tasks.Lease{Do: do}})
			}
		}
		for len(left) < slots {
			d.fair()
			h := d.order[(d.turn+1)%len(d.order)].next()
			for k := 1; h == nil; k++ {
				h = d.order[(d.turn+1+k)%len(d.order)].next()
			}
			h.state, h.since = running, now.UnixMilli()
			d.began(h)
			left[h] = now.Add(took[h.s.peer[0]])
		}
	}
	return used
}

// Whoever has long tasks, or many, takes no slot time from another; weights shift it; who comes late gets its part from
// then on and no more.
func TestSlotsAreSharedFairly(t *testing.T) {
	const s = time.Second
	for _, c := range []struct {
		name    string
		slots   int
		took    []time.Duration
		weights []int
		others  []int
		late    int
		want    []float64 // share of the slot time
	}{
		{"long and short tasks", 1, []time.Duration{2 * s, 10 * time.Millisecond}, []int{1, 1}, nil, -1, []float64{0.5, 0.5}},
		{"on several slots", 4, []time.Duration{3 * s, 10 * time.Millisecond, 100 * time.Millisecond}, []int{1, 1, 1}, nil, -1, []float64{1. / 3, 1. / 3, 1. / 3}},
		{"weights", 2, []time.Duration{s, s / 10}, []int{3, 1}, nil, -1, []float64{0.75, 0.25}},
		{"weights set meanwhile", 2, []time.Duration{s, s / 10}, []int{1, 1}, []int{3, 1}, -1, []float64{0.625, 0.375}},
		{"late", 1, []time.Duration{s / 10, s / 10}, []int{1, 1}, nil, 1, []float64{0.75, 0.25}},
	} {
		synctest.Test(t, func(t *testing.T) {
			span := 200 * s
			used := shared(c.slots, span, c.took, c.weights, c.others, c.late)
			for i, u := range used {
				if got := u.Seconds() / (span.Seconds() * float64(c.slots)); got < c.want[i]-0.05 || got > c.want[i]+0.05 {
					t.Errorf("%s: submitter %d had %.2f of the slot time, want %.2f", c.name, i, got, c.want[i])
				}
			}
		})
	}
}

// A submitter that signs for nothing is served after those that do, and again in turn when it has caught up.
func TestMeanSubmittersAreServedLast(t *testing.T) {
	d := &Driver{}
	do := tasks.Assignment{Steps: []tasks.Step{{Kind: "x"}}}
	var list [2]*session
	for i := range list {
		list[i] = &session{d: d, peer: tasks.NodeID{byte(i)}, pays: &payer{}}
		list[i].queue = []*held{{s: list[i], state: ready, lease: tasks.Lease{Do: do}}}
		d.order = append(d.order, list[i])
	}
	first := func() *session { d.fair(); return d.order[(d.turn+1)%len(d.order)] }
	list[0].share.spent = -time.Hour // its turn by far
	for _, c := range []struct {
		name           string
		earned, signed int
		want           int
	}{
		{"too few to tell", fewEarned - 1, 0, 0},
		{"all signed", 10_000, 10_000, 0},
		{"a few owed", 10_000, 9_500, 0},
		{"a few more", 10_000, 9_499, 1},
		{"most owed", 10_000, 1_000, 1},
		{"none signed", fewEarned, 0, 1},
		{"caught up", 10_000, 9_600, 0},
	} {
		list[0].pays.Earned, list[0].pays.Signed = c.earned, c.signed
		if got := first(); got != list[c.want] {
			t.Errorf("%s: %v is served first", c.name, got.peer[0])
		}
	}
}
