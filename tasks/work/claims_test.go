package work_test

import (
	"testing"
	"testing/synctest"
	"time"

	"kith/tasks"
	"kith/tasks/wire"
	"kith/tasks/work"
)

// done takes one task to its verdict, or, if accept is false, to where the submitter has seen the result.
func (b *boss) done(n int, accept bool) tasks.Reveal {
	b.t.Helper()
	l := b.lease(n, nil)
	b.say(&wire.Leases{Leases: []tasks.Lease{l}})
	hear[*wire.Commits](b)
	b.say(&wire.RevealRequest{Leases: []tasks.LeaseID{l.ID}})
	r := hear[*wire.Reveals](b).Reveals[0]
	if accept {
		b.say(&wire.Verdicts{Verdicts: []tasks.Verdict{{Lease: l.ID, Outcome: tasks.Accepted, Root: r.Root}}})
	}
	synctest.Wait()
	return r
}

// pay signs a receipt and hears the worker's answer.
func (b *boss) pay(r *tasks.Reveal) {
	b.t.Helper()
	m := &wire.Receipts{Receipts: []tasks.Receipt{{Lease: r.Lease, Submitter: b.id, Worker: b.me, Outcome: tasks.Accepted, Root: r.Root, At: time.Now().UnixMilli()}}}
	sum, err := wire.ReceiptRoot(m.Receipts)
	if err != nil {
		b.t.Fatal(err)
	}
	m.Root, m.Sig = sum, wire.SignBatch(network, b.key, b.id, b.me, sum, 1)
	b.say(m)
	hear[*wire.ReceiptAck](b)
	synctest.Wait()
}

// again is session after a restart. What was dialled before it is dead.
func (r *rig) again() *boss {
	r.t.Helper()
	synctest.Wait()
	for len(r.dials) > 1 {
		<-r.dials
	}
	return r.session()
}

// claims are the worker's, each checked as anybody can: how many results were accepted, and how many only asked for.
func (r *rig) claims() (accepted, asked int) {
	r.t.Helper()
	list, err := r.Claims(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	for i := range list {
		word, err := list[i].Verify(network)
		switch {
		case err != nil:
			r.t.Fatal(err)
		case list[i].Submitter() != r.id || list[i].Worker() != r.me:
			r.t.Errorf("claims between %s and %s", list[i].Submitter().Short(), list[i].Worker().Short())
		case word == wire.Approved:
			accepted += len(list[i].Leases)
		default:
			asked += len(list[i].Leases)
		}
	}
	return accepted, asked
}

func (r *rig) wantClaims(when string, accepted, asked int) {
	r.t.Helper()
	if a, b := r.claims(); a != accepted || b != asked {
		r.t.Errorf("%s: %d claims on accepted results and %d on results that were asked for, want %d and %d", when, a, b, accepted, asked)
	}
}

// What a submitter accepted and has not signed for is claimed after a minute, also after a restart, until it signs; so is
// what it has only had shown.
func TestUnsignedResultsAreClaimed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		book := newLog(t)
		with := func(o *work.Options) { o.Book = book }
		r := newRig(t, with)
		b := r.session()
		signed, unsigned := b.done(1, true), b.done(2, true)
		b.done(3, false)
		b.pay(&signed)
		r.wantClaims("at once", 0, 0) // the receipts may be on their way
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		r.wantClaims("after a while", 1, 1)

		r.stop()
		b.conn.Close()
		r.start(with)
		r.wantClaims("after a restart", 1, 1)
		b = r.again()
		b.pay(&unsigned)
		r.wantClaims("when it has signed", 0, 1)
		r.stop()
		b.conn.Close()
		r.start(with)
		r.wantClaims("when it has signed, after a restart", 0, 1)
		list, err := r.Payers(t.Context())
		if err != nil || len(list) != 1 || list[0].Earned != 2 || list[0].Signed != 2 || list[0].Last {
			t.Errorf("the submitter's account: %+v, %v", list, err)
		}
	})
}

// Claims are not kept for ever.
func TestClaimsEnd(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		b := r.session()
		for i := range 3 {
			b.done(i, true)
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		r.wantClaims("soon", 3, 0)
		time.Sleep(91 * 24 * time.Hour)
		b.done(4, true)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		r.wantClaims("after three months", 1, 0)
	})
}

// A result that was not accepted is no claim, whatever was shown before.
func TestOutvotedResultsAreNotClaimed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		b := r.session()
		shown := b.done(1, false)
		b.say(&wire.Verdicts{Verdicts: []tasks.Verdict{{Lease: shown.Lease, Outcome: tasks.Outvoted}}})
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		r.wantClaims("outvoted", 0, 0)
	})
}

// A submitter that signs for under 95 % of what it accepts is known for it, after a restart too, until it makes up for it.
func TestMeanSubmitterIsRemembered(t *testing.T) {
	bubble(t, func(t *testing.T) {
		book := newLog(t)
		with := func(o *work.Options) { o.Book = book }
		r := newRig(t, with)
		b := r.session()
		var unsigned []tasks.Reveal
		for i := range 40 {
			if res := b.done(i, true); i%8 == 0 {
				unsigned = append(unsigned, res)
			} else {
				b.pay(&res)
			}
		}
		last := func() bool {
			t.Helper()
			synctest.Wait()
			list, err := r.Payers(t.Context())
			if err != nil || len(list) != 1 || list[0].Submitter != r.id {
				t.Fatalf("%+v, %v", list, err)
			}
			return list[0].Last
		}
		if last() {
			t.Error("served last while its receipts may be on their way")
		}
		time.Sleep(2 * time.Minute)
		if !last() {
			t.Error("35 of 40 are signed for, and it is not served last")
		}
		r.stop()
		b.conn.Close()
		r.start(with)
		if !last() {
			t.Error("forgotten with a restart")
		}
		b = r.session()
		for i := range unsigned[:4] {
			b.pay(&unsigned[i])
		}
		if last() {
			t.Error("39 of 40 are signed for, and it is served last")
		}
	})
}
