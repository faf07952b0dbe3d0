package node

import (
	"reflect"
	"testing"

	"kith/node/api"
	"kith/tasks"
	"kith/tasks/credit"
	"kith/tasks/wire"
	"kith/tasks/work"
)

// A claim is listed with what its submitter said, and as accepted only if that is what it said.
func TestClaimsAreListed(t *testing.T) {
	for _, c := range []struct {
		heard   wire.Type
		claim   string
		outcome tasks.Outcome
	}{
		{wire.TypeReveal, api.ClaimAsked, ""},
		{wire.TypeDelivered, api.ClaimDelivered, ""},
		{wire.TypeVerdicts, api.ClaimAccepted, tasks.Accepted},
	} {
		claims := wire.Claims{Heard: wire.Spoken{Head: wire.Head{Type: c.heard, Worker: tasks.NodeID{1}, Submitter: tasks.NodeID{2}}}, Leases: []wire.Claim{{Attempt: 1, CPUMillis: 7}, {Attempt: 2}}}
		got := claimLines(&claims)
		if len(got) != 2 {
			t.Fatalf("%s: %d lines", c.heard, len(got))
		}
		if r := got[0]; r.Claim != c.claim || r.Outcome != c.outcome || r.Role != "worker" || r.Countered || r.CPUMillis != 7 || r.Lease != claims.Leases[0].Lease(tasks.NodeID{1}) {
			t.Errorf("%s: %+v", c.heard, r)
		}
	}
}

// A statement reads the same from either side, with the sign turned; strangers' accounts are not in it.
func TestAccountOf(t *testing.T) {
	me, you, they := tasks.NodeID{1}, tasks.NodeID{2}, tasks.NodeID{3}
	s := &credit.Statement{
		Asked: 2, Delivered: 1, Void: map[credit.Void]int{credit.Doubled: 2},
		Transfers: []credit.Transfer{
			{Worker: me, Submitter: you, Net: 700, Gained: 800, Spent: 100, Receipts: 9, Unsigned: 50, Claims: 1},
			{Worker: they, Submitter: me, Net: 300, Gained: 300, Receipts: 3},
			{Worker: they, Submitter: you, Net: 9000, Gained: 9000, Receipts: 1},
		},
	}
	got := accountOf(me, s, []work.Payer{
		{Submitter: you, Earned: 40, Signed: 12, Last: true, Silent: 3, Window: 8}, {Submitter: tasks.NodeID{8}, Rest: 9}, {Submitter: tasks.NodeID{9}, Window: 4},
	})
	want := []api.CreditWith{
		{Node: you, Net: 700, Did: 800, Got: 100, Receipts: 9, Unsigned: 50, Claims: 1, Earned: 40, Signed: 12, Last: true, Silent: 3},
		{Node: tasks.NodeID{8}, Rest: 9},
		{Node: they, Net: -300, Got: 300, Receipts: 3},
	}
	if !reflect.DeepEqual(got.With, want) || got.Balance != 400 || got.Asked != 2 || got.Delivered != 1 || got.Void["doubled"] != 2 {
		t.Errorf("got %+v", got)
	}
	other := accountOf(you, s, nil)
	if len(other.With) != 2 || other.With[0].Node != me || other.With[0].Net != -700 || other.With[0].Got != 800 || other.Balance != -9700 {
		t.Errorf("from the other side: %+v", other)
	}
}
