package work_test

import (
	"testing"
	"testing/synctest"
	"time"

	"kith/tasks"
	"kith/tasks/wire"
	"kith/tasks/work"
)

// known is what a worker can claim, and its account with its submitter, at one moment.
type known struct {
	records        int // in its log by then
	claims         map[tasks.LeaseID]wire.Word
	earned, signed int
}

// The worker is killed after every record of its log. Whatever its submitter had said by then is claimed by the next
// process, word for word, and counted once.
func TestClaimsSurviveAKill(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, func(o *work.Options) { o.Book, o.Heartbeat = newLog(t), 24*time.Hour })
		b := r.session()
		b.life = 20 * time.Hour // they outlast all that follows
		moments := []known{{}}
		claims, earned, signed := map[tasks.LeaseID]wire.Word{}, 0, 0
		note := func() {
			synctest.Wait()
			k := known{records: len(r.log.all()), claims: map[tasks.LeaseID]wire.Word{}, earned: earned, signed: signed}
			for l, word := range claims {
				k.claims[l] = word
			}
			moments = append(moments, k)
		}
		for i := range 4 {
			paid := b.done(10*i, true)
			claims[paid.Lease], earned = wire.Approved, earned+1
			note()
			unpaid := b.done(10*i+1, true)
			claims[unpaid.Lease], earned = wire.Approved, earned+1
			note()
			b.pay(&paid)
			delete(claims, paid.Lease)
			signed++
			note()
			asked := b.done(10*i+2, false)
			claims[asked.Lease] = wire.Asked
			note()
			got := b.done(10*i+3, false)
			claims[got.Lease] = wire.Asked
			note()
			b.acknowledge(got)
			claims[got.Lease] = wire.Got
			note()
			lost := b.done(10*i+4, false)
			claims[lost.Lease] = wire.Asked
			note()
			b.judge(tasks.Outvoted, lost)
			delete(claims, lost.Lease)
			note()
			if i%2 == 1 { // its minute is over while it is alive
				time.Sleep(2 * time.Minute)
				note()
			}
			b.judge(tasks.Accepted, asked)
			claims[asked.Lease], earned = wire.Approved, earned+1
			note()
		}
		r.stop()
		b.conn.Close()
		r.refuse.Store(true)
		all := r.log.all()
		for at := range len(all) + 1 {
			var before, after known
			for _, k := range moments {
				if k.records <= at {
					before = k
				}
				if after = k; k.records >= at {
					break
				}
			}
			r.log = newLog(t)
			r.log.recs = all[:at:at]
			r.start()
			time.Sleep(2 * time.Minute)
			synctest.Wait()
			have := r.words()
			for l, word := range have {
				if word > max(before.claims[l], after.claims[l]) {
					t.Errorf("killed after record %d: claimed by word %d, and no more than %d was said", at, word, max(before.claims[l], after.claims[l]))
				}
			}
			for l, word := range before.claims {
				if after.claims[l] != 0 && have[l] < word {
					t.Errorf("killed after record %d: a claim by word %d is lost, it has %d", at, word, have[l])
				}
			}
			if before.records == at {
				list, err := r.Payers(t.Context())
				if err != nil || len(list) > 1 || len(list) == 0 && before.earned > 0 {
					t.Fatalf("killed after record %d: %+v, %v", at, list, err)
				}
				silent := 0
				for _, word := range before.claims {
					if word == wire.Asked {
						silent++
					}
				}
				if len(list) == 1 && list[0].Silent != silent {
					t.Errorf("killed after record %d: nothing was said of %d results that were shown, want %d", at, list[0].Silent, silent)
				}
				if len(list) == 1 && (list[0].Earned != before.earned || list[0].Signed != before.signed) {
					t.Errorf("killed after record %d: signed for %d of %d, want %d of %d", at, list[0].Signed, list[0].Earned, before.signed, before.earned)
				}
			}
			r.stop()
		}
	})
}

// words are the worker's claims by lease, each checked as anybody can.
func (r *rig) words() map[tasks.LeaseID]wire.Word {
	r.t.Helper()
	list, err := r.Claims(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	out := map[tasks.LeaseID]wire.Word{}
	for i := range list {
		word, err := list[i].Verify(network)
		if err != nil {
			r.t.Error(err)
		}
		for j := range list[i].Leases {
			out[list[i].Leases[j].Lease(r.me)] = word
		}
	}
	return out
}
