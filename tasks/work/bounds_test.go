package work

import (
	"crypto/ed25519"
	"encoding/binary"
	"testing"

	"kith/storage/dag"
	"kith/tasks"
	"kith/tasks/wire"
)

// What submitters can make this node remember of them is bounded: of claims the oldest go, of accounts those of whom
// nothing bad is known and who are not here.
func TestWhatIsKeptOfSubmittersIsBounded(t *testing.T) {
	d := New(Options{Key: ed25519.NewKeyFromSeed(make([]byte, 32))})
	word := &said{Heard: wire.Spoken{Head: wire.Head{Type: wire.TypeVerdicts, Submitter: tasks.NodeID{1}}}}
	var first, last tasks.LeaseID
	for i := range maxDues + 100 {
		p := promise{Job: tasks.JobID{1}, Attempt: i, Epoch: 7, Expiry: 1000, Root: dag.Sum(dag.Raw, dag.SHA256, nil)}
		p.Lease = tasks.NewLeaseID(p.Job, p.Task, p.Attempt, d.self, p.Epoch, p.Expiry)
		d.claimOn(&p, word)
		if last = p.Lease; i == 0 {
			first = p.Lease
		}
	}
	if len(d.dues) != maxDues || len(d.dueOrder) != maxDues {
		t.Errorf("%d claims, %d in order, want %d", len(d.dues), len(d.dueOrder), maxDues)
	}
	if d.dues[first] != nil || d.dues[last] == nil {
		t.Error("it was not the oldest that went")
	}

	for i := range 20 * maxDues { // signed for at once, as is usual
		p := promise{Job: tasks.JobID{2}, Attempt: i, Epoch: 7, Expiry: 1000, Root: dag.Sum(dag.Raw, dag.SHA256, nil)}
		p.Lease = tasks.NewLeaseID(p.Job, p.Task, p.Attempt, d.self, p.Epoch, p.Expiry)
		d.claimOn(&p, word)
		d.receive([]tasks.LeaseID{p.Lease})
	}
	if len(d.dueOrder) > 4*maxDues+1 {
		t.Errorf("%d claims that are no more are remembered", len(d.dueOrder))
	}

	mean := tasks.NodeID{255}
	d.pays(mean).count(2*fewEarned, 0)
	here := tasks.NodeID{254}
	d.sessions[here] = &session{peer: here}
	d.pays(here)
	for i := range 2 * maxPayers {
		var id tasks.NodeID
		binary.BigEndian.PutUint32(id[4:], uint32(i))
		d.pays(id)
	}
	if len(d.payers) != maxPayers {
		t.Errorf("%d accounts, want %d", len(d.payers), maxPayers)
	}
	if !d.payers[mean].mean() || d.payers[here] == nil {
		t.Error("a mean submitter, or one that is here, was forgotten")
	}
	p := d.pays(mean)
	for range 10 * fadeAt {
		p.count(1, 1)
	}
	if p.Earned > fadeAt || p.Signed > p.Earned || p.mean() {
		t.Errorf("after long good conduct: %+v", p)
	}
}

// A flood of offers waits for the loop only up to a bound.
func TestOffersAreBounded(t *testing.T) {
	d := New(Options{Key: ed25519.NewKeyFromSeed(make([]byte, 32))})
	for range 10 * mostOffers {
		d.HandleOffer(wire.Offer{}, 0)
	}
	if n := len(d.box.Take()); n != mostOffers || d.Dropped() != 9*mostOffers {
		t.Errorf("%d offers wait and %d were dropped, want %d and %d", n, d.Dropped(), mostOffers, 9*mostOffers)
	}
}
